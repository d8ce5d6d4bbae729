//! Who stands behind a MAC address: for people, where another station claims an address of ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{NodeKey, Snapshot};
use roadstead_netlink::Tables;
use roadstead_wire::Mac;

/// The addresses of each neighbour that the kernel knows. Nodes are among them as soon as the router
/// probes them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stations(BTreeMap<[u8; 6], BTreeSet<IpAddr>>);

impl Stations {
    /// Those of the host.
    pub(crate) fn of(tables: &Tables) -> Self {
        let mut stations: BTreeMap<_, BTreeSet<IpAddr>> = BTreeMap::new();
        for ((_, address), neighbour) in &tables.neighbours {
            stations.entry(neighbour.mac).or_default().insert(*address);
        }
        Self(stations)
    }

    /// A station that claims `address`: its MAC address, and the node that it is, if it is one.
    pub(crate) fn in_words(&self, mac: Mac, address: IpAddr, snapshot: &Snapshot) -> Arc<str> {
        let Some(node) = self.node(mac, snapshot) else { return mac.to_string().into() };
        // Only ARP: the kernel answers a neighbour solicitation on the interface that has the address.
        let hint = if address.is_ipv4() {
            "; kube-proxy in ipvs mode makes a node answer ARP for every address in a Service's \
             status unless ipvs.strictARP is true in its configuration"
        } else {
            ""
        };
        format!("{mac} (node {node}{hint})").into()
    }

    fn node<'a>(&self, mac: Mac, snapshot: &'a Snapshot) -> Option<&'a NodeKey> {
        let own = self.0.get(&mac.octets())?;
        let mut nodes = snapshot.nodes.values();
        nodes.find(|node| node.addresses.iter().any(|a| own.contains(a))).map(|node| &node.key)
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::{SourceName, object::Node};
    use roadstead_netlink::Neighbour;

    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 5];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// A node at 192.0.2.5 that the kernel knows by its MAC address.
    fn one_node() -> (Stations, Snapshot) {
        let mut tables = Tables::default();
        tables.neighbours.insert((2, ip("192.0.2.5")), Neighbour { mac: MAC, confirmed: false });
        let key = NodeKey::new(&SourceName::new("home"), "n1");
        let node = Node {
            key: key.clone(),
            addresses: vec![ip("192.0.2.5")],
            ready: true,
            excluded: false,
            labels: BTreeMap::new(),
        };
        let mut snapshot = Snapshot::default();
        snapshot.nodes.insert(key, Arc::new(node));
        (Stations::of(&tables), snapshot)
    }

    #[test]
    fn a_node_is_named_and_for_arp_what_makes_it_answer() {
        let (stations, snapshot) = one_node();
        let words = stations.in_words(Mac::new(MAC), ip("192.0.2.10"), &snapshot);
        assert!(words.starts_with("02:00:00:00:00:05 (node home/n1; "), "{words}");
        assert!(words.contains("strictARP"), "{words}");
        let words = stations.in_words(Mac::new(MAC), ip("2001:db8::10"), &snapshot);
        assert_eq!(&*words, "02:00:00:00:00:05 (node home/n1)");
    }

    #[test]
    fn a_stranger_is_told_by_its_mac_address() {
        let (stations, snapshot) = one_node();
        let stranger = Mac::new([2, 0, 0, 0, 0, 6]);
        let words = stations.in_words(stranger, ip("192.0.2.10"), &snapshot);
        assert_eq!(&*words, "02:00:00:00:00:06");
        let nobody = Snapshot::default();
        let words = stations.in_words(Mac::new(MAC), ip("192.0.2.10"), &nobody);
        assert_eq!(&*words, "02:00:00:00:00:05");
    }
}
