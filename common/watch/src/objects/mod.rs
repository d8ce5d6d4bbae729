//! The Kubernetes objects that concern Roadstead, from a tree of keys and values to the model: the
//! API's defaults and validation, and many of them put together into a view. One body of rules for
//! every source. Pure: no I/O, no state, no clock.
//!
//! From the inside out: `tree` is what a source makes of its text; `fields` reads it and reports
//! what is wrong; `kind` leads to one reader for each kind; `assemble` puts objects together.

mod annotations;
pub(crate) mod assemble;
mod endpoints;
mod families;
pub(crate) mod fields;
mod health_check;
pub(crate) mod kind;
pub(crate) mod known_fields;
pub(crate) mod metadata;
pub(crate) mod metallb;
mod namespace;
mod node;
mod object;
pub(crate) mod origin;
mod ports;
mod service;
pub(crate) mod tree;
pub(crate) mod words;

pub use metallb::{CommunityName, MetalLbKind, Part};
pub use object::{Content, Item, Object, ObjectId, Slice};
