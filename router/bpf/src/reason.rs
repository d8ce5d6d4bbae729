//! Why the program drops packets: the list in `c/reasons.h`.

/// A reason to drop a packet, or to answer instead of forwarding it. Its place in [`REASONS`] is
/// its index in the `drops` map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Name in metrics and JSON.
    pub label: &'static str,
    /// One sentence for people.
    pub text: &'static str,
}

/// Every reason, by index.
pub const REASONS: &[Reason] = include!(concat!(env!("OUT_DIR"), "/reasons.rs"));
