//! `v1` Node: its addresses are input, its conditions are for people.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use roadstead_model::{NodeKey, SourceName, object::Node};

use super::{
    fields::{Field, Fields, Report},
    known_fields,
    metadata::{self, NameForm},
    object::{Object, ObjectId},
};

/// The label that takes a node out of every load balancer.
const EXCLUDE: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
/// Most addresses of one type; a node has one of each family.
const MAX_ADDRESSES: usize = 16;

/// Reads a Node. One that is being deleted is as good as gone (KEP-3458).
pub(crate) fn read(
    source: &SourceName,
    fields: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> (Option<ObjectId>, Option<Object>) {
    known_fields::check(fields.entries(), known_fields::NODE, report);
    let Some(metadata) = metadata::read(fields, NameForm::Subdomain, report) else {
        return (None, None);
    };
    let id = Some(ObjectId::Node(Arc::clone(&metadata.name)));
    if metadata.is_going(fields.line, report) {
        return (id, None);
    }
    let status = fields.map("status", report);
    let node = Node {
        key: NodeKey::new(source, metadata.name),
        addresses: addresses(fields, status.as_ref(), report),
        ready: is_ready(status.as_ref(), report),
        excluded: is_excluded(&metadata.labels),
        labels: metadata.labels,
    };
    (id, Some(Object::Node(Arc::new(node))))
}

fn addresses(
    fields: &Fields<'_, '_>,
    status: Option<&Fields<'_, '_>>,
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    let listed = status.map(|status| status.maps("addresses", report)).unwrap_or_default();
    let mut addresses = Vec::new();
    for entry in listed {
        if entry.text("type", report) != Some("InternalIP") {
            continue;
        }
        let address = entry.field("address").and_then(|field| internal_ip(&field, report));
        addresses.extend(address.filter(|address| !addresses.contains(address)));
    }
    if addresses.len() > MAX_ADDRESSES {
        let count = addresses.len();
        report.error(
            fields.line,
            format!("status.addresses: {count} InternalIPs; at most {MAX_ADDRESSES} are"),
        );
    }
    if addresses.is_empty() && !report.is_refused() {
        report.warning(
            fields.line,
            "status.addresses has no InternalIP: nothing can be sent to this node; `- {type: InternalIP, address: 192.0.2.5}` would be one",
        );
    }
    addresses
}

/// An address that packets can be sent to from another host.
fn internal_ip(field: &Field<'_, '_>, report: &mut Report<'_>) -> Option<IpAddr> {
    let address = field.address(report)?;
    match unusable(address) {
        None => Some(address),
        Some(what) => {
            field.wrong(report, &format!("{address} is {what}, which no other host can reach"));
            None
        }
    }
}

/// Why an address cannot be a node's, where it cannot.
fn unusable(address: IpAddr) -> Option<&'static str> {
    let (link_local, broadcast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.is_broadcast()),
        IpAddr::V6(v6) => (v6.is_unicast_link_local(), false),
    };
    [
        (address.is_unspecified(), "the unspecified address"),
        (address.is_loopback(), "a loopback address"),
        (address.is_multicast(), "a multicast address"),
        (broadcast, "the broadcast address"),
        (link_local, "a link-local address"),
    ]
    .into_iter()
    .find_map(|(is, what)| is.then_some(what))
}

/// The Ready condition; a Node without one (written by hand) counts as ready.
fn is_ready(status: Option<&Fields<'_, '_>>, report: &mut Report<'_>) -> bool {
    let conditions = status.map(|status| status.maps("conditions", report)).unwrap_or_default();
    for condition in conditions {
        if condition.text("type", report) == Some("Ready") {
            return condition.text("status", report) == Some("True");
        }
    }
    true
}

/// The label's value is a boolean in Go's forms; one that is none excludes (K8s service
/// controller: `nodeReadyPredicates`, kept by KEP-3458).
fn is_excluded(labels: &BTreeMap<Arc<str>, Arc<str>>) -> bool {
    const FALSE: [&str; 6] = ["0", "f", "F", "FALSE", "false", "False"];
    labels.get(EXCLUDE).is_some_and(|value| !FALSE.contains(&value.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exclude_label_excludes_unless_it_says_false() {
        for (value, excluded) in [
            ("", true),
            ("true", true),
            ("1", true),
            ("yes", true),
            ("no", true),
            ("false", false),
            ("False", false),
            ("FALSE", false),
            ("fALSE", true),
            ("f", false),
            ("0", false),
        ] {
            let labels = BTreeMap::from([(EXCLUDE.into(), value.into())]);
            assert_eq!(is_excluded(&labels), excluded, "{value:?}");
        }
        assert!(!is_excluded(&BTreeMap::new()));
    }
}
