//! The kinds that concern Roadstead.

use roadstead_model::SourceName;

use super::{
    endpoints,
    fields::{Fields, Report},
    metallb::{self, MetalLbKind},
    namespace, node,
    object::{Object, ObjectId},
    service,
};

/// A kind that concerns Roadstead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// `v1` Service.
    Service,
    /// `v1` Node.
    Node,
    /// `v1` Namespace.
    Namespace,
    /// `discovery.k8s.io/v1` EndpointSlice.
    EndpointSlice,
    /// One of `metallb.io`, where the source reads them.
    MetalLb(MetalLbKind),
}

/// The kinds that every source reads, by name, and where they belong.
pub(crate) const KINDS: [(&str, &str, Kind); 4] = [
    ("Service", "v1", Kind::Service),
    ("Node", "v1", Kind::Node),
    ("Namespace", "v1", Kind::Namespace),
    ("EndpointSlice", "discovery.k8s.io/v1", Kind::EndpointSlice),
];

impl Kind {
    /// Reads an object of this kind: its identity, where it can be named, and the object, where it
    /// is not on its way out. What is wrong is in the report, which says whether it is refused.
    pub(crate) fn read(
        self,
        source: &SourceName,
        fields: &Fields<'_, '_>,
        report: &mut Report<'_>,
    ) -> (Option<ObjectId>, Option<Object>) {
        match self {
            Self::Service => service::read(source, fields, report),
            Self::Node => node::read(source, fields, report),
            Self::Namespace => namespace::read(fields, report),
            Self::EndpointSlice => endpoints::read(source, fields, report),
            Self::MetalLb(kind) => metallb::read(kind, fields, report),
        }
    }

    /// `kind`, as it is written.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::MetalLb(kind) => kind.as_str(),
            Self::Service | Self::Node | Self::Namespace | Self::EndpointSlice => {
                KINDS.iter().find(|(.., of)| *of == self).map_or("", |(name, ..)| name)
            }
        }
    }
}
