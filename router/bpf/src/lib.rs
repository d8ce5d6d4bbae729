//! The eBPF dataplane: the programs in `c/`, their loader, pins and typed maps. The only user of
//! libbpf.
#![deny(unsafe_op_in_unsafe_fn)]

mod reason;

pub use reason::{REASONS, Reason};
