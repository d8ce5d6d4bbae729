//! The whole of one tree, read into checked types with the places that rules between sections
//! need.

use config::{Map, Value};
use roadstead_model::{Location, config::Config};

use crate::{
    group, paths, pool, reservation, router,
    section::{Problems, Section},
    source, speaker,
};

/// Everything read from one tree: a single layer, or all layers merged.
#[derive(Debug)]
pub(crate) struct Document {
    /// Where the tree itself begins.
    pub(crate) place: Location,
    /// `[[source]]` as written; empty where none is.
    pub(crate) sources: Vec<source::Read>,
    /// `[[pool]]` in order.
    pub(crate) pools: Vec<pool::Read>,
    /// `[[reservation]]` in order.
    pub(crate) reservations: Vec<reservation::Read>,
    /// `[paths]`.
    pub(crate) paths: roadstead_model::config::Paths,
    /// `[group]`, where it is written.
    pub(crate) group: Option<group::Read>,
    /// `[speaker]`.
    pub(crate) speaker: speaker::Read,
    /// `[router]`.
    pub(crate) router: router::Read,
}

impl Document {
    /// Reads a tree; what is wrong is noted and replaced by its default, or left out.
    pub(crate) fn read(table: Map<String, Value>, place: Location, problems: &Problems) -> Self {
        let mut top = Section::top(table, place.clone(), problems);
        let document = Self {
            place,
            sources: top.items("source").into_iter().filter_map(source::read).collect(),
            pools: top.items("pool").into_iter().filter_map(pool::read).collect(),
            reservations: top
                .items("reservation")
                .into_iter()
                .filter_map(reservation::read)
                .collect(),
            paths: paths::read(top.section("paths")),
            group: top.has("group").then(|| group::read(top.section("group"))),
            speaker: speaker::read(top.section("speaker")),
            router: router::read(top.section("router")),
        };
        top.know("group");
        top.pass_over("proxy", "the L7 front is not served yet");
        top.finish();
        document
    }

    /// The checked configuration; right only where nothing was noted as an error.
    pub(crate) fn into_config(self) -> Config {
        Config {
            sources: source::or_default(self.sources),
            pools: self.pools.into_iter().map(|read| read.pool).collect(),
            reservations: self.reservations.into_iter().map(|read| read.reservation).collect(),
            paths: self.paths,
            group: self.group.map(group::Read::into_group),
            speaker: self.speaker.speaker,
            router: self.router.router,
        }
    }
}
