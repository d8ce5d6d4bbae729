//! The distinct reasons that a user meets: one word each for scripts, one sentence each for people.

use serde::{Deserialize, Serialize};

use crate::object::{Service, TrafficPolicy};

/// A condition of a Service, in the form of Kubernetes' `metav1.Condition`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Condition {
    /// `Allocated`, `Announced`, `Programmed`, `BackendsHealthy`, `ClientAddressPreserved`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: ConditionStatus,
    /// One CamelCase word, stable for scripts.
    pub reason: String,
    /// One sentence that names the thing and what to do.
    pub message: String,
}

impl Condition {
    /// A condition from its four parts.
    pub fn new(
        kind: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) -> Self {
        Self { kind: kind.into(), status, reason: reason.into(), message: message.into() }
    }
}

/// The three values of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// Holds.
    True,
    /// Does not hold.
    False,
    /// Not known yet.
    Unknown,
}

/// Message of `Programmed` (reason `Pending`) while the nodes may well answer, and nobody has yet at
/// the NodePorts of the Service.
pub const NO_PROBE_PASSED: &str = "no probe of a backend has passed yet";

/// Full NAT hides the client from the node and the pod: from policy Local, which promises its address,
/// and from kube-proxy's own affinity, which goes by it.
pub fn client_address(service: &Service) -> Option<Condition> {
    let local = (service.traffic_policy == TrafficPolicy::Local).then_some(
        "externalTrafficPolicy Local chooses nodes with ready endpoints, but pods see an address of this edge host",
    );
    let affinity = service.affinity.map(|_| {
        "sessionAffinity ClientIP keeps a client on its node, but kube-proxy there sees an address of this edge host and may send all clients to one pod"
    });
    let touched: Vec<&str> = local.into_iter().chain(affinity).collect();
    let message = format!("mode nat replaces the client's address: {}", touched.join("; "));
    (!touched.is_empty())
        .then(|| Condition::new("ClientAddressPreserved", ConditionStatus::False, "Nat", message))
}
