//! What stands around the pools: addresses that belong to somebody already (nodes, gateways, this
//! host, the networks themselves), and those that somebody answers for on the wire.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::{IpNet, Ipv6Net};
use roadstead_model::{AddressRange, Family, NodeKey, Snapshot};

use super::{pools::PoolView, refusal::Refusal};

/// What the host says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Its interfaces, with or without the program.
    pub interfaces: Vec<Interface>,
    /// The next hops of its routes.
    pub gateways: BTreeSet<IpAddr>,
    /// What the host names that Services ask for resolve to; a name that is missing was not looked
    /// up yet.
    pub names: BTreeMap<Arc<str>, Lookup>,
}

/// What a host name resolves to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Its addresses as they were when it last resolved.
    Addresses(BTreeSet<IpAddr>),
    /// It never did; why, in words.
    Failed(Arc<str>),
}

/// One interface of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses, each with the length of its connected prefix.
    pub addresses: Vec<IpNet>,
}

/// Somebody else answers for an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Who: a MAC address as text.
    pub by: Arc<str>,
    /// When it was found.
    pub stage: Stage,
}

/// When a conflict was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Before we ever announced the address: a Service that did not ask for it moves on.
    Probing,
    /// While we announce it: it is defended, and its Service stays where its clients are.
    InUse,
}

/// Whose an address is.
enum Owner {
    Node(NodeKey),
    Gateway,
    Host(Arc<str>),
    Network(IpNet),
}

/// Every address around that is not ours to hand out.
pub(super) struct Surroundings<'a> {
    owners: BTreeMap<IpAddr, Owner>,
    host: BTreeSet<IpAddr>,
    conflicts: &'a BTreeMap<IpAddr, Conflict>,
}

impl<'a> Surroundings<'a> {
    pub(super) fn new(
        snapshot: &Snapshot,
        host: &Host,
        conflicts: &'a BTreeMap<IpAddr, Conflict>,
    ) -> Self {
        let mut owners = BTreeMap::new();
        let addresses = || {
            host.interfaces.iter().flat_map(|i| i.addresses.iter().map(move |net| (&i.name, *net)))
        };
        for (_, net) in addresses() {
            owners.extend(edges(net).map(|address| (address, Owner::Network(net))));
        }
        for (name, net) in addresses() {
            owners.insert(net.addr(), Owner::Host(name.clone()));
        }
        owners.extend(host.gateways.iter().map(|gateway| (*gateway, Owner::Gateway)));
        for node in snapshot.nodes.values() {
            owners.extend(node.addresses.iter().map(|a| (*a, Owner::Node(node.key.clone()))));
        }
        Self { owners, host: addresses().map(|(_, net)| net.addr()).collect(), conflicts }
    }

    /// Why an address of this pool is handed out to nobody; says nothing of who holds it.
    pub(super) fn bar(&self, view: &PoolView<'_>, address: IpAddr) -> Option<Refusal> {
        let pool = || view.pool.name.clone();
        if view.is_reserved(address) {
            return Some(Refusal::AddressReserved { address, pool: pool() });
        }
        if view.is_buggy(address) {
            return Some(Refusal::BuggyAddress { address, pool: pool() });
        }
        if let Some(network) = anycast_of(address).filter(|_| !view.pool.host_addresses) {
            return Some(Refusal::AddressOfNetwork { address, network });
        }
        self.alarm(view, address)
    }

    /// What the surroundings alone say against an address: told of one that is held already.
    pub(super) fn alarm(&self, view: &PoolView<'_>, address: IpAddr) -> Option<Refusal> {
        if view.pool.host_addresses && !self.host.contains(&address) {
            return Some(Refusal::AddressNotOfHost { address, pool: view.pool.name.clone() });
        }
        match self.owners.get(&address) {
            Some(Owner::Node(node)) => {
                return Some(Refusal::AddressOfNode { address, node: node.clone() });
            }
            Some(_) if view.pool.host_addresses => return None,
            Some(Owner::Gateway) => return Some(Refusal::AddressOfGateway { address }),
            Some(Owner::Host(leg)) => {
                return Some(Refusal::AddressOfHost { address, leg: leg.clone() });
            }
            Some(Owner::Network(network)) => {
                return Some(Refusal::AddressOfNetwork { address, network: *network });
            }
            None => {}
        }
        self.conflict(address, None)
    }

    /// Addresses of a pool that it can never hand out, because a node, a gateway or this host has
    /// them. What is reserved is not among them: who wrote that knows.
    pub(super) fn passed_over(&self, view: &PoolView<'_>) -> Vec<Refusal> {
        if view.pool.host_addresses {
            return Vec::new();
        }
        let inside = self.owners.iter().filter(|(address, _)| view.counts(**address));
        let refusal = |(address, owner): (&IpAddr, &Owner)| match owner {
            Owner::Network(_) => None,
            Owner::Node(_) | Owner::Gateway | Owner::Host(_) => self.alarm(view, *address),
        };
        inside.filter_map(refusal).collect()
    }

    /// The conflict on an address, of one stage or of any.
    pub(super) fn conflict(&self, address: IpAddr, stage: Option<Stage>) -> Option<Refusal> {
        let conflict = self.conflicts.get(&address)?;
        (stage.is_none_or(|stage| stage == conflict.stage))
            .then(|| Refusal::ConflictOnWire { address, by: conflict.by.clone() })
    }

    /// How many addresses of the pool may be handed out, held ones included.
    pub(super) fn usable(&self, view: &PoolView<'_>, family: Family) -> u128 {
        let of_family =
            |address: &&IpAddr| Family::of(**address) == family && view.counts(**address);
        if view.pool.host_addresses {
            let own = self.host.iter().filter(of_family);
            return own.filter(|a| !matches!(self.owners.get(a), Some(Owner::Node(_)))).count()
                as u128;
        }
        let taken = self.owners.keys().filter(of_family).filter(|a| anycast_of(**a).is_none());
        let anycast: u128 = view.segments(family).map(anycasts).sum();
        view.size(family).saturating_sub(taken.count() as u128).saturating_sub(anycast)
    }
}

/// The /64 whose Subnet-Router anycast address this is (RFC 4291 §2.6.1): routers answer for it, so
/// it is handed out to nobody, whether the subnet is connected or not.
fn anycast_of(address: IpAddr) -> Option<IpNet> {
    match address {
        IpAddr::V6(v6) if v6.to_bits() & u128::from(u64::MAX) == 0 => {
            Some(IpNet::from(Ipv6Net::new_assert(v6, 64)))
        }
        _ => None,
    }
}

/// How many such addresses a range holds.
fn anycasts(range: &AddressRange) -> u128 {
    match (range.first(), range.last()) {
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let below = first.to_bits().checked_sub(1).map_or(0, |bits| (bits >> 64) + 1);
            (last.to_bits() >> 64) + 1 - below
        }
        _ => 0,
    }
}

/// The addresses that name a connected network itself: network and broadcast address where there
/// are such (RFC 3021: none in a /31), and the Subnet-Router anycast address (RFC 4291 §2.6.1,
/// RFC 6164: none in a /127).
fn edges(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let (first, last) = match net {
        IpNet::V4(v4) if v4.prefix_len() <= 30 => (Some(net.network()), Some(net.broadcast())),
        IpNet::V6(v6) if v6.prefix_len() <= 126 => (Some(net.network()), None),
        _ => (None, None),
    };
    first.into_iter().chain(last)
}
