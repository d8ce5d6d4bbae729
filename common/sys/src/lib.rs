//! The few system calls that std, socket2 and tokio do not wrap, behind safe interfaces.
//!
//! This crate and `roadstead-router-bpf` are the only ones that may use `unsafe`; each block says
//! why it is sound. Nothing here decides anything: protocols live in the cores.
//!
//! * [`packet`]: packet sockets for address resolution on one interface, and one that watches a
//!   single TCP connection pass it.

pub mod packet;

pub use packet::{PacketSocket, Tap};
