//! Rules between sections and between entries. Each error names both sides with their places, and
//! stands at the later one.

use std::{path::Path, sync::Arc};

use roadstead_model::{AddressRange, Location, config::SourceKind};

use crate::{
    document::Document,
    group, pool, reservation,
    section::{Placed, Problems},
    source,
};

/// Checks a document that all layers made together. Where it is not `whole`, because a value was
/// wrong, what may be an echo of that is left out.
pub(crate) fn check(document: &Document, whole: bool, problems: &Problems) {
    sources(&document.sources, problems);
    pool_names(&document.pools, problems);
    overlaps(&document.pools, problems);
    reservation::check(&document.reservations, &document.pools, problems);
    group::check(document.group.as_ref(), whole, problems);
    snat_in_pools(document, problems);
    legs(document, problems);
    metrics(document, problems);
    if whole {
        timing(document, problems);
    }
    let reads_pools = document.sources.iter().any(|source| source.metallb.is_some());
    if whole && document.pools.is_empty() && !reads_pools {
        let message = "no [[pool]]: no Service gets an address";
        problems.warning(&document.place, message);
    }
}

fn sources(sources: &[source::Read], problems: &Problems) {
    for (index, source) in sources.iter().enumerate() {
        for earlier in sources.iter().take(index) {
            if source.name == earlier.name {
                let message = format!(
                    "source \"{}\" is written twice: first at {}",
                    source.name, earlier.place
                );
                problems.error(&source.place, message);
            } else if let Some(what) = same(&source.kind, &earlier.kind) {
                let message = format!(
                    "sources \"{}\" and \"{}\" ({}) read the same {what}",
                    source.name, earlier.name, earlier.place,
                );
                problems.error(&source.place, message);
            }
        }
    }
}

/// What two sources have in common that each must have for itself.
fn same(a: &SourceKind, b: &SourceKind) -> Option<String> {
    match (a, b) {
        (SourceKind::Directory(a), SourceKind::Directory(b)) => {
            nested(a, b).then(|| format!("files: {} and {}", a.display(), b.display()))
        }
        (SourceKind::Cluster(a), SourceKind::Cluster(b)) => {
            let (a, b) = (a.files(), b.files());
            let shared = a.intersection(&b).next()?;
            Some(format!("cluster: both name {}", shared.display()))
        }
        (SourceKind::Directory(_), SourceKind::Cluster(_))
        | (SourceKind::Cluster(_), SourceKind::Directory(_)) => None,
    }
}

fn nested(a: &Path, b: &Path) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

fn pool_names(pools: &[pool::Read], problems: &Problems) {
    for (index, read) in pools.iter().enumerate() {
        let name = &read.pool.name;
        if let Some(earlier) = pools.iter().take(index).find(|earlier| earlier.pool.name == *name) {
            let message = format!("pool \"{name}\" is written twice: first at {}", earlier.place);
            problems.error(&read.place, message);
        }
    }
}

/// One range of one pool.
struct Owned<'d> {
    order: usize,
    pool: &'d Arc<str>,
    range: &'d Placed<AddressRange>,
}

/// Sorts all ranges and sweeps: each is compared with the one so far that reaches furthest, which
/// finds every range that overlaps an earlier one without comparing all pairs.
fn overlaps<'d>(pools: &'d [pool::Read], problems: &Problems) {
    let named = |read: &'d pool::Read| read.ranges.iter().map(|range| (&read.pool.name, range));
    let ranges = pools.iter().flat_map(named);
    let mut ranges: Vec<Owned<'_>> =
        ranges.enumerate().map(|(order, (pool, range))| Owned { order, pool, range }).collect();
    ranges.sort_by_key(|owned| (owned.range.value, owned.order));
    let mut furthest: Option<&Owned<'_>> = None;
    for owned in &ranges {
        match furthest {
            Some(before) if before.range.value.overlaps(&owned.range.value) => {
                tell_overlap(before, owned, problems);
                if owned.range.value.last() > before.range.value.last() {
                    furthest = Some(owned);
                }
            }
            _ => furthest = Some(owned),
        }
    }
}

fn tell_overlap(a: &Owned<'_>, b: &Owned<'_>, problems: &Problems) {
    let (earlier, later) = if a.order < b.order { (a, b) } else { (b, a) };
    let whose = if earlier.pool == later.pool {
        "the same pool".to_owned()
    } else {
        format!("pool \"{}\"", earlier.pool)
    };
    let message = format!(
        "pool \"{}\": {} overlaps {} of {whose} ({}); an address belongs to one pool, once",
        later.pool, later.range.value, earlier.range.value, earlier.range.place
    );
    problems.error(&later.range.place, message);
}

/// A SNAT source inside a pool would one day be a VIP as well, and its replies a Service's.
fn snat_in_pools(document: &Document, problems: &Problems) {
    for address in &document.router.snat_addresses {
        for read in &document.pools {
            let inside = |range: &&Placed<AddressRange>| range.value.contains(address.value);
            if let Some(range) = read.ranges.iter().find(inside) {
                let message = format!(
                    "`router.snat_addresses`: {} lies in {} of pool \"{}\" ({}): \
                     take one outside every pool",
                    address.value, range.value, read.pool.name, range.place
                );
                problems.error(&address.place, message);
            }
        }
    }
}

fn legs(document: &Document, problems: &Problems) {
    let speaker = &document.speaker;
    let announcing = speaker.speaker.interfaces.as_deref().zip(speaker.interfaces.as_ref());
    let Some((announcing, place)) = announcing else { return };
    for read in &document.pools {
        for leg in read.pool.interfaces.iter().flatten() {
            if !announcing.contains(leg) {
                let message = format!(
                    "pool \"{}\" is visible on \"{leg}\", which `speaker.interfaces` ({place}) \
                     does not name: it stays silent there",
                    read.pool.name
                );
                problems.warning(read.interfaces.as_ref().unwrap_or(&read.place), message);
            }
        }
    }
    unserved_legs(document, announcing, place, problems);
}

/// An address announced on a leg without the router's program would swallow its packets.
fn unserved_legs(
    document: &Document,
    announcing: &[Arc<str>],
    speaker_place: &Location,
    problems: &Problems,
) {
    let router = &document.router;
    let Some((serving, place)) = router.router.interfaces.as_ref().zip(router.interfaces.as_ref())
    else {
        return;
    };
    for leg in announcing.iter().filter(|leg| !serving.contains(leg)) {
        let message = format!(
            "`router.interfaces` leaves out \"{leg}\", on which `speaker.interfaces` \
             ({speaker_place}) announces: name it in both or in neither"
        );
        problems.error(place, message);
    }
}

fn metrics(document: &Document, problems: &Problems) {
    let (speaker, router) = (&document.speaker, &document.router);
    if let (Some(of_speaker), Some(of_router)) = (speaker.speaker.metrics, router.router.metrics)
        && of_speaker == of_router
    {
        let (place, first) = match (&router.metrics, &speaker.metrics) {
            (Some(place), Some(first)) => (place, first.to_string()),
            (Some(place), None) | (None, Some(place)) => (place, "the default".to_owned()),
            (None, None) => return,
        };
        let message = format!(
            "`speaker.metrics` and `router.metrics` are both {of_router} ({first}): \
             choose another port"
        );
        problems.error(place, message);
    }
}

fn timing(document: &Document, problems: &Problems) {
    let health = &document.router.router.health;
    if health.timeout > health.interval {
        let message = format!(
            "`router.health.timeout` ({}) is longer than `router.health.interval` ({}): \
             probes of one node would pile up",
            crate::parse::show(health.timeout),
            crate::parse::show(health.interval)
        );
        problems.error(&document.router.timing, message);
    }
}
