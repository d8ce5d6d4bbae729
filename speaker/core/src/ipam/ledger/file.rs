//! The ledger's form on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Protocol, ServiceKey,
    local::{PortClaim, VipKind},
};
use serde::{Deserialize, Serialize};

use super::{
    super::memory::{Memory, ReservationKey},
    Entry, Hold, Ledger, LedgerError, MAX_BYTES, MAX_COUNTER, VERSION,
};

#[derive(Deserialize)]
struct Versioned {
    version: u64,
}

/// The whole of it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    version: u64,
    generation: u64,
    next_since: u64,
    addresses: Vec<FileEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    released: Vec<FileReleased>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    kept: Vec<FileKept>,
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
    #[serde(default, skip_serializing_if = "Option::is_none")]
    share_with: Option<Vec<Arc<str>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reservation: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    recalled: bool,
    leaving: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileReleased {
    address: IpAddr,
    service: ServiceKey,
    at: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKept {
    address: IpAddr,
    reservation: ReservationKey,
}

impl File {
    /// What is written of a ledger.
    pub(super) fn of(ledger: &Ledger) -> Self {
        let released = ledger.memory.released();
        let kept = ledger.memory.kept();
        Self {
            version: VERSION,
            generation: ledger.generation,
            next_since: ledger.next_since,
            addresses: ledger.addresses.iter().map(FileEntry::of).collect(),
            released: released
                .map(|(address, service, at)| FileReleased {
                    address,
                    service: service.clone(),
                    at,
                })
                .collect(),
            kept: kept
                .map(|(address, key)| FileKept { address, reservation: key.clone() })
                .collect(),
        }
    }

    /// Parses a text of a version that is known.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, LedgerError> {
        if bytes.len() > MAX_BYTES {
            return Err(LedgerError::TooLarge(bytes.len()));
        }
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(LedgerError::Empty);
        }
        match serde_json::from_slice::<Versioned>(bytes).map_err(LedgerError::Syntax)?.version {
            1..=VERSION => {}
            0 => return Err(LedgerError::UnknownVersion(0)),
            newer => return Err(LedgerError::NewerVersion(newer)),
        }
        let file: Self = serde_json::from_slice(bytes).map_err(LedgerError::Syntax)?;
        counter("generation", file.generation)?;
        counter("next_since", file.next_since)?;
        Ok(file)
    }

    /// The ledger, checked entry by entry.
    pub(super) fn into_ledger(self) -> Result<Ledger, LedgerError> {
        let mut ledger = Ledger {
            generation: self.generation,
            next_since: self.next_since,
            addresses: BTreeMap::new(),
            memory: Memory::default(),
        };
        for entry in self.addresses {
            let (address, entry) = entry.checked()?;
            if ledger.addresses.insert(address, entry).is_some() {
                return Err(LedgerError::DuplicateAddress(address));
            }
        }
        for FileReleased { address, service, at } in self.released {
            canonical(address)?;
            counter("at", at)?;
            if !ledger.memory.restore_released(address, &service, at) {
                return Err(LedgerError::DuplicateMemory { address, of: service });
            }
        }
        for FileKept { address, reservation } in self.kept {
            canonical(address)?;
            if !ledger.memory.keep(address, &reservation) {
                return Err(LedgerError::DuplicateMemory { address, of: reservation });
            }
        }
        Ok(ledger)
    }
}

impl FileEntry {
    fn of((address, entry): (&IpAddr, &Entry)) -> Self {
        Self {
            address: *address,
            pool: entry.pool.clone(),
            kind: entry.kind,
            holders: entry
                .holders
                .iter()
                .map(|(service, hold)| FileHold::of(service, hold))
                .collect(),
        }
    }

    fn checked(self) -> Result<(IpAddr, Entry), LedgerError> {
        let address = self.address;
        canonical(address)?;
        if self.holders.is_empty() {
            return Err(LedgerError::NoHolder(address));
        }
        let mut entry = Entry { pool: self.pool, kind: self.kind, holders: BTreeMap::new() };
        for holder in self.holders {
            let (service, hold) = holder.checked(address)?;
            if entry.holders.insert(service.clone(), Box::new(hold)).is_some() {
                return Err(LedgerError::DuplicateHolder { address, service });
            }
        }
        entry.check_ports(address)?;
        Ok((address, entry))
    }
}

impl FileHold {
    fn of(service: &ServiceKey, hold: &Hold) -> Self {
        Self {
            service: service.clone(),
            since: hold.since,
            ports: hold.ports.iter().copied().collect(),
            sharing_key: hold.sharing_key.clone(),
            share_with: hold.share_with.clone(),
            host: hold.host.clone(),
            reservation: hold.reservation.clone(),
            recalled: hold.recalled,
            leaving: hold.leaving,
        }
    }

    fn checked(self, address: IpAddr) -> Result<(ServiceKey, Hold), LedgerError> {
        let Self {
            service,
            since,
            ports,
            sharing_key,
            share_with,
            host,
            reservation,
            recalled,
            leaving,
        } = self;
        let listed = ports.len();
        let ports: BTreeSet<_> = ports.into_iter().collect();
        if ports.len() != listed {
            return Err(LedgerError::DuplicatePort { address, service });
        }
        if let Some(port) = ports.iter().find(|p| p.port == 0 || p.protocol == Protocol::Sctp) {
            return Err(LedgerError::ImpossiblePort { address, service, port: *port });
        }
        let hold =
            Hold { since, ports, sharing_key, share_with, host, reservation, recalled, leaving };
        Ok((service, hold))
    }
}

fn canonical(address: IpAddr) -> Result<(), LedgerError> {
    let is_canonical = address.to_canonical() == address;
    is_canonical.then_some(()).ok_or(LedgerError::MappedAddress(address))
}

fn counter(name: &'static str, value: u64) -> Result<(), LedgerError> {
    if value > MAX_COUNTER { Err(LedgerError::Counter { name, value }) } else { Ok(()) }
}
