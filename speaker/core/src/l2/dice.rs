//! Jitter and nonces from a hash: spread from host to host and address to address, repeatable in
//! tests, and no random source.

use std::{
    hash::{Hash, Hasher},
    net::IpAddr,
    time::Duration,
};

use roadstead_wire::Nonce;
use siphasher::sip::SipHasher13;

/// Draws for one (address, leg) pair.
#[derive(Clone, Debug)]
pub(super) struct Dice {
    key: (u64, u64),
    draws: u64,
}

impl Dice {
    pub(super) fn new(seed: u64, leg: &str, address: IpAddr) -> Self {
        let mut hasher = SipHasher13::new_with_keys(seed, 0);
        (leg, address).hash(&mut hasher);
        Self { key: (seed, hasher.finish()), draws: 0 }
    }

    /// A duration between `least` and `most`.
    pub(super) fn between(&mut self, least: Duration, most: Duration) -> Duration {
        self.draws = self.draws.wrapping_add(1);
        let share = u32::try_from(self.hash(self.draws) % 1024).unwrap_or(0);
        least + (most - least) * share / 1024
    }

    /// A duration around `mean`, a quarter either way.
    pub(super) fn around(&mut self, mean: Duration) -> Duration {
        self.between(mean * 3 / 4, mean * 5 / 4)
    }

    /// The nonce of our own solicitations: unknown to whoever does not know the seed.
    pub(super) fn nonce(&self) -> Nonce {
        let [a, b, c, d, e, f, ..] = self.hash(0).to_be_bytes();
        Nonce([a, b, c, d, e, f])
    }

    fn hash(&self, draw: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.key.0, self.key.1);
        hasher.write_u64(draw);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_stays_within_its_bounds_and_varies() {
        let mut dice = Dice::new(7, "eth0", "192.0.2.1".parse().unwrap());
        let mean = Duration::from_secs(40);
        let draws: Vec<_> = (0..200).map(|_| dice.around(mean)).collect();
        assert!(draws.iter().all(|d| (30..50).contains(&d.as_secs())));
        let distinct: std::collections::BTreeSet<_> = draws.iter().collect();
        assert!(distinct.len() > 100);
    }

    #[test]
    fn hosts_and_addresses_draw_differently() {
        let nonce =
            |seed, leg, address: &str| Dice::new(seed, leg, address.parse().unwrap()).nonce();
        let one = nonce(1, "eth0", "192.0.2.1");
        assert_eq!(one, nonce(1, "eth0", "192.0.2.1"));
        assert_ne!(one, nonce(2, "eth0", "192.0.2.1"));
        assert_ne!(one, nonce(1, "eth1", "192.0.2.1"));
        assert_ne!(one, nonce(1, "eth0", "192.0.2.2"));
    }
}
