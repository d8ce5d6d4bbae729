//! Announcing over ARP.
//!
//! Input: a Service of one family, IPv4. Output: its address is announced and answered for.
//! On the wire: ARP probes (RFC 5227 §2.1.1), then announcements in both gratuitous forms, then
//! answers to broadcast and unicast requests from the edge host alone; silence for every other
//! address (S1).

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Result, anyhow, bail, ensure};
use roadstead_lab::{Capture, capture::Frame, edge::ServiceYaml, eventually, presets};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000)
}

/// ARP frames by operation, sender and target address.
fn arp(capture: &Capture, operation: u8, sender: Ipv4Addr, target: Ipv4Addr) -> Result<Vec<Frame>> {
    let (sender, target) = (sender.to_bits(), target.to_bits());
    capture.frames(&format!(
        "arp[6:2] = {operation} and arp[14:4] = 0x{sender:08x} and arp[24:4] = 0x{target:08x}"
    ))
}

fn v4(address: IpAddr) -> Result<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(address) => bail!("{address} is not IPv4"),
    }
}

#[test]
fn an_address_is_probed_then_announced_in_both_forms() -> Result<()> {
    let unstarted = || World::prepare(&presets::routed(3), "arp-sequence", &one_pool());
    scenario(unstarted, |world| {
        let capture = world.capture(world.near()?, "eth0", "arp")?;
        world.start_daemons()?;
        let vip = v4(world.serve("web", &web())?[0])?;
        let edge = world.lab.edge()?.leg("eth0")?.mac.to_string();
        let (probes, requests, replies) = eventually("the whole sequence", SOON, || {
            let probes = arp(&capture, 1, Ipv4Addr::UNSPECIFIED, vip)?;
            let requests = arp(&capture, 1, vip, vip)?;
            let replies = arp(&capture, 2, vip, vip)?;
            ensure!(probes.len() >= 3, "{} probes", probes.len());
            ensure!(!requests.is_empty() && !replies.is_empty(), "{requests:?} {replies:?}");
            Ok((probes, requests, replies))
        })?;
        let mut all = probes.iter().chain(&requests).chain(&replies);
        ensure!(all.all(|frame| frame.from == edge && frame.to == BROADCAST), "odd frames");
        ensure!(
            probes[2].at < requests[0].at && probes[2].at < replies[0].at,
            "announced too soon"
        );
        Ok(())
    })
}

#[test]
fn broadcast_and_unicast_requests_are_answered_by_the_edge_alone() -> Result<()> {
    scenario(
        || World::routed("arp-answers"),
        |world| {
            let vip = world.serve("web", &web())?[0];
            let near = world.near()?;
            let edge = world.lab.edge()?.leg("eth0")?.mac.to_string();
            let own = near.leg("eth0")?.mac.to_string();
            let capture = world.capture(near, "eth0", "arp")?;
            ensure!(ask::who_has(near, vip)?.as_deref() == Some(edge.as_str()));
            near.ip(&format!("neigh replace {vip} lladdr {edge} dev eth0 nud probe"))?;
            let (vip, ip) = (v4(vip)?, near.v4()?);
            eventually("an answer to a unicast request", SOON, || {
                let asked = arp(&capture, 1, ip, vip)?;
                let unicast = asked.iter().find(|frame| frame.to == edge);
                let asked_at = unicast.ok_or_else(|| anyhow!("not asked yet: {asked:?}"))?.at;
                let answers = arp(&capture, 2, vip, ip)?;
                ensure!(
                    answers.iter().all(|frame| frame.from == edge && frame.to == own),
                    "{answers:?}"
                );
                ensure!(answers.iter().any(|frame| frame.at >= asked_at), "{answers:?}");
                Ok(())
            })?;
            let answers = arp(&capture, 2, vip, ip)?;
            let asked = arp(&capture, 1, ip, vip)?;
            ensure!(
                answers.len() <= asked.len(),
                "{} answers to {} requests",
                answers.len(),
                asked.len()
            );
            Ok(())
        },
    )
}

#[test]
fn nobody_answers_for_an_address_that_no_service_holds() -> Result<()> {
    scenario(
        || World::routed("arp-silence"),
        |world| {
            let vip = world.serve("web", &web())?[0];
            let near = world.near()?;
            for address in ["192.0.2.11", "192.0.2.50", "192.0.2.51", "192.0.2.200"] {
                let address: IpAddr = address.parse()?;
                ensure!(address != vip, "pick another address for the test");
                let answer = ask::who_has(near, address)?;
                ensure!(answer.is_none(), "{address} is answered by {answer:?}");
            }
            Ok(())
        },
    )
}

#[test]
fn an_address_that_another_machine_uses_is_passed_over() -> Result<()> {
    let unstarted = || World::prepare(&presets::routed(3), "arp-conflict", &one_pool());
    scenario(unstarted, |world| {
        let near = world.near()?.clone();
        near.ip("addr add 192.0.2.10/32 dev eth0")?;
        world.start_daemons()?;
        let vip = world.serve("web", &web())?[0];
        ensure!(vip.to_string() != "192.0.2.10", "the address of another machine was announced");
        ask::tcp(world.client()?, (vip, 80).into())?;
        let asked_for = ServiceYaml::new("asked").tcp(81, 30001).addresses("192.0.2.10");
        world.edge.manifests.service(&asked_for)?;
        let condition = world.edge.wait_reason("default/asked", "ConflictOnWire", SOON)?;
        let mac = near.leg("eth0")?.mac.to_string();
        ensure!(condition.message.contains(&mac), "who it is belongs there: {condition:?}");
        Ok(())
    })
}
