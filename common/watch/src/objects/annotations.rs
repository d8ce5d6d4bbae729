//! What a Service asks of the allocator, and who may reach it: annotations beside their fields.
//!
//! Ours win over MetalLB's, MetalLB's over its old ones (`metallb.universe.tf`, deprecated since
//! 0.14.9). A key that is there wins even when it is empty, as in MetalLB. Ours win over the deprecated
//! `spec.loadBalancerIP`; MetalLB's and that field exclude each other, unless they say the same. What
//! MetalLB writes (`ip-allocated-from-pool`) is neither read nor written: the status has the address.
//! No other annotation is looked at or kept.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use roadstead_model::object::{AddressRequest, MAX_ADDRESSES, MAX_HOSTS, SourceRanges};

use super::{
    fields::{Annotations, Field, Fields, Report, parse_address},
    health_check, metadata,
    words::{hint, shown},
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
/// How many addresses of each family are wanted.
const COUNT: &str = "roadstead.io/address-count";
/// The namespaces whose Services may share.
const SHARE_WITH: &str = "roadstead.io/share-with-namespaces";
/// The name under which the addresses are kept when the Service goes.
const RESERVATION: &str = "roadstead.io/reservation";
/// Kubernetes' own, honoured only where `spec.loadBalancerSourceRanges` is empty.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// Begins every annotation of ours.
const OURS: &str = "roadstead.io/";

/// Most namespaces that one Service shares with.
const MAX_NAMESPACES: usize = 64;
/// Longest name of a host in bytes (RFC 1035 §2.3.4, without the root).
const MAX_HOST: usize = 253;
/// Most ranges of clients of one Service.
const MAX_RANGES: usize = 1_000;

/// Warns of annotations that begin like ours and are none.
pub(crate) fn check_known(annotations: &Fields<'_, '_>, report: &mut Report<'_>) {
    let request = [ADDRESSES, POOL, SHARING].map(|[first, ..]| first);
    let alone = [COUNT, SHARE_WITH, RESERVATION];
    let ours = || request.into_iter().chain(alone).chain(health_check::KEYS);
    for entry in annotations.entries() {
        let is_typo = entry.key.starts_with(OURS) && !ours().any(|known| known == entry.key);
        if is_typo && !report.is_full() {
            let hint = hint(&entry.key, ours());
            let key = shown(&entry.key);
            report.warning(entry.line, format!("annotation {key}: no such annotation{hint}"));
        }
    }
}

/// The addresses, the pool and the sharing that are asked for.
pub(crate) fn request(
    annotations: Annotations<'_, '_, '_>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> AddressRequest {
    let word = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
    let Wanted { addresses, hosts } = addresses(annotations, spec, report);
    AddressRequest {
        addresses,
        hosts,
        count: count(annotations, report),
        pool: chosen(annotations, POOL, report).and_then(|(_, text)| word(text.trim())),
        sharing_key: chosen(annotations, SHARING, report).and_then(|(_, text)| word(text)),
        share_with: share_with(annotations, report),
        reservation: reservation(annotations, report),
    }
}

/// An annotation that nobody else has, with its text.
fn alone<'n, 't>(
    annotations: Annotations<'_, 'n, 't>,
    key: &str,
    report: &mut Report<'_>,
) -> Option<(Field<'n, 't>, &'n str)> {
    let field = annotations?.field(key)?;
    let text = field.text(report)?;
    Some((field, text.trim()))
}

fn count(annotations: Annotations<'_, '_, '_>, report: &mut Report<'_>) -> Option<usize> {
    let (field, text) = alone(annotations, COUNT, report)?;
    let count = text.parse().ok().filter(|count| (1..=MAX_ADDRESSES).contains(count));
    if count.is_none() {
        let right = format!("`{}` is not a number from 1 to {MAX_ADDRESSES}", shown(text));
        field.wrong(report, &right);
    }
    count
}

/// An empty list shares with no other namespace.
fn share_with(
    annotations: Annotations<'_, '_, '_>,
    report: &mut Report<'_>,
) -> Option<Vec<Arc<str>>> {
    let (field, text) = alone(annotations, SHARE_WITH, report)?;
    let mut namespaces: Vec<Arc<str>> = Vec::new();
    for part in parts(text) {
        if metadata::is_label(part) {
            namespaces.push(part.into());
        } else {
            field.wrong(report, &format!("`{}` is not the name of a namespace", shown(part)));
        }
    }
    if namespaces.len() > MAX_NAMESPACES {
        field.wrong(report, &format!("more than {MAX_NAMESPACES} namespaces"));
    }
    namespaces.sort();
    namespaces.dedup();
    Some(namespaces)
}

fn reservation(annotations: Annotations<'_, '_, '_>, report: &mut Report<'_>) -> Option<Arc<str>> {
    let (field, text) = alone(annotations, RESERVATION, report)?;
    if metadata::is_label(text) {
        return Some(text.into());
    }
    let why = format!("`{}` is not 1 to 63 of a-z, 0-9 and '-'", shown(text));
    field.wrong(report, &why);
    None
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
            let what = format!("annotation {key} is deprecated; {new} is read too");
            report.warning(field.line, what);
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

/// What `roadstead.io/addresses` and its like name.
#[derive(Default, PartialEq, Eq)]
struct Wanted {
    addresses: Vec<IpAddr>,
    hosts: Vec<Arc<str>>,
}

fn addresses(
    annotations: Annotations<'_, '_, '_>,
    spec: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> Wanted {
    let [ours, ..] = ADDRESSES;
    let is_ours = |field: &Field<'_, '_>| field.path.ends_with(ours);
    let chosen = chosen(annotations, ADDRESSES, report)
        .filter(|(field, text)| is_ours(field) || !text.trim().is_empty());
    let is_metallbs = chosen.as_ref().is_some_and(|(field, _)| !is_ours(field));
    let listed = chosen.map(|(field, text)| address_list(&field, text, report));
    let field = spec.field("loadBalancerIP");
    let single = match field.as_ref().and_then(|field| field.text(report)) {
        Some(text) if !text.is_empty() => field.as_ref().and_then(|field| field.address(report)),
        _ => None,
    };
    let single = single.map(|address| Wanted { addresses: vec![address], hosts: Vec::new() });
    match (listed, single, field) {
        // As in MetalLB, where one of both may be said: who has an address keeps it meanwhile.
        (Some(listed), Some(single), Some(field)) if listed != single && is_metallbs => {
            field.wrong(
                report,
                "an annotation of MetalLB's asks for another address; leave one of them out",
            );
            listed
        }
        (Some(listed), Some(single), Some(field)) if listed != single => {
            report.notice(
                field.line,
                "spec.loadBalancerIP is not followed: an annotation says something else and wins",
            );
            listed
        }
        (Some(listed), _, _) => listed,
        (None, single, _) => single.unwrap_or_default(),
    }
}

/// A list by commas, of addresses and of host names.
fn address_list(field: &Field<'_, '_>, text: &str, report: &mut Report<'_>) -> Wanted {
    let mut wanted = Wanted::default();
    for part in parts(text) {
        match (parse_address(part), host(part)) {
            (Ok(address), _) if wanted.addresses.contains(&address) => {
                field.wrong(report, &format!("{address} is there twice"));
            }
            (Ok(address), _) => wanted.addresses.push(address),
            (Err(_), Some(host)) if wanted.hosts.contains(&host) => {
                field.wrong(report, &format!("{host} is there twice"));
            }
            (Err(_), Some(host)) => wanted.hosts.push(host),
            (Err(wrong), None) => field.wrong(report, &wrong),
        }
        if wanted.addresses.len() > MAX_ADDRESSES || wanted.hosts.len() > MAX_HOSTS {
            let most = format!("more than {MAX_ADDRESSES} addresses or {MAX_HOSTS} host names");
            field.wrong(report, &most);
            return Wanted::default();
        }
    }
    wanted
}

/// The name of a host with its domain, in lower case: at least two labels, the last with a letter at
/// its beginning, so that a mistyped address is none.
fn host(text: &str) -> Option<Arc<str>> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let (_, last) = name.rsplit_once('.')?;
    let fits = name.len() <= MAX_HOST && name.split('.').all(metadata::is_label);
    let is_name = fits && last.starts_with(|c: char| c.is_ascii_lowercase());
    is_name.then(|| name.into())
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
