//! One Service `local/default/web` on 192.0.2.10, as both daemons tell of it when all is well.
//! Tests change one thing.

use roadstead_model::{
    Protocol, ServiceKey, SourceName,
    local::{
        Announced, Backend, BackendState, DaemonStatus, Flow, Flows, LegStatus, Listed, NodeStatus,
        PoolStatus, PortStatus, ReservationStatus, RouterService, RouterStatus, SpeakerService,
        SpeakerStatus,
    },
    reason::{Condition, ConditionStatus},
    snapshot::SourceState,
};

use crate::daemons::{Answers, Heard};

/// The name of the only source.
pub(crate) fn source() -> SourceName {
    SourceName::new("local")
}

/// `local/default/web`.
pub(crate) fn web() -> ServiceKey {
    ServiceKey::new(&source(), "default", "web")
}

/// A condition that holds.
pub(crate) fn holds(kind: &str, reason: &str, message: &str) -> Condition {
    Condition::new(kind, ConditionStatus::True, reason, message)
}

/// A condition that does not hold.
pub(crate) fn fails(kind: &str, reason: &str, message: &str) -> Condition {
    Condition::new(kind, ConditionStatus::False, reason, message)
}

/// A backend on `node`.
pub(crate) fn backend(node: &str, state: BackendState, reason: &str) -> Backend {
    Backend {
        node: node.into(),
        address: "198.51.100.5".parse().unwrap(),
        state,
        weight: u32::from(state == BackendState::Healthy),
        reason: reason.into(),
    }
}

fn daemon(name: &str) -> DaemonStatus {
    DaemonStatus {
        name: name.into(),
        version: "0.1.0".into(),
        ready: true,
        generation: 42,
        conditions: Vec::new(),
    }
}

/// What the speaker says.
pub(crate) fn speaker() -> SpeakerStatus {
    let address = "192.0.2.10".parse().unwrap();
    SpeakerStatus {
        daemon: daemon("speaker"),
        sources: vec![(source(), SourceState::Current)],
        problems: Vec::new(),
        services: vec![SpeakerService {
            service: web(),
            addresses: vec![address],
            announced: vec![Announced { address, by: "l2".into(), interface: "eth0".into() }],
            conditions: vec![
                holds("Allocated", "Allocated", "192.0.2.10 from pool `lan`"),
                holds("Announced", "Probed", "192.0.2.10 is announced on eth0"),
            ],
        }],
        pools: vec![PoolStatus { name: "lan".into(), total: "41".into(), used: 1 }],
        reservations: vec![ReservationStatus {
            name: "front".into(),
            r#for: "local/default".into(),
            addresses: vec!["192.0.2.20".parse().unwrap()],
            configured: false,
        }],
        drained: false,
        group: None,
    }
}

/// What the router says.
pub(crate) fn router() -> RouterStatus {
    RouterStatus {
        daemon: daemon("router"),
        services: vec![RouterService {
            service: web(),
            ports: vec![PortStatus {
                protocol: Protocol::Tcp,
                port: 80,
                listed: vec![Listed { list: 0, node_port: 30080, divisor: 1, except: vec![] }],
            }],
            conditions: vec![
                holds("Programmed", "Programmed", ""),
                holds("BackendsHealthy", "Probed", "2 of 2 backends pass their probes"),
            ],
        }],
        lists: vec![
            [backend("n1", BackendState::Healthy, ""), backend("n2", BackendState::Healthy, "")]
                .into(),
        ],
        nodes: vec![NodeStatus {
            source: source(),
            name: "n1".into(),
            addresses: vec!["198.51.100.5".parse().unwrap()],
            state: BackendState::Healthy,
            reason: String::new(),
        }],
        legs: vec![LegStatus { name: "eth0".into(), attached: true, reason: String::new() }],
        drops: vec![("no-flow".into(), 0), ("ttl".into(), 3)],
        flows: (7, 65_536),
    }
}

/// One flow to `n1`.
pub(crate) fn flows() -> Flows {
    let end = |address: &str, port| (address.parse().unwrap(), port);
    let flow = Flow {
        protocol: Protocol::Tcp,
        client: end("203.0.113.7", 40_000),
        vip: end("192.0.2.10", 80),
        snat: end("198.51.100.1", 40_000),
        node: end("198.51.100.5", 30_080),
        state: "established".into(),
        idle_seconds: 3,
    };
    Flows { flows: vec![flow], truncated: false }
}

/// Both.
pub(crate) fn answers(speaker: SpeakerStatus, router: RouterStatus) -> Answers {
    Answers { speaker: Heard::Status(speaker), router: Heard::Status(router) }
}
