//! The words between health and whoever carries its probes out.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use roadstead_model::{ServiceKey, local::PortClaim, object::HealthCheck};

/// What a verdict is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A node's address.
    Node(IpAddr),
    /// A Service port on a node's address.
    Port(ServiceKey, PortClaim, IpAddr),
    /// The local endpoints of a Service on a node's address.
    Local(ServiceKey, IpAddr),
}

/// One probe to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// For whom: handed back with the outcome.
    pub target: Target,
    /// What to ask.
    pub question: Question,
    /// How long it may take.
    pub timeout: Duration,
    /// How long the host may take to answer at all, by what it has taken before: never more than
    /// `timeout`.
    pub patience: Duration,
}

/// What a probe asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// A TCP connection, closed at once.
    Tcp(SocketAddr),
    /// An empty datagram: nothing within the timeout is a pass, port unreachable is not.
    Udp(SocketAddr),
    /// `GET /healthz`; 200 is a pass.
    Http(SocketAddr),
    /// What the Service says.
    Check(SocketAddr, Arc<HealthCheck>),
}

/// Why a probe failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Failure {
    /// Reset, or port unreachable.
    Refused,
    /// Nothing came back in time.
    TimedOut,
    /// No route, or an ICMP error on the way.
    Unreachable,
    /// An HTTP status other than 200.
    Status(u16),
    /// An answer that is no HTTP.
    Garbled,
    /// The health check of a Service was answered, and not by a pass.
    Check(Unfit),
}

/// What is wrong with the answer to the health check of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unfit {
    /// An HTTP status other than 200 to 399.
    Status(u16),
    /// No HTTP/1.
    NoHttp,
    /// No TLS.
    NoTls,
    /// No gRPC over HTTP/2.
    NoGrpc,
    /// The call failed with this gRPC status.
    Grpc(u32),
    /// A serving status other than SERVING (1).
    NotServing(u32),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the health check ")?;
        match self {
            Self::Status(status) => write!(f, "got HTTP status {status}; 200 to 399 would pass"),
            Self::NoHttp => f.write_str("got something that is not HTTP/1"),
            Self::NoTls => f.write_str("got something that is not TLS"),
            Self::NoGrpc => f.write_str("got something that is not gRPC over HTTP/2"),
            Self::Grpc(12) => f.write_str("got gRPC status 12: grpc.health.v1 is not served there"),
            Self::Grpc(status) => write!(f, "got gRPC status {status}"),
            Self::NotServing(2) => f.write_str("got NOT_SERVING"),
            Self::NotServing(status) => write!(f, "got serving status {status}; 1 would pass"),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Unreachable => f.write_str("unreachable"),
            Self::Status(status) => write!(f, "healthz answered {status}"),
            Self::Garbled => f.write_str("healthz answered something that is not HTTP"),
            Self::Check(unfit) => unfit.fmt(f),
        }
    }
}

impl Target {
    /// The node's address.
    pub fn address(&self) -> IpAddr {
        match self {
            Self::Node(address) | Self::Port(_, _, address) | Self::Local(_, address) => *address,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(address) => write!(f, "node {address}"),
            Self::Port(service, claim, address) => {
                write!(f, "{service} port {}/{} on {address}", claim.port, claim.protocol)
            }
            Self::Local(service, address) => write!(f, "endpoints of {service} on {address}"),
        }
    }
}
