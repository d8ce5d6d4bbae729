//! One immutable view of all sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, Problem, ServiceKey, SourceName,
    key::PortClaim,
    metallb::MetalLb,
    object::{Endpoints, Namespace, Node, Service},
};

/// Everything that the sources say, at one moment. Readers hold it behind an `Arc`; the next one is
/// built aside and swapped in whole.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Counts up with every change; 0 is the empty snapshot before any source has answered.
    pub generation: u64,
    /// State of each source.
    pub sources: BTreeMap<SourceName, SourceState>,
    /// Services of `type: LoadBalancer`.
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// Services that are there, are refused, and of which no good version was seen since the start;
    /// with the first error. Not served, and not deleted either: what they held stays theirs.
    pub refused: BTreeMap<ServiceKey, Arc<str>>,
    /// Services that were seen since the start and went by an order (a file deleted or edited): gone,
    /// whatever else of their source is in doubt.
    pub gone: BTreeSet<ServiceKey>,
    /// Nodes.
    pub nodes: BTreeMap<NodeKey, Arc<Node>>,
    /// Endpoints by Service. **Absent** means that no EndpointSlice exists for the Service (nothing
    /// is known); present and without a ready endpoint is knowledge (S3).
    pub endpoints: BTreeMap<ServiceKey, Arc<Endpoints>>,
    /// Namespaces by source and name.
    pub namespaces: BTreeMap<(SourceName, Arc<str>), Arc<Namespace>>,
    /// Ports of Services of which a nodePort is named by another Service of the source too. Who has
    /// it is the ledger's to say: nothing here tells who came first.
    pub contested: BTreeSet<(ServiceKey, PortClaim)>,
    /// What MetalLB is configured by in each source that reads it, as a whole that was right; absent
    /// where none was since the start.
    pub metallb: BTreeMap<SourceName, Arc<MetalLb>>,
    /// What is wrong with the inputs right now.
    pub problems: Vec<Problem>,
}

/// Whether a source's part of the snapshot is knowledge or doubt (S3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SourceState {
    /// Never read yet: nothing may be concluded from what is missing.
    Unread,
    /// Read and current.
    Current,
    /// The last good objects are kept although the source cannot be read, or says something that
    /// is not believed without `roadstead confirm`.
    Doubtful {
        /// Why, for people.
        reason: String,
    },
}

impl Snapshot {
    /// Whether every source has been read at least once, so that absence is knowledge.
    pub fn is_complete(&self) -> bool {
        !self.sources.is_empty() && self.sources.values().all(|s| *s != SourceState::Unread)
    }

    /// Whether a Service that the snapshot lacks is known to be gone, so that what it held may be
    /// withdrawn (S3). What is refused is there; what a source that is unread or in doubt does not
    /// show is not known to be gone, unless it went by an order.
    pub fn is_gone(&self, service: &ServiceKey) -> bool {
        if self.services.contains_key(service) || self.refused.contains_key(service) {
            return false;
        }
        match self.sources.get(&service.source) {
            Some(SourceState::Current) => true,
            Some(SourceState::Doubtful { .. }) => self.gone.contains(service),
            Some(SourceState::Unread) => false,
            None => self.is_complete(),
        }
    }

    /// Whether any source is in doubt, so that a Node that is missing may be there.
    pub fn is_in_doubt(&self) -> bool {
        self.sources.values().any(|state| matches!(state, SourceState::Doubtful { .. }))
    }
}
