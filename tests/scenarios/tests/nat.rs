//! TCP through the dataplane, IPv4 and IPv6 alike.
//!
//! Input: a dual-stack Service and three nodes. Output: every connection is answered by a node,
//! all nodes have their share, a connection stays where it is.
//! On the wire: the client talks to the VIP alone; the node sees the edge host's own address.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use roadstead_lab::Load;
use roadstead_scenarios::{World, ask, scenario};

const NODES: [&str; 3] = ["node1", "node2", "node3"];
const BULK: usize = 4 << 20;

/// Connections from both clients reach every node, which sees the edge's address.
fn spread(world: &World, vip: IpAddr, edge: IpAddr) -> Result<()> {
    let to = SocketAddr::new(vip, 80);
    for host in [world.client()?, world.near()?] {
        let report = Load::connect(to).rate(300).count(150).run(host, &world.lab.logs())?;
        report.all_answered()?;
        report.spread_over(&NODES)?;
        let seen: SocketAddr = ask::tcp(host, to)?.client.parse()?;
        ensure!(seen.ip() == edge, "the node saw {seen}, wanted {edge}");
    }
    Ok(())
}

/// Long connections stay on their node.
fn stay(world: &World, vip: IpAddr) -> Result<()> {
    let load = Load::keep_alive(SocketAddr::new(vip, 80), 40).rate(400).count(800);
    let report = load.run(world.client()?, &world.lab.logs())?;
    report.all_answered()?;
    report.spread_over(&NODES)
}

/// A large answer arrives whole.
fn bulk(world: &World, vip: IpAddr) -> Result<()> {
    let body = ask::get(world.client()?, SocketAddr::new(vip, 80), &format!("/bytes/{BULK}"))?;
    ensure!(body.len() == BULK && body.iter().all(|byte| *byte == b'x'), "{} bytes", body.len());
    Ok(())
}

#[test]
fn routed_v4() -> Result<()> {
    scenario(
        || World::routed("nat-routed-v4"),
        |world| {
            let [vip, _] = world.serve_web()?;
            spread(world, vip, "203.0.113.2".parse()?)?;
            stay(world, vip)?;
            bulk(world, vip)
        },
    )
}

#[test]
fn routed_v6() -> Result<()> {
    scenario(
        || World::routed("nat-routed-v6"),
        |world| {
            let [_, vip] = world.serve_web()?;
            spread(world, vip, "2001:db8:3::2".parse()?)?;
            stay(world, vip)?;
            bulk(world, vip)
        },
    )
}

#[test]
fn one_leg_with_the_nodes_on_the_clients_segment() -> Result<()> {
    scenario(
        || World::segment("nat-segment"),
        |world| {
            let [v4, v6] = world.serve_web()?;
            spread(world, v4, "192.0.2.2".parse()?)?;
            spread(world, v6, "2001:db8:1::2".parse()?)?;
            bulk(world, v4)?;
            bulk(world, v6)
        },
    )
}

#[test]
fn a_node_reaches_a_vip_that_may_lead_back_to_itself() -> Result<()> {
    scenario(
        || World::segment("nat-hairpin"),
        |world| {
            for vip in world.serve_web()? {
                let load = Load::connect(SocketAddr::new(vip, 80)).count(60);
                let report = load.run(world.lab.node(1)?, &world.lab.logs())?;
                report.all_answered()?;
                report.spread_over(&NODES)?;
            }
            Ok(())
        },
    )
}

#[test]
fn checksums_are_right_without_transmit_offload() -> Result<()> {
    // veth hides wrong checksums as long as its offload leaves them to be filled in later.
    scenario(
        || World::routed("nat-checksums"),
        |world| {
            let vips = world.serve_web()?;
            for (host, leg) in
                [("edge", "eth0"), ("edge", "eth1"), ("client", "eth0"), ("node1", "eth0")]
            {
                world.lab.host(host)?.offload(leg, "tx", false)?;
            }
            for vip in vips {
                let report = Load::connect(SocketAddr::new(vip, 80))
                    .count(100)
                    .run(world.client()?, &world.lab.logs())?;
                report.all_answered()?;
                bulk(world, vip)?;
                ask::udp(world.client()?, SocketAddr::new(vip, 53))?;
            }
            Ok(())
        },
    )
}

#[test]
fn the_edge_host_does_not_forward() -> Result<()> {
    scenario(
        || World::routed("nat-no-forwarding"),
        |world| {
            world.serve_web()?;
            let edge = world.lab.edge()?;
            ensure!(edge.read_sysctl("net/ipv4/ip_forward")? == "0");
            ensure!(edge.read_sysctl("net/ipv6/conf/all/forwarding")? == "0");
            let node = world.lab.node(1)?.v4()?;
            world.near()?.ip(&format!("route add {node} via 192.0.2.2"))?;
            ask::unanswered(world.near()?, SocketAddr::new(node.into(), 30000))
        },
    )
}
