//! What the plan needs to know of this host: legs, addresses, routes and neighbours.
//!
//! The daemon gathers these from rtnetlink; here are the choices that follow from them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use roadstead_model::Family;

use crate::maps::Mac;

/// This host, as the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Interfaces towards clients and nodes, by ifindex.
    pub legs: BTreeMap<u32, Leg>,
    /// Every address of this host, on whatever interface.
    pub addresses: BTreeSet<IpAddr>,
    /// The route to each node address that has one.
    pub routes: BTreeMap<IpAddr, Route>,
    /// Resolved neighbours by leg and address.
    pub neighbours: BTreeMap<(u32, IpAddr), Mac>,
}

/// One interface towards clients or nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leg {
    /// Interface name.
    pub name: Arc<str>,
    /// Its MAC.
    pub mac: Mac,
    /// Largest packet, in bytes of IP.
    pub mtu: u32,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<LegAddress>,
    /// Whether the program is attached to it.
    pub attached: bool,
}

/// One address of a leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegAddress {
    /// The address with its prefix.
    pub net: IpNet,
    /// Whether it may be the source of flows that outlive it not: neither temporary (RFC 8981), nor
    /// deprecated or tentative (RFC 4862), nor link-local.
    pub lasting: bool,
}

/// The route to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Leg that it leaves by.
    pub ifindex: u32,
    /// The source that the kernel would choose (`RTA_PREFSRC`).
    pub source: Option<IpAddr>,
    /// Next hop; `None` = on link.
    pub gateway: Option<IpAddr>,
    /// `RTAX_MTU` of the route, in bytes of IP; `None` = the leg's.
    pub mtu: Option<u32>,
}

impl Host {
    /// The leg of that name.
    pub fn leg_named(&self, name: &str) -> Option<(u32, &Leg)> {
        self.legs.iter().find(|(_, leg)| &*leg.name == name).map(|(index, leg)| (*index, leg))
    }

    /// The source towards `destination`: the kernel's own choice where that address lasts, else the
    /// leg's address whose prefix is nearest to the next hop.
    pub fn source(&self, destination: IpAddr, route: &Route) -> Option<IpAddr> {
        let leg = self.legs.get(&route.ifindex)?;
        let family = Family::of(destination);
        let lasting = |address: &&LegAddress| address.lasting && is_of(address.net, family);
        let mut candidates = leg.addresses.iter().filter(lasting);
        if let Some(preferred) = route.source
            && (candidates.clone().any(|address| address.net.addr() == preferred)
                || !leg.addresses.iter().any(|address| address.net.addr() == preferred)
                    && self.addresses.contains(&preferred)
                    && Family::of(preferred) == family)
        {
            return Some(preferred);
        }
        let next_hop = route.gateway.unwrap_or(destination);
        let near = candidates.clone().filter(|address| address.net.contains(&next_hop));
        let nearest = near.max_by_key(|address| address.net.prefix_len());
        nearest.or_else(|| candidates.next()).map(|address| address.net.addr())
    }
}

fn is_of(net: IpNet, family: Family) -> bool {
    Family::of(net.addr()) == family
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(addresses: &[(&str, bool)]) -> Host {
        let addresses: Vec<LegAddress> = addresses
            .iter()
            .map(|(net, lasting)| LegAddress { net: net.parse().unwrap(), lasting: *lasting })
            .collect();
        let all = addresses.iter().map(|address| address.net.addr()).collect();
        let leg = Leg { name: "eth0".into(), mac: [2; 6], mtu: 1_500, addresses, attached: true };
        Host { legs: BTreeMap::from([(2, leg)]), addresses: all, ..Host::default() }
    }

    fn source(host: &Host, to: &str, preferred: Option<&str>, gateway: Option<&str>) -> String {
        let route = Route {
            ifindex: 2,
            source: preferred.map(|address| address.parse().unwrap()),
            gateway: gateway.map(|address| address.parse().unwrap()),
            mtu: None,
        };
        let source = host.source(to.parse().unwrap(), &route);
        source.map_or_else(|| "none".to_owned(), |address| address.to_string())
    }

    #[test]
    fn the_kernels_choice_stands_where_it_lasts() {
        let host = host(&[("192.0.2.1/24", true), ("192.0.2.2/24", true)]);
        assert_eq!(source(&host, "192.0.2.9", Some("192.0.2.2"), None), "192.0.2.2");
    }

    #[test]
    fn a_temporary_address_is_never_a_source() {
        let host = host(&[
            ("2001:db8::aaaa/64", false),
            ("2001:db8:1::1/64", true),
            ("2001:db8::1/64", true),
            ("fe80::1/64", false),
        ]);
        let temporary = Some("2001:db8::aaaa");
        assert_eq!(source(&host, "2001:db8::9", temporary, None), "2001:db8::1");
        assert_eq!(source(&host, "2001:db8:9::9", temporary, Some("fe80::9")), "2001:db8:1::1");
    }

    #[test]
    fn a_preferred_source_on_another_interface_counts() {
        let mut host = host(&[("192.0.2.1/24", true)]);
        host.addresses.insert("198.51.100.1".parse().unwrap());
        assert_eq!(source(&host, "192.0.2.9", Some("198.51.100.1"), None), "198.51.100.1");
        assert_eq!(source(&host, "192.0.2.9", Some("203.0.113.1"), None), "192.0.2.1");
    }

    #[test]
    fn a_family_without_an_address_has_no_source() {
        assert_eq!(source(&host(&[("192.0.2.1/24", true)]), "2001:db8::9", None, None), "none");
    }
}
