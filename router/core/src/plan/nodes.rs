//! Every node address that may be a backend, and what stands against it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_model::{Family, NodeKey, SourceName, local::BackendState, object::Node};

use super::Inputs;
use crate::{
    drain::Cause,
    health::Sight,
    maps::{BackendId, BackendMode},
};

/// A node's address of one family.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) node: NodeKey,
    pub(super) address: IpAddr,
    pub(super) standing: Standing,
    /// Its index, once it has one.
    pub(super) backend: Option<BackendId>,
}

/// What a node's address may do.
#[derive(Clone, Debug)]
pub(super) enum Standing {
    /// It is not used at all, for this reason.
    Refused(String),
    /// It would be used, but there is no way to it or no room for it.
    Unreachable(String),
    /// No new flows; established ones until the deadline has passed.
    Draining(Cause),
    /// It takes new flows as far as probes say.
    Usable(Sight),
}

/// All rows, in the order of the nodes' keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Nodes {
    pub(super) rows: Vec<Row>,
    by_source: BTreeMap<(SourceName, Family), Vec<usize>>,
}

impl Row {
    /// The name that its table slots follow from, the same on every edge host.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.node, self.address)
    }

    /// There is no way to it, for this reason.
    pub(super) fn unreachable(&mut self, reason: String) {
        self.standing = Standing::Unreachable(reason);
    }
}

impl Nodes {
    /// Looks at every node of the snapshot: its first usable address of each family, or, where it
    /// has none, its first one with the reason against it.
    pub(super) fn survey(inputs: &Inputs<'_>) -> Self {
        let context = Context::new(inputs);
        let mut nodes = Self::default();
        for node in inputs.snapshot.nodes.values() {
            for family in [Family::V4, Family::V6] {
                if let Some(row) = survey_family(inputs, &context, node, family) {
                    let key = (node.key.source.clone(), family);
                    nodes.by_source.entry(key).or_default().push(nodes.rows.len());
                    nodes.rows.push(row);
                }
            }
        }
        nodes
    }

    /// Indices of the rows of one source and family.
    pub(super) fn of(&self, source: &SourceName, family: Family) -> &[usize] {
        self.by_source.get(&(source.clone(), family)).map_or(&[], Vec::as_slice)
    }

    /// The nodes that have each address, where that is more than one.
    pub(super) fn shared(&self) -> BTreeMap<IpAddr, BTreeSet<&NodeKey>> {
        let mut holders: BTreeMap<IpAddr, BTreeSet<&NodeKey>> = BTreeMap::new();
        let usable = self.rows.iter().filter(|row| !matches!(row.standing, Standing::Refused(_)));
        for row in usable {
            holders.entry(row.address).or_default().insert(&row.node);
        }
        holders.retain(|_, nodes| nodes.len() > 1);
        holders
    }

    /// A problem for each address that several nodes have, with all their names.
    pub(super) fn told_of_shared(&self) -> Vec<String> {
        let told = |(address, nodes): (IpAddr, BTreeSet<&NodeKey>)| {
            let names: Vec<String> = nodes.iter().map(ToString::to_string).collect();
            format!(
                "{} have one address, {address}: it is served as long as one of them is; delete the Node that is no longer there",
                names.join(" and ")
            )
        };
        self.shared().into_iter().map(told).collect()
    }

    /// Whether so many node addresses fail their probes that the probes are not believed (S3).
    pub(super) fn panic(&self, threshold: u8) -> bool {
        let usable = self.rows.iter().filter_map(|row| match &row.standing {
            Standing::Usable(sight) => Some(sight.state == BackendState::Unhealthy),
            Standing::Draining(_) | Standing::Refused(_) | Standing::Unreachable(_) => None,
        });
        let (mut total, mut unhealthy) = (0, 0);
        for failing in usable {
            total += 1;
            unhealthy += usize::from(failing);
        }
        exceeds(unhealthy, total, threshold)
    }
}

/// Whether `part` of `total` is more than `threshold` percent.
pub(super) fn exceeds(part: usize, total: usize, threshold: u8) -> bool {
    part * 100 > total * usize::from(threshold)
}

/// What is looked up for every address.
struct Context {
    vips: BTreeSet<IpAddr>,
    /// Addresses of installed backends: where a node has several, the one in use is kept.
    in_use: BTreeSet<IpAddr>,
}

impl Context {
    fn new(inputs: &Inputs<'_>) -> Self {
        let backends = inputs.installed.backends.values();
        let in_use = backends.filter(|backend| backend.state != BackendMode::Gone);
        Self {
            vips: inputs.assignments.vips.iter().map(|vip| vip.address).collect(),
            in_use: in_use.map(|backend| backend.address).collect(),
        }
    }
}

fn survey_family(
    inputs: &Inputs<'_>,
    context: &Context,
    node: &Node,
    family: Family,
) -> Option<Row> {
    let of_family = node.addresses.iter().filter(|address| Family::of(**address) == family);
    let objections = of_family.map(|address| (*address, objection(inputs, context, *address)));
    let (address, objection) = objections.min_by_key(|(address, objection)| {
        (objection.is_some(), !context.in_use.contains(address))
    })?;
    let standing = match (objection, inputs.drains.of(&node.key)) {
        (Some(reason), _) => Standing::Refused(reason),
        (None, Some((cause, _))) => Standing::Draining(cause),
        (None, None) => Standing::Usable(inputs.health.node(address, inputs.now)),
    };
    Some(Row { node: node.key.clone(), address, standing, backend: None })
}

/// Why an address is never a backend: packets to it would not reach a node, or the operator said so.
fn objection(inputs: &Inputs<'_>, context: &Context, address: IpAddr) -> Option<String> {
    let allowed = &inputs.router.nodes_allowed;
    if inputs.host.addresses.contains(&address) {
        return Some(format!(
            "{address} is this edge host's own address: an edge host that is itself a node is not served yet"
        ));
    }
    if context.vips.contains(&address) {
        return Some(format!("{address} is a load balancer address, not a node's"));
    }
    if !is_host_address(address) {
        return Some(format!("{address} is no unicast address that a node can be reached at"));
    }
    if !allowed.is_empty() && !allowed.iter().any(|net| net.contains(&address)) {
        return Some(format!("{address} is outside router.nodes_allowed"));
    }
    None
}

fn is_host_address(address: IpAddr) -> bool {
    let special = address.is_unspecified() || address.is_loopback() || address.is_multicast();
    !special
        && match address {
            IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local() && v6.to_ipv4_mapped().is_none(),
        }
}
