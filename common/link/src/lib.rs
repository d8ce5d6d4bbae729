//! The link between the edge hosts of a group: authenticated, encrypted, bounded.
//!
//! ```text
//! host a  ── preamble, Noise NNpsk0 handshake, frames ──▶  host b      one TCP connection a pair
//!         ◀──────────────────────────────────────────────
//! ```
//!
//! | module | owns |
//! |---|---|
//! | [`key`] | the group's key and its file |
//! | [`frame`] | what a connection begins with, and where a frame ends: bytes, nothing else |
//! | [`channel`] | the handshake, sealing and opening: pure, bytes in and bytes out |
//! | [`stream`] | the same over TCP: time limits, both directions at once |
//! | [`listener`] | who may begin a handshake, and how many at once |
//!
//! `Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s` (Noise Protocol Framework, revision 34, sections 7.4 and
//! 9): whoever has the group's key is a member, and nobody else gets a byte out of it or into it. Each
//! connection has keys of its own (forward secrecy), each direction counts its frames: one that is
//! changed, left out, doubled or from another connection ends the link. The first message of a
//! handshake can be replayed; it leads to nothing, since a connection counts only once its initiator
//! has sealed a frame with the keys of this very handshake.
//!
//! What a link carries is not its business. There are two lanes: *urgent* (heartbeats) passes by what
//! waits on *bulk* (assignments).

#![forbid(unsafe_code)]

pub mod channel;
pub mod frame;
pub mod key;
pub mod listener;
pub mod stream;

pub use channel::Lane;
pub use key::Key;
pub use listener::Listener;
pub use stream::{Dial, Link, LinkError};
