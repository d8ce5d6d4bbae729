//! A small world to send packets through: two VIPs, two nodes in each family, one SNAT address, and
//! the maps that say so, written byte by byte from the layout in `c/layout.h`.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::{
    frame::{self, Ip, Mac, Tcp},
    model::{Flow, FlowKey},
    rig::{Leg, Rig},
};

/// One address family's half of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Family {
    pub(crate) vip: IpAddr,
    pub(crate) client: IpAddr,
    pub(crate) snat: IpAddr,
    pub(crate) nodes: [IpAddr; 2],
    /// A router between the edge and the client or the node.
    pub(crate) router: IpAddr,
    index: u16,
}

const fn v6(subnet: u16, host: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, subnet, 0, 0, 0, 0, host))
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

pub(crate) const V4: Family = Family {
    vip: v4(192, 0, 2, 10),
    client: v4(203, 0, 113, 77),
    snat: v4(198, 51, 100, 2),
    nodes: [v4(198, 51, 100, 11), v4(198, 51, 100, 12)],
    router: v4(203, 0, 113, 1),
    index: 0,
};

pub(crate) const V6: Family = Family {
    vip: v6(1, 0x10),
    client: v6(0xc, 0x77),
    snat: v6(2, 2),
    nodes: [v6(2, 0x11), v6(2, 0x12)],
    router: v6(0xc, 1),
    index: 1,
};

pub(crate) const FAMILIES: [Family; 2] = [V4, V6];

/// The host's own IPv4 address with claimed ports.
pub(crate) const HOST: IpAddr = v4(192, 0, 2, 2);

/// Served by both nodes.
pub(crate) const HTTP: u16 = 80;
/// Claimed, but known to be served by nobody.
pub(crate) const ORPHAN: u16 = 81;
/// Served by both nodes over UDP.
pub(crate) const DNS: u16 = 53;
/// Not claimed by anybody.
pub(crate) const CLOSED: u16 = 4444;
/// The NodePorts of [`HTTP`] and [`DNS`].
pub(crate) const HTTP_NODE: u16 = 30_080;
/// See [`HTTP_NODE`].
pub(crate) const DNS_NODE: u16 = 30_053;
/// The client's port, unless a test says otherwise.
pub(crate) const CLIENT_PORT: u16 = 40_000;

pub(crate) const CLIENT_MAC: Mac = [2, 0, 0, 0, 0, 0x77];
pub(crate) const MTU: u16 = 1_500;

/// The MAC of a node.
pub(crate) fn node_mac(index: usize) -> Mac {
    [2, 0, 0, 0, 1, u8::try_from(index).expect("few nodes")]
}

impl Family {
    pub(crate) fn client_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.client, port)
    }

    pub(crate) fn vip_at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.vip, port)
    }

    /// Index of a node in the `backends` map.
    pub(crate) fn backend(&self, node: usize) -> u16 {
        10 + self.index * 2 + u16::try_from(node).expect("two nodes")
    }

    /// Index of the frontend of a port in the `identities` map.
    pub(crate) fn frontend(&self, port: u16) -> u32 {
        100 * u32::from(self.index + 1) + u32::from(port)
    }

    /// A frame with this IP header from a client (or the router before it) on the LAN.
    pub(crate) fn client_sends(&self, rig: &Rig, ip: &Ip, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let ethertype = if self.index == 0 { 0x0800 } else { 0x86dd };
        let packet = ip.packet(protocol, payload);
        frame::ethernet(rig.mac(Leg::Lan), CLIENT_MAC, ethertype, &packet)
    }

    /// A frame with this IP header from a node on the rack.
    pub(crate) fn node_sends(&self, rig: &Rig, ip: &Ip, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let ethertype = if self.index == 0 { 0x0800 } else { 0x86dd };
        let packet = ip.packet(protocol, payload);
        frame::ethernet(rig.mac(Leg::Rack), node_mac(0), ethertype, &packet)
    }

    /// The client's segment to a port of the VIP.
    pub(crate) fn tcp(&self, rig: &Rig, port: u16, tcp: &Tcp) -> Vec<u8> {
        self.tcp_from(rig, CLIENT_PORT, port, tcp)
    }

    /// The same from another port of the client.
    pub(crate) fn tcp_from(&self, rig: &Rig, from: u16, port: u16, tcp: &Tcp) -> Vec<u8> {
        let (source, destination) = (self.client_at(from), self.vip_at(port));
        let ip = Ip::new(self.client, self.vip);
        self.client_sends(rig, &ip, frame::TCP, &tcp.segment(source, destination))
    }

    /// The client's datagram to a port of the VIP.
    pub(crate) fn udp(&self, rig: &Rig, port: u16, payload: &[u8]) -> Vec<u8> {
        let datagram = frame::datagram(self.client_at(CLIENT_PORT), self.vip_at(port), payload);
        self.client_sends(rig, &Ip::new(self.client, self.vip), frame::UDP, &datagram)
    }

    /// An ICMP or ICMPv6 message; `kinds` are (type, code) in IPv4 and in IPv6.
    pub(crate) fn icmp(
        &self,
        (source, destination): (IpAddr, IpAddr),
        kinds: [(u8, u8); 2],
        rest: [u8; 4],
        body: &[u8],
    ) -> (u8, Vec<u8>) {
        let protocol = [frame::ICMP, frame::ICMP6][usize::from(self.index)];
        let kind = kinds[usize::from(self.index)];
        (protocol, frame::message((source, destination), kind, rest, body))
    }
}

/// Sixteen bytes in network order, IPv4 in IPv6's clothes.
pub(crate) fn address(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn frontend_key(end: SocketAddr, protocol: u8) -> Vec<u8> {
    [&address(end.ip())[..], &end.port().to_be_bytes(), &[protocol], &[0; 5]].concat()
}

fn range_key(set: u32, prefix: IpAddr, length: u32) -> Vec<u8> {
    let bits = 32 + length + if prefix.is_ipv4() { 96 } else { 0 };
    [&bits.to_ne_bytes()[..], &set.to_ne_bytes(), &address(prefix)].concat()
}

/// What a test may change about a frontend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frontend {
    pub(crate) id: u32,
    pub(crate) table: u32,
    pub(crate) ranges: u32,
    pub(crate) affinity_seconds: u32,
    pub(crate) node_port: u16,
}

impl Frontend {
    pub(crate) const NONE: u32 = u32::MAX;
}

/// What a test may change about a backend.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    pub(crate) address: IpAddr,
    pub(crate) mac: Option<Mac>,
    pub(crate) mtu: u16,
    /// As `enum backend_mode`.
    pub(crate) mode: u8,
    pub(crate) snat: (u16, u16),
}

pub(crate) const ACTIVE: u8 = 1;
pub(crate) const DOUBTFUL: u8 = 2;
pub(crate) const GONE: u8 = 3;

impl Rig {
    /// The world of this module, served.
    pub(crate) fn serving() -> Self {
        let mut rig = Self::new();
        rig.put_leg(0, Leg::Lan, MTU);
        rig.put_leg(1, Leg::Rack, MTU);
        rig.settings(|settings| settings.half_open_budget(1_024));
        rig.put_vip(HOST, 2, u32::MAX);
        for family in FAMILIES {
            rig.put_family(&family);
        }
        let on_host = Frontend { id: 900, ..rig.frontend(&V4, HTTP, HTTP_NODE) };
        rig.put_frontend(SocketAddr::new(HOST, HTTP), frame::TCP, &on_host);
        rig
    }

    fn put_family(&mut self, family: &Family) {
        self.put_vip(family.vip, 1, u32::MAX);
        self.put_snat(family.index, family.snat, (1_024, 65_535));
        for (node, &address) in family.nodes.iter().enumerate() {
            self.put_backend(family.backend(node), &self.backend(family, node, address));
        }
        let nodes = [family.backend(0), family.backend(1)];
        self.put_table(u32::from(family.index), &nodes);
        let http = self.frontend(family, HTTP, HTTP_NODE);
        self.put_frontend(family.vip_at(HTTP), frame::TCP, &http);
        let dns = self.frontend(family, DNS, DNS_NODE);
        self.put_frontend(family.vip_at(DNS), frame::UDP, &dns);
        for protocol in [frame::TCP, frame::UDP] {
            let id = family.frontend(ORPHAN) + 1_000 + u32::from(protocol);
            let orphan = Frontend { id, table: Frontend::NONE, ..http };
            self.put_frontend(family.vip_at(ORPHAN), protocol, &orphan);
        }
    }

    /// A node as it is at first.
    pub(crate) fn backend(&self, family: &Family, node: usize, address: IpAddr) -> Backend {
        Backend {
            address,
            mac: Some(node_mac(node)),
            mtu: MTU,
            mode: ACTIVE,
            snat: (family.index, 1),
        }
    }

    /// A frontend as it is at first.
    pub(crate) fn frontend(&self, family: &Family, port: u16, node_port: u16) -> Frontend {
        Frontend {
            id: family.frontend(port),
            table: u32::from(family.index),
            ranges: Frontend::NONE,
            affinity_seconds: 0,
            node_port,
        }
    }

    pub(crate) fn put_vip(&mut self, vip: IpAddr, kind: u32, legs: u32) {
        self.update("vips", &address(vip), &[kind.to_ne_bytes(), legs.to_ne_bytes()].concat());
        self.settings(|settings| settings.class(vip, 1));
    }

    /// A SNAT address of the program's own.
    pub(crate) fn put_snat(&mut self, id: u16, snat: IpAddr, ports: (u16, u16)) {
        self.write_snat(id, snat, ports, false);
    }

    /// A SNAT address that the host's sockets use too.
    pub(crate) fn put_shared_snat(&mut self, id: u16, snat: IpAddr, ports: (u16, u16)) {
        self.write_snat(id, snat, ports, true);
    }

    fn write_snat(&mut self, id: u16, snat: IpAddr, (low, high): (u16, u16), shared: bool) {
        let ports = [low.to_ne_bytes(), high.to_ne_bytes()].concat();
        let value = [&address(snat)[..], &ports, &[u8::from(shared), 1, 0, 0]].concat();
        self.update("snats", &u32::from(id).to_ne_bytes(), &value);
        self.settings(|settings| {
            settings.class(snat, 2);
            settings.at_least_snats(u32::from(id) + 1);
        });
    }

    pub(crate) fn put_frontend(&mut self, end: SocketAddr, protocol: u8, frontend: &Frontend) {
        let key = frontend_key(end, protocol);
        let mut value = Vec::new();
        for word in [frontend.id, frontend.table, frontend.ranges, frontend.affinity_seconds] {
            value.extend(word.to_ne_bytes());
        }
        value.extend(frontend.node_port.to_be_bytes());
        value.extend([0; 2]);
        self.update("identities", &frontend.id.to_ne_bytes(), &key);
        self.update("frontends", &key, &value);
    }

    pub(crate) fn put_backend(&mut self, id: u16, backend: &Backend) {
        let mut value = [&address(backend.address)[..], &[0; 16]].concat();
        value.extend(self.ifindex(Leg::Rack).to_ne_bytes());
        value.extend(backend.mac.unwrap_or_default());
        value.extend(self.mac(Leg::Rack));
        for half in [backend.mtu, backend.snat.0, backend.snat.1] {
            value.extend(half.to_ne_bytes());
        }
        value.extend([backend.mode, u8::from(backend.mac.is_some())]);
        self.update("backends", &u32::from(id).to_ne_bytes(), &value);
    }

    /// A table whose slots go round the backends.
    pub(crate) fn put_table(&mut self, table: u32, backends: &[u16]) {
        let slots = (0..16_384).map(|slot| backends[slot % backends.len()]);
        let mut value: Vec<u8> = slots.flat_map(u16::to_ne_bytes).collect();
        let mut members = [0_u64; 64];
        for &backend in backends {
            members[usize::from(backend / 64)] |= 1 << (backend % 64);
        }
        value.extend(members.into_iter().flat_map(u64::to_ne_bytes));
        self.update("tables", &table.to_ne_bytes(), &value);
        self.update("table_refs", &table.to_ne_bytes(), &(table + 1).to_ne_bytes());
    }

    /// Allows a prefix in a set of source ranges, and tells the program that ranges have changed.
    pub(crate) fn allow(&mut self, set: u32, prefix: IpAddr, length: u32) {
        let key = range_key(set, prefix, length);
        self.update("ranges", &key, &[1]);
        self.settings(|settings| settings.count_ranges_changes(1));
    }

    /// Disallows it.
    pub(crate) fn disallow(&mut self, set: u32, prefix: IpAddr, length: u32) {
        self.delete("ranges", &range_key(set, prefix, length));
        self.settings(|settings| settings.count_ranges_changes(1));
    }

    /// The flows there are, read from the map.
    pub(crate) fn flows(&self) -> HashMap<FlowKey, Flow> {
        self.elements("flows").iter().map(|(key, value)| (flow_key(key), flow(value))).collect()
    }

    pub(crate) fn put_leg(&mut self, slot: usize, leg: Leg, mtu: u16) {
        let (ifindex, mac) = (self.ifindex(leg), self.mac(leg));
        self.settings(|settings| settings.leg(slot, ifindex, mtu, mac));
    }
}

/// `struct flow_key`.
fn flow_key(key: &[u8]) -> FlowKey {
    let frontend = u32::from_ne_bytes(key[16..20].try_into().expect("4 bytes"));
    FlowKey {
        client: (read_address(&key[..16]), u16::from_be_bytes([key[20], key[21]])),
        service: service(frontend),
        protocol: key[22],
    }
}

/// What the frontends of [`Rig::serving`] stand for.
fn service(id: u32) -> (IpAddr, u16) {
    FAMILIES
        .iter()
        .flat_map(|family| [(family, HTTP), (family, DNS)])
        .find(|(family, port)| family.frontend(*port) == id)
        .map_or((HOST, HTTP), |(family, port)| (family.vip, port))
}

/// `struct flow`.
fn flow(value: &[u8]) -> Flow {
    let native = |at: usize| u16::from_ne_bytes([value[at], value[at + 1]]);
    let network = |at: usize| u16::from_be_bytes([value[at], value[at + 1]]);
    let family = FAMILIES[usize::from(native(2))];
    let node = usize::from(native(0) - family.backend(0));
    Flow { snat: (family.snat, network(4)), node: (family.nodes[node], network(6)) }
}

fn read_address(bytes: &[u8]) -> IpAddr {
    Ipv6Addr::from(<[u8; 16]>::try_from(bytes).expect("16 bytes")).to_canonical()
}

/// `struct settings`, by offsets.
pub(crate) struct Settings<'a>(pub(crate) &'a mut [u8]);

const TIMEOUTS: usize = 24;
const LEGS: usize = TIMEOUTS + 8 * 4;
const CLASSES: usize = LEGS + 32 * 12;
const LEASE: usize = CLASSES + 16_384 + 16;

impl Settings<'_> {
    fn class(&mut self, address: IpAddr, class: u8) {
        self.0[CLASSES + class_of(address)] |= class;
    }

    fn at_least_snats(&mut self, count: u32) {
        let at = 16..20;
        let now = u32::from_ne_bytes(self.0[at.clone()].try_into().expect("4 bytes"));
        self.0[at].copy_from_slice(&now.max(count).to_ne_bytes());
    }

    fn leg(&mut self, slot: usize, ifindex: u32, mtu: u16, mac: Mac) {
        let at = LEGS + slot * 12;
        let leg = [&ifindex.to_ne_bytes()[..], &mtu.to_ne_bytes(), &mac].concat();
        self.0[at..at + 12].copy_from_slice(&leg);
    }

    fn count_ranges_changes(&mut self, changes: u32) {
        let generation = u32::from_ne_bytes(self.0[12..16].try_into().expect("4 bytes"));
        self.0[12..16].copy_from_slice(&(generation + changes).to_ne_bytes());
    }

    /// Until when leased answers are given.
    pub(crate) fn lease(&mut self, until: u64) {
        self.0[LEASE..LEASE + 8].copy_from_slice(&until.to_ne_bytes());
    }

    /// The half-open budget.
    pub(crate) fn half_open_budget(&mut self, budget: u32) {
        self.0[20..24].copy_from_slice(&budget.to_ne_bytes());
    }
}

/// The index of an address in `settings.classes`, as `c/hash.h` has it.
fn class_of(of: IpAddr) -> usize {
    usize::try_from(hash_mix(hash_of(of), 0) % 16_384).expect("an index")
}

fn hash_mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash ^ hash >> 32
}

/// `hash_address` of `c/hash.h`, with a seed of zero.
pub(crate) fn hash_of(of: IpAddr) -> u64 {
    let bytes = address(of);
    let half = |at| u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    hash_mix(hash_mix(0, half(0)), half(8))
}
