//! What a Service asks of the allocator, and who may reach it: annotations beside their fields.
//!
//! Ours win over MetalLB's, MetalLB's over its old ones (`metallb.universe.tf`, deprecated since
//! 0.14.9), annotations over the deprecated `spec.loadBalancerIP`. A key that is there wins even
//! when it is empty, as in MetalLB. No other annotation is looked at or kept.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use roadstead_model::object::{AddressRequest, SourceRanges};

use super::{
    fields::{Field, Fields, Report, parse_address},
    health_check,
    known_fields::{hint, shown},
};

/// The three keys of one request, the strongest first; the last is deprecated.
type Keys = [&'static str; 3];

const ADDRESSES: Keys =
    ["roadstead.io/addresses", "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs"];
const POOL: Keys =
    ["roadstead.io/pool", "metallb.io/address-pool", "metallb.universe.tf/address-pool"];
const SHARING: Keys = [
    "roadstead.io/allow-shared-ip",
    "metallb.io/allow-shared-ip",
    "metallb.universe.tf/allow-shared-ip",
];
/// Kubernetes' own, honoured only where `spec.loadBalancerSourceRanges` is empty.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// Begins every annotation of ours.
const OURS: &str = "roadstead.io/";

/// Most addresses that one Service asks for.
const MAX_ADDRESSES: usize = 16;
/// Most ranges of clients of one Service.
const MAX_RANGES: usize = 1_000;

pub(crate) type Annotations<'a, 'n, 't> = Option<&'a Fields<'n, 't>>;

/// Warns of annotations that begin like ours and are none.
pub(crate) fn check_known(annotations: &Fields<'_, '_>, report: &mut Report<'_>) {
    let request = [ADDRESSES, POOL, SHARING].map(|[first, ..]| first);
    let ours = || request.into_iter().chain(health_check::KEYS);
    for entry in annotations.entries() {
        let is_typo = entry.key.starts_with(OURS) && !ours().any(|known| known == entry.key);
        if is_typo && !report.is_full() {
            let hint = hint(&entry.key, ours());
            let key = shown(&entry.key);
            report.warning(entry.line, format!("annotation {key}: no such annotation{hint}"));
        }
    }
}

/// The address, the pool and the sharing key that are asked for.
pub(crate) fn request(
    annotations: Annotations<'_, '_, '_>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> AddressRequest {
    let word = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
    AddressRequest {
        addresses: addresses(annotations, spec, report),
        pool: chosen(annotations, POOL, report).and_then(|(_, text)| word(text.trim())),
        sharing_key: chosen(annotations, SHARING, report).and_then(|(_, text)| word(text)),
    }
}

/// The strongest of three annotations. A weaker one that says something else is told.
fn chosen<'n, 't>(
    annotations: Annotations<'_, 'n, 't>,
    keys: Keys,
    report: &mut Report<'_>,
) -> Option<(Field<'n, 't>, &'n str)> {
    let annotations = annotations?;
    let mut winner: Option<(&str, Field<'n, 't>, &'n str)> = None;
    for key in keys {
        let Some(field) = annotations.field(key) else { continue };
        let Some(text) = field.text(report) else { continue };
        if let (Some(new), true) = (keys.get(1), keys.last() == Some(&key)) {
            report.notice(field.line, format!("annotation {key} is deprecated; {new} is read too"));
        }
        match &winner {
            None => winner = Some((key, field, text)),
            Some((stronger, _, wins)) if *wins != text => report.notice(
                field.line,
                format!(
                    "annotation {key} is not followed: {stronger} says something else and wins"
                ),
            ),
            Some(_) => {}
        }
    }
    winner.map(|(_, field, text)| (field, text))
}

fn addresses(
    annotations: Annotations<'_, '_, '_>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> Vec<IpAddr> {
    let listed = chosen(annotations, ADDRESSES, report)
        .map(|(field, text)| address_list(&field, text, report));
    let field = spec.field("loadBalancerIP");
    let single = match field.as_ref().and_then(|field| field.text(report)) {
        Some(text) if !text.is_empty() => field.as_ref().and_then(|field| field.address(report)),
        _ => None,
    };
    match (listed, single, field) {
        (Some(listed), Some(single), Some(field)) if listed != [single] => {
            report.notice(
                field.line,
                "spec.loadBalancerIP is not followed: an annotation says something else and wins",
            );
            listed
        }
        (Some(listed), _, _) => listed,
        (None, single, _) => single.into_iter().collect(),
    }
}

/// A list by commas.
fn address_list(field: &Field<'_, '_>, text: &str, report: &mut Report<'_>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for part in parts(text) {
        match parse_address(part) {
            Ok(address) if addresses.contains(&address) => {
                field.wrong(report, &format!("{address} is there twice"));
            }
            Ok(address) => addresses.push(address),
            Err(wrong) => field.wrong(report, &wrong),
        }
        if addresses.len() > MAX_ADDRESSES {
            field.wrong(report, &format!("more than {MAX_ADDRESSES} addresses"));
            return Vec::new();
        }
    }
    addresses
}

/// The clients that may reach the Service. A range that is none is an error of the object, so that
/// it is never read as leave for everybody.
pub(crate) fn source_ranges(
    annotations: Annotations<'_, '_, '_>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> SourceRanges {
    let listed = spec.list("loadBalancerSourceRanges", report);
    let mut ranges = Vec::new();
    for field in &listed {
        if let Some(text) = field.text(report) {
            ranges.extend(range(field, text, report));
        }
    }
    let annotation = annotations.and_then(|annotations| annotations.field(SOURCE_RANGES));
    if let (true, Some(field)) = (listed.is_empty(), &annotation)
        && let Some(text) = field.text(report)
    {
        ranges.extend(parts(text).filter_map(|part| range(field, part, report)));
    }
    if ranges.len() > MAX_RANGES {
        let count = ranges.len();
        report.error(spec.line, format!("{count} source ranges; at most {MAX_RANGES} are"));
    }
    ranges.sort();
    ranges.dedup();
    if ranges.is_empty() { SourceRanges::Any } else { SourceRanges::Only(ranges) }
}

fn range(field: &Field<'_, '_>, text: &str, report: &mut Report<'_>) -> Option<IpNet> {
    let text = text.trim();
    if let Ok(range) = text.parse::<IpNet>() {
        return Some(range.trunc());
    }
    let right = match parse_address(text) {
        Ok(address) => IpNet::from(address).to_string(),
        Err(_) => "192.0.2.0/24".to_owned(),
    };
    field.wrong(report, &format!("`{}` is not a range; `{right}` would be", shown(text)));
    None
}

/// The parts of a list by commas. Blank text has none; a blank between commas is a part, since it
/// is a mistake.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let whole = (!text.trim().is_empty()).then_some(text);
    whole.into_iter().flat_map(|text| text.split(',')).map(str::trim)
}

/// `status.loadBalancer.ingress[].ip`. It is output of somebody, so that what is wrong in it
/// refuses nothing.
pub(crate) fn status_addresses(fields: &Fields<'_, '_>, report: &mut Report<'_>) -> Vec<IpAddr> {
    let mut aside = report.aside();
    let status = fields.map("status", &mut aside);
    let balancer = status.and_then(|status| status.map("loadBalancer", &mut aside));
    let ingress = balancer.map(|balancer| balancer.maps("ingress", &mut aside)).unwrap_or_default();
    let mut addresses = Vec::new();
    for field in ingress.iter().take(MAX_ADDRESSES).filter_map(|entry| entry.field("ip")) {
        addresses.extend(field.address(&mut aside));
    }
    report.take_notices(aside);
    addresses
}
