//! The ledger at work: the same content with the indexes that make every question cheap, and the
//! few ways in which it may change. Every change is noted, so that an unchanged ledger is never
//! written again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Family, ServiceKey,
    local::{PortClaim, VipKind},
};

use super::{
    ledger::{Entry, Hold, Ledger},
    memory::{MOST_KEPT, Memory, ReservationKey},
};

/// The ledger with its indexes.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    ledger: Ledger,
    index: Index,
    /// Whether anything changed since the last [`Book::seal`].
    changed: bool,
    /// Whether anything changed since the last [`Book::was_stirred`].
    stirred: bool,
}

/// What the ledger says, sorted by other questions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Index {
    by_service: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// How many holds each address has under each sharing key.
    by_key: BTreeMap<Arc<str>, BTreeMap<IpAddr, usize>>,
    claims: BTreeMap<(IpAddr, PortClaim), ServiceKey>,
    /// What is held under each reservation, and by whom.
    by_reservation: BTreeMap<ReservationKey, BTreeSet<(ServiceKey, IpAddr)>>,
}

/// What a Service takes.
pub(super) struct Taking<'a> {
    pub(super) address: IpAddr,
    pub(super) pool: &'a Arc<str>,
    pub(super) kind: VipKind,
    pub(super) service: &'a ServiceKey,
    pub(super) terms: &'a Terms<'a>,
    /// [`Hold::recalled`].
    pub(super) recalled: bool,
}

/// What of a request an address is held under: the object may be gone or edited when it matters.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms<'a> {
    pub(super) sharing_key: Option<&'a Arc<str>>,
    pub(super) share_with: Option<&'a Vec<Arc<str>>>,
    pub(super) host: Option<&'a Arc<str>>,
    pub(super) reservation: Option<&'a Arc<str>>,
}

impl Terms<'_> {
    fn are_of(&self, hold: &Hold) -> bool {
        hold.sharing_key.as_ref() == self.sharing_key
            && hold.share_with.as_ref() == self.share_with
            && hold.host.as_ref() == self.host
            && hold.reservation.as_ref() == self.reservation
    }
}

impl Index {
    fn of(ledger: &Ledger) -> Self {
        let mut index = Self::default();
        for (address, service, hold) in ledger.holds() {
            index.by_service.entry(service.clone()).or_default().insert(address);
            count(&mut index.by_key, hold.sharing_key.as_ref(), address);
            let claims = hold.ports.iter().map(|port| ((address, *port), service.clone()));
            index.claims.extend(claims);
            index.reserve(address, service, hold.reservation.as_ref());
        }
        index
    }

    fn reserve(&mut self, address: IpAddr, service: &ServiceKey, name: Option<&Arc<str>>) {
        if let Some(name) = name {
            let held = self.by_reservation.entry(reservation(service, name)).or_default();
            held.insert((service.clone(), address));
        }
    }

    fn unreserve(&mut self, address: IpAddr, service: &ServiceKey, name: Option<&Arc<str>>) {
        let Some(key) = name.map(|name| reservation(service, name)) else { return };
        let Some(held) = self.by_reservation.get_mut(&key) else { return };
        held.remove(&(service.clone(), address));
        if held.is_empty() {
            self.by_reservation.remove(&key);
        }
    }
}

/// The reservation that a Service names.
pub(super) fn reservation(service: &ServiceKey, name: &Arc<str>) -> ReservationKey {
    ReservationKey::new(&service.source, service.namespace.clone(), name.clone())
}

impl Book {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { index: Index::of(&ledger), ledger, changed: false, stirred: false }
    }

    /// A book that holds what another host wrote: to be written down here too.
    pub(super) fn adopted(ledger: Ledger) -> Self {
        Self { changed: true, ..Self::new(ledger) }
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ledger.addresses.is_empty()
    }

    pub(super) fn entry(&self, address: IpAddr) -> Option<&Entry> {
        self.ledger.addresses.get(&address)
    }

    pub(super) fn hold(&self, address: IpAddr, service: &ServiceKey) -> Option<&Hold> {
        self.entry(address)?.holders.get(service).map(AsRef::as_ref)
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &ServiceKey> {
        self.index.by_service.keys()
    }

    /// Every hold of a Service, by address.
    pub(super) fn holds_of<'a>(
        &'a self,
        service: &'a ServiceKey,
    ) -> impl Iterator<Item = (IpAddr, &'a Hold)> {
        let addresses = self.index.by_service.get(service).into_iter().flatten();
        addresses.filter_map(move |address| Some((*address, self.hold(*address, service)?)))
    }

    /// The addresses that a Service is served on.
    pub(super) fn live(&self, service: &ServiceKey) -> Vec<IpAddr> {
        self.holds_of(service)
            .filter(|(_, hold)| !hold.leaving)
            .map(|(address, _)| address)
            .collect()
    }

    /// The addresses of one family that a Service is served on, those taken first before others.
    pub(super) fn live_in(&self, service: &ServiceKey, family: Family) -> Vec<IpAddr> {
        let of_family =
            |(address, hold): &(IpAddr, &Hold)| !hold.leaving && Family::of(*address) == family;
        let mut live: Vec<_> = self.holds_of(service).filter(of_family).collect();
        live.sort_by_key(|(_, hold)| hold.since);
        live.into_iter().map(|(address, _)| address).collect()
    }

    pub(super) fn seniority(&self, service: &ServiceKey) -> Option<u64> {
        self.holds_of(service).map(|(_, hold)| hold.since).min()
    }

    /// Who claims a port of an address.
    pub(super) fn claimant(&self, address: IpAddr, port: PortClaim) -> Option<&ServiceKey> {
        self.index.claims.get(&(address, port))
    }

    /// The addresses that are held under a sharing key by anybody.
    pub(super) fn under_key(&self, key: &Arc<str>) -> impl Iterator<Item = IpAddr> + use<'_> {
        self.index.by_key.get(key).into_iter().flat_map(|addresses| addresses.keys().copied())
    }

    /// Who holds what under a reservation.
    pub(super) fn under_reservation(
        &self,
        key: &ReservationKey,
    ) -> impl Iterator<Item = &(ServiceKey, IpAddr)> {
        self.index.by_reservation.get(key).into_iter().flatten()
    }

    /// How many addresses are kept for the namespace of a reservation, held or not.
    pub(super) fn reserved_beside(&self, key: &ReservationKey) -> usize {
        let of = |other: &ReservationKey| {
            (&other.source, &other.namespace) == (&key.source, &key.namespace)
        };
        let first = ReservationKey::new(&key.source, key.namespace.clone(), "");
        let held = self.index.by_reservation.range(first..).take_while(|(other, _)| of(other));
        let held: usize = held.map(|(_, held)| held.len()).sum();
        held.saturating_add(self.ledger.memory.kept_for(&key.source, &key.namespace))
    }

    /// Gives a Service an address, or back one that it was leaving; ports are claimed apart.
    pub(super) fn take(&mut self, taking: &Taking<'_>) {
        let Taking { address, service, .. } = *taking;
        let entry = self.ledger.addresses.entry(address).or_insert_with(|| Entry {
            pool: taking.pool.clone(),
            kind: taking.kind,
            holders: BTreeMap::new(),
        });
        if let Some(hold) = entry.holders.get_mut(service) {
            hold.leaving = false;
        } else {
            let since = self.ledger.next_since;
            self.ledger.next_since = since.saturating_add(1);
            let hold = Hold {
                since,
                ports: BTreeSet::new(),
                sharing_key: None,
                share_with: None,
                host: None,
                reservation: None,
                recalled: taking.recalled,
                leaving: false,
            };
            entry.holders.insert(service.clone(), Box::new(hold));
            self.index.by_service.entry(service.clone()).or_default().insert(address);
        }
        self.stir();
        self.ledger.memory.forget_release(address, service);
        if let Some(name) = taking.terms.reservation {
            self.ledger.memory.give_up(address, &reservation(service, name));
        }
        self.note(address, service, taking.terms);
    }

    /// Notes the terms under which a Service holds an address.
    pub(super) fn note(&mut self, address: IpAddr, service: &ServiceKey, terms: &Terms<'_>) {
        let Some(hold) = hold_mut(&mut self.ledger, address, service) else { return };
        if terms.are_of(hold) {
            return;
        }
        let key = std::mem::replace(&mut hold.sharing_key, terms.sharing_key.cloned());
        let name = std::mem::replace(&mut hold.reservation, terms.reservation.cloned());
        hold.share_with = terms.share_with.cloned();
        hold.host = terms.host.cloned();
        discount(&mut self.index.by_key, key.as_ref(), address);
        count(&mut self.index.by_key, terms.sharing_key, address);
        self.index.unreserve(address, service, name.as_ref());
        self.index.reserve(address, service, terms.reservation);
        self.stir();
    }

    /// The Service moves away: the address is not kept under its reservation, which goes with it.
    pub(super) fn move_away(&mut self, address: IpAddr, service: &ServiceKey) {
        if let Some(hold) = hold_mut(&mut self.ledger, address, service) {
            let name = hold.reservation.take();
            self.index.unreserve(address, service, name.as_ref());
        }
        self.leave(address, service);
    }

    /// The Service leaves the address; its claims stay until the address has fallen silent.
    pub(super) fn leave(&mut self, address: IpAddr, service: &ServiceKey) {
        if let Some(hold) = hold_mut(&mut self.ledger, address, service).filter(|h| !h.leaving) {
            hold.leaving = true;
            self.stir();
        }
    }

    /// Forgets a hold that was left, at `now`; what is remembered of it starts. A live one stays.
    pub(super) fn forget(&mut self, address: IpAddr, service: &ServiceKey, now: u64) -> bool {
        let Some(entry) = self.ledger.addresses.get_mut(&address) else { return false };
        if !entry.holders.get(service).is_some_and(|hold| hold.leaving) {
            return false;
        }
        let hold = entry.holders.remove(service);
        if entry.holders.is_empty() {
            self.ledger.addresses.remove(&address);
        }
        if let Some(hold) = hold {
            discount(&mut self.index.by_key, hold.sharing_key.as_ref(), address);
            for port in hold.ports {
                self.index.claims.remove(&(address, port));
            }
            self.index.unreserve(address, service, hold.reservation.as_ref());
            self.remember(address, service, hold.reservation.as_ref(), now);
        }
        if let Some(addresses) = self.index.by_service.get_mut(service) {
            addresses.remove(&address);
            if addresses.is_empty() {
                self.index.by_service.remove(service);
            }
        }
        self.stir();
        true
    }

    fn remember(
        &mut self,
        address: IpAddr,
        service: &ServiceKey,
        name: Option<&Arc<str>>,
        now: u64,
    ) {
        match name.filter(|_| self.may_keep(address, service)) {
            Some(name) => {
                self.ledger.memory.keep(address, &reservation(service, name));
            }
            None => self.ledger.memory.release(address, service, now),
        }
    }

    /// Whether an address that a Service leaves may be kept for its namespace: not beyond what one may
    /// have (a known name takes other addresses each time that it comes), and not while another
    /// namespace is served there, whose address it is as well (S6).
    fn may_keep(&self, address: IpAddr, service: &ServiceKey) -> bool {
        let is_own = |other: &ServiceKey| {
            (&other.source, &other.namespace) == (&service.source, &service.namespace)
        };
        let mut others = self.entry(address).into_iter().flat_map(|entry| entry.holders.keys());
        others.all(is_own)
            && self.ledger.memory.kept_for(&service.source, &service.namespace) < MOST_KEPT
    }

    /// Forgets releases whose cool-down is over.
    pub(super) fn cool(&mut self, now: u64, seconds: impl Fn(IpAddr) -> u64) {
        if self.ledger.memory.cool(now, seconds) {
            self.stir();
        }
    }

    /// Gives up every address kept under a reservation, and says which.
    pub(super) fn give_up(&mut self, key: &ReservationKey) -> Vec<IpAddr> {
        let kept: Vec<_> = self.ledger.memory.kept_under(key).collect();
        for address in &kept {
            self.ledger.memory.give_up(*address, key);
            self.stir();
        }
        kept
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.ledger.memory
    }

    /// Claims a port that nobody has.
    pub(super) fn claim(&mut self, address: IpAddr, service: &ServiceKey, port: PortClaim) {
        if let Some(hold) = hold_mut(&mut self.ledger, address, service)
            && !self.index.claims.contains_key(&(address, port))
        {
            hold.ports.insert(port);
            self.index.claims.insert((address, port), service.clone());
            self.stir();
        }
    }

    /// Gives up every port that is not among `wanted`.
    pub(super) fn keep_ports(
        &mut self,
        address: IpAddr,
        service: &ServiceKey,
        wanted: &BTreeSet<PortClaim>,
    ) {
        let Some(hold) = hold_mut(&mut self.ledger, address, service) else { return };
        if hold.ports.is_subset(wanted) {
            return;
        }
        for port in hold.ports.extract_if(.., |port| !wanted.contains(port)) {
            self.index.claims.remove(&(address, port));
        }
        self.stir();
    }

    /// Notes which pool an address lies in now: a pool may be renamed or split.
    pub(super) fn set_pool(&mut self, address: IpAddr, pool: &Arc<str>, kind: VipKind) {
        if let Some(entry) = self.ledger.addresses.get_mut(&address)
            && (entry.pool != *pool || entry.kind != kind)
        {
            entry.pool = pool.clone();
            entry.kind = kind;
            self.stir();
        }
    }

    /// Closes a round of changes: counts the generation up if there were any, or if `force`.
    pub(super) fn seal(&mut self, force: bool) -> bool {
        let changed = std::mem::take(&mut self.changed) || force;
        if changed {
            self.ledger.generation = self.ledger.generation.saturating_add(1);
        }
        changed
    }

    /// That the indexes say what the ledger says.
    pub(super) fn index_agrees(&self) -> bool {
        self.index == Index::of(&self.ledger)
    }

    /// Whether anything changed since this was asked last: somebody refused before may be served.
    pub(super) fn was_stirred(&mut self) -> bool {
        std::mem::take(&mut self.stirred)
    }

    fn stir(&mut self) {
        self.changed = true;
        self.stirred = true;
    }
}

fn hold_mut<'a>(
    ledger: &'a mut Ledger,
    address: IpAddr,
    service: &ServiceKey,
) -> Option<&'a mut Hold> {
    ledger.addresses.get_mut(&address)?.holders.get_mut(service).map(AsMut::as_mut)
}

type KeyIndex = BTreeMap<Arc<str>, BTreeMap<IpAddr, usize>>;

fn count(index: &mut KeyIndex, key: Option<&Arc<str>>, address: IpAddr) {
    if let Some(key) = key {
        *index.entry(key.clone()).or_default().entry(address).or_default() += 1;
    }
}

fn discount(index: &mut KeyIndex, key: Option<&Arc<str>>, address: IpAddr) {
    let Some((key, addresses)) = key.and_then(|key| Some((key, index.get_mut(key)?))) else {
        return;
    };
    if let Some(holds) = addresses.get_mut(&address) {
        *holds = holds.saturating_sub(1);
        if *holds == 0 {
            addresses.remove(&address);
        }
    }
    if addresses.is_empty() {
        index.remove(key);
    }
}
