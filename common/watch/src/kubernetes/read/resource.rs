//! The kinds as the API server serves them: where, which of them, and how many are kept.

use std::borrow::Cow;

use roadstead_model::config::Daemon;

use crate::objects::{MetalLbKind, kind::Kind};

/// What a daemon watches: what it does not need it has no right to see (`etc/kubernetes`).
pub(in crate::kubernetes) fn kinds(daemon: Daemon) -> &'static [Kind] {
    match daemon {
        Daemon::Speaker => &[Kind::Service, Kind::Node, Kind::Namespace, Kind::EndpointSlice],
        Daemon::Router => &[Kind::Service, Kind::Node, Kind::EndpointSlice],
        Daemon::Proxy => &[Kind::Service, Kind::Namespace, Kind::EndpointSlice],
    }
}

/// MetalLB's kinds, where a daemon reads them: those who assign addresses or hold them against pools.
pub(in crate::kubernetes) fn metallb_kinds(daemon: Daemon) -> &'static [Kind] {
    match daemon {
        Daemon::Speaker | Daemon::Router => &METALLB,
        Daemon::Proxy => &[],
    }
}

const METALLB: [Kind; 6] = [
    Kind::MetalLb(MetalLbKind::Pool),
    Kind::MetalLb(MetalLbKind::L2Advertisement),
    Kind::MetalLb(MetalLbKind::BgpAdvertisement),
    Kind::MetalLb(MetalLbKind::Peer),
    Kind::MetalLb(MetalLbKind::BfdProfile),
    Kind::MetalLb(MetalLbKind::Community),
];

/// How a kind is asked for.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) struct Resource {
    /// The path that it is listed under: in all namespaces, or in the one that is meant.
    pub(in crate::kubernetes) path: Cow<'static, str>,
    /// What many of them are called.
    pub(in crate::kubernetes) plural: &'static str,
    /// Only those whose fields say this.
    pub(in crate::kubernetes) fields: Option<&'static str>,
    /// Only those whose labels say this.
    pub(in crate::kubernetes) labels: Option<&'static str>,
    /// Most objects that are kept (S7). A cluster of 5,000 Services has less of each.
    pub(in crate::kubernetes) most: usize,
    /// A server that does not know the kind (404) has none, and is asked again rarely.
    pub(in crate::kubernetes) is_optional: bool,
}

/// MetalLB's objects of one kind that are kept. A real cluster has a handful.
const MOST_METALLB: usize = 1_000;

/// How `kind` is asked for.
pub(in crate::kubernetes) fn of(kind: Kind) -> Resource {
    match kind {
        Kind::Service => Resource {
            path: Cow::Borrowed("/api/v1/services"),
            plural: "Services",
            fields: Some("spec.type=LoadBalancer"),
            labels: None,
            most: 10_000,
            is_optional: false,
        },
        Kind::Node => Resource {
            path: Cow::Borrowed("/api/v1/nodes"),
            plural: "Nodes",
            fields: None,
            labels: None,
            most: 5_000,
            is_optional: false,
        },
        Kind::Namespace => Resource {
            path: Cow::Borrowed("/api/v1/namespaces"),
            plural: "Namespaces",
            fields: None,
            labels: None,
            most: 10_000,
            is_optional: false,
        },
        // As kube-proxy asks: a headless Service is never a load balancer.
        Kind::EndpointSlice => Resource {
            path: Cow::Borrowed("/apis/discovery.k8s.io/v1/endpointslices"),
            plural: "EndpointSlices",
            fields: None,
            labels: Some("kubernetes.io/service-name,!service.kubernetes.io/headless"),
            most: 20_000,
            is_optional: false,
        },
        Kind::MetalLb(kind) => Resource {
            path: Cow::Borrowed(""),
            plural: plural(kind),
            fields: None,
            labels: None,
            most: MOST_METALLB,
            is_optional: true,
        },
    }
}

/// How `kind` is asked for, where MetalLB's kinds stand in this namespace.
pub(in crate::kubernetes) fn within(kind: Kind, namespace: &str) -> Resource {
    let Kind::MetalLb(metallb) = kind else { return of(kind) };
    let version = metallb.versions().first().copied().unwrap_or_default();
    let plural = plural(metallb).to_ascii_lowercase();
    let path = format!("/apis/{version}/namespaces/{namespace}/{plural}");
    Resource { path: path.into(), ..of(kind) }
}

fn plural(kind: MetalLbKind) -> &'static str {
    match kind {
        MetalLbKind::Pool => "IPAddressPools",
        MetalLbKind::L2Advertisement => "L2Advertisements",
        MetalLbKind::BgpAdvertisement => "BGPAdvertisements",
        MetalLbKind::Peer => "BGPPeers",
        MetalLbKind::BfdProfile => "BFDProfiles",
        MetalLbKind::Community => "Communities",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metallbs_kinds_are_asked_for_in_their_namespace_alone() {
        let path = |kind| within(Kind::MetalLb(kind), "lb").path;
        assert_eq!(
            path(MetalLbKind::Pool),
            "/apis/metallb.io/v1beta1/namespaces/lb/ipaddresspools"
        );
        assert_eq!(path(MetalLbKind::Peer), "/apis/metallb.io/v1beta2/namespaces/lb/bgppeers");
        let communities = "/apis/metallb.io/v1beta1/namespaces/lb/communities";
        assert_eq!(path(MetalLbKind::Community), communities);
        assert_eq!(within(Kind::Node, "lb").path, "/api/v1/nodes");
    }
}
