//! Finding an address for a Service in one family: the order of decisions in the module's head.
//!
//! A search changes nothing. Within one run addresses only become less free, so the search
//! remembers where each pool's free addresses begin and which sets of ports found no neighbour:
//! 5,000 Services that wait cost no more than 5,000 look-ups.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{AddressRange, Family, config::Sharing, local::PortClaim};

use super::{
    book::Book,
    pools::{PoolId, PoolView, Pools},
    refusal::Refusal,
    request::{Request, Wish},
    sharing,
    surroundings::{Stage, Surroundings},
};

/// The search of one run.
pub(super) struct Search<'a> {
    pub(super) pools: Pools<'a>,
    pub(super) surroundings: Surroundings<'a>,
    /// Below these nothing is free.
    free_from: BTreeMap<(PoolId, Family), Cursor>,
    /// Ports that no address of a full pool has to spare.
    dead_ends: BTreeSet<(PoolId, Family, Vec<PortClaim>)>,
}

/// A place in the segments of a pool.
#[derive(Clone, Copy)]
struct Cursor {
    segment: usize,
    /// `None` = the start of the segment.
    address: Option<IpAddr>,
}

type Ranked<'s, 'a> = Vec<(PoolId, &'s PoolView<'a>)>;

impl<'a> Search<'a> {
    pub(super) fn new(pools: Pools<'a>, surroundings: Surroundings<'a>) -> Self {
        Self { pools, surroundings, free_from: BTreeMap::new(), dead_ends: BTreeSet::new() }
    }

    /// The address to take for a Service that has none fitting in the family.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) fn find(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        request: &Request,
        family: Family,
    ) -> Result<IpAddr, Refusal> {
        match request.exact(family) {
            Some(address) => self.exact(book, wish, request, address).map(|()| address),
            None => self.any(book, wish, request, family),
        }
    }

    /// Whether a Service may take just this address.
    fn exact(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        request: &Request,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        let named = request.pool.clone();
        if let Some(name) = &named {
            self.named(name)?;
        }
        if self.pools.is_empty() {
            return Err(Refusal::NoPools);
        }
        let foreign = || Refusal::AddressNotInPool { address, pool: named.clone() };
        let (id, view) = self.pools.containing(address).ok_or_else(foreign)?;
        if named.as_ref().is_some_and(|name| *name != view.pool.name) {
            return Err(foreign());
        }
        if let Some(refusal) = view.refuses(wish.service) {
            return Err(refusal);
        }
        self.vacancy(book, wish, id, address)
    }

    /// Whether an address of a pool that the Service may use can be taken: barred for everybody,
    /// or held by somebody who does not share.
    fn vacancy(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        id: PoolId,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        let absent = || Refusal::AddressNotInPool { address, pool: None };
        let (_, view) = self.pools.get(id).ok_or_else(absent)?;
        let left_by_itself = book.hold(address, &wish.service.key).is_some();
        let bar = if left_by_itself {
            self.objection(wish, view, address)
        } else {
            self.surroundings.bar(view, address)
        };
        if let Some(bar) = bar {
            return Err(bar);
        }
        let policy = view.pool.sharing;
        let full =
            policy == Sharing::WhenFull && self.first_free(book, id, Family::of(address)).is_none();
        sharing::admits(book, policy, full, wish, address)
    }

    /// What the configuration and the wire say against an address that the Service has had:
    /// neighbours that turn up later never move it.
    pub(super) fn objection(
        &self,
        wish: &Wish<'_>,
        view: &PoolView<'_>,
        address: IpAddr,
    ) -> Option<Refusal> {
        if view.is_reserved(address) {
            return Some(Refusal::AddressReserved { address, pool: view.pool.name.clone() });
        }
        if wish.service.request.addresses.contains(&address) {
            return None;
        }
        self.surroundings.conflict(address, Some(Stage::Probing))
    }

    fn named(&self, name: &Arc<str>) -> Result<(PoolId, &PoolView<'a>), Refusal> {
        if self.pools.is_empty() {
            return Err(Refusal::NoPools);
        }
        self.pools.named(name).ok_or_else(|| Refusal::NoSuchPool {
            pool: name.clone(),
            known: self.pools.iter().map(|(_, view)| view.pool.name.clone()).collect(),
        })
    }

    /// Any address that the request allows.
    fn any(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        request: &Request,
        family: Family,
    ) -> Result<IpAddr, Refusal> {
        let (had, new) = self.eligible(wish, request)?;
        if let Some(address) = self.left_before(book, wish, family, &had) {
            return Ok(address);
        }
        let names: Vec<_> = self.views(&new).map(|(_, view)| view.pool.name.clone()).collect();
        let new: Vec<_> =
            self.views(&new).filter(|(_, view)| view.has(family)).map(|(id, _)| id).collect();
        if new.is_empty() {
            return Err(Refusal::FamilyNotAvailable { family, pools: names });
        }
        if let Some(address) = self.remembered(book, wish, family, &new) {
            return Ok(address);
        }
        let taken = new.iter().find_map(|id| self.in_pool(book, wish, *id, family));
        taken.ok_or_else(|| self.exhausted(book, wish, family, &new))
    }

    /// The pools in which the Service may get back what it had, and those it may take from anew.
    fn eligible(
        &self,
        wish: &Wish<'_>,
        request: &Request,
    ) -> Result<(Vec<PoolId>, Vec<PoolId>), Refusal> {
        if let Some(name) = &request.pool {
            let (id, view) = self.named(name)?;
            return view.refuses(wish.service).map_or(Ok((vec![id], vec![id])), Err);
        }
        let open: Ranked<'_, '_> = self.pools.open_to(wish.service)?;
        let auto: Vec<_> =
            open.iter().filter(|(_, view)| view.pool.auto_assign).map(|(id, _)| *id).collect();
        if auto.is_empty() {
            let pools = open.iter().map(|(_, view)| view.pool.name.clone()).collect();
            return Err(Refusal::OnRequestOnly { pools });
        }
        Ok((open.into_iter().map(|(id, _)| id).collect(), auto))
    }

    fn views(&self, ids: &[PoolId]) -> impl Iterator<Item = (PoolId, &PoolView<'a>)> {
        ids.iter().filter_map(|id| self.pools.get(*id))
    }

    fn pool_id(&self, address: IpAddr) -> Option<PoolId> {
        self.pools.containing(address).map(|(id, _)| id)
    }

    /// An address that the Service left and that has not fallen silent yet.
    fn left_before(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        family: Family,
        pools: &[PoolId],
    ) -> Option<IpAddr> {
        let left: Vec<_> = book
            .holds_of(&wish.service.key)
            .filter(|(address, hold)| hold.leaving && Family::of(*address) == family)
            .map(|(address, _)| address)
            .collect();
        self.first_vacant(book, wish, pools, &left)
    }

    /// An address that the object's status remembers, where the ledger is silent.
    fn remembered(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        family: Family,
        pools: &[PoolId],
    ) -> Option<IpAddr> {
        if book.live_in(&wish.service.key, family).is_some() {
            return None;
        }
        let status = wish.service.status_addresses.iter().copied();
        let status: Vec<_> = status.filter(|address| Family::of(*address) == family).collect();
        self.first_vacant(book, wish, pools, &status)
    }

    fn first_vacant(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        pools: &[PoolId],
        addresses: &[IpAddr],
    ) -> Option<IpAddr> {
        addresses.iter().copied().find(|address| {
            let id = self.pool_id(*address).filter(|id| pools.contains(id));
            id.is_some_and(|id| self.vacancy(book, wish, id, *address).is_ok())
        })
    }

    /// One pool, tried to its end: beside Services of the same key, a free address, and beside
    /// anybody where the pool says so and is full.
    fn in_pool(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        id: PoolId,
        family: Family,
    ) -> Option<IpAddr> {
        if let Some(address) = self.beside_key(book, wish, id, family) {
            return Some(address);
        }
        if let Some(address) = self.first_free(book, id, family) {
            return Some(address);
        }
        self.beside_anybody(book, wish, id, family)
    }

    fn beside_key(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        id: PoolId,
        family: Family,
    ) -> Option<IpAddr> {
        let (_, view) = self.pools.get(id)?;
        if view.pool.sharing == Sharing::Off {
            return None;
        }
        let mates: Vec<_> = book
            .under_key(wish.key()?)
            .filter(|address| Family::of(*address) == family && self.pool_id(*address) == Some(id))
            .collect();
        mates.into_iter().find(|address| self.is_joinable(book, wish, id, *address))
    }

    fn beside_anybody(
        &mut self,
        book: &Book,
        wish: &Wish<'_>,
        id: PoolId,
        family: Family,
    ) -> Option<IpAddr> {
        let (_, view) = self.pools.get(id)?;
        if view.pool.sharing != Sharing::WhenFull {
            return None;
        }
        let ports: Vec<_> = wish.ports.iter().copied().collect();
        let key = (id, family, ports);
        if self.dead_ends.contains(&key) {
            return None;
        }
        let held: Vec<_> = self.held_in(book, id, family).collect();
        let joined = held.into_iter().find(|address| self.is_joinable(book, wish, id, *address));
        if joined.is_none() && book.holds_of(&wish.service.key).next().is_none() {
            self.dead_ends.insert(key);
        }
        joined
    }

    /// Whether a Service may move in beside others; not where it lives already.
    fn is_joinable(&mut self, book: &Book, wish: &Wish<'_>, id: PoolId, address: IpAddr) -> bool {
        let own = book.hold(address, &wish.service.key);
        own.is_none_or(|hold| hold.leaving) && self.vacancy(book, wish, id, address).is_ok()
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

    /// The first address of the pool that nobody holds and nothing bars.
    pub(super) fn first_free(&mut self, book: &Book, id: PoolId, family: Family) -> Option<IpAddr> {
        let (_, view) = self.pools.get(id)?;
        let start = Cursor { segment: 0, address: None };
        let mut cursor = self.free_from.get(&(id, family)).copied().unwrap_or(start);
        let found = next_free(view, family, &mut cursor, |address| {
            book.entry(address).is_none() && self.surroundings.bar(view, address).is_none()
        });
        self.free_from.insert((id, family), cursor);
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
        let mut cursor = Cursor { segment: 0, address: None };
        let next = || {
            let found = next_free(view, family, &mut cursor, |address| {
                book.entry(address).is_none() && self.surroundings.bar(view, address).is_none()
            })?;
            step(view, family, &mut cursor);
            Some(found)
        };
        std::iter::from_fn(next).take(count).collect()
    }

    fn exhausted(&self, book: &Book, wish: &Wish<'_>, family: Family, pools: &[PoolId]) -> Refusal {
        let collision = self
            .views(pools)
            .filter(|(_, view)| view.pool.sharing == Sharing::WhenFull)
            .flat_map(|(id, _)| self.held_in(book, id, family))
            .find_map(|address| sharing::collision(book, wish, address));
        collision.unwrap_or_else(|| Refusal::PoolExhausted {
            family,
            pools: self
                .views(pools)
                .map(|(_, view)| (view.pool.name.clone(), self.surroundings.usable(view, family)))
                .collect(),
        })
    }
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
