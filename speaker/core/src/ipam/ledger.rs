//! The ledger: who holds which address, with which ports, since when. It outlives every restart
//! and is the only authority on assignments.
//!
//! On disk it is JSON, one entry per address:
//!
//! ```json
//! {"version":2,"generation":7,"next_since":3,"addresses":[
//!   {"address":"192.0.2.10","pool":"lan","kind":"virtual","holders":[
//!     {"service":"local/default/web","since":2,"ports":[{"protocol":"TCP","port":80}],
//!      "sharing_key":"front","leaving":false}]}],
//!  "released":[{"address":"192.0.2.11","service":"local/default/old","at":1790000000}],
//!  "kept":[{"address":"192.0.2.12","reservation":"local/default/db"}]}
//! ```
//!
//! Of a holder `share_with`, `host` and `reservation` stand there where the Service asked so.
//! `released` and `kept` are what is remembered of addresses that nobody holds: see the `memory`
//! module. Version 1 had none of these; it is read as a ledger without them.
//!
//! [`Ledger::decode`] is total and strict: what it accepts is free of contradictions, and
//! [`Ledger::encode`] gives the same bytes again. Nothing is guessed from a damaged ledger; the
//! daemon refuses to start on one, since a wrong guess would move addresses.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Family, ServiceKey,
    local::{PortClaim, VipKind},
    object::MAX_ADDRESSES,
};

use self::file::File;
use super::memory::{Memory, ReservationKey};

mod file;

/// The version that this code writes, and the newest that it reads.
pub const VERSION: u64 = 2;
/// Bytes above which a ledger is refused unread (S7): 50 times what 5,000 Services need.
pub const MAX_BYTES: usize = 64 << 20;
/// Counters stay below this, so that every JSON reader gets them whole (RFC 8259 §6).
const MAX_COUNTER: u64 = 1 << 53;

/// Who holds which address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Counts up with every change, over restarts too.
    pub(super) generation: u64,
    /// The next [`Hold::since`].
    pub(super) next_since: u64,
    /// Every address held. No entry is without a holder.
    pub(super) addresses: BTreeMap<IpAddr, Entry>,
    /// What is remembered of addresses that nobody holds.
    pub(super) memory: Memory,
}

/// One address held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The pool that it was taken from.
    pub pool: Arc<str>,
    /// Whether it is on no interface or the host's own.
    pub kind: VipKind,
    /// Who holds it: nearly always one Service, and a map has room for eleven from the start.
    pub holders: BTreeMap<ServiceKey, Box<Hold>>,
}

/// How one Service holds one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// Seniority: lower came earlier. Unique in the ledger.
    pub since: u64,
    /// The ports claimed on the address.
    pub ports: BTreeSet<PortClaim>,
    /// The sharing key under which the address was taken.
    pub sharing_key: Option<Arc<str>>,
    /// The other namespaces that the Service shares with; `None` = all.
    pub share_with: Option<Vec<Arc<str>>>,
    /// The host name for which the address was taken: while the Service asks for that name it stays,
    /// wherever the name goes.
    pub host: Option<Arc<str>>,
    /// The reservation under which the address is kept when the Service goes.
    pub reservation: Option<Arc<str>>,
    /// The object's status named it when it was taken: whoever answers for it on the wire may be the load
    /// balancer before us, so that a conflict is waited out and never moves it.
    pub recalled: bool,
    /// The Service has left and only waits for the address to fall silent (S5).
    pub leaving: bool,
}

/// Why a text is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Nothing is in it.
    #[error(
        "the ledger is empty: it was cut off; restore the state directory from its backup, or delete the file to assign addresses anew"
    )]
    Empty,
    /// Larger than any ledger of ours.
    #[error("the ledger has {0} bytes, more than {MAX_BYTES}: this is no ledger")]
    TooLarge(usize),
    /// No JSON, cut off, or not of the form.
    #[error("the ledger is damaged at line {}, column {}", .0.line(), .0.column())]
    Syntax(#[source] serde_json::Error),
    /// Written by a newer release.
    #[error(
        "the ledger has version {0}, newer than {VERSION}: this release cannot read it, start the newer one"
    )]
    NewerVersion(u64),
    /// No release wrote such a version.
    #[error("the ledger has version {0}; the first is 1")]
    UnknownVersion(u64),
    /// A counter is beyond what any run reaches.
    #[error("the ledger's `{name}` is {value}, above {MAX_COUNTER}")]
    Counter {
        /// Which.
        name: &'static str,
        /// Its value.
        value: u64,
    },
    /// Two entries for one address.
    #[error("the ledger has two entries for {0}")]
    DuplicateAddress(IpAddr),
    /// An IPv4 address in IPv6 clothes.
    #[error("the ledger writes {0} as an IPv4-mapped address; it is an IPv4 address")]
    MappedAddress(IpAddr),
    /// An entry that nobody holds.
    #[error("the ledger has an entry for {0} that nobody holds")]
    NoHolder(IpAddr),
    /// A Service is twice in one entry.
    #[error("the ledger names {service} twice as a holder of {address}")]
    DuplicateHolder {
        /// The address.
        address: IpAddr,
        /// The Service.
        service: ServiceKey,
    },
    /// Two Services claim one port.
    #[error("the ledger lets {first} and {second} both claim port {}/{} of {address}", port.port, port.protocol)]
    PortClaimedTwice {
        /// The address.
        address: IpAddr,
        /// The port.
        port: PortClaim,
        /// One.
        first: ServiceKey,
        /// The other.
        second: ServiceKey,
    },
    /// A port that cannot be claimed.
    #[error("the ledger lets {service} claim port {}/{} of {address}, which nobody can", port.port, port.protocol)]
    ImpossiblePort {
        /// The address.
        address: IpAddr,
        /// The Service.
        service: ServiceKey,
        /// The port.
        port: PortClaim,
    },
    /// One port twice in one list.
    #[error("the ledger lists a port of {service} on {address} twice")]
    DuplicatePort {
        /// The address.
        address: IpAddr,
        /// The Service.
        service: ServiceKey,
    },
    /// A Service lives on more addresses of one family than it can ask for.
    #[error(
        "the ledger gives {service} {count} addresses of one family, more than {MAX_ADDRESSES}"
    )]
    TooManyOfFamily {
        /// The Service.
        service: ServiceKey,
        /// How many.
        count: usize,
    },
    /// An address is remembered twice for the same.
    #[error("the ledger remembers {address} twice for {of}")]
    DuplicateMemory {
        /// The address.
        address: IpAddr,
        /// The Service or the reservation.
        of: ServiceKey,
    },
    /// Two holds of one seniority, or one from the future.
    #[error(
        "the ledger's order is broken: `since` {since} of {service} is used twice or not below `next_since`"
    )]
    BrokenOrder {
        /// The Service.
        service: ServiceKey,
        /// Its seniority.
        since: u64,
    },
}

impl Default for Ledger {
    /// The ledger of a machine that never assigned anything.
    fn default() -> Self {
        Self { generation: 0, next_since: 1, addresses: BTreeMap::new(), memory: Memory::default() }
    }
}

impl Ledger {
    /// Counts up with every change, over restarts too.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Every address held, ascending.
    pub fn addresses(&self) -> &BTreeMap<IpAddr, Entry> {
        &self.addresses
    }

    /// The JSON to be written, with a line feed at its end.
    pub fn encode(&self) -> String {
        let mut text =
            serde_json::to_string(&File::of(self)).expect("strings, numbers and lists only");
        text.push('\n');
        text
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// On anything else, naming what is wrong; never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        let ledger = File::read(bytes)?.into_ledger()?;
        ledger.check_order()?;
        ledger.check_families()?;
        Ok(ledger)
    }

    /// Whether a reservation keeps an address that nobody holds.
    pub fn is_kept(&self, address: IpAddr, reservation: &ReservationKey) -> bool {
        self.memory.is_kept(address, reservation)
    }

    fn check_order(&self) -> Result<(), LedgerError> {
        let mut seen = BTreeSet::new();
        for (_, service, hold) in self.holds() {
            if hold.since >= self.next_since || !seen.insert(hold.since) {
                let service = service.clone();
                return Err(LedgerError::BrokenOrder { service, since: hold.since });
            }
        }
        Ok(())
    }

    fn check_families(&self) -> Result<(), LedgerError> {
        let mut live: BTreeMap<_, usize> = BTreeMap::new();
        for (address, service, _) in self.holds().filter(|(_, _, hold)| !hold.leaving) {
            let count = live.entry((service, Family::of(address))).or_default();
            *count = count.saturating_add(1);
        }
        match live.into_iter().find(|(_, count)| *count > MAX_ADDRESSES) {
            Some(((service, _), count)) => {
                Err(LedgerError::TooManyOfFamily { service: service.clone(), count })
            }
            None => Ok(()),
        }
    }

    /// Every hold, by address and Service.
    pub(super) fn holds(&self) -> impl Iterator<Item = (IpAddr, &ServiceKey, &Hold)> {
        self.addresses.iter().flat_map(|(address, entry)| {
            entry.holders.iter().map(|(service, hold)| (*address, service, &**hold))
        })
    }

    /// That the ledger says nothing that [`Self::decode`] would refuse.
    ///
    /// # Errors
    /// The first contradiction.
    pub(super) fn check(&self) -> Result<(), LedgerError> {
        for (address, entry) in &self.addresses {
            if entry.holders.is_empty() {
                return Err(LedgerError::NoHolder(*address));
            }
            entry.check_ports(*address)?;
        }
        self.check_order()?;
        self.check_families()
    }
}

impl Entry {
    /// Services that are served on the address.
    pub fn live(&self) -> impl Iterator<Item = &ServiceKey> {
        self.holders.iter().filter(|(_, hold)| !hold.leaving).map(|(service, _)| service)
    }

    /// Services that only wait for it to fall silent.
    pub fn leaving(&self) -> impl Iterator<Item = &ServiceKey> {
        self.holders.iter().filter(|(_, hold)| hold.leaving).map(|(service, _)| service)
    }

    fn check_ports(&self, address: IpAddr) -> Result<(), LedgerError> {
        let mut claims: BTreeMap<PortClaim, &ServiceKey> = BTreeMap::new();
        for (service, hold) in &self.holders {
            for port in &hold.ports {
                if let Some(first) = claims.insert(*port, service) {
                    let (first, second) = (first.clone(), service.clone());
                    return Err(LedgerError::PortClaimedTwice {
                        address,
                        port: *port,
                        first,
                        second,
                    });
                }
            }
        }
        Ok(())
    }
}
