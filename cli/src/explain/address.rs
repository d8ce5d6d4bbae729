//! Which Services stand behind an address.

use std::net::IpAddr;

use roadstead_model::ServiceKey;

use super::Facts;
use crate::status::ServiceView;

/// The Services that hold the address, or the one that has the port; else why there is none.
pub(super) fn holders(
    facts: &Facts<'_>,
    address: IpAddr,
    port: Option<u16>,
) -> Result<Vec<ServiceKey>, String> {
    let services = facts.status.services.iter();
    let holders: Vec<&ServiceView> =
        services.filter(|service| service.addresses.contains(&address)).collect();
    if holders.is_empty() {
        return Err(unheld(facts, address));
    }
    let Some(port) = port else { return Ok(holders.iter().map(|holder| holder.key()).collect()) };
    let with_port: Vec<ServiceKey> = holders
        .iter()
        .filter(|service| service.ports.iter().any(|claimed| claimed.port == port))
        .map(|service| service.key())
        .collect();
    let ports_known = holders.iter().any(|service| !service.ports.is_empty());
    if with_port.is_empty() && ports_known {
        return Err(closed(&holders, address, port));
    }
    Ok(if with_port.is_empty() { holders.iter().map(|h| h.key()).collect() } else { with_port })
}

fn closed(holders: &[&ServiceView], address: IpAddr, port: u16) -> String {
    let held = holders.iter().map(|service| {
        let ports = service.ports.iter().map(|port| format!("{}/{}", port.port, port.protocol));
        format!("{} ({})", service.key(), ports.collect::<Vec<_>>().join(", "))
    });
    let held = held.collect::<Vec<_>>().join(", ");
    format!("port {port} of {address} is no Service's: it is answered as closed; held by {held}")
}

fn unheld(facts: &Facts<'_>, address: IpAddr) -> String {
    if facts.status.daemons.is_empty() {
        return format!("no daemon answers: nothing is known about {address}");
    }
    let pools = facts.config.map(|config| config.pools.as_slice()).unwrap_or_default();
    let pool = pools.iter().find(|pool| pool.addresses.iter().any(|r| r.contains(address)));
    match pool {
        Some(pool) if pool.reserved.iter().any(|range| range.contains(address)) => {
            format!("{address} is reserved in pool `{}`: no Service may hold it", pool.name)
        }
        Some(pool) => {
            format!(
                "{address} of pool `{}` is held by no Service: nobody answers for it",
                pool.name
            )
        }
        None if facts.config.is_none() => format!("{address} is held by no Service"),
        None => format!("{address} lies in no pool and is held by no Service: it is not ours"),
    }
}
