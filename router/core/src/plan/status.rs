//! What people see: every Service with its backends, every node, each with the reason for its state.

mod lists;
mod reasons;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Family, NodeKey, Protocol,
    local::{
        Assignment, Backend, BackendState, Listed, NodeStatus, PortClaim, PortStatus,
        RouterService, ServiceServing, Serving,
    },
    object::Service,
    reason::{self, Condition, ConditionStatus},
};

use super::{
    Inputs, Plan, backends,
    candidates::Pools,
    nodes::Nodes,
    serving::{port_of, servable},
    snat::Snats,
};
use lists::{Lists, Tally};
use reasons::node_state;

/// The router's part of `roadstead status`.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// One entry per Service of the assignments.
    pub services: Vec<RouterService>,
    /// The nodes that the ports of Services refer to.
    pub lists: Vec<Arc<[Backend]>>,
    /// One entry per node.
    pub nodes: Vec<NodeStatus>,
}

/// Describes what `plan` made of the same inputs.
pub fn status(inputs: &Inputs<'_>, plan: &Plan) -> Status {
    let mut nodes = Nodes::survey(inputs);
    let mut told_already = Vec::new();
    let snats = Snats::plan(inputs, &nodes, &mut told_already);
    backends::plan(inputs, &mut nodes, &snats, &mut told_already);
    let pools = Pools::new(inputs, &nodes);
    let serving: BTreeMap<_, _> =
        plan.services.iter().map(|serving| (&serving.service, serving)).collect();
    let mut lists = Lists::new(inputs, &pools);
    let services = inputs.assignments.services.iter().map(|assignment| {
        let serving = serving.get(&assignment.service).copied();
        service_status(inputs, &mut lists, assignment, serving)
    });
    let services = services.collect();
    Status { services, lists: lists.into_lists(), nodes: node_statuses(inputs, &nodes) }
}

fn service_status(
    inputs: &Inputs<'_>,
    lists: &mut Lists<'_>,
    assignment: &Assignment,
    serving: Option<&ServiceServing>,
) -> RouterService {
    let service = inputs.snapshot.services.get(&assignment.service);
    let ports = assignment.ports.iter().map(|claim| PortStatus {
        protocol: claim.protocol,
        port: claim.port,
        listed: service.map_or_else(Vec::new, |service| listed(lists, assignment, service, *claim)),
    });
    let ports: Vec<PortStatus> = ports.collect();
    let tallies = ports.iter().flat_map(|port| &port.listed).map(|listed| lists.tally(listed));
    let tally = tallies.fold(Tally::default(), Tally::with);
    let mut conditions = vec![programmed(serving), backends_healthy(tally, serving)];
    conditions.extend(service.and_then(|service| skipped_ports(service)));
    conditions.extend(service.and_then(|service| reason::client_address(service)));
    RouterService { service: assignment.service.clone(), ports, conditions }
}

/// The nodes behind a port: every address of a family has the same.
fn listed(
    lists: &mut Lists<'_>,
    assignment: &Assignment,
    service: &Service,
    claim: PortClaim,
) -> Vec<Listed> {
    let Some(node_port) = port_of(service, claim).and_then(|port| servable(port).ok()) else {
        return Vec::new();
    };
    let families: BTreeSet<_> = assignment.addresses.iter().map(|a| Family::of(*a)).collect();
    let listed = families.into_iter().map(|f| lists.listed(service, claim, node_port, f));
    listed.collect()
}

/// One line per node: the best of its addresses, with what stands against the others.
fn node_statuses(inputs: &Inputs<'_>, nodes: &Nodes) -> Vec<NodeStatus> {
    let of_node = |key| nodes.rows.iter().filter(move |row| row.node == key);
    let shared = nodes.shared();
    inputs
        .snapshot
        .nodes
        .values()
        .map(|node| {
            let states: Vec<(BackendState, String)> =
                of_node(node.key.clone()).map(node_state).collect();
            let best = states.iter().map(|(state, _)| *state).min_by_key(|state| rank(*state));
            let mut reasons: Vec<String> =
                states.into_iter().map(|(_, reason)| reason).filter(|r| !r.is_empty()).collect();
            reasons.dedup();
            reasons.extend(shares_with(&node.key, &shared));
            if best.is_none() {
                reasons.push("it has no InternalIP address".to_owned());
            }
            NodeStatus {
                source: node.key.source.clone(),
                name: node.key.name.clone(),
                addresses: node.addresses.clone(),
                state: best.unwrap_or(BackendState::Unhealthy),
                reason: reasons.join("; "),
            }
        })
        .collect()
}

/// The nodes that have an address of this one, too.
fn shares_with<'a>(
    key: &'a NodeKey,
    shared: &'a BTreeMap<IpAddr, BTreeSet<&NodeKey>>,
) -> impl Iterator<Item = String> + 'a {
    let own = shared.iter().filter(move |(_, nodes)| nodes.contains(key));
    own.map(move |(address, nodes)| {
        let others = nodes.iter().filter(|node| **node != key);
        let others: Vec<String> = others.map(ToString::to_string).collect();
        format!("its address {address} is that of {} too", others.join(" and "))
    })
}

/// Which of a node's addresses speaks for it: the one that serves best.
fn rank(state: BackendState) -> u8 {
    match state {
        BackendState::Healthy => 0,
        BackendState::SlowStart => 1,
        BackendState::Draining => 2,
        BackendState::Unknown => 3,
        BackendState::Unhealthy => 4,
    }
}

fn programmed(serving: Option<&ServiceServing>) -> Condition {
    let condition = |status, reason: &str, message: String| {
        Condition::new("Programmed", status, reason, message)
    };
    match serving.map(|serving| (serving.serving, serving.message.clone())) {
        None => condition(
            ConditionStatus::Unknown,
            "NotPlanned",
            "the router has not planned it yet".to_owned(),
        ),
        Some((Serving::Ready | Serving::Degraded, _)) => {
            condition(ConditionStatus::True, "Programmed", String::new())
        }
        Some((Serving::Pending, message)) => condition(ConditionStatus::False, "Pending", message),
        Some((Serving::Unserved, message)) => {
            condition(ConditionStatus::False, "Unserved", message)
        }
    }
}

fn backends_healthy(tally: Tally, serving: Option<&ServiceServing>) -> Condition {
    let Tally { all, healthy, unknown, panicking } = tally;
    let in_panic = panicking > 0;
    let message = format!("{healthy} of {all} backends pass their probes");
    let degraded = serving.is_some_and(|serving| serving.serving == Serving::Degraded);
    let (status, reason) = match (healthy, unknown) {
        _ if degraded || in_panic => (ConditionStatus::False, "Panic"),
        (0, 0) => (ConditionStatus::False, "NoneHealthy"),
        (0, _) => (ConditionStatus::Unknown, "NotProbed"),
        _ => (ConditionStatus::True, "Probed"),
    };
    let message = if in_panic {
        format!("{message}: too many fail, so new connections go to all of them")
    } else {
        message
    };
    Condition::new("BackendsHealthy", status, reason, message)
}

/// Ports that are passed over while their siblings are served.
fn skipped_ports(service: &Service) -> Option<Condition> {
    let reasons: Vec<String> =
        service.ports.iter().filter_map(|port| servable(port).err()).collect();
    let reason = match service.ports.iter().any(|port| port.protocol == Protocol::Sctp) {
        true => "SctpNotServed",
        false => "NoNodePort",
    };
    let message = reasons.join("; ");
    (!reasons.is_empty())
        .then(|| Condition::new("PortsServed", ConditionStatus::False, reason, message))
}
