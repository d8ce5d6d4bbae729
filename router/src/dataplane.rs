//! The kernel side as the control task sees it.

use std::{collections::BTreeMap, net::SocketAddr};

use roadstead_router_core::{
    host::Leg,
    maps::{BackendId, FrontendId, Maps, SnatId},
};

/// The maps, and the program that follows them.
pub(crate) trait Dataplane: Maps {
    /// Has the program run on exactly these legs. The outcome for each, by ifindex.
    fn attach(&mut self, legs: &BTreeMap<u32, Leg>) -> BTreeMap<u32, Result<(), String>>;

    /// Packets dropped by reason, since the maps were created.
    fn drops(&self) -> Vec<(String, u64)>;
}

/// What the program tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A node refused a connection, or did not answer it: a passive signal of health.
    Suspicion {
        /// To which frontend.
        frontend: FrontendId,
        /// On which backend.
        backend: BackendId,
    },
    /// A node answers none of the flows that begin: a passive signal too.
    Silence {
        /// Which.
        backend: BackendId,
    },
    /// A flow began, where the configuration wants that logged.
    NewFlow {
        /// Whose.
        client: SocketAddr,
        /// To which frontend.
        frontend: FrontendId,
        /// By which source address and port.
        snat: (SnatId, u16),
        /// To which backend.
        backend: BackendId,
        /// At which NodePort.
        node_port: u16,
    },
}
