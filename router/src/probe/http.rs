//! One request over HTTP/1.1, of whose answer nothing but the status is read.

use std::io;

use roadstead_router_core::health::answer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Asks for a path; the status, or `None` where the answer is no HTTP/1.
///
/// # Errors
/// When the connection fails.
pub(super) async fn get(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
    host: &str,
) -> io::Result<Option<u16>> {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: roadstead\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    stream.flush().await?;
    let mut line = [0; answer::STATUS_LINE];
    match stream.read_exact(&mut line).await {
        Ok(_) => Ok(answer::http_status(&line)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}
