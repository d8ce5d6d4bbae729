//! Who answers on the segment of the VIPs: questions for many addresses at once, in frames built by
//! hand.
//!
//! Nothing waits for time to pass: after the questions the edge host is asked for an address of its
//! own, which it surely answers for, and frames do not overtake one another. What the kernel
//! program answers has been answered by then.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, OwnedFd},
};

use anyhow::{Context, Result, bail, ensure};
use nix::{
    errno::Errno,
    sys::{
        socket::{
            MsgFlags, recv, send, setsockopt,
            sockopt::{RcvBufForce, ReceiveTimeout},
        },
        time::{TimeVal, TimeValLike},
    },
};
use roadstead_lab::host::Mac;

use crate::{
    World,
    frames::{checksum, ethernet, packet_socket, transport_sum, whole},
};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
const BUFFER: usize = 16 << 20;
const ECHO_ID: [u8; 4] = [0x52, 0x53, 0, 1];

/// Asks from the host beside the edge host, by its first leg.
#[derive(Debug)]
pub struct RollCall {
    socket: OwnedFd,
    own: Station,
    edge: Station,
}

#[derive(Clone, Copy, Debug)]
struct Station {
    mac: Mac,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
}

impl RollCall {
    /// Opens the leg.
    pub fn open(world: &World) -> Result<Self> {
        let station = |host: &roadstead_lab::Host| -> Result<Station> {
            Ok(Station { mac: host.leg("eth0")?.mac, v4: host.v4()?, v6: host.v6()? })
        };
        let near = world.near()?;
        let socket = packet_socket(near, "eth0")?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::seconds(10))?;
        // A speaker that stood still answers what it was asked meanwhile, all at once.
        setsockopt(&socket, RcvBufForce, &BUFFER)?;
        Ok(Self { socket, own: station(near)?, edge: station(world.lab.edge()?)? })
    }

    /// The addresses among these that somebody answers ARP or NDP for.
    pub fn resolved(&self, addresses: &BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>> {
        self.ask(addresses, |address| self.who_has(address), |frame| self.claimed(frame))
    }

    /// The addresses among these that answer a ping which is sent to the edge host, whether or not
    /// anybody claims them: what a client sees that resolved them before.
    pub fn pinged(&self, addresses: &BTreeSet<IpAddr>) -> Result<BTreeSet<IpAddr>> {
        self.ask(addresses, |address| self.ping(address), |frame| self.ponged(frame))
    }

    fn ask(
        &self,
        addresses: &BTreeSet<IpAddr>,
        question: impl Fn(IpAddr) -> Vec<u8>,
        answer: impl Fn(&[u8]) -> Option<IpAddr>,
    ) -> Result<BTreeSet<IpAddr>> {
        self.forget()?;
        let mut last = BTreeSet::from([IpAddr::V4(self.edge.v4), IpAddr::V6(self.edge.v6)]);
        for address in addresses.iter().chain(&last) {
            self.send(&question(*address))?;
        }
        let mut answered = BTreeSet::new();
        let mut buffer = [0; 2048];
        while !last.is_empty() {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .with_context(|| format!("no answer from the edge host for {last:?}"))?;
            let Some(address) = buffer.get(..length).and_then(&answer) else { continue };
            if !last.remove(&address) && addresses.contains(&address) {
                answered.insert(address);
            }
        }
        Ok(answered)
    }

    /// Takes away what came before the questions.
    fn forget(&self) -> Result<()> {
        loop {
            match recv(self.socket.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(errno) => bail!("cannot read the packet socket: {errno}"),
            }
        }
    }

    fn send(&self, frame: &[u8]) -> Result<()> {
        let sent = send(self.socket.as_raw_fd(), frame, MsgFlags::empty())?;
        ensure!(sent == frame.len(), "{sent} of {} bytes were sent", frame.len());
        Ok(())
    }

    /// A broadcast ARP request, or a neighbour solicitation to the solicited-node group.
    fn who_has(&self, address: IpAddr) -> Vec<u8> {
        let own = self.own;
        match address {
            IpAddr::V4(target) => {
                let mut frame =
                    [&[0xff; 6], &own.mac.0[..], &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]].concat();
                frame.extend(own.mac.0);
                frame.extend(own.v4.octets());
                frame.extend([0; 6]);
                frame.extend(target.octets());
                frame
            }
            IpAddr::V6(target) => {
                let [.., a, b, c] = target.octets();
                let low = u16::from_be_bytes([b, c]);
                let group = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), low);
                let mut message =
                    [&[135, 0, 0, 0, 0, 0, 0, 0], &target.octets()[..], &[1, 1]].concat();
                message.extend(own.mac.0);
                let mut packet = icmpv6(own.v6, group, message);
                // RFC 4861 section 7.1.1: anything else is discarded.
                packet[7] = 255;
                ethernet(Mac([0x33, 0x33, 0xff, a, b, c]), own.mac, &packet)
            }
        }
    }

    /// Whose MAC address an answer to us tells.
    fn claimed(&self, frame: &[u8]) -> Option<IpAddr> {
        if frame.get(..6)? != self.own.mac.0 {
            return None;
        }
        match frame.get(12..14)? {
            [8, 6] if frame.get(20..22)? == [0, 2] => v4(frame.get(28..32)?),
            [0x86, 0xdd] if *frame.get(20)? == ICMPV6 && *frame.get(54)? == 136 => {
                v6(frame.get(62..78)?)
            }
            _ => None,
        }
    }

    fn ping(&self, address: IpAddr) -> Vec<u8> {
        let packet = match address {
            IpAddr::V4(_) => {
                let mut message = [&[8, 0, 0, 0], &ECHO_ID[..]].concat();
                let sum = checksum(&message).to_be_bytes();
                message[2..4].copy_from_slice(&sum);
                whole(self.own.v4.into(), address, ICMP, &message)
            }
            IpAddr::V6(to) => icmpv6(self.own.v6, to, [&[128, 0, 0, 0], &ECHO_ID[..]].concat()),
        };
        ethernet(self.edge.mac, self.own.mac, &packet)
    }

    /// Who answered our ping.
    fn ponged(&self, frame: &[u8]) -> Option<IpAddr> {
        match frame.get(12..14)? {
            [8, 0] if *frame.get(23)? == ICMP && *frame.get(34)? == 0 => {
                (frame.get(38..42)? == ECHO_ID).then(|| v4(frame.get(26..30)?))?
            }
            [0x86, 0xdd] if *frame.get(20)? == ICMPV6 && *frame.get(54)? == 129 => {
                (frame.get(58..62)? == ECHO_ID).then(|| v6(frame.get(22..38)?))?
            }
            _ => None,
        }
    }
}

/// One ICMPv6 message with its checksum, as one packet.
fn icmpv6(from: Ipv6Addr, to: Ipv6Addr, mut message: Vec<u8>) -> Vec<u8> {
    let sum = transport_sum(from.into(), to.into(), ICMPV6, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    whole(from.into(), to.into(), ICMPV6, &message)
}

fn v4(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from)
}

fn v6(bytes: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}
