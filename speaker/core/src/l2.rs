//! Announcing addresses on a segment by ARP and NDP.
//!
//! The [`Announcer`] is one state machine for all (address, leg) pairs. It does no I/O and reads no
//! clock: it is told which addresses are wanted where ([`Announcer::set_wanted`]), which legs there
//! are ([`Announcer::set_legs`]), what was heard ([`Announcer::handle_frame`]) and what time it is,
//! and yields frames ([`Announcer::poll_transmit`]), events ([`Announcer::poll_event`]) and its next
//! deadline ([`Announcer::next_deadline`]).
//!
//! Each pair runs through these states:
//!
//! ```text
//!   wanted ──▶ Probing ──▶ Probed ──▶ Announcing ──▶ Held ─┐
//!     │          ▲  │        │  ▲          ▲          ▲    │ refresh for ever
//!     │    retry │  │ claim  │  └──────────┼──────────┤◀───┘
//!     │          │  ▼        ▼   not to be │ announced│
//!     │         Conflict ◀───┘             │          │
//!     └── held before a restart ───────────┘          a claim here: defend, alarm
//! ```
//!
//! Standards: RFC 5227 (probe, announce, conflict, defence), RFC 4861 §7.2.6 (unsolicited
//! advertisements), RFC 4862 §5.4 with RFC 7527 (duplicate address detection), RFC 3810 (joining
//! the solicited-node group where switches snoop). What goes beyond them: the *fast* probe (three
//! within 200 ms), the longer burst, both forms of an ARP announcement, and the refresh for ever.
//!
//! What it never does: send anything for an address that is not wanted on that leg, announce or
//! answer before a probe has passed, defend more often than once in 10 s, keep state per sender.
//!
//! Ownership among several hosts has its place in [`Hold`]: whoever decides it gives
//! `Hold::Announce` to the owner's announcer and `Hold::Probe` to the others; the expiry that
//! fences an owner which has stopped renewing it is the kernel program's, not this module's.

use std::{net::IpAddr, net::Ipv6Addr, sync::Arc, time::Duration};

use roadstead_model::config::Probe;
use roadstead_wire::Mac;

mod announcer;
mod dice;
mod entry;
mod observe;
mod queue;
mod schedule;

pub use crate::gate::{Hold, Wire};
pub use announcer::{Announcer, WantedByLeg};

/// Name of a leg: names outlive an interface that vanishes and returns with another index.
pub type LegName = Arc<str>;

/// A leg as the segment sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Interface name.
    pub name: LegName,
    /// Its Ethernet address: source of all frames and content of all answers.
    pub mac: Mac,
    /// Source of multicast reports; `None` where the leg has none (yet).
    pub link_local: Option<Ipv6Addr>,
}

/// How the announcer goes about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How an address is probed before its first announcement.
    pub probe: Probe,
    /// Mean interval of the refresh, jittered by a quarter either way.
    pub refresh: Duration,
    /// Varies jitter and nonces from host to host and run to run.
    pub seed: u64,
}

/// What is wanted of one address on one leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Probe it only, or announce it.
    pub hold: Hold,
    /// Who answers solicitations once it is announced.
    pub answering: Answering,
}

/// Who answers solicitations for an announced address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// The kernel program; the announcer stays silent.
    Kernel,
    /// The announcer.
    UserSpace,
}

/// What the announcer has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nobody answered for the address: it may be announced.
    Probed {
        /// The address.
        address: IpAddr,
        /// The leg.
        leg: LegName,
    },
    /// The first announcement is on its way.
    Announced {
        /// The address.
        address: IpAddr,
        /// The leg.
        leg: LegName,
    },
    /// The address was announced; from here on nothing is sent for it.
    Silent {
        /// The address.
        address: IpAddr,
        /// The leg.
        leg: LegName,
    },
    /// Another station claims the address. Told once when an address turns out to be taken, and
    /// with each defence of an announced one (at most once in 10 s).
    Conflict {
        /// The address.
        address: IpAddr,
        /// The leg.
        leg: LegName,
        /// The other station.
        mac: Mac,
        /// Whether we announce the address.
        phase: Phase,
        /// What it did.
        claim: Claim,
    },
    /// An announced address that was claimed has not been claimed again for a minute or more.
    Settled {
        /// The address.
        address: IpAddr,
        /// The leg.
        leg: LegName,
    },
}

/// When a conflict was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Before the address was announced: it is not announced, and probed again later.
    BeforeUse,
    /// While it is announced: it is defended (RFC 5227 §2.4, the third way: for ever, but at most
    /// once in 10 s).
    InUse,
}

/// What another station did with an address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Claim {
    /// It uses the address: it sent from it or answered for it.
    Uses,
    /// It asks whether the address is free, to use it.
    Probes,
}

/// What the announcer has done since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Solicitations heard for addresses that we announce.
    pub requests: u64,
    /// Answers sent.
    pub answers: u64,
    /// Answers not sent because the leg's limit was reached.
    pub answers_limited: u64,
    /// Probes sent.
    pub probes: u64,
    /// Gratuitous ARP packets and unsolicited advertisements sent.
    pub announcements: u64,
    /// Claims by other stations.
    pub conflicts: u64,
    /// Claims answered by a defence.
    pub defences: u64,
    /// Frames of our own that came back.
    pub own_frames: u64,
    /// Frames not sent because a leg took none for long.
    pub overflows: u64,
}

#[cfg(test)]
mod tests;
