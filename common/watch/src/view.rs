//! What one source says: the part of a Snapshot that it is answerable for.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use roadstead_model::{
    NodeKey, Problem, ServiceKey, SourceName,
    local::PortClaim,
    metallb::MetalLb,
    object::{Endpoints, Namespace, Node, Service},
    snapshot::SourceState,
};
use tokio::sync::mpsc;

/// Where the sources' threads send their views.
pub(crate) type Views = mpsc::Sender<(SourceName, Arc<SourceView>)>;

/// One source's objects at one moment. Objects that did not change are the same `Arc` as in the
/// view before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceView {
    /// Whether what is missing is known to be gone.
    pub state: SourceState,
    /// Services of `type: LoadBalancer`.
    pub services: BTreeMap<ServiceKey, Arc<Service>>,
    /// Services that are there, are refused, and of which no good version was ever seen; with the
    /// first error.
    pub refused: BTreeMap<ServiceKey, Arc<str>>,
    /// Services that were there since the start and went by an order.
    pub gone: Arc<BTreeSet<ServiceKey>>,
    /// Nodes.
    pub nodes: BTreeMap<NodeKey, Arc<Node>>,
    /// Endpoints of the Services that have at least one EndpointSlice.
    pub endpoints: BTreeMap<ServiceKey, Arc<Endpoints>>,
    /// Namespaces by name.
    pub namespaces: BTreeMap<Arc<str>, Arc<Namespace>>,
    /// Ports of Services of which a nodePort is named by another Service too.
    pub contested: Arc<BTreeSet<(ServiceKey, PortClaim)>>,
    /// What MetalLB is configured by, the last good of it; none where it is not read, or was never
    /// good since the start.
    pub metallb: Option<Arc<MetalLb>>,
    /// What is wrong right now, in the order of files and lines.
    pub problems: Vec<Problem>,
}

impl SourceView {
    /// Takes what MetalLB's objects say now, where that may be taken; else what it was before.
    pub(crate) fn take_metallb(&mut self, now: Option<MetalLb>, before: &Self) {
        self.metallb = match (now, &before.metallb) {
            (Some(now), Some(before)) if now == **before => Some(Arc::clone(before)),
            (Some(now), _) => Some(Arc::new(now)),
            (None, before) => before.clone(),
        };
    }

    /// A source that was never read.
    pub fn unread() -> Self {
        Self {
            state: SourceState::Unread,
            services: BTreeMap::new(),
            refused: BTreeMap::new(),
            gone: Arc::default(),
            nodes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            namespaces: BTreeMap::new(),
            contested: Arc::default(),
            metallb: None,
            problems: Vec::new(),
        }
    }
}
