//! `v1` Namespace: its labels select pools.

use std::sync::Arc;

use roadstead_model::object::Namespace;

use super::{
    fields::{Fields, Report},
    known_fields,
    metadata::{self, NameForm},
    object::{Object, ObjectId},
};

/// Reads a Namespace. A Namespace that is being deleted still has its labels.
pub(crate) fn read(
    fields: &Fields<'_, '_>,
    report: &mut Report<'_>,
) -> (Option<ObjectId>, Option<Object>) {
    known_fields::check(fields.entries(), known_fields::NAMESPACE, report);
    let Some(metadata) = metadata::read(fields, NameForm::Label1123, report) else {
        return (None, None);
    };
    let namespace = Namespace { labels: metadata.labels };
    (Some(ObjectId::Namespace(metadata.name)), Some(Object::Namespace(Arc::new(namespace))))
}
