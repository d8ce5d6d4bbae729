//! `discovery.k8s.io/v1` EndpointSlice, and all slices of a Service taken together.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use roadstead_model::{
    Family, ServiceKey, SourceName,
    object::{Endpoint, Endpoints},
};

use super::{
    fields::{Fields, Report},
    known_fields,
    metadata::{self, NameForm},
    object::{Object, ObjectId, Slice},
};

/// The label that names the Service of a slice.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Most endpoints of one slice, and most addresses of one endpoint (the API's validation).
const MAX_ENDPOINTS: usize = 1_000;
const MAX_ADDRESSES: usize = 100;

#[derive(Clone, Copy, Debug)]
enum AddressType {
    Ip(Family),
    Fqdn,
}

/// Reads an EndpointSlice. Slices of names instead of addresses, and of no Service, are known and
/// hold nothing.
pub(crate) fn read(
    source: &SourceName,
    fields: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> (Option<ObjectId>, Option<Object>) {
    known_fields::check(fields.entries(), known_fields::ENDPOINT_SLICE, report);
    let Some(metadata) = metadata::read(fields, NameForm::Subdomain, report) else {
        return (None, None);
    };
    let namespace = Arc::clone(&metadata.namespace);
    let id = Some(ObjectId::EndpointSlice(namespace, Arc::clone(&metadata.name)));
    if metadata.is_going(fields.line, report) {
        return (id, None);
    }
    let service = metadata.labels.get(SERVICE_NAME).filter(|name| !name.is_empty());
    if service.is_none() {
        report
            .notice(fields.line, format!("passed over: no label {SERVICE_NAME} says whose it is"));
    }
    let slice = match address_type(fields, report) {
        Some(AddressType::Ip(family)) => service.map(|name| {
            let service = ServiceKey::new(source, metadata.namespace, Arc::clone(name));
            Arc::new(Slice { service, endpoints: endpoints(fields, family, report) })
        }),
        Some(AddressType::Fqdn) | None => None,
    };
    (id, Some(Object::EndpointSlice(slice)))
}

/// All slices of one Service, deduplicated by address. The same address may stand in two slices
/// while the control plane moves it: ready in one of them is ready.
pub(crate) fn merged<'s>(slices: impl IntoIterator<Item = &'s Slice>) -> Endpoints {
    let mut best: BTreeMap<IpAddr, &Endpoint> = BTreeMap::new();
    for endpoint in slices.into_iter().flat_map(|slice| &slice.endpoints) {
        let entry = best.entry(endpoint.address).or_insert(endpoint);
        if rank(endpoint) > rank(entry) {
            *entry = endpoint;
        }
    }
    Endpoints { endpoints: best.into_values().cloned().collect() }
}

fn rank(endpoint: &Endpoint) -> (bool, bool, bool, Option<&Arc<str>>) {
    (endpoint.ready, endpoint.serving, !endpoint.terminating, endpoint.node.as_ref())
}

fn address_type(fields: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<AddressType> {
    let types = [
        ("IPv4", AddressType::Ip(Family::V4)),
        ("IPv6", AddressType::Ip(Family::V6)),
        ("FQDN", AddressType::Fqdn),
    ];
    let Some(field) = fields.field("addressType") else {
        report.error(fields.line, "addressType is missing; IPv4 or IPv6 would be right");
        return None;
    };
    let read = field.choice(report, &types)?;
    if matches!(read, AddressType::Fqdn) {
        report.notice(field.line, "passed over: its addresses are names (addressType FQDN)");
    }
    Some(read)
}

fn endpoints(fields: &Fields<'_, '_>, family: Family, report: &mut Report<'_>) -> Vec<Endpoint> {
    let listed = fields.maps("endpoints", report);
    if listed.len() > MAX_ENDPOINTS {
        let count = listed.len();
        report.error(
            fields.line,
            format!("endpoints: {count} of them; a slice has at most {MAX_ENDPOINTS}"),
        );
        return Vec::new();
    }
    listed.iter().flat_map(|endpoint| endpoint_of(endpoint, family, report)).collect()
}

/// One entry, for each of its addresses. Conditions that are absent follow the API's contract:
/// `ready` means yes, `serving` means as `ready`, `terminating` means no.
fn endpoint_of(entry: &Fields<'_, '_>, family: Family, report: &mut Report<'_>) -> Vec<Endpoint> {
    let conditions = entry.map("conditions", report);
    let mut condition =
        |name| conditions.as_ref().and_then(|conditions| conditions.boolean(name, report));
    let ready = condition("ready").unwrap_or(true);
    let serving = condition("serving").unwrap_or(ready);
    let terminating = condition("terminating").unwrap_or(false);
    let node: Option<Arc<str>> = entry.text("nodeName", report).map(Arc::from);
    let of = |address| Endpoint { address, node: node.clone(), ready, serving, terminating };
    addresses(entry, family, report).into_iter().map(of).collect()
}

fn addresses(entry: &Fields<'_, '_>, family: Family, report: &mut Report<'_>) -> Vec<IpAddr> {
    let listed = entry.list("addresses", report);
    if listed.is_empty() || listed.len() > MAX_ADDRESSES {
        let path = entry.path_of("addresses");
        report.error(entry.line, format!("{path}: 1 to {MAX_ADDRESSES} addresses are right"));
        return Vec::new();
    }
    let mut addresses = Vec::new();
    for field in listed {
        match field.address(report) {
            Some(address) if Family::of(address) == family => addresses.push(address),
            Some(address) => {
                field.wrong(report, &format!("{address} is not {family}, which addressType says"));
            }
            None => {}
        }
    }
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(address: &str, node: Option<&str>, ready: bool) -> Endpoint {
        let address = address.parse().expect("an address");
        Endpoint { address, node: node.map(Arc::from), ready, serving: ready, terminating: false }
    }

    #[test]
    fn slices_merge_by_address_in_any_order() {
        let service = ServiceKey::new(&SourceName::new("local"), "default", "web");
        let slice = |endpoints| Slice { service: service.clone(), endpoints };
        let a = slice(vec![
            endpoint("198.51.100.2", Some("n2"), false),
            endpoint("198.51.100.1", None, true),
        ]);
        let b = slice(vec![endpoint("198.51.100.2", Some("n2"), true)]);
        let wanted =
            vec![endpoint("198.51.100.1", None, true), endpoint("198.51.100.2", Some("n2"), true)];
        assert_eq!(merged([&a, &b]).endpoints, wanted);
        assert_eq!(merged([&b, &a]).endpoints, wanted);
    }
}
