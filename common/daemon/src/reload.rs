//! What the service manager and the log are told of a reload, and what both daemons refuse of one.

use std::{collections::BTreeSet, sync::Arc};

use roadstead_model::config::Config;

use crate::notify;

/// Takes a new configuration, whole or not at all.
///
/// # Errors
/// Why `take` refused, in words; the last good configuration stays.
pub fn reload<T, E: std::fmt::Display>(take: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    notify::reloading();
    // The alternate form of a report tells its causes as well.
    let taken = take().map_err(|error| format!("{error:#}"));
    match &taken {
        Ok(_) => tracing::info!("the configuration is reloaded"),
        Err(error) => {
            tracing::error!(%error, "the reload is refused; the last good configuration stays");
        }
    }
    notify::ready();
    taken
}

/// A reload that names an interface which is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "interface {} is not on this host, which has {}; correct the name, or reload when it is there",
    names(missing),
    names(there)
)]
pub struct NoSuchInterface {
    missing: BTreeSet<Arc<str>>,
    there: BTreeSet<Arc<str>>,
}

/// Refuses a configuration that names an interface which its predecessor did not, and which is not
/// on this host: a slip there would silence a leg that serves. One that has vanished since it was
/// first named is waited for. Both daemons ask this of every interface, so that both take a
/// configuration or neither.
///
/// # Errors
/// The names, and those of the interfaces that are there.
pub fn interfaces_exist<'t>(
    new: &Config,
    old: &Config,
    there: impl IntoIterator<Item = &'t Arc<str>>,
) -> Result<(), NoSuchInterface> {
    let there: BTreeSet<Arc<str>> = there.into_iter().cloned().collect();
    let (new, old) = (named(new), named(old));
    let missing: BTreeSet<Arc<str>> =
        new.into_iter().filter(|name| !old.contains(name) && !there.contains(name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(NoSuchInterface { missing, there }) }
}

/// Every interface that a configuration names.
fn named(config: &Config) -> BTreeSet<Arc<str>> {
    let of_pools = config.pools.iter().map(|pool| &pool.interfaces);
    let all = of_pools.chain([&config.speaker.interfaces, &config.router.interfaces]);
    all.flatten().flatten().cloned().collect()
}

fn names(interfaces: &BTreeSet<Arc<str>>) -> String {
    let quoted: Vec<String> = interfaces.iter().map(|name| format!("`{name}`")).collect();
    match quoted.as_slice() {
        [] => "none".to_owned(),
        quoted => quoted.join(", "),
    }
}
