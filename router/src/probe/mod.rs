//! Carries out one probe. What an outcome means is `roadstead_router_core::health`'s business.

mod grpc;
mod http;
mod tls;

use std::{io, net::SocketAddr, time::Duration};

use roadstead_model::object::{HealthCheck, HealthProtocol};
use roadstead_router_core::health::{Failure, Probe, Question, Target, Unfit};
use tokio::{
    net::{TcpStream, UdpSocket},
    time::timeout,
};

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
        Question::Http(to) => within(timeout, healthz(to, patience)).await,
        Question::Check(to, ref wanted) => within(timeout, check(to, wanted, patience)).await,
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

/// kube-proxy's health ports.
async fn healthz(to: SocketAddr, patience: Duration) -> Result<(), Failure> {
    let mut stream = connect(to, patience).await?;
    let status = http::get(&mut stream, "/healthz", &to.to_string()).await;
    match status.map_err(|error| failure(&error))? {
        Some(200) => Ok(()),
        Some(status) => Err(Failure::Status(status)),
        None => Err(Failure::Garbled),
    }
}

/// The health check that a Service names. Once the host has accepted the connection, whatever goes
/// wrong is the answer's fault.
async fn check(to: SocketAddr, check: &HealthCheck, patience: Duration) -> Result<(), Failure> {
    let mut stream = connect(to, patience).await?;
    let authority = authority(check.host.as_deref(), to);
    let passed = match check.protocol {
        HealthProtocol::Http => judged(http::get(&mut stream, &check.path, &authority).await),
        HealthProtocol::Https => {
            match tls::handshake(stream, check.host.as_deref(), to.ip()).await {
                Ok(mut stream) => judged(http::get(&mut stream, &check.path, &authority).await),
                Err(_) => Err(Unfit::NoTls),
            }
        }
        HealthProtocol::Grpc => grpc::check(stream, &authority).await,
    };
    passed.map_err(Failure::Check)
}

fn judged(status: io::Result<Option<u16>>) -> Result<(), Unfit> {
    match status {
        Ok(Some(200..=399)) => Ok(()),
        Ok(Some(status)) => Err(Unfit::Status(status)),
        Ok(None) | Err(_) => Err(Unfit::NoHttp),
    }
}

/// What a request names as its host (RFC 9110 §7.2): an IPv6 address stands in brackets.
fn authority(host: Option<&str>, to: SocketAddr) -> String {
    match host {
        None => to.to_string(),
        Some(host) if host.contains(':') => format!("[{host}]"),
        Some(host) => host.to_owned(),
    }
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
mod tests;
