//! Flows that tests begin with.

use std::net::SocketAddr;

use crate::{
    frame::{self, ACK, Ip, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{Family, HTTP},
};

/// How a flow looks from its node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Translated {
    pub(crate) snat: SocketAddr,
    pub(crate) node: SocketAddr,
    pub(crate) family: Family,
}

impl Translated {
    /// A segment from the node.
    pub(crate) fn node_sends(&self, rig: &Rig, tcp: &Tcp) -> Vec<u8> {
        let ip = Ip::new(self.node.ip(), self.snat.ip());
        self.family.node_sends(rig, &ip, frame::TCP, &tcp.segment(self.node, self.snat))
    }

    /// A datagram from the node.
    pub(crate) fn udp_node_sends(&self, rig: &Rig, payload: &[u8]) -> Vec<u8> {
        let ip = Ip::new(self.node.ip(), self.snat.ip());
        let datagram = frame::datagram(self.node, self.snat, payload);
        self.family.node_sends(rig, &ip, frame::UDP, &datagram)
    }
}

/// A connection of the client to [`HTTP`], its handshake done.
pub(crate) fn open_tcp(rig: &Rig, family: &Family, port: u16) -> Translated {
    let flow = half_open_tcp(rig, family, port);
    assert_eq!(
        rig.send(Leg::Rack, &flow.node_sends(rig, &Tcp::flags(SYN | ACK))).verdict,
        Verdict::Redirect
    );
    let ack = family.tcp_from(rig, port, HTTP, &Tcp::flags(ACK));
    assert_eq!(rig.send(Leg::Lan, &ack).verdict, Verdict::Redirect);
    flow
}

/// A SYN of the client to [`HTTP`], not answered yet.
pub(crate) fn half_open_tcp(rig: &Rig, family: &Family, port: u16) -> Translated {
    let syn = family.tcp_from(rig, port, HTTP, &Tcp::flags(SYN));
    forwarded(rig, family, &syn)
}

/// Sends the client's first packet; what it looks like from the node.
pub(crate) fn forwarded(rig: &Rig, family: &Family, frame: &[u8]) -> Translated {
    let outcome = rig.send(Leg::Lan, frame);
    assert_eq!(outcome.verdict, Verdict::Redirect, "{:?}", outcome.counted);
    let (snat, node) = Seen::parse(&outcome.frame).ends();
    Translated { snat, node, family: *family }
}
