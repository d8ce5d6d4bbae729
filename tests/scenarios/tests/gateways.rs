//! Nodes and clients that are further away than the next wire.
//!
//! Input: nodes behind a gateway, nodes on two legs, a client whose packets take another way than
//! before. Output: all of them serve and are served.
//! On the wire: packets go to the gateway's MAC address; answers go where the client's latest
//! packet came from.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, ensure};
use roadstead_lab::{Load, eventually, presets};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

const BULK: usize = 1 << 20;

/// Two nodes behind `gate`, which is on the back segment.
fn behind_a_gateway(test: &str) -> Result<World> {
    let mut plan = presets::routed(0);
    plan.host("gate")
        .leg("back", ["203.0.113.3/24", "2001:db8:3::3/64"])
        .leg("deep", ["198.18.0.1/24", "2001:db8:4::1/64"])
        .forwarding();
    for n in 1..=2 {
        let name = format!("node{n}");
        let addresses = [format!("198.18.0.{}/24", 100 + n), format!("2001:db8:4::1:{n}/64")];
        let _ = plan.host(&name).leg("deep", addresses).gateways(&["198.18.0.1", "2001:db8:4::1"]);
    }
    let mut world = World::prepare(&plan, test, &one_pool())?;
    let edge = world.lab.edge()?;
    edge.ip("route add 198.18.0.0/24 via 203.0.113.3")?;
    edge.ip("route add 2001:db8:4::/64 via 2001:db8:3::3")?;
    world.start_daemons()?;
    Ok(world)
}

#[test]
fn nodes_behind_a_gateway_serve() -> Result<()> {
    scenario(
        || behind_a_gateway("gateways-behind"),
        |world| {
            let (client, logs) = (world.client()?, world.lab.logs());
            for vip in world.serve_web()? {
                let to = SocketAddr::new(vip, 80);
                let report = Load::connect(to).rate(300).count(90).run(client, &logs)?;
                report.all_answered()?;
                report.spread_over(&["node1", "node2"])?;
                ask::bulk(client, to, BULK)?;
                ask::udp(client, SocketAddr::new(vip, 53))?;
            }
            Ok(())
        },
    )
}

#[test]
fn a_gateway_with_a_new_mac_address_is_found_again() -> Result<()> {
    scenario(
        || behind_a_gateway("gateways-mac"),
        |world| {
            let gate = world.lab.host("gate")?;
            let vips = world.serve_web()?;
            vips.iter().try_for_each(|vip| {
                ask::tcp(world.client()?, SocketAddr::new(*vip, 80)).map(drop)
            })?;
            // A replacement takes the address over and says so, as such machines do (RFC 5227).
            gate.ip("link set eth0 address 02:52:53:00:77:00")?;
            world.lab.edge()?.forget_neighbours()?;
            for vip in vips {
                eventually("the new gateway is used", SOON, || {
                    ask::tcp(world.client()?, SocketAddr::new(vip, 80))
                })?;
            }
            Ok(())
        },
    )
}

#[test]
fn nodes_on_both_legs_serve() -> Result<()> {
    let build = || {
        let mut plan = presets::routed(1);
        let _ = plan
            .host("node2")
            .leg("front", ["192.0.2.102/24", "2001:db8:1::1:2/64"])
            .gateways(&["192.0.2.1", "2001:db8:1::1"]);
        World::build(&plan, "gateways-legs", &one_pool())
    };
    scenario(build, |world| {
        for vip in world.serve_web()? {
            for host in [world.client()?, world.near()?] {
                let to = SocketAddr::new(vip, 80);
                let load = Load::connect(to).rate(300).count(90);
                let report = load.run(host, &world.lab.logs())?;
                report.all_answered()?;
                report.spread_over(&["node1", "node2"])?;
                (0..3).try_for_each(|_| ask::bulk(host, to, BULK))?;
            }
        }
        Ok(())
    })
}

/// The MAC address that frames from `vip` to the client go to must come to be `mac`.
fn answers_go_to(world: &World, vip: IpAddr, mac: &str) -> Result<()> {
    let capture = world.capture(world.lab.edge()?, "eth0", &format!("src host {vip} and tcp"))?;
    eventually(&format!("answers go to {mac}"), SOON, || {
        let frames = capture.frames("")?;
        let last = frames.last().map(|frame| frame.to.clone());
        ensure!(last.as_deref() == Some(mac), "the latest of {} went to {last:?}", frames.len());
        Ok(())
    })
}

#[test]
fn an_answer_takes_the_way_that_the_clients_latest_packet_took() -> Result<()> {
    let build = || {
        let mut plan = presets::routed(2);
        plan.host("other")
            .leg("front", ["192.0.2.4/24", "2001:db8:1::4/64"])
            .leg("far", ["198.51.100.4/24", "2001:db8:2::4/64"])
            .forwarding();
        World::build(&plan, "gateways-asymmetric", &one_pool())
    };
    scenario(build, |world| {
        let (client, lab) = (world.client()?, &world.lab);
        for vip in world.serve_web()? {
            let load = Load::keep_alive(SocketAddr::new(vip, 80), 4).rate(100);
            let running = load.start(client, &lab.logs())?;
            answers_go_to(world, vip, &lab.router()?.leg("eth0")?.mac.to_string())?;
            let via = if vip.is_ipv4() { "198.51.100.4" } else { "2001:db8:2::4" };
            client.ip(&format!("route add {vip} via {via}"))?;
            answers_go_to(world, vip, &lab.host("other")?.leg("eth0")?.mac.to_string())?;
            // The first way breaks: nothing that is on the second one notices.
            let _cut = if vip.is_ipv6() { Some(lab.router()?.cut("eth1")?) } else { None };
            answers_go_to(world, vip, &lab.host("other")?.leg("eth0")?.mac.to_string())?;
            running.finish()?.all_answered()?;
        }
        Ok(())
    })
}
