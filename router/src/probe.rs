//! Carries out one probe. What an outcome means is `roadstead_router_core::health`'s business.

use std::{io, net::SocketAddr, time::Duration};

use roadstead_router_core::health::{Failure, Probe, Question, Target};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// `HTTP/1.x NNN`: all that is read of an answer.
const STATUS_LINE: usize = 12;

/// A probe that was carried out.
#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) target: Target,
    pub(crate) question: Question,
    pub(crate) result: Result<(), Failure>,
}

/// Sends one probe and waits for its outcome, no longer than its timeout. Cancelling closes the
/// socket.
pub(crate) async fn probe(probe: Probe) -> Probed {
    let Probe { target, question, timeout, patience } = probe;
    let result = match question {
        Question::Tcp(to) => connect(to, patience).await.map(drop),
        Question::Udp(to) => udp(to, timeout).await,
        Question::Http(to) => within(timeout, http(to, patience)).await,
    };
    Probed { target, question, result }
}

/// Connects with a socket that is closed by a reset: no TIME_WAIT keeps its port from flows.
async fn connect(to: SocketAddr, patience: Duration) -> Result<TcpStream, Failure> {
    let stream = async {
        let stream = TcpStream::connect(to).await?;
        stream.set_zero_linger()?;
        Ok::<_, io::Error>(stream)
    };
    within(patience, async { stream.await.map_err(|error| failure(&error)) }).await
}

/// UDP has no handshake: silence is a pass, a port that is unreachable is not.
async fn udp(to: SocketAddr, limit: Duration) -> Result<(), Failure> {
    let exchange = async {
        let any: SocketAddr =
            if to.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
        let socket = UdpSocket::bind(any).await?;
        socket.connect(to).await?;
        socket.send(&[]).await?;
        socket.recv(&mut [0; 1]).await.map(drop)
    };
    match within(limit, async { exchange.await.map_err(|error| failure(&error)) }).await {
        Err(Failure::TimedOut) => Ok(()),
        outcome => outcome,
    }
}

async fn http(to: SocketAddr, patience: Duration) -> Result<(), Failure> {
    let mut stream = connect(to, patience).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(|error| failure(&error))?;
    let mut line = [0; STATUS_LINE];
    let status = match stream.read_exact(&mut line).await {
        Ok(_) => status(&line),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
        Err(error) => return Err(failure(&error)),
    };
    match status {
        Some(200) => Ok(()),
        Some(status) => Err(Failure::Status(status)),
        None => Err(Failure::Garbled),
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

async fn within<T>(
    limit: Duration,
    exchange: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    timeout(limit, exchange).await.unwrap_or(Err(Failure::TimedOut))
}

fn failure(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Failure::Refused,
        io::ErrorKind::TimedOut => Failure::TimedOut,
        _ => Failure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(50);

    async fn answer(text: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(text.as_bytes()).await.unwrap();
            let _ = stream.read(&mut [0; 512]).await;
        });
        address
    }

    #[tokio::test]
    async fn an_open_port_passes_and_a_closed_one_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(connect(address, LIMIT).await.is_ok());
        drop(listener);
        assert_eq!(connect(address, LIMIT).await.unwrap_err(), Failure::Refused);
    }

    #[tokio::test]
    async fn health_is_the_status_and_nothing_else() {
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
            ("HTTP/1.0 200 OK\r\n\r\n", Ok(())),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Err(Failure::Status(503))),
            ("HTTP", Err(Failure::Garbled)),
            ("SSH-2.0-OpenSSH\r\n", Err(Failure::Garbled)),
            ("\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}", Err(Failure::Garbled)),
        ];
        for (text, expected) in cases {
            assert_eq!(http(answer(text).await, LIMIT).await, expected, "{text:?}");
        }
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = within(SHORT, http(silent.local_addr().unwrap(), LIMIT)).await;
        assert_eq!(silent, Err(Failure::TimedOut), "the kernel accepts, nobody answers");
    }

    #[tokio::test]
    async fn silence_is_a_pass_for_udp_and_port_unreachable_is_not() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(udp(address, SHORT).await, Ok(()));
        drop(socket);
        assert_eq!(udp(address, LIMIT).await, Err(Failure::Refused));
    }
}
