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
    /// What the disk shall hold, where that is something else.
    wanted: Option<Memory>,
    writing: JoinSet<(Memory, Result<(), StateError>)>,
    /// Why the last write failed.
    pub(crate) failed: Option<String>,
}

impl Remembering {
    /// Goes on with what the disk holds in the router's state directory.
    pub(crate) fn new(state: &Path, written: Memory) -> Self {
        let path = Memory::path(state);
        Self { path, written, wanted: None, writing: JoinSet::new(), failed: None }
    }

    /// Has the disk follow: one write at a time, and the newest state when that is done.
    pub(crate) fn keep(&mut self, world: &World, ready: BTreeSet<ServiceKey>) {
        let current = self.writing.is_empty()
            && self.written.assignments == *world.assignments
            && self.written.ready == ready;
        self.wanted =
            (!current).then(|| Memory { assignments: (*world.assignments).clone(), ready });
        self.write();
    }

    fn write(&mut self) {
        if !self.writing.is_empty() {
            return;
        }
        let wanted = self.wanted.take().filter(|memory| *memory != self.written);
        let Some(memory) = wanted else { return };
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
            // What changed meanwhile does not wait for something else to change.
            self.write();
        }
        self.failed = failed;
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::SourceName;

    use super::*;
    use crate::reconcile::tests::world;

    #[tokio::test]
    async fn what_changes_during_a_write_is_written_after_it() {
        let directory = tempfile::tempdir().unwrap();
        let mut remembering = Remembering::new(directory.path(), Memory::default());
        let first = world();
        let assignments = Assignments { generation: 8, ..(*first.assignments).clone() };
        let second = World { assignments: assignments.into(), ..first.clone() };
        for (now, then) in [(&first, &second), (&second, &first)] {
            remembering.keep(now, BTreeSet::new());
            remembering.keep(then, BTreeSet::new());
            remembering.written().await;
            remembering.written().await;
            let kept = Memory::read(&remembering.path).unwrap();
            assert_eq!(kept.assignments, *then.assignments);
            // The next pair begins with another write than the disk holds.
            remembering.written = Memory::default();
        }
    }

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
