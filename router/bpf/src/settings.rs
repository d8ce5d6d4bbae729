//! `struct settings`, shared with the program by `mmap`: written field by field.
#![expect(unsafe_code, reason = "memory shared with the kernel is written through pointers")]

use std::{io, os::fd::BorrowedFd};

use crate::{
    layout::{ADDRESS_CLASSES, Address, LEGS, Leg, Settings, Timeouts},
    sys::Mapping,
};

/// The mapping of the settings.
#[derive(Debug)]
pub(crate) struct Shared(Mapping<Settings>);

/// Reads or writes one field: the program may do so at the same moment.
macro_rules! field {
    ($shared:expr, $($field:tt)+) => { &raw mut (*$shared.0.pointer()).$($field)+ };
}

impl Shared {
    pub(crate) fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        Mapping::new(map).map(Self)
    }

    pub(crate) fn set_clock(&self, hz: u32) {
        // SAFETY: the mapping holds a `Settings`; a field of it is in bounds and aligned.
        unsafe { field!(self, hz).write_volatile(hz) }
    }

    pub(crate) fn set_seed(&self, seed: u64) {
        // SAFETY: as above.
        unsafe { field!(self, seed).write_volatile(seed) }
    }

    pub(crate) fn set_netns_cookie(&self, cookie: u64) {
        // SAFETY: as above.
        unsafe { field!(self, netns_cookie).write_volatile(cookie) }
    }

    pub(crate) fn set_lease(&self, until: u64) {
        // SAFETY: as above.
        unsafe { field!(self, lease).write_volatile(until) }
    }

    pub(crate) fn set_half_open_budget(&self, budget: u32) {
        // SAFETY: as above.
        unsafe { field!(self, half_open_budget).write_volatile(budget) }
    }

    pub(crate) fn timeouts(&self) -> Timeouts {
        // SAFETY: as above.
        unsafe { field!(self, timeouts).read_volatile() }
    }

    pub(crate) fn set_timeouts(&self, timeouts: Timeouts) {
        // SAFETY: as above.
        unsafe { field!(self, timeouts).write_volatile(timeouts) }
    }

    pub(crate) fn set_snat_count(&self, count: u32) {
        // SAFETY: as above.
        unsafe { field!(self, snat_count).write_volatile(count) }
    }

    /// Every flow with source ranges is checked again with its next packet.
    pub(crate) fn ranges_changed(&self) {
        // SAFETY: as above.
        unsafe {
            let generation = field!(self, ranges_generation);
            generation.write_volatile(generation.read_volatile().wrapping_add(1));
        }
    }

    /// What the program remembers of frontends is stale: called after each change of them.
    pub(crate) fn frontends_changed(&self) {
        // SAFETY: as above.
        unsafe {
            let generation = field!(self, frontends_generation);
            generation.write_volatile(generation.read_volatile().wrapping_add(1));
        }
    }

    pub(crate) fn legs(&self) -> [Leg; LEGS] {
        // SAFETY: as above.
        unsafe { field!(self, legs).read_volatile() }
    }

    /// Writes a slot; `slot` is less than [`LEGS`].
    pub(crate) fn set_leg(&self, slot: u8, leg: Leg) {
        let slot = usize::from(slot) % LEGS;
        // SAFETY: as above, and the slot is within the array.
        unsafe { field!(self, legs[slot]).write_volatile(leg) }
    }

    pub(crate) fn class(&self, class: usize) -> u8 {
        let class = class % ADDRESS_CLASSES;
        // SAFETY: as above, and the class is within the array.
        unsafe { field!(self, classes[class]).read_volatile() }
    }

    pub(crate) fn set_class(&self, class: usize, bits: u8) {
        let class = class % ADDRESS_CLASSES;
        // SAFETY: as above, and the class is within the array.
        unsafe { field!(self, classes[class]).write_volatile(bits) }
    }
}

const HASH_MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

fn hash_mix(hash: u64, value: u64) -> u64 {
    let hash = (hash ^ value).wrapping_mul(HASH_MULTIPLIER);
    hash ^ (hash >> 32)
}

/// The index of an address into `Settings::classes`: `hash_class` of `c/hash.h`.
pub(crate) fn hash_class(address: &Address) -> usize {
    let (high, low) = address.0.split_at(8);
    let half = |bytes: &[u8]| bytes.try_into().map(u64::from_ne_bytes).unwrap_or_default();
    let hash = [half(high), half(low), 0].into_iter().fold(0, hash_mix);
    usize::try_from(hash % ADDRESS_CLASSES as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::*;

    /// A neighbour that shares the class of an address of ours costs two look-ups a packet.
    #[test]
    fn neighbours_have_classes_of_their_own() {
        let v4 = |last| IpAddr::from(Ipv4Addr::new(192, 0, 2, last));
        let v6 = |last| IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(last)));
        for addresses in [v4 as fn(u8) -> IpAddr, v6] {
            let classes: BTreeSet<usize> =
                (0..=255).map(|last| hash_class(&Address::from(addresses(last)))).collect();
            assert!(classes.len() > 240, "{} classes for 256 addresses", classes.len());
        }
    }
}
