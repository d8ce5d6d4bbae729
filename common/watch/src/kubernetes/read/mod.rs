//! What a cluster has, and what is believed of that.
//!
//! ```text
//! resource ─▶ request ─▶ API server ─▶ decode ─▶ json ─▶ convert ─▶ Change ─▶ reflector ─ News ─▶ state
//!                                                          └ observed: what of ours is on a Service
//! ```
//!
//! `json` makes trees of text, `convert` objects of trees (by the rules that manifests follow too) with
//! what is `observed` on them, `decode` reads pages and events; `reflector` follows one kind, from a
//! `version` on; `state` (pure) decides what is believed of the `news`.

mod convert;
mod decode;
mod json;
mod news;
pub(super) mod observed;
mod reflector;
mod request;
pub(super) mod resource;
mod state;
mod version;

pub(super) use convert::{Change, Converter};
pub(super) use news::News;
pub(super) use reflector::Reflector;
pub(super) use state::State;
