//! `roadstead explain` names the one step that holds a Service back.
//!
//! Input: Services that lack one thing each. Output: that step, what to do, exit status 1; nothing
//! where all is well, exit status 0; 2 for wrong usage, 3 where a daemon does not answer.
//! On the wire: nothing.

mod firewall;
mod steps;

use anyhow::{Context, Result, anyhow, ensure};
use roadstead_lab::{
    edge::{DaemonName, ServiceYaml, endpoint_slice_yaml},
    eventually,
};
use roadstead_scenarios::{World, scenario, world::SOON};
use serde_json::{Value, json};

/// NodePorts are unique in a cluster.
fn web(name: &str) -> ServiceYaml {
    let node_port = if name == "web" { 30000 } else { 30001 };
    ServiceYaml::new(name).tcp(80, node_port)
}

/// The step that holds a target back, and the exit status.
fn held_by(world: &World, arguments: &[&str]) -> Result<(Option<String>, Option<i32>)> {
    let line = [&["explain"], arguments, &["-o", "json"]].concat();
    let output = world.edge.cli(&line)?;
    let text = String::from_utf8_lossy(&output.stdout);
    let value: Value = serde_json::from_str(&text)
        .with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let first = value.get(0).ok_or_else(|| anyhow!("nothing is explained: {text}"))?;
    let held = first.get("heldBy").and_then(Value::as_str).map(str::to_owned);
    Ok((held, output.status.code()))
}

/// Waits until `step` is what holds a target back; wants advice in the text.
fn wait_held(world: &World, arguments: &[&str], step: &str) -> Result<()> {
    eventually(&format!("{arguments:?} is held back by {step}"), SOON, || {
        let (held, code) = held_by(world, arguments)?;
        ensure!(held.as_deref() == Some(step), "it is {held:?}");
        ensure!(code == Some(1), "exit status {code:?}");
        let output = world.edge.cli(&[&["explain"], arguments].concat())?;
        let text = String::from_utf8(output.stdout)?;
        ensure!(text.contains(&format!("Held back by: {step}")), "{text}");
        ensure!(text.contains("What to do: "), "no advice: {text}");
        Ok(())
    })
}

fn wait_fine(world: &World, arguments: &[&str]) -> Result<()> {
    eventually(&format!("nothing holds {arguments:?} back"), SOON, || {
        let (held, code) = held_by(world, arguments)?;
        ensure!((held.is_none(), code) == (true, Some(0)), "{held:?}, exit status {code:?}");
        Ok(())
    })
}

#[test]
fn what_is_wrong_with_the_object_or_the_address() -> Result<()> {
    scenario(
        || World::routed("explain-object"),
        |world| {
            let vip = world.serve("web", &web("web"))?[0];
            wait_fine(world, &["default/web"])?;
            wait_fine(world, &[&format!("{vip}:80")])?;
            world.edge.manifests.service(&web("poor").pool("nobody"))?;
            wait_held(world, &["default/poor"], "pool")?;
            world.edge.manifests.delete("poor")?;
            world.edge.manifests.service(&web("thief").addresses(&vip.to_string()))?;
            wait_held(world, &["default/thief"], "address")?;
            world.edge.manifests.delete("thief")?;
            let yaml = web("portless").yaml()?;
            let lines: Vec<&str> = yaml.lines().filter(|line| !line.contains("nodePort")).collect();
            world.edge.manifests.write("portless", &lines.join("\n"))?;
            wait_held(world, &["default/portless"], "object")?;
            world.edge.manifests.delete("portless")?;
            let other = web("other").set("loadBalancerClass", json!("example.org/other"));
            world.edge.manifests.service(&other)?;
            wait_held(world, &["default/other"], "class")?;
            wait_held(world, &["default/absent"], "object")
        },
    )
}

#[test]
fn what_is_wrong_behind_the_address() -> Result<()> {
    scenario(
        || World::routed("explain-backends"),
        |world| {
            let ranges = json!(["198.51.100.0/24"]);
            world.serve("web", &web("web").set("loadBalancerSourceRanges", ranges))?;
            wait_fine(world, &["default/web", "--from", "198.51.100.10"])?;
            wait_held(world, &["default/web", "--from", "192.0.2.3"], "source ranges")?;
            let pod = "10.0.0.1".parse()?;
            let slice = endpoint_slice_yaml("web", &[(pod, "node1", false)])?;
            world.edge.manifests.write("slice", &slice)?;
            wait_held(world, &["default/web"], "endpoints")?;
            let slice = endpoint_slice_yaml("web", &[(pod, "node1", true)])?;
            world.edge.manifests.write("slice", &slice)?;
            wait_fine(world, &["default/web"])?;
            for node in &mut world.nodes {
                node.stop_serving()?;
            }
            wait_held(world, &["default/web"], "backends")
        },
    )
}

#[test]
fn an_address_that_another_machine_has() -> Result<()> {
    scenario(
        || World::routed("explain-conflict"),
        |world| {
            world.near()?.ip("addr add 192.0.2.20/24 dev eth0")?;
            world.edge.manifests.service(&web("web").addresses("192.0.2.20"))?;
            wait_held(world, &["default/web"], "conflict")
        },
    )
}

/// Another user than root and the daemons' own is told so, by verbs that ask and that order.
fn closed_to_others(world: &World) -> Result<()> {
    let program = roadstead_lab::process::built("roadstead")?.display().to_string();
    let runtime = world.edge.runtime().display().to_string();
    let nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    for verb in [&["status"][..], &["explain", "default/web"], &["drain", "self"], &["confirm"]] {
        let line = [&nobody[..], &[&program, "--runtime", &runtime], verb].concat();
        let output = world.edge.host().output(&line)?;
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.contains("local.sock is closed to this user"), "{verb:?}: {said}");
        ensure!(output.status.code() == Some(3), "{verb:?} ended with {}", output.status);
    }
    Ok(())
}

#[test]
fn exit_statuses_and_the_shape_of_status() -> Result<()> {
    scenario(
        || World::routed("explain-contract"),
        |world| {
            world.serve("web", &web("web"))?;
            let output = world.edge.cli(&["status", "-o", "json"])?;
            let status: Value = serde_json::from_slice(&output.stdout)?;
            for (path, wanted) in [
                ("/services/0/cluster", json!("local")),
                ("/services/0/namespace", json!("default")),
                ("/services/0/name", json!("web")),
                ("/services/0/addresses/0", json!("192.0.2.10")),
                ("/services/0/announced/0/address", json!("192.0.2.10")),
                ("/services/0/announced/0/by", json!("l2")),
                ("/services/0/announced/0/interface", json!("eth0")),
                ("/services/0/ports/0/protocol", json!("TCP")),
                ("/services/0/ports/0/port", json!(80)),
                ("/services/0/ports/0/backends/0/node", json!("node1")),
                ("/services/0/ports/0/backends/0/port", json!(30000)),
                ("/ingresses", json!([])),
                ("/gateways", json!([])),
            ] {
                ensure!(status.pointer(path) == Some(&wanted), "{path} in {status}");
            }
            let condition = status.pointer("/services/0/conditions/0");
            for key in ["type", "status", "reason", "message"] {
                ensure!(condition.is_some_and(|c| c.get(key).is_some()), "{key} in {condition:?}");
            }
            for (line, code) in [
                (["status", "-o", "xml"], 2),
                (["explain", "default", "web"], 2),
                (["explain", "-o", "json"], 2),
            ] {
                let found = world.edge.cli(&line)?.status.code();
                ensure!(found == Some(code), "{line:?} ended with {found:?}");
            }
            closed_to_others(world)?;
            world.edge.stop_daemon(DaemonName::Router);
            let wrong = world.edge.cli(&["flows", "banana"])?.status.code();
            ensure!(wrong == Some(2), "wrong usage whoever answers: {wrong:?}");
            for line in [vec!["status"], vec!["explain", "default/web"], vec!["flows"]] {
                let found = world.edge.cli(&line)?.status.code();
                ensure!(found == Some(3), "{line:?} ended with {found:?}");
            }
            Ok(())
        },
    )
}
