//! Bounded waits on a level: the only place of the lab that polls.

use std::{
    io, thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

const SHORTEST: Duration = Duration::from_millis(1);
const LONGEST: Duration = Duration::from_millis(20);

/// A call on a socket with a time limit, made again where the kernel interrupted it for a reason that
/// has nothing to do with the socket (`signal(7)`: such calls are not restarted).
///
/// # Errors
/// What the call says otherwise.
pub fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Tries until `attempt` succeeds; after `within` its last error is returned with `what`.
pub fn eventually<T>(
    what: &str,
    within: Duration,
    mut attempt: impl FnMut() -> Result<T>,
) -> Result<T> {
    let deadline = Instant::now() + within;
    let mut pause = SHORTEST;
    loop {
        let error = match attempt() {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        if Instant::now() >= deadline {
            return Err(error).with_context(|| format!("not within {within:?}: {what}"));
        }
        thread::sleep(pause);
        pause = (pause * 2).min(LONGEST);
    }
}

/// The opposite: `holds` must succeed again and again for the whole of `span`.
pub fn throughout(what: &str, span: Duration, mut holds: impl FnMut() -> Result<()>) -> Result<()> {
    let end = Instant::now() + span;
    loop {
        if let Err(error) = holds() {
            bail!("did not hold for {span:?}: {what}: {error:#}");
        }
        if Instant::now() >= end {
            return Ok(());
        }
        thread::sleep(LONGEST);
    }
}
