//! One request over HTTP/1.1, of whose answer nothing but the status is read.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// `HTTP/1.x NNN`: all that is read of an answer.
const STATUS_LINE: usize = 12;

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
    let mut line = [0; STATUS_LINE];
    match stream.read_exact(&mut line).await {
        Ok(_) => Ok(status(&line)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The status of an HTTP/1 status line (RFC 9112 §4).
fn status(line: &[u8; STATUS_LINE]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let (version, status) = line.split_once(' ')?;
    if !matches!(version, "HTTP/1.0" | "HTTP/1.1") {
        return None;
    }
    status.parse().ok()
}
