//! The one configuration file: TOML in, checked types out, or every problem at once, each with its
//! file and line.
//!
//! # Layers
//!
//! 1. The main file (`/etc/roadstead/roadstead.toml`).
//! 2. `conf.d/*.toml` beside it, in name order, dotfiles left out.
//! 3. Variables `ROADSTEAD_SECTION__KEY` (`ROADSTEAD_SPEAKER__L2__PROBE=off`); lists as TOML or with
//!    commas. `[[source]]`, `[[pool]]` and `[[reservation]]` are written in files only. Any other `ROADSTEAD_…` than
//!    `ROADSTEAD_LOG` is an error.
//!
//! A later layer wins key by key; `[[source]]`, `[[pool]]` and `[[reservation]]` add up, the same
//! name twice is an error. Unknown keys are errors. Nothing here looks at the host: what needs interfaces, routes or
//! addresses (a pool that holds a gateway) is the daemons' part.
//!
//! # Keys and defaults
//!
//! | key | default |
//! |---|---|
//! | `source.name` | `"local"` |
//! | `source.directory` | `"/etc/roadstead/manifests"` |
//! | `source.report` | `true` |
//! | `source.metallb` | `false` |
//! | `pool.auto_assign` | `true` |
//! | `pool.priority` | `0` |
//! | `pool.reserved` | `[]` |
//! | `pool.namespaces` | `[]` |
//! | `pool.namespace_selector` | every namespace |
//! | `pool.service_selector` | every Service |
//! | `pool.avoid_buggy_ips` | `false` |
//! | `pool.announce` | `["l2"]` |
//! | `pool.interfaces` | every leg of the speaker |
//! | `pool.sharing` | `"key"` |
//! | `pool.host_addresses` | `false` |
//! | `pool.drain` | `false` |
//! | `pool.cool_down` | `"0s"` |
//! | `pool.quota` | no limit |
//! | `paths.state` | `"/var/lib/roadstead"` |
//! | `paths.runtime` | `"/run/roadstead"` |
//! | `paths.bpffs` | `"/run/roadstead/bpf"` |
//! | `group.name` | the host's name |
//! | `group.listen` | its own member's address |
//! | `group.key_file` | `"/etc/roadstead/group.key"` |
//! | `group.heartbeat` | `"100ms"` |
//! | `group.misses` | `5` |
//! | `group.member.rank` | behind those that have one, by name |
//! | `speaker.interfaces` | every Ethernet interface that is up and has an address |
//! | `speaker.class_only` | `false` |
//! | `speaker.require_ready` | `true` |
//! | `speaker.ip_mode` | `"proxy"` |
//! | `speaker.metrics` | `"127.0.0.1:9641"` |
//! | `speaker.l2.probe` | `"fast"` |
//! | `speaker.l2.refresh` | `"30s"` |
//! | `speaker.l2.probe_ahead` | `4` |
//! | `router.interfaces` | every Ethernet interface that is up |
//! | `router.mode` | `"nat"` |
//! | `router.snat_addresses` | `[]` |
//! | `router.snat_ports` | `"32768-60999"` |
//! | `router.flows` | by the machine's memory |
//! | `router.nodes_allowed` | `[]` |
//! | `router.drain_deadline` | `"5m"` |
//! | `router.log_flows` | `false` |
//! | `router.metrics` | `"127.0.0.1:9642"` |
//! | `router.health.interval` | `"2s"` |
//! | `router.health.timeout` | `"1s"` |
//! | `router.health.fall` | `3` |
//! | `router.health.rise` | `2` |
//! | `router.health.probe` | `"auto"` |
//! | `router.health.port` | `10256` |
//! | `router.health.budget` | `200` |
//! | `router.health.panic_threshold` | `90` |
//! | `router.health.slow_start` | `"10s"` |
//!
//! `pool.name` and `pool.addresses` have none: a pool has both. A reservation has `name`, `addresses`
//! and either `service` or `namespace`. Known and refused by name until they
//! are served: `[speaker.bgp]`, `router.mode = "dsr"`; `[proxy]` is passed over
//! with a notice.

#![forbid(unsafe_code)]

mod cross;
mod defaults;
mod document;
mod files;
mod group;
mod layer;
mod limits;
mod parse;
mod paths;
mod pool;
mod reservation;
mod router;
mod section;
mod selector;
mod source;
mod speaker;
mod suggest;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

use roadstead_model::{
    Location, Problem,
    config::{Config, Paths},
    problem::Severity,
};

use crate::{document::Document, files::Text, layer::Layer, section::Problems};

/// Where the configuration is on an installed machine.
pub const MAIN_FILE: &str = "/etc/roadstead/roadstead.toml";

/// `[paths]` of a configuration that may be wrong in other places, for programs that must find the
/// daemons then too: they run with the last good one, whose paths never change without a restart.
/// What cannot be read is as by default.
pub fn paths_of(main: &Path) -> Paths {
    let (texts, _) = files::read(main);
    let of_files = texts.iter().filter_map(|(file, text)| Layer::of_file(file, text).ok());
    let of_variables = variables().filter_map(|(name, text)| Layer::of_variable(&name, &text));
    let layers: Vec<Layer> = of_files.chain(of_variables).collect();
    let place = Location::new(main.to_path_buf(), 0);
    match layer::merge(&layers) {
        Ok(table) => Document::read(table, place, &Problems::default()).into_config().paths,
        Err(_) => paths::default(),
    }
}

/// A configuration that may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Checked.
    pub config: Config,
    /// What is worth telling and stops nothing, in the order of file and line.
    pub warnings: Vec<Problem>,
    /// The files it was made of.
    pub files: Vec<PathBuf>,
}

/// Loads the main file, `conf.d` beside it, and the environment of this process.
///
/// # Errors
/// Every problem of every file at once, warnings included, in the order of file and line; at least
/// one of them is an error.
pub fn load(main: &Path) -> Result<Loaded, Vec<Problem>> {
    let (texts, problems) = files::read(main);
    finish(texts, variables(), problems)
}

/// The environment of this process.
fn variables() -> impl Iterator<Item = (String, String)> {
    let text = |os: OsString| os.into_string().ok();
    std::env::vars_os().filter_map(move |(name, value)| Some((text(name)?, text(value)?)))
}

/// Loads as a daemon does: warnings are logged, and a refusal is one error.
///
/// # Errors
/// As [`load`].
pub fn load_and_warn(main: &Path) -> Result<Config, Refused> {
    let loaded = load(main).map_err(Refused)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.config)
}

/// A configuration that may not be used, with every problem on a line of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Vec<Problem>);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|problem| write!(f, "\n{}", problem.labelled()))
    }
}

impl std::error::Error for Refused {}

/// Checks texts as if they were the files of those names, in this order, with an environment.
///
/// # Errors
/// As [`load`].
pub fn load_from(
    files: Vec<(PathBuf, String)>,
    environment: impl Iterator<Item = (String, String)>,
) -> Result<Loaded, Vec<Problem>> {
    finish(files, environment, Vec::new())
}

fn finish(
    texts: Vec<Text>,
    variables: impl Iterator<Item = (String, String)>,
    mut problems: Vec<Problem>,
) -> Result<Loaded, Vec<Problem>> {
    let mut layers = Vec::new();
    for (file, text) in &texts {
        match Layer::of_file(file, text) {
            Ok(layer) => layers.push(layer),
            Err(errors) => problems.extend(errors),
        }
    }
    let mut variables: Vec<(String, String)> = variables.collect();
    variables.sort();
    problems.extend(variables.iter().filter_map(|(name, _)| layer::stray_variable(name)));
    layers.extend(variables.iter().filter_map(|(name, text)| Layer::of_variable(name, text)));
    let files: Vec<PathBuf> = texts.into_iter().map(|(file, _)| file).collect();

    if problems.is_empty() {
        return checked(&layers, files);
    }
    for layer in &layers {
        problems.extend(own_problems(layer));
    }
    problems.sort();
    Err(problems)
}

/// What is wrong with one layer alone.
fn own_problems(layer: &Layer) -> Vec<Problem> {
    let found = Problems::default();
    Document::read(layer.table.clone(), layer.place.clone(), &found);
    found.into_inner()
}

/// The configuration of all layers together, with the rules between its parts checked.
///
/// What the values of a layer do wrong is told layer by layer: only there each has its place.
fn checked(layers: &[Layer], files: Vec<PathBuf>) -> Result<Loaded, Vec<Problem>> {
    let main = Location::new(files.first().cloned().unwrap_or_default(), 0);
    let mut problems: Vec<Problem> = layers.iter().flat_map(own_problems).collect();
    let table = match layer::merge(layers) {
        Ok(table) => table,
        Err(error) => {
            return Err(vec![Problem::error(main, format!("layers do not merge: {error}"))]);
        }
    };
    let document = Document::read(table, main, &Problems::default());
    let found = Problems::default();
    cross::check(&document, !has_error(&problems), &found);
    problems.extend(found.into_inner());
    problems.sort();
    problems.dedup();
    if has_error(&problems) {
        return Err(problems);
    }
    Ok(Loaded { config: document.into_config(), warnings: problems, files })
}

fn has_error(problems: &[Problem]) -> bool {
    problems.iter().any(|problem| problem.severity == Severity::Error)
}
