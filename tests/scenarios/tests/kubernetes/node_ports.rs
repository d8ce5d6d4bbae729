//! NodePorts over real kube-proxies between namespaces: what the router will find behind it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use roadstead_lab::{Host, eventually, http::Answer, kube::objects};
use roadstead_scenarios::ask;
use serde_json::{Value, json};

use super::{Common, on_common};

const SOON: Duration = Duration::from_secs(30);

/// Applies a Service and tells the nodePort that the API gave it.
fn node_port(common: &Common, service: &Value) -> Result<u16> {
    let kubectl = common.cluster.kubectl()?;
    kubectl.apply(&service.to_string())?;
    let name = service["metadata"]["name"].as_str().context("a name")?;
    let port = &kubectl.get(&["service", name])?["spec"]["ports"][0]["nodePort"];
    Ok(u16::try_from(port.as_u64().context("a nodePort")?)?)
}

/// The first answer, once kube-proxy has the Service.
fn answered(from: &Host, to: SocketAddr) -> Result<Answer> {
    eventually(&format!("an answer from {to}"), SOON, || ask::tcp(from, to))
}

/// In: a Service whose only pod runs on node2. Out, for a question to node1's NodePort: the
/// pod's answer, which has seen node1 as its client, for kube-proxy hides who asked.
#[test]
fn a_pod_of_another_node_answers_and_sees_the_first_node() -> Result<()> {
    on_common(|common| {
        let service = objects::service("elsewhere", "NodePort", 80, 8080);
        let port = node_port(common, &service)?;
        let labels = [("app", "elsewhere")];
        let pod = common.cluster.run_pod(&common.lab, 2, "elsewhere-1", &labels)?;
        let node1 = common.cluster.node(1)?.host();
        for address in [IpAddr::from(node1.v4()?), node1.v6()?.into()] {
            let answer = answered(common.lab.edge()?, SocketAddr::new(address, port))?;
            ensure!(answer.node == pod.name(), "{answer:?}");
            let client: SocketAddr = answer.client.parse()?;
            ensure!(client.ip() == address, "the pod has seen {client}, not {address}");
        }
        common.cluster.kubectl()?.delete(&["service/elsewhere", "pod/elsewhere-1"])
    })
}

/// `externalTrafficPolicy: Local`: the node with the pod answers and shows the client itself, and
/// says so on the healthCheckNodePort; the node without says 503 and answers nobody.
#[test]
fn local_traffic_keeps_the_client_and_only_the_node_with_the_pod_is_healthy() -> Result<()> {
    on_common(|common| {
        let mut service = objects::service("local", "LoadBalancer", 80, 8080);
        service["spec"]["externalTrafficPolicy"] = json!("Local");
        let port = node_port(common, &service)?;
        let labels = [("app", "local")];
        let pod = common.cluster.run_pod(&common.lab, 2, "local-1", &labels)?;
        let (edge, kubectl) = (common.lab.edge()?, common.cluster.kubectl()?);
        let check = kubectl.get(&["service", "local"])?["spec"]["healthCheckNodePort"].clone();
        let check = u16::try_from(check.as_u64().context("a healthCheckNodePort")?)?;
        let node = |number| anyhow::Ok(IpAddr::from(common.cluster.node(number)?.host().v4()?));
        let answer = answered(edge, SocketAddr::new(node(2)?, port))?;
        ensure!(answer.node == pod.name(), "{answer:?}");
        ensure!(answer.client.starts_with(&format!("{}:", edge_address(edge)?)), "{answer:?}");
        for (number, count) in [(1, 0), (2, 1)] {
            let to = SocketAddr::new(node(number)?, check);
            eventually("the local endpoints", SOON, || {
                let body = String::from_utf8(ask::get(edge, to, "/healthz")?)?;
                let told: Value = serde_json::from_str(&body)?;
                ensure!(told["localEndpoints"] == json!(count), "node{number} says {body}");
                Ok(())
            })?;
        }
        ask::unanswered(edge, SocketAddr::new(node(1)?, port))?;
        kubectl.delete(&["service/local", "pod/local-1"])
    })
}

/// The edge's address on the nodes' segment.
fn edge_address(edge: &Host) -> Result<IpAddr> {
    let leg = edge.leg("eth1")?;
    Ok(leg.addresses.first().context("an address of the edge")?.addr())
}

/// A pod is a client like any other, over the ClusterIP of a Service and over its NodePort.
#[test]
fn a_pod_reaches_services_from_inside() -> Result<()> {
    on_common(|common| {
        let service = objects::service("inside", "NodePort", 80, 8080);
        let port = node_port(common, &service)?;
        let run = |node, name| common.cluster.run_pod(&common.lab, node, name, &[("app", name)]);
        let (server, client) = (run(2, "inside")?, run(1, "inside-client")?);
        let kubectl = common.cluster.kubectl()?;
        let ip = kubectl.get(&["service", "inside"])?["spec"]["clusterIP"].clone();
        let cluster_ip: IpAddr = ip.as_str().context("a ClusterIP")?.parse()?;
        let by_node = SocketAddr::new(common.cluster.node(1)?.host().v4()?.into(), port);
        for to in [SocketAddr::new(cluster_ip, 80), by_node] {
            let answer = answered(client.host(), to)?;
            ensure!(answer.node == server.name(), "{answer:?}");
        }
        kubectl.delete(&["service/inside", "pod/inside", "pod/inside-client"])
    })
}

/// kube-proxy's rules outlive it; its health port does not.
#[test]
fn every_kube_proxy_is_healthy() -> Result<()> {
    on_common(|common| {
        for number in [1, 2] {
            let reply = common.cluster.node(number)?.healthz()?;
            ensure!(reply.status == 200, "node{number}: {reply:?}");
            ensure!(reply.body.contains("nodeEligible"), "node{number}: {reply:?}");
        }
        Ok(())
    })
}
