//! Weighted Maglev tables (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer", NSDI 2016, §3.4).
//!
//! A table depends on the names and weights of its backends alone: not on their order, not on the
//! host, not on the indices that this host gave them. Two edge hosts therefore send the same client
//! to the same node.

use std::{hash::Hasher, sync::Arc};

use siphasher::sip::SipHasher13;

use crate::maps::{BackendId, NO_BACKEND, TABLE_SLOTS, Table};

/// One backend of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// Its name on every host: `source/node/address`.
    pub name: &'a str,
    /// Its index on this host.
    pub backend: BackendId,
    /// Its part of new flows relative to the others; 0 = none.
    pub weight: u32,
}

/// Keys of the two hashes. Every host must have the same; a change of them moves every client.
const OFFSET_KEY: (u64, u64) = (0x726f_6164_7374_6561, 0x6d61_676c_6576_2f31);
const SKIP_KEY: (u64, u64) = (0x6d61_676c_6576_2f32, 0x726f_6164_7374_6561);

/// The table of `shares`: [`TABLE_SLOTS`] slots, all of them [`NO_BACKEND`] where nobody has weight.
///
/// Each backend walks its own permutation of the slots. In every round it earns its weight, and
/// takes a slot for each time that it has earned the largest weight: the heaviest takes one a round.
pub fn table(shares: &[Share<'_>]) -> Table {
    let mut walkers: Vec<Walker<'_>> =
        shares.iter().filter(|share| share.weight > 0).map(Walker::new).collect();
    walkers.sort_unstable_by(|a, b| a.name.cmp(b.name));
    let Some(heaviest) = walkers.iter().map(|walker| walker.weight).max() else {
        return Arc::from(vec![NO_BACKEND; TABLE_SLOTS]);
    };
    let mut slots = vec![NO_BACKEND; TABLE_SLOTS];
    let mut left = TABLE_SLOTS;
    loop {
        for walker in &mut walkers {
            walker.earned += u64::from(walker.weight);
            if walker.earned < u64::from(heaviest) {
                continue;
            }
            walker.earned -= u64::from(heaviest);
            walker.claim(&mut slots);
            left -= 1;
            if left == 0 {
                return Arc::from(slots);
            }
        }
    }
}

/// A backend on its way through its permutation.
struct Walker<'a> {
    name: &'a str,
    backend: BackendId,
    weight: u32,
    earned: u64,
    slot: usize,
    skip: usize,
}

impl<'a> Walker<'a> {
    fn new(share: &Share<'a>) -> Self {
        Self {
            name: share.name,
            backend: share.backend,
            weight: share.weight,
            earned: 0,
            slot: residue(hash(OFFSET_KEY, share.name), TABLE_SLOTS),
            skip: residue(hash(SKIP_KEY, share.name), TABLE_SLOTS - 1) + 1,
        }
    }

    /// Takes the first free slot of the permutation. There is one: the caller counts them, and a
    /// step that is coprime to the number of slots visits all.
    fn claim(&mut self, slots: &mut [BackendId]) {
        loop {
            let slot = self.slot;
            self.slot += self.skip;
            if self.slot >= TABLE_SLOTS {
                self.slot -= TABLE_SLOTS;
            }
            if slots[slot] == NO_BACKEND {
                slots[slot] = self.backend;
                return;
            }
        }
    }
}

fn hash(key: (u64, u64), name: &str) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    hasher.write(name.as_bytes());
    hasher.finish()
}

fn residue(hash: u64, modulus: usize) -> usize {
    usize::try_from(hash % modulus as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests;
