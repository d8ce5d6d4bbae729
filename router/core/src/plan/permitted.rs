//! Which addresses the configuration permits: nothing outside its pools is served or answered for,
//! whatever the speaker says (S1).

use std::net::IpAddr;

use roadstead_model::{ServiceKey, config::Pool, local::Assignments};

/// Whether a pool has this address and does not reserve it.
pub(super) fn permits(pools: &[Pool], address: IpAddr) -> bool {
    let within = |pool: &&Pool| pool.addresses.iter().any(|range| range.contains(address));
    let reserved = |pool: &Pool| pool.reserved.iter().any(|range| range.contains(address));
    pools.iter().find(within).is_some_and(|pool| !reserved(pool))
}

/// The Services whose addresses `old` permits and `new` does not: who a reload would cut. What is on
/// its way out is left to go.
pub fn orphans(assignments: &Assignments, old: &[Pool], new: &[Pool]) -> Vec<(ServiceKey, IpAddr)> {
    let staying = assignments.services.iter().filter(|assignment| !assignment.withdrawing);
    let addresses = staying.flat_map(|assignment| {
        assignment.addresses.iter().map(|address| (assignment.service.clone(), *address))
    });
    addresses.filter(|(_, address)| permits(old, *address) && !permits(new, *address)).collect()
}
