//! The speaker's one writer: what is known goes in, and what follows from it comes out.
//!
//! [`Control`] joins the two cores, the allocator and the gate, and owns what they decided: the
//! ledger, the published assignments, where each address is answered for. It does no networking;
//! [`crate::app`] feeds it and carries its orders to the announcer.
//!
//! A step is level-triggered and writes before it speaks: the ledger is on disk before the router
//! or the wire hears of an address. While the disk refuses, what the ledger on it holds is published
//! all the same, also by a speaker that has just started: silence needs no disk, and only what is new
//! waits for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_daemon::{pools::PoolBook, publish::Publisher, state::StateError, words::chain};
use roadstead_model::{
    ServiceKey, Snapshot,
    config::{Config, Pool},
    local::{Assignments, SpeakerStatus},
    reason::{Condition, ConditionStatus},
    report::Cleaned,
};
use roadstead_speaker_core::{
    gate::{self, Answers, Facts, Gate, Hold, Leg, Verdict, Wanted, Wire},
    ipam::{Allocator, Conflict, Host, Input, Ledger, Outcome, Stage},
};
use roadstead_wire::Mac;

use crate::{
    clock::Clock,
    conflicts::Conflicts,
    control::membership::Membership,
    legs::Surroundings,
    programmed::Heard,
    release,
    report::{self, Known, WHILE_THE_DISK_REFUSES},
    reports::{Decided, Reporter},
    stations::Stations,
    store::{Store, StoreError, Stored},
};

/// Rounds of "released, so somebody waits no longer" in one step. Each round frees at least one
/// address, and what is left over is done in the next step.
const ROUNDS: usize = 64;

/// Everything the speaker knows and has decided.
pub(crate) struct Control {
    pub(crate) config: Arc<Config>,
    /// The pools in use: the configuration's, and those of sources.
    pub(crate) pools: PoolBook,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) stations: Stations,
    pub(crate) heard: Heard,
    pub(crate) drained: bool,
    /// Why the last reload was refused; `None` when the configuration in use is the one on disk.
    pub(crate) stale_config: Option<String>,
    /// What to tell of a ledger that was damaged when this run began.
    pub(crate) damaged_ledger: Option<String>,
    /// Generation of the ledger as the last run left it.
    before: u64,
    /// By which releases are remembered.
    pub(crate) clock: Clock,
    allocator: Allocator,
    gate: Gate,
    wire: BTreeMap<(IpAddr, Leg), Wire>,
    conflicts: Conflicts,
    pub(crate) membership: Membership,
    store: Store,
    reporter: Reporter,
    assignments: Publisher<Assignments>,
    status: Publisher<SpeakerStatus>,
}

/// What the announcer saw.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// The state of an address on a leg changed; `None`: it is silent there.
    Wire(IpAddr, Leg, Option<Wire>),
    /// Another answers for an address that we announce; it was defended.
    Contested(IpAddr, Mac),
}

/// What a step asks of the caller.
#[derive(Clone, Debug, Default)]
pub(crate) struct Orders {
    /// For the announcer: all addresses, also those only probed ahead.
    pub(crate) wanted: Vec<Wanted>,
    /// The disk refused: step again soon.
    pub(crate) retry: bool,
    /// When to step although nothing happens, in seconds of [`Clock`].
    pub(crate) next: Option<u64>,
}

impl Control {
    /// Takes over what the last run left on disk.
    pub(crate) fn new(
        config: Arc<Config>,
        mut store: Store,
        reporter: Reporter,
        assignments: Publisher<Assignments>,
        status: Publisher<SpeakerStatus>,
    ) -> Result<Self, StoreError> {
        let Stored { ledger, answers, damaged } = store.load()?;
        let held: Vec<IpAddr> = ledger.addresses().keys().copied().collect();
        Ok(Self {
            pools: PoolBook::load(store.directory(), Arc::clone(&config)),
            config,
            snapshot: Arc::default(),
            surroundings: Arc::default(),
            stations: Stations::default(),
            heard: Heard::default(),
            drained: false,
            stale_config: None,
            damaged_ledger: damaged,
            before: ledger.generation(),
            clock: Clock::start(),
            allocator: Allocator::restore(ledger),
            gate: Gate::restore(answers, held),
            wire: BTreeMap::new(),
            conflicts: Conflicts::default(),
            membership: Membership::default(),
            store,
            reporter,
            assignments,
            status,
        })
    }

    /// The Services that a configuration would leave without their address, in words; empty when
    /// it may be used.
    ///
    /// # Errors
    /// It contradicts what MetalLB's objects say, in words.
    pub(crate) fn orphans(&self, config: &Config) -> Result<Vec<String>, String> {
        let pools = self.pools.with(config)?;
        Ok(in_words(self.allocator.orphans(&pools, &self.snapshot)))
    }

    /// Whether nothing can be decided yet: Services of a source hold addresses that may lie in its
    /// own pools, and these are not known.
    pub(crate) fn awaits_pools(&mut self) -> bool {
        self.follow_pools();
        let unknown: BTreeSet<_> = self.pools.unknown().collect();
        let orphans = || self.allocator.orphans(self.pools.pools(), &self.snapshot);
        !unknown.is_empty()
            && orphans().iter().any(|(service, _)| unknown.contains(&service.source))
    }

    fn follow_pools(&mut self) {
        let (config, snapshot) = (Arc::clone(&self.config), Arc::clone(&self.snapshot));
        let allocator = &self.allocator;
        self.pools
            .follow(&config, &snapshot, |_, pools| in_words(allocator.orphans(pools, &snapshot)));
    }

    /// Whether nothing answers for any address: our sockets are silent, the assignments published
    /// last let the kernel answer for nothing, and the router has applied them. What it said before
    /// it did is no proof: it may just then be carrying out the ones before.
    pub(crate) fn is_silent(&self) -> bool {
        let asked = self.assignments.current();
        let kernel = match self.heard.programmed.as_deref() {
            Some(said) => {
                said.applied >= asked.generation
                    && said.answering.iter().all(|answering| answering.legs.is_empty())
            }
            None => !self.config.speaker.require_ready || asked.vips.is_empty(),
        };
        kernel
            && asked.vips.iter().all(|vip| vip.answer_on.is_empty())
            && self.wire.values().all(|wire| *wire != Wire::Announced)
    }

    /// Notes what the announcer saw.
    pub(crate) fn see(&mut self, seen: Seen) {
        match seen {
            Seen::Wire(address, leg, wire) => {
                self.note_conflict(address, wire);
                match wire {
                    Some(wire) => self.wire.insert((address, leg), wire),
                    None => self.wire.remove(&(address, leg)),
                };
            }
            Seen::Contested(address, mac) => {
                let by = self.stations.in_words(mac, address, &self.snapshot);
                self.conflicts.insert(address, Conflict { by, stage: Stage::InUse });
            }
        }
    }

    fn note_conflict(&mut self, address: IpAddr, wire: Option<Wire>) {
        match wire {
            Some(Wire::Conflict { mac }) => {
                let by = self.stations.in_words(mac.into(), address, &self.snapshot);
                self.conflicts.insert(address, Conflict { by, stage: Stage::Probing });
            }
            Some(Wire::Probed | Wire::Announced) => {
                self.conflicts.remove(address);
            }
            Some(Wire::Probing) | None => {}
        }
    }

    /// Brings everything that is decided in line with everything that is known.
    pub(crate) fn step(&mut self) -> Orders {
        self.follow_pools();
        let (outcome, mut verdict) = self.decide();
        let failed = self.publish(&outcome, &verdict).err();
        if let Some(error) = &failed {
            tracing::error!(error = %chain(error), "{WHILE_THE_DISK_REFUSES}");
            self.tell_who_waits(&outcome, &mut verdict);
        }
        let wanted = match failed {
            None => self.wanted(&verdict),
            Some(_) => self.only_known(self.wanted(&verdict)),
        };
        let status = report::status(&self.known(), &outcome, &verdict, failed.as_ref());
        let unsaid = failed.is_none() && !self.report(&status);
        self.status.publish(status);
        Orders { wanted, retry: failed.is_some() || unsaid, next: outcome.next }
    }

    /// What of all this is told to people.
    fn known(&self) -> Known<'_> {
        Known {
            config: &self.config,
            pools: &self.pools,
            snapshot: &self.snapshot,
            surroundings: &self.surroundings,
            heard: &self.heard,
            drained: self.drained,
            stale_config: self.stale_config.as_deref(),
            damaged_ledger: self.damaged_ledger.as_deref(),
            elsewhere: self.membership.role.elsewhere(),
            group: self.membership.status.as_ref(),
        }
    }

    /// Says on the Services of clusters what was decided; false when the disk refuses.
    fn report(&mut self, status: &SpeakerStatus) -> bool {
        let assignments = self.assignments.current();
        let is_sure = self.is_known(&assignments);
        let (config, snapshot) = (self.config.as_ref(), self.snapshot.as_ref());
        let assignments = assignments.as_ref();
        let writes = self.membership.role.writes();
        let decided = Decided { config, snapshot, assignments, status, writes, is_sure };
        let said = self.reporter.report(&decided);
        if let Err(error) = &said {
            tracing::error!(error = %chain(error), "what is on the Services of clusters stays");
        }
        said.is_ok()
    }

    /// Whether nothing answers for an address that nobody holds: after a ledger was lost the router
    /// may, for a moment.
    fn is_known(&self, assignments: &Assignments) -> bool {
        let held = |address| assignments.vips.iter().any(|vip| vip.address == address);
        let said = self.heard.programmed.as_deref();
        said.into_iter().flat_map(|said| &said.answering).all(|it| held(it.address))
    }

    /// Nothing of ours is on an object any more.
    pub(crate) fn note_cleaned(&mut self, cleaned: &Cleaned) {
        self.reporter.note(cleaned);
    }

    fn decide(&mut self) -> (Outcome, Verdict) {
        let (config, snapshot) = (self.config.clone(), self.snapshot.clone());
        let pools = Arc::clone(self.pools.pools());
        let surroundings = self.surroundings.clone();
        let mut conflicts = std::mem::take(&mut self.conflicts);
        let mut rounds = 0;
        let now = self.clock.now();
        let decided = loop {
            let input =
                input(&pools, &config, &snapshot, &surroundings.host, conflicts.known(), now);
            // Another's ledger changes by that host's word alone.
            let writes = self.membership.role.writes();
            let outcome = match writes {
                true => self.allocator.reconcile(&input),
                false => self.allocator.follow(&input),
            };
            let verdict = self.judge(&outcome);
            let mut freed = false;
            for (address, service) in verdict.released.iter().filter(|_| writes) {
                freed |= self.allocator.release(*address, service, now);
            }
            rounds += 1;
            if !freed || rounds == ROUNDS {
                break (outcome, verdict);
            }
        };
        // A conflict on an address that lies in no pool any more concerns nobody.
        let pooled = |address: &IpAddr| {
            pools.iter().any(|pool| pool.addresses.iter().any(|r| r.contains(*address)))
        };
        conflicts.retain(pooled);
        self.conflicts = conflicts;
        decided
    }

    fn judge(&mut self, outcome: &Outcome) -> Verdict {
        let holdings: Vec<gate::Holding> =
            outcome.addresses.iter().map(|held| self.surroundings.holding(held)).collect();
        let services = self.snapshot.services.values().filter(|service| !service.guarded);
        let unguarded = services.map(|service| service.key.clone()).collect();
        self.gate.step(&Facts {
            holdings: &holdings,
            unguarded: &unguarded,
            programmed: self.heard.programmed.as_deref(),
            require_ready: self.config.speaker.require_ready,
            drained: self.drained,
            elsewhere: self.membership.role.elsewhere(),
            wire: &self.wire,
            published: self.assignments.current().generation.max(self.before),
        })
    }

    /// Writes, then publishes what is on the disk now.
    ///
    /// Generation 0 is a speaker that has decided nothing. The first thing it says may be that nobody
    /// holds anything: whatever a router remembers is over then, but not before the sources were read,
    /// where a ledger that was lost may come back as requests.
    fn publish(&mut self, outcome: &Outcome, verdict: &Verdict) -> Result<(), StateError> {
        let mut assignments = (*outcome.assignments).clone();
        answer_on(&mut assignments, &verdict.answers);
        let last = self.assignments.current();
        assignments.run = last.run;
        assignments.leased = self.config.group.is_some();
        let told = match last.generation {
            0 => !self.snapshot.is_complete(),
            _ => !outcome.changed,
        };
        if says_the_same(&assignments, &last) && told && !self.store.is_behind() {
            return Ok(());
        }
        if !outcome.changed {
            self.allocator.advance();
        }
        assignments.generation = self.allocator.ledger().generation();
        let saved = self.store.save(self.allocator.ledger(), &verdict.answers);
        if saved.is_err() {
            keep_to(self.store.held(), &mut assignments);
        }
        if saved.is_ok() || !says_the_same(&assignments, &last) {
            self.assignments.publish(assignments);
        }
        saved
    }

    /// Whoever holds an address that the disk does not know of waits for the disk.
    fn tell_who_waits(&self, outcome: &Outcome, verdict: &mut Verdict) {
        let pairs = outcome.addresses.iter().flat_map(|h| h.live.iter().map(|s| (h.address, s)));
        for (address, service) in pairs.filter(|(a, service)| !holds(self.store.held(), a, service))
        {
            let message = format!("{address} is not announced before the disk has taken it");
            let waits = Condition::new("Announced", ConditionStatus::False, "DiskRefuses", message);
            verdict.conditions.insert(service.clone(), waits);
        }
    }

    /// Addresses held, the next free ones of each pool, and those found in conflict: probing goes
    /// on there, so that an address that was freed on the wire is noticed.
    fn wanted(&self, verdict: &Verdict) -> Vec<Wanted> {
        let mut wanted = verdict.wanted.clone();
        let held: BTreeSet<IpAddr> = wanted.iter().map(|wanted| wanted.address).collect();
        let mut ahead: BTreeSet<IpAddr> = self.conflicts.known().keys().copied().collect();
        if !self.drained && self.membership.role.writes() {
            let conflicts = self.conflicts.known();
            let (host, now) = (&self.surroundings.host, self.clock.now());
            let pools = self.pools.pools();
            let input = input(pools, &self.config, &self.snapshot, host, conflicts, now);
            let next = self.allocator.next_free(&input, self.config.speaker.l2.probe_ahead);
            ahead.extend(next.into_iter().flat_map(|(_, addresses)| addresses));
        }
        let probe = |address: &IpAddr| Wanted {
            address: *address,
            legs: self.legs_of(*address),
            hold: Hold::Probe,
        };
        wanted.extend(ahead.difference(&held).map(probe));
        wanted
    }

    fn legs_of(&self, address: IpAddr) -> Vec<Leg> {
        let mut pools = self.pools.pools().iter();
        let pool = pools.find(|pool| pool.addresses.iter().any(|range| range.contains(address)));
        let interfaces = pool.and_then(|pool| pool.exposure(&[]).interfaces);
        self.surroundings.legs_of(address, interfaces.as_deref())
    }

    /// While the disk refuses, only addresses that were published are announced.
    fn only_known(&self, mut wanted: Vec<Wanted>) -> Vec<Wanted> {
        let last = self.assignments.current();
        let published: BTreeSet<IpAddr> = last.vips.iter().map(|vip| vip.address).collect();
        wanted.retain(|wanted| published.contains(&wanted.address));
        wanted
    }

    /// Gives up what is kept under a reservation that nobody holds, for the next step to hand out.
    ///
    /// # Errors
    /// There is no such reservation, or it is not one to be given up; in words.
    pub(crate) fn give_up(&mut self, name: &str) -> Result<String, String> {
        if let Some(why) = self.who_else_writes() {
            return Err(why);
        }
        let status = self.status.current();
        let key = release::meant(name, &status.reservations, self.snapshot.sources.keys())?;
        if let Some(by) = self.allocator.holder_under(&key) {
            return Err(format!(
                "reservation {key} is in use by {by}: take the annotation off it, or delete it first"
            ));
        }
        let addresses = self.allocator.give_up(&key);
        if addresses.is_empty() {
            return Err(release::unknown(name, &status.reservations));
        }
        let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
        Ok(format!("reservation {key} is released: {}", addresses.join(", ")))
    }

    /// The status as it was last published.
    pub(crate) fn status(&self) -> Arc<SpeakerStatus> {
        self.status.current()
    }
}

fn in_words(orphans: Vec<(ServiceKey, IpAddr)>) -> Vec<String> {
    orphans.into_iter().map(|(service, address)| format!("{service} ({address})")).collect()
}

fn input<'a>(
    pools: &'a [Pool],
    config: &'a Config,
    snapshot: &'a Snapshot,
    host: &'a Host,
    conflicts: &'a BTreeMap<IpAddr, Conflict>,
    now: u64,
) -> Input<'a> {
    Input {
        pools,
        class_only: config.speaker.class_only,
        snapshot,
        host,
        conflicts,
        reservations: &config.reservations,
        now,
    }
}

/// Takes out what the ledger does not hold: a restart would forget it.
fn keep_to(ledger: &Ledger, assignments: &mut Assignments) {
    for assignment in &mut assignments.services {
        let service = &assignment.service;
        assignment.addresses.retain(|address| holds(ledger, address, service));
    }
    assignments.services.retain(|assignment| !assignment.addresses.is_empty());
    let held: BTreeSet<IpAddr> =
        assignments.services.iter().flat_map(|a| a.addresses.iter().copied()).collect();
    assignments.vips.retain(|vip| held.contains(&vip.address));
}

fn holds(ledger: &Ledger, address: &IpAddr, service: &ServiceKey) -> bool {
    ledger.addresses().get(address).is_some_and(|entry| entry.holders.contains_key(service))
}

/// Whether two say the same, whatever their numbers.
fn says_the_same(one: &Assignments, other: &Assignments) -> bool {
    one.services == other.services && one.vips == other.vips
}

fn answer_on(assignments: &mut Assignments, answers: &Answers) {
    for vip in &mut assignments.vips {
        vip.answer_on = answers.get(&vip.address).into_iter().flatten().cloned().collect();
    }
}

mod membership;
#[cfg(test)]
pub(crate) mod tests;
