//! The state machine: one run takes everything that is known and brings the ledger as close to
//! what is wanted as the pools allow. Running again with the same input changes nothing.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use roadstead_model::{
    Family, ServiceKey, Snapshot,
    config::{Pool, Reservation},
    local::Assignments,
};

use super::{
    book::Book,
    contest,
    ledger::{Ledger, LedgerError},
    memory::ReservationKey,
    outcome::{self, Outcome},
    pools::{PoolView, Pools},
    refusal::Refusal,
    request::{self, Wish},
    reservations::Reservations,
    run::{Run, order},
    search::Search,
    surroundings::{Conflict, Host, Surroundings},
};

/// Everything that a run rests on.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The configured pools; no two overlap.
    pub pools: &'a [Pool],
    /// Take only Services that name our `loadBalancerClass`.
    pub class_only: bool,
    /// What the sources say.
    pub snapshot: &'a Snapshot,
    /// What the host says of itself.
    pub host: &'a Host,
    /// Addresses that somebody else answers for.
    pub conflicts: &'a BTreeMap<IpAddr, Conflict>,
    /// The configured reservations; no address is in two.
    pub reservations: &'a [Reservation],
    /// Seconds of the wall clock: the ledger remembers by it over restarts.
    pub now: u64,
}

/// How often a run goes over all Services at most. Two or three rounds are usual; a longer chain of
/// Services that wait for one another takes one round a link, and whatever is beyond this waits
/// for the next run. A defect that would never end costs a second instead of the daemon.
const ROUNDS: usize = 64;

/// Assigns addresses. Holds the ledger, and nothing that a restart would miss.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    pub(super) book: Book,
    /// What was published last; `None` = nothing since the start.
    published: Option<Arc<Assignments>>,
    /// The generation that first named each live Service on each address, in this run.
    since: BTreeMap<(IpAddr, ServiceKey), u64>,
}

/// The ledger broke a promise: a defect of this program, never of an input.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// S1: an address outside every pool is held for use.
    #[error("{service} is served on {address}, which lies in no pool")]
    OutsidePools {
        /// The address.
        address: IpAddr,
        /// The Service.
        service: ServiceKey,
    },
    /// The ledger contradicts itself.
    #[error("the ledger contradicts itself")]
    Ledger(#[from] LedgerError),
    /// An index and the ledger differ.
    #[error("an index of the ledger differs from it")]
    Index,
}

impl Allocator {
    /// An allocator that has assigned nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An allocator that goes on where a ledger stopped.
    pub fn restore(ledger: Ledger) -> Self {
        Self { book: Book::new(ledger), ..Self::default() }
    }

    /// The ledger, to be written before what it says is published.
    pub fn ledger(&self) -> &Ledger {
        self.book.ledger()
    }

    /// Whether anything is kept under a reservation that nobody holds.
    pub fn keeps(&self, reservation: &ReservationKey) -> bool {
        self.book.memory().kept_under(reservation).next().is_some()
    }

    /// Who holds an address under a reservation.
    pub fn holder_under(&self, reservation: &ReservationKey) -> Option<&ServiceKey> {
        self.book.under_reservation(reservation).next().map(|(service, _)| service)
    }

    /// Gives up what a reservation keeps, and says which addresses; the next run hands them out.
    /// What is held under it stays, and is kept again when its Service goes.
    pub fn give_up(&mut self, reservation: &ReservationKey) -> Vec<IpAddr> {
        self.book.give_up(reservation)
    }

    /// Brings the ledger as close to what is wanted as the pools allow. The first run after a
    /// start always counts the generation up.
    pub fn reconcile(&mut self, input: &Input<'_>) -> Outcome {
        let ours = || request::ours(input.snapshot, input.class_only);
        let lost = contest::lost(&self.book, &input.snapshot.contested, ours());
        let wishes: BTreeMap<&ServiceKey, Wish<'_>> =
            ours().map(|s| (&s.key, Wish::of(s, &lost))).collect();
        let order = order(&self.book, &wishes);
        let mut run = Run {
            book: &mut self.book,
            search: search(input),
            host: input.host,
            refusals: BTreeMap::new(),
        };
        run.forget_the_cooled(input.now);
        run.let_go_of_the_gone(input.snapshot, &wishes);
        run.let_go_outside_pools();
        run.free_unwanted_ports(&wishes);
        // What one Service does may serve another that was refused before it: the last free
        // address taken opens a pool that is shared when full. The rounds end by themselves, since
        // a Service moves only to where it fits, and what fits goes on fitting.
        run.book.was_stirred();
        for _ in 0..ROUNDS {
            run.round(&order);
            if !run.book.was_stirred() {
                break;
            }
            run.search = search(input);
        }
        let Run { search, refusals, .. } = run;
        let outcome = self.publish(&search, &wishes, refusals);
        debug_assert!(self.check_invariants(input.pools).is_ok());
        outcome
    }

    pub(super) fn publish(
        &mut self,
        search: &Search<'_>,
        wishes: &BTreeMap<&ServiceKey, Wish<'_>>,
        refusals: BTreeMap<ServiceKey, Vec<Refusal>>,
    ) -> Outcome {
        let mut assignments = outcome::assignments(&self.book, &search.pools);
        let differs = self.published.as_ref().is_none_or(|old| {
            (&old.services, &old.vips) != (&assignments.services, &assignments.vips)
        });
        let changed = self.book.seal(differs);
        assignments.generation = self.ledger().generation();
        let assignments = Arc::new(assignments);
        self.published = Some(assignments.clone());
        if changed {
            self.note_since();
        }
        Outcome {
            changed,
            assignments,
            addresses: outcome::addresses(&self.book, &search.pools, &self.since),
            conditions: outcome::conditions(&self.book, search, wishes, &refusals),
            refusals,
            pools: outcome::pools(&self.book, search),
            passed_over: outcome::passed_over(search),
            reservations: search.reservations.unused(&self.book),
            next: self.book.memory().next_cooled(|address| search.cool_down(address)),
        }
    }

    fn note_since(&mut self) {
        let generation = self.ledger().generation();
        let mut old = std::mem::take(&mut self.since);
        for (address, entry) in self.book.ledger().addresses() {
            for service in entry.live() {
                let key = (*address, service.clone());
                let since = old.remove(&key).unwrap_or(generation);
                self.since.insert(key, since);
            }
        }
    }

    /// Counts the generation up for a change of the daemon's own in what it publishes (where an
    /// address is answered for), and returns it.
    pub fn advance(&mut self) -> u64 {
        self.book.seal(true);
        self.ledger().generation()
    }

    /// An address that a Service was leaving has fallen silent: it is free for the next run (S5),
    /// or cools down from `now` on, in seconds of the wall clock. Says whether there was such a hold;
    /// one that is in use again stays.
    pub fn release(&mut self, address: IpAddr, service: &ServiceKey, now: u64) -> bool {
        self.book.forget(address, service, now)
    }

    /// The next `count` free addresses of each pool and family, to be probed ahead of need. Pools
    /// of host addresses and pools that are not announced by L2 have none.
    pub fn next_free(&self, input: &Input<'_>, count: usize) -> Vec<(Arc<str>, Vec<IpAddr>)> {
        let search = search(input);
        let probed = |view: &PoolView<'_>| view.pool.announce.l2 && !view.pool.host_addresses;
        let free = |id| {
            let families = [Family::V4, Family::V6].into_iter();
            families.flat_map(|family| search.free(&self.book, id, family, count)).collect()
        };
        let pools = search.pools.iter().filter(|(_, view)| probed(view));
        pools.map(|(id, view)| (view.pool.name.clone(), free(id))).collect()
    }

    /// The addresses in use that `pools` would no longer permit: the pool is gone, pinned to
    /// others, or reserves them. A configuration that has any is refused, naming them.
    pub fn orphans(&self, pools: &[Pool], snapshot: &Snapshot) -> Vec<(ServiceKey, IpAddr)> {
        let pools = Pools::new(pools, snapshot);
        let permitted = |address, service: &ServiceKey| {
            let Some((_, view)) = pools.containing(address) else { return false };
            let object = snapshot.services.get(service);
            !view.is_reserved(address) && object.is_none_or(|s| view.exclusion(s).is_none())
        };
        let live = self.ledger().holds().filter(|(_, _, hold)| !hold.leaving);
        live.filter(|(address, service, _)| !permitted(*address, service))
            .map(|(address, service, _)| (service.clone(), address))
            .collect()
    }

    /// That no address outside `pools` is in use (S1), no port is claimed twice, no Service has
    /// more addresses than one may, and every index agrees. Linear in the ledger.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn check_invariants(&self, pools: &[Pool]) -> Result<(), Violation> {
        let pools = Pools::of_addresses(pools);
        let mut live = self.ledger().holds().filter(|(_, _, hold)| !hold.leaving);
        if let Some((address, service, _)) = live.find(|(a, _, _)| pools.containing(*a).is_none()) {
            return Err(Violation::OutsidePools { address, service: service.clone() });
        }
        self.ledger().check()?;
        if self.book.index_agrees() { Ok(()) } else { Err(Violation::Index) }
    }
}

pub(super) fn search<'a>(input: &Input<'a>) -> Search<'a> {
    Search::new(
        Pools::new(input.pools, input.snapshot),
        Surroundings::new(input.snapshot, input.host, input.conflicts),
        Reservations::new(input.reservations),
    )
}
