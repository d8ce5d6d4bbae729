//! Services that share one address.
//!
//! Input: a pool of one address; Services with the same sharing key. Output: they share where
//! their ports differ; who does not fit is told why and gets its turn without an edit.
//! On the wire: each port of the one address leads to its own Service's NodePort.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use roadstead_lab::{edge::ServiceYaml, presets};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

const POOL: &str = "[[pool]]\nname = \"one\"\naddresses = [\"192.0.2.10\"]\n";

fn service(name: &str, key: &str, port: u16, node_port: u16) -> ServiceYaml {
    ServiceYaml::new(name).tcp(port, node_port).annotate("roadstead.io/allow-shared-ip", key)
}

#[test]
fn ports_differ_and_each_leads_to_its_own_service() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "sharing", POOL),
        |world| {
            let a = world.serve("a", &service("a", "k", 80, 30000))?;
            let b = world.serve("b", &service("b", "k", 81, 30001))?;
            ensure!(a == b, "a has {a:?}, b has {b:?}");
            for port in [80, 81] {
                ask::tcp(world.client()?, SocketAddr::new(a[0], port))?;
            }
            ask::refused(world.client()?, SocketAddr::new(a[0], 82))?;
            world.edge.manifests.delete("a")?;
            roadstead_lab::eventually("port 80 is refused", SOON, || {
                ask::refused(world.client()?, SocketAddr::new(a[0], 80))
            })?;
            ask::tcp(world.client()?, SocketAddr::new(a[0], 81)).map(drop)
        },
    )
}

#[test]
fn who_does_not_fit_is_told_why_and_gets_its_turn() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "sharing-conflict", POOL),
        |world| {
            world.serve("a", &service("a", "k", 80, 30000))?;
            world.edge.manifests.service(&service("b", "k", 80, 30001))?;
            let taken = world.edge.wait_service("default/b", "a refusal", SOON, |found| {
                let refused = |c: &&roadstead_lab::edge::Condition| {
                    c.kind == "Allocated" && c.status == "False"
                };
                found.conditions.iter().find(refused).cloned()
            })?;
            ensure!(
                taken.reason == "PoolExhausted" && taken.message.contains("`one`"),
                "{taken:?}"
            );
            let asking = service("c", "k", 80, 30002).addresses("192.0.2.10");
            world.edge.manifests.service(&asking)?;
            let conflict = world.edge.wait_reason("default/c", "PortConflict", SOON)?;
            ensure!(conflict.message.contains("default/a"), "who holds it: {conflict:?}");
            world.edge.manifests.delete("c")?;
            world.edge.manifests.delete("a")?;
            let b = world.edge.wait_announced("default/b", SOON)?;
            ask::tcp(world.client()?, SocketAddr::new(b[0], 80)).map(drop)
        },
    )
}
