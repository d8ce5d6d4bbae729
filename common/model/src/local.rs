//! The messages of the daemons' local sockets: HTTP with JSON over a Unix socket, one per daemon.
//!
//! The **speaker's** socket is the only authority on assignments:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/assignments?after=N&run=R` | [`Assignments`]; waits up to 25 s for others than generation N of run R |
//! | `GET /v1/lease` | [`Lease`], where [`Assignments::leased`] |
//! | `GET /v1/status` | [`SpeakerStatus`] |
//! | `POST /v1/drain`, `POST /v1/undrain` ([`DrainRequest`], `self` only) | [`Done`] |
//! | `POST /v1/confirm` | [`Done`] |
//! | `POST /v1/release` ([`ReleaseRequest`]) | [`Done`] |
//!
//! The **router's** socket says what is programmed:
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/programmed?after=N&run=R` | [`Programmed`]; waits up to 25 s for another than generation N of run R |
//! | `GET /v1/status` | [`RouterStatus`] |
//! | `GET /v1/flows?filter=F&limit=N` ([`crate::FlowFilter`], [`FLOWS_LIMIT`] where nothing is said, [`FLOWS_MOST`] at most) | [`Flows`] |
//! | `POST /v1/drain`, `POST /v1/undrain` ([`DrainRequest`], a node) | [`Done`] |
//! | `POST /v1/confirm` | [`Done`] |
//!
//! A generation says something only together with the run of the daemon that counted it: a speaker
//! whose disk refused, or whose ledger had to be replaced by an older one, counts again from where the
//! disk is, and the same number means something else then. Without `run` only the number counts.
//!
//! A refused request is answered with a 4xx status and a [`Refusal`].

mod backends;

use std::{net::IpAddr, sync::Arc};

use serde::{Deserialize, Serialize};

pub use backends::{Backend, BackendState, BackendStatus, Listed, PortStatus};

pub use crate::key::PortClaim;
use crate::{
    Problem, Protocol, ServiceKey, SourceName, group::GroupStatus, reason::Condition,
    snapshot::SourceState,
};

/// What the speaker has assigned and where it may be answered for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignments {
    /// Which run of the speaker; 0 = not said.
    #[serde(default)]
    pub run: u64,
    /// Counts up with every change within a run, and over restarts as far as the ledger got to the
    /// disk.
    pub generation: u64,
    /// One entry per Service that holds an address.
    pub services: Vec<Assignment>,
    /// One entry per address in use.
    pub vips: Vec<Vip>,
    /// Whether ARP and NDP are answered only as long as the [`Lease`] is renewed: another host takes the
    /// addresses over when this speaker dies.
    #[serde(default)]
    pub leased: bool,
}

/// How long the kernel program may answer ARP and NDP for a speaker that has not been heard since.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// `CLOCK_BOOTTIME` in nanoseconds; 0 = not at all.
    pub until: u64,
    /// How often it is renewed, in milliseconds; 0 = nothing is said yet, and the last one stands.
    pub renew: u64,
}

/// The addresses and ports of one Service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// Whose.
    pub service: ServiceKey,
    /// The VIPs, any number per family.
    pub addresses: Vec<IpAddr>,
    /// The ports claimed on each of them.
    pub ports: Vec<PortClaim>,
    /// The Service is gone or changing and only waits for its address to fall silent: existing
    /// flows go on, the router keeps what is programmed.
    #[serde(default)]
    pub withdrawing: bool,
}

/// One address in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vip {
    /// The address.
    pub address: IpAddr,
    /// Whether it is on no interface or is the host's own.
    pub kind: VipKind,
    /// Legs on which it may be reached, by interface name; `None` = every leg.
    pub visible_on: Option<Vec<Arc<str>>>,
    /// Legs on which the kernel program shall answer ARP and NDP for it now. Empty before the
    /// first announcement, during a withdrawal, and for a host's own address.
    pub answer_on: Vec<Arc<str>>,
}

/// Whether a VIP is on no interface or is the host's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VipKind {
    /// On no interface: every packet to it is ours to answer.
    Virtual,
    /// The host's own: only the claimed ports are ours, the rest goes to the host's stack.
    Host,
}

/// What the router has programmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Programmed {
    /// Which run of the router; 0 = not said.
    #[serde(default)]
    pub run: u64,
    /// Counts up with every change of this message within one run of the router.
    pub generation: u64,
    /// The generation of [`Assignments`] that the kernel now reflects; 0 = none yet.
    pub applied: u64,
    /// The [`Assignments::run`] that it is a generation of.
    #[serde(default)]
    pub applied_run: u64,
    /// Whether the program is attached to every leg it should be.
    pub attached: bool,
    /// Per Service of the applied assignments.
    pub services: Vec<ServiceServing>,
    /// Addresses for which the kernel program answers ARP and NDP, with the legs.
    pub answering: Vec<Answering>,
}

/// An address that the kernel program answers for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answering {
    /// The address.
    pub address: IpAddr,
    /// Interface names.
    pub legs: Vec<Arc<str>>,
}

/// Whether one Service's packets would be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceServing {
    /// Whose.
    pub service: ServiceKey,
    /// The verdict.
    pub serving: Serving,
    /// Addresses of it that are known to be served by nothing while others are (no node has an
    /// address of that family): these are not announced.
    #[serde(default)]
    pub withheld: Vec<IpAddr>,
    /// Why, in one sentence; empty where `Ready` and nothing is withheld.
    #[serde(default)]
    pub message: String,
}

/// The router's verdict on a Service, in the terms of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Serving {
    /// Not programmed, or no probe has passed yet: no first announcement.
    Pending,
    /// Programmed, and at least one backend has passed a probe.
    Ready,
    /// Was ready; probes fail now. Doubt: spread over all, keep announcing.
    Degraded,
    /// Knowledge that nothing can serve: no node is eligible, or EndpointSlices are there and none
    /// is ready. Withdraw.
    Unserved,
}

/// Body of `POST /v1/drain` and `POST /v1/undrain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainRequest {
    /// What to drain.
    pub target: DrainTarget,
    /// Forgotten at the next boot: what the shutdown unit orders, beside an operator's own drain,
    /// which stays until `undrain`.
    #[serde(default)]
    pub until_reboot: bool,
}

/// What to drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrainTarget {
    /// This edge host: withdraw every announcement.
    #[serde(rename = "self")]
    Host,
    /// A node: no new flows, established ones until the deadline. `NAME` or `SOURCE/NAME`.
    Node(String),
}

/// Body of `POST /v1/release`: what is kept under a reservation is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseRequest {
    /// `NAMESPACE/NAME` or `SOURCE/NAMESPACE/NAME` of a reservation, as an annotation names it.
    pub reservation: String,
}

/// A request was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// What was done, in one sentence.
    pub message: String,
}

/// A request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, and what would be right.
    pub error: String,
}

/// One daemon in `status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DaemonStatus {
    /// `speaker` or `router`.
    pub name: String,
    /// The version of the binary.
    pub version: String,
    /// As `/readyz` says.
    pub ready: bool,
    /// Generation of the snapshot in use.
    pub generation: u64,
    /// What is not well with the daemon itself (disk full, no peer daemon, a leg missing, …).
    pub conditions: Vec<Condition>,
}

/// What the speaker knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerStatus {
    /// Itself.
    pub daemon: DaemonStatus,
    /// Each source and whether it is knowledge or doubt.
    pub sources: Vec<(SourceName, SourceState)>,
    /// What is wrong with the inputs.
    pub problems: Vec<Problem>,
    /// Every Service that is ours, served or not.
    pub services: Vec<SpeakerService>,
    /// Every pool with its use.
    pub pools: Vec<PoolStatus>,
    /// Addresses that are kept for somebody and that nobody holds.
    #[serde(default)]
    pub reservations: Vec<ReservationStatus>,
    /// Whether the host is drained.
    pub drained: bool,
    /// The group of hosts that this one is in.
    #[serde(default)]
    pub group: Option<GroupStatus>,
}

/// One Service as the speaker sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpeakerService {
    /// Identity.
    pub service: ServiceKey,
    /// Addresses held.
    pub addresses: Vec<IpAddr>,
    /// Where each is announced.
    pub announced: Vec<Announced>,
    /// `Allocated` and `Announced`, with reasons.
    pub conditions: Vec<Condition>,
}

/// One address announced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announced {
    /// The address.
    pub address: IpAddr,
    /// `l2` (later also `bgp`).
    pub by: String,
    /// The leg.
    pub interface: Arc<str>,
}

/// Use of one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Addresses that may be handed out, as text (an IPv6 pool exceeds JSON's numbers).
    pub total: String,
    /// Addresses held.
    pub used: u64,
}

/// A reservation of which nobody holds anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationStatus {
    /// Its name, as `[[reservation]]` or an annotation writes it.
    pub name: Arc<str>,
    /// For whom: `SOURCE/NAMESPACE`, or `SOURCE/NAMESPACE/NAME` of a Service.
    pub r#for: String,
    /// The addresses kept.
    pub addresses: Vec<IpAddr>,
    /// Whether the configuration says so; `roadstead release` gives up those where it does not.
    pub configured: bool,
}

/// What the router knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterStatus {
    /// Itself.
    pub daemon: DaemonStatus,
    /// Every Service of the assignments.
    pub services: Vec<RouterService>,
    /// Lists of nodes that the ports of Services refer to ([`Listed`]).
    #[serde(default)]
    pub lists: Vec<Arc<[Backend]>>,
    /// Every node.
    pub nodes: Vec<NodeStatus>,
    /// Legs with the program attached.
    pub legs: Vec<LegStatus>,
    /// Packets dropped by reason, since the maps were created.
    pub drops: Vec<(String, u64)>,
    /// Flows in the table and its capacity.
    pub flows: (u64, u64),
}

/// One Service as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouterService {
    /// Identity.
    pub service: ServiceKey,
    /// Its ports with their backends.
    pub ports: Vec<PortStatus>,
    /// `Programmed`, `BackendsHealthy`, `ClientAddressPreserved`, with reasons.
    pub conditions: Vec<Condition>,
}

/// One node as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Source of the node.
    pub source: SourceName,
    /// Its name.
    pub name: Arc<str>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Base verdict.
    pub state: BackendState,
    /// Why.
    pub reason: String,
}

/// One leg as the router sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LegStatus {
    /// Interface name.
    pub name: Arc<str>,
    /// Whether the program is attached.
    pub attached: bool,
    /// Why not; empty where attached.
    pub reason: String,
}

/// Flows in one answer where the request names no limit.
pub const FLOWS_LIMIT: usize = 10_000;
/// The most flows in one answer: about 16 MB of it.
pub const FLOWS_MOST: usize = 100_000;

/// Answer of `GET /v1/flows`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flows {
    /// The flows that match, at most the limit asked for.
    pub flows: Vec<Flow>,
    /// Whether more matched.
    pub truncated: bool,
}

/// One flow: which client stands behind a SNAT port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
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
    /// TCP state, or `udp`.
    pub state: String,
    /// Seconds since the last packet of either direction.
    pub idle_seconds: u64,
}
