//! What the state of a Service gives cause to try.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use roadstead_model::{
    Family, Protocol,
    config::NodeProbe,
    local::{BackendState, BackendStatus},
};

use crate::{local_files::Object, status::ServiceView};

/// Nodes asked in each family: one may be down, two are a sign.
const NODES: usize = 2;
/// Answers to clients that are tried in all.
const DEPARTURES: usize = 8;

/// A backend that is asked again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Question {
    /// The node's name.
    pub(super) node: Arc<str>,
    /// What the probe that fails asks.
    pub(super) to: SocketAddr,
}

/// An answer of the Service to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Departure {
    /// VIP and port.
    pub(super) from: SocketAddr,
    /// The client that is asked about.
    pub(super) client: Option<IpAddr>,
    /// The leg where the VIP is announced.
    pub(super) leg: Arc<str>,
}

/// The probes that fail without the node having said anything, of a few nodes in each family.
pub(super) fn questions(view: &ServiceView, object: &Object, probe: NodeProbe) -> Vec<Question> {
    let mut nodes: BTreeMap<Family, BTreeSet<Arc<str>>> = BTreeMap::new();
    let mut questions = BTreeSet::new();
    let unproven = view.is_unproven();
    for port in &view.ports {
        for backend in port.backends().filter(|b| is_silent(b) || unproven && may_serve(b)) {
            let of_family = nodes.entry(Family::of(backend.address)).or_default();
            if of_family.len() < NODES || of_family.contains(&*backend.node) {
                of_family.insert(backend.node.clone());
                let asked = ports(&backend, port.protocol, object, probe);
                questions.extend(asked.map(|port| Question {
                    node: backend.node.clone(),
                    to: SocketAddr::new(backend.address, port),
                }));
            }
        }
    }
    questions.into_iter().collect()
}

/// Whether the node itself answers, so that its NodePort may be asked.
fn may_serve(backend: &BackendStatus) -> bool {
    match backend.state {
        BackendState::Healthy | BackendState::SlowStart | BackendState::Unknown => true,
        BackendState::Unhealthy | BackendState::Draining => false,
    }
}

/// Whether a probe was sent and nothing from the node itself came back. A firewall that rejects
/// looks like a refusal, so a refusal does not count as an answer here.
fn is_silent(backend: &BackendStatus) -> bool {
    let failed = match backend.state {
        BackendState::Unhealthy => true,
        BackendState::Unknown => !backend.reason.is_empty() && *backend.reason != *"not probed yet",
        BackendState::Healthy | BackendState::Draining | BackendState::SlowStart => false,
    };
    let said =
        ["healthz answered", "the health check", "endpoint of this Service", "a leg of the router"];
    failed && !said.iter().any(|word| backend.reason.contains(word))
}

/// Every port of the nodes, beside the NodePorts of the Services, that the router's probes ask.
pub(super) fn probed(object: &Object, probe: NodeProbe) -> BTreeSet<u16> {
    let of_nodes = match probe {
        NodeProbe::Auto { port } | NodeProbe::KubeProxy { port } => Some(port),
        NodeProbe::NodePort => None,
    };
    let of_local = match object {
        Object::Service(service) => service.health_check_node_port,
        Object::Refused(_) | Object::Absent | Object::Unknown => None,
    };
    of_nodes.into_iter().chain(of_local).collect()
}

/// The ports that the failing probe may have asked.
fn ports<'p>(
    backend: &BackendStatus,
    protocol: Protocol,
    object: &Object,
    probe: NodeProbe,
) -> impl Iterator<Item = u16> + use<'p> {
    let node_port = (protocol == Protocol::Tcp).then_some(backend.port);
    let of_local = match object {
        Object::Service(service) if backend.reason.contains("healthCheckNodePort") => {
            service.health_check_node_port
        }
        _ => None,
    };
    let kube_proxy = match probe {
        NodeProbe::Auto { port } | NodeProbe::KubeProxy { port }
            if backend.reason.contains("the node's probe") =>
        {
            Some(port)
        }
        _ => None,
    };
    node_port.into_iter().chain(of_local).chain(kube_proxy)
}

/// One answer for each address and leg, of the Service's first TCP port.
pub(super) fn departures(view: &ServiceView, client: Option<IpAddr>) -> Vec<Departure> {
    let Some(port) = view.ports.iter().find(|port| port.protocol == Protocol::Tcp) else {
        return Vec::new();
    };
    let departure = |announced: &roadstead_model::local::Announced| Departure {
        from: SocketAddr::new(announced.address, port.port),
        client: client.filter(|client| client.is_ipv4() == announced.address.is_ipv4()),
        leg: announced.interface.clone(),
    };
    view.announced.iter().map(departure).take(DEPARTURES).collect()
}

#[cfg(test)]
mod tests {
    use roadstead_model::{
        local::{Backend, PortStatus},
        reason::NO_PROBE_PASSED,
    };

    use super::*;
    use crate::{
        fixtures::{answers, backend, fails as condition, router, speaker},
        status::{PortView, Status},
    };

    const AUTO: NodeProbe = NodeProbe::Auto { port: 10256 };
    const TIMED_OUT: &str = "the node's probe: no answer in time";

    fn view(backends: Vec<Backend>) -> ServiceView {
        let mut router = router();
        router.lists[0] = backends.into();
        Status::of(&answers(speaker(), router)).services.remove(0)
    }

    fn asked(backends: Vec<Backend>) -> Vec<String> {
        let questions = questions(&view(backends), &Object::Unknown, AUTO);
        questions.iter().map(|question| format!("{} {}", question.node, question.to)).collect()
    }

    fn fails(node: &str, reason: &str) -> Backend {
        backend(node, BackendState::Unhealthy, reason)
    }

    #[test]
    fn what_answers_is_not_asked_again() {
        for (state, reason) in [
            (BackendState::Healthy, ""),
            (BackendState::SlowStart, "weight at 10 %"),
            (BackendState::Draining, "drained by an operator"),
            (BackendState::Unknown, "not probed yet"),
            (BackendState::Unhealthy, "the node's probe: healthz answered 503"),
            (
                BackendState::Unhealthy,
                "the probe of the NodePort: the health check got NOT_SERVING",
            ),
            (BackendState::Unhealthy, "it has no ready endpoint of this Service"),
        ] {
            assert_eq!(asked(vec![backend("n1", state, reason)]), [""; 0], "{reason}");
        }
        for state in [BackendState::Unhealthy, BackendState::Unknown] {
            let found = asked(vec![backend("n1", state, "the probe of the NodePort: unreachable")]);
            assert_eq!(found, ["n1 198.51.100.5:30080"]);
        }
    }

    #[test]
    fn healthy_nodes_are_asked_where_their_node_ports_never_answered() {
        let backends = || {
            let drained = backend("n2", BackendState::Draining, "drained by an operator");
            vec![backend("n1", BackendState::Healthy, ""), drained]
        };
        let mut view = view(backends());
        assert_eq!(questions(&view, &Object::Unknown, AUTO), []);
        view.conditions.retain(|condition| condition.kind != "Programmed");
        view.conditions.push(condition("Programmed", "Pending", NO_PROBE_PASSED));
        let found = questions(&view, &Object::Unknown, AUTO);
        assert_eq!(found.len(), 1);
        assert_eq!((&*found[0].node, found[0].to.port()), ("n1", 30080));
    }

    #[test]
    fn the_port_is_the_one_that_the_probe_asks() {
        let both = ["n1 198.51.100.5:10256", "n1 198.51.100.5:30080"];
        assert_eq!(asked(vec![fails("n1", TIMED_OUT)]), both);
        let mut view = view(vec![fails("n1", TIMED_OUT)]);
        view.ports[0].protocol = Protocol::Udp;
        let found = questions(&view, &Object::Unknown, AUTO);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].to.port(), 10256);
        assert_eq!(questions(&view, &Object::Unknown, NodeProbe::NodePort), []);
    }

    #[test]
    fn a_few_nodes_of_each_family_are_asked() {
        let mut backends: Vec<_> =
            (1..=9).map(|n| fails(&format!("n{n}"), "unreachable")).collect();
        for backend in &mut backends[5..] {
            backend.address = "2001:db8::5".parse().unwrap();
        }
        let found = asked(backends);
        assert_eq!(found.len(), 2 * NODES, "{found:?}");
        assert!(found.iter().any(|told| told.contains("[2001:db8::5]")), "{found:?}");
    }

    #[test]
    fn an_answer_leaves_from_the_first_tcp_port_to_the_client_asked_about() {
        let mut view = view(Vec::new());
        let client = Some("203.0.113.9".parse().unwrap());
        let found = departures(&view, client);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].from, "192.0.2.10:80".parse().unwrap());
        assert_eq!((found[0].client, &*found[0].leg), (client, "eth0"));
        assert_eq!(departures(&view, Some("2001:db8::9".parse().unwrap()))[0].client, None);
        let udp = PortStatus { protocol: Protocol::Udp, port: 53, listed: Vec::new() };
        view.ports = vec![PortView::new(udp, Arc::new([]))];
        assert_eq!(departures(&view, client), []);
    }
}
