//! `externalTrafficPolicy: Local`, with a real kube-proxy behind the healthCheckNodePort.
//!
//! Input: pods that are on one node, move to another, and end. Output: new connections go to nodes
//! with ready pods only; where all pods end, to them (KEP-1669); where none is left the address is
//! silent. kube-proxy adds no address of its own: a pod sees the edge host.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{Load, eventually, throughout};
use roadstead_scenarios::{Both, ask};
use serde_json::{Value, json};

use super::{App, Nodes, SOON, on_nodes, service};

/// What a preStop hook gives.
const PRE_STOP: Duration = Duration::from_secs(2);

fn local(name: &str) -> Value {
    let mut service = service(name);
    service["spec"]["externalTrafficPolicy"] = json!("Local");
    service
}

/// What kube-proxy of a node says on the healthCheckNodePort: how many ready pods it has.
fn says(nodes: &Nodes, app: &App<'_>, node: u8, count: u64) -> Result<()> {
    let object = nodes.kubectl()?.get(&["service", &app.name])?;
    let port = object["spec"]["healthCheckNodePort"].as_u64().context("a healthCheckNodePort")?;
    let node = nodes.cluster.node(node)?.host();
    let to = SocketAddr::new(node.v4()?.into(), u16::try_from(port)?);
    eventually(&format!("{to} says {count}"), SOON, || {
        let body: Value = serde_json::from_slice(&ask::get(nodes.lab.edge()?, to, "/healthz")?)?;
        ensure!(body["localEndpoints"] == json!(count), "it says {body}");
        Ok(())
    })
}

#[test]
fn connections_follow_a_pod_that_moves_and_old_ones_stay() -> Result<()> {
    on_nodes(|nodes| {
        let mut app = nodes.serve_as(&local("moves"), &[1])?;
        app.answered_by(&["moves-1"])?;
        says(nodes, &app, 1, 1)?;
        says(nodes, &app, 2, 0)?;
        let edge = nodes.lab.edge()?;
        for to in app.at {
            let seen: SocketAddr = ask::tcp(nodes.client()?, to)?.client.parse()?;
            ensure!(edge.addresses().any(|own| own == seen.ip()), "the pod sees {seen}");
        }
        let running = app.keep_asking()?;
        app.pods.push(nodes.pod(2, "moves-2", "moves")?);
        app.answered_by(&["moves-1", "moves-2"])?;
        nodes.terminate("moves-1")?;
        app.answered_by(&["moves-2"])?;
        says(nodes, &app, 1, 0)?;
        running.all_answered()?;
        app.end()
    })
}

/// One pod, which ends: kube-proxy passes new connections on to it while its preStop hook runs, and
/// so do we. When it is over nobody serves, and the address is silent until a pod comes.
#[test]
fn the_last_pod_serves_while_it_ends() -> Result<()> {
    on_nodes(|nodes| {
        for (policy, name) in [("Cluster", "last-cluster"), ("Local", "last-local")] {
            let mut service = service(name);
            service["spec"]["externalTrafficPolicy"] = json!(policy);
            let mut app = nodes.serve_as(&service, &[1])?;
            let pod = format!("{name}-1");
            app.answered_by(&[&pod])?;
            let running = app.load(|to| Load::connect(to).rate(50))?;
            nodes.terminate(&pod)?;
            let (near, at) = (nodes.lab.near()?, app.at);
            throughout("the address is announced", PRE_STOP, || {
                at.addresses().into_iter().try_for_each(|address| {
                    ask::who_has(near, address)?.map(drop).context("nobody answers for it")
                })
            })?;
            running.all_answered()?;
            app.pods.drain(..).try_for_each(|pod| nodes.end(pod))?;
            eventually("silence", SOON, || at.resolve_to_nobody(near))?;
            app.pods.push(nodes.pod(2, &format!("{name}-2"), name)?);
            let again = Both::new(nodes.edge.wait_announced(&app.key(), SOON)?, 80)?;
            ensure!(again == at, "the addresses changed to {again:?}");
            app.answered_by(&[&format!("{name}-2")])?;
            app.end()?;
        }
        Ok(())
    })
}
