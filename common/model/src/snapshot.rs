//! One immutable view of all sources.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    NodeKey, Problem, ServiceKey, SourceName,
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
    /// Nodes.
    pub nodes: BTreeMap<NodeKey, Arc<Node>>,
    /// Endpoints by Service. **Absent** means that no EndpointSlice exists for the Service (nothing
    /// is known); present and without a ready endpoint is knowledge (S3).
    pub endpoints: BTreeMap<ServiceKey, Arc<Endpoints>>,
    /// Namespaces by source and name.
    pub namespaces: BTreeMap<(SourceName, Arc<str>), Arc<Namespace>>,
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

    /// The nodes of one source.
    pub fn nodes_of<'a>(
        &'a self,
        source: &'a SourceName,
    ) -> impl Iterator<Item = &'a Arc<Node>> + 'a {
        self.nodes.values().filter(move |node| node.key.source == *source)
    }
}
