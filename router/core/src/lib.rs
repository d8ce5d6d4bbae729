//! The router's pure half: what the kernel maps should hold, and how to get there.
//!
//! Everything is a function of its arguments: `now` is passed in, nothing here does I/O.
//!
//! * [`maps`]: what the kernel maps can hold, and the trait that reads and writes them.
//! * [`maglev`]: the tables that spread connections.
//! * [`health`]: verdicts on nodes and backends from probes and passive signals.
//! * [`drain`]: nodes that get no new flows, and until when established ones stay.
//! * [`host`]: what a plan needs to know of this host.
//! * [`plan`]: assignments + snapshot + health + drains + host → wanted maps.
//! * [`diff`]: wanted against installed → ordered operations.

#![forbid(unsafe_code)]

pub mod diff;
pub mod drain;
pub mod health;
pub mod host;
pub mod maglev;
pub mod maps;
pub mod plan;

#[cfg(test)]
mod fixture;
