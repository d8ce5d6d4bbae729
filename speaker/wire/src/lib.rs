//! Bytes on the wire and the types they stand for.
//!
//! Every parser is total: any bytes yield a value or a typed error, never a panic, and a value
//! holds only what the standard's checks let pass. Every emitter is exact: it writes the one form
//! that the standard asks for. Nothing here does I/O, reads a clock or keeps state.
//!
//! * [`Frame`]: what an announcer's packet socket may receive, by EtherType.
//! * [`arp`]: RFC 826 over Ethernet, in the forms of RFC 5227.
//! * [`ndp`]: neighbour solicitations and advertisements of RFC 4861, with the nonce of RFC 7527.
//! * [`mld`]: the MLDv2 report (RFC 3810) that makes snooping switches forward solicitations.
//!
//! Frames carry no VLAN tag here: a tagged frame belongs to another network and is refused by name.

#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]

pub mod arp;
mod ethernet;
mod frame;
mod icmpv6;
mod mac;
pub mod mld;
pub mod ndp;

pub use arp::Arp;
pub use frame::{Frame, FrameError};
pub use mac::Mac;
pub use ndp::{Advertisement, Nonce, Solicitation};
