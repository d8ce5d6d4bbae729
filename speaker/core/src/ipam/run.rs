//! One run, step by step; the order of decisions is in the module's head.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_model::{
    Family, ServiceKey, Snapshot, config::Sharing, local::VipKind, object::Families,
};

use super::{
    book::{Book, Taking},
    ledger::Entry,
    pools::PoolView,
    refusal::Refusal,
    request::{Request, Wish},
    search::Search,
    sharing,
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
    pub(super) refusals: BTreeMap<ServiceKey, Vec<Refusal>>,
}

/// What is to be done for a Service in one family.
struct Plan {
    family: Family,
    /// None: there is nothing to be had, and nothing is held.
    step: Option<Step>,
    refusals: Vec<Refusal>,
}

enum Step {
    /// What is held is what is wanted.
    Keep(IpAddr),
    /// What is held is not what is wanted, and there is nothing better.
    Stay(IpAddr),
    Take(IpAddr),
}

impl Run<'_, '_> {
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

    pub(super) fn free_unwanted_ports(&mut self, wishes: &BTreeMap<&ServiceKey, Wish<'_>>) {
        for (service, wish) in wishes {
            for address in self.book.live(service) {
                self.book.keep_ports(address, service, &wish.ports);
            }
        }
    }

    pub(super) fn round(&mut self, order: &[&Wish<'_>]) {
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

    fn converge(&mut self, wish: &Wish<'_>) {
        let request = match &wish.request {
            Ok(request) => request,
            Err(refusal) => return self.refuse(wish, vec![refusal.clone()]),
        };
        if wish.ports.is_empty() {
            return;
        }
        let wanted = request.families.wanted();
        let plans: Vec<_> = wanted.iter().map(|family| self.plan(wish, request, *family)).collect();
        match request.families {
            Families::RequireDual { .. } if plans.iter().any(|plan| plan.step.is_none()) => {
                self.refuse(wish, dual_refusals(plans));
            }
            Families::Single(_) | Families::PreferDual { .. } | Families::RequireDual { .. } => {
                self.carry_out(wish, &wanted, plans);
            }
        }
    }

    fn carry_out(&mut self, wish: &Wish<'_>, wanted: &[Family], plans: Vec<Plan>) {
        for plan in plans {
            if let Some(step) = plan.step {
                self.commit(wish, wanted, &step);
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

    /// What to do for a Service in one family, and what stands in the way.
    fn plan(&mut self, wish: &Wish<'_>, request: &Request, family: Family) -> Plan {
        let held = self.book.live_in(&wish.service.key, family);
        let objection = match held.map(|address| (address, self.fit(wish, request, address))) {
            Some((address, Fit::Fits)) => {
                let step = Some(Step::Keep(address));
                return Plan { family, step, refusals: Vec::new() };
            }
            Some((_, Fit::Objection(objection))) => Some(objection),
            Some((_, Fit::NotWanted)) | None => None,
        };
        match self.search.find(self.book, wish, request, family) {
            Ok(address) => Plan { family, step: Some(Step::Take(address)), refusals: Vec::new() },
            Err(refusal) => {
                let objection = objection.filter(|objection| *objection != refusal);
                let refusals = objection.into_iter().chain([refusal]).collect();
                Plan { family, step: held.map(Step::Stay), refusals }
            }
        }
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

    /// Acquire before release: the new address is taken first, then the old one is left, and with
    /// it those of families that are wanted no more.
    fn commit(&mut self, wish: &Wish<'_>, wanted: &[Family], step: &Step) {
        let service = &wish.service.key;
        let (Step::Keep(address) | Step::Stay(address) | Step::Take(address)) = *step;
        match step {
            Step::Keep(_) => self.book.rekey(address, service, wish.key()),
            Step::Stay(_) => {}
            Step::Take(_) => self.take(wish, address),
        }
        let family = Family::of(address);
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
        // Ports it had there before it left are claimed anew with the others.
        self.book.keep_ports(address, &wish.service.key, &BTreeSet::new());
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
