//! Another host assigns: its ledger is taken as it is, and what follows from it here is told.
//!
//! Nothing is assigned, moved or released. The pools are this host's own all the same: what they do not
//! hold is not served (S1).

use std::collections::BTreeMap;

use roadstead_model::{
    ServiceKey,
    reason::{Condition, ConditionStatus},
};

use super::{
    allocator::{Allocator, Input, search},
    book::Book,
    ledger::Ledger,
    outcome::Outcome,
    request::{self, Wish},
};

impl Allocator {
    /// Takes over the ledger of the host that writes. Its generation is that host's own and is left
    /// out: what this host publishes is counted by itself.
    pub fn adopt(&mut self, ledger: &Ledger) {
        let mut ledger = ledger.clone();
        ledger.generation = self.ledger().generation();
        if ledger != *self.ledger() {
            self.book = Book::adopted(ledger);
        }
    }

    /// What follows from the ledger as it is. Running again with the same input changes nothing.
    pub fn follow(&mut self, input: &Input<'_>) -> Outcome {
        let wishes: BTreeMap<&ServiceKey, Wish<'_>> =
            request::ours(input.snapshot, input.class_only)
                .map(|service| (&service.key, Wish::of(service, &BTreeMap::new())))
                .collect();
        let mut outcome = self.publish(&search(input), &wishes, BTreeMap::new());
        // The one that writes forgets what has cooled down.
        outcome.next = None;
        outcome.conditions.values_mut().filter(|told| is_unassigned(told)).for_each(|told| {
            *told = Condition::new(
                "Allocated",
                ConditionStatus::False,
                "FollowsWriter",
                "another host assigns, and has assigned no address that is known here; its own status tells why",
            );
        });
        outcome
    }
}

fn is_unassigned(condition: &Condition) -> bool {
    condition.status == ConditionStatus::False && condition.reason == "Allocated"
}
