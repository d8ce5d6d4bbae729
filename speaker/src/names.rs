//! What the host names resolve to that Services ask for (`roadstead.io/addresses: web.example.org`).
//!
//! [`follow`] looks up each name when it is wanted first, and again every [`REFRESH`]; what a name
//! resolved to last is kept while it fails. The lookups are the system's own (`getaddrinfo`, in
//! tokio's threads), which end by themselves; [`AT_ONCE`] of them run at a time. Names are bounded for
//! each namespace and in all (S6, S7). Whoever drops the future of [`follow`] ends it; a lookup that
//! runs then ends unheard.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use roadstead_model::{ServiceKey, Snapshot, SourceName, object::MAX_ADDRESSES};
use roadstead_speaker_core::ipam::Lookup;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// How often a name is looked up anew, whatever the TTL of its records.
const REFRESH: Duration = Duration::from_secs(60);
/// Lookups at a time: each is a thread, which a name server that is away holds for half a minute.
const AT_ONCE: usize = 8;
/// Names that the Services of one namespace may ask for.
const MOST_OF_NAMESPACE: usize = 8;
/// Names in all.
const MOST: usize = 512;
/// Addresses of one name: as many as one Service may hold. Whose zone it is may say thousands, which
/// would be compared for each Service that asks for the name (S6, S7).
const MOST_ADDRESSES: usize = 2 * MAX_ADDRESSES;

/// What names resolve to.
pub(crate) type Names = BTreeMap<Arc<str>, Lookup>;

/// The names that are followed, and those that are too many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted {
    followed: BTreeSet<Arc<str>>,
    too_many: BTreeSet<Arc<str>>,
}

/// The names that the Services of a snapshot ask for, in the order of their keys.
pub(crate) fn wanted(snapshot: &Snapshot) -> Wanted {
    let mut wanted = Wanted::default();
    let mut of_namespaces: BTreeMap<(&SourceName, &Arc<str>), BTreeSet<&Arc<str>>> =
        BTreeMap::new();
    let asked = snapshot
        .services
        .values()
        .flat_map(|service| service.request.hosts.iter().map(|name| (&service.key, name)));
    for (ServiceKey { source, namespace, .. }, name) in asked {
        let own = of_namespaces.entry((source, namespace)).or_default();
        let fits = wanted.followed.contains(name) || wanted.followed.len() < MOST;
        if own.contains(name) || fits && own.len() < MOST_OF_NAMESPACE {
            own.insert(name);
            wanted.followed.insert(name.clone());
        } else {
            wanted.too_many.insert(name.clone());
        }
    }
    wanted.too_many.retain(|name| !wanted.followed.contains(name));
    wanted
}

/// Asks the system's resolver.
///
/// # Errors
/// In its words.
pub(crate) async fn resolve(name: Arc<str>) -> Result<BTreeSet<IpAddr>, String> {
    let found = tokio::net::lookup_host((&*name, 0)).await.map_err(|error| error.to_string())?;
    usable(found.map(|address| address.ip()))
}

fn usable(found: impl Iterator<Item = IpAddr>) -> Result<BTreeSet<IpAddr>, String> {
    let mut addresses = BTreeSet::new();
    for address in found {
        addresses.insert(address.to_canonical());
        if addresses.len() > MOST_ADDRESSES {
            return Err(format!("it has more than {MOST_ADDRESSES} addresses"));
        }
    }
    if addresses.is_empty() { Err("it has no address".to_owned()) } else { Ok(addresses) }
}

/// One name that is followed.
struct Followed {
    lookup: Option<Lookup>,
    /// When it is looked up next; none while that happens.
    due: Option<Instant>,
}

/// Follows the names that are wanted, and publishes what they resolve to. Ends when nobody wants
/// any more.
pub(crate) async fn follow<F>(
    mut wanted: watch::Receiver<Wanted>,
    known: watch::Sender<Arc<Names>>,
    lookup: impl Fn(Arc<str>) -> F,
) where
    F: Future<Output = Result<BTreeSet<IpAddr>, String>> + Send + 'static,
{
    let mut followed: BTreeMap<Arc<str>, Followed> = BTreeMap::new();
    let mut running = JoinSet::new();
    loop {
        let names = wanted.borrow_and_update().clone();
        adopt(&mut followed, &names.followed);
        publish(&known, &followed, &names.too_many);
        start_due(&mut followed, &mut running, &lookup);
        let next = followed.values().filter_map(|name| name.due).min();
        let waits = next.filter(|_| running.len() < AT_ONCE);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            Some(done) = running.join_next() => {
                if let Ok((name, result)) = done {
                    note(&mut followed, &name, result);
                }
            }
            () = sleep_until(waits.unwrap_or_else(Instant::now)), if waits.is_some() => {}
        }
    }
}

fn adopt(followed: &mut BTreeMap<Arc<str>, Followed>, names: &BTreeSet<Arc<str>>) {
    followed.retain(|name, _| names.contains(name));
    for name in names {
        let fresh = || Followed { lookup: None, due: Some(Instant::now()) };
        followed.entry(name.clone()).or_insert_with(fresh);
    }
}

type Answer = (Arc<str>, Result<BTreeSet<IpAddr>, String>);

/// Those that were never looked up are first.
fn start_due<F>(
    followed: &mut BTreeMap<Arc<str>, Followed>,
    running: &mut JoinSet<Answer>,
    lookup: impl Fn(Arc<str>) -> F,
) where
    F: Future<Output = Result<BTreeSet<IpAddr>, String>> + Send + 'static,
{
    let now = Instant::now();
    let is_due = |name: &&mut Followed| name.due.is_some_and(|due| due <= now);
    let mut due: Vec<_> = followed.iter_mut().filter(|(_, name)| is_due(name)).collect();
    due.sort_by_key(|(_, name)| (name.lookup.is_some(), name.due));
    for (name, state) in due.into_iter().take(AT_ONCE.saturating_sub(running.len())) {
        state.due = None;
        let (name, answer) = (name.clone(), lookup(name.clone()));
        running.spawn(async move { (name, answer.await) });
    }
}

/// What a name resolved to last is kept while it does not resolve.
fn note(
    followed: &mut BTreeMap<Arc<str>, Followed>,
    name: &Arc<str>,
    result: Result<BTreeSet<IpAddr>, String>,
) {
    let Some(state) = followed.get_mut(name) else { return };
    state.due = Some(Instant::now() + REFRESH);
    match (result, &state.lookup) {
        (Ok(addresses), _) => state.lookup = Some(Lookup::Addresses(addresses)),
        (Err(_), Some(Lookup::Addresses(_))) => {}
        (Err(why), _) => state.lookup = Some(Lookup::Failed(why.into())),
    }
}

fn publish(
    known: &watch::Sender<Arc<Names>>,
    followed: &BTreeMap<Arc<str>, Followed>,
    too_many: &BTreeSet<Arc<str>>,
) {
    let resolved =
        followed.iter().filter_map(|(name, state)| Some((name.clone(), state.lookup.clone()?)));
    let why: Arc<str> = format!(
        "too many names are asked for: {MOST_OF_NAMESPACE} of a namespace and {MOST} in all are followed"
    )
    .into();
    let left_out = too_many.iter().map(|name| (name.clone(), Lookup::Failed(why.clone())));
    let names: Names = resolved.chain(left_out).collect();
    known.send_if_modified(|old| {
        let differs = **old != names;
        if differs {
            *old = Arc::new(names);
        }
        differs
    });
}

#[cfg(test)]
mod tests;
