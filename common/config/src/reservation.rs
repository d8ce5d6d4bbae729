//! `[[reservation]]`: addresses that are kept for a Service or a namespace.

use std::net::IpAddr;

use roadstead_model::{
    AddressRange, Location, ServiceKey, SourceName,
    config::{Beneficiary, Reservation},
};

use crate::{
    parse, pool,
    section::{Placed, Problems, Section},
};

/// Most addresses of one reservation: what one Service can hold.
const ADDRESSES_MAX: usize = 2 * roadstead_model::object::MAX_ADDRESSES;

/// One `[[reservation]]` with its places.
#[derive(Debug)]
pub(crate) struct Read {
    /// Checked as far as it alone can be.
    pub(crate) reservation: Reservation,
    /// Line of the name.
    pub(crate) place: Location,
    /// `addresses` with their lines.
    addresses: Vec<Placed<IpAddr>>,
}

/// Reads one entry; `None` where it has no usable name or is for nobody.
pub(crate) fn read(mut section: Section<'_>) -> Option<Read> {
    let name = section.parsed("name", parse::name);
    if let Some(name) = &name {
        section.rename(format!("reservation \"{}\"", name.value));
    }
    let name = section.require("name", name, "\"db\"");
    let addresses = addresses(&mut section);
    let beneficiary = beneficiary(&mut section);
    section.finish();
    let (name, beneficiary) = (name?, beneficiary?);
    let all = addresses.iter().map(|address| address.value).collect();
    let reservation = Reservation { name: name.value, addresses: all, beneficiary };
    Some(Read { reservation, place: name.place, addresses })
}

fn addresses(section: &mut Section<'_>) -> Vec<Placed<IpAddr>> {
    let example = "[\"192.0.2.10\"]";
    let list = section.list("addresses", parse::address);
    let Some(list) = section.require("addresses", list, example) else { return Vec::new() };
    let title = section.title();
    if list.written == 0 {
        section.error(&list.place, format!("`addresses` of {title} is empty: write {example}"));
    }
    if list.value.len() > ADDRESSES_MAX {
        let count = list.value.len();
        let message = format!("{title} has {count} addresses; one holds {ADDRESSES_MAX} at most");
        section.error(&list.place, message);
    }
    list.value
}

/// One Service, or a namespace.
fn beneficiary(section: &mut Section<'_>) -> Option<Beneficiary> {
    let written = (section.has("service"), section.has("namespace"));
    let service = section.parsed("service", service);
    let namespace = section.parsed("namespace", namespace);
    match written {
        (true, false) => service.map(|service| service.value),
        (false, true) => namespace.map(|namespace| namespace.value),
        (both, _) => {
            let title = section.title();
            let what = if both {
                "both `service` and `namespace`"
            } else {
                "neither `service` nor `namespace`"
            };
            let message = format!(
                "{title} has {what}: write service = \"local/default/db\", or namespace = \"local/default\""
            );
            section.error(&section.place, message);
            None
        }
    }
}

fn service(text: &str) -> Result<Beneficiary, String> {
    let wrong =
        |_| format!("\"{}\" is no service: write SOURCE/NAMESPACE/NAME", text.escape_debug());
    text.parse::<ServiceKey>().map(Beneficiary::Service).map_err(wrong)
}

fn namespace(text: &str) -> Result<Beneficiary, String> {
    let shown = text.escape_debug();
    let wrong = || format!("\"{shown}\" is no namespace of a source: write SOURCE/NAMESPACE");
    let (source, namespace) = text.split_once('/').ok_or_else(wrong)?;
    let source = SourceName::new(parse::name(source)?);
    Ok(Beneficiary::Namespace { source, namespace: parse::namespace(namespace)? })
}

/// No name twice, no address twice, and each where it can be handed out.
pub(crate) fn check(reads: &[Read], pools: &[pool::Read], problems: &Problems) {
    for (index, read) in reads.iter().enumerate() {
        let earlier = reads.get(..index).unwrap_or_default();
        let name = &read.reservation.name;
        if let Some(first) = earlier.iter().find(|other| other.reservation.name == *name) {
            let message =
                format!("reservation \"{name}\" is written twice: first at {}", first.place);
            problems.error(&read.place, message);
        }
        for (at, address) in read.addresses.iter().enumerate() {
            let own = read.addresses.get(..at).unwrap_or_default();
            let others = earlier.iter().flat_map(|other| &other.addresses);
            twice(name, address, others.chain(own), problems);
            placed(name, address, pools, problems);
        }
    }
}

fn twice<'r>(
    name: &str,
    address: &Placed<IpAddr>,
    mut earlier: impl Iterator<Item = &'r Placed<IpAddr>>,
    problems: &Problems,
) {
    if let Some(first) = earlier.find(|other| other.value == address.value) {
        let message = format!(
            "reservation \"{name}\": {} is reserved already ({}); an address is kept for one",
            address.value, first.place
        );
        problems.error(&address.place, message);
    }
}

/// A pool may be read from a cluster, so that an address of no `[[pool]]` may still come true.
fn placed(name: &str, address: &Placed<IpAddr>, pools: &[pool::Read], problems: &Problems) {
    let holds = |ranges: &[AddressRange]| ranges.iter().any(|range| range.contains(address.value));
    let Some(read) = pools.iter().find(|read| holds(&read.pool.addresses)) else {
        let message = format!(
            "reservation \"{name}\": {} lies in no [[pool]]: nobody gets it from there",
            address.value
        );
        return problems.warning(&address.place, message);
    };
    if holds(&read.pool.reserved) {
        let message = format!(
            "reservation \"{name}\": {} is `reserved` in pool \"{}\" ({}), which hands it out to \
             nobody: take it out there",
            address.value, read.pool.name, read.place
        );
        problems.error(&address.place, message);
    }
}
