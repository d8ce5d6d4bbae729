//! The process shell that the daemons share: logging, signals, readiness, metrics, the local
//! socket, sd_notify, state on disk, and the lock that keeps a second copy out.
//!
//! Nothing here knows what a daemon does. Nothing here spawns a task in a constructor: every
//! `serve` or `run` is a future that its caller owns, and dropping that future stops it.

#![forbid(unsafe_code)]

pub mod http;
pub mod local;
pub mod lock;
pub mod log;
pub mod notify;
pub mod pools;
pub mod process;
pub mod publish;
pub mod ready;
mod reload;
pub mod signals;
pub mod state;
pub mod words;

pub use reload::{NoSuchInterface, interfaces_exist, reload};

/// The version of the workspace, printed by `--version`, `version` and status.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
