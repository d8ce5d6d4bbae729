//! The appliance installed as the README says, in a world of the lab.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{Installed, eventually};

use crate::world::{SOON, World};

/// The one-shot that loads the dataplane.
pub const LOAD: &str = "roadstead-router-load.service";
/// The router's unit.
pub const ROUTER: &str = "roadstead-router.service";
/// The speaker's unit.
pub const SPEAKER: &str = "roadstead-speaker.service";

/// The root of the repository.
pub fn checkout() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Installs on the edge host of a world, with the manifests of its nodes. Nothing runs yet.
pub fn install(world: &World, toml: &str) -> Result<Installed> {
    let it = Installed::install(&world.lab, &checkout(), toml)?;
    for node in &world.nodes {
        it.manifests.node(node.host())?;
    }
    Ok(it)
}

/// Waits until a Service holds and announces its addresses; returns them, IPv4 first.
pub fn announced(it: &Installed, service: &str) -> Result<Vec<IpAddr>> {
    eventually(&format!("{service} is announced"), SOON, || {
        let status = it.status()?;
        let found = status.service(service)?;
        let mut addresses = found.addresses.clone();
        addresses.sort_by_key(IpAddr::is_ipv6);
        let announced = |ip: &IpAddr| found.announced.iter().any(|entry| entry.address == *ip);
        let all = !addresses.is_empty() && addresses.iter().all(announced);
        ensure!(all, "{found:?}; the daemons: {:?}", status.daemons);
        Ok(addresses)
    })
}

/// The first address of a Service that is announced.
pub fn first_address(it: &Installed, service: &str) -> Result<IpAddr> {
    let first = announced(it, service)?.first().copied();
    first.ok_or_else(|| anyhow!("{service} has no address"))
}
