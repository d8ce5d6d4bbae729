//! The host as the speaker needs it: the legs it may announce on, and the addresses around the pools
//! that belong to somebody already.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use roadstead_netlink::{Link, Tables};
use roadstead_speaker_core::{
    gate::{self, Leg},
    ipam::{self, Host, Interface},
};

/// What the host looks like now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Surroundings {
    /// Legs to announce on, by name.
    pub(crate) legs: Vec<LegFacts>,
    /// For the allocator.
    pub(crate) host: Host,
}

/// One leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LegFacts {
    /// Interface name.
    pub(crate) name: Leg,
    /// Interface index: a leg that vanished and returned has another.
    pub(crate) ifindex: u32,
    /// Our MAC address on it.
    pub(crate) mac: [u8; 6],
    /// Our addresses on it, with their connected prefixes.
    pub(crate) addresses: Vec<IpNet>,
}

impl Surroundings {
    /// The host, with the legs that the configuration names, or every Ethernet interface that is up
    /// and has an address.
    pub(crate) fn of(tables: &Tables, named: Option<&[Arc<str>]>) -> Self {
        let chosen = |link: &&Link| named.is_none_or(|names| names.contains(&link.name));
        let legs = tables.ethernet().filter(chosen).filter_map(|link| leg(tables, link));
        let interfaces = tables.links.values().map(|link| Interface {
            name: link.name.clone(),
            addresses: tables.addresses_of(link.index).map(|address| address.net).collect(),
        });
        let mut legs: Vec<_> = legs.collect();
        legs.sort_by(|a, b| a.name.cmp(&b.name));
        Self {
            legs,
            host: Host {
                interfaces: interfaces.collect(),
                gateways: tables.gateways.clone(),
                ..Host::default()
            },
        }
    }

    /// Those of the named interfaces that are no leg, in their order.
    pub(crate) fn missing<'n>(&self, named: Option<&'n [Arc<str>]>) -> Vec<&'n str> {
        let is_leg = |name: &str| self.legs.iter().any(|leg| *leg.name == *name);
        let names = named.unwrap_or_default().iter().map(AsRef::as_ref);
        names.filter(|name| !is_leg(name)).collect()
    }

    /// The legs on which an address is announced: those whose connected prefix holds it; where none
    /// does (a prefix that a router sends here without a next hop), all of them. A pool that names
    /// interfaces is visible on no other.
    pub(crate) fn legs_of(&self, address: IpAddr, visible_on: Option<&[Arc<str>]>) -> Vec<Leg> {
        let visible = |leg: &&LegFacts| visible_on.is_none_or(|names| names.contains(&leg.name));
        let names = |legs: Vec<&LegFacts>| legs.into_iter().map(|leg| leg.name.clone()).collect();
        let (connected, others): (Vec<_>, Vec<_>) =
            self.legs.iter().filter(visible).partition(|leg| leg.is_connected(address));
        if connected.is_empty() { names(others) } else { names(connected) }
    }

    /// An address of the allocator as the gate sees it.
    pub(crate) fn holding(&self, held: &ipam::Holding) -> gate::Holding {
        gate::Holding {
            address: held.address,
            kind: held.kind,
            live: held.live.clone(),
            leaving: held.leaving.clone(),
            legs: self.legs_of(held.address, held.announce_on.as_deref()),
            l2: held.announce.l2,
            since: held.since,
        }
    }
}

impl LegFacts {
    fn is_connected(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|net| net.contains(&address))
    }
}

fn leg(tables: &Tables, link: &Link) -> Option<LegFacts> {
    let addresses: Vec<IpNet> = tables.addresses_of(link.index).map(|a| a.net).collect();
    // Without a carrier nobody hears a probe, and an address would pass for free; when it comes the
    // leg is new (RFC 5227 §2.1: probe when the link becomes active).
    if addresses.is_empty() || !link.carrier {
        return None;
    }
    Some(LegFacts { name: link.name.clone(), ifindex: link.index, mac: link.mac?, addresses })
}

#[cfg(test)]
mod tests {
    use roadstead_netlink::Address;

    use super::*;

    fn link(index: u32, name: &str) -> Link {
        Link {
            index,
            name: name.into(),
            mac: Some([2, 0, 0, 0, 0, u8::try_from(index).unwrap()]),
            mtu: 1500,
            up: true,
            carrier: true,
            enslaved: false,
        }
    }

    fn address(ifindex: u32, net: &str) -> Address {
        Address { ifindex, net: net.parse().unwrap(), usable: true }
    }

    fn host() -> Tables {
        let mut tables = Tables::default();
        for (index, name) in [(2, "lan"), (3, "wan"), (4, "spare")] {
            tables.links.insert(index, link(index, name));
        }
        tables.links.insert(1, Link { mac: None, ..link(1, "lo") });
        tables.addresses = vec![address(2, "192.0.2.5/24"), address(3, "198.51.100.5/24")];
        tables
    }

    fn names(legs: &[Leg]) -> Vec<&str> {
        legs.iter().map(AsRef::as_ref).collect()
    }

    #[test]
    fn an_address_is_announced_where_its_prefix_is_connected() {
        let host = Surroundings::of(&host(), None);
        let legs = host.legs_of("192.0.2.10".parse().unwrap(), None);
        assert_eq!(names(&legs), ["lan"]);
    }

    #[test]
    fn an_address_of_no_connected_prefix_is_announced_on_every_leg() {
        let host = Surroundings::of(&host(), None);
        let legs = host.legs_of("203.0.113.10".parse().unwrap(), None);
        assert_eq!(names(&legs), ["lan", "wan"]);
    }

    #[test]
    fn a_pool_that_names_its_legs_is_silent_elsewhere() {
        let host = Surroundings::of(&host(), None);
        let wan = ["wan".into()];
        let legs = host.legs_of("192.0.2.10".parse().unwrap(), Some(&wan));
        assert_eq!(names(&legs), ["wan"]);
        let gone = ["dmz".into()];
        assert!(host.legs_of("192.0.2.10".parse().unwrap(), Some(&gone)).is_empty());
    }

    #[test]
    fn an_interface_without_a_carrier_is_no_leg() {
        let mut host = host();
        host.links.insert(3, Link { carrier: false, ..link(3, "wan") });
        let host = Surroundings::of(&host, None);
        assert_eq!(host.legs.iter().map(|leg| leg.name.as_ref()).collect::<Vec<_>>(), ["lan"]);
    }

    #[test]
    fn only_legs_that_are_named_and_have_an_address_are_taken() {
        let named = ["lan".into(), "spare".into()];
        let host = Surroundings::of(&host(), Some(&named));
        assert_eq!(host.legs.len(), 1);
        assert_eq!(host.missing(Some(&named)), ["spare"]);
        assert!(host.missing(None).is_empty());
        assert_eq!(host.host.interfaces.len(), 4, "the allocator avoids every address of the host");
    }
}
