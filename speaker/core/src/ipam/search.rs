//! Finding an address for a Service in one family: the order of decisions in the module's head.
//!
//! A search changes nothing. Within one round addresses only become less free, so the search
//! remembers where each pool's free addresses begin and which sets of ports found no neighbour:
//! 5,000 Services that wait cost no more than 5,000 look-ups.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use roadstead_model::{
    AddressRange, Family, ServiceKey, SourceName, config::Sharing, local::PortClaim,
};

use super::{
    book::Book,
    pools::{PoolId, PoolView, Pools},
    quota::Charges,
    refusal::{self, Refusal},
    request::{Request, Wish},
    reservations::{Claim, Reservations},
    sharing,
    surroundings::{Stage, Surroundings},
};

mod shortage;
use self::shortage::Withheld;

/// The search of one round.
pub(super) struct Search<'a> {
    pub(super) pools: Pools<'a>,
    pub(super) surroundings: Surroundings<'a>,
    pub(super) reservations: Reservations<'a>,
    /// Below these nothing is free.
    free_from: BTreeMap<(PoolId, Family), Cursor>,
    /// Ports that no address of a full pool has to spare.
    dead_ends: BTreeSet<(PoolId, Family, Vec<PortClaim>)>,
    /// How many addresses of each pool nobody holds and not everybody may have; none before somebody
    /// asks.
    withheld: Option<BTreeMap<(PoolId, Family), Withheld>>,
    /// What counts as whose; none before somebody asks.
    charges: Option<Charges>,
}

/// One address that is looked for.
pub(super) struct Quest<'q, 'a> {
    pub(super) book: &'q Book,
    pub(super) wish: &'q Wish<'a>,
    pub(super) request: &'q Request,
    pub(super) claim: &'q Claim<'a>,
    pub(super) family: Family,
    /// Found for the same Service already, in this family and the one before, and not taken yet.
    pub(super) chosen: Vec<IpAddr>,
    /// What the Service gives up when it finds everything.
    pub(super) going: &'q [IpAddr],
}

/// A place in the segments of a pool.
#[derive(Clone, Copy)]
struct Cursor {
    segment: usize,
    /// `None` = the start of the segment.
    address: Option<IpAddr>,
}

impl Cursor {
    const START: Self = Self { segment: 0, address: None };
}

impl Quest<'_, '_> {
    fn service(&self) -> &ServiceKey {
        &self.wish.service.key
    }

    /// Whether only the object's status remembers that the Service has the address. The load balancer
    /// that wrote it may still answer for it.
    fn recalls(&self, address: IpAddr) -> bool {
        self.wish.service.status_addresses.contains(&address)
            && self.book.live_in(self.service(), Family::of(address)).is_empty()
    }
}

/// Whether a Service of the same namespace lives on an address.
fn lives_on(book: &Book, service: &ServiceKey, address: IpAddr) -> bool {
    let holders = book.entry(address).into_iter().flat_map(|entry| &entry.holders);
    let of_namespace =
        |key: &ServiceKey| key.source == service.source && key.namespace == service.namespace;
    holders.into_iter().any(|(key, hold)| !hold.leaving && of_namespace(key))
}

fn is_conflict(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::ConflictOnWire { .. })
}

impl<'a> Search<'a> {
    pub(super) fn new(
        pools: Pools<'a>,
        surroundings: Surroundings<'a>,
        reservations: Reservations<'a>,
    ) -> Self {
        Self {
            pools,
            surroundings,
            reservations,
            free_from: BTreeMap::new(),
            dead_ends: BTreeSet::new(),
            withheld: None,
            charges: None,
        }
    }

    /// Finds an address for each place: one by name, or any. What is found is among the chosen then.
    ///
    /// # Errors
    /// Why the first that cannot be filled is not; those after it are not tried.
    pub(super) fn fill(
        &mut self,
        quest: &mut Quest<'_, '_>,
        places: Vec<Option<IpAddr>>,
    ) -> Result<(), Refusal> {
        for place in places {
            let found = match place {
                Some(address) => self.exact(quest, address).map(|()| address),
                None => self.any(quest),
            };
            quest.chosen.push(found?);
        }
        Ok(())
    }

    /// Whether a Service may take just this address.
    ///
    /// # Errors
    /// Why not.
    fn exact(&mut self, quest: &Quest<'_, '_>, address: IpAddr) -> Result<(), Refusal> {
        let wanted = self.asked_for(quest)?;
        if self.pools.is_empty() {
            return Err(Refusal::NoPools);
        }
        let foreign = || {
            let pool = quest.wish.service.request.pool.clone();
            Refusal::AddressNotInPool { address, pool }
        };
        let (id, view) = self.pools.containing(address).ok_or_else(foreign)?;
        if wanted.is_some_and(|wanted| !wanted.contains(&id)) {
            return Err(foreign());
        }
        if let Some(refusal) = view.refuses(quest.wish.service) {
            return Err(refusal);
        }
        self.vacancy(quest, id, address)
    }

    /// Any address that the request allows.
    ///
    /// # Errors
    /// Why there is none.
    fn any(&mut self, quest: &Quest<'_, '_>) -> Result<IpAddr, Refusal> {
        if let Some(result) = self.reserved(quest) {
            return result;
        }
        let (had, new) = self.eligible(quest)?;
        if let Some(address) = self.left_before(quest, &had) {
            return Ok(address);
        }
        let names = refusal::some(self.views(&new).map(|(_, view)| view.pool.name.clone()));
        let open = self.views(&new).filter(|(_, view)| view.has(quest.family));
        let (draining, new): (Vec<_>, Vec<_>) = open.partition(|(_, view)| view.pool.drain);
        let draining = refusal::some(draining.iter().map(|(_, view)| view.pool.name.clone()));
        let new: Vec<_> = new.into_iter().map(|(id, _)| id).collect();
        if new.is_empty() && draining.is_empty() {
            return Err(Refusal::FamilyNotAvailable { family: quest.family, pools: names });
        }
        if new.is_empty() {
            return Err(Refusal::PoolDraining { pools: draining });
        }
        if let Some(address) = self.remembered(quest, &new) {
            return Ok(address);
        }
        let taken = new.iter().find_map(|id| self.in_pool(quest, *id));
        taken.ok_or_else(|| self.exhausted(quest, &new))
    }

    /// Whether an address of a pool that the Service may use can be taken: barred for everybody,
    /// kept for somebody else, or held by somebody who does not share.
    fn vacancy(
        &mut self,
        quest: &Quest<'_, '_>,
        id: PoolId,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        let absent = || Refusal::AddressNotInPool { address, pool: None };
        let (_, view) = self.pools.get(id).ok_or_else(absent)?;
        let left_by_itself = quest.book.hold(address, quest.service()).is_some();
        let bar = if left_by_itself {
            self.objection(quest.book, quest.wish, view, address)
        } else {
            let bar = self.surroundings.bar(view, address);
            let bar = bar.filter(|bar| !(is_conflict(bar) && quest.recalls(address)));
            bar.or_else(|| self.kept_from(quest, view, address))
        };
        let policy = view.pool.sharing;
        if let Some(bar) = bar.or_else(|| self.over_quota(quest, id, address)) {
            return Err(bar);
        }
        let full = policy == Sharing::WhenFull
            && self.first_free(quest.book, id, Family::of(address), &[]).is_none();
        sharing::admits(quest.book, policy, full, quest.wish, address)
    }

    /// Why an address is kept from a Service that has nothing of it now.
    fn kept_from(
        &self,
        quest: &Quest<'_, '_>,
        view: &PoolView<'_>,
        address: IpAddr,
    ) -> Option<Refusal> {
        let (service, memory) = (quest.service(), quest.book.memory());
        if view.pool.drain {
            return Some(Refusal::PoolDraining { pools: vec![view.pool.name.clone()] });
        }
        if let Some(refusal) = self.reservations.refuses(address, service) {
            return Some(refusal);
        }
        let is_its =
            quest.claim.keeps(quest.book, address) || self.reservations.keeps_for(address, service);
        if is_its {
            return None;
        }
        if let Some(keeper) = memory.keeper(address) {
            return Some(Refusal::ReservedForAnother {
                address,
                reservation: keeper.name.clone(),
                whose: format!("{}/{}", keeper.source, keeper.namespace),
            });
        }
        let by = memory.cooling(address).filter(|_| quest.book.entry(address).is_none())?;
        let is_back = memory.released_by(service).any(|own| own == address);
        let pool = view.pool.name.clone();
        (!is_back).then(|| Refusal::CoolingDown { address, by: by.clone(), pool })
    }

    /// One address more than the quota of the Service's namespace.
    fn over_quota(
        &mut self,
        quest: &Quest<'_, '_>,
        id: PoolId,
        address: IpAddr,
    ) -> Option<Refusal> {
        let service = quest.service();
        let (_, view) = self.pools.get(id)?;
        let allowed = view.pool.quota.of(&service.source, &service.namespace)?;
        let pool = view.pool.name.clone();
        let charges = self.charges.get_or_insert_with(|| Charges::of(quest.book, &self.pools));
        let counted = charges.counted(id, service);
        let counts = |address: &IpAddr| counted.is_some_and(|all| all.contains(address));
        // One that is only being left counts no less for whoever joins it.
        if lives_on(quest.book, service, address) {
            return None;
        }
        let own = usize::from(counts(&address));
        let in_pool =
            |address: &&IpAddr| self.pools.containing(**address).map(|it| it.0) == Some(id);
        let chosen = quest.chosen.iter().filter(in_pool).filter(|a| !counts(a)).count();
        let going = quest.going.iter().filter(|a| counts(a) && is_alone(quest.book, service, **a));
        let used = (counted.map_or(0, BTreeSet::len) + chosen).saturating_sub(going.count() + own);
        let namespace = format!("{}/{}", service.source, service.namespace);
        let is_over = u32::try_from(used).is_ok_and(|used| used < allowed);
        (!is_over).then_some(Refusal::QuotaExceeded { pool, namespace, used, allowed })
    }

    /// Notes that a Service has taken an address in this round.
    pub(super) fn note_taken(&mut self, address: IpAddr, service: &ServiceKey) {
        let pool = self.pool_id(address);
        if let Some((charges, pool)) = self.charges.as_mut().zip(pool) {
            charges.add(pool, address, service);
        }
    }

    /// What the configuration and the wire say against an address that the Service has had:
    /// neighbours that turn up later never move it.
    pub(super) fn objection(
        &self,
        book: &Book,
        wish: &Wish<'_>,
        view: &PoolView<'_>,
        address: IpAddr,
    ) -> Option<Refusal> {
        if view.is_reserved(address) {
            return Some(Refusal::AddressReserved { address, pool: view.pool.name.clone() });
        }
        let hold = book.hold(address, &wish.service.key);
        let is_recalled = hold.is_some_and(|hold| hold.recalled);
        if is_recalled || wish.service.request.addresses.contains(&address) {
            return None;
        }
        self.surroundings.conflict(address, Some(Stage::Probing))
    }

    /// The pools that the Service names, as far as there are such; none named = any.
    fn asked_for(&self, quest: &Quest<'_, '_>) -> Result<Option<Vec<PoolId>>, Refusal> {
        let names = &quest.request.pools;
        let Some(first) = names.first() else { return Ok(None) };
        if self.pools.is_empty() {
            return Err(Refusal::NoPools);
        }
        let source = &quest.service().source;
        let known: Vec<_> = names.iter().filter_map(|name| self.named(name, source)).collect();
        if known.is_empty() {
            let all = self.pools.iter().map(|(_, view)| view.pool.name.clone());
            return Err(Refusal::NoSuchPool { pool: first.clone(), known: refusal::some(all) });
        }
        Ok(Some(known))
    }

    /// The pool that an object of `source` means by a name.
    pub(super) fn named(&self, name: &str, source: &SourceName) -> Option<PoolId> {
        self.pools.named(name, source).map(|(id, _)| id)
    }

    /// What is kept for the Service. A claim by name that cannot be met is waited for, unless no
    /// address of it lies in a pool any more; what it is given without asking is not.
    fn reserved(&mut self, quest: &Quest<'_, '_>) -> Option<Result<IpAddr, Refusal>> {
        let fresh = |address: &IpAddr| {
            Family::of(*address) == quest.family
                && !quest.chosen.contains(address)
                && quest.book.hold(*address, quest.service()).is_none_or(|hold| hold.leaving)
        };
        let mut why = None;
        for address in quest.claim.addresses(quest.book).into_iter().filter(fresh) {
            match self.exact(quest, address) {
                Ok(()) => return Some(Ok(address)),
                Err(Refusal::AddressNotInPool { .. }) => {}
                Err(refusal) => why = why.or(Some(refusal)),
            }
        }
        if let Some(why) = why {
            return Some(Err(why));
        }
        let given: Vec<_> = self.reservations.given_to(quest.service()).filter(fresh).collect();
        given.into_iter().find(|address| self.exact(quest, *address).is_ok()).map(Ok)
    }

    /// The pools in which the Service may get back what it had, and those it may take from anew.
    fn eligible(&self, quest: &Quest<'_, '_>) -> Result<(Vec<PoolId>, Vec<PoolId>), Refusal> {
        let service = quest.wish.service;
        if let Some(named) = self.asked_for(quest)? {
            let (open, closed): (Vec<_>, Vec<_>) =
                self.views(&named).partition(|(_, view)| view.exclusion(service).is_none());
            if open.is_empty() {
                let why = |(_, view): &(PoolId, &PoolView<'_>)| {
                    view.exclusion(service).map(|why| (view.pool.name.clone(), why))
                };
                let pools = refusal::some(closed.iter().filter_map(why));
                return Err(Refusal::PoolNotAllowed { pools });
            }
            let open: Vec<_> = open.into_iter().map(|(id, _)| id).collect();
            return Ok((open.clone(), open));
        }
        let open = self.pools.open_to(service)?;
        let auto: Vec<_> =
            open.iter().filter(|(_, view)| view.pool.auto_assign).map(|(id, _)| *id).collect();
        if auto.is_empty() {
            let pools = refusal::some(open.iter().map(|(_, view)| view.pool.name.clone()));
            return Err(Refusal::OnRequestOnly { pools });
        }
        Ok((open.into_iter().map(|(id, _)| id).collect(), auto))
    }

    /// Seconds for which an address is kept from others after its release.
    pub(super) fn cool_down(&self, address: IpAddr) -> u64 {
        let pool = self.pools.containing(address);
        pool.map_or(0, |(_, view)| view.pool.cool_down.as_millis().div_ceil(1_000))
            .try_into()
            .unwrap_or(u64::MAX)
    }

    fn views(&self, ids: &[PoolId]) -> impl Iterator<Item = (PoolId, &PoolView<'a>)> {
        ids.iter().filter_map(|id| self.pools.get(*id))
    }

    fn pool_id(&self, address: IpAddr) -> Option<PoolId> {
        self.pools.containing(address).map(|(id, _)| id)
    }

    /// An address that the Service left: one that has not fallen silent yet, or cools down.
    fn left_before(&mut self, quest: &Quest<'_, '_>, pools: &[PoolId]) -> Option<IpAddr> {
        let holds = quest.book.holds_of(quest.service());
        let leaving = holds.filter(|(_, hold)| hold.leaving).map(|(address, _)| address);
        let released = quest.book.memory().released_by(quest.service());
        let left: Vec<_> = leaving.chain(released).collect();
        self.first_vacant(quest, pools, &left)
    }

    /// An address that the object's status remembers, where the ledger is silent.
    fn remembered(&mut self, quest: &Quest<'_, '_>, pools: &[PoolId]) -> Option<IpAddr> {
        if !quest.book.live_in(quest.service(), quest.family).is_empty() {
            return None;
        }
        self.first_vacant(quest, pools, &quest.wish.service.status_addresses)
    }

    fn first_vacant(
        &mut self,
        quest: &Quest<'_, '_>,
        pools: &[PoolId],
        addresses: &[IpAddr],
    ) -> Option<IpAddr> {
        let fresh = |a: &IpAddr| Family::of(*a) == quest.family && !quest.chosen.contains(a);
        addresses.iter().copied().filter(fresh).find(|address| {
            let id = self.pool_id(*address).filter(|id| pools.contains(id));
            id.is_some_and(|id| self.vacancy(quest, id, *address).is_ok())
        })
    }

    /// One pool, tried to its end: beside Services of the same key, a free address, and beside
    /// anybody where the pool says so and is full.
    fn in_pool(&mut self, quest: &Quest<'_, '_>, id: PoolId) -> Option<IpAddr> {
        if let Some(address) = self.beside_key(quest, id) {
            return Some(address);
        }
        if let Some(address) = self.first_free(quest.book, id, quest.family, &quest.chosen) {
            return self.over_quota(quest, id, address).is_none().then_some(address);
        }
        self.beside_anybody(quest, id)
    }

    fn beside_key(&mut self, quest: &Quest<'_, '_>, id: PoolId) -> Option<IpAddr> {
        let (_, view) = self.pools.get(id)?;
        if view.pool.sharing == Sharing::Off {
            return None;
        }
        let is_mate = |address: &IpAddr| {
            Family::of(*address) == quest.family && self.pool_id(*address) == Some(id)
        };
        let mates: Vec<_> = quest.book.under_key(quest.wish.key()?).filter(is_mate).collect();
        mates.into_iter().find(|address| self.is_joinable(quest, id, *address))
    }

    fn beside_anybody(&mut self, quest: &Quest<'_, '_>, id: PoolId) -> Option<IpAddr> {
        let (_, view) = self.pools.get(id)?;
        if view.pool.sharing != Sharing::WhenFull {
            return None;
        }
        let service = quest.service();
        // What keeps one Service out and not another says nothing of the others.
        let is_common = quest.book.holds_of(service).next().is_none()
            && quest.chosen.is_empty()
            && *quest.claim == Claim::Nothing
            && view.pool.quota.of(&service.source, &service.namespace).is_none();
        let key = (id, quest.family, quest.wish.ports.iter().copied().collect());
        if self.dead_ends.contains(&key) {
            return None;
        }
        let held: Vec<_> = self.held_in(quest.book, id, quest.family).collect();
        let joined = held.into_iter().find(|address| self.is_joinable(quest, id, *address));
        if joined.is_none() && is_common {
            self.dead_ends.insert(key);
        }
        joined
    }

    /// Whether a Service may move in beside others; not where it lives already.
    fn is_joinable(&mut self, quest: &Quest<'_, '_>, id: PoolId, address: IpAddr) -> bool {
        let own = quest.book.hold(address, quest.service());
        own.is_none_or(|hold| hold.leaving)
            && !quest.chosen.contains(&address)
            && self.vacancy(quest, id, address).is_ok()
    }

    fn held_in<'s>(
        &'s self,
        book: &'s Book,
        id: PoolId,
        family: Family,
    ) -> impl Iterator<Item = IpAddr> + 's {
        let view = self.pools.get(id).map(|(_, view)| view);
        view.into_iter().flat_map(move |view| view.segments(family)).flat_map(|segment| {
            let all = book.ledger().addresses().range(segment.first()..=segment.last());
            all.map(|(address, _)| *address)
        })
    }

    /// Whether anybody may have an address: nobody holds it or had it just now, it is kept for
    /// nobody, and nothing bars it.
    fn is_free(&self, book: &Book, view: &PoolView<'_>, address: IpAddr) -> bool {
        book.entry(address).is_none()
            && !view.pool.drain
            && !self.reservations.keeps(address)
            && book.memory().keeper(address).is_none()
            && book.memory().cooling(address).is_none()
            && self.surroundings.bar(view, address).is_none()
    }

    /// The first free address of the pool but for those that are `chosen` already.
    fn first_free(
        &mut self,
        book: &Book,
        id: PoolId,
        family: Family,
        chosen: &[IpAddr],
    ) -> Option<IpAddr> {
        let (_, view) = self.pools.get(id)?;
        let mut cursor = self.free_from.get(&(id, family)).copied().unwrap_or(Cursor::START);
        let mut found =
            next_free(view, family, &mut cursor, |address| self.is_free(book, view, address));
        let first = cursor;
        while found.is_some_and(|address| chosen.contains(&address)) {
            step(view, family, &mut cursor);
            found = next_free(view, family, &mut cursor, |a| self.is_free(book, view, a));
        }
        self.free_from.insert((id, family), first);
        found
    }

    /// The next `count` free addresses of a pool and family.
    pub(super) fn free(
        &self,
        book: &Book,
        id: PoolId,
        family: Family,
        count: usize,
    ) -> Vec<IpAddr> {
        let Some((_, view)) = self.pools.get(id) else { return Vec::new() };
        let mut cursor = Cursor::START;
        let next = || {
            let found =
                next_free(view, family, &mut cursor, |address| self.is_free(book, view, address))?;
            step(view, family, &mut cursor);
            Some(found)
        };
        std::iter::from_fn(next).take(count).collect()
    }
}

/// Whether no other Service of the namespace is on an address.
fn is_alone(book: &Book, service: &ServiceKey, address: IpAddr) -> bool {
    let holders = book.entry(address).into_iter().flat_map(|entry| entry.holders.keys());
    let mut others = holders.filter(|other| *other != service);
    !others.any(|other| (&other.source, &other.namespace) == (&service.source, &service.namespace))
}

/// Moves the cursor to the first address at or after it that is free.
fn next_free(
    view: &PoolView<'_>,
    family: Family,
    cursor: &mut Cursor,
    is_free: impl Fn(IpAddr) -> bool,
) -> Option<IpAddr> {
    loop {
        let address = current(view, family, cursor)?;
        if is_free(address) {
            return Some(address);
        }
        step(view, family, cursor);
    }
}

fn segment<'v>(
    view: &'v PoolView<'_>,
    family: Family,
    cursor: &Cursor,
) -> Option<&'v AddressRange> {
    view.segments(family).nth(cursor.segment)
}

fn current(view: &PoolView<'_>, family: Family, cursor: &Cursor) -> Option<IpAddr> {
    let segment = segment(view, family, cursor)?;
    Some(cursor.address.unwrap_or_else(|| segment.first()))
}

fn step(view: &PoolView<'_>, family: Family, cursor: &mut Cursor) {
    let Some(segment) = segment(view, family, cursor) else { return };
    let address = cursor.address.unwrap_or_else(|| segment.first());
    *cursor = match segment.next_after(address) {
        Some(next) => Cursor { segment: cursor.segment, address: Some(next) },
        None => Cursor { segment: cursor.segment + 1, address: None },
    };
}
