//! New flows, one after the other, and who answered each.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use roadstead_lab::Host;

use super::nodes::Answer;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_millis(50);

/// One datagram of a flow of its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) sent: Instant,
    /// None: nobody answered in time, or the port was closed.
    pub(crate) answer: Option<Answer>,
}

/// Sends until it is dropped.
#[derive(Debug)]
pub(crate) struct Prober {
    wanted: Arc<AtomicBool>,
    seen: Receiver<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Prober {
    /// Asks these in turn, as fast as they answer but for `pause` after each.
    pub(crate) fn start(client: &Host, to: Vec<SocketAddr>, pause: Duration) -> Result<Self> {
        let wanted = Arc::new(AtomicBool::new(true));
        let (sender, seen) = channel();
        let still = Arc::clone(&wanted);
        let thread = client
            .namespace()
            .enter(|| Ok(thread::spawn(move || probe(&to, pause, &still, &sender))))?;
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

fn probe(to: &[SocketAddr], pause: Duration, wanted: &AtomicBool, seen: &Sender<Seen>) {
    for to in to.iter().cycle() {
        if !wanted.load(Ordering::Relaxed) {
            return;
        }
        let sent = Instant::now();
        let answer = ask(*to);
        if seen.send(Seen { sent, answer }).is_err() {
            return;
        }
        if !pause.is_zero() || answer.is_none() {
            thread::sleep(pause);
        }
    }
}

fn ask(to: SocketAddr) -> Option<Answer> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.set_read_timeout(Some(TIMEOUT)).ok()?;
    socket.connect(to).ok()?;
    socket.send(b"?").ok()?;
    let mut buffer = [0; 8];
    let length = socket.recv(&mut buffer).ok()?;
    Answer::parse(buffer.get(..length)?)
}
