//! What a flow becomes over its packets and over time.

use std::net::SocketAddr;

use roadstead_model::Protocol;
use roadstead_router_bpf::FlowEntry;
use roadstead_router_core::maps::Op;

use crate::{
    frame::{self, ACK, FIN, Ip, RST, SYN, Tcp},
    rig::{
        Addresses, CLIENT_MAC, DROP, NODE_MACS, NODE_PORT, PORT, REDIRECT, Rig, apply, families,
        flow, snat,
    },
    seen::Seen,
};

/// What a client and its node say to each other.
pub(crate) struct Talk<'rig> {
    rig: &'rig Rig,
    addresses: Addresses,
    client: SocketAddr,
    vip: SocketAddr,
    /// The node and our address towards it, once known.
    pub(crate) behind: Option<(SocketAddr, SocketAddr)>,
}

impl<'rig> Talk<'rig> {
    pub(crate) fn new(rig: &'rig Rig, addresses: Addresses, client_port: u16) -> Self {
        let (client, vip) = flow(&addresses, client_port);
        Self { rig, addresses, client, vip, behind: None }
    }

    /// The same client, to another port of the VIP.
    pub(crate) fn on_port(mut self, port: u16) -> Self {
        self.vip.set_port(port);
        self
    }

    fn frame(
        &self,
        macs: (frame::Mac, frame::Mac),
        protocol: u8,
        ends: (SocketAddr, SocketAddr),
        payload: &[u8],
    ) -> Vec<u8> {
        let packet = Ip::new(ends.0.ip(), ends.1.ip()).packet(protocol, payload);
        let ethertype = if self.client.is_ipv4() { 0x0800 } else { 0x86dd };
        frame::ethernet(macs.0, macs.1, ethertype, &packet)
    }

    /// From the client; what came out towards the node, if anything did.
    pub(crate) fn client(&mut self, protocol: u8, payload: &[u8]) -> Result<Seen, i32> {
        let macs = (self.rig.lan.1, CLIENT_MAC);
        let frame = self.frame(macs, protocol, (self.client, self.vip), payload);
        let ran = self.rig.run(&frame, self.rig.lan.0);
        if ran.verdict != REDIRECT {
            return Err(ran.verdict);
        }
        let seen = Seen::parse(&ran.packet);
        let (snat, node) = seen.ends();
        if self.addresses.nodes.contains(&node.ip()) {
            self.behind = Some((node, snat));
        }
        Ok(seen)
    }

    pub(crate) fn client_tcp(&mut self, flags: u8) -> Result<Seen, i32> {
        let segment = Tcp::flags(flags).segment(self.client, self.vip);
        self.client(frame::TCP, &segment)
    }

    /// From the node to where the client's packet came from.
    pub(crate) fn node(&mut self, protocol: u8, payload: &[u8]) -> Result<Seen, i32> {
        let ends = self.behind.expect("the client speaks first");
        let macs = (self.rig.rack.1, NODE_MACS[0]);
        let ran = self.rig.run(&self.frame(macs, protocol, ends, payload), self.rig.rack.0);
        if ran.verdict == REDIRECT { Ok(Seen::parse(&ran.packet)) } else { Err(ran.verdict) }
    }

    pub(crate) fn node_tcp(&mut self, flags: u8) -> Result<Seen, i32> {
        let (node, snat) = self.behind.expect("the client speaks first");
        self.node(frame::TCP, &Tcp::flags(flags).segment(node, snat))
    }

    pub(crate) fn handshake(&mut self) {
        self.client_tcp(SYN).expect("SYN");
        self.node_tcp(SYN | ACK).expect("SYN-ACK");
        self.client_tcp(ACK).expect("ACK");
    }
}

/// The one flow there is.
fn only_flow(rig: &Rig) -> FlowEntry {
    let mut found = Vec::new();
    rig.dataplane
        .for_each_flow(|flow| {
            found.push(flow);
            true
        })
        .expect("flows");
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

fn each_family(test: impl Fn(&Rig, Addresses)) {
    for addresses in families() {
        test(&Rig::serving(), addresses);
    }
}

#[test]
fn a_connection_goes_to_a_node_and_back() {
    each_family(|rig, addresses| {
        let mut talk = Talk::new(rig, addresses, 40_000);
        let syn = talk.client_tcp(SYN).expect("SYN");
        let (source, destination) = syn.ends();
        assert_eq!(source, SocketAddr::new(addresses.snat, 40_000), "the client's own port");
        assert!(addresses.nodes.contains(&destination.ip()), "{destination}");
        assert_eq!(destination.port(), NODE_PORT);
        assert_eq!(syn.hop_limit, 63);
        assert_eq!(syn.ether.1, rig.rack.1);
        assert!(NODE_MACS.contains(&syn.ether.0));

        let back = talk.node_tcp(SYN | ACK).expect("SYN-ACK");
        assert_eq!(back.ends(), (talk.vip, talk.client));
        assert_eq!(back.ether, (CLIENT_MAC, rig.lan.1));
        assert_eq!(back.hop_limit, 63);
    });
}

#[test]
fn datagrams_go_to_a_node_and_back() {
    each_family(|rig, addresses| {
        let mut talk = Talk::new(rig, addresses, 40_001);
        let datagram = frame::datagram(talk.client, talk.vip, b"question");
        let there = talk.client(frame::UDP, &datagram).expect("there");
        assert_eq!(there.data(), b"question");
        let (node, snat) = talk.behind.expect("a node");
        let back = talk.node(frame::UDP, &frame::datagram(node, snat, b"answer")).expect("back");
        assert_eq!((back.ends(), back.data()), ((talk.vip, talk.client), &b"answer"[..]));
    });
}

#[test]
fn flows_tell_who_stands_behind_a_port() {
    each_family(|rig, addresses| {
        let mut talk = Talk::new(rig, addresses, 40_002);
        talk.handshake();
        let entry = only_flow(rig);
        assert_eq!(entry.protocol, Protocol::Tcp);
        assert_eq!(entry.client, (addresses.client, 40_002));
        assert_eq!(entry.vip, (addresses.vip, PORT));
        assert_eq!(entry.snat, (addresses.snat, 40_002));
        assert!(addresses.nodes.contains(&entry.node.0));
        assert_eq!(entry.node.1, NODE_PORT);
        assert_eq!(entry.state, "established");
        assert!(entry.idle_seconds < 5, "{}", entry.idle_seconds);
    });
}

#[test]
fn a_connection_goes_through_its_states() {
    each_family(|rig, addresses| {
        let mut talk = Talk::new(rig, addresses, 40_003);
        talk.client_tcp(SYN).expect("SYN");
        assert_eq!(only_flow(rig).state, "half-open");
        talk.client_tcp(ACK).expect("an ACK before the node has answered");
        assert_eq!(only_flow(rig).state, "half-open");
        talk.node_tcp(SYN | ACK).expect("SYN-ACK");
        talk.client_tcp(ACK).expect("ACK");
        assert_eq!(only_flow(rig).state, "established");
        talk.client_tcp(FIN | ACK).expect("FIN");
        assert_eq!(only_flow(rig).state, "closing");
        talk.node_tcp(FIN | ACK).expect("FIN");
        assert_eq!(only_flow(rig).state, "closed");
        talk.client_tcp(SYN).expect("the port is used again");
        assert_eq!(only_flow(rig).state, "half-open");
    });
}

#[test]
fn what_follows_a_reset_revives_the_connection() {
    each_family(|rig, addresses| {
        let mut talk = Talk::new(rig, addresses, 40_004);
        talk.handshake();
        talk.client_tcp(RST).expect("RST");
        assert_eq!(only_flow(rig).state, "closed");
        talk.node_tcp(ACK).expect("the node does not believe it");
        assert_eq!(only_flow(rig).state, "established");
    });
}

#[test]
fn a_source_address_that_is_gone_ends_its_flows() {
    for (family, addresses) in (0_u16..).zip(families()) {
        let mut rig = Rig::serving();
        Talk::new(&rig, addresses, 40_006).handshake();
        apply(&mut rig.dataplane, &[Op::DeleteSnat(family)]);
        let mut moved = snat(&addresses);
        moved.address = addresses.nodes[1];
        apply(&mut rig.dataplane, &[Op::PutSnat(family + 2, moved)]);
        for (index, node) in (0_u16..).zip(addresses.nodes) {
            let mut backend = rig.backend(family, node, index);
            backend.snat = (family + 2, 1);
            apply(&mut rig.dataplane, &[Op::PutBackend(family * 2 + index, backend)]);
        }
        let mut talk = Talk::new(&rig, addresses, 40_006);
        let next = talk.client_tcp(ACK);
        assert!(next.is_err() || next.is_ok_and(|seen| seen.flags() & RST != 0));
        let mut talk = Talk::new(&rig, addresses, 40_006);
        let syn = talk.client_tcp(SYN).expect("a new connection");
        assert_eq!(syn.source, moved.address);
    }
}

#[test]
fn a_segment_that_opens_nothing_makes_no_flow() {
    each_family(|rig, addresses| {
        let mut talk = Talk::new(rig, addresses, 40_005);
        let answer = talk.client_tcp(ACK).expect("a reset");
        assert_eq!(answer.ends(), (talk.vip, talk.client));
        assert_eq!(answer.flags() & RST, RST);
        assert_eq!(rig.dropped("no-flow"), 1);
        assert_eq!(talk.client_tcp(RST), Err(DROP), "a reset is never answered");
        rig.dataplane.for_each_flow(|flow| panic!("{flow:?}")).expect("flows");
    });
}
