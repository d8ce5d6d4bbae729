//! The speaker's pure half: no I/O, no clock, no random source; `now` is an argument.
//!
//! * [`gate`]: when an address may be answered for, and when it may be given back (S3, S5).
//! * [`group`]: which of several hosts writes assignments.
//! * [`ipam`]: which Service holds which address, and why not.
//! * [`l2`]: announcing addresses by ARP and NDP.

#![forbid(unsafe_code)]

pub mod gate;
pub mod group;
pub mod ipam;
pub mod l2;
