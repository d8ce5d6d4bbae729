//! The host's own address as a pool: the VM with one address.
//!
//! Input: a pool of `192.0.2.2`, which the edge host has itself. Output: the Services' ports are
//! served on it, every other port is the host's. On the wire: no announcement and no conflict,
//! the kernel answers ARP for its own address as ever.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use roadstead_lab::{
    Load,
    edge::ServiceYaml,
    presets,
    process::{Program, built},
};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

const POOL: &str = "[[pool]]\nname = \"host\"\naddresses = [\"192.0.2.2\"]\nhost_addresses = true\n\
                    sharing = \"when-full\"\n";

#[test]
fn only_the_services_ports_are_claimed() -> Result<()> {
    scenario(
        || World::build(&presets::segment(2), "host-address", POOL),
        |world| {
            let own: IpAddr = "192.0.2.2".parse()?;
            let (edge, client) = (world.lab.edge()?, world.client()?);
            let program = Program::new("own-server", built("lab-node")?, &world.lab.logs()).args([
                "--name=edge-itself",
                "--ports=8080",
                "--health=8081",
            ]);
            let mut server = program.start(edge.namespace())?;
            server.wait_for_text("ready", SOON)?;
            for (name, port, node_port) in [("a", 80, 30000), ("b", 81, 30001)] {
                world.edge.manifests.service(&ServiceYaml::new(name).tcp(port, node_port))?;
                world.edge.wait_service(
                    &format!("default/{name}"),
                    "an address",
                    SOON,
                    |found| found.addresses.contains(&own).then_some(()),
                )?;
            }
            for port in [80, 81] {
                let to = SocketAddr::new(own, port);
                roadstead_lab::eventually("it is served", SOON, || ask::tcp(client, to))?;
                let report = Load::connect(to).count(60).run(client, &world.lab.logs())?;
                report.all_answered()?;
                report.spread_over(&["node1", "node2"])?;
            }
            ensure!(ask::tcp(client, SocketAddr::new(own, 8080))?.node == "edge-itself");
            ask::refused(client, SocketAddr::new(own, 9999))?;
            ask::ping(client, own)
        },
    )
}
