//! The kinds as the API server serves them: where, which of them, and how many are kept.

use crate::objects::kind::Kind;

/// Every kind that is watched.
pub(super) const KINDS: [Kind; 4] =
    [Kind::Service, Kind::Node, Kind::Namespace, Kind::EndpointSlice];

/// How a kind is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    /// The path that it is listed under, in all namespaces.
    pub(super) path: &'static str,
    /// What many of them are called.
    pub(super) plural: &'static str,
    /// Only those whose fields say this.
    pub(super) fields: Option<&'static str>,
    /// Only those whose labels say this.
    pub(super) labels: Option<&'static str>,
    /// Most objects that are kept (S7). A cluster of 5,000 Services has less of each.
    pub(super) most: usize,
}

/// How `kind` is asked for.
pub(super) fn of(kind: Kind) -> Resource {
    match kind {
        Kind::Service => Resource {
            path: "/api/v1/services",
            plural: "Services",
            fields: Some("spec.type=LoadBalancer"),
            labels: None,
            most: 10_000,
        },
        Kind::Node => Resource {
            path: "/api/v1/nodes",
            plural: "Nodes",
            fields: None,
            labels: None,
            most: 5_000,
        },
        Kind::Namespace => Resource {
            path: "/api/v1/namespaces",
            plural: "Namespaces",
            fields: None,
            labels: None,
            most: 10_000,
        },
        // As kube-proxy asks: a headless Service is never a load balancer.
        Kind::EndpointSlice => Resource {
            path: "/apis/discovery.k8s.io/v1/endpointslices",
            plural: "EndpointSlices",
            fields: None,
            labels: Some("kubernetes.io/service-name,!service.kubernetes.io/headless"),
            most: 20_000,
        },
    }
}
