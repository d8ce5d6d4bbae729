//! The loader, the maps and what flows do over time, against the running kernel. Needs root. Each
//! test has a network namespace, a mount namespace and a bpf filesystem of its own.

#[path = "../packets/frame.rs"]
#[expect(dead_code, reason = "shared with the packet tests, which use more of it")]
mod frame;
#[path = "../packets/seen.rs"]
#[expect(dead_code, reason = "shared with the packet tests, which use more of it")]
mod seen;

mod hints;
mod host;
mod lifecycle;
mod maps;
mod older_kernel;
mod ranges;
mod rig;
mod state;
mod sweep;
mod told;
