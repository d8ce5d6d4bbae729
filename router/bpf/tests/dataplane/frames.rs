//! Frames by the packet-test's builders and readers.

#![expect(dead_code, reason = "shared with another test, which uses more of it")]

#[path = "../packets/frame.rs"]
pub(crate) mod frame;
#[path = "../packets/seen.rs"]
pub(crate) mod seen;
