//! Which Services are ours, and what they are refused for.
//!
//! Input: Services of every type and class, with `externalIPs`, without nodePorts, and edits of the
//! type. Output: an address for those of type LoadBalancer that are ours, silence and no word for the
//! others; `externalIPs` never, also inside of a pool (K16).

use std::net::IpAddr;

use anyhow::{Result, ensure};
use roadstead_lab::{eventually, throughout};
use roadstead_scenarios::{Both, ask};
use serde_json::{Value, json};

use super::{Nodes, SOON, on_nodes, service};

/// Inside of the pool, at its end, where nothing is assigned by itself.
const CLAIMED: [&str; 2] = ["192.0.2.50", "2001:db8:1::1ff"];

/// Nobody answers for these addresses, and status does not know these Services.
fn are_nobodys(nodes: &Nodes, services: &[&str]) -> Result<()> {
    let status = nodes.edge.status()?;
    let known = services.iter().find(|name| status.service(&format!("default/{name}")).is_ok());
    ensure!(known.is_none(), "status knows of {known:?}");
    let near = nodes.lab.near()?;
    CLAIMED.iter().try_for_each(|address| {
        let address: IpAddr = address.parse()?;
        let mac = ask::who_has(near, address)?;
        ensure!(mac.is_none(), "{mac:?} answers for {address}");
        Ok(())
    })
}

/// A Service of some type that claims external addresses by itself.
fn claiming(name: &str, kind: &str) -> Value {
    let mut service = service(name);
    service["spec"]["type"] = json!(kind);
    service["spec"]["externalIPs"] = json!(CLAIMED);
    service
}

#[test]
fn other_types_and_other_classes_are_left_alone_and_external_ips_are_ignored() -> Result<()> {
    on_nodes(|nodes| {
        let kubectl = nodes.kubectl()?;
        for (name, kind) in [("inside", "ClusterIP"), ("by-node", "NodePort")] {
            kubectl.apply(&claiming(name, kind).to_string())?;
        }
        let mut foreign = claiming("foreign", "LoadBalancer");
        foreign["spec"]["loadBalancerClass"] = json!("example.com/other");
        kubectl.apply(&foreign.to_string())?;
        kubectl.apply(
            &json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "elsewhere", "namespace": "default"},
                "spec": {"type": "ExternalName", "externalName": "example.com"},
            })
            .to_string(),
        )?;
        // The one that is ours comes last: when it is served the others have been seen.
        let ours = claiming("claims", "LoadBalancer");
        let app = nodes.serve_as(&ours, &[1, 2])?;
        app.answered_by(&["claims-1", "claims-2"])?;
        let others = ["inside", "by-node", "foreign", "elsewhere"];
        are_nobodys(nodes, &others)?;
        let foreign = kubectl.get(&["service", "foreign"])?;
        ensure!(foreign["status"]["loadBalancer"] == json!({}), "{}", foreign["status"]);
        app.end()?;
        kubectl.delete(&others.map(|name| format!("service/{name}")).each_ref().map(|n| &**n))
    })
}

/// The API gives no nodePort where it is told not to: the reason is said, and nothing is announced.
/// With one it is served at once.
#[test]
fn without_node_ports_the_reason_is_said() -> Result<()> {
    on_nodes(|nodes| {
        let mut service = service("portless");
        service["spec"]["allocateLoadBalancerNodePorts"] = json!(false);
        nodes.kubectl()?.apply(&service.to_string())?;
        let pod = nodes.pod(1, "portless-0", "portless")?;
        let reason = nodes.edge.wait_reason("default/portless", "NoNodePort", SOON)?;
        let said = &reason.message;
        ensure!(reason.status == "False" && said.contains("80"), "{reason:?}");
        ensure!(said.contains("allocateLoadBalancerNodePorts"), "what to do is missing: {said}");
        service["spec"]["allocateLoadBalancerNodePorts"] = json!(true);
        let app = nodes.serve_as(&service, &[1])?;
        app.answered_by(&["portless-0", "portless-1"])?;
        app.end()?;
        nodes.end(pod)
    })
}

/// A Service that is of another type for a while: its address falls silent and is set free; as a
/// LoadBalancer again it gets an address and is served.
#[test]
fn a_service_of_another_type_sets_its_address_free() -> Result<()> {
    on_nodes(|nodes| {
        let app = nodes.serve("turns", &[1, 2])?;
        app.answered_by(&["turns-1", "turns-2"])?;
        app.patch(&json!({"spec": {"type": "ClusterIP"}}))?;
        let near = nodes.lab.near()?;
        eventually("silence", SOON, || app.at.resolve_to_nobody(near))?;
        throughout("no word of it", std::time::Duration::from_millis(500), || {
            let status = nodes.edge.status()?;
            ensure!(status.service(&app.key()).is_err(), "status still has {}", app.key());
            Ok(())
        })?;
        app.patch(&json!({"spec": {"type": "LoadBalancer"}}))?;
        let again = Both::new(nodes.edge.wait_announced(&app.key(), SOON)?, 80)?;
        eventually("it is served again", SOON, || again.answer(nodes.client()?))?;
        app.end()
    })
}
