//! The source addresses towards nodes and their indices.
//!
//! Flows and reply keys name a SNAT address by its index, so an address keeps its own for as long
//! as a flow may use it. A backend names a run of consecutive indices; dedicated addresses are given
//! neighbouring ones where that is possible, and backends take turns among the runs where it is not.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_model::Family;

use super::{Inputs, nodes::Nodes};
use crate::{
    host::Route,
    maps::{BackendId, Snat, SnatId},
};

/// Ports of a dedicated address: all but the ones that belong to well-known services.
const DEDICATED_PORTS: (u16, u16) = (1_024, 65_535);

/// Where there are dedicated addresses, the host's own come after so many indices, so that the run of
/// the dedicated ones can grow. Low indices matter: the program looks through all up to the highest.
const DEDICATED_ROOM: SnatId = 12;

/// SNAT addresses as they should be.
#[derive(Clone, Debug, Default)]
pub(super) struct Snats {
    pub(super) wanted: BTreeMap<SnatId, Snat>,
    ids: BTreeMap<IpAddr, SnatId>,
    runs: BTreeMap<Family, Vec<(SnatId, u16)>>,
}

impl Snats {
    pub(super) fn plan(inputs: &Inputs<'_>, nodes: &Nodes, problems: &mut Vec<String>) -> Self {
        let mut snats = Self { ids: installed_ids(inputs), ..Self::default() };
        let dedicated: BTreeSet<IpAddr> = inputs.router.snat_addresses.iter().copied().collect();
        for address in &dedicated {
            let neighbours = dedicated.iter().filter_map(|other| snats.ids.get(other));
            let near: Vec<SnatId> = neighbours
                .flat_map(|id| [id.checked_add(1), id.checked_sub(1)])
                .flatten()
                .collect();
            let shared = inputs.host.addresses.contains(address);
            let ports = if shared { inputs.router.snat_ports } else { DEDICATED_PORTS };
            snats.add(inputs, *address, near, ports, shared, problems);
        }
        for address in own_sources(inputs, nodes) {
            let apart = if dedicated.is_empty() { 0 } else { DEDICATED_ROOM };
            let preferred = (apart..inputs.capacity.snats).collect();
            snats.add(inputs, address, preferred, inputs.router.snat_ports, true, problems);
        }
        snats.runs = runs(&snats, &dedicated);
        snats.keep_referenced(inputs);
        snats
    }

    /// What a backend uses: a run of the dedicated addresses of its family, or the host's address
    /// on the route.
    pub(super) fn towards(
        &self,
        inputs: &Inputs<'_>,
        address: IpAddr,
        route: &Route,
        backend: BackendId,
    ) -> Option<(SnatId, u16)> {
        if let Some(runs) = self.runs.get(&Family::of(address)) {
            let turn = usize::from(backend).checked_rem(runs.len())?;
            return runs.get(turn).copied();
        }
        let source = inputs.host.source(address, route)?;
        let id = self.ids.get(&source).filter(|id| self.wanted.contains_key(id))?;
        Some((*id, 1))
    }

    /// Dedicated addresses that are on no interface: the program answers for them.
    pub(super) fn unowned<'a>(
        &'a self,
        inputs: &'a Inputs<'_>,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let addresses = inputs.router.snat_addresses.iter().copied();
        addresses.filter(|address| {
            self.ids.contains_key(address) && !inputs.host.addresses.contains(address)
        })
    }

    fn add(
        &mut self,
        inputs: &Inputs<'_>,
        address: IpAddr,
        preferred: Vec<SnatId>,
        (low, high): (u16, u16),
        shared: bool,
        problems: &mut Vec<String>,
    ) {
        let taken: BTreeSet<SnatId> = self.ids.values().copied().collect();
        let known = self.ids.get(&address).copied();
        let free = preferred.into_iter().chain(0..inputs.capacity.snats);
        let mut free = free.filter(|id| *id < inputs.capacity.snats && !taken.contains(id));
        let Some(id) = known.or_else(|| free.next()) else {
            problems.push(format!(
                "no room for the source address {address}: at most {} are served",
                inputs.capacity.snats
            ));
            return;
        };
        self.ids.insert(address, id);
        self.wanted.insert(id, Snat { address, low, high, shared });
    }

    /// What is no longer wanted stays until no flow refers to it.
    fn keep_referenced(&mut self, inputs: &Inputs<'_>) {
        for (id, snat) in &inputs.installed.snats {
            if !inputs.freed.snats.contains(id) {
                self.wanted.entry(*id).or_insert(*snat);
            }
        }
    }
}

fn installed_ids(inputs: &Inputs<'_>) -> BTreeMap<IpAddr, SnatId> {
    inputs.installed.snats.iter().map(|(id, snat)| (snat.address, *id)).collect()
}

/// The host's addresses on the routes to nodes, for the families without dedicated ones.
fn own_sources(inputs: &Inputs<'_>, nodes: &Nodes) -> BTreeSet<IpAddr> {
    let dedicated: BTreeSet<Family> =
        inputs.router.snat_addresses.iter().map(|address| Family::of(*address)).collect();
    let own = nodes.rows.iter().map(|row| row.address);
    own.filter(|address| !dedicated.contains(&Family::of(*address)))
        .filter_map(|address| inputs.host.source(address, inputs.host.routes.get(&address)?))
        .collect()
}

/// Runs of consecutive indices of the dedicated addresses of each family.
fn runs(snats: &Snats, dedicated: &BTreeSet<IpAddr>) -> BTreeMap<Family, Vec<(SnatId, u16)>> {
    let mut runs: BTreeMap<Family, Vec<(SnatId, u16)>> = BTreeMap::new();
    for (id, snat) in snats.wanted.iter().filter(|(_, snat)| dedicated.contains(&snat.address)) {
        let family = runs.entry(Family::of(snat.address)).or_default();
        match family.last_mut() {
            Some((first, count)) if first.checked_add(*count) == Some(*id) => *count += 1,
            _ => family.push((*id, 1)),
        }
    }
    runs
}
