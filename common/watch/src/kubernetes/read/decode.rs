//! Bytes of the API → pages of a list and events of a watch.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    convert::{Change, Converter, NoObject},
    version::Version,
};
use crate::{
    kubernetes::api::status::Status,
    objects::{ObjectId, kind::Kind},
};

/// Says, on a bookmark, that all objects that were there at the start were sent (KEP-3157).
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// Its objects.
    pub(super) changes: Vec<Change>,
    /// The version of the whole list.
    pub(super) version: Option<Version>,
    /// Asks for the next page; empty after the last.
    pub(super) next: String,
}

/// An event of a watch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An object is new or was changed.
    Changed(Change),
    /// An object was deleted.
    Deleted(ObjectId, Option<Version>),
    /// Nothing happened up to this version.
    Bookmark {
        /// The version.
        version: Option<Version>,
        /// Whether all objects that were there at the start were sent.
        is_listed: bool,
    },
    /// The server ends the watch.
    Failed(Status),
}

/// What is not as the API would say it.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTheApi {
    /// Not UTF-8.
    #[error("not text: {0}")]
    Text(#[from] std::str::Utf8Error),
    /// Not the JSON that is wanted; so also where it is cut off.
    #[error("not what the API would say: {0}")]
    Json(#[from] serde_json::Error),
    /// An object that is none.
    #[error(transparent)]
    Object(#[from] NoObject),
    /// An event of a type that is not known.
    #[error("an event of the type `{0}`")]
    Type(String),
}

#[derive(Deserialize)]
struct RawPage<'t> {
    #[serde(default)]
    metadata: ListMeta,
    /// Go writes an empty list as null.
    #[serde(borrow)]
    items: Option<Vec<&'t RawValue>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
    #[serde(rename = "continue")]
    next: Option<String>,
}

#[derive(Deserialize)]
struct RawEvent<'t> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'t, str>,
    #[serde(borrow)]
    object: &'t RawValue,
}

#[derive(Deserialize)]
struct Bookmarked {
    metadata: BookmarkMeta,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct BookmarkMeta {
    resource_version: String,
    annotations: Option<BTreeMap<String, String>>,
}

/// Reads a page of a list.
///
/// # Errors
/// When it is cut off, or not what the API would say.
pub(super) fn page(bytes: &[u8], kind: Kind, converter: &Converter) -> Result<Page, NotTheApi> {
    let page: RawPage<'_> = serde_json::from_str(std::str::from_utf8(bytes)?)?;
    let items = page.items.unwrap_or_default();
    let changes = items.into_iter().map(|item| converter.change(kind, item.get()));
    Ok(Page {
        changes: changes.collect::<Result<_, _>>()?,
        version: Version::new(&page.metadata.resource_version),
        next: page.metadata.next.unwrap_or_default(),
    })
}

/// Reads an event of a watch.
///
/// # Errors
/// As [`page`].
pub(super) fn event(bytes: &[u8], kind: Kind, converter: &Converter) -> Result<Event, NotTheApi> {
    let event: RawEvent<'_> = serde_json::from_str(std::str::from_utf8(bytes)?)?;
    let object = event.object.get();
    Ok(match event.kind.as_ref() {
        "ADDED" | "MODIFIED" => Event::Changed(converter.change(kind, object)?),
        "DELETED" => {
            let Change { id, version, .. } = converter.change(kind, object)?;
            Event::Deleted(id, version)
        }
        "BOOKMARK" => bookmark(serde_json::from_str::<Bookmarked>(object)?.metadata),
        "ERROR" => Event::Failed(serde_json::from_str(object)?),
        other => return Err(NotTheApi::Type(crate::objects::words::shown(other))),
    })
}

fn bookmark(metadata: BookmarkMeta) -> Event {
    let annotations = metadata.annotations.unwrap_or_default();
    let is_listed = annotations.get(INITIAL_EVENTS_END).is_some_and(|value| value == "true");
    Event::Bookmark { version: Version::new(&metadata.resource_version), is_listed }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use roadstead_model::SourceName;

    use super::*;

    fn converter() -> Converter {
        Converter::new(&SourceName::new("home"))
    }

    fn read(text: &str) -> Result<Event, NotTheApi> {
        event(text.as_bytes(), Kind::Node, &converter())
    }

    const ADDED: &str = r#"{"type":"ADDED","object":{"kind":"Node","metadata":{"name":"n1","resourceVersion":"5"},"status":{"addresses":[{"type":"InternalIP","address":"192.0.2.5"}]}}}"#;

    #[test]
    fn events_of_every_type() {
        assert!(matches!(read(ADDED), Ok(Event::Changed(change)) if change.kept.is_some()));
        let deleted = read(&ADDED.replace("ADDED", "DELETED")).expect("an event");
        assert_eq!(deleted, Event::Deleted(ObjectId::Node("n1".into()), Version::new("5")));
        let bookmark = |annotations: &str| {
            read(&format!(
                r#"{{"type":"BOOKMARK","object":{{"kind":"Node","metadata":{{"resourceVersion":"9"{annotations}}}}}}}"#
            ))
            .expect("an event")
        };
        let version = Version::new("9");
        assert_eq!(bookmark(""), Event::Bookmark { version: version.clone(), is_listed: false });
        assert_eq!(
            bookmark(r#","annotations":{"k8s.io/initial-events-end":"true"}"#),
            Event::Bookmark { version, is_listed: true }
        );
        let failed = read(
            r#"{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old","details":{"retryAfterSeconds":3}}}"#,
        );
        let Ok(Event::Failed(status)) = failed else { panic!("{failed:?}") };
        assert_eq!((status.code, status.retry_after()), (410, Some(Duration::from_secs(3))));
        assert!(matches!(read(&ADDED.replace("ADDED", "NOVEL")), Err(NotTheApi::Type(_))));
    }

    #[test]
    fn pages_end_when_nothing_asks_for_the_next() {
        let text = r#"{"kind":"NodeList","metadata":{"resourceVersion":"12","continue":"abc"},"items":[{"metadata":{"name":"n1"}},{"metadata":{"name":"n2"}}]}"#;
        let read = page(text.as_bytes(), Kind::Node, &converter()).expect("a page");
        assert_eq!((read.changes.len(), read.next.as_str()), (2, "abc"));
        assert_eq!(read.version, Version::new("12"));
        let empty = r#"{"kind":"NodeList","metadata":{"resourceVersion":"12"},"items":null}"#;
        let read = page(empty.as_bytes(), Kind::Node, &converter()).expect("a page");
        assert_eq!((read.changes.len(), read.next.as_str()), (0, ""));
    }

    #[test]
    fn every_truncation_is_an_error() {
        for end in 0..ADDED.len() {
            let cut = ADDED.get(..end).expect("ASCII");
            assert!(read(cut).is_err(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = event(&bytes, Kind::Service, &converter());
            let _ = page(&bytes, Kind::Service, &converter());
        }

        #[test]
        fn no_mutation_panics(at in 0..ADDED.len(), byte: u8) {
            let mut bytes = ADDED.as_bytes().to_vec();
            bytes[at] = byte;
            let _ = event(&bytes, Kind::Node, &converter());
        }
    }
}
