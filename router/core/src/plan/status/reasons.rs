//! Why a node or a backend is in its state, in words.

use roadstead_model::local::BackendState;

use crate::{
    drain::Cause,
    plan::{
        candidates::{Candidate, Doubt},
        nodes::{Row, Standing},
    },
};

/// Why a candidate of a port is in its state.
pub(super) fn candidate_reason(candidate: &Candidate) -> String {
    match candidate.cause {
        Some(Doubt::Node(failure)) => format!("the node's probe: {failure}"),
        Some(Doubt::Port(failure)) => format!("the probe of the NodePort: {failure}"),
        Some(Doubt::Local(failure)) => format!("the probe of healthCheckNodePort: {failure}"),
        None => match candidate.state {
            BackendState::Unknown => "not probed yet".to_owned(),
            BackendState::SlowStart => format!("weight at {} %", candidate.percent),
            BackendState::Healthy | BackendState::Unhealthy | BackendState::Draining => {
                String::new()
            }
        },
    }
}

/// The state of a node's address, whatever the Service, and why.
pub(super) fn node_state(row: &Row) -> (BackendState, String) {
    match &row.standing {
        Standing::Refused(reason) | Standing::Unreachable(reason) => {
            (BackendState::Unhealthy, reason.clone())
        }
        Standing::Draining(Cause::Ordered) => {
            (BackendState::Draining, "drained by an operator".to_owned())
        }
        Standing::Draining(Cause::Excluded) => (
            BackendState::Draining,
            "labelled node.kubernetes.io/exclude-from-external-load-balancers".to_owned(),
        ),
        Standing::Usable(sight) => {
            let reason = sight.failure.map_or_else(String::new, |failure| failure.to_string());
            (sight.state, reason)
        }
    }
}
