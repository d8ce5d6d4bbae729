//! `roadstead flows`: who was that?
//!
//! Input: connections of two clients; the SNAT port that a node saw. Output: the one client behind
//! it; filters by client, VIP and node; a log line for each new flow where it is asked for.
//! On the wire: nothing.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Result, anyhow, ensure};
use roadstead_lab::{Host, edge::DaemonName, eventually, presets};
use roadstead_scenarios::{
    World, ask, scenario,
    world::{SOON, one_pool},
};
use serde_json::{Value, json};

fn flows(world: &World, filter: &[&str]) -> Result<Vec<Value>> {
    let text = world.edge.cli_ok(&[&["flows"], filter, &["-o", "json"]].concat())?;
    let value: Value = serde_json::from_str(&text)?;
    let list = value.get("flows").and_then(Value::as_array);
    Ok(list.ok_or_else(|| anyhow!("no flows in {text}"))?.clone())
}

fn own_address(host: &Host, vip: IpAddr) -> Result<IpAddr> {
    Ok(if vip.is_ipv4() { host.v4()?.into() } else { host.v6()?.into() })
}

#[test]
fn the_client_behind_a_source_port() -> Result<()> {
    scenario(
        || World::routed("flows"),
        |world| {
            for vip in world.serve_web()? {
                let to = SocketAddr::new(vip, 80);
                for host in [world.client()?, world.near()?] {
                    let seen = ask::tcp(host, to)?;
                    let own = own_address(host, vip)?.to_string();
                    let found = flows(world, &["tcp", &format!("snat={}", seen.client)])?;
                    ensure!(found.len() == 1, "{}: {found:?}", seen.client);
                    let flow = &found[0];
                    ensure!(flow["client"]["address"] == json!(own), "no {own} in {flow}");
                    ensure!(
                        flow["vip"] == json!({"address": vip, "port": 80}),
                        "no {to} in {flow}"
                    );
                    ensure!(flow["node"]["name"] == json!(seen.node), "no {} in {flow}", seen.node);
                    let snat: SocketAddr = seen.client.parse()?;
                    let snat = json!({"address": snat.ip(), "port": snat.port()});
                    ensure!(flow["snat"] == snat, "no {} in {flow}", seen.client);
                    let by_client = flows(world, &[&format!("client={own}")])?;
                    ensure!(by_client.iter().all(|flow| flow.to_string().contains(&own)));
                    ensure!(!by_client.is_empty(), "no flow of {own}");
                    let elsewhere = flows(world, &[&format!("client={own}"), "vip=192.0.2.44"])?;
                    ensure!(elsewhere.is_empty(), "{elsewhere:?}");
                    let node = format!("node={}", seen.node);
                    ensure!(!flows(world, &[&node, "tcp"])?.is_empty(), "none of {node}");
                }
            }
            let wrong = world.edge.cli(&["flows", "client=nobody"])?;
            ensure!(wrong.status.code() == Some(2), "{}", wrong.status);
            Ok(())
        },
    )
}

#[test]
fn new_flows_are_logged_where_asked_for() -> Result<()> {
    let toml =
        one_pool().replace("[router.health]", "[router]\nlog_flows = true\n\n[router.health]");
    scenario(
        || World::build(&presets::routed(2), "flows-log", &toml),
        |world| {
            for vip in world.serve_web()? {
                let client = world.client()?;
                let seen = ask::tcp(client, SocketAddr::new(vip, 80))?;
                let own = own_address(client, vip)?.to_string();
                let log = world.edge.daemon(DaemonName::Router)?.program().stderr();
                eventually("a line about the flow", SOON, || {
                    let text = std::fs::read_to_string(&log)?;
                    let wanted = ["new flow", &own, &seen.client];
                    let told =
                        text.lines().any(|line| wanted.iter().all(|word| line.contains(word)));
                    ensure!(told, "no {wanted:?}");
                    Ok(())
                })?;
            }
            Ok(())
        },
    )
}
