//! What a connection begins with, and where a frame ends.
//!
//! ```text
//!  0       4       6
//! +-------+-------+        preamble, sent by both sides at once, and part of the handshake's
//! | RSLK  |version|        prologue: nobody can change it unseen
//! +-------+-------+
//! +-------+------------------+
//! |length | length bytes     |   frame: a message of Noise; lengths are in network byte order
//! +-------+------------------+
//! ```

use bytes::{Buf, BytesMut};

/// Bytes of a preamble.
pub const PREAMBLE: usize = 6;
/// The version that this code speaks, the only one that it understands.
pub const VERSION: u16 = 1;
/// Longest message of Noise (section 3 of its specification).
pub const FRAME_MAX: usize = 65_535;
/// Bytes of the length.
const HEAD: usize = 2;
const MAGIC: [u8; 4] = *b"RSLK";

/// Why a connection is no link of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreambleError {
    /// Something else speaks here.
    #[error(
        "it does not speak the protocol of a Roadstead group: is another service on that port?"
    )]
    Stranger,
    /// Another release.
    #[error(
        "it speaks version {0} of the group's protocol, this host version {VERSION}: run the same release on every host"
    )]
    Version(u16),
}

/// What this side sends first.
pub fn preamble() -> [u8; PREAMBLE] {
    let [m0, m1, m2, m3] = MAGIC;
    let [high, low] = VERSION.to_be_bytes();
    [m0, m1, m2, m3, high, low]
}

/// Whether the other side speaks as we do.
///
/// # Errors
/// What it is instead.
pub fn check_preamble(theirs: [u8; PREAMBLE]) -> Result<(), PreambleError> {
    let [m0, m1, m2, m3, high, low] = theirs;
    match u16::from_be_bytes([high, low]) {
        _ if [m0, m1, m2, m3] != MAGIC => Err(PreambleError::Stranger),
        VERSION => Ok(()),
        other => Err(PreambleError::Version(other)),
    }
}

/// Takes the first whole frame out of what was received; `None` where more is needed.
pub fn take(received: &mut BytesMut) -> Option<BytesMut> {
    let (head, rest) = received.split_first_chunk::<HEAD>()?;
    let length = usize::from(u16::from_be_bytes(*head));
    if rest.len() < length {
        return None;
    }
    received.advance(HEAD);
    Some(received.split_to(length))
}

/// Appends a frame around `message`, which has at most [`FRAME_MAX`] bytes: what is longer is cut, and
/// no message of Noise is.
pub fn put(message: &[u8], out: &mut Vec<u8>) {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    out.extend(length.to_be_bytes());
    out.extend(message.iter().take(usize::from(length)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_preamble_is_ours_another_version_or_a_stranger() {
        assert_eq!(check_preamble(preamble()), Ok(()));
        assert_eq!(check_preamble(*b"RSLK\x00\x02"), Err(PreambleError::Version(2)));
        assert_eq!(check_preamble(*b"GET / "), Err(PreambleError::Stranger));
    }

    proptest! {
        /// However the bytes come, the same frames come out, and nothing before its last byte.
        #[test]
        fn frames_come_out_as_they_went_in(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
            step in 1_usize..50,
        ) {
            let mut wire = Vec::new();
            messages.iter().for_each(|message| put(message, &mut wire));
            let (mut received, mut frames) = (BytesMut::new(), Vec::new());
            for chunk in wire.chunks(step) {
                received.extend_from_slice(chunk);
                while let Some(frame) = take(&mut received) {
                    frames.push(frame.to_vec());
                }
            }
            prop_assert_eq!(frames, messages);
            prop_assert!(received.is_empty());
        }
    }
}
