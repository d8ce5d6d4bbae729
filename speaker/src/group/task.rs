//! The task: links and the election's clock.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Result;
use nix::time::{ClockId, clock_gettime};
use roadstead_daemon::words::chain;
use roadstead_link::Lane;
use roadstead_model::{
    group::{GroupStatus, MemberStatus},
    local::Lease,
};
use roadstead_speaker_core::{
    gate::Elsewhere,
    group::{self, Election, Heartbeat, Rank, Settings, Stored, Version, message::Assigned},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep_until},
};

use super::{
    Own, Role, Setup, View,
    links::{Event, Links, outgoing},
    memory::Memory,
};
use crate::sparing::{Line, Sparing};

/// How many times the detection a start waits for members that were never heard: connecting, shaking
/// hands and a first heartbeat take one.
const GRACE: u32 = 4;

/// One host's part in its group.
pub(crate) struct Task {
    setup: Setup,
    election: Election,
    memory: Memory,
    /// What each writer has sent on the link that it has now.
    assigned: BTreeMap<Rank, Arc<Assigned>>,
    /// Why there is no link to a member.
    down: BTreeMap<Rank, String>,
    lease: watch::Sender<Lease>,
    urgent: watch::Sender<Arc<[u8]>>,
    bulk: watch::Sender<Arc<[u8]>>,
    told: group::Role,
    deaf: Option<String>,
    sparing: Sparing,
}

impl Task {
    /// Goes on with what the last run left in the state directory; `edition` is the generation of the
    /// ledger there.
    pub(crate) fn new(setup: Setup, directory: &Path, edition: u64) -> Self {
        let memory = Memory::read(directory);
        let mut stored = memory.stored();
        if stored.wrote {
            stored.version = Version { term: stored.term, edition };
        }
        let detection = setup.config.detection();
        let settings = Settings { detection, grace: detection.saturating_mul(GRACE) };
        let members = setup.config.members.len();
        let election = Election::new(settings, setup.me, members, stored, Instant::now());
        let down = (0..members).map(|rank| (rank, "not heard yet".to_owned())).collect();
        Self {
            told: election.role(),
            election,
            memory,
            assigned: BTreeMap::new(),
            down,
            lease: watch::channel(Lease::default()).0,
            urgent: watch::channel(Arc::from(&b""[..])).0,
            bulk: watch::channel(Arc::from(&b""[..])).0,
            deaf: None,
            sparing: Sparing::default(),
            setup,
        }
    }

    /// How long the kernel program may answer for this speaker.
    pub(crate) fn lease(&self) -> watch::Receiver<Lease> {
        self.lease.subscribe()
    }

    /// The view before anybody was heard.
    pub(crate) fn first_view(&self) -> View {
        self.view(Instant::now())
    }

    /// Runs until whoever speaks for this host is gone.
    pub(super) async fn run(
        mut self,
        mut own: watch::Receiver<Own>,
        view: watch::Sender<View>,
    ) -> Result<()> {
        let mut links = Links::start(&self.setup, outgoing(&self.urgent, &self.bulk));
        let mut beat = interval(self.setup.config.heartbeat);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let now = Instant::now();
            let idle = now + Duration::from_secs(3600);
            let deadline = self.election.next_deadline(now).unwrap_or(idle);
            tokio::select! {
                _ = beat.tick() => self.speak(),
                event = links.next(&self.setup) => match event {
                    Some(event) => self.take(event),
                    None => return Ok(()),
                },
                changed = own.changed() => match changed {
                    Ok(()) => self.hear_of_us(&own.borrow_and_update().clone()),
                    Err(_) => return Ok(()),
                },
                () = sleep_until(deadline.into()) => {}
            }
            self.election.handle_timeout(Instant::now());
            self.follow_up(&view);
        }
    }

    /// A lease that ends a heartbeat before the others can have missed this host for long enough to take
    /// over: what they counted from was sent before it.
    fn renew(&self) {
        if matches!(self.election.role(), group::Role::Starting) {
            return; // The last run's lease stands: who is back in time has missed nothing.
        }
        let heartbeat = self.setup.config.heartbeat;
        let lasts = self.setup.config.detection().saturating_sub(heartbeat);
        let until = match self.election.role() {
            group::Role::Writer { .. } => nanoseconds(since_boot().saturating_add(lasts)),
            group::Role::Starting | group::Role::Follower { .. } => 0,
        };
        let renew = u64::try_from(heartbeat.as_millis()).unwrap_or(u64::MAX);
        self.lease.send_replace(Lease { until, renew });
    }

    /// Tells every link what this host does, and renews its lease.
    fn speak(&self) {
        self.renew();
        let heartbeat = self.election.heartbeat(Instant::now());
        self.urgent.send_replace(heartbeat.encode(|rank| self.setup.name_of(rank)).into());
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Up(rank) => {
                let name = self.setup.name_of(rank).unwrap_or_default();
                tracing::info!(member = %name, "linked");
                self.down.remove(&rank);
                self.assigned.remove(&rank);
            }
            Event::Refused(rank) => self.election.handle_refused(rank, Instant::now()),
            Event::Down(rank, why) => self.went_down(rank, why),
            Event::Stranger(from, why) => {
                self.tell_sparingly(&format!("{from} is not let in: {why}"));
            }
            Event::Deaf(at, why) => self.went_deaf(&format!("cannot listen at {at}: {why}")),
            Event::Heard(rank, lane, message) => self.heard(rank, lane, &message),
        }
    }

    fn went_down(&mut self, rank: Rank, why: String) {
        self.assigned.remove(&rank);
        if self.down.get(&rank) != Some(&why) {
            let name = self.setup.name_of(rank).unwrap_or_default();
            tracing::warn!(member = %name, why, "not linked");
        }
        self.down.insert(rank, why);
    }

    fn went_deaf(&mut self, why: &str) {
        if self.deaf.as_deref() != Some(why) {
            tracing::error!("{why}: members whose name comes before this host's cannot connect");
        }
        self.deaf = Some(why.to_owned());
    }

    /// For the log, of what anybody on the network can cause.
    fn tell_sparingly(&mut self, what: &str) {
        match self.sparing.line(Instant::now()) {
            Line::Tell => tracing::warn!("{what}"),
            Line::TellOfMore => tracing::warn!("more of them, which are not told one by one"),
            Line::Spare => {}
        }
    }

    fn heard(&mut self, rank: Rank, lane: Lane, message: &[u8]) {
        let outcome = match lane {
            Lane::Urgent => Heartbeat::decode(message, |name| self.setup.config.rank(name))
                .map(|heartbeat| self.election.handle_heartbeat(rank, heartbeat, Instant::now())),
            Lane::Bulk => Assigned::decode(message).map(|assigned| {
                self.assigned.insert(rank, Arc::new(assigned));
            }),
        };
        if let Err(error) = outcome {
            let name = self.setup.name_of(rank).unwrap_or_default();
            self.tell_sparingly(&format!("what {name} says is not understood: {}", chain(&error)));
        }
    }

    fn hear_of_us(&mut self, own: &Own) {
        if let Some(version) = own.version {
            self.election.handle_version(version);
        }
        self.election.handle_fitness(!own.leaves, Instant::now());
        if *self.bulk.borrow() != own.assigned {
            self.bulk.send_replace(own.assigned.clone());
        }
    }

    /// What follows from a role that changed, and from what is known now.
    fn follow_up(&mut self, view: &watch::Sender<View>) {
        let role = self.election.role();
        if role != self.told {
            self.tell_role(role);
            self.told = role;
            if !matches!(role, group::Role::Writer { .. }) {
                self.bulk.send_replace(Arc::from(&b""[..]));
            }
            self.speak();
        }
        self.remember();
        let now = self.view(Instant::now());
        view.send_if_modified(|before| {
            let same = before.role == now.role
                && before.status == now.status
                && same_assignments(before.assigned.as_ref(), now.assigned.as_ref());
            *before = now;
            !same
        });
    }

    fn tell_role(&self, role: group::Role) {
        match role {
            group::Role::Starting => {}
            group::Role::Writer { term } => {
                tracing::info!(term, "this host writes assignments and announces");
            }
            group::Role::Follower { writer } => {
                let writer = writer.and_then(|rank| self.setup.name_of(rank));
                let writer = writer.as_deref().unwrap_or("nobody yet");
                tracing::info!(writer, "this host follows");
            }
        }
    }

    /// A disk that refuses is told by the ledger's own attempts; what is remembered here costs an
    /// election after a restart, nothing more.
    fn remember(&mut self) {
        if matches!(self.election.role(), group::Role::Starting) {
            return;
        }
        let wrote = matches!(self.election.role(), group::Role::Writer { .. });
        let version = self.election.heartbeat(Instant::now()).version;
        let stored = Stored { term: self.election.term(), wrote, version };
        if let Err(error) = self.memory.keep(stored) {
            tracing::debug!(error = %chain(&error), "the group's file is not written");
        }
    }

    fn view(&self, now: Instant) -> View {
        let role = match self.election.role() {
            group::Role::Starting => Role::Starting,
            group::Role::Writer { term } => Role::Writer { term },
            group::Role::Follower { writer } => Role::Follower(
                writer
                    .and_then(|rank| self.setup.name_of(rank))
                    .map_or(Elsewhere::NoWriter, Elsewhere::Writer),
            ),
        };
        let assigned = self.election.writer().and_then(|rank| self.assigned.get(&rank).cloned());
        View { status: self.status(&role, now), role, assigned }
    }

    fn status(&self, role: &Role, now: Instant) -> Option<GroupStatus> {
        let members = self.setup.config.members.iter().enumerate().map(|(rank, member)| {
            let alive = rank == self.setup.me || self.election.is_alive(rank, now);
            let reason = match self.down.get(&rank) {
                _ if alive => String::new(),
                Some(why) => why.clone(),
                None => "no heartbeat".to_owned(),
            };
            MemberStatus { name: member.name.clone(), address: member.address, alive, reason }
        });
        Some(GroupStatus {
            name: self.setup.name(),
            role: role.told()?,
            writer: self.election.writer().and_then(|rank| self.setup.name_of(rank)),
            term: self.election.term(),
            members: members.collect(),
        })
    }
}

/// The time since the boot, of a clock that nobody sets and that goes on while the machine sleeps.
fn since_boot() -> Duration {
    // Linux has this clock since 2.6.39.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

fn nanoseconds(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn same_assignments(one: Option<&Arc<Assigned>>, other: Option<&Arc<Assigned>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Arc::ptr_eq(one, other),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    }
}
