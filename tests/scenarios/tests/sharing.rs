//! Services that share one address.
//!
//! Input: a pool of one address of each family; Services with the same sharing key. Output: they
//! share both where their ports differ; who does not fit is told why and gets its turn without an
//! edit. On the wire: each port of the shared addresses leads to its own Service's NodePort.

use anyhow::{Result, ensure};
use roadstead_lab::{
    edge::{Condition, ServiceYaml},
    eventually, presets,
};
use roadstead_scenarios::{World, ask, scenario, world::SOON};

const POOL: &str = "[[pool]]\nname = \"one\"\naddresses = [\"192.0.2.10\", \"2001:db8:1::100\"]\n";

fn service(name: &str, key: &str, port: u16, node_port: u16) -> ServiceYaml {
    let service = ServiceYaml::new(name).tcp(port, node_port).dual();
    service.annotate("roadstead.io/allow-shared-ip", key)
}

#[test]
fn ports_differ_and_each_leads_to_its_own_service() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "sharing", POOL),
        |world| {
            let client = world.client()?;
            let a = world.serve_both("a", &service("a", "k", 80, 30000), 80)?;
            let b = world.serve_both("b", &service("b", "k", 81, 30001), 81)?;
            ensure!(a.addresses() == b.addresses(), "a has {a:?}, b has {b:?}");
            for (service, node_port) in [(a, 30000), (b, 30001)] {
                for to in service {
                    let answer = ask::tcp(client, to)?;
                    ensure!(answer.port == node_port, "{to} led to {answer:?}");
                }
            }
            a.port(82).refuse(client)?;
            world.edge.manifests.delete("a")?;
            eventually("port 80 is refused", SOON, || a.refuse(client))?;
            b.answer(client)
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
                let refused = |c: &&Condition| c.kind == "Allocated" && c.status == "False";
                found.conditions.iter().find(refused).cloned()
            })?;
            ensure!(
                taken.reason == "PoolExhausted" && taken.message.contains("`one`"),
                "{taken:?}"
            );
            let c = service("c", "k", 80, 30002);
            let asking = [("192.0.2.10", c.clone()), ("2001:db8:1::100", c.v6())];
            for (address, c) in asking {
                world.edge.manifests.service(&c.addresses(address))?;
                let told = world.edge.wait_service("default/c", "a conflict", SOON, |found| {
                    let conflict =
                        |c: &&Condition| c.reason == "PortConflict" && c.message.contains(address);
                    found.conditions.iter().find(conflict).cloned()
                })?;
                ensure!(told.message.contains("default/a"), "who holds it: {told:?}");
            }
            world.edge.manifests.delete("c")?;
            world.edge.manifests.delete("a")?;
            world.both_of("b", 80)?.answer(world.client()?)
        },
    )
}
