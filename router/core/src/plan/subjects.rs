//! Who wants a verdict: the nodes, and the Service ports of the assignments.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{Hash, Hasher},
    net::IpAddr,
};

use roadstead_model::{
    Family, Protocol, SourceName,
    local::{Assignment, BackendState, PortClaim},
    object::{Service, TrafficPolicy},
};
use siphasher::sip::SipHasher13;

use super::{
    Inputs,
    nodes::{Nodes, Row, Standing},
    serving::{port_of, servable},
};
use crate::{
    health::{FIRST_NODES, Sentinel, Subjects},
    maps::BackendMode,
};

/// How many NodePorts stand in for kube-proxy's health port: several, because one Service without
/// endpoints says nothing about a node.
const SENTINELS: usize = 3;

type Sentinels = BTreeMap<SourceName, Vec<Sentinel>>;

/// Everything that health should watch.
pub fn subjects(inputs: &Inputs<'_>) -> Subjects {
    let nodes = Nodes::survey(inputs);
    let mut subjects = Subjects::default();
    let mut sentinels = Sentinels::new();
    for assignment in &inputs.assignments.services {
        let Some(service) = inputs.snapshot.services.get(&assignment.service) else { continue };
        let rows = Candidates::of(inputs, &nodes, service);
        for claim in &assignment.ports {
            let Some(port) = port_of(service, *claim) else { continue };
            let Ok(node_port) = servable(port) else { continue };
            if may_stand_in(service, *claim) {
                let proven = inputs.health.passes(&service.key, *claim);
                let sentinel = Sentinel { port: node_port, proven };
                add(sentinels.entry(service.key.source.clone()).or_default(), sentinel);
            }
            let first = rows.first(assignment, *claim);
            subjects.ports.insert((service.key.clone(), *claim), (node_port, first));
        }
        if let (TrafficPolicy::Local, Some(port)) =
            (service.traffic_policy, service.health_check_node_port)
        {
            let keys = rows.rows.iter().map(|row| (service.key.clone(), row.address));
            subjects.locals.extend(keys.map(|key| (key, port)));
        }
    }
    subjects.nodes = watched_nodes(inputs, &nodes, &sentinels);
    subjects
}

/// Rows that may serve a Service.
struct Candidates<'a> {
    rows: Vec<&'a Row>,
}

impl<'a> Candidates<'a> {
    fn of(inputs: &Inputs<'_>, nodes: &'a Nodes, service: &Service) -> Self {
        let with_endpoints: Option<BTreeSet<&str>> = match service.traffic_policy {
            TrafficPolicy::Cluster => None,
            TrafficPolicy::Local => inputs.snapshot.endpoints.get(&service.key).map(|endpoints| {
                let ready = endpoints.endpoints.iter().filter(|endpoint| endpoint.ready);
                ready.filter_map(|endpoint| endpoint.node.as_deref()).collect()
            }),
        };
        let source = &service.key.source;
        let rows = [Family::V4, Family::V6].into_iter().flat_map(|f| nodes.of(source, f));
        let usable = rows.map(|index| &nodes.rows[*index]).filter(|row| {
            matches!(row.standing, Standing::Usable(_))
                && with_endpoints.as_ref().is_none_or(|nodes| nodes.contains(&*row.node.name))
        });
        Self { rows: usable.collect() }
    }

    /// The nodes to try first: of each family of the Service's addresses, those after a place that
    /// differs from Service to Service, without the ones that fail anyway.
    fn first(&self, assignment: &Assignment, claim: PortClaim) -> Vec<IpAddr> {
        let families: BTreeSet<Family> =
            assignment.addresses.iter().map(|address| Family::of(*address)).collect();
        let mut first = Vec::new();
        for family in families {
            let of_family = self.rows.iter().filter(|row| Family::of(row.address) == family);
            let (good, failing): (Vec<&Row>, Vec<&Row>) =
                of_family.copied().partition(|row| !fails(row));
            let rows = if good.is_empty() { failing } else { good };
            let start = place(assignment, claim, rows.len());
            let turned = rows.iter().cycle().skip(start).take(FIRST_NODES.min(rows.len()));
            first.extend(turned.map(|row| row.address));
        }
        first
    }
}

fn fails(row: &Row) -> bool {
    matches!(&row.standing, Standing::Usable(sight) if sight.state == BackendState::Unhealthy)
}

fn place(assignment: &Assignment, claim: PortClaim, rows: usize) -> usize {
    let mut hasher = SipHasher13::new();
    (&assignment.service, claim).hash(&mut hasher);
    let place = hasher.finish().checked_rem(rows as u64).unwrap_or(0);
    usize::try_from(place).unwrap_or(0)
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

/// Addresses that may be used, those that drain, and those whose Node is gone while flows stay.
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
    for backend in inputs.installed.backends.values() {
        if backend.state != BackendMode::Gone && inputs.drains.orphan(backend.address).is_some() {
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
