//! One packet socket per leg.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    task::{Context, Poll},
};

use ipnet::IpNet;
use roadstead_speaker_core::l2::{self, Announcer, LegName};
use roadstead_sys::PacketSocket;
use roadstead_wire::Mac;

use crate::legs::LegFacts;

/// The sockets that are open.
#[derive(Debug, Default)]
pub(super) struct Ports {
    open: Vec<Port>,
    /// The one asked first next time, so that a flood on one leg leaves the others heard.
    next: usize,
    /// Legs without a socket, with the reason that was logged.
    closed: BTreeMap<LegName, String>,
}

#[derive(Debug)]
struct Port {
    leg: l2::Leg,
    socket: PacketSocket,
    /// The frame that found no room; others wait behind it in the announcer.
    pending: Option<Vec<u8>>,
}

/// What came from the sockets.
#[derive(Debug)]
pub(super) enum Heard {
    /// A frame of this length, on this leg.
    Frame(LegName, usize),
    /// A leg has room to send again.
    Room,
    /// A socket failed and was closed.
    Lost,
}

impl Ports {
    /// Closes what is not among `legs` (an interface with another index is another leg); gives the
    /// legs that are left, as they are now.
    pub(super) fn keep(&mut self, legs: &[LegFacts]) -> Vec<l2::Leg> {
        let facts = |port: &Port| {
            let same = |leg: &&LegFacts| {
                leg.name == port.leg.name && leg.ifindex == port.socket.interface().get()
            };
            legs.iter().find(same)
        };
        self.open.retain(|port| facts(port).is_some());
        for port in &mut self.open {
            if let Some(facts) = facts(port) {
                port.leg = leg(facts);
            }
        }
        self.closed.retain(|name, _| legs.iter().any(|leg| leg.name == *name));
        self.legs()
    }

    /// Opens what is missing; gives the legs that are open, and whether these are all.
    pub(super) fn open(&mut self, legs: &[LegFacts]) -> (Vec<l2::Leg>, bool) {
        for facts in legs {
            if self.open.iter().all(|port| port.leg.name != facts.name) {
                self.open_one(facts);
            }
        }
        (self.legs(), self.closed.is_empty())
    }

    /// The next frame, room or loss.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<Heard> {
        let count = self.open.len();
        for offset in 0..count {
            let index = (self.next + offset) % count;
            let Some(port) = self.open.get_mut(index) else { continue };
            if let Poll::Ready(heard) = port.poll(context, buffer) {
                self.next = index + 1;
                return Poll::Ready(heard.unwrap_or_else(|error| self.lose(index, &error)));
            }
        }
        Poll::Pending
    }

    /// Sends what the announcer has, as far as there is room.
    pub(super) fn transmit(&mut self, announcer: &mut Announcer) {
        for port in &mut self.open {
            port.transmit(announcer);
        }
    }

    /// Has each leg receive the groups that its addresses need.
    pub(super) fn set_groups(&mut self, announcer: &Announcer) {
        for port in &mut self.open {
            let groups = announcer.groups(&port.leg.name);
            let groups = groups.into_iter().map(Mac::octets).collect();
            if let Err(error) = port.socket.set_groups(&groups) {
                let leg = &port.leg.name;
                tracing::warn!(%leg, %error, "could not join the groups of solicited nodes: IPv6 conflicts may go unheard");
            }
        }
    }

    /// Forgets frames that found no room: they may be for addresses no longer wanted.
    pub(super) fn hush(&mut self) {
        for port in &mut self.open {
            port.pending = None;
        }
    }

    fn legs(&self) -> Vec<l2::Leg> {
        self.open.iter().map(|port| port.leg.clone()).collect()
    }

    /// The same reason is logged once, however often it is met.
    fn open_one(&mut self, facts: &LegFacts) {
        let opened = NonZeroU32::new(facts.ifindex).ok_or("interface index 0".to_owned());
        let opened = opened.and_then(|index| {
            PacketSocket::open(index).map_err(|error| format!("{:#}", anyhow::Error::from(error)))
        });
        match opened {
            Ok(socket) => {
                tracing::info!(leg = %facts.name, "the leg is ready");
                self.closed.remove(&facts.name);
                self.open.push(Port { leg: leg(facts), socket, pending: None });
            }
            Err(error) => {
                if self.closed.get(&facts.name) != Some(&error) {
                    tracing::warn!(leg = %facts.name, %error, "the leg cannot be used; it is tried again");
                }
                self.closed.insert(facts.name.clone(), error);
            }
        }
    }

    fn lose(&mut self, index: usize, error: &io::Error) -> Heard {
        let port = self.open.remove(index);
        tracing::warn!(leg = %port.leg.name, %error, "the leg's socket failed; it is opened again");
        Heard::Lost
    }
}

impl Port {
    fn poll(&mut self, context: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<Heard>> {
        if let Poll::Ready(received) = self.socket.poll_recv(context, buffer) {
            let name = self.leg.name.clone();
            return Poll::Ready(received.map(|length| Heard::Frame(name, length)));
        }
        if self.pending.is_some() {
            return self.socket.poll_writable(context).map_ok(|()| Heard::Room);
        }
        Poll::Pending
    }

    fn transmit(&mut self, announcer: &mut Announcer) {
        while let Some(frame) =
            self.pending.take().or_else(|| announcer.poll_transmit(&self.leg.name))
        {
            match self.socket.try_send(&frame) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.pending = Some(frame);
                    return;
                }
                // The interface is down, or its queue is full: the schedule repeats what matters.
                Err(error) => tracing::debug!(leg = %self.leg.name, %error, "a frame was not sent"),
            }
        }
    }
}

fn leg(facts: &LegFacts) -> l2::Leg {
    let link_local = facts.addresses.iter().find_map(link_local);
    l2::Leg { name: facts.name.clone(), mac: facts.mac.into(), link_local }
}

fn link_local(net: &IpNet) -> Option<Ipv6Addr> {
    match net.addr() {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        IpAddr::V6(_) | IpAddr::V4(_) => None,
    }
}
