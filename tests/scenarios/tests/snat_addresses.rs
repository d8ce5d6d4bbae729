//! Source addresses of the dataplane's own, `router.snat_addresses`.
//!
//! Input: two addresses of each family that no interface has. Output: nodes see every client as one
//! of them, and answer to it.
//! On the wire: the edge host answers ARP and NDP for them on the nodes' segment, and on no other.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Result, ensure};
use roadstead_lab::presets;
use roadstead_scenarios::{World, ask, scenario, world::one_pool};

const SNAT: [&str; 4] = ["203.0.113.50", "203.0.113.51", "2001:db8:3::50", "2001:db8:3::51"];

fn addresses() -> Result<BTreeSet<IpAddr>> {
    SNAT.iter().map(|text| Ok(text.parse()?)).collect()
}

#[test]
fn nodes_see_clients_as_the_dedicated_addresses() -> Result<()> {
    let toml = format!("[router]\nsnat_addresses = {SNAT:?}\n{}", one_pool());
    scenario(
        || World::build(&presets::routed(2), "snat-addresses", &toml),
        |world| {
            let snat = addresses()?;
            for vip in world.serve_web()? {
                for host in [world.client()?, world.near()?] {
                    let seen: SocketAddr =
                        ask::tcp(host, SocketAddr::new(vip, 80))?.client.parse()?;
                    ensure!(snat.contains(&seen.ip()), "{vip}: the node saw {seen}");
                    ask::udp(host, SocketAddr::new(vip, 53))?;
                }
                world.spread_over(SocketAddr::new(vip, 80), &["node1", "node2"])?;
            }
            Ok(())
        },
    )
}

#[test]
fn they_are_answered_for_towards_the_nodes_alone() -> Result<()> {
    let toml = format!("[router]\nsnat_addresses = {SNAT:?}\n{}", one_pool());
    scenario(
        || World::build(&presets::routed(1), "snat-answers", &toml),
        |world| {
            world.serve_web()?;
            let (near, node) = (world.near()?, world.lab.node(1)?);
            near.ip("route add 203.0.113.0/24 dev eth0")?;
            near.ip("route add 2001:db8:3::/64 dev eth0")?;
            let back = world.lab.edge()?.leg("eth1")?.mac.to_string();
            for address in addresses()? {
                let mac = ask::who_has(node, address)?;
                ensure!(mac.as_ref() == Some(&back), "{address} towards nodes: {mac:?}");
                let mac = ask::who_has(near, address)?;
                ensure!(mac.is_none(), "{mac:?} answers clients for {address}");
            }
            Ok(())
        },
    )
}
