//! Who is to be watched: a plan says so, whenever its inputs change.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{ServiceKey, local::PortClaim, object::HealthCheck};

/// Everything that wants a verdict.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subjects {
    /// Node addresses, each with the NodePorts that may stand in for kube-proxy's health port.
    pub nodes: BTreeMap<IpAddr, Vec<Sentinel>>,
    /// Service ports.
    pub ports: BTreeMap<(ServiceKey, PortClaim), Port>,
    /// `healthCheckNodePort` of each Local Service with its candidates.
    pub locals: BTreeMap<(ServiceKey, IpAddr), u16>,
    /// Services that the sources do not show just now and that are not known to be gone: what is
    /// known of their ports and local endpoints stays (S3).
    pub held: BTreeSet<ServiceKey>,
    /// Each node's address of the other family: where one fails, the other is asked at once.
    pub siblings: BTreeMap<IpAddr, IpAddr>,
}

/// How a Service port is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its NodePort.
    pub node_port: u16,
    /// What its Service wants asked; none means a connection.
    pub check: Option<Arc<HealthCheck>>,
    /// The addresses to ask: the first ones, or, of a port with a check, all.
    pub at: Vec<IpAddr>,
}

/// A NodePort that stands in for kube-proxy's health port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sentinel {
    /// The NodePort.
    pub port: u16,
    /// Whether its Service passes a probe somewhere, so that a refusal speaks of the node.
    pub proven: bool,
}

/// The health checks of Services.
#[derive(Clone, Debug, Default)]
pub(super) struct Checks {
    pub(super) of_ports: BTreeMap<(ServiceKey, PortClaim), Arc<HealthCheck>>,
    /// How many subjects they make.
    pub(super) subjects: usize,
}

impl Checks {
    pub(super) fn of(wanted: &Subjects) -> Self {
        let checked = || wanted.ports.iter().filter(|(_, port)| port.check.is_some());
        let check = |port: &Port| port.check.clone();
        Self {
            of_ports: checked()
                .filter_map(|(key, port)| Some((key.clone(), check(port)?)))
                .collect(),
            subjects: checked().map(|(_, port)| port.at.len()).sum(),
        }
    }
}
