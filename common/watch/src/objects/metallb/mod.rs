//! MetalLB's objects (`metallb.io`): each read and checked alone, then all of a source together.
//! What one alone can do wrong is found in the reader of its kind, the rest in [`whole`].

mod advertisement;
mod bfd;
mod community;
pub(super) mod kind;
mod known;
pub(super) mod part;
mod peer;
mod pool;
#[cfg(test)]
mod tests;
mod values;
mod whole;

use std::sync::Arc;

use super::{
    fields::{Fields, Report},
    known_fields,
    metadata::{self, NameForm},
    object::{Object, ObjectId},
};

pub use kind::MetalLbKind;
pub use part::{CommunityName, Part};
pub(crate) use whole::{Whole, whole};

/// Reads an object of this kind, as [`Kind::read`](super::kind::Kind::read) does.
pub(crate) fn read(
    kind: MetalLbKind,
    fields: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> (Option<ObjectId>, Option<Object>) {
    known_fields::check(fields.entries(), known::fields(kind), report);
    let Some(metadata) = metadata::read(fields, NameForm::Subdomain, report) else {
        return (None, None);
    };
    let name = Arc::clone(&metadata.name);
    let id = ObjectId::MetalLb(kind, Arc::clone(&metadata.namespace), Arc::clone(&name));
    if metadata.is_going(fields.line, report) {
        return (Some(id), None);
    }
    let empty = Fields::new(&[], fields.line);
    let spec = fields.map("spec", report).unwrap_or(empty);
    let part = match kind {
        MetalLbKind::Pool => pool::read(name, metadata.labels, &spec, report).map(Part::Pool),
        MetalLbKind::L2Advertisement => {
            Some(Part::L2Advertisement(advertisement::l2(name, &spec, report)))
        }
        MetalLbKind::BgpAdvertisement => Some(advertisement::bgp(name, &spec, report)),
        MetalLbKind::Peer => peer::read(name, &spec, report).map(Part::Peer),
        MetalLbKind::BfdProfile => Some(Part::BfdProfile(bfd::read(name, &spec, report))),
        MetalLbKind::Community => Some(Part::Community(community::read(&spec, report))),
    };
    (Some(id), part.map(|part| Object::MetalLb(Arc::new(part))))
}
