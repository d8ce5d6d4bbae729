//! A cable that delays, loses, reorders and cuts, in user space: not every kernel has netem.
//!
//! A wire is a namespace with two interfaces, `inner` towards the host and `outer` towards the segment,
//! and a thread that carries frames between them. Everything random comes from one seed. Good for
//! some ten thousand frames a second; checksums and segments are left to the hosts' own kernels,
//! whose offloads are switched off for it.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use nix::{
    ifaddrs::getifaddrs,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::socket::{
        AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, recvfrom, sendto,
        socket,
    },
};

use crate::{host::Host, topology::Lab};

/// The longest frame: without offloads no interface of the lab sends more.
const LONGEST: usize = 9216;
/// `PACKET_OUTGOING` of linux/if_packet.h: our own frames, seen on their way out.
const OUTGOING: u8 = 4;
/// How long the thread waits at most before it looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);

/// What a wire does to frames, each way alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Added to every frame.
    pub delay: Duration,
    /// Up to so much more, at random: frames overtake each other.
    pub jitter: Duration,
    /// Frames lost, of a thousand.
    pub loss: u16,
    /// Nothing passes; the carrier stays.
    pub cut: bool,
}

/// A running wire; stopped on drop, after which nothing passes.
#[derive(Debug)]
pub struct Wire {
    rules: Arc<Mutex<Rules>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wire {
    /// Starts to carry frames on the wire of a leg that the topology made with `wired`.
    pub fn start(lab: &Lab, host: &str, interface: &str, seed: u64) -> Result<Self> {
        for feature in ["tx", "tso", "gso", "gro"] {
            lab.hosts().try_for_each(|host| quiet(host, feature))?;
        }
        let end = lab.host(&name(host, interface))?;
        let carrier = end.namespace().enter(|| Carrier::open(seed))?;
        let rules = Arc::<Mutex<Rules>>::default();
        let stop = Arc::<AtomicBool>::default();
        let thread = {
            let (rules, stop) = (Arc::clone(&rules), Arc::clone(&stop));
            thread::Builder::new().name(name(host, interface)).spawn(move || {
                let mut carrier = carrier;
                while !stop.load(Ordering::Relaxed) {
                    carrier.step(*rules.lock().unwrap_or_else(PoisonError::into_inner));
                }
            })?
        };
        Ok(Self { rules, stop, thread: Some(thread) })
    }

    /// From now on.
    pub fn set(&self, rules: Rules) {
        *self.rules.lock().unwrap_or_else(PoisonError::into_inner) = rules;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The namespace of the wire of a leg.
pub(crate) fn name(host: &str, interface: &str) -> String {
    format!("wire-{host}-{interface}")
}

/// Switches an offload off on every leg of a host: a wire carries whole frames.
fn quiet(host: &Host, feature: &str) -> Result<()> {
    host.legs().iter().try_for_each(|leg| host.offload(&leg.interface, feature, false))
}

/// The two ends and the frames between them.
struct Carrier {
    socket: OwnedFd,
    /// The far end for each interface index.
    far: BTreeMap<usize, LinkAddr>,
    /// By the moment they are due; the number keeps frames of one moment apart and in order.
    waiting: BTreeMap<(Instant, u64), (LinkAddr, Vec<u8>)>,
    number: u64,
    random: u64,
}

impl Carrier {
    /// Opens both ends in the namespace of the calling thread.
    fn open(seed: u64) -> Result<Self> {
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll)
            .context("cannot open a packet socket")?;
        let (inner, outer) = (link("inner")?, link("outer")?);
        let far = BTreeMap::from([(inner.ifindex(), outer), (outer.ifindex(), inner)]);
        Ok(Self { socket, far, waiting: BTreeMap::new(), number: 0, random: seed | 1 })
    }

    /// Waits for a frame or for one to be due, takes in what came, sends what is due.
    fn step(&mut self, rules: Rules) {
        let until = self
            .waiting
            .keys()
            .next()
            .map_or(LOOK, |(due, _)| due.saturating_duration_since(Instant::now()).min(LOOK));
        // Rounded up: a frame is never early.
        let ms = u16::try_from(until.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut ends = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        // An interruption is a turn of the loop like any other.
        let _ = poll(&mut ends, PollTimeout::from(ms));
        let mut frame = [0; LONGEST];
        while let Ok((length, Some(from))) =
            recvfrom::<LinkAddr>(self.socket.as_raw_fd(), &mut frame)
        {
            if from.pkttype() != OUTGOING {
                self.take_in(&from, frame.get(..length).unwrap_or_default(), rules);
            }
        }
        self.send_due();
    }

    fn take_in(&mut self, from: &LinkAddr, frame: &[u8], rules: Rules) {
        let Some(to) = self.far.get(&from.ifindex()).copied() else { return };
        if rules.cut || self.random(1000) < u64::from(rules.loss) {
            return;
        }
        let jitter = u64::try_from(rules.jitter.as_micros()).unwrap_or(u64::MAX);
        let more = Duration::from_micros(if jitter == 0 { 0 } else { self.random(jitter) });
        self.number += 1;
        let due = (Instant::now() + rules.delay + more, self.number);
        self.waiting.insert(due, (to, frame.to_vec()));
    }

    fn send_due(&mut self) {
        let now = Instant::now();
        while let Some(first) = self.waiting.first_entry().filter(|first| first.key().0 <= now) {
            let (to, frame) = first.remove();
            // A full queue loses the frame, as it would on any link.
            let _ = sendto(self.socket.as_raw_fd(), &frame, &to, MsgFlags::empty());
        }
    }

    /// Xorshift (Marsaglia 2003): small, seeded, good enough to lose frames by.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }
}

/// The link-layer address of an interface, with its index.
fn link(interface: &str) -> Result<LinkAddr> {
    let all = getifaddrs().map_err(io::Error::from)?;
    let mut own = all.filter(|entry| entry.interface_name == interface);
    let link = own.find_map(|entry| entry.address?.as_link_addr().copied());
    link.ok_or_else(|| anyhow!("the wire has no end {interface}"))
}
