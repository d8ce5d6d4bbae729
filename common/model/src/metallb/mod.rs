//! MetalLB's configuration (`metallb.io`), read as it is: the objects of one source, checked one by
//! one and as a whole. A value that exists is a value that is right.
//!
//! What its pools and L2 advertisements say becomes [`Pool`](crate::config::Pool)s
//! ([`MetalLb::pools_of`], [`effective`]). The objects of BGP are kept as they are, for when BGP is
//! served. A password is never kept: it is said where it stands.

mod bgp;
mod effective;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    AddressRange,
    selector::{Labels, Selector},
};

pub use bgp::{
    BfdProfile, BgpAdvertisement, BgpPeer, Community, Neighbour, Password, RemoteAsn, Timers,
};
pub use effective::{Overlap, effective};

/// The namespace that MetalLB is installed in where nothing else is said.
pub const NAMESPACE: &str = "metallb-system";

/// The group of MetalLB's objects.
pub const GROUP: &str = "metallb.io";

/// Everything that MetalLB is configured by in one source; each list by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct MetalLb {
    /// `IPAddressPool`; no two overlap.
    pub pools: Vec<AddressPool>,
    /// `L2Advertisement`.
    pub l2_advertisements: Vec<L2Advertisement>,
    /// `BGPAdvertisement`.
    pub bgp_advertisements: Vec<BgpAdvertisement>,
    /// `BGPPeer`.
    pub peers: Vec<BgpPeer>,
    /// `BFDProfile`.
    pub bfd_profiles: Vec<BfdProfile>,
}

/// An `IPAddressPool`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddressPool {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.labels`, by which advertisements select it.
    pub labels: Labels,
    /// `spec.addresses`, in the order of the object; disjoint.
    pub addresses: Vec<AddressRange>,
    /// `spec.autoAssign`, true where nothing is said.
    pub auto_assign: bool,
    /// `spec.avoidBuggyIPs`.
    #[serde(rename = "avoidBuggyIPs")]
    pub avoid_buggy_ips: bool,
    /// `spec.serviceAllocation`, where it is there.
    pub allocation: Option<ServiceAllocation>,
}

/// `spec.serviceAllocation`: who may have an address of the pool. What is said of namespaces and
/// what is said of Services must both hold; nothing said means everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAllocation {
    /// Lower is preferred; 0 comes last.
    pub priority: u32,
    /// Exact names.
    pub namespaces: Vec<Arc<str>>,
    /// Or namespaces whose labels match one of these.
    pub namespace_selectors: Vec<Selector>,
    /// Services whose labels match one of these.
    pub service_selectors: Vec<Selector>,
}

/// Which pools an advertisement is about; nothing said means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scope {
    /// `spec.ipAddressPools`: by name.
    pub pools: Vec<Arc<str>>,
    /// `spec.ipAddressPoolSelectors`: or whose labels match one of these.
    pub selectors: Vec<Selector>,
}

impl Scope {
    /// Whether a pool is meant.
    pub fn covers(&self, pool: &AddressPool) -> bool {
        let is_all = self.pools.is_empty() && self.selectors.is_empty();
        is_all
            || self.pools.contains(&pool.name)
            || self.selectors.iter().any(|selector| selector.matches(&pool.labels))
    }
}

/// An `L2Advertisement`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct L2Advertisement {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// Which pools.
    pub scope: Scope,
    /// `spec.interfaces`; empty = all.
    pub interfaces: Vec<Arc<str>>,
    /// `spec.serviceSelectors`; empty = all.
    pub service_selectors: Vec<Selector>,
    /// `spec.nodeSelectors`: which nodes would announce in MetalLB. Outside the cluster it means
    /// nothing; kept to be told.
    pub node_selectors: Vec<Selector>,
    /// Whether `spec.preferredNodeSelectors` says something, which means nothing here either.
    pub prefers_nodes: bool,
}

#[cfg(test)]
mod tests;
