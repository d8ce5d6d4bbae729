//! What the documents of one file said last time: only those whose text changed are interpreted
//! again. Pure; a cache that is lost costs time and nothing else.
//!
//! A cached document that moved has new lines: what is kept counts lines from its own beginning.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    path::Path,
    sync::Arc,
};

use roadstead_model::SourceName;

use super::{
    chunks::{Chunk, chunks},
    parse::{Part, Reader, broken},
    parsed::{Parsed, Reading},
    yaml,
};

/// A document with more problems or foreign kinds than this is interpreted every time, so that what
/// is kept stays small.
const MAX_KEPT: usize = 4;

/// The documents of one file, by their text.
#[derive(Debug, Default)]
pub(super) struct Cache {
    /// Two secret functions: 128 bits that nobody can find two texts for.
    hashers: [RandomState; 2],
    parts: HashMap<Fingerprint, Arc<Part>>,
    /// The namespace whose MetalLB objects are read, if any.
    metallb: Option<Arc<str>>,
}

/// The hashes of a text, and its length.
type Fingerprint = (u64, u64, usize);

impl Cache {
    /// A cache of files that MetalLB's objects are read from, in this namespace.
    pub(super) fn new(metallb: Option<Arc<str>>) -> Self {
        Self { metallb, ..Self::default() }
    }

    /// Reads one file: see [`parse_file`](super::parse_file).
    pub(super) fn parse(&mut self, source: &SourceName, path: &Path, text: &str) -> Parsed {
        let file = Arc::new(path.to_path_buf());
        if text.trim().is_empty() {
            return Parsed { reading: Reading::Blank, ..Parsed::default() };
        }
        let mut whole = Reader::new(source, &file);
        let mut used = HashMap::new();
        for chunk in chunks(text) {
            let fingerprint = self.fingerprint(chunk.text);
            let known = self.parts.get(&fingerprint).cloned();
            let part = match known.map_or_else(|| self.interpret(source, path, &chunk), Ok) {
                Ok(part) => part,
                Err(error) => {
                    let line = if error.line == 0 {
                        0
                    } else {
                        error.line.saturating_add(chunk.lines_before)
                    };
                    return broken(&file, line, &error.message);
                }
            };
            whole.add(&part, chunk.lines_before);
            if part.is_small(MAX_KEPT) {
                used.insert(fingerprint, part);
            }
        }
        self.parts = used;
        whole.finish()
    }

    fn fingerprint(&self, text: &str) -> Fingerprint {
        let [one, other] = &self.hashers;
        (one.hash_one(text), other.hash_one(text), text.len())
    }

    fn interpret(
        &self,
        source: &SourceName,
        path: &Path,
        chunk: &Chunk<'_>,
    ) -> Result<Arc<Part>, yaml::SyntaxError> {
        let documents = yaml::documents(chunk.text)?;
        let file = Arc::new(path.to_path_buf());
        let reader = Reader::new(source, &file).with_metallb(self.metallb.as_deref());
        Ok(Arc::new(reader.part(&documents)))
    }
}

#[cfg(test)]
mod tests;
