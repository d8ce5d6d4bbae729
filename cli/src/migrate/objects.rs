//! MetalLB's objects one by one: what each means here.

use std::sync::Arc;

use roadstead_model::metallb::{AddressPool, L2Advertisement, MetalLb};

use super::{
    Facts,
    verdict::{Object, Verdict},
};

/// All of them, by kind and name.
pub(super) fn all(facts: &Facts, metallb: &MetalLb) -> Vec<Object> {
    let pools = metallb.pools.iter().map(|it| pool(facts, metallb, it));
    let ads = metallb.l2_advertisements.iter().map(|it| advertisement(facts, it));
    let bgp = metallb.bgp_advertisements.iter().map(|it| kept("BGPAdvertisement", &it.name));
    let peers = metallb.peers.iter().map(|it| kept("BGPPeer", &it.name));
    let profiles = metallb.bfd_profiles.iter().map(|it| kept("BFDProfile", &it.name));
    pools.chain(ads).chain(bgp).chain(peers).chain(profiles).collect()
}

fn object(kind: &'static str, name: &str, notes: Vec<String>) -> Object {
    let verdict = if notes.is_empty() { Verdict::Same } else { Verdict::Differs };
    Object { kind, name: name.to_owned(), verdict, notes }
}

fn kept(kind: &'static str, name: &str) -> Object {
    Object { kind, name: name.to_owned(), verdict: Verdict::Kept, notes: Vec::new() }
}

fn pool(facts: &Facts, metallb: &MetalLb, pool: &AddressPool) -> Object {
    let is_in_l2 = !metallb.advertisements_of(pool).is_empty();
    let mut notes = Vec::new();
    if metallb.is_in_bgp(pool) {
        notes.push(match is_in_l2 {
            true => "announced by ARP and NDP only, until BGP is served".to_owned(),
            false => {
                "announced by nothing until BGP is served; an L2Advertisement would".to_owned()
            }
        });
    }
    if is_closed(facts, pool) {
        let what = "its namespaceSelectors match no Namespace: it is open to nobody, where MetalLB \
                    lets in whoever names it";
        notes.push(what.to_owned());
    }
    object("IPAddressPool", &pool.name, notes)
}

/// Whether only namespaces are selected by, and none is there.
fn is_closed(facts: &Facts, pool: &AddressPool) -> bool {
    let Some(allocation) = &pool.allocation else { return false };
    let selectors = &allocation.namespace_selectors;
    let namespaces = &facts.snapshot.namespaces;
    !selectors.is_empty()
        && allocation.namespaces.is_empty()
        && !namespaces.is_empty()
        && !namespaces.values().any(|it| selectors.iter().any(|one| one.matches(&it.labels)))
}

fn advertisement(facts: &Facts, ad: &L2Advertisement) -> Object {
    let mut notes = Vec::new();
    if !ad.node_selectors.is_empty() || ad.prefers_nodes {
        let what = "its node selectors mean nothing outside of the cluster: this host announces";
        notes.push(what.to_owned());
    }
    notes.extend(strange_interfaces(facts, &ad.interfaces));
    object("L2Advertisement", &ad.name, notes)
}

fn strange_interfaces(facts: &Facts, named: &[Arc<str>]) -> Option<String> {
    let here = &facts.interfaces;
    let missing: Vec<&str> =
        named.iter().filter(|name| !here.contains(*name)).map(AsRef::as_ref).collect();
    if missing.is_empty() || here.is_empty() {
        return None;
    }
    let none = if missing.len() == named.len() { ": it announces nothing here" } else { "" };
    let here: Vec<&str> = here.iter().map(AsRef::as_ref).collect();
    Some(format!("this host has no {}{none}; it has {}", missing.join(", "), here.join(", ")))
}
