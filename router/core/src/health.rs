//! Which node serves what: verdicts from probes and passive signals, and the order of probes.
//!
//! 1,000 Services on 100 nodes probed each second would be 100,000 connections into users' pods.
//! So there are three kinds of subject ([`Target`]) under one budget of probes per second:
//!
//! * every **node address** has a base verdict, renewed each interval: kube-proxy's `/healthz`
//!   (KEP-3836: 503 while the node is being deleted) or a TCP connection to a NodePort;
//! * a **Service port on a node** is probed until its first pass on a few nodes, and again only
//!   after a passive signal ([`Health::suspect`]) or while it fails; where its Service names a health
//!   check, on every node again and again, as often as half of the budget allows;
//! * a Service of policy **Local** has its `healthCheckNodePort` asked on its nodes.
//!
//! A state machine without a clock: [`Health::poll_probe`] yields what to send,
//! [`Health::handle_result`] takes the outcome, [`Health::next_deadline`] says when to look again.

pub mod answer;
mod budget;
mod probe;
mod subject;
mod verdict;
mod wanted;

use std::{
    collections::{BTreeMap, BTreeSet},
    iter::{once, repeat},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    Protocol, ServiceKey,
    config::{self, NodeProbe},
    local::{BackendState, PortClaim},
    object::HealthCheck,
};

pub use probe::{Failure, Probe, Question, Target, Unfit};
pub use wanted::{Port, Sentinel, Subjects};

use budget::Budget;
use subject::{Ask, Judgement, NodeAsk, Subject};
use verdict::Verdict;
use wanted::Checks;

/// On how many nodes a Service port is probed for its first pass.
pub const FIRST_NODES: usize = 3;
/// From the start of one probe to the start of the next while a failure is being confirmed, so that
/// `fall` of them take half a second (docs/decisions/0009).
const CONFIRM: Duration = Duration::from_millis(150);
/// For how long a port that has never passed is asked again as fast: kube-proxy gathers changes for
/// up to a second before it opens a new NodePort, and takes longer where it has much to write.
const NEW: Duration = Duration::from_secs(5);

/// What is known of one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight {
    /// Its state; a subject that nobody watches is unknown.
    pub state: BackendState,
    /// Share of its weight in percent.
    pub percent: u32,
    /// The last failure, if the last probe failed.
    pub failure: Option<Failure>,
    /// Since when it has been watched.
    pub since: Duration,
}

impl Sight {
    /// Whether a plan may come out differently.
    fn differs(&self, other: &Self) -> bool {
        self.state != other.state
            || self.percent != other.percent
            || self.failure.is_some() != other.failure.is_some()
    }
}

/// All verdicts and the queue of probes. See the module's head.
#[derive(Clone, Debug)]
pub struct Health {
    rules: config::Health,
    subjects: BTreeMap<Target, Subject>,
    /// Due probes of node addresses.
    base: BTreeSet<(Duration, Target)>,
    /// Due probes of everything else.
    targeted: BTreeSet<(Duration, Target)>,
    /// Whether the next probe is one of `targeted`, where both queues have one.
    targeted_next: bool,
    climbing: BTreeSet<Target>,
    budget: Budget,
    locals: usize,
    checks: Checks,
    siblings: BTreeMap<IpAddr, IpAddr>,
}

impl Health {
    /// Knows nobody yet.
    pub fn new(rules: config::Health) -> Self {
        Self {
            budget: Budget::new(rules.budget),
            rules,
            subjects: BTreeMap::new(),
            base: BTreeSet::new(),
            targeted: BTreeSet::new(),
            targeted_next: false,
            climbing: BTreeSet::new(),
            locals: 0,
            checks: Checks::default(),
            siblings: BTreeMap::new(),
        }
    }

    /// Follows a changed configuration; verdicts stay.
    pub fn configure(&mut self, rules: config::Health) {
        if rules.budget != self.rules.budget {
            self.budget = Budget::new(rules.budget);
        }
        self.rules = rules;
    }

    /// Takes node addresses as healthy that were in use before a restart, until probes say
    /// otherwise: a restart is no reason to move anybody's new flows.
    pub fn adopt(&mut self, addresses: impl IntoIterator<Item = IpAddr>, now: Duration) {
        for address in addresses {
            let ask = Ask::Node(NodeAsk::new(Vec::new()));
            let subject = Subject::new(Verdict::Healthy { failed: 0 }, ask, now);
            self.subjects.entry(Target::Node(address)).or_insert(subject);
        }
    }

    /// Sets who is watched. New subjects are probed at once; who is no longer named is forgotten.
    pub fn watch(&mut self, wanted: &Subjects, now: Duration) {
        self.forget(wanted);
        self.locals = wanted.locals.len();
        self.checks = Checks::of(wanted);
        self.siblings.clone_from(&wanted.siblings);
        for (address, sentinels) in &wanted.nodes {
            self.watch_node(*address, sentinels, now);
        }
        for ((service, claim), port) in &wanted.ports {
            // Before anything else one node is asked for each port that never was.
            for (address, due) in port.at.iter().zip(once(URGENT).chain(repeat(now))) {
                let target = Target::Port(service.clone(), *claim, *address);
                let ask = Ask::NodePort(port.node_port, port.check.clone());
                self.introduce(target, ask, now, due);
            }
        }
        for ((service, address), port) in &wanted.locals {
            self.introduce(Target::Local(service.clone(), *address), Ask::Local(*port), now, now);
        }
    }

    /// A passive signal: connections to this port on this node fail. The port and the node are
    /// probed soon, unless that has just been done.
    pub fn suspect(
        &mut self,
        service: &ServiceKey,
        claim: PortClaim,
        node_port: u16,
        address: IpAddr,
        now: Duration,
    ) {
        let target = Target::Port(service.clone(), claim, address);
        if !self.subjects.contains_key(&target) {
            let in_use = Verdict::Healthy { failed: 0 };
            let check = self.checks.of_ports.get(&(service.clone(), claim)).cloned();
            let subject = Subject::new(in_use, Ask::NodePort(node_port, check), now);
            self.subjects.insert(target.clone(), subject);
        }
        self.hasten(&target, now);
        self.suspect_node(address, now);
    }

    /// A passive signal: a node has stopped answering. It is probed soon, unless that has just been
    /// done.
    pub fn suspect_node(&mut self, address: IpAddr, now: Duration) {
        let sibling = self.siblings.get(&address).copied();
        for address in once(address).chain(sibling) {
            self.hasten(&Target::Node(address), now);
        }
    }

    /// The next probe to send, within the budget.
    pub fn poll_probe(&mut self, now: Duration) -> Option<Probe> {
        loop {
            let targeted = self.next_queue(now)?;
            if !self.budget.take(now) {
                return None;
            }
            let queue = if targeted { &mut self.targeted } else { &mut self.base };
            let (_, target) = queue.pop_first()?;
            self.targeted_next = !targeted;
            let (timeout, patience) = (self.rules.timeout, self.patience(&target));
            let Some(subject) = self.subjects.get_mut(&target) else { continue };
            subject.due = None;
            match subject.ask(&target, self.rules.node_probe) {
                Some(question) => {
                    subject.sent(now);
                    return Some(Probe { target, question, timeout, patience });
                }
                None => self.schedule(target, now + self.rules.interval),
            }
        }
    }

    /// Takes in the outcome of a probe. True when what a plan follows from changed.
    pub fn handle_result(
        &mut self,
        target: &Target,
        question: Question,
        result: Result<(), Failure>,
        now: Duration,
    ) -> bool {
        let before = self.sight(target, now);
        let Some(subject) = self.subjects.get_mut(target) else { return false };
        subject.received(result, now);
        match subject.judge(&question, result, self.rules.node_probe) {
            Judgement::Verdict(result) => subject.record.handle(result, &self.rules, now),
            Judgement::AskAgain => {
                self.schedule(target.clone(), now);
                return false;
            }
            Judgement::Nothing => {
                let next = now + subject::jittered(self.rules.interval, target, now);
                self.schedule(target.clone(), next);
                return false;
            }
        }
        let verdict = subject.record.verdict;
        if matches!(verdict, Verdict::Climbing { .. }) {
            self.climbing.insert(target.clone());
        } else {
            self.climbing.remove(target);
        }
        if let Some(due) = self.next_due(target, &verdict, now) {
            self.schedule(target.clone(), due);
        }
        if verdict.in_doubt() {
            self.suspect_node(target.address(), now);
        }
        before.differs(&self.sight(target, now))
    }

    /// When to call [`Self::poll_probe`] or to plan again (a climbing weight): `None` when nothing
    /// is due until something is watched.
    pub fn next_deadline(&self, now: Duration) -> Option<Duration> {
        let first = |queue: &BTreeSet<(Duration, Target)>| queue.first().map(|(due, _)| *due);
        let probe = first(&self.base).into_iter().chain(first(&self.targeted)).min();
        let probe = probe.map(|due| self.budget.next_at(now).max(due));
        probe.into_iter().chain(self.next_step(now)).min()
    }

    /// When a climbing weight takes its next step, if any climbs.
    pub fn next_step(&self, now: Duration) -> Option<Duration> {
        let steps = self.climbing.iter().filter_map(|target| self.subjects.get(target));
        steps.filter_map(|subject| subject.record.next_step(self.rules.slow_start, now)).min()
    }

    /// The base verdict of a node's address.
    pub fn node(&self, address: IpAddr, now: Duration) -> Sight {
        self.sight(&Target::Node(address), now)
    }

    /// The verdicts on a Service port, by node address: only of those that were ever probed.
    pub fn port<'a>(
        &'a self,
        service: &ServiceKey,
        claim: PortClaim,
        now: Duration,
    ) -> impl Iterator<Item = (IpAddr, Sight)> + use<'a> {
        let subjects = self.subjects.range(port_range(service, claim));
        subjects.filter_map(move |(target, subject)| match target {
            Target::Port(_, _, address) => Some((*address, self.sight_of(subject, now))),
            Target::Node(_) | Target::Local(_, _) => None,
        })
    }

    /// Whether a Service port passes its probe on some node.
    pub fn passes(&self, service: &ServiceKey, claim: PortClaim) -> bool {
        self.subjects.range(port_range(service, claim)).any(|(_, subject)| {
            matches!(subject.record.verdict, Verdict::Healthy { .. } | Verdict::Climbing { .. })
        })
    }

    /// What `healthCheckNodePort` says of a Local Service on a node's address.
    pub fn local(&self, service: &ServiceKey, address: IpAddr, now: Duration) -> Sight {
        self.sight(&Target::Local(service.clone(), address), now)
    }

    /// How many subjects are in each state.
    pub fn counts(&self, now: Duration) -> BTreeMap<BackendState, usize> {
        let mut counts = BTreeMap::new();
        for subject in self.subjects.values() {
            *counts.entry(self.sight_of(subject, now).state).or_default() += 1;
        }
        counts
    }

    fn sight(&self, target: &Target, now: Duration) -> Sight {
        self.subjects.get(target).map_or(NEVER_SEEN, |subject| self.sight_of(subject, now))
    }

    fn sight_of(&self, subject: &Subject, now: Duration) -> Sight {
        let percent = subject.record.percent(self.rules.slow_start, now);
        let state = match subject.record.verdict {
            Verdict::Unknown { failed } if failed >= self.rules.fall.max(1) => {
                BackendState::Unhealthy
            }
            Verdict::Unknown { .. } => BackendState::Unknown,
            Verdict::Healthy { .. } => BackendState::Healthy,
            Verdict::Climbing { .. } if percent == 100 => BackendState::Healthy,
            Verdict::Climbing { .. } => BackendState::SlowStart,
            Verdict::Unhealthy { .. } => BackendState::Unhealthy,
        };
        Sight { state, percent, failure: subject.record.failure, since: subject.since }
    }

    fn watch_node(&mut self, address: IpAddr, sentinels: &[Sentinel], now: Duration) {
        let target = Target::Node(address);
        match self.subjects.get_mut(&target) {
            Some(subject) => {
                subject.sentinels(sentinels);
                if subject.due.is_none() && !subject.in_flight {
                    self.schedule(target, now);
                }
            }
            None => self.introduce(target, Ask::Node(NodeAsk::new(sentinels.to_vec())), now, now),
        }
    }

    /// Adds a subject and probes it at `due`; one that is there stays as it is.
    fn introduce(&mut self, target: Target, ask: Ask, now: Duration, due: Duration) {
        if !self.subjects.contains_key(&target) {
            let subject = Subject::new(Verdict::Unknown { failed: 0 }, ask, now);
            self.subjects.insert(target.clone(), subject);
            self.schedule(target, due);
        }
    }

    /// Drops whom nobody asks for any more, ports whose NodePort changed, and ports on nodes that
    /// never passed and are not among the first ones now.
    fn forget(&mut self, wanted: &Subjects) {
        let Self { subjects, base, targeted, climbing, .. } = self;
        subjects.retain(|target, subject| {
            let kept = match (target, &subject.ask) {
                (Target::Node(address), _) => wanted.nodes.contains_key(address),
                (Target::Port(service, _, address) | Target::Local(service, address), _)
                    if wanted.held.contains(service) =>
                {
                    wanted.nodes.contains_key(address)
                }
                (Target::Port(service, claim, address), Ask::NodePort(node_port, check)) => {
                    let never = matches!(subject.record.verdict, Verdict::Unknown { .. });
                    let port = wanted.ports.get(&(service.clone(), *claim));
                    let asked = |port: &Port| {
                        port.node_port == *node_port
                            && port.check == *check
                            && (!never || port.at.contains(address))
                    };
                    port.is_some_and(asked) && wanted.nodes.contains_key(address)
                }
                (Target::Local(service, address), Ask::Local(port)) => {
                    wanted.locals.get(&(service.clone(), *address)) == Some(port)
                }
                (Target::Port(..), Ask::Node(_) | Ask::Local(_))
                | (Target::Local(..), Ask::Node(_) | Ask::NodePort(..)) => false,
            };
            if let (false, Some(due)) = (kept, subject.due) {
                base.remove(&(due, target.clone()));
                targeted.remove(&(due, target.clone()));
            }
            if !kept {
                climbing.remove(target);
            }
            kept
        });
    }

    /// Brings a probe to the head of its queue, unless one is on its way, the last is fresh or the
    /// next is soon, because a failure is being confirmed.
    fn hasten(&mut self, target: &Target, now: Duration) {
        let Some(subject) = self.subjects.get(target) else { return };
        let fresh = subject.asked() && now.saturating_sub(subject.last) < CONFIRM;
        if !subject.in_flight && !fresh && !subject.record.verdict.in_doubt() {
            self.schedule(target.clone(), URGENT);
        }
    }

    /// Puts a subject into its queue, in place of where it stands there.
    fn schedule(&mut self, target: Target, due: Duration) {
        let Some(subject) = self.subjects.get_mut(&target) else { return };
        let queue = match target {
            Target::Node(_) => &mut self.base,
            Target::Port(..) | Target::Local(..) => &mut self.targeted,
        };
        if let Some(before) = subject.due.replace(due) {
            queue.remove(&(before, target.clone()));
        }
        queue.insert((due, target));
    }

    /// Which queue has the next due probe; the two take turns so that neither starves.
    fn next_queue(&self, now: Duration) -> Option<bool> {
        let due = |queue: &BTreeSet<(Duration, Target)>| {
            queue.first().is_some_and(|(due, _)| *due <= now)
        };
        match (due(&self.base), due(&self.targeted)) {
            (true, true) => Some(self.targeted_next),
            (true, false) => Some(false),
            (false, true) => Some(true),
            (false, false) => None,
        }
    }

    /// How long the host of a target may take to answer at all: what it is known to take, several
    /// times over. One that never answered has the whole timeout.
    fn patience(&self, target: &Target) -> Duration {
        let taken = |target: &Target| self.subjects.get(target).and_then(Subject::taken);
        let taken = taken(target).or_else(|| taken(&Target::Node(target.address())));
        taken.map_or(self.rules.timeout, |taken| subject::patience(taken, self.rules.timeout))
    }

    /// When a subject is probed next; `None` for a port that passes (it waits for a signal).
    fn next_due(&self, target: &Target, verdict: &Verdict, now: Duration) -> Option<Duration> {
        let interval = self.rules.interval;
        let wait = match (target, verdict) {
            (_, Verdict::Unknown { failed })
                if *failed < self.rules.fall || self.is_new_port(target, now) =>
            {
                return Some(self.confirmed_at(target, now));
            }
            (_, verdict) if verdict.in_doubt() => return Some(self.confirmed_at(target, now)),
            (Target::Port(..), _) if self.is_checked(target) => {
                interval.max(self.budget.cost_of(self.checks.subjects * 2))
            }
            (Target::Port(..), Verdict::Healthy { .. }) => return None,
            (Target::Local(..), _) => interval.max(self.budget.cost_of(self.locals * 2)),
            (Target::Node(_) | Target::Port(..), _) => interval,
        };
        Some(now + subject::jittered(wait, target, now))
    }

    /// Whether a port is asked again and again, because what it is asked may change without a sign
    /// in the traffic.
    fn is_checked(&self, target: &Target) -> bool {
        let ask = self.subjects.get(target).map(|subject| &subject.ask);
        matches!(ask, Some(Ask::NodePort(_, Some(_))))
    }

    /// Whether a port that may not be open yet has been watched for a short time only.
    fn is_new_port(&self, target: &Target, now: Duration) -> bool {
        let since = self.subjects.get(target).map_or(Duration::ZERO, |subject| subject.since);
        matches!(target, Target::Port(..)) && now.saturating_sub(since) < NEW
    }

    /// When a failure is confirmed by the next probe: at once where waiting for the last one has
    /// taken the time already.
    fn confirmed_at(&self, target: &Target, now: Duration) -> Duration {
        let wait = subject::jittered(CONFIRM.min(self.rules.interval), target, now);
        let begun = self.subjects.get(target).map_or(now, Subject::begun);
        now.max(begun + wait)
    }
}

/// Comes before everything that is due at a time.
const URGENT: Duration = Duration::ZERO;

const NEVER_SEEN: Sight =
    Sight { state: BackendState::Unknown, percent: 100, failure: None, since: Duration::ZERO };

fn port_range(service: &ServiceKey, claim: PortClaim) -> RangeInclusive<Target> {
    let lowest = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    let highest = IpAddr::V6(Ipv6Addr::from_bits(u128::MAX));
    Target::Port(service.clone(), claim, lowest)..=Target::Port(service.clone(), claim, highest)
}

/// How a NodePort is probed.
fn node_port_question(
    claim: PortClaim,
    address: SocketAddr,
    check: Option<&Arc<HealthCheck>>,
) -> Question {
    match (claim.protocol, check) {
        (Protocol::Udp, _) => Question::Udp(address),
        (Protocol::Tcp | Protocol::Sctp, None) => Question::Tcp(address),
        (Protocol::Tcp | Protocol::Sctp, Some(check)) => {
            Question::Check(address, Arc::clone(check))
        }
    }
}

/// kube-proxy's health port, where the configuration wants it asked.
fn kube_proxy_port(probe: NodeProbe) -> Option<u16> {
    match probe {
        NodeProbe::Auto { port } | NodeProbe::KubeProxy { port } => Some(port),
        NodeProbe::NodePort => None,
    }
}

#[cfg(test)]
mod tests;
