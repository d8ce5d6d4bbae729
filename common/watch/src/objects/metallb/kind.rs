//! The kinds of `metallb.io`.

/// A kind of MetalLB's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MetalLbKind {
    /// `IPAddressPool`.
    Pool,
    /// `L2Advertisement`.
    L2Advertisement,
    /// `BGPAdvertisement`.
    BgpAdvertisement,
    /// `BGPPeer`.
    Peer,
    /// `BFDProfile`.
    BfdProfile,
    /// `Community`.
    Community,
}

impl MetalLbKind {
    /// All of them.
    pub(crate) const ALL: [Self; 6] = [
        Self::Pool,
        Self::L2Advertisement,
        Self::BgpAdvertisement,
        Self::Peer,
        Self::BfdProfile,
        Self::Community,
    ];

    /// `kind`, as it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pool => "IPAddressPool",
            Self::L2Advertisement => "L2Advertisement",
            Self::BgpAdvertisement => "BGPAdvertisement",
            Self::Peer => "BGPPeer",
            Self::BfdProfile => "BFDProfile",
            Self::Community => "Community",
        }
    }

    /// The values of `apiVersion` that are read, the newest first.
    pub(crate) fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Peer => &["metallb.io/v1beta2", "metallb.io/v1beta1"],
            Self::Pool
            | Self::L2Advertisement
            | Self::BgpAdvertisement
            | Self::BfdProfile
            | Self::Community => &["metallb.io/v1beta1"],
        }
    }
}
