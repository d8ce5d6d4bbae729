//! The local socket: HTTP/1.1 with JSON over a Unix socket, one per daemon.
//!
//! Who may connect is the file's business (mode 0660, group of the daemon); who may change
//! something is asked of the kernel: a `POST` needs root or the daemon's own user (SO_PEERCRED).

mod client;
mod follow;
mod server;

pub use client::{Client, ClientError};
pub use follow::follow;
pub use server::{Answer, Call, Server, ServerError};

#[cfg(test)]
mod tests;
