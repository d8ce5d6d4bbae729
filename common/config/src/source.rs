//! `[[source]]`: where the objects come from.

use std::path::PathBuf;

use roadstead_model::{
    Location, SourceName,
    config::{Kubeconfig, Source, SourceKind},
};

use crate::{
    defaults, parse,
    section::{Placed, Section},
};

/// What a kubeconfig for each daemon looks like.
const EACH: &str =
    "{ speaker = \"/etc/roadstead/home.speaker\", router = \"/etc/roadstead/home.router\" }";

/// One `[[source]]` with its places.
#[derive(Debug)]
pub(crate) struct Read {
    /// Its name.
    pub(crate) name: SourceName,
    /// Where its objects come from.
    pub(crate) kind: SourceKind,
    /// Line of the name.
    pub(crate) place: Location,
}

/// Reads one entry; `None` where it has no usable name, directory or kubeconfig.
pub(crate) fn read(mut section: Section<'_>) -> Option<Read> {
    let name = section.parsed("name", parse::name);
    if let Some(name) = &name {
        section.rename(format!("source \"{}\"", name.value));
    }
    let name = section.require("name", name, "\"local\"");
    let kind = kind(&mut section);
    section.finish();
    let (name, kind) = (name?, kind?);
    Some(Read { name: SourceName::new(name.value), kind, place: name.place })
}

/// A source is one thing: a directory or a cluster.
fn kind(section: &mut Section<'_>) -> Option<SourceKind> {
    let (is_directory, is_cluster) = (section.has("directory"), section.has("kubeconfig"));
    let directory = section.parsed("directory", parse::absolute_path);
    let kubeconfig = is_cluster.then(|| kubeconfig(section)).flatten();
    match (is_directory, is_cluster) {
        (true, true) => {
            let title = section.title();
            let what = format!(
                "{title} has both `directory` and `kubeconfig`: a source is one of them, make two of it"
            );
            section.error(&section.place, what);
            None
        }
        (true, false) => Some(SourceKind::Directory(directory?.value)),
        (false, true) => kubeconfig.map(SourceKind::Cluster),
        (false, false) => {
            let example = format!(
                "\"{}\", or kubeconfig = \"/etc/roadstead/home.kubeconfig\"",
                defaults::SOURCE_DIRECTORY
            );
            section.require("directory", None::<()>, &example);
            None
        }
    }
}

/// One file for all daemons, or one for each.
fn kubeconfig(section: &mut Section<'_>) -> Option<Kubeconfig> {
    if !section.has_table("kubeconfig") {
        let path = section.parsed("kubeconfig", parse::absolute_path)?;
        return Some(Kubeconfig::for_all(path.value));
    }
    let mut each = section.section("kubeconfig");
    let mut path = |daemon| each.parsed(daemon, parse::absolute_path);
    let (speaker, router, proxy) = (path("speaker"), path("router"), path("proxy"));
    let example = format!("a path, as in {EACH}");
    let speaker = each.require("speaker", speaker, &example);
    let router = each.require("router", router, &example);
    each.finish();
    let value = |path: Placed<PathBuf>| path.value;
    Some(Kubeconfig { speaker: value(speaker?), router: value(router?), proxy: proxy.map(value) })
}

/// The sources as written, or the one that is meant where none is.
pub(crate) fn or_default(sources: Vec<Read>) -> Vec<Source> {
    let checked = |read: Read| Source { name: read.name, kind: read.kind };
    if sources.is_empty() {
        return vec![Source {
            name: SourceName::new(defaults::SOURCE_NAME),
            kind: SourceKind::Directory(defaults::SOURCE_DIRECTORY.into()),
        }];
    }
    sources.into_iter().map(checked).collect()
}
