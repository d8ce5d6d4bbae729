//! `roadstead status -o json`, as the contract spells it. Unknown fields are passed over.

use std::net::IpAddr;

use serde::Deserialize;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Status {
    /// Services of type LoadBalancer.
    #[serde(default)]
    pub services: Vec<Service>,
    /// The daemons that answered.
    #[serde(default)]
    pub daemons: Vec<Daemon>,
}

/// One Service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Service {
    /// Name of the source.
    pub cluster: String,
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// VIPs held.
    #[serde(default)]
    pub addresses: Vec<IpAddr>,
    /// Where they are announced.
    #[serde(default)]
    pub announced: Vec<Announced>,
    /// Ports with backends.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Conditions.
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

/// One announcement.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Announced {
    /// The VIP.
    pub address: IpAddr,
    /// `l2`
    pub by: String,
    /// The leg.
    #[serde(default)]
    pub interface: String,
}

/// One port.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Port {
    /// `TCP` or `UDP`
    pub protocol: String,
    /// The Service port.
    pub port: u16,
    /// Its backends.
    #[serde(default)]
    pub backends: Vec<Backend>,
}

/// One backend.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Backend {
    /// Node name.
    pub node: String,
    /// Node address.
    pub address: IpAddr,
    /// NodePort.
    pub port: u16,
    /// `healthy`, `unhealthy`, `draining`, `slow-start`, `unknown`
    pub state: String,
    /// Relative weight.
    pub weight: u32,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Condition {
    /// `Allocated`, `Announced`, `Programmed`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False`, `Unknown`
    pub status: String,
    /// One word.
    pub reason: String,
    /// One sentence.
    pub message: String,
}

/// One daemon.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Daemon {
    /// `speaker` or `router`
    pub name: String,
    /// Whether it is ready.
    pub ready: bool,
}
