//! `[[source]]`: where the objects come from.

use std::{path::PathBuf, sync::Arc};

use roadstead_model::{
    Location, SourceName,
    config::{Kubeconfig, Source, SourceKind},
    metallb,
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
    /// The namespace whose MetalLB objects are read.
    pub(crate) metallb: Option<Arc<str>>,
    /// Whether a cluster is written to.
    pub(crate) report: bool,
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
    let metallb = metallb(&mut section);
    let report = report(&mut section, kind.as_ref());
    section.finish();
    let (name, kind) = (name?, kind?);
    Some(Read { name: SourceName::new(name.value), kind, metallb, report, place: name.place })
}

/// Nothing is ever written to a directory.
fn report(section: &mut Section<'_>, kind: Option<&SourceKind>) -> bool {
    if section.has("report") && matches!(kind, Some(SourceKind::Directory(_))) {
        let what = format!("`report` of {} has a meaning only with `kubeconfig`", section.title());
        section.error(&section.place, what);
    }
    section.truth("report", true)
}

/// `true`, or `{ namespace = "…" }` where MetalLB is installed in another than usual.
fn metallb(section: &mut Section<'_>) -> Option<Arc<str>> {
    if !section.has_table("metallb") {
        return section.truth("metallb", false).then(|| metallb::NAMESPACE.into());
    }
    let mut table = section.section("metallb");
    let namespace = table.parsed("namespace", parse::namespace);
    let example = format!("\"{}\"", metallb::NAMESPACE);
    let namespace = table.require("namespace", namespace, &example);
    table.finish();
    namespace.map(|namespace| namespace.value)
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
    let checked = |read: Read| Source {
        name: read.name,
        kind: read.kind,
        metallb: read.metallb,
        report: read.report,
    };
    if sources.is_empty() {
        return vec![Source {
            name: SourceName::new(defaults::SOURCE_NAME),
            kind: SourceKind::Directory(defaults::SOURCE_DIRECTORY.into()),
            metallb: None,
            report: true,
        }];
    }
    sources.into_iter().map(checked).collect()
}
