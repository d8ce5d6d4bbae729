//! The host's own addresses as a pool: the VM with one address of each family.
//!
//! Input: a pool of `192.0.2.2` and `2001:db8:1::2`, which the edge host has itself. Output: the
//! Services' ports are served on them, every other port is the host's. On the wire: no announcement
//! and no conflict, the kernel answers ARP and NDP for its own addresses as ever.

use std::net::IpAddr;

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::ServiceYaml,
    presets,
    process::{Process, Program, built},
};
use roadstead_scenarios::{Both, World, ask, scenario, world::SOON};

const POOL: &str = "[[pool]]\nname = \"host\"\naddresses = [\"192.0.2.2\", \"2001:db8:1::2\"]\n\
                    host_addresses = true\nsharing = \"when-full\"\n";

/// A server of the edge host itself, on port 8080.
fn own_server(world: &World) -> Result<Process> {
    let program = Program::new("own-server", built("lab-node")?, &world.lab.logs()).args([
        "--name=edge-itself",
        "--ports=8080",
        "--health=8081",
    ]);
    let mut server = program.start(world.lab.edge()?.namespace())?;
    server.wait_for_text("ready", SOON)?;
    Ok(server)
}

/// A Service gets the host's own addresses.
fn claim(world: &World, name: &str, port: u16, node_port: u16, own: &[IpAddr]) -> Result<()> {
    world.edge.manifests.service(&ServiceYaml::new(name).tcp(port, node_port).dual())?;
    let service = format!("default/{name}");
    world.edge.wait_service(&service, "both addresses", SOON, |found| {
        own.iter().all(|address| found.addresses.contains(address)).then_some(())
    })?;
    world.wait_healthy(&service)
}

#[test]
fn only_the_services_ports_are_claimed() -> Result<()> {
    scenario(
        || World::build(&presets::segment(2), "host-address", POOL),
        |world| {
            let own: Vec<IpAddr> = vec!["192.0.2.2".parse()?, "2001:db8:1::2".parse()?];
            let (client, edge) = (world.client()?, Both::new(own.clone(), 8080)?);
            let _server = own_server(world)?;
            for (name, port, node_port) in [("a", 80, 30000), ("b", 81, 30001)] {
                claim(world, name, port, node_port, &own)?;
                edge.port(port).spread_over(world, &["node1", "node2"])?;
            }
            for to in edge {
                ensure!(ask::tcp(client, to)?.node == "edge-itself");
                ask::ping(client, to.ip())?;
            }
            edge.port(9999).refuse(client)
        },
    )
}
