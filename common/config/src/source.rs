//! `[[source]]`: where the objects come from.

use std::path::PathBuf;

use roadstead_model::{
    Location, SourceName,
    config::{Source, SourceKind},
};

use crate::{defaults, parse, section::Section};

/// One `[[source]]` with its places.
#[derive(Debug)]
pub(crate) struct Read {
    /// Its name.
    pub(crate) name: SourceName,
    /// Its directory.
    pub(crate) directory: PathBuf,
    /// Line of the name.
    pub(crate) place: Location,
}

/// Reads one entry; `None` where it has no usable name or directory.
pub(crate) fn read(mut section: Section<'_>) -> Option<Read> {
    let name = section.parsed("name", parse::name);
    if let Some(name) = &name {
        section.rename(format!("source \"{}\"", name.value));
    }
    let name = section.require("name", name, "\"local\"");
    let directory = section.parsed("directory", parse::absolute_path);
    let cluster = section.has("kubeconfig");
    section.refuse("kubeconfig", "clusters as a source are not served yet: name a `directory`");
    let example = format!("\"{}\"", defaults::SOURCE_DIRECTORY);
    let directory =
        if cluster { directory } else { section.require("directory", directory, &example) };
    section.finish();
    let (name, directory) = (name?, directory?);
    Some(Read { name: SourceName::new(name.value), directory: directory.value, place: name.place })
}

/// The sources as written, or the one that is meant where none is.
pub(crate) fn or_default(sources: Vec<Read>) -> Vec<Source> {
    let checked =
        |read: Read| Source { name: read.name, kind: SourceKind::Directory(read.directory) };
    if sources.is_empty() {
        return vec![Source {
            name: SourceName::new(defaults::SOURCE_NAME),
            kind: SourceKind::Directory(defaults::SOURCE_DIRECTORY.into()),
        }];
    }
    sources.into_iter().map(checked).collect()
}
