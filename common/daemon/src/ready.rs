//! Readiness by drop-guards: a daemon is ready when nobody holds a [`Blocker`] any more.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

/// Whether the daemon is ready, and what it waits for.
#[derive(Clone, Debug)]
pub struct Readiness {
    blockers: Arc<Mutex<BTreeMap<&'static str, usize>>>,
    ready: watch::Sender<bool>,
}

/// Keeps the daemon unready until it is dropped.
#[derive(Debug)]
pub struct Blocker {
    name: &'static str,
    readiness: Readiness,
}

impl Default for Readiness {
    fn default() -> Self {
        Self { blockers: Arc::default(), ready: watch::Sender::new(true) }
    }
}

impl Readiness {
    /// Ready until somebody blocks it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the daemon unready until the blocker is dropped; `name` is told by `/readyz`.
    pub fn block(&self, name: &'static str) -> Blocker {
        let mut blockers = self.lock();
        *blockers.entry(name).or_default() += 1;
        self.ready.send_replace(false);
        drop(blockers);
        Blocker { name, readiness: self.clone() }
    }

    /// What is waited for; empty when ready.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    /// Whether nobody blocks.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Resolves when the daemon is ready. Cancelling is safe.
    pub async fn ready(&self) {
        let mut ready = self.ready.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.blockers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unblock(&self, name: &'static str) {
        let mut blockers = self.lock();
        if let Some(count) = blockers.get_mut(name) {
            *count -= 1;
            if *count == 0 {
                blockers.remove(name);
            }
        }
        self.ready.send_replace(blockers.is_empty());
    }
}

impl Drop for Blocker {
    fn drop(&mut self) {
        self.readiness.unblock(self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ready_when_the_last_blocker_is_dropped() {
        let readiness = Readiness::new();
        let first = readiness.block("ledger");
        let second = readiness.block("ledger");
        drop(first);
        assert!(!readiness.is_ready());
        assert_eq!(readiness.waiting_for(), ["ledger"]);
        drop(second);
        readiness.ready().await;
        assert!(readiness.waiting_for().is_empty());
    }
}
