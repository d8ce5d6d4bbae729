//! The fields that the real API has, so that only what it does not have is reported.
//!
//! Tables follow the OpenAPI of Kubernetes 1.36 (`core/v1`, `discovery.k8s.io/v1`, `meta/v1`) and
//! keep the fields that older releases had. Parts that Roadstead does not read and that a user does
//! not write by hand (a node's images, its volumes) are known as a whole and not looked into.

use super::{
    fields::Report,
    tree::{Entry, Node, Value},
    words::{hint, shown},
};

/// What the API has under a name.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    /// Not looked into.
    Any,
    /// A mapping of these fields.
    Object(&'static [Field]),
    /// A list of such mappings.
    List(&'static [Field]),
}

/// A field's name and what it holds.
pub(crate) type Field = (&'static str, Shape);

use Shape::{Any, List, Object};

/// A Service.
pub(crate) const SERVICE: &[Field] = &[
    ("apiVersion", Any),
    ("kind", Any),
    ("metadata", Object(METADATA)),
    ("spec", Object(SERVICE_SPEC)),
    ("status", Object(SERVICE_STATUS)),
];

/// A Node.
pub(crate) const NODE: &[Field] = &[
    ("apiVersion", Any),
    ("kind", Any),
    ("metadata", Object(METADATA)),
    ("spec", Object(NODE_SPEC)),
    ("status", Object(NODE_STATUS)),
];

/// An EndpointSlice.
pub(crate) const ENDPOINT_SLICE: &[Field] = &[
    ("apiVersion", Any),
    ("kind", Any),
    ("metadata", Object(METADATA)),
    ("addressType", Any),
    ("endpoints", List(ENDPOINT)),
    ("ports", List(ENDPOINT_PORT)),
];

/// A Namespace.
pub(crate) const NAMESPACE: &[Field] = &[
    ("apiVersion", Any),
    ("kind", Any),
    ("metadata", Object(METADATA)),
    ("spec", Object(&[("finalizers", Any)])),
    ("status", Object(&[("phase", Any), ("conditions", Any)])),
];

/// A `List` or a typed list such as `ServiceList`.
pub(crate) const LIST: &[Field] =
    &[("apiVersion", Any), ("kind", Any), ("metadata", Any), ("items", Any)];

/// `metadata` of any object.
pub(crate) const METADATA: &[Field] = &[
    ("annotations", Any),
    ("clusterName", Any),
    ("creationTimestamp", Any),
    ("deletionGracePeriodSeconds", Any),
    ("deletionTimestamp", Any),
    ("finalizers", Any),
    ("generateName", Any),
    ("generation", Any),
    ("labels", Any),
    ("managedFields", Any),
    ("name", Any),
    ("namespace", Any),
    ("ownerReferences", Any),
    ("resourceVersion", Any),
    ("selfLink", Any),
    ("uid", Any),
];

const SERVICE_SPEC: &[Field] = &[
    ("allocateLoadBalancerNodePorts", Any),
    ("clusterIP", Any),
    ("clusterIPs", Any),
    ("externalIPs", Any),
    ("externalName", Any),
    ("externalTrafficPolicy", Any),
    ("healthCheckNodePort", Any),
    ("internalTrafficPolicy", Any),
    ("ipFamilies", Any),
    ("ipFamilyPolicy", Any),
    ("loadBalancerClass", Any),
    ("loadBalancerIP", Any),
    ("loadBalancerSourceRanges", Any),
    ("ports", List(SERVICE_PORT)),
    ("publishNotReadyAddresses", Any),
    ("selector", Any),
    ("sessionAffinity", Any),
    ("sessionAffinityConfig", Object(&[("clientIP", Object(&[("timeoutSeconds", Any)]))])),
    ("topologyKeys", Any),
    ("trafficDistribution", Any),
    ("type", Any),
];

const SERVICE_PORT: &[Field] = &[
    ("appProtocol", Any),
    ("name", Any),
    ("nodePort", Any),
    ("port", Any),
    ("protocol", Any),
    ("targetPort", Any),
];

const SERVICE_STATUS: &[Field] = &[
    ("conditions", List(CONDITION)),
    (
        "loadBalancer",
        Object(&[(
            "ingress",
            List(&[("hostname", Any), ("ip", Any), ("ipMode", Any), ("ports", Any)]),
        )]),
    ),
];

const NODE_SPEC: &[Field] = &[
    ("configSource", Any),
    ("externalID", Any),
    ("podCIDR", Any),
    ("podCIDRs", Any),
    ("providerID", Any),
    ("taints", Any),
    ("unschedulable", Any),
];

const NODE_STATUS: &[Field] = &[
    ("addresses", List(&[("address", Any), ("type", Any)])),
    ("allocatable", Any),
    ("capacity", Any),
    ("conditions", List(CONDITION)),
    ("config", Any),
    ("daemonEndpoints", Any),
    ("declaredFeatures", Any),
    ("features", Any),
    ("images", Any),
    ("nodeInfo", Any),
    ("phase", Any),
    ("runtimeHandlers", Any),
    ("volumesAttached", Any),
    ("volumesInUse", Any),
];

const CONDITION: &[Field] = &[
    ("lastHeartbeatTime", Any),
    ("lastTransitionTime", Any),
    ("message", Any),
    ("observedGeneration", Any),
    ("reason", Any),
    ("status", Any),
    ("type", Any),
];

const ENDPOINT: &[Field] = &[
    ("addresses", Any),
    ("conditions", Object(&[("ready", Any), ("serving", Any), ("terminating", Any)])),
    ("deprecatedTopology", Any),
    ("hints", Any),
    ("hostname", Any),
    ("nodeName", Any),
    ("targetRef", Any),
    ("zone", Any),
];

const ENDPOINT_PORT: &[Field] =
    &[("appProtocol", Any), ("name", Any), ("port", Any), ("protocol", Any)];

/// Warns of every field of an object that the API does not have, where a person wrote it.
pub(crate) fn check(map: &[Entry<'_>], known: &'static [Field], report: &mut Report<'_>) {
    if report.origin().is_proofread() {
        check_at("", map, known, report);
    }
}

fn check_at(path: &str, map: &[Entry<'_>], known: &'static [Field], report: &mut Report<'_>) {
    for entry in map {
        match known.iter().find(|(name, _)| *name == entry.key) {
            Some((_, shape)) => check_below(path, entry, *shape, report),
            None if report.is_full() => {}
            None => {
                let hint = hint(&entry.key, known.iter().map(|(name, _)| *name));
                report.warning(
                    entry.line,
                    format!("{path}{}: no such field{hint}", shown(&entry.key)),
                );
            }
        }
    }
}

fn check_below(path: &str, entry: &Entry<'_>, shape: Shape, report: &mut Report<'_>) {
    match (shape, &entry.node.value) {
        (Object(known), Value::Map(inner)) => {
            check_at(&format!("{path}{}.", entry.key), inner, known, report);
        }
        (List(known), Value::List(items)) => check_items(path, entry, items, known, report),
        _ => {}
    }
}

fn check_items(
    path: &str,
    entry: &Entry<'_>,
    items: &[Node<'_>],
    known: &'static [Field],
    report: &mut Report<'_>,
) {
    for (index, item) in items.iter().enumerate() {
        if let Value::Map(inner) = &item.value {
            check_at(&format!("{path}{}[{index}].", entry.key), inner, known, report);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::objects::words::nearest;

    #[test]
    fn typos_find_what_was_meant_and_other_words_nothing() {
        let spec = || SERVICE_SPEC.iter().map(|(name, _)| *name);
        assert_eq!(nearest("port", spec()), Some("ports"));
        assert_eq!(nearest("tpye", spec()), Some("type"));
        assert_eq!(nearest("LoadbalancerIp", spec()), Some("loadBalancerIP"));
        assert_eq!(nearest("sourceRanges", spec()), None);
        assert_eq!(nearest("replicas", spec()), None);
    }
}
