//! UDP through the dataplane.
//!
//! Input: a dual-stack Service with a UDP port. Output: every datagram comes back, a socket stays
//! on its node, sockets spread over the nodes.
//! On the wire: datagrams above the MTU pass as fragments, both ways.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use roadstead_lab::Load;
use roadstead_scenarios::{World, ask, scenario};

#[test]
fn datagrams_come_back_from_every_node() -> Result<()> {
    scenario(
        || World::routed("udp"),
        |world| {
            for vip in world.serve_web()? {
                let to = SocketAddr::new(vip, 53);
                let report = Load::udp(to, 0)
                    .rate(300)
                    .count(150)
                    .run(world.client()?, &world.lab.logs())?;
                report.all_answered()?;
                report.spread_over(&["node1", "node2", "node3"])?;
                let report =
                    Load::udp(to, 1).rate(300).count(150).run(world.near()?, &world.lab.logs())?;
                report.all_answered()?;
                ensure!(report.by_node.len() == 1, "one socket, several nodes: {report:?}");
            }
            Ok(())
        },
    )
}

#[test]
fn datagrams_above_the_mtu_pass_in_fragments() -> Result<()> {
    scenario(
        || World::routed("udp-fragments"),
        |world| {
            for vip in world.serve_web()? {
                for length in [1400, 1473, 4000, 9000] {
                    ask::udp_echo(world.client()?, SocketAddr::new(vip, 53), &vec![b'f'; length])?;
                }
            }
            Ok(())
        },
    )
}
