//! `grpc.health.v1.Health/Check` of the whole server: one call over HTTP/2 without TLS.
//!
//! The call and its answer are so small that they are written and read by hand: an empty
//! `HealthCheckRequest`, and a `HealthCheckResponse` with one field. `h2` speaks HTTP/2; what it may
//! keep of a peer that sends without end is bounded below.

use bytes::Bytes;
use h2::{
    RecvStream,
    client::{Builder, SendRequest},
};
use http::{HeaderMap, Request, StatusCode};
use roadstead_router_core::health::Unfit;
use tokio::net::TcpStream;

/// A message with no bytes: not compressed, length 0 (gRPC over HTTP/2, "Length-Prefixed-Message").
const EMPTY_MESSAGE: [u8; 5] = [0; 5];
/// Most bytes of an answer: its status takes seven.
const MAX_ANSWER: usize = 256;
/// Most bytes of the answer's headers and trailers.
const MAX_HEADERS: u32 = 8 << 10;
/// `ServingStatus.SERVING`.
const SERVING: u32 = 1;

/// Asks; an answer of SERVING is a pass.
///
/// # Errors
/// What is wrong with the answer.
pub(super) async fn check(stream: TcpStream, authority: &str) -> Result<(), Unfit> {
    let mut builder = Builder::new();
    builder.enable_push(false).max_header_list_size(MAX_HEADERS).max_send_buffer_size(MAX_ANSWER);
    let handshake = builder.handshake::<_, Bytes>(stream).await;
    let (sender, connection) = handshake.map_err(|_| Unfit::NoGrpc)?;
    let call = call(sender, authority);
    tokio::pin!(call);
    tokio::select! {
        answer = &mut call => return answer,
        // The peer has closed: what it said before that counts.
        _ = connection => {}
    }
    call.await
}

async fn call(sender: SendRequest<Bytes>, authority: &str) -> Result<(), Unfit> {
    let no_grpc = |_| Unfit::NoGrpc;
    let request = Request::post(format!("http://{authority}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", "roadstead")
        .body(())
        .map_err(|_| Unfit::NoGrpc)?;
    let mut sender = sender.ready().await.map_err(no_grpc)?;
    let (response, mut body) = sender.send_request(request, false).map_err(no_grpc)?;
    body.send_data(Bytes::from_static(&EMPTY_MESSAGE), true).map_err(no_grpc)?;
    let (head, mut body) = response.await.map_err(no_grpc)?.into_parts();
    if head.status != StatusCode::OK {
        return Err(Unfit::NoGrpc);
    }
    // An error may come alone, without a message ("Trailers-Only").
    if let Some(status) = grpc_status(&head.headers).filter(|status| *status != 0) {
        return Err(Unfit::Grpc(status));
    }
    let answer = message(&mut body).await?;
    let trailers = body.trailers().await.map_err(no_grpc)?.ok_or(Unfit::NoGrpc)?;
    match grpc_status(&trailers) {
        Some(0) => verdict(&answer),
        Some(status) => Err(Unfit::Grpc(status)),
        None => Err(Unfit::NoGrpc),
    }
}

/// All bytes of the answer.
async fn message(body: &mut RecvStream) -> Result<Vec<u8>, Unfit> {
    let mut answer = Vec::new();
    while let Some(bytes) = body.data().await {
        let bytes = bytes.map_err(|_| Unfit::NoGrpc)?;
        if answer.len() + bytes.len() > MAX_ANSWER {
            return Err(Unfit::NoGrpc);
        }
        answer.extend_from_slice(&bytes);
        // Where the peer has gone there is nothing to give back.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    Ok(answer)
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

fn verdict(answer: &[u8]) -> Result<(), Unfit> {
    match serving_status(answer) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(Unfit::NotServing(status)),
        None => Err(Unfit::NoGrpc),
    }
}

/// Field 1 of the one message in `answer`; 0 (UNKNOWN) where it is not written.
fn serving_status(answer: &[u8]) -> Option<u32> {
    let (head, mut fields) = answer.split_at_checked(EMPTY_MESSAGE.len())?;
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

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_none(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = serving_status(&bytes);
            let _ = serving_status(&framed(&bytes));
        }
    }
}
