//! What the program shall do with a packet, written a second time: from the packet's bytes and the
//! flows there are to the decision and the frame that leaves. It shares nothing with the C but the
//! rules; the checksums of what is built anew are computed, those of what is changed follow RFC 1624
//! word by word, so that a packet that was wrong stays wrong by as much.

mod answer;
mod translate;
mod view;

use std::{collections::HashMap, net::IpAddr};

pub(crate) use translate::{Ends, translated};
pub(crate) use view::view;
use view::{Fragment, View};

use crate::{
    frame::{self, ACK, RST, SYN},
    world::{DNS, FAMILIES, Family, HOST, HTTP, ORPHAN},
};

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Left to the host as it came.
    Pass,
    /// Dropped for this reason.
    Drop(&'static str),
    /// Answered, by this frame but for its Ethernet addresses, which are those of the question turned
    /// round.
    Answer(Option<&'static str>, Vec<u8>),
    /// Belongs to this flow, which is there afterwards; towards the node.
    ToNode(FlowKey),
    /// Belongs to a flow; towards the client as this packet.
    ToClient(Vec<u8>),
    /// An error about a flow, translated to this packet.
    Error(Vec<u8>),
}

/// Who speaks with which service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlowKey {
    pub(crate) client: (IpAddr, u16),
    pub(crate) service: (IpAddr, u16),
    pub(crate) protocol: u8,
}

/// How a flow looks to the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) snat: (IpAddr, u16),
    pub(crate) node: (IpAddr, u16),
}

/// What identifies a datagram in fragments; IPv6 does without the protocol.
type Datagram = (IpAddr, IpAddr, u32, Option<u8>);
/// Ports and protocol of a first fragment.
type First = (u16, u16, u8);

/// What the model knows of the past.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// The flows, as the maps have them before the packet.
    pub(crate) flows: HashMap<FlowKey, Flow>,
    fragments: HashMap<Datagram, First>,
}

enum Service {
    Served,
    Orphan,
}

fn service(view: &View) -> Option<Service> {
    let vip = FAMILIES.iter().any(|family| family.vip == view.destination);
    match (view.protocol, view.ports.1) {
        (frame::TCP, HTTP) if vip || view.destination == HOST => Some(Service::Served),
        (frame::UDP, DNS) if vip => Some(Service::Served),
        (frame::TCP | frame::UDP, ORPHAN) if vip => Some(Service::Orphan),
        _ => None,
    }
}

/// Packets from our own addresses do not come from outside.
fn is_ours(address: IpAddr) -> bool {
    let family = |family: &Family| [family.vip, family.snat].contains(&address);
    address == HOST || FAMILIES.iter().any(family)
}

impl Model {
    /// Decides about a frame for our own MAC, without VLAN tag, that is neither ARP nor a neighbour
    /// solicitation for an address that is answered for.
    pub(crate) fn decide(&mut self, frame: &[u8]) -> Decision {
        let mut view = match view(frame) {
            Ok(view) => view,
            Err(unread) => return unread.decision(),
        };
        let is_vip = FAMILIES.iter().any(|family| family.vip == view.destination);
        let is_snat = FAMILIES.iter().any(|family| family.snat == view.destination);
        if !is_vip && !is_snat && view.destination != HOST {
            return Decision::Pass;
        }
        if !self.defragment(&mut view) {
            return if is_vip { Decision::Drop("fragment-unknown") } else { Decision::Pass };
        }
        if is_snat { self.to_snat(&view) } else { self.to_vip(&view, is_vip) }
    }

    /// Remembers a first fragment's ports, gives them to a later one. False: they are not known.
    fn defragment(&mut self, view: &mut View) -> bool {
        let protocol = view.source.is_ipv4().then_some(view.protocol);
        let key = (view.source, view.destination, view.id, protocol);
        match view.fragment {
            Fragment::None => true,
            Fragment::First => {
                let (source, destination) = view.ports;
                self.fragments.insert(key, (source, destination, view.protocol));
                true
            }
            Fragment::Later => self.fragments.get(&key).is_some_and(|known| {
                view.ports = (known.0, known.1);
                view.protocol = known.2;
                true
            }),
        }
    }

    /// From a node, or for the host itself.
    fn to_snat(&self, view: &View) -> Decision {
        if view.is_icmp() {
            return self.error_to_client(view).unwrap_or(Decision::Pass);
        }
        let flow =
            Flow { snat: (view.destination, view.ports.1), node: (view.source, view.ports.0) };
        let owner = self.flows.iter().find(|(key, known)| {
            **known == flow && key.protocol == view.protocol && view.has_ports()
        });
        let Some((key, _)) = owner else { return Decision::Pass };
        if view.hop_limit <= 1 {
            return answer::time_exceeded(view);
        }
        Decision::ToClient(translated(view, &Ends { source: key.service, destination: key.client }))
    }

    fn to_vip(&self, view: &View, alone: bool) -> Decision {
        if view.is_icmp() {
            return self.icmp_to_vip(view, alone);
        }
        match service(view) {
            Some(served) => self.to_service(view, &served, alone),
            None if !alone => Decision::Pass,
            None if view.has_ports() => answer::refused(view, "closed-port"),
            None => Decision::Drop("protocol"),
        }
    }

    fn to_service(&self, view: &View, service: &Service, alone: bool) -> Decision {
        let key = FlowKey {
            client: (view.source, view.ports.0),
            service: (view.destination, view.ports.1),
            protocol: view.protocol,
        };
        if !self.flows.contains_key(&key) {
            let opens = view.protocol == frame::UDP || view.flags & (SYN | ACK | RST) == SYN;
            if !answer::can_be_answered(view) || is_ours(view.source) {
                return Decision::Drop("spoofed");
            }
            if !opens {
                return if alone { answer::refused(view, "no-flow") } else { Decision::Pass };
            }
            if view.fragment == Fragment::Later {
                return Decision::Drop("fragment-unknown");
            }
            if matches!(service, Service::Orphan) {
                return answer::refused(view, "no-backend");
            }
        }
        if view.hop_limit <= 1 {
            return answer::time_exceeded(view);
        }
        Decision::ToNode(key)
    }

    fn icmp_to_vip(&self, view: &View, alone: bool) -> Decision {
        if view.fragment != Fragment::None {
            return if alone { Decision::Drop("fragmented-icmp") } else { Decision::Pass };
        }
        let unknown = if alone { Decision::Drop("icmp-unknown") } else { Decision::Pass };
        match view.icmp_type() {
            Some(8 | 128) if !alone => Decision::Pass,
            Some(kind) if view.is_echo(kind) => answer::echo(view),
            Some(kind) if view.is_error(kind) => self.error_to_node(view).unwrap_or(unknown),
            Some(133..=137) if view.source.is_ipv6() => Decision::Pass,
            _ if alone => Decision::Drop("protocol"),
            _ => Decision::Pass,
        }
    }

    /// An error about what a client sent to a node.
    fn error_to_client(&self, view: &View) -> Option<Decision> {
        let kind = view.icmp_type()?;
        let quoted =
            view.quoted().filter(|_| view.is_error(kind) && view.fragment == Fragment::None)?;
        let flow = Flow {
            snat: (quoted.source, quoted.ports.0),
            node: (quoted.destination, quoted.ports.1),
        };
        let (key, _) = self
            .flows
            .iter()
            .find(|(key, known)| **known == flow && key.protocol == quoted.protocol)?;
        if view.hop_limit <= 1 {
            return Some(Decision::Drop("ttl"));
        }
        let source = if view.source == flow.node.0 { key.service.0 } else { view.source };
        let inner = Ends { source: key.client, destination: key.service };
        let outer = (source, key.client.0);
        Some(Decision::Error(translate::error(view, &quoted, &inner, outer)))
    }

    /// An error about what a node sent to a client.
    fn error_to_node(&self, view: &View) -> Option<Decision> {
        let quoted = view.quoted()?;
        let key = FlowKey {
            client: (quoted.destination, quoted.ports.1),
            service: (quoted.source, quoted.ports.0),
            protocol: quoted.protocol,
        };
        let flow = self.flows.get(&key)?;
        if view.hop_limit <= 1 {
            return Some(Decision::Drop("ttl"));
        }
        let Some(view) = translate::path_mtu_bounded(view, quoted.protocol) else {
            return Some(Decision::Drop("path-mtu"));
        };
        let inner = Ends { source: flow.node, destination: flow.snat };
        let outer = (flow.snat.0, flow.node.0);
        Some(Decision::Error(translate::error(&view, &quoted, &inner, outer)))
    }
}
