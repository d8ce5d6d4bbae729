//! What is remembered of addresses that nobody holds: who released each and when (`cool_down`), and
//! under which reservation it is kept.
//!
//! A release is remembered for as long as the pool's `cool_down`: meanwhile the address is given to
//! nobody but whom it was taken from, who gets it back at once. Time is the wall clock's, in seconds,
//! since it has to outlive restarts; a clock that went back counts the time anew from what it shows
//! then, so that it keeps an address from others for one `cool_down` more at most.
//!
//! A reservation keeps an address until a Service of its namespace names it, or until an operator
//! releases it. Both are bounded (S7): of releases the oldest of whoever has most are forgotten, and
//! more than [`MOST_KEPT`] addresses are not kept for one namespace.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{ServiceKey, SourceName};

/// A reservation that an annotation makes is named as a Service is: source, namespace, name.
pub type ReservationKey = ServiceKey;

/// Releases that are remembered, in all: 2 MB of ledger.
const MOST_RELEASED: usize = 16_384;
/// Releases that are forgotten when there are more.
const FORGOTTEN_AT_ONCE: usize = 256;
/// Addresses that are kept for one namespace, whether they are held at the moment or not.
pub const MOST_KEPT: usize = 64;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Memory {
    /// By address, then by who released it: when, in seconds of the wall clock.
    released: BTreeMap<IpAddr, BTreeMap<ServiceKey, u64>>,
    /// The same by Service.
    released_by: BTreeMap<ServiceKey, BTreeSet<IpAddr>>,
    /// How many releases are remembered.
    releases: usize,
    kept: BTreeMap<IpAddr, BTreeSet<ReservationKey>>,
    /// The same by reservation.
    kept_under: BTreeMap<ReservationKey, BTreeSet<IpAddr>>,
}

impl Memory {
    /// Every release: address, by whom, when.
    pub(super) fn released(&self) -> impl Iterator<Item = (IpAddr, &ServiceKey, u64)> {
        let of = |(address, by): (&IpAddr, _)| (*address, by);
        self.released.iter().map(of).flat_map(|(address, by): (_, &BTreeMap<ServiceKey, u64>)| {
            by.iter().map(move |(service, at)| (address, service, *at))
        })
    }

    /// Every address kept, with its reservation.
    pub(super) fn kept(&self) -> impl Iterator<Item = (IpAddr, &ReservationKey)> {
        let each = self.kept.iter();
        each.flat_map(|(address, keys)| keys.iter().map(move |key| (*address, key)))
    }

    /// Who released an address that is not to be given to others yet.
    pub(super) fn cooling(&self, address: IpAddr) -> Option<&ServiceKey> {
        self.released.get(&address)?.keys().next()
    }

    /// The addresses that a Service may have back.
    pub(super) fn released_by(&self, service: &ServiceKey) -> impl Iterator<Item = IpAddr> + '_ {
        self.released_by.get(service).into_iter().flatten().copied()
    }

    /// Takes over a release from the disk; `false` where it is there already.
    pub(super) fn restore_released(
        &mut self,
        address: IpAddr,
        service: &ServiceKey,
        at: u64,
    ) -> bool {
        let fresh = self.released.entry(address).or_default().insert(service.clone(), at).is_none();
        self.released_by.entry(service.clone()).or_default().insert(address);
        self.releases = self.releases.saturating_add(usize::from(fresh));
        fresh
    }

    /// Remembers a release; beyond the bound another is forgotten.
    pub(super) fn release(&mut self, address: IpAddr, service: &ServiceKey, at: u64) {
        self.restore_released(address, service, at);
        if self.releases > MOST_RELEASED {
            self.forget_oldest();
        }
    }

    /// The oldest of the namespace that has most: one that takes and leaves addresses without end
    /// shortens nobody's cool-down but its own (S6). Many at once, so that one costs little.
    fn forget_oldest(&mut self) {
        let mut counts: BTreeMap<(&SourceName, &Arc<str>), usize> = BTreeMap::new();
        for (_, service, _) in self.released() {
            let count = counts.entry((&service.source, &service.namespace)).or_default();
            *count = count.saturating_add(1);
        }
        let most = counts.into_iter().max_by_key(|(_, count)| *count).map(|(owner, _)| owner);
        let of_most = |service: &ServiceKey| most == Some((&service.source, &service.namespace));
        let theirs = self.released().filter(|(_, service, _)| of_most(service));
        let mut theirs: Vec<_> = theirs.map(|(a, service, at)| (at, a, service.clone())).collect();
        theirs.sort();
        for (_, address, service) in theirs.into_iter().take(FORGOTTEN_AT_ONCE) {
            self.forget_release(address, &service);
        }
    }

    /// The Service has the address again, or its time is over.
    pub(super) fn forget_release(&mut self, address: IpAddr, service: &ServiceKey) {
        let Some(by) = self.released.get_mut(&address) else { return };
        if by.remove(service).is_none() {
            return;
        }
        self.releases = self.releases.saturating_sub(1);
        if by.is_empty() {
            self.released.remove(&address);
        }
        take_out(&mut self.released_by, service, address);
    }

    /// Forgets every release whose time is over; `seconds` tells the cool-down of an address. Says
    /// whether anything changed.
    pub(super) fn cool(&mut self, now: u64, seconds: impl Fn(IpAddr) -> u64) -> bool {
        let over = |address: IpAddr, at: u64| match seconds(address) {
            0 => true,
            // The second in which it was released is not a whole one.
            cool_down => now > at.saturating_add(cool_down),
        };
        let over: Vec<_> = self
            .released()
            .filter(|(address, _, at)| over(*address, *at))
            .map(|(address, service, _)| (address, service.clone()))
            .collect();
        for (address, service) in &over {
            self.forget_release(*address, service);
        }
        let mut went_back = false;
        for at in self.released.values_mut().flat_map(BTreeMap::values_mut) {
            went_back |= *at > now;
            *at = now.min(*at);
        }
        went_back || !over.is_empty()
    }

    /// When the next release is over, in seconds of the wall clock.
    pub(super) fn next_cooled(&self, seconds: impl Fn(IpAddr) -> u64) -> Option<u64> {
        let over = |(address, _, at): (IpAddr, _, u64)| {
            at.saturating_add(seconds(address)).saturating_add(1)
        };
        self.released().map(over).min()
    }

    /// Keeps an address under a reservation; `false` where it is kept so already.
    pub(super) fn keep(&mut self, address: IpAddr, reservation: &ReservationKey) -> bool {
        self.kept_under.entry(reservation.clone()).or_default().insert(address);
        self.kept.entry(address).or_default().insert(reservation.clone())
    }

    /// The address is held again, or given up.
    pub(super) fn give_up(&mut self, address: IpAddr, reservation: &ReservationKey) -> bool {
        take_out(&mut self.kept_under, reservation, address);
        let Some(keys) = self.kept.get_mut(&address) else { return false };
        let was_kept = keys.remove(reservation);
        if keys.is_empty() {
            self.kept.remove(&address);
        }
        was_kept
    }

    /// The addresses kept under a reservation.
    pub(super) fn kept_under(&self, key: &ReservationKey) -> impl Iterator<Item = IpAddr> + '_ {
        self.kept_under.get(key).into_iter().flatten().copied()
    }

    /// A reservation that keeps an address.
    pub(super) fn keeper(&self, address: IpAddr) -> Option<&ReservationKey> {
        self.kept.get(&address)?.first()
    }

    /// Whether a reservation keeps an address.
    pub(super) fn is_kept(&self, address: IpAddr, reservation: &ReservationKey) -> bool {
        self.kept.get(&address).is_some_and(|keys| keys.contains(reservation))
    }

    /// How many addresses are kept for a namespace.
    pub(super) fn kept_for(&self, source: &SourceName, namespace: &Arc<str>) -> usize {
        let of = |key: &&ReservationKey| (&key.source, &key.namespace) == (source, namespace);
        let first = ReservationKey::new(source, namespace.clone(), "");
        let theirs = self.kept_under.range(first..).take_while(|(key, _)| of(key));
        theirs.map(|(_, addresses)| addresses.len()).sum()
    }
}

fn take_out<K: Ord>(index: &mut BTreeMap<K, BTreeSet<IpAddr>>, key: &K, address: IpAddr) {
    if let Some(addresses) = index.get_mut(key) {
        addresses.remove(&address);
        if addresses.is_empty() {
            index.remove(key);
        }
    }
}
