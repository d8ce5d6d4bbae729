//! One run, step by step; the order of decisions is in the module's head.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Family, ServiceKey, Snapshot, config::Sharing, local::VipKind, object::Families,
};

use super::{
    book::{Book, Taking, Terms},
    ledger::Entry,
    pools::PoolView,
    refusal::Refusal,
    request::{Request, Slots, Wish},
    reservations::Claim,
    search::{Quest, Search},
    sharing,
    surroundings::Host,
};

/// The order in which Services are served: by seniority in the ledger; then, where the whole
/// ledger is lost, those whose status remembers an address; then those that name one; then the
/// rest. Within each, by key.
pub(super) fn order<'w, 'a>(
    book: &Book,
    wishes: &'w BTreeMap<&ServiceKey, Wish<'a>>,
) -> Vec<&'w Wish<'a>> {
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
pub(super) struct Run<'b, 'a> {
    pub(super) book: &'b mut Book,
    pub(super) search: Search<'a>,
    pub(super) host: &'a Host,
    pub(super) refusals: BTreeMap<ServiceKey, Vec<Refusal>>,
}

/// What is to be done for a Service in one family.
struct Plan<'a> {
    family: Family,
    /// None: there is nothing to be had, and nothing is held.
    step: Option<Step<'a>>,
    refusals: Vec<Refusal>,
}

enum Step<'a> {
    /// What is held is not what is wanted, and there is nothing better.
    Stay,
    /// All that is wanted is there: what is kept, what is taken, each with the host name that stands
    /// for it.
    Settle { keep: Vec<Place<'a>>, take: Vec<Place<'a>> },
}

/// What a Service takes and gives up in the families that are planned already.
struct SoFar {
    taken: Vec<IpAddr>,
    going: Vec<IpAddr>,
}

type Place<'a> = (IpAddr, Option<&'a Arc<str>>);

impl<'a> Run<'_, 'a> {
    /// Services that are known to be gone, or to be another's, leave their addresses. What an
    /// unread or doubtful source does not show is doubt, and holds (S3).
    pub(super) fn let_go_of_the_gone(
        &mut self,
        snapshot: &Snapshot,
        wishes: &BTreeMap<&ServiceKey, Wish<'_>>,
    ) {
        let gone = |key: &&ServiceKey| {
            !wishes.contains_key(*key)
                && (snapshot.services.contains_key(*key) || snapshot.is_gone(key))
        };
        let gone: Vec<_> = self.book.services().filter(gone).cloned().collect();
        for service in gone {
            for address in self.book.live(&service) {
                self.book.leave(address, &service);
            }
        }
    }

    /// S1: what lies in no pool is used by nobody from now on.
    pub(super) fn let_go_outside_pools(&mut self) {
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

    /// Releases whose cool-down is over, or whose pool has none any more, are forgotten.
    pub(super) fn forget_the_cooled(&mut self, now: u64) {
        let search = &self.search;
        self.book.cool(now, |address| search.cool_down(address));
    }

    pub(super) fn free_unwanted_ports(&mut self, wishes: &BTreeMap<&ServiceKey, Wish<'_>>) {
        for (service, wish) in wishes {
            for address in self.book.live(service) {
                self.book.keep_ports(address, service, &wish.ports);
            }
        }
    }

    pub(super) fn round(&mut self, order: &[&Wish<'a>]) {
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
        if self.book.holds_of(service).all(|(_, hold)| hold.leaving || hold.ports == wish.ports) {
            return;
        }
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

    fn converge(&mut self, wish: &Wish<'a>) {
        let request = match &wish.request {
            Ok(request) => request,
            Err(refusal) => return self.refuse(wish, vec![refusal.clone()]),
        };
        if wish.ports.is_empty() {
            return;
        }
        let claim = match self.search.reservations.claim(self.book, wish) {
            Ok(claim) => claim,
            Err(refusal) => return self.refuse(wish, vec![refusal]),
        };
        let wanted = request.families.wanted();
        let live = self.book.live(&wish.service.key);
        let unwanted = live.into_iter().filter(|a| !wanted.contains(&Family::of(*a)));
        let mut so_far = SoFar { taken: Vec::new(), going: unwanted.collect() };
        let plan = |family: &Family| self.plan(wish, request, &claim, *family, &mut so_far);
        let plans: Vec<_> = wanted.iter().map(plan).collect();
        match request.families {
            Families::RequireDual { .. } if plans.iter().any(|plan| plan.step.is_none()) => {
                self.refuse(wish, dual_refusals(plans));
            }
            Families::Single(_) | Families::PreferDual { .. } | Families::RequireDual { .. } => {
                self.carry_out(wish, &claim, &wanted, plans);
            }
        }
    }

    fn carry_out(
        &mut self,
        wish: &Wish<'_>,
        claim: &Claim<'_>,
        wanted: &[Family],
        plans: Vec<Plan<'_>>,
    ) {
        for plan in plans {
            if let Some(step) = plan.step {
                self.commit(wish, claim, plan.family, &step);
                self.leave_unwanted(wish, wanted);
            }
            if !plan.refusals.is_empty() {
                self.refuse(wish, plan.refusals);
            }
        }
        self.settle_ports(wish);
    }

    fn refuse(&mut self, wish: &Wish<'_>, refusals: Vec<Refusal>) {
        self.refusals.entry(wish.service.key.clone()).or_default().extend(refusals);
    }

    /// What to do for a Service in one family, and what stands in the way. Every place is filled, or
    /// everything stays as it is.
    fn plan(
        &mut self,
        wish: &Wish<'a>,
        request: &Request,
        claim: &Claim<'a>,
        family: Family,
        so_far: &mut SoFar,
    ) -> Plan<'a> {
        let held = self.book.live_in(&wish.service.key, family);
        let stay = (!held.is_empty()).then_some(Step::Stay);
        let slots = match wish.slots(self.book, self.host, family) {
            Ok(slots) => slots,
            Err(refusal) => return Plan { family, step: stay, refusals: vec![refusal] },
        };
        let (keep, objections) = self.sift(wish, request, &slots, &held);
        let mut going = so_far.going.clone();
        going.extend(held.iter().filter(|address| !keep.contains(address)));
        let (book, chosen) = (&*self.book, so_far.taken.clone());
        let mut quest = Quest { book, wish, request, claim, family, chosen, going: &going };
        let failed = self.search.fill(&mut quest, open(&slots, &keep)).err();
        let chosen_here = quest.chosen.split_off(so_far.taken.len());
        let Some(why) = failed else {
            so_far.taken.extend(&chosen_here);
            so_far.going = going;
            let placed = |all: Vec<IpAddr>| all.into_iter().map(|a| (a, slots.host(a))).collect();
            let step = Some(Step::Settle { keep: placed(keep), take: placed(chosen_here) });
            return Plan { family, step, refusals: slots.notes };
        };
        let found = keep.len().saturating_add(chosen_here.len());
        let objections = objections.into_iter().filter(|objection| *objection != why);
        let refusals = objections.chain([incomplete(&slots, family, found, why.clone())]);
        Plan { family, step: stay, refusals: refusals.chain(slots.notes).collect() }
    }

    /// What of the held addresses fills a place, the senior first, and what is said against others
    /// that would.
    fn sift(
        &self,
        wish: &Wish<'_>,
        request: &Request,
        slots: &Slots<'_>,
        held: &[IpAddr],
    ) -> (Vec<IpAddr>, Vec<Refusal>) {
        let (mut keep, mut objections) = (Vec::new(), Vec::new());
        let mut free = slots.free;
        for address in held {
            let is_named = slots.is_named(*address);
            if !is_named && free == 0 {
                continue;
            }
            match self.fit(wish, request, *address) {
                Fit::Fits => {
                    keep.push(*address);
                    free = if is_named { free } else { free.saturating_sub(1) };
                }
                Fit::Objection(objection) => objections.push(objection),
                Fit::NotWanted => {}
            }
        }
        (keep, objections)
    }

    fn fit(&self, wish: &Wish<'_>, request: &Request, address: IpAddr) -> Fit {
        let Some((id, view)) = self.search.pools.containing(address) else { return Fit::NotWanted };
        let source = &wish.service.key.source;
        let is_meant = |pool: &Arc<str>| self.search.named(pool, source) == Some(id);
        if !request.pools.is_empty() && !request.pools.iter().any(is_meant) {
            return Fit::NotWanted;
        }
        let objection = view
            .refuses(wish.service)
            .or_else(|| self.search.objection(self.book, wish, view, address))
            .or_else(|| self.estranged(wish, view, address))
            .or_else(|| self.portless(wish, address));
        objection.map_or(Fit::Fits, Fit::Objection)
    }

    /// The Service has changed its key and no longer agrees with its neighbours.
    fn estranged(&self, wish: &Wish<'_>, view: &PoolView<'_>, address: IpAddr) -> Option<Refusal> {
        let entry = self.book.entry(address)?;
        let hold = entry.holders.get(&wish.service.key)?;
        let asked = &wish.service.request;
        let is_as_before =
            hold.sharing_key == asked.sharing_key && hold.share_with == asked.share_with;
        if is_as_before || view.pool.sharing == Sharing::WhenFull {
            return None;
        }
        sharing::cohabits(entry, view.pool.sharing, wish, address).err()
    }

    /// Every port of the Service is claimed by its neighbours.
    fn portless(&self, wish: &Wish<'_>, address: IpAddr) -> Option<Refusal> {
        let hold = self.book.hold(address, &wish.service.key)?;
        if hold.ports.is_empty() { sharing::collision(self.book, wish, address) } else { None }
    }

    /// Acquire before release: the new addresses are taken first, then the others of the family are
    /// left.
    fn commit(&mut self, wish: &Wish<'_>, claim: &Claim<'_>, family: Family, step: &Step<'_>) {
        let Step::Settle { keep, take } = step else { return };
        let service = &wish.service.key;
        for (address, host) in keep {
            self.book.note(*address, service, &terms(wish, claim, *host));
        }
        for (address, host) in take {
            self.take(wish, &terms(wish, claim, *host), *address);
        }
        let stays = |address: &IpAddr| keep.iter().chain(take).any(|(held, _)| held == address);
        for other in self.book.live_in(service, family) {
            if !stays(&other) {
                self.book.move_away(other, service);
            }
        }
    }

    /// Families that are wanted no more are left when another is had.
    fn leave_unwanted(&mut self, wish: &Wish<'_>, wanted: &[Family]) {
        let service = &wish.service.key;
        for address in self.book.live(service) {
            if !wanted.contains(&Family::of(address)) {
                self.book.move_away(address, service);
            }
        }
    }

    fn take(&mut self, wish: &Wish<'_>, terms: &Terms<'_>, address: IpAddr) {
        let Some((_, view)) = self.search.pools.containing(address) else { return };
        let (pool, kind) = (&view.pool.name, kind(view));
        let service = &wish.service.key;
        let recalled = wish.service.status_addresses.contains(&address);
        self.book.take(&Taking { address, pool, kind, service, terms, recalled });
        // Ports it had there before it left are claimed anew with the others.
        self.book.keep_ports(address, service, &BTreeSet::new());
        self.search.note_taken(address, service);
    }
}

/// The places that nothing held fills: addresses by name, then any.
fn open(slots: &Slots<'_>, keep: &[IpAddr]) -> Vec<Option<IpAddr>> {
    let named = slots.named.iter().map(|(address, _)| *address);
    let others = keep.iter().filter(|address| !slots.is_named(**address)).count();
    let free = std::iter::repeat_n(None, slots.free.saturating_sub(others));
    named.filter(|address| !keep.contains(address)).map(Some).chain(free).collect()
}

/// One of several that cannot be had costs them all, which is told.
fn incomplete(slots: &Slots<'_>, family: Family, found: usize, why: Refusal) -> Refusal {
    match slots.wanted() {
        0 | 1 => why,
        wanted => Refusal::AddressesUnavailable { family, wanted, found, why: Box::new(why) },
    }
}

fn terms<'t>(wish: &Wish<'t>, claim: &'t Claim<'_>, host: Option<&'t Arc<str>>) -> Terms<'t> {
    let request = &wish.service.request;
    Terms {
        sharing_key: request.sharing_key.as_ref(),
        share_with: request.share_with.as_ref(),
        host,
        reservation: claim.noted(),
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
fn dual_refusals(plans: Vec<Plan>) -> Vec<Refusal> {
    let both_fail = plans.iter().all(|plan| plan.step.is_none());
    let Some(failed) = plans.into_iter().find(|plan| plan.step.is_none()) else {
        return Vec::new();
    };
    if both_fail {
        return failed.refusals;
    }
    let missing = failed.family;
    let whys = failed.refusals.into_iter();
    whys.map(|why| Refusal::DualStackUnavailable { missing, why: Box::new(why) }).collect()
}

fn kind(view: &PoolView<'_>) -> VipKind {
    if view.pool.host_addresses { VipKind::Host } else { VipKind::Virtual }
}
