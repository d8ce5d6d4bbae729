//! The wall clock as the ledger counts by it.

use std::time::{Instant, SystemTime};

/// Seconds since 1970 that do not jump while the daemon runs: the wall clock at its start, and the
/// time that has passed since. Where the clock was set meanwhile, the next start sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    started: Instant,
    at: u64,
}

impl Clock {
    /// Reads the wall clock.
    pub(crate) fn start() -> Self {
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self { started: Instant::now(), at: at.map_or(0, |since| since.as_secs()) }
    }

    /// Now, in seconds.
    pub(crate) fn now(&self) -> u64 {
        self.at.saturating_add(self.started.elapsed().as_secs())
    }
}
