//! Path MTU discovery.
//!
//! Input: a link to the node, or to the client, that carries less than the others. Output: large
//! requests and answers arrive whole.
//! On the wire: frag-needed (RFC 1191) and packet-too-big (RFC 8201) reach the side that sends.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use roadstead_lab::Host;
use roadstead_scenarios::{World, ask, scenario};

const SMALL: u16 = 1280;
const BULK: usize = 1 << 20;

/// Without segmentation offload the sender's packets are what the wire sees.
fn no_offloads(host: &Host) -> Result<()> {
    ["tso", "gso", "gro"].iter().try_for_each(|feature| host.offload("eth0", feature, false))
}

fn bulk_both_ways(world: &World) -> Result<()> {
    for vip in world.serve_web()? {
        let to = SocketAddr::new(vip, 80);
        let down = ask::get(world.client()?, to, &format!("/bytes/{BULK}"))?;
        ensure!(down.len() == BULK, "{} of {BULK} bytes came down", down.len());
        let up = ask::post(world.client()?, to, BULK)?;
        ensure!(up.received == BULK, "{} of {BULK} bytes went up", up.received);
    }
    Ok(())
}

#[test]
fn the_nodes_link_is_smaller() -> Result<()> {
    scenario(
        || World::routed("mtu-node"),
        |world| {
            // Only the edge's end: the node still says a large MSS, so discovery has to work.
            world.lab.edge()?.mtu("eth1", SMALL)?;
            no_offloads(world.client()?)?;
            bulk_both_ways(world)
        },
    )
}

#[test]
fn the_clients_link_is_smaller() -> Result<()> {
    scenario(
        || World::routed("mtu-client"),
        |world| {
            world.lab.router()?.mtu("eth1", SMALL)?;
            world.nodes.iter().try_for_each(|node| no_offloads(node.host()))?;
            bulk_both_ways(world)
        },
    )
}

#[test]
fn the_edges_link_to_the_clients_is_smaller() -> Result<()> {
    scenario(
        || World::routed("mtu-front"),
        |world| {
            world.lab.edge()?.mtu("eth0", SMALL)?;
            world.nodes.iter().try_for_each(|node| no_offloads(node.host()))?;
            bulk_both_ways(world)
        },
    )
}
