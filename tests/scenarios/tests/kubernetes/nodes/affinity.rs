//! `sessionAffinity: ClientIP` at both ends.
//!
//! Input: a Service with affinity, two pods on each node, and clients with many addresses. Output: each
//! client stays on its node, for the edge host sees it; on a node all of them meet one pod, for
//! kube-proxy's own affinity sees the edge host. The condition says so.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::Load;
use serde_json::json;

use super::{App, SOON, on_nodes, service};

/// The pods that connections from one address meet.
fn pods_of(app: &App<'_>, from: IpAddr) -> Result<Vec<String>> {
    let [v4, _] = app.at.addresses();
    let load = Load::connect((v4, 80).into()).rate(200).count(8).from([from]);
    let report = load.run(app.nodes.client()?, &app.nodes.lab.logs())?;
    report.all_answered()?;
    Ok(report.by_node.into_keys().collect())
}

#[test]
fn a_client_stays_on_its_node_and_kube_proxy_sees_one_client() -> Result<()> {
    on_nodes(|nodes| {
        let mut service = service("sticky");
        service["spec"]["sessionAffinity"] = json!("ClientIP");
        // By policy Local a pod tells its node.
        service["spec"]["externalTrafficPolicy"] = json!("Local");
        let app = nodes.serve_as(&service, &[1, 1, 2, 2])?;
        nodes.edge.wait_service(&app.key(), "both nodes healthy", SOON, |found| {
            found.ports.iter().all(|port| port.nodes_in("healthy").len() == 4).then_some(())
        })?;
        let mut met: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
        for last in 60..76 {
            let from: IpAddr = Ipv4Addr::new(198, 51, 100, last).into();
            nodes.client()?.ip(&format!("addr add {from} dev eth0"))?;
            let pods = pods_of(&app, from)?;
            ensure!(pods.len() == 1, "{from} met {pods:?}");
            met.entry(pods.concat()).or_default().insert(from);
        }
        // One of sticky-1 and -2, which are on node1, and one of sticky-3 and -4.
        let on = |pods: [&str; 2]| met.keys().filter(|met| pods.contains(&met.as_str())).count();
        let each = [on(["sticky-1", "sticky-2"]), on(["sticky-3", "sticky-4"])];
        ensure!(each == [1, 1], "sixteen clients met {met:?}");
        let status = nodes.edge.status()?;
        let told = status.service(&app.key())?.conditions.iter();
        let mut told = told.filter(|condition| condition.kind == "ClientAddressPreserved");
        let condition = told.next().context("no condition tells of it")?;
        ensure!(condition.message.contains("all clients to one pod"), "{condition:?}");
        app.end()
    })
}
