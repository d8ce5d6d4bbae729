//! The thread of one directory: waits for events and deadlines, runs passes. A thread of its own,
//! since reading thousands of files must never hold up the runtime that answers ARP.

use std::{
    io::{self, PipeReader, PipeWriter},
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use roadstead_model::SourceName;
use tokio::sync::mpsc;

use super::{tracker::Timing, worker::Worker};
use crate::view::SourceView;

/// Where the directory threads send their views.
pub(crate) type Views = mpsc::Sender<(SourceName, Arc<SourceView>)>;

/// A running thread. Dropping it tells the thread to end, which it does after the pass that it may
/// be in; it writes nothing, so that ending at any moment is safe.
#[derive(Debug)]
pub(crate) struct Watching {
    /// The thread sees the other end hang up.
    _alive: PipeWriter,
}

/// Starts to watch `root`: a view is sent whenever it changed, the first one soon.
///
/// # Errors
/// When the system gives no thread or no pipe.
pub(crate) fn start(
    source: SourceName,
    root: PathBuf,
    timing: Timing,
    views: Views,
) -> io::Result<Watching> {
    let (ended, alive) = io::pipe()?;
    let watcher = move || {
        let worker = Worker::new(source.clone(), root, timing);
        Watcher { source, timing, views, ended, worker }.run();
    };
    thread::Builder::new().name("manifests".to_owned()).spawn(watcher)?;
    Ok(Watching { _alive: alive })
}

struct Watcher {
    source: SourceName,
    timing: Timing,
    views: Views,
    ended: PipeReader,
    worker: Worker,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Events,
    Deadline,
    Ended,
}

impl Watcher {
    fn run(mut self) {
        let mut sent: Option<Arc<SourceView>> = None;
        loop {
            let pass = self.worker.pass();
            let changed = sent.as_ref().is_none_or(|sent| !Arc::ptr_eq(sent, &pass.view));
            if changed {
                let message = (self.source.clone(), Arc::clone(&pass.view));
                if self.views.blocking_send(message).is_err() {
                    return;
                }
            }
            sent = Some(pass.view);
            if self.settled(pass.wake) == Woken::Ended {
                return;
            }
        }
    }

    /// Waits for events and then for a moment without any, or for the deadline.
    fn settled(&mut self, deadline: Instant) -> Woken {
        let mut woken = self.wait(deadline);
        let latest = Instant::now().checked_add(self.timing.settle_most).unwrap_or(deadline);
        while woken == Woken::Events {
            self.worker.hear();
            let quiet = Instant::now().checked_add(self.timing.settle).unwrap_or(latest);
            woken = self.wait(quiet.min(latest));
            if Instant::now() >= latest {
                break;
            }
        }
        woken
    }

    /// Waits for events, the deadline or the end. A wait that fails counts as a deadline: the pass
    /// after it finds out what there is.
    fn wait(&self, deadline: Instant) -> Woken {
        let mut fds = vec![PollFd::new(self.ended.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.worker.descriptor().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let woken = poll(&mut fds, timeout(deadline)).unwrap_or(0);
        let any = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        match (woken, any(fds.first()), any(fds.get(1))) {
            (0, _, _) => Woken::Deadline,
            (_, true, _) => Woken::Ended,
            (_, false, true) => Woken::Events,
            (_, false, false) => Woken::Deadline,
        }
    }
}

/// Milliseconds until a deadline, rounded up so that no wait ends before it.
fn timeout(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    let rounded = left.saturating_add(Duration::from_micros(999));
    PollTimeout::try_from(rounded.as_millis()).unwrap_or(PollTimeout::MAX)
}
