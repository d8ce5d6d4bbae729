//! YAML and JSON text → trees that know the line of every key and value.
//!
//! Both go through one parser (JSON is a subset of YAML), so that both have lines, budgets and
//! the refusal of duplicate keys. What nobody reads and everybody has (`managedFields`) is
//! passed over while it is parsed and never takes memory.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{self, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::Spanned;

use crate::objects::tree::{Entry, Node, Value};

/// Deepest nesting of lists and mappings; a Pod template has about 15.
const MAX_DEPTH: usize = 48;
/// Most values (keys, scalars, collections) that are parsed at once: in one document, or in the
/// file where its documents cannot be told apart. Each takes at most 70 bytes meanwhile; 5,000
/// Services as `kubectl` prints them have 700,000.
const MAX_NODES: usize = 750_000;
/// Most documents in one file.
const MAX_DOCUMENTS: usize = 20_000;
/// Most `*alias` uses in one file, and most values that they may copy.
const MAX_ALIASES: usize = 1_000;
const MAX_ALIASED_NODES: usize = 50_000;

/// A key whose value no part of Roadstead reads and that is longer than the rest of its object.
const PASSED_OVER: &str = "managedFields";

/// Text that is not YAML, or more of it than the budget allows.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct SyntaxError {
    /// From 1; 0 where the parser does not say.
    pub(super) line: usize,
    /// What is wrong.
    pub(super) message: String,
}

/// Every document of a text that is not empty.
///
/// # Errors
/// When the text is not YAML (so also when a key is there twice), or exceeds a budget.
pub(super) fn documents(text: &str) -> Result<Vec<Node<'_>>, SyntaxError> {
    serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| syntax_error(&error))
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: MAX_NODES.saturating_mul(2),
            max_documents: MAX_DOCUMENTS,
            max_aliases: MAX_ALIASES,
            max_anchors: MAX_ALIASES,
            max_merge_keys: MAX_ALIASES,
            max_recorded_anchor_events: MAX_NODES,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_ALIASED_NODES },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        emit_comments: false,
        with_snippet: false,
    }
}

fn syntax_error(error: &serde_saphyr::Error) -> SyntaxError {
    let line = error.location().map_or(0, |place| line_of(&place));
    SyntaxError { line, message: message_of(error) }
}

/// The parser's words without the place, which every problem names in its own form.
fn message_of(error: &serde_saphyr::Error) -> String {
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return format!("the key `{key}` is there twice; one is right");
    }
    if matches!(error, serde_saphyr::Error::Budget { .. }) {
        return format!(
            "it holds more than is read at once (at most {MAX_NODES} values, {MAX_DOCUMENTS} documents, {MAX_DEPTH} levels, {MAX_ALIASES} aliases); split it"
        );
    }
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let what = first.split(" at line ").next().unwrap_or(first);
    format!("{what}; check indentation, colons and quotes of this line and of the one before")
}

fn line_of(place: &serde_saphyr::Location) -> usize {
    usize::try_from(place.line()).unwrap_or(0)
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value<'de>>::deserialize(deserializer)?;
        Ok(Self { line: line_of(&spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<Self::Value, D::Error> {
        Value::deserialize(inner)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(f64::INFINITY), Value::Integer))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Value::Text(Cow::Owned(text)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        list.shrink_to_fit();
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<Key<'de>>>()? {
            let line = line_of(&key.referenced);
            let key = key.value.0;
            let node = if key == PASSED_OVER {
                entries.next_value::<IgnoredAny>()?;
                Node { line, value: Value::Null }
            } else {
                entries.next_value()?
            };
            map.push(Entry { key, line, node });
        }
        // Most have few entries, and there may be very many of them.
        map.shrink_to_fit();
        Ok(Value::Map(map))
    }
}

/// A key: text, borrowed where it can be.
struct Key<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = Key<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(text.to_owned())))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Key(Cow::Owned(text)))
    }
}
