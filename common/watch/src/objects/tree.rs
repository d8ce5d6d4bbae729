//! An object as a tree of keys and values, each with its line where it came from a file. What makes
//! it of YAML and of JSON is each source's own.

use std::borrow::Cow;

/// A value with the line on which it starts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node<'t> {
    /// From 1; 0 where there are no lines.
    pub(crate) line: usize,
    /// What is there.
    pub(crate) value: Value<'t>,
}

/// A value of YAML or JSON.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'t> {
    /// `null`, `~` or nothing; also what is passed over.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// Text, quoted or plain.
    Text(Cow<'t, str>),
    /// A list.
    List(Vec<Node<'t>>),
    /// A mapping, in the order of the file; no key twice.
    Map(Vec<Entry<'t>>),
}

/// One key of a mapping.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry<'t> {
    /// The key.
    pub(crate) key: Cow<'t, str>,
    /// The line of the key.
    pub(crate) line: usize,
    /// The value.
    pub(crate) node: Node<'t>,
}

impl Value<'_> {
    /// The value's type, as a user would call it.
    pub(crate) fn described(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}
