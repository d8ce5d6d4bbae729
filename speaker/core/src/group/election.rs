//! Who writes.
//!
//! ```text
//!            heard of a writer ──────────────────────────────┐
//!           ┌──────────────────────────────────────────────┐ ▼
//!  Starting ┤                                             Follower ◀─ a newer term, or the same of a
//!           └─ all heard, or the grace is over,            │   ▲      better rank; a drain
//!              and nobody better is there ──▶ Writer ──────┼───┘
//!                                               ▲          │
//!                                               └──────────┘ nobody writes, nobody better is there
//! ```

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::message::MAX_COUNTER;

/// A member by its place in the order of rank; 0 goes first.
pub type Rank = usize;

/// The spans of time that an election knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a host may be silent before it counts as dead.
    pub detection: Duration,
    /// How long after a start a host that was never heard may still be alive.
    pub grace: Duration,
}

/// How new assignments are: those of a newer term, and in one term those of a later edition.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// Of the host that wrote them.
    pub term: u64,
    /// Counts what this host wrote.
    pub edition: u64,
}

/// What a host of the group does, in its own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It has just started and decides nothing yet.
    Starting,
    /// It writes.
    Writes,
    /// It does not.
    Follows,
}

/// What a host says of itself, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The newest term that it has heard of; its own where it writes.
    pub term: u64,
    /// What it does.
    pub standing: Standing,
    /// The writer that it hears itself.
    pub hears: Option<Rank>,
    /// How new the assignments are that it has on disk.
    pub version: Version,
    /// Whether it may be asked to write: it is not drained.
    pub fit: bool,
}

/// What outlives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// The newest term that it had heard of.
    pub term: u64,
    /// Whether this host wrote in that term.
    pub wrote: bool,
    /// How new the assignments on disk are.
    pub version: Version,
}

/// What a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing: it has just started, and listens.
    Starting,
    /// Assigns addresses and announces them.
    Writer {
        /// Its term.
        term: u64,
    },
    /// Serves what another assigns.
    Follower {
        /// Whom it follows; `None` while nobody writes.
        writer: Option<Rank>,
    },
}

/// The state machine of one host.
#[derive(Clone, Debug)]
pub struct Election {
    settings: Settings,
    me: Rank,
    others: BTreeMap<Rank, Peer>,
    role: Role,
    /// The newest term heard of.
    term: u64,
    stored: Stored,
    version: Version,
    fit: bool,
    grace_ends: Instant,
    /// When this host was last given anything to do.
    ran: Instant,
}

/// Another member.
#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    /// Its last heartbeat, and when it came.
    last: Option<(Heartbeat, Instant)>,
    /// When it was last there and not understood.
    refused: Option<Instant>,
}

impl Election {
    /// A host that starts at `now` as the member `me` of `members`.
    pub fn new(settings: Settings, me: Rank, members: usize, stored: Stored, now: Instant) -> Self {
        let others = (0..members).filter(|rank| *rank != me);
        Self {
            settings,
            me,
            others: others.map(|rank| (rank, Peer::default())).collect(),
            role: Role::Starting,
            term: stored.term.min(MAX_COUNTER),
            stored,
            version: stored.version,
            fit: true,
            grace_ends: now + settings.grace,
            ran: now,
        }
    }

    /// What this host does.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The newest term that was heard of.
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Who writes as far as this host knows, itself included.
    pub fn writer(&self) -> Option<Rank> {
        match self.role {
            Role::Starting => None,
            Role::Writer { .. } => Some(self.me),
            Role::Follower { writer } => writer,
        }
    }

    /// Whether another member was heard within the time of detection.
    pub fn is_alive(&self, rank: Rank, now: Instant) -> bool {
        self.alive(now).any(|(other, _)| other == rank)
    }

    /// What this host says of itself now.
    pub fn heartbeat(&self, now: Instant) -> Heartbeat {
        let (standing, hears) = match self.role {
            Role::Starting => (Standing::Starting, None),
            Role::Writer { .. } => (Standing::Writes, None),
            Role::Follower { writer } => {
                (Standing::Follows, writer.filter(|rank| self.is_alive(*rank, now)))
            }
        };
        Heartbeat { term: self.term, standing, hears, version: self.version, fit: self.fit }
    }

    /// A heartbeat of another member has come.
    pub fn handle_heartbeat(&mut self, from: Rank, heartbeat: Heartbeat, now: Instant) {
        self.wake(now);
        let alive = self.is_alive(from, now);
        let Some(peer) = self.others.get_mut(&from) else { return };
        self.term = self.term.max(heartbeat.term);
        // One that is back before it was missed goes on as what it was, once it has heard so.
        let is_back = alive && heartbeat.standing == Standing::Starting;
        if !is_back || peer.last.is_some_and(|(said, _)| said.standing == Standing::Starting) {
            peer.last = Some((heartbeat, now));
        }
        self.decide(now);
    }

    /// Another member is there and cannot be understood: its key or its release is another. It may well
    /// be the writer, so that a host which did not write last leaves it to that.
    pub fn handle_refused(&mut self, rank: Rank, now: Instant) {
        if let Some(peer) = self.others.get_mut(&rank) {
            peer.refused = Some(now);
        }
        self.decide(now);
    }

    /// This host may write, or had rather not.
    pub fn handle_fitness(&mut self, fit: bool, now: Instant) {
        if self.fit != fit {
            self.fit = fit;
            self.decide(now);
        }
    }

    /// Assignments so new are on this host's disk now.
    pub fn handle_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Time has passed. Must be called at [`Self::next_deadline`], and at least four times within the
    /// time of detection: a host that is late has been asleep.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.wake(now);
        self.decide(now);
    }

    /// When [`Self::handle_timeout`] may find something to do; `None` = nothing until the next input.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        let heard = self.others.values().filter_map(|peer| peer.last.map(|(_, at)| at));
        let deaths = heard.map(|at| at + self.settings.detection);
        let refused = self.others.values().filter_map(|peer| peer.refused);
        let deaths = deaths.chain(refused.map(|at| at + self.settings.grace));
        let grace = Some(self.grace_ends);
        deaths.chain(grace).filter(|at| *at > now).min()
    }

    /// Whoever did not run cannot say that others were silent: their words wait to be read. A writer that
    /// slept for so long that another may have taken over asks, as after a restart.
    fn wake(&mut self, now: Instant) {
        let ran = std::mem::replace(&mut self.ran, now);
        let slept = now.saturating_duration_since(ran);
        if slept < self.settings.detection / 2 {
            return;
        }
        if slept >= self.settings.detection && matches!(self.role, Role::Writer { .. }) {
            self.stored = Stored { term: self.term, wrote: true, version: self.version };
            self.role = Role::Starting;
            self.grace_ends = now + self.settings.grace;
            self.others.values_mut().for_each(|peer| *peer = Peer::default());
            return;
        }
        let detection = self.settings.detection;
        for (_, at) in self.others.values_mut().filter_map(|peer| peer.last.as_mut()) {
            if ran.saturating_duration_since(*at) < detection {
                *at = now;
            }
        }
    }

    /// The others that were heard within the time of detection, with what they said last.
    fn alive(&self, now: Instant) -> impl Iterator<Item = (Rank, Heartbeat)> {
        let detection = self.settings.detection;
        self.others.iter().filter_map(move |(rank, peer)| {
            let (heartbeat, at) = peer.last?;
            (now.saturating_duration_since(at) < detection).then_some((*rank, heartbeat))
        })
    }

    /// Whether somebody may write whom this host does not hear.
    fn is_unsure(&self, now: Instant) -> bool {
        let unheard = now < self.grace_ends && self.others.values().any(|peer| peer.last.is_none());
        let refused = |at: Instant| now.saturating_duration_since(at) < self.settings.grace;
        let refused = self.others.values().any(|peer| peer.refused.is_some_and(refused));
        // Later on it is one member that is lost, and no reason to leave the others without a writer.
        unheard || (refused && self.role == Role::Starting && !self.wrote_last())
    }

    fn decide(&mut self, now: Instant) {
        self.role = match self.role {
            Role::Starting => self.starting(now),
            Role::Writer { term } => self.writing(term, now),
            Role::Follower { .. } => self.following(now),
        };
    }

    fn starting(&mut self, now: Instant) -> Role {
        if self.is_missed(now) {
            return Role::Writer { term: self.term };
        }
        let writer = self.others_writer(now);
        match writer {
            Some(_) => Role::Follower { writer },
            None if self.is_unsure(now) => Role::Starting,
            None => self.elect(now),
        }
    }

    /// Whether this host wrote before it was restarted, and the others have not noticed that it was
    /// away.
    fn is_missed(&self, now: Instant) -> bool {
        self.wrote_last() && self.alive(now).any(|(_, said)| said.hears == Some(self.me))
    }

    fn writing(&mut self, term: u64, now: Instant) -> Role {
        if term < self.term {
            return self.following(now);
        }
        let better = self.claimants(now).find(|rank| *rank < self.me);
        if better.is_some() {
            return Role::Follower { writer: better };
        }
        if !self.fit && self.has_fit_follower(now) {
            return Role::Follower { writer: None };
        }
        Role::Writer { term }
    }

    fn following(&mut self, now: Instant) -> Role {
        let writer = self.others_writer(now);
        if writer.is_some() || self.is_unsure(now) {
            return Role::Follower { writer };
        }
        self.elect(now)
    }

    /// Those that write in the newest term, the best rank first.
    fn claimants(&self, now: Instant) -> impl Iterator<Item = Rank> {
        let of_term = move |(_, said): &(Rank, Heartbeat)| {
            said.standing == Standing::Writes && said.term == self.term
        };
        self.alive(now).filter(of_term).map(|(rank, _)| rank)
    }

    /// The other host that writes: heard by this one, or else by another that follows it.
    fn others_writer(&self, now: Instant) -> Option<Rank> {
        let told = |(_, said): (Rank, Heartbeat)| {
            let heard = said.hears.filter(|_| said.term == self.term)?;
            // What it says of itself counts more than what others say of it.
            (heard != self.me && !self.is_alive(heard, now)).then_some(heard)
        };
        self.claimants(now).next().or_else(|| self.alive(now).find_map(told))
    }

    fn has_fit_follower(&self, now: Instant) -> bool {
        self.alive(now).any(|(_, said)| said.fit && said.standing == Standing::Follows)
    }

    /// Nobody writes: the newest assignments go on, at the best rank among those that have them. A
    /// drained host writes only where there is no other.
    fn elect(&mut self, now: Instant) -> Role {
        let merit = |rank: Rank, fit: bool, version: Version| (fit, version, Reverse(rank));
        let mine = merit(self.me, self.fit, self.version);
        if self.alive(now).any(|(rank, said)| merit(rank, said.fit, said.version) > mine) {
            return Role::Follower { writer: None };
        }
        if self.role != Role::Starting || !self.wrote_last() {
            // Beyond that nobody would understand us, and each of us would write alone.
            self.term = self.term.saturating_add(1).min(MAX_COUNTER);
        }
        Role::Writer { term: self.term }
    }

    /// Whether the newest term that was heard of is the one in which this host wrote before its restart:
    /// then it goes on in it, and yields to whoever has taken over meanwhile.
    fn wrote_last(&self) -> bool {
        self.stored.wrote && self.stored.term == self.term
    }
}

#[cfg(test)]
mod tests;
