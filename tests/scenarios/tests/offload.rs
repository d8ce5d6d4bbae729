//! Every combination of checksum and segmentation offload on the edge host's legs.
//!
//! Input: transmit checksums made by the hardware or by the kernel, super-packets or packets of the
//! wire's size, on each leg. Output: TCP and UDP, new connections and a few MiB both ways, each byte
//! in its place. On the wire: correct checksums in every case (veth passes unfinished ones on, so a
//! wrong one shows only where the offload is off).

use std::net::SocketAddr;

use anyhow::{Context, Result};
use roadstead_lab::{Host, Load};
use roadstead_scenarios::{World, ask, scenario};

const BULK: usize = 3 << 20;

/// Transmit checksums, and everything that makes larger packets than the wire takes.
const CASES: [(bool, bool); 4] = [(true, true), (true, false), (false, true), (false, false)];

fn set(host: &Host, checksums: bool, large: bool) -> Result<()> {
    for leg in host.legs() {
        host.offload(&leg.interface, "tx", checksums)?;
        for feature in ["gro", "gso", "tso"] {
            // Without transmit checksums the kernel switches TSO off itself and refuses it.
            let on = large && (checksums || feature != "tso");
            host.offload(&leg.interface, feature, on)?;
        }
    }
    Ok(())
}

fn works(world: &World, vip: std::net::IpAddr) -> Result<()> {
    let (web, dns) = (SocketAddr::new(vip, 80), SocketAddr::new(vip, 53));
    for host in [world.client()?, world.near()?] {
        Load::connect(web).rate(400).count(40).run(host, &world.lab.logs())?.all_answered()?;
        ask::bulk(host, web, BULK)?;
        [1, 64, 1200, 4000]
            .iter()
            .try_for_each(|length| ask::udp_echo(host, dns, &vec![b'u'; *length]).map(drop))?;
        ask::ping(host, vip)?;
        ask::refused(host, SocketAddr::new(vip, 81))?;
        ask::udp_refused(host, SocketAddr::new(vip, 81))?;
    }
    Ok(())
}

fn matrix(world: &World, hosts: &[&Host]) -> Result<()> {
    let vips = world.serve_web()?;
    for (checksums, large) in CASES {
        hosts.iter().try_for_each(|host| set(host, checksums, large))?;
        for vip in vips {
            works(world, vip)
                .with_context(|| format!("{vip}, tx {checksums}, gro/gso/tso {large}"))?;
        }
    }
    Ok(())
}

#[test]
fn on_the_edge_hosts_legs() -> Result<()> {
    scenario(|| World::routed("offload-edge"), |world| matrix(world, &[world.lab.edge()?]))
}

#[test]
fn on_the_hosts_at_both_ends() -> Result<()> {
    scenario(
        || World::segment("offload-ends"),
        |world| {
            let nodes = world.nodes.iter().map(roadstead_lab::Node::host);
            let hosts: Vec<&Host> = nodes.chain([world.client()?, world.near()?]).collect();
            matrix(world, &hosts)
        },
    )
}
