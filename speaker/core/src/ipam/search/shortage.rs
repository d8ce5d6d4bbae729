//! Why a search found nothing: a quota, an address that cools down, a neighbour's port, or simply no
//! address.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roadstead_model::{Family, config::Sharing};

use super::{
    super::{
        book::Book,
        pools::PoolId,
        refusal::{self, Refusal},
        sharing,
    },
    Quest, Search,
};

/// Addresses that nobody holds and not everybody may have.
#[derive(Clone, Copy, Default)]
pub(super) struct Withheld {
    cooling: usize,
    reserved: usize,
}

impl Search<'_> {
    /// Why nothing was found in pools that have the family.
    pub(super) fn exhausted(&mut self, quest: &Quest<'_, '_>, pools: &[PoolId]) -> Refusal {
        let free = |id: &PoolId| {
            let address = self.first_free(quest.book, *id, quest.family, &quest.chosen)?;
            self.over_quota(quest, *id, address)
        };
        if let Some(refusal) = pools.iter().find_map(free) {
            return refusal;
        }
        let collision = self
            .views(pools)
            .filter(|(_, view)| view.pool.sharing == Sharing::WhenFull)
            .flat_map(|(id, _)| self.held_in(quest.book, id, quest.family))
            .find_map(|address| sharing::collision(quest.book, quest.wish, address));
        let withheld = self.withheld_in(quest, pools);
        let cooling = withheld.iter().filter(|(_, held)| held.cooling > 0);
        let cooling = refusal::some(cooling.map(|(pool, held)| (pool.clone(), held.cooling)));
        if !cooling.is_empty() {
            return Refusal::PoolCoolingDown { family: quest.family, pools: cooling };
        }
        let family = quest.family;
        collision.unwrap_or_else(|| Refusal::PoolExhausted {
            family,
            pools: refusal::some(
                self.views(pools).map(|(_, view)| {
                    (view.pool.name.clone(), self.surroundings.usable(view, family))
                }),
            ),
            reserved: withheld.iter().map(|(_, held)| held.reserved).sum(),
        })
    }

    /// What each pool withholds of the family.
    fn withheld_in(
        &mut self,
        quest: &Quest<'_, '_>,
        pools: &[PoolId],
    ) -> Vec<(Arc<str>, Withheld)> {
        if self.withheld.is_none() {
            self.withheld = Some(self.count_withheld(quest.book));
        }
        let counts = self.withheld.as_ref();
        let count = |id: PoolId| {
            let held = counts.and_then(|counts| counts.get(&(id, quest.family)));
            held.copied().unwrap_or_default()
        };
        self.views(pools).map(|(id, view)| (view.pool.name.clone(), count(id))).collect()
    }

    fn count_withheld(&self, book: &Book) -> BTreeMap<(PoolId, Family), Withheld> {
        let mut counts: BTreeMap<_, Withheld> = BTreeMap::new();
        let kept = book.memory().kept().map(|(address, _)| address);
        let reserved: BTreeSet<_> = kept.chain(self.reservations.addresses()).collect();
        let released = book.memory().released().map(|(address, _, _)| address);
        let cooling: BTreeSet<_> = released.filter(|a| !reserved.contains(a)).collect();
        for address in reserved.union(&cooling).filter(|a| book.entry(**a).is_none()) {
            let Some(id) = self.pool_id(*address) else { continue };
            let withheld = counts.entry((id, Family::of(*address))).or_default();
            withheld.reserved += usize::from(reserved.contains(address));
            withheld.cooling += usize::from(cooling.contains(address));
        }
        counts
    }
}
