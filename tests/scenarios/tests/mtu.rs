//! Path MTU discovery.
//!
//! Input: a link to the node, or to the client, that carries less than the others. Output: large
//! requests and answers arrive whole.
//! On the wire: frag-needed (RFC 1191) and packet-too-big (RFC 8201) reach the side that sends.

use anyhow::{Result, ensure};
use roadstead_lab::Host;
use roadstead_scenarios::{World, ask, scenario};

const SMALL: u16 = 1280;
const BULK: usize = 1 << 20;

/// Without segmentation offload the sender's packets are what the wire sees.
fn no_offloads(host: &Host) -> Result<()> {
    ["tso", "gso", "gro"].iter().try_for_each(|feature| host.offload("eth0", feature, false))
}

/// A large answer comes down whole.
fn bulk_down(world: &World) -> Result<()> {
    for vip in world.serve_web()? {
        let body = ask::get(world.client()?, (vip, 80).into(), &format!("/bytes/{BULK}"))?;
        ensure!(body.len() == BULK, "{} of {BULK} bytes came down", body.len());
    }
    Ok(())
}

/// A large request goes up whole.
fn bulk_up(world: &World) -> Result<()> {
    for vip in world.serve_web()? {
        let answer = ask::post(world.client()?, (vip, 80).into(), BULK)?;
        ensure!(answer.received == BULK, "{} of {BULK} bytes went up", answer.received);
    }
    Ok(())
}

// One end of a link is made smaller, so that the other end goes on saying a large MSS and discovery
// has to work. What the other end sends through that link itself would be lost in it unseen, in any
// network: each scenario looks at the direction that meets the small end as the way out.

#[test]
fn the_nodes_link_is_smaller() -> Result<()> {
    scenario(
        || World::routed("mtu-node"),
        |world| {
            world.lab.edge()?.mtu("eth1", SMALL)?;
            no_offloads(world.client()?)?;
            bulk_up(world)
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
            bulk_down(world)
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
            bulk_down(world)
        },
    )
}
