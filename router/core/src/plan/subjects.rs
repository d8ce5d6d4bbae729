//! Who wants a verdict: the nodes, and the Service ports of the assignments.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    net::IpAddr,
    rc::Rc,
};

use roadstead_model::{
    Family, Protocol, SourceName,
    local::{Assignment, BackendState, PortClaim},
    object::{Service, TrafficPolicy},
};
use siphasher::sip::SipHasher13;

use super::{
    Inputs,
    candidates::taking,
    nodes::{Nodes, Row, Standing},
    serving::{port_of, servable},
};
use crate::{
    health::{FIRST_NODES, Port, Sentinel, Subjects},
    maps::BackendMode,
};

/// How many NodePorts stand in for kube-proxy's health port: several, because one Service without
/// endpoints says nothing about a node.
const SENTINELS: usize = 3;

/// How many NodePorts of nodes are asked the health checks of their Services again and again: a
/// bound of memory. Of Services beyond it a few nodes are asked, as of one without a check.
const MOST_CHECKED: usize = 20_000;

type Sentinels = BTreeMap<SourceName, Vec<Sentinel>>;

/// Everything that health should watch.
pub fn subjects(inputs: &Inputs<'_>) -> Subjects {
    let nodes = Nodes::survey(inputs);
    let mut gathered = Gathered::new(&nodes);
    for assignment in &inputs.assignments.services {
        match inputs.snapshot.services.get(&assignment.service) {
            Some(service) => gathered.add(inputs, assignment, service),
            None if inputs.snapshot.is_gone(&assignment.service) => {}
            None => drop(gathered.subjects.held.insert(assignment.service.clone())),
        }
    }
    let Gathered { mut subjects, sentinels, .. } = gathered;
    subjects.nodes = watched_nodes(inputs, &nodes, &sentinels);
    subjects.siblings = siblings(&nodes);
    subjects
}

/// The subjects of the Services so far.
struct Gathered<'a> {
    nodes: &'a Nodes,
    subjects: Subjects,
    sentinels: Sentinels,
    /// Candidates of the Services that have nothing of their own, by source.
    shared: BTreeMap<SourceName, Rc<Candidates<'a>>>,
    /// How many of the ports' subjects have a health check.
    checked: usize,
}

impl<'a> Gathered<'a> {
    fn new(nodes: &'a Nodes) -> Self {
        let (subjects, sentinels) = (Subjects::default(), Sentinels::new());
        Self { nodes, subjects, sentinels, shared: BTreeMap::new(), checked: 0 }
    }

    fn add(&mut self, inputs: &Inputs<'_>, assignment: &Assignment, service: &Service) {
        let rows = self.candidates(inputs, service);
        for claim in &assignment.ports {
            let Some(port) = port_of(service, *claim) else { continue };
            let Ok(node_port) = servable(port) else { continue };
            if may_stand_in(service, *claim) {
                let proven = inputs.health.passes(&service.key, *claim);
                let sentinel = Sentinel { port: node_port, proven };
                add(self.sentinels.entry(service.key.source.clone()).or_default(), sentinel);
            }
            let port = self.port(assignment, service, *claim, node_port, &rows);
            self.subjects.ports.insert((service.key.clone(), *claim), port);
        }
        if let (TrafficPolicy::Local, Some(port)) =
            (service.traffic_policy, service.health_check_node_port)
        {
            let keys = rows.all().map(|row| (service.key.clone(), row.address));
            self.subjects.locals.extend(keys.map(|key| (key, port)));
        }
    }

    fn candidates(&mut self, inputs: &Inputs<'_>, service: &Service) -> Rc<Candidates<'a>> {
        let (nodes, source) = (self.nodes, &service.key.source);
        match service.traffic_policy {
            TrafficPolicy::Cluster => {
                let of_source = || Rc::new(Candidates::of(nodes, source, None));
                Rc::clone(self.shared.entry(source.clone()).or_insert_with(of_source))
            }
            TrafficPolicy::Local => {
                let named = nodes_with_endpoints(inputs, service);
                Rc::new(Candidates::of(nodes, source, named.as_ref()))
            }
        }
    }

    /// A port without a health check is asked on a few nodes, one with a check on all.
    fn port(
        &mut self,
        assignment: &Assignment,
        service: &Service,
        claim: PortClaim,
        node_port: u16,
        rows: &Candidates<'_>,
    ) -> Port {
        let check = service.health_check.clone();
        let check = check.filter(|check| check.covers(claim.protocol, claim.port));
        let every = check.is_some().then(|| rows.every(assignment));
        let every = every.filter(|every| self.checked + every.len() <= MOST_CHECKED);
        self.checked += every.as_ref().map_or(0, Vec::len);
        Port { node_port, check, at: every.unwrap_or_else(|| rows.first(assignment, claim)) }
    }
}

/// Rows of one node stand beside one another: one for each family.
fn siblings(nodes: &Nodes) -> BTreeMap<IpAddr, IpAddr> {
    let pairs = nodes.rows.windows(2).filter_map(|two| match two {
        [v4, v6] if v4.node == v6.node => Some((v4.address, v6.address)),
        _ => None,
    });
    pairs.flat_map(|(v4, v6)| [(v4, v6), (v6, v4)]).collect()
}

/// Rows that may serve a Service, by family: those that pass, and those that fail.
///
/// Each stands at its address's place on a ring. Where a node comes or goes only Services with a
/// place next to it are asked on another one; by a count of the nodes every one of them would be.
struct Candidates<'a> {
    v4: (Vec<Placed<'a>>, Vec<Placed<'a>>),
    v6: (Vec<Placed<'a>>, Vec<Placed<'a>>),
}

/// A row at its place on the ring.
type Placed<'a> = (u64, &'a Row);

impl<'a> Candidates<'a> {
    fn of(nodes: &'a Nodes, source: &SourceName, named: Option<&BTreeSet<&str>>) -> Self {
        let of_family = |family| {
            let rows = nodes.of(source, family).iter().map(|index| &nodes.rows[*index]);
            let usable = rows.filter(|row| {
                matches!(row.standing, Standing::Usable(_))
                    && named.is_none_or(|named| named.contains(&*row.node.name))
            });
            let mut placed: Vec<Placed<'_>> = usable.map(|row| (place(row.address), row)).collect();
            placed.sort_unstable_by_key(|(place, row)| (*place, row.address));
            placed.into_iter().partition(|(_, row)| !fails(row))
        };
        Self { v4: of_family(Family::V4), v6: of_family(Family::V6) }
    }

    fn all(&self) -> impl Iterator<Item = &'a Row> {
        let (v4, v6) = (&self.v4, &self.v6);
        v4.0.iter().chain(&v4.1).chain(&v6.0).chain(&v6.1).map(|(_, row)| *row)
    }

    /// The nodes to try first: of each family of the Service's addresses, those after the port's own
    /// place on the ring, without the ones that fail anyway.
    fn first(&self, assignment: &Assignment, claim: PortClaim) -> Vec<IpAddr> {
        let own = place((&assignment.service, claim));
        let turned = self.promising(assignment).flat_map(|rows| {
            let start = rows.partition_point(|(place, _)| *place < own);
            rows.iter().cycle().skip(start).take(FIRST_NODES.min(rows.len()))
        });
        turned.map(|(_, row)| row.address).collect()
    }

    /// All nodes, without the ones that fail anyway.
    fn every(&self, assignment: &Assignment) -> Vec<IpAddr> {
        self.promising(assignment).flatten().map(|(_, row)| row.address).collect()
    }

    /// The nodes of each family of the Service's addresses: those that pass, or else all.
    fn promising(&self, assignment: &Assignment) -> impl Iterator<Item = &[Placed<'a>]> {
        let families: BTreeSet<Family> =
            assignment.addresses.iter().map(|address| Family::of(*address)).collect();
        families.into_iter().map(|family| {
            let (passing, failing) = match family {
                Family::V4 => &self.v4,
                Family::V6 => &self.v6,
            };
            if passing.is_empty() { &failing[..] } else { &passing[..] }
        })
    }
}

/// The nodes with endpoints that take new connections of a Service, over either family; `None` where
/// no EndpointSlice is known.
fn nodes_with_endpoints<'a>(inputs: &Inputs<'a>, service: &Service) -> Option<BTreeSet<&'a str>> {
    let endpoints = inputs.snapshot.endpoints.get(&service.key)?;
    let families = [Family::V4, Family::V6].into_iter();
    let taking = families.flat_map(|family| taking(endpoints, family));
    Some(taking.filter_map(|endpoint| endpoint.node.as_deref()).collect())
}

fn fails(row: &Row) -> bool {
    matches!(&row.standing, Standing::Usable(sight) if sight.state == BackendState::Unhealthy)
}

/// Where something stands on the ring: the same in every plan, and on every host.
fn place(of: impl Hash) -> u64 {
    let mut hasher = SipHasher13::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Keeps the first few of a source: proven ones, or, where there is none, any.
fn add(sentinels: &mut Vec<Sentinel>, sentinel: Sentinel) {
    if sentinel.proven {
        sentinels.retain(|other| other.proven);
    }
    let fits = sentinel.proven || sentinels.iter().all(|other| !other.proven);
    if fits && sentinels.len() < SENTINELS {
        sentinels.push(sentinel);
    }
}

fn may_stand_in(service: &Service, claim: PortClaim) -> bool {
    service.traffic_policy == TrafficPolicy::Cluster && claim.protocol == Protocol::Tcp
}

/// Addresses that may be used, those that drain, and those in use that the snapshot does not show:
/// their Node is gone while flows stay, or a source is unread or in doubt. What is known of these
/// outlives the doubt.
fn watched_nodes(
    inputs: &Inputs<'_>,
    nodes: &Nodes,
    sentinels: &Sentinels,
) -> BTreeMap<IpAddr, Vec<Sentinel>> {
    let mut watched = BTreeMap::new();
    for row in &nodes.rows {
        match row.standing {
            Standing::Refused(_) => {}
            Standing::Usable(_) | Standing::Draining(_) | Standing::Unreachable(_) => {
                let ports = sentinels.get(&row.node.source).cloned().unwrap_or_default();
                watched.insert(row.address, ports);
            }
        }
    }
    let any: Vec<Sentinel> = sentinels.values().flatten().copied().take(SENTINELS).collect();
    let shown: BTreeSet<IpAddr> = nodes.rows.iter().map(|row| row.address).collect();
    let doubt = !inputs.snapshot.is_complete() || inputs.snapshot.is_in_doubt();
    for backend in inputs.installed.backends.values() {
        let orphan = inputs.drains.orphan(backend.address).is_some();
        let may_have_a_node = doubt && !shown.contains(&backend.address);
        if backend.state != BackendMode::Gone && (orphan || may_have_a_node) {
            watched.entry(backend.address).or_insert_with(|| any.clone());
        }
    }
    watched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_proven_sentinel_is_worth_more_than_any_unproven() {
        let unproven = |port| Sentinel { port, proven: false };
        let proven = |port| Sentinel { port, proven: true };
        let mut sentinels = Vec::new();
        (1..=5).for_each(|port| add(&mut sentinels, unproven(port)));
        assert_eq!(sentinels, [unproven(1), unproven(2), unproven(3)]);
        [proven(6), unproven(7), proven(8)].into_iter().for_each(|it| add(&mut sentinels, it));
        assert_eq!(sentinels, [proven(6), proven(8)]);
    }
}
