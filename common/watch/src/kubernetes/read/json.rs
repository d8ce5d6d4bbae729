//! JSON text of one object → a tree. What nobody reads and every object has much of is passed over
//! while it is parsed and never takes memory.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::objects::tree::{Entry, Node, Value};

/// Most values (keys, scalars, collections) of one object, each of which takes about 70 bytes
/// meanwhile. An EndpointSlice of 1,000 endpoints has 30,000.
pub(super) const MAX_VALUES: usize = 300_000;

/// The tree of one object.
///
/// # Errors
/// When the text is not JSON, or has more than [`MAX_VALUES`] values.
pub(super) fn tree(text: &str) -> Result<Node<'_>, serde_json::Error> {
    let left = Cell::new(MAX_VALUES);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let node = Seed { place: Place::Object, left: &left }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(node)
}

/// Where in the object a value stands, as far as something there is passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Object,
    Metadata,
    Status,
    Elsewhere,
}

impl Place {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Self::Object, "metadata") => Self::Metadata,
            (Self::Object, "status") => Self::Status,
            _ => Self::Elsewhere,
        }
    }

    /// `managedFields` is longer than the rest of most objects, a Node's images longer still.
    fn passes_over(self, key: &str) -> bool {
        match self {
            Self::Metadata => matches!(key, "managedFields" | "ownerReferences"),
            Self::Status => matches!(key, "images" | "volumesAttached" | "volumesInUse"),
            Self::Object | Self::Elsewhere => false,
        }
    }
}

#[derive(Clone, Copy)]
struct Seed<'c> {
    place: Place,
    left: &'c Cell<usize>,
}

impl Seed<'_> {
    fn count<E: de::Error>(self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ()).ok_or_else(|| E::custom(format!("more than {MAX_VALUES} values")))
    }

    fn node<E: de::Error>(self, value: Value<'_>) -> Result<Node<'_>, E> {
        self.count()?;
        Ok(Node { line: 0, value })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
        self.node(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Self::Value, E> {
        self.node(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        self.node(Value::Integer(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        self.node(i64::try_from(value).map_or(Value::Float(f64::INFINITY), Value::Integer))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Self::Value, E> {
        self.node(Value::Float(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        self.node(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        self.node(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self { place: Place::Elsewhere, ..self })? {
            list.push(item);
        }
        self.node(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key_seed(Key)? {
            self.count()?;
            if self.place.passes_over(&key) {
                entries.next_value::<IgnoredAny>()?;
                continue;
            }
            let place = self.place.below(&key);
            let node = entries.next_value_seed(Self { place, ..self })?;
            map.push(Entry { key, line: 0, node });
        }
        self.node(Value::Map(map))
    }
}

/// A key: text, borrowed where it can be.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys<'n>(node: &'n Node<'_>, path: &[&str]) -> Vec<&'n str> {
        let Value::Map(entries) = &node.value else { panic!("a mapping") };
        match path {
            [] => entries.iter().map(|entry| entry.key.as_ref()).collect(),
            [first, rest @ ..] => {
                let entry = entries.iter().find(|entry| entry.key == *first).expect("the key");
                keys(&entry.node, rest)
            }
        }
    }

    #[test]
    fn what_nobody_reads_is_passed_over_in_its_place_only() {
        let text = r#"{"metadata": {"name": "n1", "managedFields": [{"a": 1}],
            "labels": {"managedFields": "x", "images": "y"}},
            "status": {"images": [1, 2], "addresses": []}, "images": 5}"#;
        let node = tree(text).expect("JSON");
        assert_eq!(keys(&node, &["metadata"]), ["name", "labels"]);
        assert_eq!(keys(&node, &["metadata", "labels"]), ["managedFields", "images"]);
        assert_eq!(keys(&node, &["status"]), ["addresses"]);
        assert_eq!(keys(&node, &[]), ["metadata", "status", "images"]);
    }

    #[test]
    fn too_many_values_and_text_that_goes_on_are_refused() {
        let many = |count: usize| format!("[{}0]", "0,".repeat(count));
        assert!(tree(&many(MAX_VALUES - 2)).is_ok());
        let error = tree(&many(MAX_VALUES)).expect_err("refused").to_string();
        assert!(error.contains("more than 300000 values"), "{error}");
        for wrong in ["", "{", "{}}", "{\"a\": 1", "nul", "\u{0}"] {
            assert!(tree(wrong).is_err(), "{wrong}");
        }
        let deep = "[".repeat(100_000);
        assert!(tree(&deep).is_err());
    }
}
