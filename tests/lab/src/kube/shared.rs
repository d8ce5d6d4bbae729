//! One costly thing for several tests of a program.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::Result;

/// Made by the first test that asks, shared with those that run beside it, gone with the last of
/// them: a static itself is never dropped, and its processes would outlive the program.
#[derive(Debug)]
pub struct Shared<T>(Mutex<Weak<T>>);

impl<T> Shared<T> {
    /// Nothing yet.
    #[expect(clippy::new_without_default, reason = "it is for statics, which want a const")]
    pub const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The one that is there, or what `make` returns; others who ask meanwhile wait for it.
    pub fn join(&self, make: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(there) = slot.upgrade() {
            return Ok(there);
        }
        let made = Arc::new(make()?);
        *slot = Arc::downgrade(&made);
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_and_again_when_nobody_holds_it() -> Result<()> {
        let shared = Shared::new();
        let first = shared.join(|| Ok(1))?;
        assert_eq!(*shared.join(|| Ok(2))?, 1);
        drop(first);
        assert_eq!(*shared.join(|| Ok(3))?, 3);
        Ok(())
    }
}
