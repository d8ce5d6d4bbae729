//! What a tap on the leg saw of one attempt to connect, and what that proves.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use etherparse::{ArpOperation, ArpPacketSlice, NetSlice, SlicedPacket, TransportSlice};

/// Neighbour solicitation and advertisement (RFC 4861 §4.3, §4.4).
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// How an attempt to connect ended, by what passed the leg meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The connection was made.
    Answered,
    /// The other side refused it.
    Refused,
    /// The request left, nothing came back.
    Silent,
    /// The request left, and the network said that it goes no further.
    Unreachable(String),
    /// Nobody answered the question for the MAC address of this next hop.
    NoNeighbour(IpAddr),
    /// What this host sends never left the leg.
    Kept(Lost),
    /// What came back passed the leg, and never reached its socket.
    Withheld(Lost),
}

/// Which packet this host loses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    /// A TCP segment.
    Segment,
    /// A question for a MAC address, or its answer. Where a question was to leave, it may be the
    /// segment as well: without the MAC address neither is seen.
    Resolution,
}

/// Watches one attempt.
#[derive(Debug)]
pub(super) struct Witness {
    to: SocketAddr,
    next_hop: IpAddr,
    asked: bool,
    told: bool,
    left: bool,
    came: Option<Answer>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Accepts,
    Resets,
}

impl Witness {
    /// Of an attempt to connect to `to` by `next_hop` (`to` itself where it is on the link).
    pub(super) fn new(to: SocketAddr, next_hop: IpAddr) -> Self {
        Self { to, next_hop, asked: false, told: false, left: false, came: None }
    }

    /// Takes in one frame of the tap.
    pub(super) fn see(&mut self, frame: &[u8]) {
        let Ok(packet) = SlicedPacket::from_ethernet(frame) else { return };
        match (&packet.net, &packet.transport) {
            (Some(NetSlice::Arp(arp)), _) => self.see_arp(arp),
            (_, Some(TransportSlice::Icmpv6(message))) => {
                self.see_neighbour(message.type_u8(), message.slice());
            }
            (Some(net), Some(TransportSlice::Tcp(segment))) => {
                let (source, destination) = ends(net);
                if (destination, segment.destination_port()) == (Some(self.to.ip()), self.to.port())
                {
                    self.left = true;
                } else if (source, segment.source_port()) == (Some(self.to.ip()), self.to.port()) {
                    let answer = if segment.rst() { Answer::Resets } else { Answer::Accepts };
                    self.came = Some(answer);
                }
            }
            _ => {}
        }
    }

    /// Whether something came back for the attempt.
    pub(super) fn heard(&self) -> bool {
        self.came.is_some() || self.told && !self.left
    }

    /// What is proved, by how the attempt ended (`None` = it did not) and by whether the kernel
    /// knows the next hop's MAC address.
    pub(super) fn judge(&self, ended: Option<io::Result<()>>, knows_hop: bool) -> Outcome {
        match (ended, self.came) {
            (Some(Ok(())), _) => Outcome::Answered,
            (Some(Err(_)), Some(Answer::Resets)) => Outcome::Refused,
            (Some(Err(_)) | None, Some(_)) => Outcome::Withheld(Lost::Segment),
            (Some(Err(error)), None) if self.left => Outcome::Unreachable(error.to_string()),
            (None, None) if self.left => Outcome::Silent,
            (Some(Err(_)) | None, None) if knows_hop => Outcome::Kept(Lost::Segment),
            (Some(Err(_)) | None, None) => self.unresolved(),
        }
    }

    fn unresolved(&self) -> Outcome {
        match (self.asked, self.told) {
            (false, _) => Outcome::Kept(Lost::Resolution),
            (true, false) => Outcome::NoNeighbour(self.next_hop),
            (true, true) => Outcome::Withheld(Lost::Resolution),
        }
    }

    /// RFC 826: a request asks for the target, a reply tells of the sender.
    fn see_arp(&mut self, arp: &ArpPacketSlice<'_>) {
        let is_hop = |octets: &[u8]| match self.next_hop {
            IpAddr::V4(hop) => octets == hop.octets(),
            IpAddr::V6(_) => false,
        };
        match arp.operation() {
            ArpOperation::REQUEST => self.asked |= is_hop(arp.target_protocol_addr()),
            ArpOperation::REPLY => self.told |= is_hop(arp.sender_protocol_addr()),
            _ => {}
        }
    }

    /// In both messages the target stands behind eight octets.
    fn see_neighbour(&mut self, kind: u8, message: &[u8]) {
        let is_hop = match (self.next_hop, message.get(8..24)) {
            (IpAddr::V6(hop), Some(target)) => target == hop.octets(),
            _ => false,
        };
        self.asked |= is_hop && kind == SOLICITATION;
        self.told |= is_hop && kind == ADVERTISEMENT;
    }
}

/// Source and destination.
fn ends(net: &NetSlice<'_>) -> (Option<IpAddr>, Option<IpAddr>) {
    match net {
        NetSlice::Ipv4(v4) => {
            let header = v4.header();
            (Some(header.source_addr().into()), Some(header.destination_addr().into()))
        }
        NetSlice::Ipv6(v6) => {
            let header = v6.header();
            (Some(header.source_addr().into()), Some(header.destination_addr().into()))
        }
        NetSlice::Arp(_) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use etherparse::{ArpHardwareId, ArpPacket, EtherType, PacketBuilder};

    use super::*;

    const OWN: &str = "203.0.113.2";
    const NODE: &str = "203.0.113.5";
    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

    fn to() -> SocketAddr {
        SocketAddr::new(NODE.parse().unwrap(), 30080)
    }

    fn octets(address: &str) -> [u8; 4] {
        address.parse::<std::net::Ipv4Addr>().unwrap().octets()
    }

    fn segment(from: &str, source: u16, to: &str, destination: u16, reset: bool) -> Vec<u8> {
        let ip = PacketBuilder::ethernet2(MAC, MAC).ipv4(octets(from), octets(to), 64);
        let tcp = ip.tcp(source, destination, 1, 100);
        let tcp = if reset { tcp.rst() } else { tcp.syn() };
        let mut frame = Vec::new();
        tcp.write(&mut frame, &[]).unwrap();
        frame
    }

    fn arp(operation: ArpOperation, sender: &str, target: &str) -> Vec<u8> {
        let packet = ArpPacket::new(
            ArpHardwareId::ETHERNET,
            EtherType::IPV4,
            operation,
            &MAC,
            &octets(sender),
            &MAC,
            &octets(target),
        );
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(MAC, MAC).arp(packet.unwrap()).write(&mut frame).unwrap();
        frame
    }

    fn neighbour(kind: u8, target: &str) -> Vec<u8> {
        let target: std::net::Ipv6Addr = target.parse().unwrap();
        let ip = PacketBuilder::ethernet2(MAC, MAC).ipv6([0; 16], target.octets(), 255);
        let mut frame = Vec::new();
        ip.icmpv6_raw(kind, 0, [0; 4]).write(&mut frame, &target.octets()).unwrap();
        frame
    }

    fn judged(
        frames: &[Vec<u8>],
        ended: Option<Result<(), ErrorKind>>,
        knows_hop: bool,
    ) -> Outcome {
        let mut witness = Witness::new(to(), to().ip());
        frames.iter().for_each(|frame| witness.see(frame));
        witness.judge(ended.map(|result| result.map_err(Error::from)), knows_hop)
    }

    #[test]
    fn each_end_of_an_attempt_is_told_apart_by_what_passed_the_leg() {
        let left = segment(OWN, 4040, NODE, 30080, false);
        let accepts = segment(NODE, 30080, OWN, 4040, false);
        let resets = segment(NODE, 30080, OWN, 4040, true);
        let others = segment(NODE, 30081, OWN, 4040, false);
        let refused = Some(Err(ErrorKind::ConnectionRefused));
        let unreachable = Some(Err(ErrorKind::HostUnreachable));
        for (frames, ended, outcome) in [
            (vec![left.clone(), accepts.clone()], Some(Ok(())), Outcome::Answered),
            (vec![left.clone(), resets.clone()], refused, Outcome::Refused),
            (vec![left.clone(), others], None, Outcome::Silent),
            (vec![left.clone(), accepts], None, Outcome::Withheld(Lost::Segment)),
            (vec![left.clone(), resets], None, Outcome::Withheld(Lost::Segment)),
            (vec![], None, Outcome::Kept(Lost::Segment)),
            (vec![], refused, Outcome::Kept(Lost::Segment)),
            (vec![], unreachable, Outcome::Kept(Lost::Segment)),
            (vec![vec![0xff; 13]], None, Outcome::Kept(Lost::Segment)),
        ] {
            assert_eq!(judged(&frames, ended, true), outcome, "{ended:?}");
        }
        let told = judged(&[left], unreachable, true);
        assert!(matches!(told, Outcome::Unreachable(_)), "{told:?}");
    }

    #[test]
    fn without_a_mac_address_the_question_for_it_decides() {
        let asked = arp(ArpOperation::REQUEST, OWN, NODE);
        let told = arp(ArpOperation::REPLY, NODE, OWN);
        let other = arp(ArpOperation::REPLY, "203.0.113.9", OWN);
        let unreachable = Some(Err(ErrorKind::HostUnreachable));
        let kept = Outcome::Kept(Lost::Resolution);
        assert_eq!(judged(&[], unreachable, false), kept);
        let nobody = Outcome::NoNeighbour(to().ip());
        assert_eq!(judged(&[asked.clone(), other], unreachable, false), nobody);
        let withheld = Outcome::Withheld(Lost::Resolution);
        assert_eq!(judged(&[asked.clone(), told.clone()], None, false), withheld);
        assert_eq!(judged(&[asked, told], None, true), Outcome::Kept(Lost::Segment));
    }

    #[test]
    fn neighbour_discovery_is_the_same_to_ipv6() {
        let hop = "2001:db8::5";
        let to = SocketAddr::new("2001:db8:9::1".parse().unwrap(), 30080);
        let judged = |frames: &[Vec<u8>]| {
            let mut witness = Witness::new(to, hop.parse().unwrap());
            frames.iter().for_each(|frame| witness.see(frame));
            witness.judge(None, false)
        };
        let (asked, told) = (neighbour(SOLICITATION, hop), neighbour(ADVERTISEMENT, hop));
        assert_eq!(
            judged(&[neighbour(SOLICITATION, "2001:db8::6")]),
            Outcome::Kept(Lost::Resolution)
        );
        assert_eq!(
            judged(std::slice::from_ref(&asked)),
            Outcome::NoNeighbour(hop.parse().unwrap())
        );
        assert_eq!(judged(&[asked, told]), Outcome::Withheld(Lost::Resolution));
    }
}
