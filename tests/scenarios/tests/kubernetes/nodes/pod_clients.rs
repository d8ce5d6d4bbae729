//! A pod as the client of a VIP.
//!
//! Input: pods on both nodes, whose nodes have a route to the VIP through the edge host. Output: every
//! question is answered, by a pod of the other node, of the same node, and by the asking pod itself.
//! On the wire: the packets pass the edge host, for `ipMode: Proxy` keeps kube-proxy from passing them on.

use anyhow::{Context, Result, ensure};
use roadstead_lab::{Load, eventually, kube::Pod};
use roadstead_scenarios::ask;
use serde_json::json;

use super::{App, SOON, on_nodes, service};

/// Where the nodes find the edge host.
const VIA: [&str; 2] = ["203.0.113.2", "2001:db8:3::2"];

fn route_by_the_edge(app: &App<'_>) -> Result<()> {
    for node in [1, 2] {
        let node = app.nodes.cluster.node(node)?.host();
        for (vip, via) in app.at.addresses().into_iter().zip(VIA) {
            node.ip(&format!("route replace {vip} via {via}"))?;
        }
    }
    Ok(())
}

/// Connections and datagrams of a pod to both addresses, all answered by these pods and no other.
fn is_served_by(app: &App<'_>, client: &Pod, pods: &[&str]) -> Result<()> {
    let logs = app.nodes.lab.logs();
    for to in app.at {
        eventually(&format!("{} is answered by {to}", client.name()), SOON, || {
            ask::tcp(client.host(), to).map(drop)
        })?;
        let load = Load::connect(to).rate(100).count(40);
        let report = load.run(client.host(), &logs)?;
        report.all_answered()?;
        report.spread_over(pods)?;
        let datagrams = Load::udp((to.ip(), 53).into(), 0).rate(100).count(40);
        datagrams.run(client.host(), &logs)?.all_answered()?;
        ask::bulk(client.host(), to, 1 << 20)?;
    }
    Ok(())
}

#[test]
fn pods_are_served_by_others_and_by_themselves() -> Result<()> {
    on_nodes(|nodes| {
        let mut service = service("inward");
        service["spec"]["ports"] = json!([
            {"name": "main", "protocol": "TCP", "port": 80, "targetPort": 8080},
            {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 8080},
        ]);
        let mut app = nodes.serve_as(&service, &[1, 2])?;
        route_by_the_edge(&app)?;
        app.first_hops(&[1, 2])?;
        app.answered_by(&["inward-1", "inward-2"])?;
        for pod in &app.pods {
            is_served_by(&app, pod, &["inward-1", "inward-2"])?;
        }
        // The only pod that is left is its own client.
        let gone = app.pods.pop().context("a second pod")?;
        nodes.end(gone)?;
        app.answered_by(&["inward-1"])?;
        let alone = app.pods.first().context("a pod")?;
        is_served_by(&app, alone, &["inward-1"])?;
        for to in app.at {
            let seen = ask::tcp(alone.host(), to)?.client;
            ensure!(!seen.starts_with(&alone.addresses()[0].to_string()), "it saw itself: {seen}");
        }
        app.end()
    })
}
