//! What one of MetalLB's objects says.

use std::sync::Arc;

use roadstead_model::metallb::{
    AddressPool, BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement,
};

/// One object, right as far as it alone can be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// `IPAddressPool`.
    Pool(AddressPool),
    /// `L2Advertisement`.
    L2Advertisement(L2Advertisement),
    /// `BGPAdvertisement`, with what it names communities by.
    BgpAdvertisement(BgpAdvertisement, Vec<CommunityName>),
    /// `BGPPeer`.
    Peer(BgpPeer),
    /// `BFDProfile`.
    BfdProfile(BfdProfile),
    /// `Community`: aliases.
    Community(Vec<(Arc<str>, Community)>),
}

/// What a community is called by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommunityName {
    /// Itself.
    Value(Community),
    /// A name of a `Community`.
    Alias(Arc<str>),
}
