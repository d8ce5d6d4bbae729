//! Between the vocabulary of `roadstead-router-core` and the layout.

use std::net::IpAddr;

use ipnet::IpNet;
use roadstead_model::{Protocol, local::VipKind};
use roadstead_router_core::maps::{
    Answer, AnswerKey, Backend, BackendMode, Frontend, FrontendKey, NextHop, RangeSetId, Snat,
    TableId, VipEntry,
};

use crate::layout::{self, Address, Port, backend_flag, mode, vip_kind};

const NO_ADDRESS: Address = Address([0; 16]);

impl layout::FrontendKey {
    /// No identity: an element never written.
    pub(crate) const NONE: Self =
        Self { address: NO_ADDRESS, port: Port::ZERO, protocol: 0, pad: [0; 5] };
}

impl layout::Backend {
    /// No backend: an element never written.
    pub(crate) const NONE: Self = Self {
        address: NO_ADDRESS,
        gateway: NO_ADDRESS,
        ifindex: 0,
        destination_mac: [0; 6],
        source_mac: [0; 6],
        mtu: 0,
        snat_first: 0,
        snat_count: 0,
        mode: mode::NONE,
        flags: 0,
    };

    /// `None` where the element was never written.
    pub(crate) fn read(self) -> Option<Backend> {
        let state = match self.mode {
            mode::ACTIVE => BackendMode::Active,
            mode::DOUBTFUL => BackendMode::Doubtful,
            mode::GONE => BackendMode::Gone,
            _ => return None,
        };
        let has = |flag| self.flags & flag != 0;
        let macs = NextHop { destination: self.destination_mac, source: self.source_mac };
        Some(Backend {
            address: self.address.into(),
            ifindex: self.ifindex,
            macs: has(backend_flag::RESOLVED).then_some(macs),
            gateway: has(backend_flag::GATEWAY).then(|| self.gateway.into()),
            mtu: self.mtu,
            snat: (self.snat_first, self.snat_count),
            state,
        })
    }
}

impl From<&Backend> for layout::Backend {
    fn from(backend: &Backend) -> Self {
        let resolved = backend.macs.map_or(0, |_| backend_flag::RESOLVED);
        let gateway = backend.gateway.map_or(0, |_| backend_flag::GATEWAY);
        let macs = backend.macs.unwrap_or(NextHop { destination: [0; 6], source: [0; 6] });
        Self {
            address: backend.address.into(),
            gateway: backend.gateway.map_or(NO_ADDRESS, Into::into),
            ifindex: backend.ifindex,
            destination_mac: macs.destination,
            source_mac: macs.source,
            mtu: backend.mtu,
            snat_first: backend.snat.0,
            snat_count: backend.snat.1,
            mode: match backend.state {
                BackendMode::Active => mode::ACTIVE,
                BackendMode::Doubtful => mode::DOUBTFUL,
                BackendMode::Gone => mode::GONE,
            },
            flags: resolved | gateway,
        }
    }
}

impl layout::Snat {
    /// No address: an element never written.
    pub(crate) const NONE: Self =
        Self { address: NO_ADDRESS, low: 0, high: 0, shared: 0, present: 0, pad: 0 };

    /// `None` where the element was never written.
    pub(crate) fn read(self) -> Option<Snat> {
        (self.present != 0).then(|| Snat {
            address: self.address.into(),
            low: self.low,
            high: self.high,
            shared: self.shared != 0,
        })
    }
}

impl From<&Snat> for layout::Snat {
    fn from(snat: &Snat) -> Self {
        Self {
            address: snat.address.into(),
            low: snat.low,
            high: snat.high,
            shared: snat.shared.into(),
            present: 1,
            pad: 0,
        }
    }
}

impl layout::Leg {
    /// A free slot.
    pub(crate) const NONE: Self = Self { ifindex: 0, mtu: 0, mac: [0; 6] };
}

impl From<&VipEntry> for layout::Vip {
    fn from(vip: &VipEntry) -> Self {
        let kind = match vip.kind {
            VipKind::Virtual => vip_kind::VIRTUAL,
            VipKind::Host => vip_kind::HOST,
        };
        Self { kind, legs: vip.legs }
    }
}

impl From<layout::Vip> for VipEntry {
    fn from(vip: layout::Vip) -> Self {
        let host = vip.kind == vip_kind::HOST;
        Self { kind: if host { VipKind::Host } else { VipKind::Virtual }, legs: vip.legs }
    }
}

impl From<&FrontendKey> for layout::FrontendKey {
    fn from(key: &FrontendKey) -> Self {
        Self {
            address: key.address.into(),
            port: key.port.into(),
            protocol: key.protocol.number(),
            pad: [0; 5],
        }
    }
}

impl From<layout::FrontendKey> for FrontendKey {
    fn from(key: layout::FrontendKey) -> Self {
        Self {
            address: key.address.into(),
            protocol: protocol(key.protocol),
            port: key.port.into(),
        }
    }
}

/// The protocol by its number; only TCP and UDP are ever written.
pub(crate) fn protocol(number: u8) -> Protocol {
    if number == Protocol::Udp.number() { Protocol::Udp } else { Protocol::Tcp }
}

impl From<&Frontend> for layout::Frontend {
    fn from(frontend: &Frontend) -> Self {
        Self {
            id: frontend.id,
            table: frontend.table.map_or(layout::NO_TABLE, u32::from),
            ranges: frontend.ranges.unwrap_or(layout::NO_RANGES),
            affinity_seconds: frontend.affinity_seconds,
            node_port: frontend.node_port.into(),
            flags: if frontend.log { layout::FRONTEND_LOG } else { 0 },
        }
    }
}

impl From<layout::Frontend> for Frontend {
    fn from(frontend: layout::Frontend) -> Self {
        Self {
            id: frontend.id,
            node_port: frontend.node_port.into(),
            table: TableId::try_from(frontend.table).ok(),
            affinity_seconds: frontend.affinity_seconds,
            ranges: (frontend.ranges != layout::NO_RANGES).then_some(frontend.ranges),
            log: frontend.flags & layout::FRONTEND_LOG != 0,
        }
    }
}

/// Bits of the key before the address: the set.
const SET_BITS: u32 = 32;
/// Bits of an IPv4 address before its own.
const MAPPED_BITS: u32 = 96;

impl layout::RangeKey {
    pub(crate) fn new(set: RangeSetId, net: &IpNet) -> Self {
        let mapped = if net.addr().is_ipv4() { MAPPED_BITS } else { 0 };
        let prefix_length = SET_BITS + mapped + u32::from(net.prefix_len());
        Self { prefix_length, set, address: net.network().into() }
    }

    /// `None` for a key that no [`IpNet`] makes.
    pub(crate) fn range(self) -> Option<(RangeSetId, IpNet)> {
        let address: IpAddr = self.address.into();
        let mapped = if address.is_ipv4() { MAPPED_BITS } else { 0 };
        let bits = self.prefix_length.checked_sub(SET_BITS + mapped)?;
        let net = IpNet::new(address, u8::try_from(bits).ok()?).ok()?;
        Some((self.set, net))
    }
}

impl From<&AnswerKey> for layout::AnswerKey {
    fn from(key: &AnswerKey) -> Self {
        Self { address: key.address.into(), ifindex: key.ifindex, pad: 0 }
    }
}

impl From<layout::AnswerKey> for AnswerKey {
    fn from(key: layout::AnswerKey) -> Self {
        Self { address: key.address.into(), ifindex: key.ifindex }
    }
}

impl From<&Answer> for layout::Answer {
    fn from(answer: &Answer) -> Self {
        Self { expires: answer.expires.unwrap_or(0), mac: answer.mac, pad: [0; 2] }
    }
}

impl From<layout::Answer> for Answer {
    fn from(answer: layout::Answer) -> Self {
        Self { mac: answer.mac, expires: (answer.expires != 0).then_some(answer.expires) }
    }
}
