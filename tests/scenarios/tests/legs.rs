//! On which legs an address is visible.
//!
//! Input: an edge host with two legs, a pool for one of them. Output: the address is answered for
//! and served there, and nowhere else. On the wire: silence on the other leg, to requests for the
//! address and to packets to it.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use roadstead_lab::{edge::ServiceYaml, presets};
use roadstead_scenarios::{World, ask, scenario};

const POOLS: &str = "
[[pool]]
name = \"inside\"
addresses = [\"203.0.113.10-203.0.113.20\", \"2001:db8:3::100/120\"]
interfaces = [\"eth1\"]
auto_assign = false

[[pool]]
name = \"outside\"
addresses = [\"192.0.2.10-192.0.2.20\", \"2001:db8:1::100/120\"]
interfaces = [\"eth0\"]
";

#[test]
fn an_internal_address_is_silent_outside() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "legs", POOLS),
        |world| {
            let (near, node) = (world.near()?, world.lab.node(1)?);
            let inside = ServiceYaml::new("inside").tcp(80, 30000).dual().pool("inside");
            let edge = world.lab.edge()?;
            for vip in world.serve("inside", &inside)? {
                let mac = ask::who_has(node, vip)?;
                ensure!(mac == Some(edge.leg("eth1")?.mac.to_string()), "{vip}: {mac:?}");
                ask::tcp(node, SocketAddr::new(vip, 80))?;
                // Not on the outer link, and not for who sends it there on purpose either.
                let via = if vip.is_ipv4() { "192.0.2.2" } else { "2001:db8:1::2" };
                near.ip(&format!("route add {vip} via {via}"))?;
                ask::unanswered(near, SocketAddr::new(vip, 80))?;
            }
            let outside = ServiceYaml::new("outside").tcp(80, 30001).dual();
            for vip in world.serve("outside", &outside)? {
                ensure!(ask::who_has(near, vip)? == Some(edge.leg("eth0")?.mac.to_string()));
                ask::tcp(near, SocketAddr::new(vip, 80))?;
            }
            Ok(())
        },
    )
}

#[test]
fn an_internal_address_asked_for_outside_gets_no_answer() -> Result<()> {
    scenario(
        || World::build(&presets::routed(2), "legs-arp", POOLS),
        |world| {
            let near = world.near()?;
            near.ip("route add 203.0.113.0/24 dev eth0")?;
            near.ip("route add 2001:db8:3::/64 dev eth0")?;
            let inside = ServiceYaml::new("inside").tcp(80, 30000).dual().pool("inside");
            let inside = world.serve_both("inside", &inside, 80)?;
            inside.answer(world.lab.node(1)?)?;
            inside.resolve_to_nobody(near)
        },
    )
}
