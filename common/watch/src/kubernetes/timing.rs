//! How long things take that watching a cluster waits for.

use std::time::Duration;

/// The spans of time that watching a cluster knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    /// How long changes are gathered before a view is made of them.
    pub(crate) settle: Duration,
    /// How long the beginning of an answer is waited for.
    pub(crate) answer: Duration,
    /// How long a watch may be silent: the API sends a bookmark each minute.
    pub(crate) idle: Duration,
    /// How long a watch is asked to last, in whole seconds; up to a fifth is added by chance.
    pub(crate) watch: Duration,
    /// How long a watch must last to prove that all is well.
    pub(crate) healthy: Duration,
    /// The mean wait after a first failure.
    pub(crate) retry: Duration,
    /// The longest wait after failures.
    pub(crate) retry_most: Duration,
    /// The longest wait that the API server may ask for (`Retry-After`).
    pub(crate) asked_most: Duration,
    /// How often credentials on the disk are looked at.
    pub(crate) credentials: Duration,
    /// How long to wait after a token was renewed, or could not be.
    pub(crate) renewal: Duration,
    /// How long to wait before a kind is asked for again that the server did not know.
    pub(crate) absent: Duration,
    /// The mean wait before a kind is listed again whose list is not believed: the server may have
    /// come to itself without a word.
    pub(crate) doubt: Duration,
    /// How often it is written down how far history was followed.
    pub(crate) notes: Duration,
}

impl Timing {
    /// What daemons use. A watch with its addition stays below the 295 s that kube allows.
    pub(crate) const DEFAULT: Self = Self {
        settle: Duration::from_millis(5),
        answer: Duration::from_secs(15),
        idle: Duration::from_secs(90),
        watch: Duration::from_secs(240),
        healthy: Duration::from_secs(10),
        retry: Duration::from_millis(200),
        retry_most: Duration::from_secs(30),
        asked_most: Duration::from_secs(300),
        credentials: Duration::from_secs(5),
        renewal: Duration::from_secs(60),
        absent: Duration::from_secs(60),
        doubt: Duration::from_secs(60),
        notes: Duration::from_secs(10),
    };
}
