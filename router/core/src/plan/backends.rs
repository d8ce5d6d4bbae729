//! Backends: one per node address, with the way to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_model::local::BackendState;

use super::{
    Inputs,
    nodes::{Nodes, Standing},
    snat::Snats,
};
use crate::{
    host::{Leg, Route},
    maps::{Backend, BackendId, BackendMode, NextHop},
};

/// The backends of all rows that are not refused, and those that flows may still refer to. Rows get
/// their index; rows that cannot be reached or do not fit are refused.
pub(super) fn plan(
    inputs: &Inputs<'_>,
    nodes: &mut Nodes,
    snats: &Snats,
    problems: &mut Vec<String>,
) -> BTreeMap<BackendId, Backend> {
    let panic = nodes.panic(inputs.router.health.panic_threshold);
    let mut ids = Ids::new(inputs);
    let mut wanted = BTreeMap::new();
    for row in &mut nodes.rows {
        if matches!(row.standing, Standing::Refused(_)) {
            continue;
        }
        let Some(id) = ids.of(row.address) else {
            let most = inputs.capacity.backends;
            let problem =
                format!("no room for node {}: at most {most} addresses are served", row.node);
            problems.push(problem.clone());
            row.unreachable(problem);
            continue;
        };
        let Some(way) = way(inputs, snats, row.address, id) else {
            row.unreachable(format!("no route to {} by a leg of the router", row.address));
            continue;
        };
        ids.take(row.address, id);
        // A row that drains has no share, whoever else has its address.
        row.backend = matches!(row.standing, Standing::Usable(_)).then_some(id);
        let state = mode(inputs, row, panic);
        let backend = wanted.entry(id).or_insert(Backend { state, ..way });
        backend.state = better(backend.state, state);
    }
    problems.extend(nodes.told_of_shared());
    keep_referenced(inputs, &mut wanted);
    wanted
}

/// Indices by address: the installed ones and those given out now.
struct Ids {
    by_address: BTreeMap<IpAddr, BackendId>,
    taken: BTreeSet<BackendId>,
    limit: BackendId,
}

impl Ids {
    fn new(inputs: &Inputs<'_>) -> Self {
        let installed = &inputs.installed.backends;
        Self {
            by_address: installed.iter().map(|(id, backend)| (backend.address, *id)).collect(),
            taken: installed.keys().copied().collect(),
            limit: inputs.capacity.backends,
        }
    }

    fn of(&self, address: IpAddr) -> Option<BackendId> {
        let known = self.by_address.get(&address).copied();
        known.or_else(|| (0..self.limit).find(|id| !self.taken.contains(id)))
    }

    fn take(&mut self, address: IpAddr, id: BackendId) {
        self.by_address.insert(address, id);
        self.taken.insert(id);
    }
}

/// The way to a node: by its route as it is now, or, where that has gone, as it was (doubt).
fn way(inputs: &Inputs<'_>, snats: &Snats, address: IpAddr, id: BackendId) -> Option<Backend> {
    let host = inputs.host;
    let routed = host.routes.get(&address).and_then(|route| {
        let leg = host.legs.get(&route.ifindex)?;
        let snat = snats.towards(inputs, address, route, id)?;
        Some(Backend {
            address,
            ifindex: route.ifindex,
            macs: next_hop(inputs, address, route, leg),
            gateway: route.gateway,
            mtu: mtu(route, leg),
            snat,
            state: BackendMode::Active,
        })
    });
    routed.or_else(|| inputs.installed.backends.get(&id).copied())
}

fn next_hop(inputs: &Inputs<'_>, address: IpAddr, route: &Route, leg: &Leg) -> Option<NextHop> {
    let hop = (route.ifindex, route.gateway.unwrap_or(address));
    let destination = inputs.host.neighbours.get(&hop)?;
    Some(NextHop { destination: *destination, source: leg.mac })
}

fn mtu(route: &Route, leg: &Leg) -> u16 {
    let smallest = route.mtu.map_or(leg.mtu, |mtu| mtu.min(leg.mtu));
    u16::try_from(smallest).unwrap_or(u16::MAX)
}

fn mode(inputs: &Inputs<'_>, row: &super::nodes::Row, panic: bool) -> BackendMode {
    let drained = inputs.drains.of(&row.node).is_some_and(|(_, until)| until <= inputs.now);
    if drained {
        return BackendMode::Gone;
    }
    let unhealthy = inputs.health.node(row.address, inputs.now).state == BackendState::Unhealthy;
    if unhealthy && !panic { BackendMode::Doubtful } else { BackendMode::Active }
}

/// The mode of an address that two Nodes have: flows end when none of them is served any more, in
/// whichever order their names come (S4).
fn better(one: BackendMode, other: BackendMode) -> BackendMode {
    let rank = |mode: BackendMode| match mode {
        BackendMode::Active => 0_u8,
        BackendMode::Doubtful => 1,
        BackendMode::Gone => 2,
    };
    if rank(one) <= rank(other) { one } else { other }
}

/// Backends without a Node: their flows stay until the drain is over or the address is dead, then
/// the index stays until no flow refers to it.
fn keep_referenced(inputs: &Inputs<'_>, wanted: &mut BTreeMap<BackendId, Backend>) {
    for (id, backend) in &inputs.installed.backends {
        if wanted.contains_key(id) {
            continue;
        }
        let state = orphan_mode(inputs, backend);
        if state != BackendMode::Gone || !inputs.freed.backends.contains(id) {
            wanted.insert(*id, Backend { state, ..*backend });
        }
    }
}

fn orphan_mode(inputs: &Inputs<'_>, backend: &Backend) -> BackendMode {
    let Some(until) = inputs.drains.orphan(backend.address) else {
        let snapshot = inputs.snapshot;
        let named = || snapshot.nodes.values().any(|n| n.addresses.contains(&backend.address));
        let refused = snapshot.is_complete() && (!snapshot.is_in_doubt() || named());
        return if refused { BackendMode::Gone } else { backend.state };
    };
    let dead = inputs.health.node(backend.address, inputs.now).state == BackendState::Unhealthy;
    if dead || until <= inputs.now { BackendMode::Gone } else { backend.state }
}
