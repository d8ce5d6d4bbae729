//! The pools in use: those of the configuration, and those that MetalLB's objects of the sources say.
//!
//! What a source says anew is taken whole or not at all. It is refused where it has addresses of
//! another pool or of the router's own (`snat_addresses`), or would take the address of a Service
//! that is served; the last good one stays then, also over a restart: it is kept in the daemon's
//! state directory, so that a cold start needs no API server (S8). Both daemons keep a book of their
//! own and decide alike.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use roadstead_model::{
    Location, Problem, Snapshot, SourceName,
    config::{Config, Pool},
    metallb::{MetalLb, effective},
};
use serde::{Deserialize, Serialize};

use crate::state::{self, StateError};

/// The file in a daemon's state directory.
const FILE: &str = "metallb.json";
/// The form of the file.
const VERSION: u32 = 1;

/// What is kept of each source that was ever good.
type Kept = BTreeMap<SourceName, Arc<MetalLb>>;

/// The file.
#[derive(Deserialize)]
struct Read {
    version: u32,
    sources: BTreeMap<SourceName, MetalLb>,
}

#[derive(Serialize)]
struct Written<'k> {
    version: u32,
    sources: BTreeMap<&'k SourceName, &'k MetalLb>,
}

/// The pools in use and what they are made of.
#[derive(Debug)]
pub struct PoolBook {
    file: PathBuf,
    config: Arc<Config>,
    kept: Kept,
    /// Why what a source says now is not taken.
    refused: BTreeMap<SourceName, String>,
    pools: Arc<[Pool]>,
    /// The disk has not taken what is kept.
    is_behind: bool,
}

impl PoolBook {
    /// The book that the last run left in a state directory. A damaged one is set aside: until the
    /// sources are read, their pools are not known then.
    pub fn load(state: &Path, config: Arc<Config>) -> Self {
        let file = state.join(FILE);
        let kept = read(&file).unwrap_or_else(|error| {
            tracing::error!(%error, "the pools of MetalLB's objects are not known until they are read again");
            // One that cannot be moved is read again, and told again.
            let _ = fs::rename(&file, file.with_extension("damaged.json"));
            Kept::new()
        });
        let pools = Arc::from(config.pools.as_slice());
        let mut book =
            Self { file, config, kept, refused: BTreeMap::new(), pools, is_behind: false };
        book.compose();
        book
    }

    /// The pools in use.
    pub fn pools(&self) -> &Arc<[Pool]> {
        &self.pools
    }

    /// The pools that another configuration would make, with what is kept of the sources.
    ///
    /// # Errors
    /// When they contradict one another, in words.
    pub fn with(&self, config: &Config) -> Result<Vec<Pool>, String> {
        together(config, &self.kept)
    }

    /// Follows the configuration and what the sources say. `orphans` names the Services that would
    /// lose their address if the second pools took the place of the first.
    pub fn follow(
        &mut self,
        config: &Arc<Config>,
        snapshot: &Snapshot,
        orphans: impl Fn(&[Pool], &[Pool]) -> Vec<String>,
    ) {
        if !Arc::ptr_eq(&self.config, config) {
            self.config = Arc::clone(config);
            self.compose();
        }
        let mut changed = self.is_behind;
        // What one source gives up another may have been waiting for.
        while self.take_all(snapshot, &orphans) {
            changed = true;
        }
        if changed {
            self.save();
        }
    }

    /// Sources whose pools are not known: they are to be read, and nothing was heard of them yet.
    pub fn unknown(&self) -> impl Iterator<Item = &SourceName> {
        let is_known = |source: &SourceName| {
            self.kept.contains_key(source) || self.refused.contains_key(source)
        };
        reading(&self.config).filter(move |source| !is_known(source))
    }

    /// What is wrong, for people.
    pub fn problems(&self) -> Vec<Problem> {
        let problem = |(source, why): (&SourceName, &String)| {
            let stays =
                if self.kept.contains_key(source) { ", the last good one stays" } else { "" };
            let place = Location::new(format!("source {source}"), 0);
            Problem::error(place, format!("MetalLB's configuration is not taken{stays}: {why}"))
        };
        self.refused.iter().map(problem).collect()
    }

    /// Takes what may be taken; whether anything was.
    fn take_all(
        &mut self,
        snapshot: &Snapshot,
        orphans: &impl Fn(&[Pool], &[Pool]) -> Vec<String>,
    ) -> bool {
        let mut taken = false;
        for source in reading(&Arc::clone(&self.config)) {
            let Some(said) = snapshot.metallb.get(source) else { continue };
            if self.kept.get(source).is_some_and(|kept| Arc::ptr_eq(kept, said)) {
                self.refused.remove(source);
                continue;
            }
            taken |= self.take(source, said, orphans);
        }
        taken
    }

    /// Whether what a source says is new, and taken.
    fn take(
        &mut self,
        source: &SourceName,
        said: &Arc<MetalLb>,
        orphans: &impl Fn(&[Pool], &[Pool]) -> Vec<String>,
    ) -> bool {
        let is_new = self.kept.get(source).is_none_or(|kept| kept != said);
        let mut kept = self.kept.clone();
        kept.insert(source.clone(), Arc::clone(said));
        match acceptable(&self.config, &kept, |pools| orphans(&self.pools, pools)) {
            Ok(pools) => {
                self.kept = kept;
                self.pools = pools.into();
                if self.refused.remove(source).is_some() || is_new {
                    tracing::info!(%source, "MetalLB's configuration is taken");
                }
                is_new
            }
            Err(why) => {
                if self.refused.get(source) != Some(&why) {
                    tracing::error!(%source, why, "MetalLB's configuration is not taken");
                }
                self.refused.insert(source.clone(), why);
                false
            }
        }
    }

    /// Puts the configuration and what is kept together; a source that contradicts it is left out.
    fn compose(&mut self) {
        let mut used = Kept::new();
        let mut pools = self.config.pools.clone();
        self.refused.clear();
        for source in reading(&self.config) {
            let Some(kept) = self.kept.get(source) else { continue };
            used.insert(source.clone(), Arc::clone(kept));
            match together(&self.config, &used) {
                Ok(more) => pools = more,
                Err(why) => {
                    used.remove(source);
                    self.refused.insert(source.clone(), why);
                }
            }
        }
        self.kept = used;
        self.pools = pools.into();
    }

    fn save(&mut self) {
        let sources = self.kept.iter().map(|(source, kept)| (source, &**kept)).collect();
        let saved = state::write(&self.file, &Written { version: VERSION, sources });
        if let Err(error) = &saved {
            tracing::error!(%error, "a restart would find older pools of MetalLB's objects");
        }
        self.is_behind = saved.is_err();
    }
}

/// The pools in use by a daemon with this state directory, for programs that only look: as its book
/// has them on the disk, those of the configuration alone where it cannot be read.
pub fn in_use(state: &Path, config: &Config) -> Vec<Pool> {
    let kept = read(&state.join(FILE)).unwrap_or_default();
    together(config, &kept).unwrap_or_else(|_| config.pools.clone())
}

/// The sources whose MetalLB objects are read.
fn reading(config: &Config) -> impl Iterator<Item = &SourceName> {
    config.sources.iter().filter(|source| source.metallb.is_some()).map(|source| &source.name)
}

/// The pools of a configuration and of what is kept of its sources.
fn together(config: &Config, kept: &Kept) -> Result<Vec<Pool>, String> {
    let objects = reading(config).filter_map(|source| Some((source, &**kept.get(source)?)));
    let pools = effective(&config.pools, objects).map_err(|overlap| overlap.to_string())?;
    let own = &config.router.snat_addresses;
    let holds = |pool: &&Pool| {
        own.iter().any(|address| pool.addresses.iter().any(|range| range.contains(*address)))
    };
    match pools.iter().find(holds) {
        Some(pool) => Err(format!("pool `{}` holds one of `router.snat_addresses`", pool.name)),
        None => Ok(pools),
    }
}

fn acceptable(
    config: &Config,
    kept: &Kept,
    orphans: impl Fn(&[Pool]) -> Vec<String>,
) -> Result<Vec<Pool>, String> {
    let pools = together(config, kept)?;
    let orphans = orphans(&pools);
    if orphans.is_empty() {
        return Ok(pools);
    }
    Err(format!(
        "it would take the address of {}; move or delete these Services first",
        orphans.join(", ")
    ))
}

fn read(file: &Path) -> Result<Kept, StateError> {
    let Some(read) = state::read::<Read>(file)? else { return Ok(Kept::new()) };
    if read.version != VERSION {
        tracing::warn!(version = read.version, "{} is of another version", file.display());
        return Ok(Kept::new());
    }
    Ok(read.sources.into_iter().map(|(source, kept)| (source, Arc::new(kept))).collect())
}

#[cfg(test)]
mod tests;
