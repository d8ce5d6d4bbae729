//! The ledger: who holds which address, with which ports, since when. It outlives every restart
//! and is the only authority on assignments.
//!
//! On disk it is JSON, one entry per address:
//!
//! ```json
//! {"version":1,"generation":7,"next_since":3,"addresses":[
//!   {"address":"192.0.2.10","pool":"lan","kind":"virtual","holders":[
//!     {"service":"local/default/web","since":2,"ports":[{"protocol":"TCP","port":80}],
//!      "sharing_key":"front","leaving":false}]}]}
//! ```
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
    Family, Protocol, ServiceKey,
    local::{PortClaim, VipKind},
};
use serde::{Deserialize, Serialize};

/// The version that this code writes, and the newest that it reads.
pub const VERSION: u64 = 1;
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
}

/// One address held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The pool that it was taken from.
    pub pool: Arc<str>,
    /// Whether it is on no interface or the host's own.
    pub kind: VipKind,
    /// Who holds it.
    pub holders: BTreeMap<ServiceKey, Hold>,
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
    /// A Service lives on two addresses of one family.
    #[error(
        "the ledger gives {service} both {first} and {second}: one address per family is served"
    )]
    TwoOfFamily {
        /// The Service.
        service: ServiceKey,
        /// One.
        first: IpAddr,
        /// The other.
        second: IpAddr,
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

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u64,
    generation: u64,
    next_since: u64,
    addresses: Vec<FileEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileEntry {
    address: IpAddr,
    pool: Arc<str>,
    kind: VipKind,
    holders: Vec<FileHold>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHold {
    service: ServiceKey,
    since: u64,
    ports: Vec<PortClaim>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sharing_key: Option<Arc<str>>,
    leaving: bool,
}

impl Default for Ledger {
    /// The ledger of a machine that never assigned anything.
    fn default() -> Self {
        Self { generation: 0, next_since: 1, addresses: BTreeMap::new() }
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
        let file = File {
            version: VERSION,
            generation: self.generation,
            next_since: self.next_since,
            addresses: self.addresses.iter().map(FileEntry::of).collect(),
        };
        let mut text = serde_json::to_string(&file).expect("strings, numbers and lists only");
        text.push('\n');
        text
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// On anything else, naming what is wrong; never panics.
    pub fn decode(bytes: &[u8]) -> Result<Self, LedgerError> {
        if bytes.len() > MAX_BYTES {
            return Err(LedgerError::TooLarge(bytes.len()));
        }
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(LedgerError::Empty);
        }
        match serde_json::from_slice::<Versioned>(bytes).map_err(LedgerError::Syntax)?.version {
            VERSION => {}
            0 => return Err(LedgerError::UnknownVersion(0)),
            newer => return Err(LedgerError::NewerVersion(newer)),
        }
        let file: File = serde_json::from_slice(bytes).map_err(LedgerError::Syntax)?;
        counter("generation", file.generation)?;
        counter("next_since", file.next_since)?;
        let mut ledger = Self {
            generation: file.generation,
            next_since: file.next_since,
            addresses: BTreeMap::new(),
        };
        for entry in file.addresses {
            ledger.admit(entry)?;
        }
        ledger.check_order()?;
        ledger.check_families()?;
        Ok(ledger)
    }

    fn admit(&mut self, file: FileEntry) -> Result<(), LedgerError> {
        let address = file.address;
        if address.to_canonical() != address {
            return Err(LedgerError::MappedAddress(address));
        }
        if file.holders.is_empty() {
            return Err(LedgerError::NoHolder(address));
        }
        let mut entry = Entry { pool: file.pool, kind: file.kind, holders: BTreeMap::new() };
        for holder in file.holders {
            let (service, hold) = holder.checked(address)?;
            if entry.holders.insert(service.clone(), hold).is_some() {
                return Err(LedgerError::DuplicateHolder { address, service });
            }
        }
        entry.check_ports(address)?;
        match self.addresses.insert(address, entry) {
            None => Ok(()),
            Some(_) => Err(LedgerError::DuplicateAddress(address)),
        }
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
        let mut live = BTreeMap::new();
        for (address, service, _) in self.holds().filter(|(_, _, hold)| !hold.leaving) {
            if let Some(first) = live.insert((service, Family::of(address)), address) {
                let service = service.clone();
                return Err(LedgerError::TwoOfFamily { service, first, second: address });
            }
        }
        Ok(())
    }

    /// Every hold, by address and Service.
    pub(super) fn holds(&self) -> impl Iterator<Item = (IpAddr, &ServiceKey, &Hold)> {
        self.addresses.iter().flat_map(|(address, entry)| {
            entry.holders.iter().map(|(service, hold)| (*address, service, hold))
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

impl FileEntry {
    fn of((address, entry): (&IpAddr, &Entry)) -> Self {
        let holders = entry.holders.iter().map(|(service, hold)| FileHold {
            service: service.clone(),
            since: hold.since,
            ports: hold.ports.iter().copied().collect(),
            sharing_key: hold.sharing_key.clone(),
            leaving: hold.leaving,
        });
        Self {
            address: *address,
            pool: entry.pool.clone(),
            kind: entry.kind,
            holders: holders.collect(),
        }
    }
}

impl FileHold {
    fn checked(self, address: IpAddr) -> Result<(ServiceKey, Hold), LedgerError> {
        let Self { service, since, ports, sharing_key, leaving } = self;
        let listed = ports.len();
        let ports: BTreeSet<_> = ports.into_iter().collect();
        if ports.len() != listed {
            return Err(LedgerError::DuplicatePort { address, service });
        }
        if let Some(port) = ports.iter().find(|p| p.port == 0 || p.protocol == Protocol::Sctp) {
            return Err(LedgerError::ImpossiblePort { address, service, port: *port });
        }
        Ok((service, Hold { since, ports, sharing_key, leaving }))
    }
}

fn counter(name: &'static str, value: u64) -> Result<(), LedgerError> {
    if value > MAX_COUNTER { Err(LedgerError::Counter { name, value }) } else { Ok(()) }
}
