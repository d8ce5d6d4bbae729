//! The distinct reasons that a user meets: one word each for scripts, one sentence each for people.

use serde::{Deserialize, Serialize};

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
