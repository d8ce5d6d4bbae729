//! A value that one writer publishes and readers of the local socket wait for.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// How long a long poll waits before it answers with what there is.
pub const LONG_POLL: Duration = Duration::from_secs(25);

/// A value with a generation, counted by one run of a daemon.
pub trait Generation {
    /// Another for every run.
    fn run(&self) -> u64;

    /// Changes whenever the value does.
    fn generation(&self) -> u64;
}

impl Generation for roadstead_model::local::Assignments {
    fn run(&self) -> u64 {
        self.run
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}

impl Generation for roadstead_model::local::Programmed {
    fn run(&self) -> u64 {
        self.run
    }

    fn generation(&self) -> u64 {
        self.generation
    }
}

/// Which value a reader has seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its generation.
    pub generation: u64,
    /// Its run; `None` = whichever, for a reader that does not know of runs.
    pub run: Option<u64>,
}

impl Seen {
    /// That `value` was seen.
    pub fn of(value: &impl Generation) -> Self {
        Self { generation: value.generation(), run: Some(value.run()) }
    }

    fn is(self, value: &impl Generation) -> bool {
        self.generation == value.generation() && self.run.is_none_or(|run| run == value.run())
    }
}

/// As the query of a long poll.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after={}", self.generation)?;
        self.run.map_or(Ok(()), |run| write!(f, "&run={run}"))
    }
}

/// A number for this run of the daemon, which no other run has: never 0, and small enough for every
/// reader of JSON (RFC 8259 section 6).
pub fn run_number() -> u64 {
    // The keys of the standard library's hasher differ from process to process.
    (RandomState::new().hash_one(std::process::id()) >> 11) | 1
}

/// The reading side of a published value: clones share it.
#[derive(Clone, Debug)]
pub struct Published<T>(watch::Receiver<Arc<T>>);

/// The one writer of a published value.
#[derive(Debug)]
pub struct Publisher<T>(watch::Sender<Arc<T>>);

/// A published value that starts as `first`.
pub fn published<T>(first: T) -> (Publisher<T>, Published<T>) {
    let (sender, receiver) = watch::channel(Arc::new(first));
    (Publisher(sender), Published(receiver))
}

impl<T> Publisher<T> {
    /// Replaces the value; waiting readers wake up.
    pub fn publish(&self, value: T) {
        self.0.send_replace(Arc::new(value));
    }

    /// The value now.
    pub fn current(&self) -> Arc<T> {
        self.0.borrow().clone()
    }
}

impl<T> Published<T> {
    /// The value now.
    pub fn current(&self) -> Arc<T> {
        self.0.borrow().clone()
    }

    /// Resolves with the next value that this reader has not seen; `None` once the writer is gone.
    /// Cancelling is safe.
    pub async fn changed(&mut self) -> Option<Arc<T>> {
        self.0.changed().await.ok()?;
        Some(self.0.borrow_and_update().clone())
    }
}

impl<T: Generation> Published<T> {
    /// The value as soon as it is another than was seen, or the value as it is when the long poll's
    /// time is over. `None` asks for the value at once.
    pub async fn after(&self, seen: Option<Seen>) -> Arc<T> {
        let mut receiver = self.0.clone();
        if let Some(seen) = seen {
            let other = receiver.wait_for(|value| !seen.is(value.as_ref()));
            // Both a time-out and a writer that is gone are answered with what there is.
            let _ = timeout(LONG_POLL, other).await;
        }
        receiver.borrow().clone()
    }
}
