//! Announcing over NDP.
//!
//! Input: a Service of one family, IPv6. Output: its address is announced and answered for.
//! On the wire: neighbour solicitations from the unspecified address (RFC 4862 §5.4.2), then
//! unsolicited advertisements with the override flag (RFC 4861 §7.2.6), then solicited
//! advertisements in answer to multicast and unicast solicitations; silence for every other
//! address (S1).

use std::net::IpAddr;

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{Capture, capture::Frame, edge::ServiceYaml, eventually, presets};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).v6()
}

/// Solicitations for an address.
fn solicitations(capture: &Capture, address: IpAddr) -> Result<Vec<Frame>> {
    let frames = capture.frames("icmp6 and ip6[40] = 135")?;
    let wanted = format!("who has {address}");
    Ok(frames.into_iter().filter(|frame| frame.text.contains(&wanted)).collect())
}

/// Advertisements of an address.
fn advertisements(capture: &Capture, address: IpAddr) -> Result<Vec<Frame>> {
    let frames = capture.frames("icmp6 and ip6[40] = 136")?;
    let wanted = format!("tgt is {address}");
    Ok(frames.into_iter().filter(|frame| frame.text.contains(&wanted)).collect())
}

#[test]
fn an_address_is_probed_then_announced_with_override() -> Result<()> {
    let unstarted = || World::prepare(&presets::routed(3), "ndp-sequence", &one_pool());
    scenario(unstarted, |world| {
        let capture = world.capture(world.near()?, "eth0", "icmp6")?;
        world.start_daemons()?;
        let vip = world.serve("web", &web())?[0];
        let edge = world.lab.edge()?.leg("eth0")?.mac.to_string();
        let (probes, announced) = eventually("the whole sequence", SOON, || {
            let probes = solicitations(&capture, vip)?;
            let announced = advertisements(&capture, vip)?;
            ensure!(!probes.is_empty() && !announced.is_empty(), "{probes:?} {announced:?}");
            Ok((probes, announced))
        })?;
        for probe in &probes {
            ensure!(probe.from == edge && probe.text.contains(":: > ff02::1:ff"), "{probe:?}");
        }
        for frame in &announced {
            let all_nodes = frame.to == "33:33:00:00:00:01" && frame.text.contains("> ff02::1:");
            ensure!(frame.from == edge && all_nodes, "{frame:?}");
            ensure!(frame.text.contains("[override]"), "wanted override alone: {frame:?}");
        }
        ensure!(probes[0].at < announced[0].at, "announced before it was probed");
        Ok(())
    })
}

#[test]
fn multicast_and_unicast_solicitations_are_answered_by_the_edge_alone() -> Result<()> {
    scenario(
        || World::routed("ndp-answers"),
        |world| {
            let vip = world.serve("web", &web())?[0];
            let near = world.near()?;
            let edge = world.lab.edge()?.leg("eth0")?.mac.to_string();
            let capture = world.capture(near, "eth0", "icmp6")?;
            ensure!(ask::who_has(near, vip)?.as_deref() == Some(edge.as_str()));
            near.ip(&format!("neigh replace {vip} lladdr {edge} dev eth0 nud probe"))?;
            eventually("an answer to a unicast solicitation", SOON, || {
                let asked = solicitations(&capture, vip)?;
                let unicast = asked.iter().find(|frame| frame.to == edge);
                let asked_at = unicast.ok_or_else(|| anyhow!("not asked yet: {asked:?}"))?.at;
                let answers = advertisements(&capture, vip)?;
                let solicited = answers.iter().filter(|frame| frame.text.contains("solicited"));
                let mut solicited = solicited.peekable();
                ensure!(solicited.peek().is_some(), "{answers:?}");
                ensure!(
                    solicited.any(|frame| frame.at >= asked_at && frame.from == edge),
                    "{answers:?}"
                );
                Ok(())
            })
        },
    )
}

#[test]
fn nobody_answers_for_an_address_that_no_service_holds() -> Result<()> {
    scenario(
        || World::routed("ndp-silence"),
        |world| {
            let vip = world.serve("web", &web())?[0];
            for address in ["2001:db8:1::101", "2001:db8:1::1ff", "2001:db8:1::200"] {
                let address: IpAddr = address.parse()?;
                if address != vip {
                    let answer = ask::who_has(world.near()?, address)?;
                    ensure!(answer.is_none(), "{address} is answered by {answer:?}");
                }
            }
            Ok(())
        },
    )
}

#[test]
fn an_address_that_another_machine_uses_is_passed_over() -> Result<()> {
    let unstarted = || World::prepare(&presets::routed(3), "ndp-conflict", &one_pool());
    scenario(unstarted, |world| {
        world.near()?.ip("addr add 2001:db8:1::123/128 dev eth0 nodad")?;
        world.start_daemons()?;
        let asked_for = web().addresses("2001:db8:1::123");
        world.edge.manifests.service(&asked_for)?;
        world.edge.wait_reason("default/web", "ConflictOnWire", SOON)?;
        Ok(())
    })
}
