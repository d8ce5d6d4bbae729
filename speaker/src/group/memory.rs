//! What a member keeps on disk: the newest term, whether it wrote in it, and how new its assignments
//! are. Without it a host begins anew, and follows whoever has more.

use std::path::{Path, PathBuf};

use roadstead_daemon::state::{self, StateError};
use roadstead_speaker_core::group::{Stored, Version};
use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug)]
pub(super) struct Memory {
    path: PathBuf,
    kept: Stored,
}

#[derive(Serialize, Deserialize)]
struct File {
    term: u64,
    wrote: bool,
    version: Version,
}

impl Memory {
    /// The file of a state directory, with what is in it. A damaged one is told, and is as none.
    pub(super) fn read(directory: &Path) -> Self {
        let path = directory.join("group.json");
        let file = state::read::<File>(&path).unwrap_or_else(|error| {
            tracing::warn!(error = %error, "this host joins its group as a new one");
            None
        });
        let kept =
            file.map(|file| Stored { term: file.term, wrote: file.wrote, version: file.version });
        Self { path, kept: kept.unwrap_or_default() }
    }

    /// What the last run left.
    pub(super) fn stored(&self) -> Stored {
        self.kept
    }

    /// Writes what changed. What a writer wrote last is told by its ledger: its edition alone is not
    /// written each time.
    pub(super) fn keep(&mut self, now: Stored) -> Result<(), StateError> {
        let same_term = (now.term, now.wrote) == (self.kept.term, self.kept.wrote);
        if same_term && (now.wrote || now.version == self.kept.version) {
            return Ok(());
        }
        let file = File { term: now.term, wrote: now.wrote, version: now.version };
        state::write(&self.path, &file)?;
        self.kept = now;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_there_after_a_restart_and_a_damaged_file_is_as_none() {
        let directory = tempfile::tempdir().unwrap();
        let mut memory = Memory::read(directory.path());
        assert_eq!(memory.stored(), Stored::default());
        let version = Version { term: 3, edition: 9 };
        let stored = Stored { term: 4, wrote: false, version };
        memory.keep(stored).unwrap();
        assert_eq!(Memory::read(directory.path()).stored(), stored);
        std::fs::write(directory.path().join("group.json"), "{").unwrap();
        assert_eq!(Memory::read(directory.path()).stored(), Stored::default());
    }
}
