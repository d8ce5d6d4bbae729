//! One file's text → what it says, once and for itself.

use std::path::Path;

use roadstead_model::SourceName;

use super::{cache::Cache, parsed::Parsed};

/// Reads one file. Never fails: what is wrong is among the problems, and the rest is used.
///
/// `source` becomes part of every key; `path` names the file in problems.
pub fn parse_file(source: &SourceName, path: &Path, text: &str) -> Parsed {
    Cache::default().parse(source, path, text)
}

/// The same for a source that reads MetalLB's objects, those of this namespace.
pub fn parse_file_with_metallb(
    source: &SourceName,
    path: &Path,
    text: &str,
    namespace: &str,
) -> Parsed {
    Cache::new(Some(namespace.into())).parse(source, path, text)
}
