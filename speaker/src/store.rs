//! What the speaker keeps on disk: the ledger, the ledger before it, and where each address is
//! answered for.
//!
//! A ledger that is damaged is set aside and the one before it is used, which may lack the last
//! change. Where that one is damaged too the speaker does not start: the dataplane goes on as it
//! is, and a person decides.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use roadstead_daemon::{
    state::{self, StateError},
    words::chain,
};
use roadstead_speaker_core::{
    gate::Answers,
    ipam::{Ledger, LedgerError},
};

/// The files.
#[derive(Debug)]
pub(crate) struct Store {
    ledger: PathBuf,
    previous: PathBuf,
    answers: PathBuf,
    /// The ledger that a restart would find.
    held: Ledger,
    /// Whether the last save failed.
    behind: bool,
    written: Option<Answers>,
}

/// What the last run left.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) ledger: Ledger,
    pub(crate) answers: Answers,
    /// What to tell people of a damaged ledger.
    pub(crate) damaged: Option<String>,
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
            previous: directory.join("ledger.previous.json"),
            answers: directory.join("answers.json"),
            held: Ledger::default(),
            behind: false,
            written: None,
        }
    }

    /// Where everything is kept.
    pub(crate) fn directory(&self) -> &Path {
        self.ledger.parent().unwrap_or(Path::new("."))
    }

    /// What the last run left; a ledger that is not there is an empty one.
    pub(crate) fn load(&mut self) -> Result<Stored, StoreError> {
        let (ledger, damaged) = match decode(&self.ledger) {
            Ok(ledger) => (ledger, None),
            Err(error) => {
                let previous = self.fall_back(&error).ok_or(error)?;
                (previous.0, Some(previous.1))
            }
        };
        self.held = ledger.unwrap_or_default();
        Ok(Stored { ledger: self.held.clone(), answers: self.load_answers(), damaged })
    }

    /// The ledger before the damaged one, and what to tell about it.
    fn fall_back(&self, error: &StoreError) -> Option<(Option<Ledger>, String)> {
        let ledger = decode(&self.previous).ok().flatten()?;
        let aside = self.ledger.with_extension("damaged.json");
        fs::rename(&self.ledger, &aside).ok()?;
        // The next start may come before the disk has taken a ledger.
        fs::rename(&self.previous, &self.ledger).ok()?;
        let message = format!(
            "{} was damaged and is set aside as {}; the ledger before it is used, and the last \
             change may be missing: compare `roadstead status` with what you expect",
            self.ledger.display(),
            aside.display()
        );
        tracing::error!(error = %chain(error), "{message}");
        Some((Some(ledger), message))
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

    /// The ledger that a restart would find: what may be announced whatever the disk does.
    pub(crate) fn held(&self) -> &Ledger {
        &self.held
    }

    /// Writes both; the ledger first. An error may come after the ledger was written: [`Self::held`]
    /// says which one counts. Without its answers a restart probes what it would have resumed.
    pub(crate) fn save(&mut self, ledger: &Ledger, answers: &Answers) -> Result<(), StateError> {
        self.behind = true;
        self.keep_previous();
        state::write_bytes(&self.ledger, ledger.encode().as_bytes())?;
        self.held = ledger.clone();
        if self.written.as_ref() != Some(answers) {
            state::write(&self.answers, answers)?;
            self.written = Some(answers.clone());
        }
        self.behind = false;
        Ok(())
    }

    /// Another name for the file that is about to be replaced: no byte is written. Failing to keep
    /// it is no reason to stop.
    fn keep_previous(&self) {
        let link = self.previous.with_extension("new");
        // A crash may have left one behind.
        let _ = fs::remove_file(&link);
        let kept =
            fs::hard_link(&self.ledger, &link).and_then(|()| fs::rename(&link, &self.previous));
        match kept {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::debug!(%error, "the ledger before this one is not kept");
            }
            _ => {}
        }
    }
}

/// Reads a ledger; `None` where there is none.
fn decode(path: &Path) -> Result<Option<Ledger>, StoreError> {
    let Some(bytes) = state::read_bytes(path)? else { return Ok(None) };
    Ledger::decode(&bytes)
        .map(Some)
        .map_err(|source| StoreError::Ledger { path: path.to_path_buf(), source: source.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn save_twice(directory: &Path) -> Store {
        let mut store = Store::new(directory);
        store.save(&Ledger::default(), &Answers::new()).unwrap();
        store.save(&Ledger::default(), &Answers::new()).unwrap();
        store
    }

    #[test]
    fn a_damaged_ledger_is_set_aside_for_the_one_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = save_twice(directory.path());
        fs::write(&store.ledger, "{\"version\":1,\"gen").unwrap();
        let stored = store.load().unwrap();
        assert!(stored.damaged.as_ref().unwrap().contains("ledger.damaged.json"));
        assert!(directory.path().join("ledger.damaged.json").exists());
        let again = Store::new(directory.path()).load().unwrap();
        assert_eq!((again.ledger, again.damaged), (stored.ledger, None), "a second start");
        assert!(store.ledger.exists());
    }

    #[test]
    fn two_damaged_ledgers_stop_the_start_and_stay_where_they_are() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = save_twice(directory.path());
        fs::write(&store.ledger, "").unwrap();
        fs::write(&store.previous, "banana").unwrap();
        let error = store.load().unwrap_err();
        assert!(error.to_string().contains("ledger.json cannot be used"), "{error}");
        assert!(store.ledger.exists());
    }

    #[test]
    fn no_ledger_is_an_empty_one() {
        let directory = tempfile::tempdir().unwrap();
        let stored = Store::new(directory.path()).load().unwrap();
        assert!(stored.ledger.addresses().is_empty() && stored.damaged.is_none());
    }
}
