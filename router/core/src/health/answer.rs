//! What the answers to probes say: bytes from the network → a status, or none. Total; nothing panics.

/// `HTTP/1.x NNN`: all that is read of an answer over HTTP/1.
pub const STATUS_LINE: usize = 12;
/// Before a gRPC message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// The status of an HTTP/1 status line (RFC 9112 §4).
pub fn http_status(line: &[u8; STATUS_LINE]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let (version, status) = line.split_once(' ')?;
    let digits = status.len() == 3 && status.bytes().all(|byte| byte.is_ascii_digit());
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") || !digits {
        return None;
    }
    status.parse().ok()
}

/// The status in a `grpc.health.v1.HealthCheckResponse` with its length before it (gRPC over HTTP/2,
/// "Length-Prefixed-Message"): 1 is SERVING, 0 (UNKNOWN) is what is not written. `None` where the
/// bytes are not one such message.
pub fn serving_status(answer: &[u8]) -> Option<u32> {
    let (head, mut fields) = answer.split_at_checked(PREFIX)?;
    let &[compressed, ref length @ ..] = head else { return None };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    if compressed != 0 || usize::try_from(length) != Ok(fields.len()) {
        return None;
    }
    let mut status = 0;
    while !fields.is_empty() {
        let tag = varint(&mut fields)?;
        // Wire types of Protocol Buffers: varint, 8 bytes, a length and so many bytes, 4 bytes.
        match (tag >> 3, tag & 7) {
            (1, 0) => status = u32::try_from(varint(&mut fields)?).ok()?,
            (_, 0) => drop(varint(&mut fields)?),
            (_, 1) => fields = fields.get(8..)?,
            (_, 2) => {
                let length = usize::try_from(varint(&mut fields)?).ok()?;
                fields = fields.get(length..)?;
            }
            (_, 5) => fields = fields.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

/// A base-128 number of at most ten bytes, taken from the front.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(fields: &[u8]) -> Vec<u8> {
        let length = u32::try_from(fields.len()).unwrap().to_be_bytes();
        [&[0], &length[..], fields].concat()
    }

    #[test]
    fn the_status_is_field_one() {
        let cases: [(&[u8], Option<u32>); 9] = [
            (&[0x08, 1], Some(1)),
            (&[0x08, 2], Some(2)),
            (&[], Some(0)),
            (&[0x08, 0x81, 0x01], Some(129)),
            (&[0x12, 2, 9, 9, 0x08, 1], Some(1)),
            (&[0x15, 1, 2, 3, 4, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x08, 1], Some(1)),
            (&[0x08], None),
            (&[0x12, 0x7f], None),
            (&[0x0b], None),
        ];
        for (fields, expected) in cases {
            assert_eq!(serving_status(&framed(fields)), expected, "{fields:?}");
        }
        assert_eq!(serving_status(&[0, 0, 0, 0]), None, "cut short");
        assert_eq!(serving_status(&[0, 0, 0, 0, 9, 0x08, 1]), None, "a length that is not true");
        assert_eq!(serving_status(&[1, 0, 0, 0, 2, 0x08, 1]), None, "compressed");
    }

    #[test]
    fn a_status_is_three_digits_after_a_version_of_http_1() {
        assert_eq!(http_status(b"HTTP/1.1 200"), Some(200));
        assert_eq!(http_status(b"HTTP/1.0 503"), Some(503));
        for other in
            [b"HTTP/1.1 +20", b"HTTP/1.1 2 0", b"HTTP/2.0 200", b"http/1.1 200", b"HTTP/1.1\t200"]
        {
            assert_eq!(http_status(other), None, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = serving_status(&bytes);
            let _ = serving_status(&framed(&bytes));
            if let Some(line) = bytes.first_chunk() {
                let _ = http_status(line);
            }
        }
    }
}
