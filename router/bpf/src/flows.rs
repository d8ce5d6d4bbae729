//! The flow table, for people: which client stands behind a SNAT port.

use std::{collections::BTreeMap, net::IpAddr};

use roadstead_model::Protocol;
use roadstead_router_core::maps::{BackendId, FrontendId, MapError};

use crate::{
    Dataplane,
    layout::{Flow, FlowKey, ReplyKey, flow_state},
    maps::protocol,
    typed::Walk,
};

/// One flow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowEntry {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The client.
    pub client: (IpAddr, u16),
    /// VIP and port.
    pub vip: (IpAddr, u16),
    /// Source towards the node.
    pub snat: (IpAddr, u16),
    /// Node and NodePort.
    pub node: (IpAddr, u16),
    /// Index of the frontend.
    pub frontend: FrontendId,
    /// Index of the backend.
    pub backend: BackendId,
    /// TCP: `half-open`, `established`, `closing`, `closed`; UDP: `udp`.
    pub state: &'static str,
    /// Seconds since the last packet of either direction.
    pub idle_seconds: u64,
}

/// What the indices in flow entries stand for, read once for a whole listing.
struct Names {
    vips: BTreeMap<u32, (IpAddr, u16)>,
    nodes: BTreeMap<u32, IpAddr>,
    snats: BTreeMap<u32, IpAddr>,
    now: u32,
}

impl Dataplane {
    /// Hands over every flow. Those that begin or end meanwhile may be missed; `each` returns false
    /// to stop.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn for_each_flow(&self, mut each: impl FnMut(FlowEntry) -> bool) -> Result<(), MapError> {
        let names = self.names()?;
        let mut walk = Walk::default();
        let mut going = true;
        while going && !walk.done {
            let mut batch = Vec::new();
            self.flows.walk(&mut walk, &mut |key, flow| batch.push((key, flow)))?;
            for (key, flow) in batch {
                let Some(mut entry) = names.entry(&key, &flow) else { continue };
                entry.idle_seconds = self.idle(&key, &flow, &names)?;
                going = going && each(entry);
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Names, MapError> {
        let identities = self.identities.all()?.into_iter();
        let backends = self.backends.all()?.into_iter();
        let snats = self.snats.all()?.into_iter();
        Ok(Names {
            vips: identities
                .filter(|(_, key)| key.protocol != 0)
                .map(|(id, key)| (id, (key.address.into(), key.port.into())))
                .collect(),
            nodes: backends
                .filter(|(_, backend)| backend.mode != 0)
                .map(|(id, backend)| (id, backend.address.into()))
                .collect(),
            snats: snats
                .filter(|(_, snat)| snat.present != 0)
                .map(|(id, snat)| (id, snat.address.into()))
                .collect(),
            now: self.now()?,
        })
    }

    /// Seconds since either side was heard: the node's are in the reverse entry.
    fn idle(&self, key: &FlowKey, flow: &Flow, names: &Names) -> Result<u64, MapError> {
        let client = age(names.now, flow.last_seen);
        let Some(node) = names.nodes.get(&flow.backend.into()) else { return Ok(client) };
        let reply = self.replies.get(&ReplyKey {
            node: (*node).into(),
            node_port: flow.node_port,
            snat_port: flow.snat_port,
            snat: flow.snat,
            protocol: key.protocol,
            pad: 0,
        })?;
        Ok(reply.map_or(client, |reply| client.min(age(names.now, reply.last_seen))))
    }
}

impl Names {
    /// `None` where an index has lost its meaning between two reads.
    fn entry(&self, key: &FlowKey, flow: &Flow) -> Option<FlowEntry> {
        let node = *self.nodes.get(&flow.backend.into())?;
        Some(FlowEntry {
            protocol: protocol(key.protocol),
            client: (key.client.into(), key.client_port.into()),
            vip: *self.vips.get(&key.frontend)?,
            snat: (*self.snats.get(&flow.snat.into())?, flow.snat_port.into()),
            node: (node, flow.node_port.into()),
            frontend: key.frontend,
            backend: flow.backend,
            state: state(key.protocol, flow.state),
            idle_seconds: age(self.now, flow.last_seen),
        })
    }
}

/// A clock read on another processor may be a moment ahead.
fn age(now: u32, seen: u32) -> u64 {
    u64::try_from(now.wrapping_sub(seen).cast_signed()).unwrap_or(0)
}

fn state(protocol_number: u8, state: u32) -> &'static str {
    let both = flow_state::CLIENT_FIN | flow_state::NODE_FIN;
    match protocol(protocol_number) {
        Protocol::Udp => "udp",
        _ if state & both == both || state & flow_state::RESET != 0 => "closed",
        _ if state & (both | flow_state::RESET_IDLE) != 0 => "closing",
        _ if state & flow_state::ESTABLISHED != 0 => "established",
        _ => "half-open",
    }
}
