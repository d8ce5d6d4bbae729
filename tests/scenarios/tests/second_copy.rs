//! What keeps a daemon from starting, told plainly.
//!
//! Input: a second copy, a router without capabilities where nothing is loaded, an edge host that is
//! listed as a node. Output: an end at once with a message that says what to do; the first copy goes
//! on. On the wire: nothing.

use std::{process::ExitStatus, time::Duration};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{
    Load,
    edge::{DaemonName, node_yaml},
    eventually, presets,
    process::{Program, built},
};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};

/// A daemon that gives up at once: its status and what it said.
fn gives_up(world: &World, name: &str, before: &[&str]) -> Result<(ExitStatus, String)> {
    let daemon = built(name)?.display().to_string();
    let mut line = before.iter().map(|word| (*word).to_owned()).chain([daemon]);
    let first = line.next().unwrap_or_default();
    let program = Program::new(&format!("other-{name}"), first, &world.lab.logs())
        .args(line)
        .arg(format!("--config={}", world.edge.config().display()));
    let mut process = program.start(world.lab.edge()?.namespace())?;
    let status = process.wait(Duration::from_secs(5))?;
    Ok((status, process.stderr()))
}

/// Away from a terminal and from the journal a machine reads the log.
fn logged_as_json(log: &str) -> Result<()> {
    for line in log.lines() {
        let event: serde_json::Value =
            serde_json::from_str(line).with_context(|| line.to_owned())?;
        ensure!(event["level"].is_string() && event["message"].is_string(), "{line}");
    }
    Ok(())
}

#[test]
fn a_second_copy_names_the_first_ones_lock() -> Result<()> {
    scenario(
        || World::routed("second-copy"),
        |world| {
            let [vip, _] = world.serve_web()?;
            let load = Load::connect((vip, 80).into()).start(world.client()?, &world.lab.logs())?;
            for daemon in DaemonName::ALL {
                let name = format!("roadstead-{}", daemon.as_str());
                let (status, said) = gives_up(world, &name, &[])?;
                ensure!(status.code() == Some(1), "{name} ended with {status}: {said}");
                ensure!(said.contains("another copy is running"), "{name}: {said}");
                logged_as_json(&said)?;
                let lock = world.edge.state().join(daemon.as_str());
                ensure!(said.contains(&lock.display().to_string()), "{name}: {said}");
                ensure!(world.edge.daemon(daemon)?.starts() == 1, "the first {name} ended");
            }
            load.finish()?.all_answered()
        },
    )
}

#[test]
fn a_router_without_capabilities_names_them() -> Result<()> {
    scenario(
        || World::prepare(&presets::routed(1), "second-copy-capabilities", &one_pool()),
        |world| {
            let bare = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"];
            let (status, said) = gives_up(world, "roadstead-router", &bare)?;
            ensure!(status.code() == Some(1), "it ended with {status}: {said}");
            ensure!(said.contains("loading needs CAP_BPF, CAP_NET_ADMIN"), "it said: {said}");
            ensure!(!said.contains("panicked"), "{said}");
            Ok(())
        },
    )
}

#[test]
fn the_edge_host_as_a_node_is_refused_by_name() -> Result<()> {
    scenario(
        || World::routed("second-copy-edge"),
        |world| {
            let own: Vec<std::net::IpAddr> = world.lab.edge()?.addresses().collect();
            world.edge.manifests.write("edge", &node_yaml("edge-as-node", &own)?)?;
            let [vip, _] = world.serve_web()?;
            eventually("status tells of it", SOON, || {
                let text = String::from_utf8(world.edge.cli(&["status"])?.stdout)?;
                let told = text.lines().any(|line| {
                    line.contains("edge-as-node") && line.to_lowercase().contains("edge host")
                });
                ensure!(told, "{text}");
                Ok(())
            })?;
            let report = Load::connect((vip, 80).into()).rate(300).count(90);
            let report = report.run(world.client()?, &world.lab.logs())?;
            report.all_answered()?;
            report.spread_over(&["node1", "node2", "node3"])?;
            ask::ping(world.client()?, vip)
        },
    )
}
