//! A value that one writer publishes and readers of the local socket wait for.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::timeout};

/// How long a long poll waits before it answers with what there is.
pub const LONG_POLL: Duration = Duration::from_secs(25);

/// A value with a generation.
pub trait Generation {
    /// Changes whenever the value does.
    fn generation(&self) -> u64;
}

impl Generation for roadstead_model::local::Assignments {
    fn generation(&self) -> u64 {
        self.generation
    }
}

impl Generation for roadstead_model::local::Programmed {
    fn generation(&self) -> u64 {
        self.generation
    }
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
    /// The value as soon as its generation is not `after`, or the value as it is when the long
    /// poll's time is over. `None` asks for the value at once.
    pub async fn after(&self, after: Option<u64>) -> Arc<T> {
        let mut receiver = self.0.clone();
        if let Some(after) = after {
            let other = receiver.wait_for(|value| value.generation() != after);
            // Both a time-out and a writer that is gone are answered with what there is.
            let _ = timeout(LONG_POLL, other).await;
        }
        receiver.borrow().clone()
    }
}
