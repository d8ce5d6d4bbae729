//! New flows, one after the other, and who answered each.
//!
//! Each datagram comes from a source port that was never used towards its address before: a port
//! that the system picks is sooner or later one of a flow that is there already, and that flow
//! stays where it is. None waits for the answer of the one before, which may never come.

use std::{
    collections::{HashMap, VecDeque},
    net::{SocketAddr, UdpSocket},
    os::fd::AsFd as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};
use roadstead_lab::Host;

use super::nodes::Answer;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_millis(50);
/// The first source port; those below take a privilege.
const FIRST_PORT: u16 = 1_024;

/// One datagram of a flow of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: Instant,
    /// None: nobody answered in time, or the port was closed.
    pub(crate) answer: Option<Answer>,
}

/// The source ports that are left towards each address, for all probers of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourcePorts(Arc<Mutex<HashMap<SocketAddr, u16>>>);

impl SourcePorts {
    /// One that was never used towards this address; none when all were.
    fn take(&self, to: SocketAddr) -> Option<u16> {
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let next = next.entry(to).or_insert(FIRST_PORT);
        let taken = *next;
        *next = taken.checked_add(1)?;
        Some(taken)
    }
}

/// Sends until it is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    wanted: Arc<AtomicBool>,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Asks these in turn, one at a time, `every` so often.
    pub(crate) fn start(
        client: &Host,
        ports: SourcePorts,
        to: Vec<SocketAddr>,
        every: Duration,
    ) -> Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let (sender, seen) = channel();
        let still = Arc::clone(&wanted);
        let asking = Asking { ports, waiting: VecDeque::new(), seen: sender };
        let thread = client.namespace().enter(|| {
            Ok(thread::spawn(move || asking.run(&to, every, &still).unwrap_or_default()))
        })?;
        Ok(Self { wanted, seen, thread: Some(thread) })
    }

    /// The next datagram for which `wanted` holds; fails when there is none for so long.
    pub(crate) fn wait(&self, within: Duration, wanted: impl Fn(&Seen) -> bool) -> Result<Seen> {
        let deadline = Instant::now() + within;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let seen = self.seen.recv_timeout(left).context("the packets did not follow")?;
            if wanted(&seen) {
                return Ok(seen);
            }
        }
    }

    /// Everything of the next `span`.
    pub(crate) fn collect(&self, span: Duration) -> Vec<Seen> {
        let deadline = Instant::now() + span;
        let left = || deadline.saturating_duration_since(Instant::now());
        std::iter::from_fn(|| self.seen.recv_timeout(left()).ok()).collect()
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The sending thread's.
struct Asking {
    ports: SourcePorts,
    /// Sent and not answered yet, the oldest first.
    waiting: VecDeque<Asked>,
    seen: Sender<Seen>,
}

struct Asked {
    sent: Instant,
    socket: UdpSocket,
}

impl Asking {
    /// Ends early when there is no source port left, or nobody listens any more.
    fn run(mut self, to: &[SocketAddr], every: Duration, wanted: &AtomicBool) -> Option<()> {
        let mut due = Instant::now();
        for to in to.iter().cycle() {
            if !wanted.load(Ordering::Relaxed) {
                break;
            }
            let port = self.ports.take(*to)?;
            let sent = Instant::now();
            if let Ok(socket) = ask(*to, port) {
                self.waiting.push_back(Asked { sent, socket });
            }
            due = (due + every).max(sent);
            self.listen(due)?;
        }
        Some(())
    }

    /// Hears answers until then.
    fn listen(&mut self, until: Instant) -> Option<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            for index in self.ready(left).into_iter().rev() {
                let asked = self.waiting.remove(index)?;
                self.tell(&asked, answer(&asked.socket))?;
            }
            while self.waiting.front().is_some_and(|asked| asked.sent.elapsed() > TIMEOUT) {
                let asked = self.waiting.pop_front()?;
                self.tell(&asked, None)?;
            }
            if left.is_zero() {
                return Some(());
            }
        }
    }

    /// Indices of those that can be read, in order; none after `patience`.
    fn ready(&self, patience: Duration) -> Vec<usize> {
        let fds = self.waiting.iter().map(|asked| asked.socket.as_fd());
        let mut fds: Vec<_> = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        if !ppoll(&mut fds, Some(TimeSpec::from(patience)), None).is_ok_and(|count| count > 0) {
            return Vec::new();
        }
        let readable = fds.iter().enumerate().filter(|(_, fd)| fd.any() == Some(true));
        readable.map(|(index, _)| index).collect()
    }

    fn tell(&self, asked: &Asked, answer: Option<Answer>) -> Option<()> {
        self.seen.send(Seen { sent: asked.sent, answer }).ok()
    }
}

fn ask(to: SocketAddr, port: u16) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    socket.set_nonblocking(true)?;
    socket.connect(to)?;
    socket.send(b"?")?;
    Ok(socket)
}

fn answer(socket: &UdpSocket) -> Option<Answer> {
    let mut buffer = [0; 8];
    let length = socket.recv(&mut buffer).ok()?;
    Answer::parse(buffer.get(..length)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_source_port_is_used_twice_towards_an_address() {
        let ports = SourcePorts::default();
        let [one, two] = [1, 2].map(|last| SocketAddr::from(([192, 0, 2, last], 53)));
        let mut taken: Vec<u16> = std::iter::from_fn(|| ports.clone().take(one)).collect();
        assert_eq!(ports.take(two), Some(FIRST_PORT));
        let count = taken.len();
        taken.dedup();
        assert_eq!((taken.len(), taken.first()), (count, Some(&FIRST_PORT)));
        assert_eq!(count, usize::from(u16::MAX - FIRST_PORT), "then it says that none is left");
    }
}
