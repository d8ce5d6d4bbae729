//! What the speaker keeps on disk: the ledger, and where each address is answered for.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use roadstead_daemon::state::{self, StateError};
use roadstead_speaker_core::{
    gate::Answers,
    ipam::{Ledger, LedgerError},
};

/// The two files.
#[derive(Debug)]
pub(crate) struct Store {
    ledger: PathBuf,
    answers: PathBuf,
    /// Whether the last save failed.
    behind: bool,
    written: Option<Answers>,
}

/// Why what the last run left cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// A file cannot be read.
    #[error(transparent)]
    State(#[from] StateError),
    /// The ledger says something that cannot be.
    #[error(
        "the ledger {} cannot be used; restore it from a copy, or move it away to assign afresh \
         (addresses that Services name or have in their status are honoured then)",
        path.display()
    )]
    Ledger {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<LedgerError>,
    },
}

impl Store {
    /// The files of a state directory, which exists and is locked.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            ledger: directory.join("ledger.json"),
            answers: directory.join("answers.json"),
            behind: false,
            written: None,
        }
    }

    /// What the last run left; a ledger that is not there is an empty one.
    pub(crate) fn load(&self) -> Result<(Ledger, Answers), StoreError> {
        let ledger = match state::read_bytes(&self.ledger)? {
            None => Ledger::default(),
            Some(bytes) => Ledger::decode(&bytes).map_err(|source| StoreError::Ledger {
                path: self.ledger.clone(),
                source: source.into(),
            })?,
        };
        Ok((ledger, self.load_answers()))
    }

    /// Losing this file costs a probe per address, so a damaged one does not keep the speaker down.
    fn load_answers(&self) -> Answers {
        match state::read(&self.answers) {
            Ok(answers) => answers.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(error = %error, "every address is probed again");
                BTreeMap::new()
            }
        }
    }

    /// Whether the files are older than what was decided.
    pub(crate) fn is_behind(&self) -> bool {
        self.behind
    }

    /// Writes both; the ledger first.
    pub(crate) fn save(&mut self, ledger: &Ledger, answers: &Answers) -> Result<(), StateError> {
        self.behind = true;
        state::write_bytes(&self.ledger, ledger.encode().as_bytes())?;
        if self.written.as_ref() != Some(answers) {
            state::write(&self.answers, answers)?;
            self.written = Some(answers.clone());
        }
        self.behind = false;
        Ok(())
    }
}
