//! Objects that the kubelet or a user would write, as JSON.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

/// Labels of an object: names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A Node that is Ready, with its InternalIPs and the networks of its pods.
pub fn node(name: &str, addresses: &[IpAddr], pod_networks: &[IpNet]) -> Value {
    let mut told = vec![json!({"type": "Hostname", "address": name})];
    told.extend(addresses.iter().map(|ip| json!({"type": "InternalIP", "address": ip})));
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
        "spec": {"podCIDR": pod_networks.first(), "podCIDRs": pod_networks},
        "status": {"addresses": told, "conditions": [ready(true)]},
    })
}

/// A Pod in the namespace `default` that runs on a node, and is ready or not.
pub fn pod(name: &str, node: &str, labels: Labels, addresses: &[IpAddr], is_ready: bool) -> Value {
    let ips: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": map(labels)},
        "spec": {
            "nodeName": node,
            "containers": [{"name": "answers", "image": "answers.invalid/lab-node"}],
        },
        "status": {
            "phase": "Running",
            "podIP": addresses.first(),
            "podIPs": ips,
            "conditions": [ready(is_ready)],
        },
    })
}

/// A dual-stack Service in the namespace `default` with one TCP port, of any type; its pods are
/// those with `app` of its name, and answer on `target`.
pub fn service(name: &str, kind: &str, port: u16, target: u16) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "type": kind,
            "ipFamilyPolicy": "PreferDualStack",
            "selector": {"app": name},
            "ports": [{"name": "main", "protocol": "TCP", "port": port, "targetPort": target}],
        },
    })
}

/// An EndpointSlice of a Service without a selector: addresses of one family, each with its node.
pub fn endpoint_slice(service: &str, port: u16, endpoints: &[(IpAddr, &str)]) -> Value {
    let six = endpoints.iter().any(|(address, _)| address.is_ipv6());
    let family = if six { "IPv6" } else { "IPv4" };
    let endpoint = |(address, node): &(IpAddr, &str)| json!({"addresses": [address], "nodeName": node, "conditions": {"ready": true}});
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{}", family.to_ascii_lowercase()),
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": service},
        },
        "addressType": family,
        "ports": [{"name": "main", "protocol": "TCP", "port": port}],
        "endpoints": endpoints.iter().map(endpoint).collect::<Vec<_>>(),
    })
}

fn ready(yes: bool) -> Value {
    json!({"type": "Ready", "status": if yes { "True" } else { "False" }, "reason": "Lab"})
}

fn map(labels: Labels) -> Value {
    let pairs = labels.iter().map(|(name, value)| ((*name).to_owned(), json!(value)));
    Value::Object(pairs.collect::<Map<String, Value>>())
}
