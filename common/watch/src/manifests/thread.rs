//! The thread of one directory: waits for events and deadlines, runs passes. A thread of its own,
//! since reading thousands of files must never hold up the runtime that answers ARP.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::fd::AsFd,
    path::PathBuf,
    sync::{Arc, mpsc as blocking},
    thread,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use roadstead_model::SourceName;
use tokio::sync::oneshot;

use super::{tracker::Timing, worker::Worker};
use crate::{
    confirm::Confirmed,
    view::{SourceView, Views},
};

/// A running thread. Dropping it tells the thread to end, which it does after the pass that it may
/// be in; it writes nothing, so that ending at any moment is safe.
#[derive(Debug)]
pub(crate) struct Watching {
    /// A byte for each order; the thread sees it hang up at the end.
    bell: PipeWriter,
    orders: blocking::Sender<Order>,
}

/// An order to confirm, with the place for its answer.
type Order = oneshot::Sender<Confirmed>;

impl Watching {
    /// Orders the thread to take what can be read now as the truth. The answer is there once the
    /// view that follows from it was sent; none comes from a thread that has ended.
    pub(crate) fn confirm(&self) -> oneshot::Receiver<Confirmed> {
        let (answer, answered) = oneshot::channel();
        if self.orders.send(answer).is_ok() {
            // A thread that has ended drops the answer, which tells as much.
            let _ = (&self.bell).write_all(b"!");
        }
        answered
    }
}

/// Starts to watch `root`: a view is sent whenever it changed, the first one soon. `metallb` is the
/// namespace whose MetalLB objects are read, if any.
///
/// # Errors
/// When the system gives no thread or no pipe.
pub(crate) fn start(
    source: SourceName,
    root: PathBuf,
    metallb: Option<Arc<str>>,
    timing: Timing,
    views: Views,
) -> io::Result<Watching> {
    let (rung, bell) = io::pipe()?;
    let (orders, waiting) = blocking::channel();
    let watcher = move || {
        let worker = Worker::new(source.clone(), root, metallb, timing);
        Watcher { source, timing, views, rung, orders: waiting, worker, sent: None }.run();
    };
    thread::Builder::new().name("manifests".to_owned()).spawn(watcher)?;
    Ok(Watching { bell, orders })
}

struct Watcher {
    source: SourceName,
    timing: Timing,
    views: Views,
    rung: PipeReader,
    orders: blocking::Receiver<Order>,
    worker: Worker,
    sent: Option<Arc<SourceView>>,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Woken {
    Events,
    Deadline,
    Ordered,
    Ended,
}

impl Watcher {
    fn run(mut self) {
        loop {
            let pass = self.worker.pass();
            let mut wake = pass.wake;
            if !self.send(pass.view) {
                return;
            }
            while let Ok(answer) = self.orders.try_recv() {
                let (pass, confirmed) = self.worker.confirm();
                wake = pass.wake;
                if !self.send(pass.view) {
                    return;
                }
                // Whoever asked may have gone away; the order is carried out all the same.
                let _ = answer.send(confirmed);
            }
            if self.settled(wake) == Woken::Ended {
                return;
            }
        }
    }

    /// Sends a view that is not the one sent last. False when nobody takes it any more.
    fn send(&mut self, view: Arc<SourceView>) -> bool {
        if self.sent.as_ref().is_some_and(|sent| Arc::ptr_eq(sent, &view)) {
            return true;
        }
        self.sent = Some(Arc::clone(&view));
        self.views.blocking_send((self.source.clone(), view)).is_ok()
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

    /// Waits for events, an order, the deadline or the end. A wait that fails counts as a deadline: the pass
    /// after it finds out what there is.
    fn wait(&self, deadline: Instant) -> Woken {
        let mut fds = vec![PollFd::new(self.rung.as_fd(), PollFlags::POLLIN)];
        fds.extend(self.worker.descriptor().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        let woken = poll(&mut fds, timeout(deadline)).unwrap_or(0);
        let any = |fd: Option<&PollFd<'_>>| fd.and_then(PollFd::any).unwrap_or(false);
        match (woken, any(fds.first()), any(fds.get(1))) {
            (0, _, _) => Woken::Deadline,
            (_, true, _) => self.rung(),
            (_, false, true) => Woken::Events,
            (_, false, false) => Woken::Deadline,
        }
    }

    /// A byte is an order, the end of the pipe is the end.
    fn rung(&self) -> Woken {
        match (&self.rung).read(&mut [0; 1]) {
            Ok(1..) => Woken::Ordered,
            Ok(0) | Err(_) => Woken::Ended,
        }
    }
}

/// Milliseconds until a deadline, rounded up so that no wait ends before it.
fn timeout(deadline: Instant) -> PollTimeout {
    let left = deadline.saturating_duration_since(Instant::now());
    let rounded = left.saturating_add(Duration::from_micros(999));
    PollTimeout::try_from(rounded.as_millis()).unwrap_or(PollTimeout::MAX)
}
