//! What the plan needs to know of this host, from rtnetlink.
//!
//! Neighbours stay resolved without help: the probes go to every node and its next hop by the
//! kernel's own stack.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use roadstead_netlink::{Link, Netlink, Tables};
use roadstead_router_core::host::{Host, Leg, LegAddress, Route};
use tokio::{sync::watch, time::sleep};

/// However quiet the kernel is, routes are asked for again after this time: a route that changes
/// without a link, an address or a gateway says nothing.
const RESYNC: Duration = Duration::from_secs(10);

/// What is wanted of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Legs by name; `None` = every Ethernet interface that is up.
    pub(crate) interfaces: Option<Vec<Arc<str>>>,
    /// Node addresses to find routes to.
    pub(crate) nodes: BTreeSet<IpAddr>,
}

/// Keeps `host` current, for ever. Owned by `app`; cancelling is safe at any point.
pub(crate) async fn follow(
    netlink: Netlink,
    mut wanted: watch::Receiver<Wanted>,
    host: watch::Sender<Option<Arc<Host>>>,
) {
    let mut tables = netlink.tables();
    loop {
        let (now, want) = (tables.borrow_and_update().clone(), wanted.borrow_and_update().clone());
        if now.is_read() {
            let routes = routes(&netlink, &want.nodes).await;
            publish(&host, describe(&now, &want, routes));
        }
        tokio::select! {
            changed = tables.changed() => if changed.is_err() { return },
            changed = wanted.changed() => if changed.is_err() { return },
            () = sleep(RESYNC) => {}
        }
    }
}

fn publish(host: &watch::Sender<Option<Arc<Host>>>, new: Host) {
    host.send_if_modified(|host| {
        let changed = host.as_deref() != Some(&new);
        if changed {
            *host = Some(Arc::new(new));
        }
        changed
    });
}

async fn routes(netlink: &Netlink, nodes: &BTreeSet<IpAddr>) -> BTreeMap<IpAddr, Route> {
    let mut routes = BTreeMap::new();
    for node in nodes {
        if let Ok(route) = netlink.route_to(*node).await {
            let roadstead_netlink::Route { ifindex, gateway, source, mtu } = route;
            routes.insert(*node, Route { ifindex, source, gateway, mtu });
        }
    }
    routes
}

fn describe(tables: &Tables, wanted: &Wanted, routes: BTreeMap<IpAddr, Route>) -> Host {
    // Only next hops: a segment full of clients that come and go is no reason to plan.
    let hops = routes.iter().map(|(node, route)| (route.ifindex, route.gateway.unwrap_or(*node)));
    let resolved = hops.filter_map(|hop| Some((hop, tables.neighbours.get(&hop)?.mac)));
    Host {
        neighbours: resolved.collect(),
        legs: legs(tables, wanted.interfaces.as_deref()),
        addresses: tables.addresses.iter().map(|address| address.net.addr()).collect(),
        routes,
    }
}

/// The legs by ifindex; `interfaces` = their names, `None` = every Ethernet interface that is up.
pub(crate) fn legs(tables: &Tables, interfaces: Option<&[Arc<str>]>) -> BTreeMap<u32, Leg> {
    let chosen = |link: &&Link| interfaces.is_none_or(|names| names.contains(&link.name));
    let legs = tables.ethernet().filter(chosen);
    legs.filter_map(|link| Some((link.index, leg(tables, link)?))).collect()
}

fn leg(tables: &Tables, link: &Link) -> Option<Leg> {
    let addresses = tables.addresses_of(link.index);
    Some(Leg {
        name: link.name.clone(),
        mac: link.mac?,
        mtu: link.mtu,
        addresses: addresses
            .map(|address| LegAddress { net: address.net, lasting: address.usable })
            .collect(),
        attached: false,
    })
}

#[cfg(test)]
mod tests {
    use roadstead_netlink::{Address, Neighbour};

    use super::*;

    fn link(index: u32, name: &str, mac: Option<[u8; 6]>) -> (u32, Link) {
        let link = Link {
            index,
            name: name.into(),
            mac,
            mtu: 1_500,
            up: true,
            carrier: true,
            enslaved: false,
        };
        (index, link)
    }

    fn tables() -> Tables {
        let address =
            |ifindex, net: &str, usable| Address { ifindex, net: net.parse().unwrap(), usable };
        Tables {
            links: BTreeMap::from([
                link(1, "lo", None),
                link(2, "eth0", Some([2; 6])),
                link(3, "eth1", Some([3; 6])),
            ]),
            addresses: vec![
                address(1, "127.0.0.1/8", false),
                address(2, "192.0.2.1/24", true),
                address(3, "2001:db8::1/64", false),
            ],
            gateways: BTreeSet::new(),
            neighbours: [7, 8, 9]
                .map(|n| {
                    let at = (2, IpAddr::from([192, 0, 2, n]));
                    (at, Neighbour { mac: [n; 6], confirmed: false })
                })
                .into(),
        }
    }

    #[test]
    fn legs_are_the_ethernet_interfaces_that_are_asked_for() {
        let every = describe(&tables(), &Wanted::default(), BTreeMap::new());
        assert_eq!(every.legs.keys().copied().collect::<Vec<_>>(), [2, 3]);
        assert_eq!(every.addresses.len(), 3, "those of the loopback are the host's too");
        assert!(!every.legs[&3].addresses[0].lasting);
        let wanted = Wanted { interfaces: Some(vec!["eth1".into()]), ..Wanted::default() };
        let one = describe(&tables(), &wanted, BTreeMap::new());
        assert_eq!(one.legs.keys().copied().collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn neighbours_are_the_next_hops_of_nodes_and_nobody_else() {
        let route = |gateway: Option<[u8; 4]>| Route {
            ifindex: 2,
            source: None,
            gateway: gateway.map(IpAddr::from),
            mtu: None,
        };
        let routes = BTreeMap::from([
            (IpAddr::from([192, 0, 2, 8]), route(None)),
            (IpAddr::from([198, 51, 100, 1]), route(Some([192, 0, 2, 9]))),
        ]);
        let host = describe(&tables(), &Wanted::default(), routes);
        let expected = [8, 9].map(|n| ((2, IpAddr::from([192, 0, 2, n])), [n; 6]));
        assert_eq!(host.neighbours, expected.into());
    }
}
