//! What MetalLB's objects say of BGP: checked and kept, not served yet.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::Scope;
use crate::selector::Selector;

/// A `BGPAdvertisement`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpAdvertisement {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Which pools.
    pub scope: Scope,
    /// `spec.aggregationLength`: the prefix length of what is announced over IPv4.
    pub aggregation_length: u8,
    /// `spec.aggregationLengthV6`.
    pub aggregation_length_v6: u8,
    /// `spec.localPref`; 0 is not sent.
    pub local_preference: u32,
    /// `spec.communities`, aliases resolved.
    pub communities: Vec<Community>,
    /// `spec.peers`: names of `BGPPeer`; empty = all.
    pub peers: Vec<Arc<str>>,
    /// `spec.serviceSelectors`; empty = all.
    pub service_selectors: Vec<Selector>,
    /// `spec.nodeSelectors`; means nothing outside the cluster.
    pub node_selectors: Vec<Selector>,
}

/// A BGP community.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Community {
    /// RFC 1997.
    Standard(u16, u16),
    /// RFC 8092.
    Large(u32, u32, u32),
}

impl fmt::Display for Community {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard(a, b) => write!(f, "{a}:{b}"),
            Self::Large(a, b, c) => write!(f, "large:{a}:{b}:{c}"),
        }
    }
}

/// A `BGPPeer`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BgpPeer {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.myASN`.
    pub my_asn: u32,
    /// `spec.peerASN` or `spec.dynamicASN`.
    pub remote: RemoteAsn,
    /// `spec.localASN`.
    pub local_asn: Option<u32>,
    /// `spec.peerAddress` or `spec.interface`.
    pub neighbour: Neighbour,
    /// `spec.peerPort`.
    pub port: u16,
    /// `spec.sourceAddress`.
    pub source_address: Option<IpAddr>,
    /// `spec.routerID`.
    pub router_id: Option<Ipv4Addr>,
    /// `spec.vrf`; empty = the host's own.
    pub vrf: Arc<str>,
    /// The timers.
    pub timers: Timers,
    /// Where its password stands; the text itself is not kept.
    pub password: Option<Password>,
    /// `spec.bfdProfile`.
    pub bfd_profile: Option<Arc<str>>,
    /// `spec.enableGracefulRestart`.
    pub graceful_restart: bool,
    /// `spec.ebgpMultiHop`.
    pub multihop: bool,
    /// `spec.dualStackAddressFamily`: the session carries both families.
    pub dual_stack: bool,
    /// `spec.nodeSelectors`; means nothing outside the cluster.
    pub node_selectors: Vec<Selector>,
}

/// The ASN of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RemoteAsn {
    /// `spec.peerASN`.
    Is(u32),
    /// `spec.dynamicASN: internal`: our own.
    Internal,
    /// `spec.dynamicASN: external`: any but our own.
    External,
}

impl RemoteAsn {
    /// Whether the session is internal (RFC 4271 §1.1).
    pub fn is_internal(self, own: u32) -> bool {
        match self {
            Self::Is(asn) => asn == own,
            Self::Internal => true,
            Self::External => false,
        }
    }
}

/// Whom a session is with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Neighbour {
    /// `spec.peerAddress`.
    Address(IpAddr),
    /// `spec.interface`: whoever is on this link (unnumbered).
    Interface(Arc<str>),
}

/// The timers of a session; `None` = by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timers {
    /// `spec.holdTime`: zero, or at least 3 s (RFC 4271 §4.2).
    pub hold: Option<Duration>,
    /// `spec.keepaliveTime`, at most the hold time.
    pub keepalive: Option<Duration>,
    /// `spec.connectTime`: 1 to 65,535 s.
    pub connect: Option<Duration>,
}

/// Where a password of TCP MD5 (RFC 2385) stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Password {
    /// In the object itself.
    Object,
    /// `spec.passwordSecret`: under the key `password` of this Secret beside it.
    Secret(Arc<str>),
}

/// A `BFDProfile`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BfdProfile {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `spec.receiveInterval`: 10 to 60,000 ms.
    pub receive: Duration,
    /// `spec.transmitInterval`: 10 to 60,000 ms.
    pub transmit: Duration,
    /// `spec.detectMultiplier`: 2 to 255.
    pub multiplier: u8,
    /// `spec.echoInterval`: 10 to 60,000 ms.
    pub echo: Duration,
    /// `spec.echoMode`.
    pub echo_mode: bool,
    /// `spec.passiveMode`.
    pub passive: bool,
    /// `spec.minimumTtl` of a session over several hops: 1 to 254.
    pub minimum_ttl: u8,
}
