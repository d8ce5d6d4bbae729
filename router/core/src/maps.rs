//! What the kernel maps hold, in Rust terms, and the trait through which they are read and written.
//!
//! `roadstead-router-bpf` implements [`Maps`] over the pinned maps; tests implement it in memory.
//! Indices (backends, frontends, SNAT addresses, tables, range sets) live in the kernel: a restarted
//! router reads them back with [`Maps::read`] and goes on with the same ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use ipnet::IpNet;
use roadstead_model::{Protocol, local::VipKind};

/// Slots of a Maglev table: a prime, 100 times the largest cluster that is balanced within 1 %.
pub const TABLE_SLOTS: usize = 16_381;
/// A slot of a table without any backend, and the largest index that no backend has.
pub const NO_BACKEND: u16 = u16::MAX;

/// Capacity of each map. Fixed when the maps are created; a plan that exceeds one is refused by
/// name for the objects that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Flows (each an entry in both directions).
    pub flows: u32,
    /// VIPs.
    pub vips: u32,
    /// Frontends: (VIP, protocol, port).
    pub frontends: u32,
    /// Backends: one per node address.
    pub backends: u16,
    /// Maglev tables.
    pub tables: u16,
    /// SNAT addresses.
    pub snats: u16,
    /// Source ranges over all sets.
    pub ranges: u32,
}

/// Index of a backend: stable while any flow may refer to it.
pub type BackendId = u16;
/// Index of a frontend: stable while any flow may refer to it.
pub type FrontendId = u32;
/// Index of a Maglev table.
pub type TableId = u16;
/// Index of a SNAT address.
pub type SnatId = u16;
/// A set of source ranges.
pub type RangeSetId = u32;

/// A MAC address.
pub type Mac = [u8; 6];

/// (VIP, protocol, port).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontendKey {
    /// VIP.
    pub address: IpAddr,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Service port.
    pub port: u16,
}

/// How new flows to a frontend are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frontend {
    /// Its index: flows refer to it, and the reply path finds VIP and port by it.
    pub id: FrontendId,
    /// NodePort of new flows; established ones keep theirs.
    pub node_port: u16,
    /// Table of new flows; `None`: nobody serves it (closed by knowledge: refused visibly).
    pub table: Option<TableId>,
    /// ClientIP affinity, in seconds; 0 = none.
    pub affinity_seconds: u32,
    /// Clients allowed; `None` = all. Also checked for established flows: a client that is no
    /// longer in the set is cut off with its next packet.
    pub ranges: Option<RangeSetId>,
    /// Report each new flow on the ring buffer.
    pub log: bool,
}

/// A node address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend {
    /// The node's address.
    pub address: IpAddr,
    /// Leg towards the node.
    pub ifindex: u32,
    /// Next hop's and our MAC on that leg; `None` = not resolved, the kernel's neighbour code sends.
    pub macs: Option<NextHop>,
    /// The next hop where it is not the node itself.
    pub gateway: Option<IpAddr>,
    /// Largest packet the leg (or the route) takes, in bytes of IP.
    pub mtu: u16,
    /// First SNAT address to use towards it, and how many follow.
    pub snat: (SnatId, u16),
    /// What flows may do.
    pub state: BackendMode,
}

/// Resolved L2 addresses of a next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    /// Ethernet destination.
    pub destination: Mac,
    /// Ethernet source.
    pub source: Mac,
}

/// What flows of a backend may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendMode {
    /// Established flows pass; new ones come by the tables.
    Active,
    /// Probes fail: established TCP flows still pass (doubt); a retransmitted SYN that was never
    /// answered and UDP flows choose again.
    Doubtful,
    /// The node is gone, or its drain time is over: TCP flows are reset, UDP flows choose again.
    Gone,
}

/// An address used as source towards nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snat {
    /// The address.
    pub address: IpAddr,
    /// Lowest port that may be used.
    pub low: u16,
    /// Highest port that may be used.
    pub high: u16,
    /// Whether the host's own sockets may use it too, so that they must be asked for first.
    pub shared: bool,
}

/// A leg on which the program answers ARP or NDP for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnswerKey {
    /// VIP.
    pub address: IpAddr,
    /// Leg.
    pub ifindex: u32,
}

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Our MAC on the leg.
    pub mac: Mac,
    /// `CLOCK_BOOTTIME` in nanoseconds after which it is silent; `None` = for ever.
    pub expires: Option<u64>,
}

impl Answer {
    /// As [`Self::expires`]: when the speaker's lease does, which is one for all answers and renewed
    /// aside (fencing).
    pub const LEASED: Option<u64> = Some(1);
}

/// A VIP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VipEntry {
    /// Virtual: every packet to it is ours (closed ports are refused, pings answered).
    pub kind: VipKind,
    /// Bit n: visible on the leg with slot n of [`Installed::legs`]; all ones = everywhere. A
    /// packet to it on another leg is not ours.
    pub legs: u32,
}

/// A Maglev table: the backend of each slot, [`NO_BACKEND`] in all of them when empty. Shared: what
/// is wanted and what is installed are mostly the same tables.
pub type Table = Arc<[BackendId]>;

/// Everything the maps hold apart from flows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Slot of each leg (0 to 31) by ifindex.
    pub legs: BTreeMap<u32, u8>,
    /// VIPs.
    pub vips: BTreeMap<IpAddr, VipEntry>,
    /// Frontends being served.
    pub frontends: BTreeMap<FrontendKey, Frontend>,
    /// Which (VIP, protocol, port) each index stands for: outlives the frontend until no flow
    /// refers to it.
    pub identities: BTreeMap<FrontendId, FrontendKey>,
    /// Backends.
    pub backends: BTreeMap<BackendId, Backend>,
    /// Tables in use.
    pub tables: BTreeMap<TableId, Table>,
    /// SNAT addresses.
    pub snats: BTreeMap<SnatId, Snat>,
    /// Source ranges.
    pub ranges: BTreeSet<(RangeSetId, IpNet)>,
    /// ARP and NDP answers.
    pub answers: BTreeMap<AnswerKey, Answer>,
}

/// One change of one entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Give a leg its slot.
    PutLeg(u32, u8),
    /// Forget a leg.
    DeleteLeg(u32),
    /// Add or change a VIP.
    PutVip(IpAddr, VipEntry),
    /// Remove a VIP.
    DeleteVip(IpAddr),
    /// Name a frontend index.
    PutIdentity(FrontendId, FrontendKey),
    /// Free a frontend index.
    DeleteIdentity(FrontendId),
    /// Add or change a frontend.
    PutFrontend(FrontendKey, Frontend),
    /// Remove a frontend.
    DeleteFrontend(FrontendKey),
    /// Add or change a backend.
    PutBackend(BackendId, Backend),
    /// Remove a backend.
    DeleteBackend(BackendId),
    /// Write a table; readers see the old one or the new one, never a mixture.
    PutTable(TableId, Table),
    /// Free a table.
    DeleteTable(TableId),
    /// Add or change a SNAT address.
    PutSnat(SnatId, Snat),
    /// Remove a SNAT address.
    DeleteSnat(SnatId),
    /// Allow a prefix.
    PutRange(RangeSetId, IpNet),
    /// Disallow a prefix.
    DeleteRange(RangeSetId, IpNet),
    /// Answer for an address on a leg.
    PutAnswer(AnswerKey, Answer),
    /// Fall silent for an address on a leg.
    DeleteAnswer(AnswerKey),
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The map has no room left.
    #[error("the {map} map is full ({capacity} entries)")]
    Full {
        /// Which.
        map: &'static str,
        /// How many it holds.
        capacity: u32,
    },
    /// The kernel refused.
    #[error("cannot {act} the {map} map")]
    Kernel {
        /// `read`, `write` or `delete from`.
        act: &'static str,
        /// Which.
        map: &'static str,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// The kernel maps.
pub trait Maps {
    /// How much fits.
    fn capacity(&self) -> Capacity;

    /// Reads everything back: the start of a restart, and the periodic comparison.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn read(&self) -> Result<Installed, MapError>;

    /// Carries out one change.
    ///
    /// # Errors
    /// When the map is full or the kernel refuses; the entry is then unchanged.
    fn apply(&mut self, op: &Op) -> Result<(), MapError>;
}
