//! MetalLB's objects (`metallb.io`): each read and checked alone, then all of a source together.
//! What one alone can do wrong is found in the reader of its kind, the rest in [`whole`].

mod advertisement;
mod bfd;
mod community;
mod known;
mod peer;
mod pool;
#[cfg(test)]
mod tests;
mod values;
mod whole;

use std::sync::Arc;

use roadstead_model::metallb::{
    AddressPool, BfdProfile, BgpAdvertisement, BgpPeer, Community, L2Advertisement,
};

use super::{
    fields::{Fields, Report},
    known_fields,
    metadata::{self, NameForm},
    object::{Object, ObjectId},
};

pub(crate) use whole::{Whole, whole};

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

    /// Reads an object of this kind, as [`Kind::read`](super::kind::Kind::read) does.
    pub(crate) fn read(
        self,
        fields: &Fields<'_, '_>,
        report: &mut Report<'_>,
    ) -> (Option<ObjectId>, Option<Object>) {
        known_fields::check(fields.entries(), known::fields(self), report);
        let Some(metadata) = metadata::read(fields, NameForm::Subdomain, report) else {
            return (None, None);
        };
        let name = Arc::clone(&metadata.name);
        let id = ObjectId::MetalLb(self, Arc::clone(&metadata.namespace), Arc::clone(&name));
        if metadata.is_going(fields.line, report) {
            return (Some(id), None);
        }
        let empty = Fields::new(&[], fields.line);
        let spec = fields.map("spec", report).unwrap_or(empty);
        let part = match self {
            Self::Pool => pool::read(name, metadata.labels, &spec, report).map(Part::Pool),
            Self::L2Advertisement => {
                Some(Part::L2Advertisement(advertisement::l2(name, &spec, report)))
            }
            Self::BgpAdvertisement => Some(advertisement::bgp(name, &spec, report)),
            Self::Peer => peer::read(name, &spec, report).map(Part::Peer),
            Self::BfdProfile => Some(Part::BfdProfile(bfd::read(name, &spec, report))),
            Self::Community => Some(Part::Community(community::read(&spec, report))),
        };
        (Some(id), part.map(|part| Object::MetalLb(Arc::new(part))))
    }
}

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
