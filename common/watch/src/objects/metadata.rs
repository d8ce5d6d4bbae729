//! `metadata`: names, labels and whether the object is on its way out.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    fields::{Field, Fields, Report},
    tree::Value,
    words::shown,
};

/// Most labels of one object. A real one has a dozen; all of them stay in memory.
const MAX_LABELS: usize = 500;
/// The longest value of a label (Kubernetes: labels and selectors).
const MAX_LABEL_VALUE: usize = 63;

/// What is read of `metadata`.
#[derive(Debug)]
pub(crate) struct Metadata<'n, 't> {
    /// `name`, in the form that the kind asks for.
    pub(crate) name: Arc<str>,
    /// `namespace`, `default` where nothing is said.
    pub(crate) namespace: Arc<str>,
    /// `labels`.
    pub(crate) labels: BTreeMap<Arc<str>, Arc<str>>,
    /// `annotations`, not looked into.
    pub(crate) annotations: Option<Fields<'n, 't>>,
    /// `uid`.
    pub(crate) uid: Option<Arc<str>>,
    /// Whether `deletionTimestamp` is set: the object is as good as gone.
    pub(crate) deleting: bool,
}

/// The form of a name (Kubernetes: object names and IDs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NameForm {
    /// RFC 1035 label: a Service.
    Label1035,
    /// RFC 1123 label: a Namespace.
    Label1123,
    /// RFC 1123 subdomain: a Node, an EndpointSlice.
    Subdomain,
}

/// `Service default/web`, as far as it can be said, for the beginning of messages.
pub(crate) fn name_of(fields: &Fields<'_, '_>, kind: &str) -> String {
    let metadata = fields.entries().iter().find(|entry| entry.key == "metadata");
    let Some(Value::Map(metadata)) = metadata.map(|entry| &entry.node.value) else {
        return kind.to_owned();
    };
    let text = |name: &str| match metadata.iter().find(|e| e.key == name).map(|e| &e.node.value) {
        Some(Value::Text(text)) => Some(shown(text)),
        _ => None,
    };
    match (kind, text("namespace"), text("name")) {
        (_, _, None) => kind.to_owned(),
        ("Node" | "Namespace", _, Some(name)) => format!("{kind} {name}"),
        (_, Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (_, None, Some(name)) => format!("{kind} default/{name}"),
    }
}

/// Reads `metadata`; none where the object cannot be named.
pub(crate) fn read<'n, 't>(
    fields: &Fields<'n, 't>,
    form: NameForm,
    report: &mut Report<'_>,
) -> Option<Metadata<'n, 't>> {
    let Some(metadata) = fields.map("metadata", report) else {
        if !report.is_refused() {
            report.error(fields.line, "metadata.name is missing");
        }
        return None;
    };
    let name = name(&metadata, form, report)?;
    let namespace = namespace(&metadata, report)?;
    Some(Metadata {
        name,
        namespace,
        labels: labels(&metadata, report),
        annotations: metadata.map("annotations", report),
        uid: metadata.text("uid", report).map(Arc::from),
        deleting: metadata.field("deletionTimestamp").is_some(),
    })
}

impl Metadata<'_, '_> {
    /// Whether the object is being deleted, which is told.
    pub(crate) fn is_going(&self, line: usize, report: &mut Report<'_>) -> bool {
        if self.deleting {
            report.notice(
                line,
                "passed over, because metadata.deletionTimestamp says that it is being deleted",
            );
        }
        self.deleting
    }
}

fn name(metadata: &Fields<'_, '_>, form: NameForm, report: &mut Report<'_>) -> Option<Arc<str>> {
    let Some(field) = metadata.field("name") else {
        report.error(metadata.line, "metadata.name is missing");
        return None;
    };
    let name = field.text(report)?;
    if form == NameForm::Label1035 && is_label(name) && !is_label_1035(name) {
        if report.origin().is_proofread() {
            let what = "metadata.name begins with a digit, which older clusters refuse";
            report.notice(field.line, what);
        }
        return Some(name.into());
    }
    checked_name(&field, name, form, report)
}

fn namespace(metadata: &Fields<'_, '_>, report: &mut Report<'_>) -> Option<Arc<str>> {
    match metadata.field("namespace") {
        None => Some("default".into()),
        Some(field) => {
            let name = field.text(report)?;
            checked_name(&field, name, NameForm::Label1123, report)
        }
    }
}

fn checked_name(
    field: &Field<'_, '_>,
    name: &str,
    form: NameForm,
    report: &mut Report<'_>,
) -> Option<Arc<str>> {
    let (good, right) = match form {
        NameForm::Label1035 => (
            is_label_1035(name),
            "a small letter, then at most 62 small letters, digits and `-`, no `-` at the end",
        ),
        NameForm::Label1123 => {
            (is_label(name), "at most 63 small letters, digits and `-`, no `-` at either end")
        }
        NameForm::Subdomain => (
            is_subdomain(name),
            "at most 253 small letters, digits, `-` and `.`, with a letter or digit at either end of each part",
        ),
    };
    if !good {
        field.wrong(report, &format!("`{}` is not a name; {right} would be", shown(name)));
    }
    good.then(|| name.into())
}

/// RFC 1123 label.
pub(crate) fn is_label(name: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

fn is_label_1035(name: &str) -> bool {
    is_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase())
}

fn is_subdomain(name: &str) -> bool {
    let part = |part: &str| part.split('-').count() > 0 && is_part(part);
    name.len() <= 253 && name.split('.').all(part)
}

/// A part of a subdomain has the form of a label and no length of its own.
fn is_part(part: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !part.is_empty() && part.bytes().all(inner) && !part.starts_with('-') && !part.ends_with('-')
}

/// `labels`: every value is text of at most 63 bytes.
fn labels(metadata: &Fields<'_, '_>, report: &mut Report<'_>) -> BTreeMap<Arc<str>, Arc<str>> {
    let Some(labels) = metadata.map("labels", report) else {
        return BTreeMap::new();
    };
    if labels.entries().len() > MAX_LABELS {
        let count = labels.entries().len();
        report.error(
            labels.line,
            format!("metadata.labels: {count} labels; at most {MAX_LABELS} are"),
        );
        return BTreeMap::new();
    }
    let mut read = BTreeMap::new();
    for entry in labels.entries() {
        let value = labels.text(&entry.key, report).unwrap_or_default();
        if value.len() > MAX_LABEL_VALUE {
            let key = shown(&entry.key);
            let what = format!("metadata.labels.{key}: longer than {MAX_LABEL_VALUE} bytes");
            report.error(entry.node.line, what);
        }
        read.insert(entry.key.as_ref().into(), value.into());
    }
    read
}
