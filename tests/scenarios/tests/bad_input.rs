//! What is wrong is told and hurts nobody else.
//!
//! Input: broken manifests, a broken configuration, ports that cannot be served, a second copy of
//! a daemon. Output: a message that names the thing; the last good state; other objects served,
//! over both families.
//! On the wire: nothing changes.

use std::{fs, net::IpAddr};

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use roadstead_lab::{
    Load,
    edge::{Condition, DaemonName, ServiceYaml},
    eventually,
    process::{Program, built},
};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

fn web() -> ServiceYaml {
    ServiceYaml::new("web").tcp(80, 30000).dual()
}

/// A Service that comes while something is wrong is served.
fn another_is_served(world: &World, node_port: u16) -> Result<()> {
    let other = ServiceYaml::new("other").tcp(80, node_port).dual();
    world.serve_both("other", &other, 80)?.answer(world.client()?)
}

/// Waits until `roadstead check` complains about a text.
fn check_complains(world: &World, text: &str) -> Result<()> {
    let output = world.edge.cli(&["check"])?;
    let all = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&all);
    ensure!(output.status.code() == Some(1), "check ended with {}: {said}", output.status);
    ensure!(said.contains(text), "no `{text}` in: {said}");
    Ok(())
}

#[test]
fn a_file_that_turns_bad_keeps_its_last_good_objects() -> Result<()> {
    scenario(
        || World::routed("bad-file"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let running = web.load(world, |to| Load::keep_alive(to, 10))?;
            world.edge.manifests.write("web", "kind: Service\nspec: [unclosed\n")?;
            check_complains(world, "web.yaml:")?;
            another_is_served(world, 30001)?;
            let still = world.both_of("web", 80)?;
            ensure!(still == web, "{still:?}");
            running.all_answered()
        },
    )
}

/// A file that sorts before the owner's and names its NodePort, and a start of either daemon, which
/// reads all files at once.
#[test]
fn a_node_port_of_another_is_refused_and_its_owner_served_over_restarts() -> Result<()> {
    scenario(
        || World::routed("bad-node-port"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let running = web.load(world, |to| Load::connect(to).rate(20))?;
            let taker = ServiceYaml::new("taker").tcp(80, 30000).dual();
            world.edge.manifests.write("a-taker", &taker.yaml()?)?;
            for daemon in DaemonName::ALL {
                world.edge.wait_reason("default/taker", "NodePortTaken", SOON)?;
                world.edge.restart(daemon, Signal::SIGKILL)?;
            }
            let told = world.edge.wait_reason("default/taker", "NodePortTaken", SOON)?;
            ensure!(told.message.contains("30000") && told.message.contains("default/web"));
            let still = world.both_of("web", 80)?;
            ensure!(still == web, "{still:?}");
            check_complains(world, "node port TCP 30000 is named by")?;
            running.all_answered()
        },
    )
}

#[test]
fn an_sctp_port_is_refused_and_its_tcp_sibling_served() -> Result<()> {
    scenario(
        || World::routed("bad-sctp"),
        |world| {
            let web = world.serve_both("web", &web().port("SCTP", 9999, 30009), 80)?;
            web.answer(world.client()?)?;
            let told = world.edge.wait_reason("default/web", "SctpNotServed", SOON)?;
            ensure!(told.message.contains("9999"), "{told:?}");
            Ok(())
        },
    )
}

#[test]
fn a_bad_configuration_is_refused_whole() -> Result<()> {
    scenario(
        || World::routed("bad-config"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            world.edge.configure(&format!("{}\n[routre]\nflows = 1\n", one_pool()))?;
            check_complains(world, "routre")?;
            for daemon in DaemonName::ALL {
                world.edge.reload(daemon)?;
                world.edge.wait_log(daemon, "the reload is refused", SOON)?;
            }
            // The daemons' last good state is asked of from here on, not the file.
            world.edge.configure(&one_pool())?;
            another_is_served(world, 30001)?;
            web.answer(world.client()?)?;
            for daemon in DaemonName::ALL {
                ensure!(world.edge.daemon(daemon)?.starts() == 1, "it did not survive the reload");
            }
            Ok(())
        },
    )
}

/// Addresses of the segment that are in no pool.
const OUTSIDE: [&str; 2] = ["192.0.2.77", "2001:db8:1::77"];

/// A Service asks for an address that it does not get, for this reason.
fn asks_in_vain(world: &World, address: IpAddr, reason: &str) -> Result<Condition> {
    let asking = ServiceYaml::new("asking").tcp(80, 30001).addresses(&address.to_string());
    let asking = if address.is_ipv6() { asking.v6() } else { asking };
    world.edge.manifests.service(&asking)?;
    world.edge.wait_service("default/asking", reason, SOON, |found| {
        let text = address.to_string();
        let named = |c: &&Condition| c.reason == reason && c.message.contains(&text);
        found.conditions.iter().find(named).cloned()
    })
}

#[test]
fn a_request_for_an_address_of_another_is_refused_by_name() -> Result<()> {
    scenario(
        || World::routed("bad-request"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            for (held, outside) in web.addresses().into_iter().zip(OUTSIDE) {
                let told = asks_in_vain(world, held, "AddressHeld")?;
                ensure!(told.message.contains("default/web"), "{told:?}");
                let outside = outside.parse()?;
                asks_in_vain(world, outside, "AddressNotInPool")?;
                ensure!(ask::who_has(world.near()?, outside)?.is_none(), "S1");
            }
            web.answer(world.client()?)
        },
    )
}

#[test]
fn a_service_without_node_ports_is_told_so() -> Result<()> {
    scenario(
        || World::routed("bad-node-port"),
        |world| {
            let yaml = web().yaml()?;
            let without: Vec<&str> =
                yaml.lines().filter(|line| !line.contains("nodePort")).collect();
            ensure!(without.len() < yaml.lines().count(), "nothing was taken away:\n{yaml}");
            world.edge.manifests.write("web", &without.join("\n"))?;
            world.edge.wait_reason("default/web", "NoNodePort", SOON).map(drop)
        },
    )
}

#[test]
fn a_service_with_ten_thousand_annotations_hurts_nobody() -> Result<()> {
    scenario(
        || World::routed("bad-annotations"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let mut big = ServiceYaml::new("big").tcp(80, 30001);
            for number in 0..10_000 {
                big = big.annotate(&format!("example.org/a{number}"), "x");
            }
            world.edge.manifests.service(&big)?;
            another_is_served(world, 30002)?;
            web.answer(world.client()?)
        },
    )
}

#[test]
fn a_second_copy_of_a_daemon_ends_and_the_first_goes_on() -> Result<()> {
    scenario(
        || World::routed("bad-second-copy"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let running = web.load(world, Load::connect)?;
            for daemon in DaemonName::ALL {
                let name = format!("roadstead-{}", daemon.as_str());
                let copy =
                    Program::new(&format!("second-{name}"), built(&name)?, &world.lab.logs())
                        .arg(format!("--config={}", world.edge.config().display()));
                let mut copy = copy.start(world.lab.edge()?.namespace())?;
                let status = copy.wait(SOON)?;
                ensure!(!status.success(), "the second {name} ended well");
                ensure!(!copy.stderr().is_empty(), "it said nothing");
            }
            running.all_answered()
        },
    )
}

#[test]
fn a_missing_directory_is_doubt() -> Result<()> {
    scenario(
        || World::routed("bad-directory"),
        |world| {
            let web = world.serve_both("web", &web(), 80)?;
            let dir = world.edge.manifests.dir().clone();
            let aside = dir.with_extension("aside");
            fs::rename(&dir, &aside)?;
            eventually("status tells of the directory", SOON, || {
                let text = String::from_utf8(world.edge.cli(&["status"])?.stdout)?;
                ensure!(text.contains(&dir.display().to_string()), "{text}");
                Ok(())
            })?;
            web.answer(world.client()?)?;
            fs::rename(&aside, &dir)?;
            another_is_served(world, 30001)
        },
    )
}
