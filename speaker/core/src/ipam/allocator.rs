//! The state machine: one run takes everything that is known and brings the ledger as close to
//! what is wanted as the pools allow. Running again with the same input changes nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Family, ServiceKey, Snapshot,
    config::{Pool, Sharing},
    local::{Assignments, VipKind},
    object::Families,
    snapshot::SourceState,
};

use super::{
    book::{Book, Taking},
    ledger::{Entry, Ledger, LedgerError},
    outcome::{self, Outcome},
    pools::{PoolView, Pools},
    refusal::Refusal,
    request::{self, Request, Wish},
    search::Search,
    sharing,
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
}

/// Assigns addresses. Holds the ledger, and nothing that a restart would miss.
#[derive(Clone, Debug, Default)]
pub struct Allocator {
    book: Book,
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

    /// Brings the ledger as close to what is wanted as the pools allow. The first run after a
    /// start always counts the generation up.
    pub fn reconcile(&mut self, input: &Input<'_>) -> Outcome {
        let wishes: BTreeMap<&ServiceKey, Wish<'_>> =
            request::ours(input.snapshot, input.class_only)
                .map(|s| (&s.key, Wish::of(s)))
                .collect();
        let order = order(&self.book, &wishes);
        let mut run =
            Run { book: &mut self.book, search: search(input), refusals: BTreeMap::new() };
        run.let_go_of_the_gone(input.snapshot, &wishes);
        run.let_go_outside_pools();
        run.free_unwanted_ports(&wishes);
        // What one Service does may serve another that was refused before it: the last free
        // address taken opens a pool that is shared when full. The rounds end, since a Service
        // moves only to where it fits, and what fits goes on fitting while the input is the same.
        run.book.was_stirred();
        loop {
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

    fn publish(
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
        self.note_since();
        Outcome {
            changed,
            assignments,
            addresses: outcome::addresses(&self.book, &search.pools, &self.since),
            conditions: outcome::conditions(&self.book, search, wishes, &refusals),
            refusals,
            pools: outcome::pools(&self.book, search),
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

    /// An address that a Service was leaving has fallen silent: it is free for the next run (S5).
    /// Says whether there was such a hold; one that is in use again stays.
    pub fn release(&mut self, address: IpAddr, service: &ServiceKey) -> bool {
        self.book.forget(address, service)
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
        let pools = Pools::new(pools);
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
    /// two addresses of one family, and every index agrees. Linear in the ledger.
    ///
    /// # Errors
    /// The first promise found broken.
    pub fn check_invariants(&self, pools: &[Pool]) -> Result<(), Violation> {
        let pools = Pools::new(pools);
        let mut live = self.ledger().holds().filter(|(_, _, hold)| !hold.leaving);
        if let Some((address, service, _)) = live.find(|(a, _, _)| pools.containing(*a).is_none()) {
            return Err(Violation::OutsidePools { address, service: service.clone() });
        }
        self.ledger().check()?;
        if self.book.index_agrees() { Ok(()) } else { Err(Violation::Index) }
    }
}

fn search<'a>(input: &Input<'a>) -> Search<'a> {
    Search::new(
        Pools::new(input.pools),
        Surroundings::new(input.snapshot, input.host, input.conflicts),
    )
}

/// The order in which Services are served: by seniority in the ledger; then, where the whole
/// ledger is lost, those whose status remembers an address; then those that name one; then the
/// rest. Within each, by key.
fn order<'w, 'a>(book: &Book, wishes: &'w BTreeMap<&ServiceKey, Wish<'a>>) -> Vec<&'w Wish<'a>> {
    let lost = book.is_empty();
    let rank = |wish: &Wish<'_>| match book.seniority(&wish.service.key) {
        Some(since) => (0, since),
        None if lost && !wish.service.status_addresses.is_empty() => (1, 0),
        None if wish.names_an_address() || !wish.service.status_addresses.is_empty() => (2, 0),
        None => (3, 0),
    };
    let mut order: Vec<_> = wishes.values().collect();
    order.sort_by_cached_key(|wish| rank(wish));
    order
}

/// One run.
struct Run<'b, 'a> {
    book: &'b mut Book,
    search: Search<'a>,
    refusals: BTreeMap<ServiceKey, Vec<Refusal>>,
}

/// What is to be done in one family.
enum Step {
    Keep(IpAddr),
    Take(IpAddr),
}

impl Run<'_, '_> {
    /// Services that are known to be gone, or to be another's, leave their addresses. What an
    /// unread or doubtful source does not show is doubt, and holds (S3).
    fn let_go_of_the_gone(
        &mut self,
        snapshot: &Snapshot,
        wishes: &BTreeMap<&ServiceKey, Wish<'_>>,
    ) {
        let gone = |key: &&ServiceKey| {
            !wishes.contains_key(*key)
                && (snapshot.services.contains_key(*key) || absence_is_known(snapshot, key))
        };
        let gone: Vec<_> = self.book.services().filter(gone).cloned().collect();
        for service in gone {
            for address in self.book.live(&service) {
                self.book.leave(address, &service);
            }
        }
    }

    /// S1: what lies in no pool is used by nobody from now on.
    fn let_go_outside_pools(&mut self) {
        let addresses: Vec<_> = self.book.ledger().addresses().keys().copied().collect();
        for address in addresses {
            if let Some((_, view)) = self.search.pools.containing(address) {
                self.book.set_pool(address, &view.pool.name, kind(view));
                continue;
            }
            let live = self.book.entry(address).into_iter().flat_map(Entry::live);
            for service in live.cloned().collect::<Vec<_>>() {
                self.book.leave(address, &service);
            }
        }
    }

    fn free_unwanted_ports(&mut self, wishes: &BTreeMap<&ServiceKey, Wish<'_>>) {
        for (service, wish) in wishes {
            for address in self.book.live(service) {
                self.book.keep_ports(address, service, &wish.ports);
            }
        }
    }

    fn round(&mut self, order: &[&Wish<'_>]) {
        self.refusals.clear();
        for wish in order {
            self.settle_ports(wish);
        }
        for wish in order {
            self.converge(wish);
        }
    }

    /// Claims every wanted port that is to be had on all addresses of the Service.
    fn settle_ports(&mut self, wish: &Wish<'_>) {
        let service = &wish.service.key;
        let live = self.book.live(service);
        for port in &wish.ports {
            let own = |address: &IpAddr| {
                self.book.claimant(*address, *port).is_none_or(|claimant| claimant == service)
            };
            if live.iter().all(own) {
                for address in &live {
                    self.book.claim(*address, service, *port);
                }
            }
        }
    }

    fn converge(&mut self, wish: &Wish<'_>) {
        let request = match &wish.request {
            Ok(request) => request,
            Err(refusal) => return self.refuse(wish, vec![refusal.clone()]),
        };
        if wish.ports.is_empty() {
            return;
        }
        let wanted = request.families.wanted();
        let plans: Vec<_> =
            wanted.iter().map(|family| (*family, self.plan(wish, request, *family))).collect();
        match request.families {
            Families::RequireDual { .. } if plans.iter().any(|(_, plan)| plan.is_err()) => {
                self.refuse(wish, dual_refusals(plans));
            }
            Families::Single(_) | Families::PreferDual { .. } | Families::RequireDual { .. } => {
                self.carry_out(wish, &wanted, plans);
            }
        }
    }

    fn carry_out(
        &mut self,
        wish: &Wish<'_>,
        wanted: &[Family],
        plans: Vec<(Family, Result<Step, Vec<Refusal>>)>,
    ) {
        for (family, plan) in plans {
            match plan {
                Ok(step) => self.commit(wish, family, wanted, &step),
                Err(refusals) => self.refuse(wish, refusals),
            }
        }
        self.settle_ports(wish);
    }

    fn refuse(&mut self, wish: &Wish<'_>, refusals: Vec<Refusal>) {
        self.refusals.entry(wish.service.key.clone()).or_default().extend(refusals);
    }

    /// What to do for a Service in one family, or why nothing can be done; what it holds stays.
    fn plan(
        &mut self,
        wish: &Wish<'_>,
        request: &Request,
        family: Family,
    ) -> Result<Step, Vec<Refusal>> {
        let held = self.book.live_in(&wish.service.key, family);
        let reason = match held.map(|address| (address, self.fit(wish, request, address))) {
            Some((address, Fit::Fits)) => return Ok(Step::Keep(address)),
            Some((_, Fit::Objection(reason))) => Some(reason),
            Some((_, Fit::NotWanted)) | None => None,
        };
        let found = self.search.find(self.book, wish, request, family);
        found.map(Step::Take).map_err(|refusal| {
            let reason = reason.filter(|reason| *reason != refusal);
            reason.into_iter().chain([refusal]).collect()
        })
    }

    fn fit(&self, wish: &Wish<'_>, request: &Request, address: IpAddr) -> Fit {
        let Some((_, view)) = self.search.pools.containing(address) else { return Fit::NotWanted };
        let elsewhere = request.exact(Family::of(address)).is_some_and(|exact| exact != address)
            || request.pool.as_ref().is_some_and(|pool| *pool != view.pool.name);
        if elsewhere {
            return Fit::NotWanted;
        }
        let objection = view
            .refuses(wish.service)
            .or_else(|| self.search.objection(wish, view, address))
            .or_else(|| self.estranged(wish, view, address))
            .or_else(|| self.portless(wish, address));
        objection.map_or(Fit::Fits, Fit::Objection)
    }

    /// The Service has changed its key and no longer agrees with its neighbours.
    fn estranged(&self, wish: &Wish<'_>, view: &PoolView<'_>, address: IpAddr) -> Option<Refusal> {
        let entry = self.book.entry(address)?;
        let hold = entry.holders.get(&wish.service.key)?;
        if hold.sharing_key.as_ref() == wish.key() || view.pool.sharing == Sharing::WhenFull {
            return None;
        }
        sharing::cohabits(entry, view.pool.sharing, wish, address).err()
    }

    /// Every port of the Service is claimed by its neighbours.
    fn portless(&self, wish: &Wish<'_>, address: IpAddr) -> Option<Refusal> {
        let hold = self.book.hold(address, &wish.service.key)?;
        if hold.ports.is_empty() { sharing::collision(self.book, wish, address) } else { None }
    }

    /// Acquire before release: the new address is taken first, then the old one is left.
    fn commit(&mut self, wish: &Wish<'_>, family: Family, wanted: &[Family], step: &Step) {
        let service = &wish.service.key;
        let (Step::Keep(address) | Step::Take(address)) = *step;
        if let Step::Take(address) = step {
            self.take(wish, *address);
        } else {
            self.book.rekey(address, service, wish.key());
        }
        for other in self.book.live(service) {
            let replaced = Family::of(other) == family || !wanted.contains(&Family::of(other));
            if other != address && replaced {
                self.book.leave(other, service);
            }
        }
    }

    fn take(&mut self, wish: &Wish<'_>, address: IpAddr) {
        let Some((_, view)) = self.search.pools.containing(address) else { return };
        self.book.take(&Taking {
            address,
            pool: &view.pool.name,
            kind: kind(view),
            service: &wish.service.key,
            sharing_key: wish.key(),
        });
        self.book.keep_ports(address, &wish.service.key, &wish.ports);
    }
}

/// Whether what a Service holds is what it may have and asks for.
enum Fit {
    Fits,
    /// It asks for another.
    NotWanted,
    /// The configuration, the wire or the neighbours object; it stays until another is found.
    Objection(Refusal),
}

/// Both or none: where both fail, the first speaks for itself.
fn dual_refusals(plans: Vec<(Family, Result<Step, Vec<Refusal>>)>) -> Vec<Refusal> {
    let both_fail = plans.iter().all(|(_, plan)| plan.is_err());
    let mut failed = plans.into_iter().filter_map(|(family, plan)| Some((family, plan.err()?)));
    let Some((missing, why)) = failed.next() else { return Vec::new() };
    if both_fail {
        return why;
    }
    why.into_iter()
        .map(|why| Refusal::DualStackUnavailable { missing, why: Box::new(why) })
        .collect()
}

fn kind(view: &PoolView<'_>) -> VipKind {
    if view.pool.host_addresses { VipKind::Host } else { VipKind::Virtual }
}

/// Whether a Service that the snapshot lacks is known to be gone.
pub(super) fn absence_is_known(snapshot: &Snapshot, service: &ServiceKey) -> bool {
    match snapshot.sources.get(&service.source) {
        Some(SourceState::Current) => true,
        Some(SourceState::Unread | SourceState::Doubtful { .. }) => false,
        None => snapshot.is_complete(),
    }
}

/// The addresses of a Service in words.
pub(super) fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
