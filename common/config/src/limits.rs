//! Keys of a pool that bound who gets how much of it, and when again: `drain`, `cool_down` and
//! `[pool.quota]`.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc, time::Duration};

use roadstead_model::config::Quota;

use crate::{parse, section::Section};

/// A week: who waits longer than that for an address wants a reservation.
const COOL_DOWN_RANGE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 86_400);

/// What `[pool.quota]` calls every namespace that it does not name.
const OTHERS: &str = "*";

/// Most namespaces that one pool names (S7).
const NAMESPACES_MAX: usize = 1_000;

/// What is said of one pool.
pub(crate) struct Limits {
    /// Nothing new is given.
    pub(crate) drain: bool,
    /// How long an address is kept from others after its release.
    pub(crate) cool_down: Duration,
    /// How many addresses a namespace may hold.
    pub(crate) quota: Quota,
}

impl Limits {
    /// Reads the keys of a pool.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            drain: section.truth("drain", false),
            cool_down: section
                .duration("cool_down", COOL_DOWN_RANGE)
                .map_or(Duration::ZERO, |written| written.value),
            quota: quota(section),
        }
    }
}

fn quota(section: &mut Section<'_>) -> Quota {
    let Some(entries) = section.numbers("quota", 0..=u32::MAX) else { return Quota::default() };
    if entries.value.len() > NAMESPACES_MAX {
        let (count, title) = (entries.value.len(), section.title());
        let message =
            format!("`quota` of {title} names {count} namespaces, more than {NAMESPACES_MAX}");
        section.error(&entries.place, message);
    }
    let mut quota = Quota { namespaces: BTreeMap::new(), others: None };
    for (name, most) in entries.value {
        if name == OTHERS {
            quota.others = Some(most.value);
            continue;
        }
        match whose(&name) {
            Ok(name) => {
                quota.namespaces.insert(name, most.value);
            }
            Err(why) => {
                let message = format!("`quota` of {}: {why}", section.title());
                section.error(&most.place, message);
            }
        }
    }
    quota
}

/// `NAMESPACE` or `SOURCE/NAMESPACE`.
fn whose(text: &str) -> Result<Arc<str>, String> {
    match text.split_once('/') {
        None => parse::namespace(text),
        Some((source, namespace)) => {
            let (source, namespace) = (parse::name(source)?, parse::namespace(namespace)?);
            Ok(format!("{source}/{namespace}").into())
        }
    }
}
