//! `[[pool]]`: addresses that may be handed out, and to whom.

use std::sync::Arc;

use roadstead_model::{
    AddressRange, Location,
    config::{Announce, Pool, Selector, Sharing},
    special,
};

use crate::{
    limits::Limits,
    parse,
    section::{Placed, Section},
    selector, speaker,
};

/// One `[[pool]]` with its places.
#[derive(Debug)]
pub(crate) struct Read {
    /// Checked as far as it alone can be.
    pub(crate) pool: Pool,
    /// Line of the name.
    pub(crate) place: Location,
    /// `addresses` with their lines.
    pub(crate) ranges: Vec<Placed<AddressRange>>,
    /// Line of `interfaces`.
    pub(crate) interfaces: Option<Location>,
}

/// Ways of announcing, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    L2,
    Bgp,
}

/// Reads one entry; `None` where it has no usable name.
pub(crate) fn read(mut section: Section<'_>) -> Option<Read> {
    let name = section.parsed("name", parse::name);
    if let Some(name) = &name {
        section.rename(format!("pool \"{}\"", name.value));
    }
    let name = section.require("name", name, "\"lan\"");
    let ranges = addresses(&mut section);
    let reserved = reserved(&mut section, &ranges);
    let interfaces = speaker::interfaces(&mut section);
    let policy = Policy::read(&mut section);
    let limits = Limits::read(&mut section);
    section.finish();
    let name = name?;
    let pool = Pool {
        name: name.value,
        addresses: ranges.iter().map(|range| range.value).collect(),
        reserved,
        auto_assign: policy.auto_assign,
        priority: policy.priority,
        namespaces: policy.namespaces,
        namespace_selectors: policy.namespace_selectors,
        service_selectors: policy.service_selectors,
        avoid_buggy_ips: policy.avoid_buggy_ips,
        announce: policy.announce,
        interfaces: interfaces.as_ref().map(|list| list.value.clone()),
        sharing: policy.sharing,
        host_addresses: policy.host_addresses,
        source: None,
        advertisements: None,
        drain: limits.drain,
        cool_down: limits.cool_down,
        quota: limits.quota,
    };
    Some(Read { pool, place: name.place, ranges, interfaces: interfaces.map(|list| list.place) })
}

/// The keys that say who gets the addresses, and how they are shown.
struct Policy {
    auto_assign: bool,
    priority: Option<u32>,
    namespaces: Vec<Arc<str>>,
    namespace_selectors: Vec<Selector>,
    service_selectors: Vec<Selector>,
    avoid_buggy_ips: bool,
    announce: Announce,
    sharing: Sharing,
    host_addresses: bool,
}

impl Policy {
    fn read(section: &mut Section<'_>) -> Self {
        let choices = [
            ("off", Sharing::Off),
            ("key", Sharing::Key),
            ("key-across-namespaces", Sharing::KeyAcrossNamespaces),
            ("when-full", Sharing::WhenFull),
        ];
        Self {
            auto_assign: section.truth("auto_assign", true),
            priority: section
                .number("priority", 0..=u32::MAX)
                .and_then(|priority| (priority.value != 0).then_some(priority.value)),
            namespaces: section
                .list("namespaces", parse::namespace)
                .map(|list| list.value.into_iter().map(|name| name.value).collect())
                .unwrap_or_default(),
            namespace_selectors: selector::read(section, "namespace_selector"),
            service_selectors: selector::read(section, "service_selector"),
            avoid_buggy_ips: section.truth("avoid_buggy_ips", false),
            announce: announce(section),
            sharing: section
                .choice("sharing", &choices)
                .map_or(Sharing::Key, |sharing| sharing.value),
            host_addresses: section.truth("host_addresses", false),
        }
    }
}

fn addresses(section: &mut Section<'_>) -> Vec<Placed<AddressRange>> {
    let list = ranges(section, "addresses");
    let example = "[\"192.0.2.10-192.0.2.50\"]";
    let Some(list) = section.require("addresses", list, example) else { return Vec::new() };
    if list.written == 0 {
        let message = format!("`addresses` of {} is empty: write {example}", section.title());
        section.error(&list.place, message);
    }
    for range in &list.value {
        if let Some(class) = special::first_overlap(&range.value) {
            let title = section.title();
            let message = format!("{title} holds {}, which reaches into {class}", range.value);
            section.error(&range.place, message);
        }
    }
    list.value
}

fn reserved(section: &mut Section<'_>, pool: &[Placed<AddressRange>]) -> Vec<AddressRange> {
    let Some(list) = ranges(section, "reserved") else { return Vec::new() };
    for range in &list.value {
        if !pool.iter().any(|own| own.value.overlaps(&range.value)) {
            let title = section.title();
            let message = format!("`reserved` of {title}: {} is not in the pool", range.value);
            section.warning(&range.place, message);
        }
    }
    list.value.into_iter().map(|range| range.value).collect()
}

/// A list of ranges; a CIDR that names an address inside it is taken as its prefix, and said so.
fn ranges(
    section: &mut Section<'_>,
    key: &'static str,
) -> Option<Placed<Vec<Placed<AddressRange>>>> {
    let both = |text: &str| parse::range(text).map(|range| (range, parse::host_bits(text)));
    let list = section.list(key, both)?;
    let ranges = list.value.into_iter().map(|item| {
        let (range, prefix) = item.value;
        if let Some(prefix) = prefix {
            let title = section.title();
            let message = format!("`{key}` of {title}: taken as {prefix}, which is {range}");
            section.warning(&item.place, message);
        }
        Placed { value: range, place: item.place, written: item.written }
    });
    Some(Placed { value: ranges.collect(), place: list.place, written: list.written })
}

fn announce(section: &mut Section<'_>) -> Announce {
    let by_default = Announce { l2: true, bgp: false };
    let ways = [("l2", Way::L2), ("bgp", Way::Bgp)];
    let Some(list) = section.choices("announce", &ways) else { return by_default };
    let named = |way| list.value.iter().any(|item| item.value == way);
    let announce = Announce { l2: named(Way::L2), bgp: named(Way::Bgp) };
    let title = section.title();
    match announce {
        Announce { l2: false, bgp: true } => {
            let message = format!(
                "{title} is announced by BGP alone, which is not served yet: \
                                   write announce = [\"l2\"]"
            );
            section.error(&list.place, message);
        }
        Announce { l2: true, bgp: true } => {
            section.warning(&list.place, format!("{title}: BGP is not served yet, only l2"));
        }
        Announce { l2: false, bgp: false } if list.written == 0 => {
            let message = format!("`announce` of {title} is empty: write announce = [\"l2\"]");
            section.error(&list.place, message);
        }
        Announce { bgp: false, .. } => {}
    }
    announce
}
