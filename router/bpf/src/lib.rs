//! The eBPF dataplane: the programs in `c/`, their loader, pins and typed maps. The only user of
//! libbpf.
//!
//! * [`load()`] is the privileged step: it compiles nothing, creates the maps, pins maps and programs,
//!   and swaps the programs under legs that are attached.
//! * [`Dataplane::open`] opens the pins and needs no capability. It carries out the router's changes
//!   ([`roadstead_router_core::maps::Maps`]), attaches legs, lists and sweeps flows, reads counters
//!   and events.
#![deny(unsafe_op_in_unsafe_fn)]

mod attach;
mod clock;
mod counters;
mod dataplane;
mod error;
mod events;
mod flows;
mod host;
mod layout;
mod leg;
mod load;
mod log;
mod maps;
mod object;
mod pins;
mod reason;
mod settings;
mod sweep;
mod sys;
mod test_run;
mod typed;

pub use attach::attach_program;
pub use counters::{BackendCounters, FrontendCounters};
pub use dataplane::Dataplane;
pub use error::Error;
pub use events::{Event, EventKind, Events};
pub use flows::FlowEntry;
pub use layout::Timeouts;
pub use load::{Loaded, Options, load};
pub use pins::{Pins, SCHEMA};
pub use reason::{REASONS, Reason};
pub use sweep::{Sweeper, Swept};
pub use test_run::TestRun;
