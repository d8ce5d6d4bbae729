//! Which nodes may take new flows of a Service port, and with which share.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{
    Family, SourceName,
    local::{BackendState, PortClaim},
    object::{Endpoint, Endpoints, Service, TrafficPolicy},
};

use super::{
    Inputs,
    nodes::{Nodes, Row, Standing, exceeds},
};
use crate::{
    health::{FIRST_NODES, Failure, Sight},
    maps::BackendId,
};

/// After so long without a result of its own probe (the budget is spent on others) a Service port
/// passes by the base verdict of its nodes.
const WAIT_FOR_FIRST: Duration = Duration::from_secs(1);

/// One node of a Service port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Index of its row.
    pub(super) row: usize,
    /// Weight at full health: 1, or the number of ready local endpoints.
    pub(super) weight: u32,
    /// Share of the weight in percent.
    pub(super) percent: u32,
    pub(super) state: BackendState,
    pub(super) cause: Option<Doubt>,
}

/// Why a candidate is not healthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    Node(Failure),
    Port(Failure),
    Local(Failure),
}

/// Candidates with what follows from their states.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Backends with their relative weights, ordered by index.
    pub(super) shares: Arc<[(BackendId, u32)]>,
    /// What the weights have been divided by.
    pub(super) divisor: u32,
    /// Whether at least one has passed a probe.
    pub(super) confirmed: bool,
    /// When its port is looked at again, because it waits for its first probe.
    pub(super) again: Option<Duration>,
}

/// Why a Service port has no candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nobody {
    /// Knowledge: the source has no node.
    NoNodes,
    /// Knowledge: every node drains.
    AllDraining,
    /// Knowledge: no node has a usable address of the VIP's family.
    NoneOfFamily(Family),
    /// Doubt: there are nodes, but no way to any of them, or no room for them.
    Unreachable,
    /// Knowledge: EndpointSlices are there and none is ready.
    NoEndpoints,
    /// Knowledge: ready endpoints are on nodes that are not eligible.
    NoEligibleEndpoints,
}

/// Candidates by source and family, computed once for all Services that have nothing of their own.
pub(super) struct Pools<'a> {
    pub(super) nodes: &'a Nodes,
    shared: BTreeMap<(SourceName, Family), Result<Pool, Nobody>>,
}

/// Candidates with who of them is chosen.
pub(super) struct Pool {
    /// In the order of their rows.
    pub(super) candidates: Vec<Candidate>,
    pub(super) choice: Choice,
}

impl<'a> Pools<'a> {
    pub(super) fn new(inputs: &Inputs<'_>, nodes: &'a Nodes) -> Self {
        let mut shared = BTreeMap::new();
        for source in inputs.snapshot.sources.keys() {
            for family in [Family::V4, Family::V6] {
                let pool = eligible(nodes, source, family).map(|candidates| {
                    let choice = choose(inputs, nodes, &candidates);
                    Pool { candidates, choice }
                });
                shared.insert((source.clone(), family), pool);
            }
        }
        Self { nodes, shared }
    }

    /// Who serves a port of a Service on a VIP of this family.
    pub(super) fn choice(
        &self,
        inputs: &Inputs<'_>,
        service: &Service,
        claim: PortClaim,
        family: Family,
    ) -> Result<Choice, Nobody> {
        let pool = self.pool(inputs, service, family)?;
        let own: Vec<(IpAddr, Sight)> = self.probed(inputs, service, claim, family);
        let said = Said::of(inputs, &own);
        let candidates = self.own_candidates(inputs, service, family, pool, &own)?;
        let mut choice = candidates.map_or_else(
            || pool.choice.clone(),
            |candidates| choose(inputs, self.nodes, &candidates),
        );
        choice.heed(&said);
        Ok(choice)
    }

    /// What the Services of a source share, where anybody takes new flows.
    pub(super) fn of(&self, source: &SourceName, family: Family) -> Option<&Pool> {
        self.shared.get(&(source.clone(), family)).and_then(|pool| pool.as_ref().ok())
    }

    /// The candidates of a port, for people; `None` where they are those of its source.
    pub(super) fn own(
        &self,
        inputs: &Inputs<'_>,
        service: &Service,
        claim: PortClaim,
        family: Family,
    ) -> Result<Option<Pool>, Nobody> {
        let pool = self.pool(inputs, service, family)?;
        let own = self.probed(inputs, service, claim, family);
        let candidates = self.own_candidates(inputs, service, family, pool, &own)?;
        Ok(candidates.map(|candidates| {
            let choice = choose(inputs, self.nodes, &candidates);
            Pool { candidates, choice }
        }))
    }

    fn pool(
        &self,
        inputs: &Inputs<'_>,
        service: &Service,
        family: Family,
    ) -> Result<&Pool, Nobody> {
        if let Some(endpoints) = inputs.snapshot.endpoints.get(&service.key)
            && taking(endpoints, family).next().is_none()
        {
            return Err(Nobody::NoEndpoints);
        }
        let key = (service.key.source.clone(), family);
        self.shared.get(&key).map_or(Err(Nobody::NoNodes), |pool| pool.as_ref().map_err(|why| *why))
    }

    /// Verdicts on this port of this family, of node addresses that are still there.
    fn probed(
        &self,
        inputs: &Inputs<'_>,
        service: &Service,
        claim: PortClaim,
        family: Family,
    ) -> Vec<(IpAddr, Sight)> {
        let sights = inputs.health.port(&service.key, claim, inputs.now);
        sights.filter(|(address, _)| Family::of(*address) == family).collect()
    }

    /// The candidates of a port that has something of its own to say on them.
    fn own_candidates(
        &self,
        inputs: &Inputs<'_>,
        service: &Service,
        family: Family,
        pool: &Pool,
        own: &[(IpAddr, Sight)],
    ) -> Result<Option<Vec<Candidate>>, Nobody> {
        if service.traffic_policy == TrafficPolicy::Cluster && !speaks_of_nodes(own) {
            return Ok(None);
        }
        let mut candidates = match service.traffic_policy {
            TrafficPolicy::Cluster => pool.candidates.clone(),
            TrafficPolicy::Local => self.local_candidates(inputs, service, family, pool)?,
        };
        if speaks_of_nodes(own) {
            let own: BTreeMap<IpAddr, &Sight> =
                own.iter().map(|(at, sight)| (*at, sight)).collect();
            for candidate in &mut candidates {
                if let Some(sight) = own.get(&self.nodes.rows[candidate.row].address) {
                    candidate.worsen(sight, Doubt::Port);
                }
            }
        }
        Ok(Some(candidates))
    }

    /// Nodes with local endpoints: by EndpointSlices where there are any, and by
    /// `healthCheckNodePort`, whose 503 means that a node has no ready one.
    fn local_candidates(
        &self,
        inputs: &Inputs<'_>,
        service: &Service,
        family: Family,
        pool: &Pool,
    ) -> Result<Vec<Candidate>, Nobody> {
        let mut candidates = pool.candidates.clone();
        if let Some(endpoints) = inputs.snapshot.endpoints.get(&service.key) {
            let endpoints = taking_by_node(endpoints, family);
            candidates.retain_mut(|candidate| {
                let name = &self.nodes.rows[candidate.row].node.name;
                candidate.weight = endpoints.get(&**name).copied().unwrap_or(0);
                candidate.weight > 0
            });
            if candidates.is_empty() {
                return Err(Nobody::NoEligibleEndpoints);
            }
        }
        for candidate in &mut candidates {
            let address = self.nodes.rows[candidate.row].address;
            let sight = inputs.health.local(&service.key, address, inputs.now);
            candidate.worsen(&sight, Doubt::Local);
        }
        let has_endpoints = |candidate: &Candidate| {
            let says_none = matches!(candidate.cause, Some(Doubt::Local(Failure::Status(503))));
            !(says_none && candidate.state == BackendState::Unhealthy)
        };
        if candidates.iter().any(has_endpoints) {
            candidates.retain(has_endpoints);
        }
        Ok(candidates)
    }
}

impl Candidate {
    /// Takes in the verdict of another probe: the worse one counts.
    fn worsen(&mut self, sight: &Sight, cause: impl Fn(Failure) -> Doubt) {
        match sight.state {
            BackendState::Unhealthy if self.state != BackendState::Unhealthy => {
                self.state = BackendState::Unhealthy;
                self.cause = sight.failure.map(cause);
            }
            BackendState::SlowStart if self.state == BackendState::Healthy => {
                self.state = BackendState::SlowStart;
                self.percent = sight.percent;
            }
            BackendState::SlowStart => self.percent = self.percent.min(sight.percent),
            BackendState::Healthy if self.state == BackendState::Unknown => {
                self.state = BackendState::Healthy;
            }
            BackendState::Healthy
            | BackendState::Unhealthy
            | BackendState::Draining
            | BackendState::Unknown => {}
        }
    }
}

/// The rows of a source that may take new flows.
fn eligible(nodes: &Nodes, source: &SourceName, family: Family) -> Result<Vec<Candidate>, Nobody> {
    let rows = nodes.of(source, family);
    let candidates: Vec<Candidate> =
        rows.iter().filter_map(|index| candidate(*index, &nodes.rows[*index])).collect();
    if !candidates.is_empty() {
        return Ok(candidates);
    }
    let any = |wanted: fn(&Standing) -> bool| {
        rows.iter().any(|index| wanted(&nodes.rows[*index].standing))
    };
    if any(|standing| matches!(standing, Standing::Unreachable(_))) {
        return Err(Nobody::Unreachable);
    }
    if any(|standing| matches!(standing, Standing::Draining(_))) {
        return Err(Nobody::AllDraining);
    }
    let none_at_all =
        [Family::V4, Family::V6].iter().all(|family| nodes.of(source, *family).is_empty());
    Err(if none_at_all { Nobody::NoNodes } else { Nobody::NoneOfFamily(family) })
}

fn candidate(index: usize, row: &Row) -> Option<Candidate> {
    let Standing::Usable(sight) = &row.standing else { return None };
    row.backend?;
    let cause = sight.failure.filter(|_| sight.state == BackendState::Unhealthy);
    Some(Candidate {
        row: index,
        weight: 1,
        percent: sight.percent,
        state: sight.state,
        cause: cause.map(Doubt::Node),
    })
}

/// Who of the candidates gets new flows: the healthy ones; where none is, those not known to fail;
/// where more fail than the threshold allows, all (S3).
fn choose(inputs: &Inputs<'_>, nodes: &Nodes, candidates: &[Candidate]) -> Choice {
    let count = |state| candidates.iter().filter(|candidate| candidate.state == state).count();
    let unhealthy = count(BackendState::Unhealthy);
    let healthy = count(BackendState::Healthy) + count(BackendState::SlowStart);
    let threshold = inputs.router.health.panic_threshold;
    let panic = unhealthy == candidates.len() || exceeds(unhealthy, candidates.len(), threshold);
    let share = |candidate: &Candidate| {
        let weight = match candidate.state {
            _ if panic => candidate.weight * 100,
            BackendState::Healthy | BackendState::SlowStart => candidate.weight * candidate.percent,
            BackendState::Unknown if healthy == 0 => candidate.weight * 100,
            BackendState::Unknown | BackendState::Unhealthy | BackendState::Draining => 0,
        };
        nodes.rows[candidate.row].backend.filter(|_| weight > 0).map(|id| (id, weight))
    };
    let by_id: BTreeMap<BackendId, u32> = candidates.iter().filter_map(share).collect();
    let divisor = by_id.values().fold(0, |divisor, weight| gcd(divisor, *weight)).max(1);
    Choice {
        shares: by_id.into_iter().map(|(id, weight)| (id, weight / divisor)).collect(),
        divisor,
        confirmed: healthy > 0,
        again: None,
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Whether the verdicts on a port tell its nodes apart. Where every node that was asked fails, it
/// is the Service that does not answer, and no node is better than another.
fn speaks_of_nodes(own: &[(IpAddr, Sight)]) -> bool {
    let failing = own.iter().filter(|(_, sight)| sight.state == BackendState::Unhealthy).count();
    let climbing = own.iter().any(|(_, sight)| sight.state == BackendState::SlowStart);
    let all_fail = failing == own.len() && failing >= FIRST_NODES.min(own.len());
    climbing || (failing > 0 && !all_fail)
}

/// What a port's own probes say on whether it serves.
enum Said {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// They have not answered yet; until then it does not.
    Wait(Duration),
    /// Nothing: they passed on nodes that have failed since, or have waited for the budget for
    /// long. Its nodes decide.
    Nothing,
}

impl Said {
    fn of(inputs: &Inputs<'_>, own: &[(IpAddr, Sight)]) -> Self {
        let passed =
            |sight: &Sight| matches!(sight.state, BackendState::Healthy | BackendState::SlowStart);
        let node_fails = |address: &IpAddr| {
            inputs.health.node(*address, inputs.now).state == BackendState::Unhealthy
        };
        if own.iter().any(|(address, sight)| passed(sight) && !node_fails(address)) {
            return Self::Yes;
        }
        if own.iter().any(|(_, sight)| sight.failure.is_some()) {
            return Self::No;
        }
        let waiting = own.iter().filter(|(_, sight)| !passed(sight));
        let until = waiting.map(|(_, sight)| sight.since + WAIT_FOR_FIRST).max();
        until.filter(|until| *until > inputs.now).map_or(Self::Nothing, Self::Wait)
    }
}

impl Choice {
    fn heed(&mut self, said: &Said) {
        match said {
            Said::Yes => self.confirmed = true,
            Said::No => self.confirmed = false,
            Said::Wait(until) => {
                self.confirmed = false;
                self.again = Some(*until);
            }
            Said::Nothing => {}
        }
    }
}

/// The endpoints that take what comes to a VIP of this family, for a node forwards within a family:
/// the ready ones, or, where there is none, those that serve although they terminate, as kube-proxy
/// has it (KEP-1669).
pub(super) fn taking(endpoints: &Endpoints, family: Family) -> impl Iterator<Item = &Endpoint> {
    let of_family = move |endpoint: &&Endpoint| Family::of(endpoint.address) == family;
    let all = || endpoints.endpoints.iter().filter(of_family);
    let any_ready = all().any(|endpoint| endpoint.ready);
    let last_resort = |endpoint: &Endpoint| endpoint.serving && endpoint.terminating;
    all().filter(move |end| if any_ready { end.ready } else { last_resort(end) })
}

/// How many endpoints each node has for this family, by its name; an endpoint that names no node
/// says nothing about one.
fn taking_by_node(endpoints: &Endpoints, family: Family) -> BTreeMap<&str, u32> {
    let mut count = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for endpoint in taking(endpoints, family) {
        if let Some(node) = &endpoint.node
            && seen.insert(endpoint.address)
        {
            *count.entry(&**node).or_default() += 1;
        }
    }
    count
}
