//! The directory of manifests, as a user would fill it.

use std::{fs, net::IpAddr, path::PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

use crate::host::Host;

/// A directory of YAML. Files appear and change whole: written aside, then renamed.
#[derive(Clone, Debug)]
pub struct Manifests {
    dir: PathBuf,
}

impl Manifests {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The directory.
    pub fn dir(&self) -> &PathBuf {
        &self.dir
    }

    /// Writes or replaces `NAME.yaml`.
    pub fn write(&self, name: &str, yaml: &str) -> Result<()> {
        let draft = self.dir.join(format!(".{name}.new"));
        fs::write(&draft, yaml).with_context(|| format!("cannot write {}", draft.display()))?;
        fs::rename(&draft, self.path(name)).with_context(|| format!("cannot put {name}.yaml"))
    }

    /// Deletes `NAME.yaml`.
    pub fn delete(&self, name: &str) -> Result<()> {
        fs::remove_file(self.path(name)).with_context(|| format!("cannot delete {name}.yaml"))
    }

    /// Writes a Node for a host, in a file of the host's name.
    pub fn node(&self, host: &Host) -> Result<()> {
        let addresses: Vec<IpAddr> = host.addresses().collect();
        self.write(host.name(), &node_yaml(host.name(), &addresses)?)
    }

    /// Writes a Service in a file of the Service's name.
    pub fn service(&self, service: &ServiceYaml) -> Result<()> {
        self.write(&service.name, &service.yaml()?)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.yaml"))
    }
}

/// A Node with InternalIPs.
pub fn node_yaml(name: &str, addresses: &[IpAddr]) -> Result<String> {
    let addresses: Vec<Value> =
        addresses.iter().map(|ip| json!({ "type": "InternalIP", "address": ip })).collect();
    yaml(&json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": name },
        "status": {
            "addresses": addresses,
            "conditions": [{ "type": "Ready", "status": "True" }],
        },
    }))
}

/// The EndpointSlice of one family of a Service in `default`: (pod address, node, ready).
pub fn endpoint_slice_yaml(service: &str, endpoints: &[(IpAddr, &str, bool)]) -> Result<String> {
    let v6 = endpoints.first().is_some_and(|(address, ..)| address.is_ipv6());
    let family = if v6 { "IPv6" } else { "IPv4" };
    let list: Vec<Value> = endpoints
        .iter()
        .map(|(address, node, ready)| {
            json!({ "addresses": [address], "nodeName": node, "conditions": { "ready": ready } })
        })
        .collect();
    yaml(&json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{service}-{}", family.to_ascii_lowercase()),
            "namespace": "default",
            "labels": { "kubernetes.io/service-name": service },
        },
        "addressType": family,
        "endpoints": list,
    }))
}

/// A Service of type LoadBalancer in the making.
#[derive(Clone, Debug)]
pub struct ServiceYaml {
    name: String,
    annotations: Map<String, Value>,
    ports: Vec<Value>,
    spec: Map<String, Value>,
}

impl ServiceYaml {
    /// `metadata.name`
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A Service in `default` without ports; IPv4 unless something else is said.
    pub fn new(name: &str) -> Self {
        let mut spec = Map::new();
        spec.insert("type".into(), json!("LoadBalancer"));
        Self { name: name.into(), annotations: Map::new(), ports: Vec::new(), spec }
    }

    /// A TCP port.
    #[must_use]
    pub fn tcp(self, port: u16, node_port: u16) -> Self {
        self.port("TCP", port, node_port)
    }

    /// A UDP port.
    #[must_use]
    pub fn udp(self, port: u16, node_port: u16) -> Self {
        self.port("UDP", port, node_port)
    }

    /// A port of any protocol.
    #[must_use]
    pub fn port(mut self, protocol: &str, port: u16, node_port: u16) -> Self {
        let name = format!("{}-{port}", protocol.to_ascii_lowercase());
        self.ports.push(
            json!({ "name": name, "protocol": protocol, "port": port, "nodePort": node_port }),
        );
        self
    }

    /// Both families.
    #[must_use]
    pub fn dual(self) -> Self {
        self.set("ipFamilyPolicy", json!("RequireDualStack"))
            .set("ipFamilies", json!(["IPv4", "IPv6"]))
    }

    /// IPv6 alone.
    #[must_use]
    pub fn v6(self) -> Self {
        self.set("ipFamilyPolicy", json!("SingleStack")).set("ipFamilies", json!(["IPv6"]))
    }

    /// `roadstead.io/addresses`
    #[must_use]
    pub fn addresses(self, addresses: &str) -> Self {
        self.annotate("roadstead.io/addresses", addresses)
    }

    /// `roadstead.io/pool`
    #[must_use]
    pub fn pool(self, pool: &str) -> Self {
        self.annotate("roadstead.io/pool", pool)
    }

    /// An annotation.
    #[must_use]
    pub fn annotate(mut self, key: &str, value: &str) -> Self {
        self.annotations.insert(key.into(), json!(value));
        self
    }

    /// Any field of `spec`.
    #[must_use]
    pub fn set(mut self, field: &str, value: Value) -> Self {
        self.spec.insert(field.into(), value);
        self
    }

    /// As YAML.
    pub fn yaml(&self) -> Result<String> {
        let mut spec = self.spec.clone();
        spec.insert("ports".into(), Value::Array(self.ports.clone()));
        yaml(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": self.name,
                "namespace": "default",
                "annotations": self.annotations,
            },
            "spec": spec,
        }))
    }
}

fn yaml(value: &Value) -> Result<String> {
    serde_saphyr::to_string(value).context("cannot write YAML")
}
