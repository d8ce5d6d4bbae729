//! Why a Service does not have what it asks for: one word each for scripts, one sentence each for
//! people. A refusal names the thing that stands in the way, and what would be right where there
//! is something to be done.

use std::{fmt, net::IpAddr, sync::Arc};

use ipnet::IpNet;
use roadstead_model::{Family, NodeKey, ServiceKey, local::PortClaim, object::ServicePort};

/// Pools that a refusal names before the rest is left out: each of thousands of Services may be refused
/// by each of thousands of pools (S7).
const NAMED: usize = 20;

/// As many as a refusal keeps: those that are named, and one that tells of more.
pub(super) fn some<T>(all: impl IntoIterator<Item = T>) -> Vec<T> {
    all.into_iter().take(NAMED.saturating_add(1)).collect()
}

/// Why one wish of a Service is not met. Every variant is a word of its own in conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The configuration has no pool at all.
    NoPools,
    /// The pool that the Service names does not exist.
    NoSuchPool {
        /// As the Service names it.
        pool: Arc<str>,
        /// Those that exist.
        known: Vec<Arc<str>>,
    },
    /// The pools in question are pinned to other Services.
    PoolNotAllowed {
        /// Each pool with what keeps the Service out.
        pools: Vec<(Arc<str>, Exclusion)>,
    },
    /// Every pool that the Service may use is handed out on request only.
    OnRequestOnly {
        /// Those pools.
        pools: Vec<Arc<str>>,
    },
    /// The pools in question hold no address of the family at all.
    FamilyNotAvailable {
        /// The family.
        family: Family,
        /// Where it was looked for.
        pools: Vec<Arc<str>>,
    },
    /// The pools in question hold no free address of the family.
    PoolExhausted {
        /// The family.
        family: Family,
        /// Each pool with how many addresses it may hand out.
        pools: Vec<(Arc<str>, u128)>,
        /// How many of these nobody holds, since reservations keep them.
        reserved: usize,
    },
    /// Both families are required and one cannot be had.
    DualStackUnavailable {
        /// The family that cannot be had.
        missing: Family,
        /// Why.
        why: Box<Self>,
    },
    /// An address is asked for whose family the Service does not have.
    RequestDoesNotFitFamilies {
        /// The address.
        address: IpAddr,
        /// The families that the Service has.
        families: Vec<Family>,
    },
    /// The request contradicts itself.
    InvalidRequest {
        /// How.
        why: String,
    },
    /// The address asked for lies in no pool, or not in the pool asked for.
    AddressNotInPool {
        /// The address.
        address: IpAddr,
        /// The pool asked for, if one was.
        pool: Option<Arc<str>>,
    },
    /// The address is reserved.
    AddressReserved {
        /// The address.
        address: IpAddr,
        /// Where it is reserved.
        pool: Arc<str>,
    },
    /// An IPv4 address that ends in .0 or .255, in a pool that avoids them.
    BuggyAddress {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: Arc<str>,
    },
    /// The address is a node's own.
    AddressOfNode {
        /// The address.
        address: IpAddr,
        /// The node.
        node: NodeKey,
    },
    /// The address is a gateway's.
    AddressOfGateway {
        /// The address.
        address: IpAddr,
    },
    /// The address is this host's own.
    AddressOfHost {
        /// The address.
        address: IpAddr,
        /// The interface that has it.
        leg: Arc<str>,
    },
    /// The pool hands out the host's own addresses, and this is none.
    AddressNotOfHost {
        /// The address.
        address: IpAddr,
        /// The pool.
        pool: Arc<str>,
    },
    /// The address names a connected network itself: its first (RFC 4291 §2.6.1 for IPv6) or its
    /// IPv4 broadcast address.
    AddressOfNetwork {
        /// The address.
        address: IpAddr,
        /// The network.
        network: IpNet,
    },
    /// Another machine answers for the address.
    ConflictOnWire {
        /// The address.
        address: IpAddr,
        /// Who answers: a MAC address as text.
        by: Arc<str>,
    },
    /// Another Service holds the address and it is not to be shared.
    AddressHeld {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        by: ServiceKey,
        /// The holder is gone and only waits for the address to fall silent.
        leaving: bool,
    },
    /// The address is shared, under another key.
    SharingKeyDiffers {
        /// The address.
        address: IpAddr,
        /// Who holds it.
        with: ServiceKey,
        /// The holder's key.
        theirs: Option<Arc<str>>,
    },
    /// The address could be shared, but a port is taken.
    PortConflict {
        /// The address.
        address: IpAddr,
        /// The port.
        port: PortClaim,
        /// Who has it.
        with: ServiceKey,
    },
    /// More than one address of a family is wanted, and not all of them can be had.
    AddressesUnavailable {
        /// The family.
        family: Family,
        /// How many are wanted.
        wanted: usize,
        /// How many could be had.
        found: usize,
        /// What stands in the way of the next.
        why: Box<Self>,
    },
    /// The namespace holds as many addresses of the pool as it may.
    QuotaExceeded {
        /// The pool.
        pool: Arc<str>,
        /// `SOURCE/NAMESPACE`.
        namespace: String,
        /// How many addresses count as the namespace's.
        used: usize,
        /// How many are allowed.
        allowed: u32,
    },
    /// The pool keeps what is held and gives nothing new.
    PoolDraining {
        /// The pools in question.
        pools: Vec<Arc<str>>,
    },
    /// The address was another's until a moment ago.
    CoolingDown {
        /// The address.
        address: IpAddr,
        /// Whose it was.
        by: ServiceKey,
        /// The pool, whose `cool_down` it is.
        pool: Arc<str>,
    },
    /// Every free address of the pools in question was another's until a moment ago.
    PoolCoolingDown {
        /// The family.
        family: Family,
        /// Each pool that has such addresses, with how many.
        pools: Vec<(Arc<str>, usize)>,
    },
    /// The address is reserved for somebody else by name.
    ReservedForAnother {
        /// The address.
        address: IpAddr,
        /// The reservation.
        reservation: Arc<str>,
        /// For whom.
        whose: String,
    },
    /// Another Service of the namespace lives under the reservation.
    ReservationInUse {
        /// The reservation.
        reservation: Arc<str>,
        /// Who.
        by: ServiceKey,
    },
    /// The namespace keeps as many addresses as one may.
    TooManyReservations {
        /// `SOURCE/NAMESPACE`.
        namespace: String,
        /// How many are kept for it.
        kept: usize,
    },
    /// A host name that is asked for does not resolve.
    NameUnresolved {
        /// The name.
        host: Arc<str>,
        /// Why.
        why: Arc<str>,
    },
    /// The host names that are asked for have no address of the family.
    NameWithoutAddress {
        /// The first of them.
        host: Arc<str>,
        /// The family.
        family: Family,
    },
    /// A host name resolves elsewhere now; who holds an address for it stays.
    NameMoved {
        /// The name.
        host: Arc<str>,
        /// What is held for it.
        held: Vec<IpAddr>,
        /// What it resolves to now.
        now: Vec<IpAddr>,
    },
    /// Ports without a nodePort cannot be forwarded.
    NoNodePort {
        /// Those ports.
        ports: Vec<PortName>,
        /// No port of the Service is left.
        all: bool,
    },
    /// The nodePort of a port is another Service's, which has it in the ledger.
    NodePortTaken {
        /// The port.
        port: PortName,
        /// Its nodePort.
        node_port: u16,
        /// Whose it is.
        by: ServiceKey,
    },
    /// SCTP is not served.
    SctpNotServed {
        /// Those ports.
        ports: Vec<PortName>,
        /// No port of the Service is left.
        all: bool,
    },
    /// The Service has no ports.
    NoPorts,
}

/// What keeps a Service out of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exclusion {
    /// The pool is an `IPAddressPool` of another source.
    Source,
    /// The pool's `namespaces` do not name the Service's, and its `namespace_selector` does not
    /// match that Namespace's labels.
    Namespace,
    /// The pool's `service_selector` does not match the Service's labels.
    Labels,
}

/// A port as people name it: `443/TCP`, with its name where it has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortName(Box<str>);

impl PortName {
    /// The name of a Service port.
    pub fn of(port: &ServicePort) -> Self {
        let number = format!("{}/{}", port.port, port.protocol);
        Self(if port.name.is_empty() {
            number.into()
        } else {
            format!("{number} ({})", port.name).into()
        })
    }
}

impl Refusal {
    /// The CamelCase word for scripts; stable.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NoPools => "NoPools",
            Self::NoSuchPool { .. } => "NoSuchPool",
            Self::PoolNotAllowed { .. } => "PoolNotAllowed",
            Self::OnRequestOnly { .. } => "OnRequestOnly",
            Self::FamilyNotAvailable { .. } => "FamilyNotAvailable",
            Self::PoolExhausted { .. } => "PoolExhausted",
            Self::DualStackUnavailable { .. } => "DualStackUnavailable",
            Self::RequestDoesNotFitFamilies { .. } => "RequestDoesNotFitFamilies",
            Self::InvalidRequest { .. } => "InvalidRequest",
            Self::AddressNotInPool { .. } => "AddressNotInPool",
            Self::AddressReserved { .. } => "AddressReserved",
            Self::BuggyAddress { .. } => "BuggyAddress",
            Self::AddressOfNode { .. } => "AddressOfNode",
            Self::AddressOfGateway { .. } => "AddressOfGateway",
            Self::AddressOfHost { .. } => "AddressOfHost",
            Self::AddressNotOfHost { .. } => "AddressNotOfHost",
            Self::AddressOfNetwork { .. } => "AddressOfNetwork",
            Self::ConflictOnWire { .. } => "ConflictOnWire",
            Self::AddressHeld { .. } => "AddressHeld",
            Self::SharingKeyDiffers { .. } => "SharingKeyDiffers",
            Self::PortConflict { .. } => "PortConflict",
            Self::AddressesUnavailable { .. } => "AddressesUnavailable",
            Self::QuotaExceeded { .. } => "QuotaExceeded",
            Self::PoolDraining { .. } => "PoolDraining",
            Self::CoolingDown { .. } => "CoolingDown",
            Self::PoolCoolingDown { .. } => "PoolCoolingDown",
            Self::ReservedForAnother { .. } => "ReservedForAnother",
            Self::ReservationInUse { .. } => "ReservationInUse",
            Self::TooManyReservations { .. } => "TooManyReservations",
            Self::NameUnresolved { .. } => "NameUnresolved",
            Self::NameWithoutAddress { .. } => "NameWithoutAddress",
            Self::NameMoved { .. } => "NameMoved",
            Self::NoNodePort { .. } => "NoNodePort",
            Self::NodePortTaken { .. } => "NodePortTaken",
            Self::SctpNotServed { .. } => "SctpNotServed",
            Self::NoPorts => "NoPorts",
        }
    }

    fn about_pools(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoPools => f.write_str(
                "no pool is configured; a [[pool]] with `addresses` gives the services addresses",
            ),
            Self::NoSuchPool { pool, known } => {
                write!(f, "there is no pool `{pool}`; the pools are {}", quoted(known))
            }
            Self::PoolNotAllowed { pools } => {
                let each = in_words(pools, |(pool, why)| format!("pool `{pool}` {why}"));
                write!(f, "no pool is open to this service: {each}")
            }
            Self::OnRequestOnly { pools } => write!(
                f,
                "{} hand out addresses on request only (auto_assign = false); name the pool or \
                 an address in an annotation",
                quoted(pools)
            ),
            Self::FamilyNotAvailable { family, pools } => {
                write!(f, "there is no {family} address in {}", quoted(pools))
            }
            Self::PoolExhausted { family, pools, reserved } => {
                let each = in_words(pools, |(pool, size)| format!("`{pool}` ({size} in all)"));
                write!(f, "no free {family} address in {each}")?;
                match reserved {
                    0 => Ok(()),
                    kept => write!(f, "; reservations keep {kept} that nobody holds"),
                }
            }
            Self::DualStackUnavailable { missing, why } => {
                write!(f, "both families are required and {missing} cannot be had: {why}")
            }
            other => other.about_addresses(f),
        }
    }

    fn about_addresses(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestDoesNotFitFamilies { address, families } => {
                let families: Vec<_> = families.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "{address} is asked for, but the service has {} only",
                    families.join(", ")
                )
            }
            Self::InvalidRequest { why } => f.write_str(why),
            Self::AddressNotInPool { address, pool: None } => {
                write!(f, "{address} lies in no pool")
            }
            Self::AddressNotInPool { address, pool: Some(pool) } => {
                write!(f, "{address} does not lie in pool `{pool}`")
            }
            Self::AddressReserved { address, pool } => {
                write!(f, "{address} is reserved in pool `{pool}`")
            }
            Self::BuggyAddress { address, pool } => write!(
                f,
                "{address} ends in .0 or .255, which pool `{pool}` avoids (avoid_buggy_ips)"
            ),
            Self::AddressOfNode { address, node } => {
                write!(f, "{address} is the own address of node {node}")
            }
            Self::AddressOfGateway { address } => write!(f, "{address} is a gateway's address"),
            Self::AddressOfHost { address, leg } => write!(
                f,
                "{address} is this host's own address on {leg}; only a pool with \
                 host_addresses = true hands it out"
            ),
            Self::AddressNotOfHost { address, pool } => write!(
                f,
                "pool `{pool}` hands out this host's own addresses, and no interface has {address}"
            ),
            Self::AddressOfNetwork { address, network } => {
                write!(f, "{address} is the network or broadcast address of {}", network.trunc())
            }
            Self::ConflictOnWire { address, by } => write!(
                f,
                "{address} is in use on the wire by {by}; free it there or reserve it in its pool"
            ),
            other => other.about_shares(f),
        }
    }

    /// What bounds how much one gets, and when.
    fn about_shares(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressesUnavailable { family, wanted, found, why } => write!(
                f,
                "{wanted} {family} addresses are wanted, all or none, and {found} can be had: {why}"
            ),
            Self::QuotaExceeded { pool, namespace, used, allowed } => write!(
                f,
                "namespace {namespace} has {used} addresses of pool `{pool}` (held, reserved or \
                 cooling down), and its quota allows {allowed}"
            ),
            Self::PoolDraining { pools } => {
                write!(f, "{} gives nothing new (drain = true)", quoted(pools))
            }
            Self::CoolingDown { address, by, pool } => write!(
                f,
                "{address} was released by {by} and is given to nobody else before the cool_down \
                 of pool `{pool}` is over"
            ),
            Self::PoolCoolingDown { family, pools } => {
                let each = in_words(pools, |(pool, count)| format!("`{pool}` ({count})"));
                write!(
                    f,
                    "no free {family} address before one that was released has cooled down: {each}"
                )
            }
            other => other.about_names(f),
        }
    }

    fn about_names(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReservedForAnother { address, reservation, whose } => {
                write!(f, "{address} is reserved for {whose} (reservation `{reservation}`)")
            }
            Self::ReservationInUse { reservation, by } => write!(
                f,
                "reservation `{reservation}` is in use by {by}; it is free when that service goes"
            ),
            Self::TooManyReservations { namespace, kept } => write!(
                f,
                "{kept} addresses are kept for namespace {namespace}, as many as one may have; \
                 `roadstead release` gives up those of a reservation"
            ),
            Self::NameUnresolved { host, why } => write!(f, "{host} does not resolve: {why}"),
            Self::NameWithoutAddress { host, family } => {
                write!(f, "{host} has no {family} address")
            }
            Self::NameMoved { host, held, now } => write!(
                f,
                "{} stays, although {host} resolves to {} now: to move, create the service anew or \
                 name the address",
                listed(held),
                if now.is_empty() { "nothing".to_owned() } else { listed(now) }
            ),
            other => other.about_others(f),
        }
    }

    fn about_others(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressHeld { address, by, leaving: false } => {
                write!(f, "{address} is held by {by}")
            }
            Self::AddressHeld { address, by, leaving: true } => {
                write!(f, "{address} is held by {by} until it has fallen silent")
            }
            Self::SharingKeyDiffers { address, with, theirs: Some(key) } => {
                write!(f, "{address} is shared by {with} under another key or scope (`{key}`)")
            }
            Self::SharingKeyDiffers { address, with, theirs: None } => {
                write!(f, "{address} is held by {with}, which names no sharing key")
            }
            Self::PortConflict { address, port, with } => {
                write!(f, "port {}/{} of {address} is claimed by {with}", port.port, port.protocol)
            }
            Self::NoNodePort { ports, .. } => write!(
                f,
                "no nodePort for {}; without one the port cannot be forwarded to nodes: leave \
                 spec.allocateLoadBalancerNodePorts true, or name one",
                names(ports)
            ),
            Self::NodePortTaken { port, node_port, by } => write!(
                f,
                "nodePort {node_port} of {port} is {by}'s, which was served with it first; name another"
            ),
            Self::SctpNotServed { ports, .. } => {
                write!(f, "SCTP is not served: {}", names(ports))
            }
            _ => f.write_str("the service has no ports"),
        }
    }
}

impl fmt::Display for Refusal {
    /// One sentence that names the things concerned.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.about_pools(f)
    }
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "is for services of another source",
            Self::Namespace => "is for other namespaces",
            Self::Labels => "is for services with other labels",
        })
    }
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn quoted(pools: &[Arc<str>]) -> String {
    in_words(pools, |pool| format!("`{pool}`"))
}

fn in_words<T>(pools: &[T], word: impl Fn(&T) -> String) -> String {
    let more = (pools.len() > NAMED).then(|| "and more".to_owned());
    pools.iter().take(NAMED).map(word).chain(more).collect::<Vec<_>>().join(", ")
}

fn names(ports: &[PortName]) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
