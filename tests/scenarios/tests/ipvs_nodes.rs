//! Nodes whose kube-proxy runs in ipvs mode without strictARP, on the segment of the VIPs.
//!
//! Input: a node that has a VIP as an address of its own, as kube-proxy in ipvs mode puts those of a
//! Service's status on an interface of its own that nothing is plugged into; here it is the loopback,
//! by which the kernel answers ARP just so. Output: the conflict is found, before the address is
//! announced and long after, and told with the node, its MAC address and what to change.
//! On the wire: the node's answers to our ARP probes.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::{Condition, ServiceYaml},
    presets,
};
use roadstead_scenarios::{
    World, scenario,
    world::{SOON, one_pool},
};

/// Takes an address as kube-proxy would, without a word to the segment.
fn take(world: &World, node: u8, address: IpAddr) -> Result<()> {
    world.lab.node(node)?.ip(&format!("addr add {address}/32 dev lo")).map(drop)
}

/// Whose the address is, and why.
fn is_explained(world: &World, node: u8, told: &Condition) -> Result<()> {
    let host = world.lab.node(node)?;
    let mac = host.leg("eth0")?.mac.to_string();
    for word in [mac.as_str(), host.name(), "ipvs", "strictARP"] {
        ensure!(told.message.contains(word), "`{word}` is missing: {told:?}");
    }
    Ok(())
}

#[test]
fn a_node_that_answers_arp_for_a_vip_is_named_with_the_cause() -> Result<()> {
    let often = format!("{}\n[speaker.l2]\nrefresh = \"1s\"\n", one_pool());
    scenario(
        || World::build(&presets::segment(3), "ipvs-nodes", &often),
        |world| {
            let vip = world.serve("web", &ServiceYaml::new("web").tcp(80, 30000))?[0];
            world.wait_healthy("default/web")?;
            take(world, 2, vip)?;
            let told = world.edge.wait_reason("default/web", "ConflictOnWire", SOON)?;
            is_explained(world, 2, &told)?;
            let status = world.edge.status()?;
            let announced = &status.service("default/web")?.announced;
            ensure!(!announced.is_empty(), "it is not announced any more");
            let asked: IpAddr = "192.0.2.40".parse()?;
            take(world, 3, asked)?;
            let asked = ServiceYaml::new("asked").tcp(81, 30001).addresses("192.0.2.40");
            world.edge.manifests.service(&asked)?;
            let told = world.edge.wait_reason("default/asked", "ConflictOnWire", SOON)?;
            is_explained(world, 3, &told)?;
            let status = world.edge.status()?;
            let announced = &status.service("default/asked")?.announced;
            ensure!(announced.is_empty(), "it is announced: {announced:?}");
            Ok(())
        },
    )
}
