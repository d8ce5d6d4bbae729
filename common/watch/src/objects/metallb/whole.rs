//! The objects of a source together: what names another, overlaps it or contradicts it. One thing
//! wrong refuses the whole, as MetalLB does.

use std::{collections::BTreeMap, sync::Arc};

use roadstead_model::{
    AddressRange, Family, Location, Problem,
    metallb::{
        AddressPool, BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement, MetalLb,
        Scope,
    },
    problem::Severity,
};

use super::{CommunityName, Part};
use crate::objects::ObjectId;

/// Most ranges of addresses of one source (S7).
const MAX_RANGES: usize = 10_000;

/// What came of the objects of a source.
pub(crate) struct Whole {
    /// The configuration; none where anything is wrong with it.
    pub(crate) objects: Option<MetalLb>,
    /// What is wrong, each with its object and field.
    pub(crate) problems: Vec<Problem>,
}

/// An object with its identity and place.
pub(crate) type Placed<'p> = (&'p ObjectId, &'p Location, &'p Part);

/// Puts objects together that are right one by one.
pub(crate) fn whole<'p>(parts: impl IntoIterator<Item = Placed<'p>>) -> Whole {
    let mut sorted = Sorted::default();
    for (id, location, part) in parts {
        sorted.add(Place { id, location }, part);
    }
    let mut problems = Vec::new();
    sorted.check_pools(&mut problems);
    let aliases = sorted.aliases(&mut problems);
    let advertisements = sorted.bgp_advertisements(&aliases, &mut problems);
    sorted.check_scopes(&mut problems);
    sorted.check_advertisements(&mut problems);
    sorted.check_peers(&mut problems);
    let is_refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    let objects = (!is_refused).then(|| sorted.into_objects(advertisements));
    Whole { objects, problems }
}

/// Which object, and where.
#[derive(Clone, Copy)]
struct Place<'p> {
    id: &'p ObjectId,
    location: &'p Location,
}

impl Place<'_> {
    fn error(&self, what: &str) -> Problem {
        Problem::error(self.location.clone(), format!("{}: {what}", self.id))
    }

    fn warning(&self, what: &str) -> Problem {
        Problem::warning(self.location.clone(), format!("{}: {what}", self.id))
    }
}

type List<'p, T> = Vec<(Place<'p>, &'p T)>;

/// The objects by kind, each kind in the order of names.
#[derive(Default)]
struct Sorted<'p> {
    pools: List<'p, AddressPool>,
    l2: List<'p, L2Advertisement>,
    bgp: Vec<(Place<'p>, &'p BgpAdvertisement, &'p [CommunityName])>,
    peers: List<'p, BgpPeer>,
    profiles: List<'p, BfdProfile>,
    communities: List<'p, Vec<(Arc<str>, Community)>>,
}

type Aliases<'p> = BTreeMap<&'p str, Community>;

impl<'p> Sorted<'p> {
    fn add(&mut self, place: Place<'p>, part: &'p Part) {
        match part {
            Part::Pool(pool) => self.pools.push((place, pool)),
            Part::L2Advertisement(ad) => self.l2.push((place, ad)),
            Part::BgpAdvertisement(ad, communities) => self.bgp.push((place, ad, communities)),
            Part::Peer(peer) => self.peers.push((place, peer)),
            Part::BfdProfile(profile) => self.profiles.push((place, profile)),
            Part::Community(aliases) => self.communities.push((place, aliases)),
        }
    }

    fn into_objects(self, bgp_advertisements: Vec<BgpAdvertisement>) -> MetalLb {
        MetalLb {
            pools: by_name(self.pools, |pool| &pool.name),
            l2_advertisements: by_name(self.l2, |ad| &ad.name),
            bgp_advertisements,
            peers: by_name(self.peers, |peer| &peer.name),
            bfd_profiles: by_name(self.profiles, |profile| &profile.name),
        }
    }

    /// No address belongs to two pools: all ranges by their first address, each against the one so
    /// far that reaches furthest.
    fn check_pools(&self, problems: &mut Vec<Problem>) {
        let of = |(place, pool): &(Place<'p>, &'p AddressPool)| {
            let place = *place;
            pool.addresses.iter().map(move |range| (*range, place)).collect::<Vec<_>>()
        };
        let mut ranges: Vec<(AddressRange, Place<'p>)> =
            self.pools.iter().flat_map(of).take(MAX_RANGES.saturating_add(1)).collect();
        if let Some((_, place)) = ranges.get(MAX_RANGES) {
            let what =
                format!("spec.addresses: with those before it more than {MAX_RANGES} ranges");
            return problems.push(place.error(&what));
        }
        ranges.sort_by_key(|(range, place)| (*range, place.id));
        let mut furthest: Option<(AddressRange, Place<'p>)> = None;
        for (range, place) in ranges {
            match furthest {
                Some((met, other)) if met.overlaps(&range) => {
                    let what = format!("spec.addresses: {range} overlaps {met} of {}", other.id);
                    problems.push(place.error(&what));
                    if range.last() > met.last() {
                        furthest = Some((range, place));
                    }
                }
                _ => furthest = Some((range, place)),
            }
        }
    }

    fn aliases(&self, problems: &mut Vec<Problem>) -> Aliases<'p> {
        let mut aliases = Aliases::new();
        for (place, entries) in &self.communities {
            for (name, value) in entries.iter() {
                if aliases.insert(name, *value).is_some() {
                    let what = format!("spec.communities: another object names `{name}` too");
                    problems.push(place.error(&what));
                }
            }
        }
        aliases
    }

    /// The BGP advertisements with their communities, by name.
    fn bgp_advertisements(
        &self,
        aliases: &Aliases<'_>,
        problems: &mut Vec<Problem>,
    ) -> Vec<BgpAdvertisement> {
        let resolved = self.bgp.iter().map(|(place, ad, names)| {
            let communities = resolved(place, names, aliases, problems);
            BgpAdvertisement { communities, ..(*ad).clone() }
        });
        let mut all: Vec<_> = resolved.collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// A pool that an advertisement names and that is not there is no error in MetalLB; here neither.
    fn check_scopes(&self, problems: &mut Vec<Problem>) {
        let l2 = self.l2.iter().map(|(place, ad)| (place, &ad.scope));
        let bgp = self.bgp.iter().map(|(place, ad, _)| (place, &ad.scope));
        for (place, scope) in l2.chain(bgp) {
            problems.extend(self.strangers(place, scope));
        }
        for (place, ad, _) in &self.bgp {
            let is_there =
                |name: &&Arc<str>| self.peers.iter().any(|(_, peer)| peer.name == **name);
            let missing = ad.peers.iter().find(|name| !is_there(name));
            problems.extend(
                missing.map(|name| {
                    place.warning(&format!("spec.peers: there is no BGPPeer `{name}`"))
                }),
            );
        }
    }

    fn strangers(&self, place: &Place<'_>, scope: &Scope) -> Option<Problem> {
        let is_there = |name: &&Arc<str>| self.pools.iter().any(|(_, pool)| pool.name == **name);
        let name = scope.pools.iter().find(|name| !is_there(name))?;
        Some(place.warning(&format!("spec.ipAddressPools: there is no IPAddressPool `{name}`")))
    }

    fn check_advertisements(&self, problems: &mut Vec<Problem>) {
        for (place, ad, _) in &self.bgp {
            let covered = self.pools.iter().filter(|(_, pool)| ad.scope.covers(pool));
            problems.extend(covered.filter_map(|(_, pool)| too_wide(place, ad, pool)));
        }
        for (index, (place, ad, _)) in self.bgp.iter().enumerate() {
            let earlier = self.bgp.iter().take(index);
            let contradicted =
                |(_, other, _): &&(Place<'_>, &BgpAdvertisement, &[CommunityName])| {
                    contradict(ad, other, self.pools.iter().map(|(_, pool)| *pool))
                };
            if let Some((other, ..)) = earlier.clone().find(contradicted) {
                let what = format!(
                    "spec.localPref: {} says another for the same pools, peers, nodes and lengths",
                    other.id
                );
                problems.push(place.error(&what));
            }
        }
    }

    fn check_peers(&self, problems: &mut Vec<Problem>) {
        let has_v6 = self.pools.iter().any(|(_, pool)| pool.addresses.iter().any(is_v6));
        for (index, (place, peer)) in self.peers.iter().enumerate() {
            problems.extend(self.profile(place, peer, has_v6));
            let others = self.peers.iter().take(index);
            let clash = others.filter_map(|(other, of)| Some((other, clash(peer, of)?))).next();
            problems
                .extend(clash.map(|(other, what)| place.error(&format!("{what} {}", other.id))));
        }
    }

    /// The BFD profile that a peer names: it must be there, and its echo mode is for IPv4 alone.
    fn profile(&self, place: &Place<'_>, peer: &BgpPeer, has_v6: bool) -> Option<Problem> {
        let name = peer.bfd_profile.as_ref()?;
        match self.profiles.iter().find(|(_, profile)| profile.name == *name) {
            None => Some(place.error(&format!("spec.bfdProfile: there is no BFDProfile `{name}`"))),
            Some((_, profile)) if profile.echo_mode && has_v6 => {
                let what = format!(
                    "spec.bfdProfile: echoMode of `{name}` is for IPv4 alone, and there is a pool of IPv6"
                );
                Some(place.error(&what))
            }
            Some(_) => None,
        }
    }
}

fn is_v6(range: &AddressRange) -> bool {
    range.family() == Family::V6
}

fn by_name<T: Clone>(list: List<'_, T>, name: impl Fn(&T) -> &Arc<str>) -> Vec<T> {
    let mut all: Vec<T> = list.into_iter().map(|(_, object)| object.clone()).collect();
    all.sort_by(|a, b| name(a).cmp(name(b)));
    all
}

/// The communities of an advertisement, none twice.
fn resolved(
    place: &Place<'_>,
    names: &[CommunityName],
    aliases: &Aliases<'_>,
    problems: &mut Vec<Problem>,
) -> Vec<Community> {
    let mut communities = Vec::new();
    for name in names {
        let value = match name {
            CommunityName::Value(value) => Some(*value),
            CommunityName::Alias(alias) => aliases.get(&**alias).copied(),
        };
        match (value, name) {
            (Some(value), _) if communities.contains(&value) => {
                problems.push(place.error(&format!("spec.communities: {value} is there twice")));
            }
            (Some(value), _) => communities.push(value),
            (None, CommunityName::Alias(alias)) => {
                let what = format!("spec.communities: no Community names `{alias}`");
                problems.push(place.error(&what));
            }
            (None, CommunityName::Value(_)) => {}
        }
    }
    communities
}

/// An aggregate that reaches beyond every prefix of an entry of the pool would announce addresses
/// that are not in it (S1).
fn too_wide(place: &Place<'_>, ad: &BgpAdvertisement, pool: &AddressPool) -> Option<Problem> {
    let wrong = pool.addresses.iter().find_map(|range| {
        let length = length_for(ad, range);
        let widest = widest_prefix(range);
        (length < widest).then_some((length, widest, range))
    });
    let (length, widest, range) = wrong?;
    let what = format!(
        "spec.aggregationLength: /{length} is wider than any prefix of {range} in IPAddressPool `{}`; at least /{widest} is right",
        pool.name
    );
    Some(place.error(&what))
}

fn length_for(ad: &BgpAdvertisement, range: &AddressRange) -> u8 {
    match range.family() {
        Family::V4 => ad.aggregation_length,
        Family::V6 => ad.aggregation_length_v6,
    }
}

/// The length of the widest prefix that lies within a range.
fn widest_prefix(range: &AddressRange) -> u8 {
    let (bits, first, last) = match (range.first(), range.last()) {
        (std::net::IpAddr::V4(a), std::net::IpAddr::V4(b)) => {
            (32_u8, u128::from(a.to_bits()), u128::from(b.to_bits()))
        }
        (a, b) => (128, in_bits(a), in_bits(b)),
    };
    let fits = |length: u8| {
        let host = u32::from(bits.saturating_sub(length));
        let Some(size) = 1_u128.checked_shl(host) else { return first == 0 && last == u128::MAX };
        let mask = size.saturating_sub(1);
        let start = first.checked_add(mask).map(|end| end & !mask);
        start.and_then(|start| start.checked_add(mask)).is_some_and(|end| end <= last)
    };
    (0..=bits).find(|length| fits(*length)).unwrap_or(bits)
}

fn in_bits(address: std::net::IpAddr) -> u128 {
    match address {
        std::net::IpAddr::V4(v4) => u128::from(v4.to_bits()),
        std::net::IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether two advertisements give the same announcement different preferences. Which nodes a
/// selector means is not known here: those that differ are taken for disjoint, and those of
/// Services are compared when something is announced.
fn contradict<'p>(
    a: &BgpAdvertisement,
    b: &BgpAdvertisement,
    mut pools: impl Iterator<Item = &'p AddressPool>,
) -> bool {
    let peers_meet = a.peers.is_empty()
        || b.peers.is_empty()
        || a.peers.iter().any(|peer| b.peers.contains(peer));
    let services_meet = a.service_selectors.is_empty() && b.service_selectors.is_empty();
    let lengths = |ad: &BgpAdvertisement, range: &AddressRange| length_for(ad, range);
    let same = |pool: &AddressPool| {
        let meets = |range: &AddressRange| lengths(a, range) == lengths(b, range);
        a.scope.covers(pool) && b.scope.covers(pool) && pool.addresses.iter().any(meets)
    };
    a.local_preference != b.local_preference
        && peers_meet
        && services_meet
        && a.node_selectors == b.node_selectors
        && pools.any(same)
}

/// What two peers that one node may have cannot both say.
fn clash(a: &BgpPeer, b: &BgpPeer) -> Option<&'static str> {
    if !a.node_selectors.is_empty()
        && !b.node_selectors.is_empty()
        && a.node_selectors != b.node_selectors
    {
        return None;
    }
    if a.vrf == b.vrf && a.neighbour == b.neighbour {
        return Some("spec: the same neighbour in the same VRF as");
    }
    if a.vrf == b.vrf && a.my_asn != b.my_asn {
        return Some("spec.myASN: another in the same VRF than");
    }
    if a.router_id.is_some() && b.router_id.is_some() && a.router_id != b.router_id {
        return Some("spec.routerID: another than");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_prefix_of_a_range() {
        for (range, wanted) in [
            ("192.0.2.0/24", 24),
            ("192.0.2.0-192.0.2.255", 24),
            ("192.0.2.1-192.0.2.254", 26),
            ("192.0.2.2-192.0.2.254", 26),
            ("192.0.2.7/32", 32),
            ("192.0.2.1-192.0.2.2", 32),
            ("0.0.0.0/0", 0),
            ("255.255.255.255/32", 32),
            ("2001:db8::/64", 64),
            ("2001:db8::1-2001:db8::3", 127),
            ("::/0", 0),
        ] {
            assert_eq!(widest_prefix(&range.parse().unwrap()), wanted, "{range}");
        }
    }
}
