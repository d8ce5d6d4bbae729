//! What outlives a restart of the router: the last assignments (S8), and who was served.

use std::{
    collections::BTreeSet,
    future::pending,
    path::{Path, PathBuf},
};

use roadstead_daemon::{
    state::{self, StateError},
    words::chain,
};
use roadstead_model::{ServiceKey, local::Assignments};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::reconcile::World;

/// What outlives a restart of the router.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// The last assignments.
    pub(crate) assignments: Assignments,
    /// Services that have been ready, so that doubt holds them.
    pub(crate) ready: BTreeSet<ServiceKey>,
}

impl Memory {
    /// The file in the router's state directory.
    pub(crate) fn path(state: &Path) -> PathBuf {
        state.join("assignments.json")
    }

    /// Reads the copy. A damaged one is told and passed over: the speaker has the original.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        state::read(path).unwrap_or_else(|error| {
            tracing::error!(error = %error, "the last assignments are not used; the speaker is asked for them");
            None
        })
    }
}

/// What is kept on disk, and what is there already.
#[derive(Debug)]
pub(crate) struct Remembering {
    path: PathBuf,
    /// What the disk holds.
    written: Memory,
    writing: JoinSet<(Memory, Result<(), StateError>)>,
    /// Why the last write failed.
    pub(crate) failed: Option<String>,
}

impl Remembering {
    /// Goes on with what the disk holds in the router's state directory.
    pub(crate) fn new(state: &Path, written: Memory) -> Self {
        Self { path: Memory::path(state), written, writing: JoinSet::new(), failed: None }
    }

    /// Has the disk follow: one write at a time, and the newest state when that is done.
    pub(crate) fn keep(&mut self, world: &World, ready: BTreeSet<ServiceKey>) {
        let current = self.written.assignments == *world.assignments && self.written.ready == ready;
        if current || !self.writing.is_empty() {
            return;
        }
        let memory = Memory { assignments: (*world.assignments).clone(), ready };
        let path = self.path.clone();
        self.writing.spawn_blocking(move || {
            let result = state::write(&path, &memory);
            (memory, result)
        });
    }

    /// Resolves when a write has ended; never while there is none. Cancelling is safe.
    pub(crate) async fn written(&mut self) {
        let Some(ended) = self.writing.join_next().await else { return pending().await };
        // One that panicked has written nothing, and is tried again with the next plan.
        if let Ok((memory, result)) = ended {
            self.note(memory, result);
        }
    }

    fn note(&mut self, memory: Memory, result: Result<(), StateError>) {
        let failed = result.err().map(|error| chain(&error));
        if let Some(error) = &failed
            && self.failed != failed
        {
            tracing::error!(%error, "the assignments are not kept over a restart");
        }
        // What could not be written is tried again with the next plan.
        if failed.is_none() {
            self.written = memory;
        }
        self.failed = failed;
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::SourceName;

    use super::*;

    #[test]
    fn the_memory_is_read_as_it_was_written_and_a_damaged_one_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = Memory::path(directory.path());
        assert_eq!(Memory::read(&path), None);
        let key = ServiceKey::new(&SourceName::new("local"), "default", "web");
        let memory = Memory { ready: [key].into(), ..Memory::default() };
        state::write(&path, &memory).unwrap();
        assert_eq!(Memory::read(&path), Some(memory));
        std::fs::write(&path, "{\"assignments\":").unwrap();
        assert_eq!(Memory::read(&path), None);
    }
}
