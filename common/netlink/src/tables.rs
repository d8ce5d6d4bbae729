//! What the kernel says of the host.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;

/// The host's links, addresses, gateways and neighbours at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// Interfaces by index.
    pub links: BTreeMap<u32, Link>,
    /// Addresses of the interfaces.
    pub addresses: Vec<Address>,
    /// Next hops of the routes, of every table.
    pub gateways: BTreeSet<IpAddr>,
    /// Usable neighbours by interface index and address.
    pub neighbours: BTreeMap<(u32, IpAddr), Neighbour>,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: Arc<str>,
    /// Its MAC address; `None` where it is no Ethernet interface (or the loopback).
    pub mac: Option<[u8; 6]>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Has a carrier.
    pub carrier: bool,
    /// Enslaved to a bridge or a bond: its packets are the master's.
    pub enslaved: bool,
}

/// An address of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Index of the interface.
    pub ifindex: u32,
    /// The address with the length of its connected prefix.
    pub net: IpNet,
    /// Whether it may be used as a source for others: neither link-local, nor deprecated, nor
    /// temporary, nor tentative.
    pub usable: bool,
}

/// A neighbour whose MAC address is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Whether the kernel has confirmed it lately (REACHABLE, PERMANENT, NOARP).
    pub confirmed: bool,
}

/// How the kernel reaches an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index of the interface.
    pub ifindex: u32,
    /// The next hop; `None` where the address is on the link.
    pub gateway: Option<IpAddr>,
    /// The source that the kernel would choose.
    pub source: Option<IpAddr>,
    /// The route's own MTU in bytes, where it has one.
    pub mtu: Option<u32>,
}

impl Tables {
    /// Whether the kernel has been read: every host has a loopback interface.
    pub fn is_read(&self) -> bool {
        !self.links.is_empty()
    }

    /// The addresses of one interface.
    pub fn addresses_of(&self, ifindex: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |address| address.ifindex == ifindex)
    }

    /// The Ethernet interfaces that are up and nobody's slave: what a leg may be.
    pub fn ethernet(&self) -> impl Iterator<Item = &Link> {
        self.links.values().filter(|link| link.up && !link.enslaved && link.mac.is_some())
    }
}
