//! Which host of a group writes assignments and announces on the segment: one, kept until it dies.
//!
//! * [`election`]: the state machine: heartbeats in, a role out.
//! * [`message`]: what the hosts say to each other: bytes to types and back, nothing else.
//!
//! Each host hears of each other by heartbeats. The first that writes goes on as long as it is heard,
//! whatever its rank; when it is not heard for the time of detection, the host with the newest
//! assignments takes over, the one of the better rank where they are equally new. A *term* counts
//! the take-overs, so that hosts which were apart agree at once on meeting again: the newer term
//! counts, and in one term the better rank.
//!
//! No majority is asked: of two hosts that cannot hear each other both write, as one that is left
//! alone must. That is the price of a group of two that survives the death of either.

pub mod election;
pub mod message;

pub use election::{Election, Heartbeat, Rank, Role, Settings, Standing, Stored, Version};
