//! A node as the client of a VIP.
//!
//! Input: a node on the back leg, one of the backends itself, with a route to the VIPs through the
//! edge host. Output: every connection and datagram is answered, by every node, the asking one too;
//! large transfers arrive whole.
//! On the wire: both directions pass the edge host, also where client and backend are one machine.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use roadstead_lab::Load;
use roadstead_scenarios::{World, ask, scenario};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
const BULK: usize = 2 << 20;

#[test]
fn a_node_behind_the_other_leg_is_served_like_any_client() -> Result<()> {
    scenario(
        || World::routed("hairpin-routed"),
        |world| {
            let node = world.lab.node(1)?;
            for vip in world.serve_web()? {
                let via = if vip.is_ipv4() { "203.0.113.2" } else { "2001:db8:3::2" };
                node.ip(&format!("route add {vip} via {via}"))?;
                let logs = world.lab.logs();
                let to = SocketAddr::new(vip, 80);
                let report = Load::connect(to).rate(300).count(90).run(node, &logs)?;
                report.all_answered()?;
                report.spread_over(&NODES)?;
                let report = Load::udp(SocketAddr::new(vip, 53), 0).count(90).run(node, &logs)?;
                report.all_answered()?;
                report.spread_over(&NODES)?;
                // Every node has its share, so several of these lead back to the asking one.
                (0..4).try_for_each(|_| ask::bulk(node, to, BULK))?;
            }
            Ok(())
        },
    )
}

#[test]
fn a_node_that_is_the_only_backend_reaches_itself() -> Result<()> {
    scenario(
        || {
            World::build(
                &roadstead_lab::presets::segment(1),
                "hairpin-itself",
                &roadstead_scenarios::world::one_pool(),
            )
        },
        |world| {
            let node = world.lab.node(1)?;
            for vip in world.serve_web()? {
                let answer = ask::tcp(node, SocketAddr::new(vip, 80))?;
                let seen: SocketAddr = answer.client.parse()?;
                ensure!(answer.node == "node1", "{answer:?}");
                ensure!(
                    world.lab.edge()?.addresses().any(|own| own == seen.ip()),
                    "the node saw {seen}: the reply would bypass the edge host"
                );
                ask::bulk(node, SocketAddr::new(vip, 80), BULK)?;
                ensure!(ask::udp(node, SocketAddr::new(vip, 53))? == "node1");
                ask::ping(node, vip)?;
            }
            Ok(())
        },
    )
}
