//! The Ethernet II header that stands before every packet of this crate.

use etherparse::{EtherType, Ethernet2Header, Ethernet2HeaderSlice};

use crate::Mac;

/// Length of the header in octets.
pub(crate) const HEADER: usize = Ethernet2Header::LEN;

/// The three fields of an Ethernet II header.
///
/// ```text
///  0           6           12    14
/// +-----------+-----------+-----+--------
/// |destination|  source   |type | payload
/// +-----------+-----------+-----+--------
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) destination: Mac,
    pub(crate) source: Mac,
    pub(crate) ether_type: EtherType,
}

impl Header {
    /// Splits a frame into header and payload; `None` when it ends within the header.
    pub(crate) fn split(frame: &[u8]) -> Option<(Self, &[u8])> {
        let slice = Ethernet2HeaderSlice::from_slice(frame).ok()?;
        let payload = frame.get(HEADER..)?;
        let header = Self {
            destination: slice.destination().into(),
            source: slice.source().into(),
            ether_type: slice.ether_type(),
        };
        Some((header, payload))
    }

    /// The fourteen octets.
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        Ethernet2Header {
            source: self.source.octets(),
            destination: self.destination.octets(),
            ether_type: self.ether_type,
        }
        .to_bytes()
    }
}
