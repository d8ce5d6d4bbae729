//! How often API servers were asked, for metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use roadstead_model::SourceName;

/// What was asked of which cluster, and with which outcome.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asked {
    /// The cluster.
    pub source: SourceName,
    /// `list`, `watch`, `apply`, `patch` or `create`.
    pub verb: &'static str,
    /// HTTP status; 0 where nobody answered.
    pub code: u16,
}

/// Counts of requests, shared by all who ask. A clone counts into the same.
#[derive(Clone, Debug, Default)]
pub struct Requests(Arc<Mutex<BTreeMap<Asked, u64>>>);

impl Requests {
    /// Counts one.
    pub(crate) fn count(&self, asked: Asked) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(asked).or_default();
        *count = count.saturating_add(1);
    }

    /// All counts since the start.
    pub fn all(&self) -> BTreeMap<Asked, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The counts of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Counter {
    source: SourceName,
    requests: Requests,
}

impl Counter {
    pub(crate) fn new(source: SourceName, requests: Requests) -> Self {
        Self { source, requests }
    }

    /// Counts one.
    pub(crate) fn count(&self, verb: &'static str, code: u16) {
        self.requests.count(Asked { source: self.source.clone(), verb, code });
    }
}
