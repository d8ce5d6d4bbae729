//! What follows from the ledger: the assignments for the router, the addresses for the announcer,
//! and the conditions and pool statuses for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use roadstead_model::{
    Family, ServiceKey,
    advertisement::Exposure,
    config::Announce,
    local::{Assignment, Assignments, PoolStatus, PortClaim, ReservationStatus, Vip, VipKind},
    reason::{Condition, ConditionStatus},
};

use super::{
    book::Book, ledger::Entry, pools::Pools, refusal::Refusal, request::Wish, search::Search,
    sharing,
};

/// The result of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether the ledger or the assignments differ from the last run's: write the ledger, then
    /// publish.
    pub changed: bool,
    /// For the router. A Service that moves has two entries until its old address has fallen
    /// silent: one in use, one `withdrawing`. `Vip::answer_on` is empty: it is the announcer's.
    pub assignments: Arc<Assignments>,
    /// For the announcer: every address held, ascending.
    pub addresses: Vec<Holding>,
    /// For people: the condition `Allocated` of every Service that is ours, and of those that are
    /// held on to in doubt.
    pub conditions: BTreeMap<ServiceKey, Condition>,
    /// What was refused in this run, by Service; those that are served in part are among them.
    pub refusals: BTreeMap<ServiceKey, Vec<Refusal>>,
    /// For people: the use of each pool, in the order of the configuration.
    pub pools: Vec<PoolStatus>,
    /// For people: addresses of a pool that somebody around has, and that are handed out to nobody.
    pub passed_over: Vec<(Arc<str>, Vec<Refusal>)>,
    /// For people: what is kept for somebody and nobody holds.
    pub reservations: Vec<ReservationStatus>,
    /// When to run again although nothing happens, in seconds of the wall clock: an address has
    /// cooled down then. `None` = never.
    pub next: Option<u64>,
}

/// One address held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The address.
    pub address: IpAddr,
    /// The pool that it lies in, or lay in when it was taken.
    pub pool: Arc<str>,
    /// Whether it is on no interface or the host's own.
    pub kind: VipKind,
    /// How it may be announced; not at all once it lies in no pool (S1).
    pub announce: Announce,
    /// Legs on which it may be announced; `None` = every leg.
    pub announce_on: Option<Vec<Arc<str>>>,
    /// Services served on it. Empty: it is to fall silent.
    pub live: Vec<ServiceKey>,
    /// Services that wait for it to fall silent, or for nothing while others live on it.
    pub leaving: Vec<ServiceKey>,
    /// The generation that first named all of `live` on it, in this run of the daemon.
    pub since: u64,
}

pub(super) fn assignments(book: &Book, pools: &Pools<'_>) -> Assignments {
    let vips = book.ledger().addresses().iter().map(|(address, entry)| Vip {
        address: *address,
        kind: entry.kind,
        visible_on: visible_on(pools, *address),
        answer_on: Vec::new(),
    });
    Assignments {
        run: 0,
        generation: 0,
        leased: false,
        services: book.services().flat_map(|service| of_service(book, pools, service)).collect(),
        vips: vips.collect(),
    }
}

/// One entry for the addresses in use and one for those that are left; more only where a ledger of
/// old gives a Service's addresses different ports.
fn of_service(book: &Book, pools: &Pools<'_>, service: &ServiceKey) -> Vec<Assignment> {
    let mut groups: BTreeMap<(bool, Vec<PortClaim>), Vec<IpAddr>> = BTreeMap::new();
    for (address, hold) in book.holds_of(service) {
        if !hold.leaving && pools.containing(address).is_none() {
            continue; // S1, once more at the very door.
        }
        let ports = hold.ports.iter().copied().collect();
        groups.entry((hold.leaving, ports)).or_default().push(address);
    }
    let entry = |((withdrawing, ports), addresses)| Assignment {
        service: service.clone(),
        addresses,
        ports,
        withdrawing,
    };
    groups.into_iter().map(entry).collect()
}

/// An address that lies in no pool any more is visible nowhere.
fn visible_on(pools: &Pools<'_>, address: IpAddr) -> Option<Vec<Arc<str>>> {
    match pools.containing(address) {
        Some((_, view)) => view.pool.interfaces.clone(),
        None => Some(Vec::new()),
    }
}

pub(super) fn addresses(
    book: &Book,
    pools: &Pools<'_>,
    since: &BTreeMap<(IpAddr, ServiceKey), u64>,
) -> Vec<Holding> {
    let holding = |(address, entry): (&IpAddr, &Entry)| {
        let live: Vec<_> = entry.live().cloned().collect();
        let named = live.iter().filter_map(|s| since.get(&(*address, s.clone())).copied());
        let view = pools.containing(*address).map(|(_, view)| view);
        let bgp = view.map(|view| view.pool.announce.bgp);
        let exposure = view.map(|view| view.exposure(&live));
        let nowhere = Exposure { l2: false, interfaces: Some(Vec::new()) };
        let Exposure { l2, interfaces } = exposure.unwrap_or(nowhere);
        Holding {
            address: *address,
            pool: entry.pool.clone(),
            kind: entry.kind,
            announce: Announce { l2, bgp: bgp.unwrap_or(false) },
            announce_on: interfaces,
            since: named.max().unwrap_or_default(),
            live,
            leaving: entry.leaving().cloned().collect(),
        }
    };
    book.ledger().addresses().iter().map(holding).collect()
}

pub(super) fn pools(book: &Book, search: &Search<'_>) -> Vec<PoolStatus> {
    let mut used: BTreeMap<&str, u64> = BTreeMap::new();
    for entry in book.ledger().addresses().values() {
        *used.entry(&entry.pool).or_default() += 1;
    }
    let status = search.pools.iter().map(|(_, view)| {
        let sizes = [Family::V4, Family::V6].map(|f| search.surroundings.usable(view, f));
        PoolStatus {
            name: view.pool.name.clone(),
            total: sizes.into_iter().fold(0, u128::saturating_add).to_string(),
            used: used.get(&*view.pool.name).copied().unwrap_or_default(),
        }
    });
    status.collect()
}

pub(super) fn passed_over(search: &Search<'_>) -> Vec<(Arc<str>, Vec<Refusal>)> {
    let of_pools = search
        .pools
        .iter()
        .map(|(_, view)| (view.pool.name.clone(), search.surroundings.passed_over(view)));
    of_pools.filter(|(_, refusals)| !refusals.is_empty()).collect()
}

pub(super) fn conditions(
    book: &Book,
    search: &Search<'_>,
    wishes: &BTreeMap<&ServiceKey, Wish<'_>>,
    refusals: &BTreeMap<ServiceKey, Vec<Refusal>>,
) -> BTreeMap<ServiceKey, Condition> {
    let ours = wishes.values().map(|wish| {
        let refused = refusals.get(&wish.service.key).map_or(&[][..], Vec::as_slice);
        (wish.service.key.clone(), allocated(book, search, wish, refused))
    });
    let in_doubt =
        book.services().filter(|service| !wishes.contains_key(service)).filter_map(|s| {
            let live: BTreeSet<_> = book.live(s).into_iter().collect();
            (!live.is_empty()).then(|| (s.clone(), doubted(s, &live)))
        });
    in_doubt.chain(ours).collect()
}

fn doubted(service: &ServiceKey, live: &BTreeSet<IpAddr>) -> Condition {
    let message = format!(
        "{} is kept: source {} does not show the service, but is not read or not believed now",
        listed(live),
        service.source
    );
    Condition::new("Allocated", ConditionStatus::Unknown, "SourceInDoubt", message)
}

fn listed(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// True as soon as the Service is served on an address; the reason then tells what it lacks.
fn allocated(book: &Book, search: &Search<'_>, wish: &Wish<'_>, refused: &[Refusal]) -> Condition {
    let live: BTreeSet<_> = book.live(&wish.service.key).into_iter().collect();
    let mut lacks: Vec<Refusal> = refused.to_vec();
    lacks.extend(wish.unserved.iter().cloned());
    lacks.extend(unclaimed(book, wish, &live));
    lacks.extend(alarms(search, &live));
    let key = &wish.service.key;
    lacks.extend(live.iter().filter_map(|a| search.reservations.refuses(*a, key)));
    dedup(&mut lacks);
    let holds_port =
        book.holds_of(&wish.service.key).any(|(_, h)| !h.leaving && !h.ports.is_empty());
    let status = if holds_port { ConditionStatus::True } else { ConditionStatus::False };
    let why = lacks.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    match (lacks.first(), live.is_empty()) {
        (None, _) => Condition::new("Allocated", status, "Allocated", in_words(search, &live)),
        (Some(first), true) => Condition::new("Allocated", status, first.reason(), why),
        (Some(first), false) => {
            let message = format!("has {}; {why}", in_words(search, &live));
            Condition::new("Allocated", status, first.reason(), message)
        }
    }
}

/// Wanted ports that a neighbour on one of the addresses has.
fn unclaimed(book: &Book, wish: &Wish<'_>, live: &BTreeSet<IpAddr>) -> Vec<Refusal> {
    live.iter().filter_map(|address| sharing::collision(book, wish, *address)).collect()
}

fn alarms(search: &Search<'_>, live: &BTreeSet<IpAddr>) -> Vec<Refusal> {
    let alarm = |address: &IpAddr| {
        let (_, view) = search.pools.containing(*address)?;
        search.surroundings.alarm(view, *address)
    };
    live.iter().filter_map(alarm).collect()
}

fn dedup(refusals: &mut Vec<Refusal>) {
    let mut seen: Vec<Refusal> = Vec::new();
    refusals.retain(|refusal| {
        let fresh = !seen.contains(refusal);
        if fresh {
            seen.push(refusal.clone());
        }
        fresh
    });
}

fn in_words(search: &Search<'_>, live: &BTreeSet<IpAddr>) -> String {
    let word = |address: &IpAddr| match search.pools.containing(*address) {
        Some((_, view)) => format!("{address} from pool `{}`", view.pool.name),
        None => address.to_string(),
    };
    live.iter().map(word).collect::<Vec<_>>().join(", ")
}
