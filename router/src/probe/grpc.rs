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
use roadstead_router_core::health::{Unfit, answer};
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

fn verdict(said: &[u8]) -> Result<(), Unfit> {
    match answer::serving_status(said) {
        Some(SERVING) => Ok(()),
        Some(status) => Err(Unfit::NotServing(status)),
        None => Err(Unfit::NoGrpc),
    }
}
