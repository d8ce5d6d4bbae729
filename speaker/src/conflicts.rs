//! Addresses that another station has. Anybody on the segment can claim anything, so the book has a
//! bound (S7): beyond it the oldest claim is forgotten, and found again if its address is ever tried.

use std::{
    collections::{BTreeMap, VecDeque},
    net::IpAddr,
};

use roadstead_speaker_core::ipam::{Conflict, Stage};

/// Claims that are remembered. Each is probed again and again until it ends, which bounds the work too.
const MOST: usize = 256;

/// The claims, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Conflicts {
    known: BTreeMap<IpAddr, Conflict>,
    /// Those found before use. Claims on addresses in use are as many as there are such addresses.
    found: VecDeque<IpAddr>,
}

impl Conflicts {
    /// Every claim that is remembered.
    pub(crate) fn known(&self) -> &BTreeMap<IpAddr, Conflict> {
        &self.known
    }

    /// Remembers a claim.
    pub(crate) fn insert(&mut self, address: IpAddr, conflict: Conflict) {
        self.found.retain(|found| *found != address);
        if conflict.stage == Stage::Probing {
            self.found.push_back(address);
        }
        self.known.insert(address, conflict);
        if self.found.len() > MOST
            && let Some(oldest) = self.found.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// The address is nobody else's any more.
    pub(crate) fn remove(&mut self, address: IpAddr) {
        if self.known.remove(&address).is_some() {
            self.found.retain(|found| *found != address);
        }
    }

    /// Forgets the claims on addresses for which this does not hold.
    pub(crate) fn retain(&mut self, keep: impl Fn(&IpAddr) -> bool) {
        self.known.retain(|address, _| keep(address));
        self.found.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: usize) -> IpAddr {
        Ipv4Addr::from_bits(0xc612_0000 + u32::try_from(number).unwrap()).into()
    }

    fn claim(stage: Stage) -> Conflict {
        Conflict { by: "02:00:00:00:00:01".into(), stage }
    }

    #[test]
    fn beyond_the_bound_the_oldest_claim_is_forgotten_and_none_on_an_address_in_use() {
        let mut conflicts = Conflicts::default();
        conflicts.insert(address(0), claim(Stage::InUse));
        for number in 1..=2 * MOST {
            conflicts.insert(address(number), claim(Stage::Probing));
            conflicts.insert(address(number), claim(Stage::Probing));
        }
        assert_eq!(conflicts.known().len(), MOST + 1);
        let kept: Vec<bool> =
            [0, 1, MOST, MOST + 1].map(|n| conflicts.known().contains_key(&address(n))).into();
        assert_eq!(kept, [true, false, false, true]);
    }

    #[test]
    fn what_ended_leaves_no_trace() {
        let mut conflicts = Conflicts::default();
        (1..=3).for_each(|number| conflicts.insert(address(number), claim(Stage::Probing)));
        conflicts.remove(address(2));
        conflicts.retain(|known| *known != address(3));
        assert_eq!(conflicts.known().keys().collect::<Vec<_>>(), [&address(1)]);
        assert_eq!(conflicts.found, [address(1)]);
    }
}
