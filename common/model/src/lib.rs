//! The vocabulary of Roadstead: pure types that every other crate shares.
//!
//! Nothing here does I/O, reads a clock or holds a lock. The types are grouped by subject:
//!
//! * [`key`]: names of sources, Services and nodes, and the small enums of the field.
//! * [`object`]: the Kubernetes objects as the daemons see them, already defaulted and validated.
//! * [`snapshot`]: one immutable view of all sources.
//! * [`advertisement`]: where the addresses of a pool are announced.
//! * [`config`]: the checked configuration (`roadstead-config` makes it from TOML).
//! * [`range`]: ranges of addresses.
//! * [`group`]: several edge hosts that know of each other.
//! * [`local`]: the messages of the daemons' local sockets.
//! * [`flow_filter`]: which flows a person asks for.
//! * [`metallb`]: MetalLB's configuration as it is.
//! * [`special`]: addresses that can be no VIP.
//! * [`problem`]: what is wrong with an input, with file and line.
//! * [`selector`]: label selectors.
//! * [`reason`]: the distinct reasons that a user meets in conditions.
//! * [`report`]: what is to be said on the Services of clusters.

#![forbid(unsafe_code)]

pub mod advertisement;
pub mod config;
pub mod flow_filter;
pub mod group;
pub mod key;
pub mod local;
pub mod metallb;
pub mod object;
pub mod problem;
pub mod range;
pub mod reason;
pub mod report;
pub mod selector;
pub mod snapshot;
pub mod special;

pub use flow_filter::FlowFilter;
pub use key::{Family, NodeKey, Protocol, ServiceKey, SourceName};
pub use problem::{Location, Problem};
pub use range::AddressRange;
pub use snapshot::Snapshot;
