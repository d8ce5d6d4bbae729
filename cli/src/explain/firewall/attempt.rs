//! The tries themselves: packets on a leg, and a tap that sees what becomes of them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::Arc,
    time::Duration,
};

use etherparse::PacketBuilder;
use roadstead_netlink::{Link, Netlink, NetlinkError};
use roadstead_sys::{Tap, packet::OpenError};
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep_until, timeout},
};

use super::{
    question::{Departure, Question},
    ruleset::{End, Way},
    witness::{Lost, Outcome, Witness},
};

/// For how long an answer is awaited. The kernel repeats a question for a MAC address each second
/// (`retrans_time_ms`): one falls into this time.
const WAIT: Duration = Duration::from_millis(1_500);
/// What has passed the leg reaches its socket within this time.
const GRACE: Duration = Duration::from_millis(200);
/// How often an answer is put on a leg until one is seen to leave.
const FRAMES: u32 = 3;
/// Longer than any frame with a TCP header alone.
const FRAME: usize = 2_048;
/// The port of the client that an answer is addressed to: discard (RFC 863).
const DISCARD: u16 = 9;

/// What one try showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// The node that was asked; `None` where an answer to a client was tried.
    pub(super) node: Option<Arc<str>>,
    /// The node's address and port, or the client's.
    pub(super) remote: SocketAddr,
    /// This host's end: the VIP, or as far as it is known.
    pub(super) own: End,
    /// The leg.
    pub(super) leg: String,
    /// The way of the packet that is lost, if one is.
    pub(super) way: Way,
    /// What happened.
    pub(super) outcome: Outcome,
}

/// Why something could not be tried.
#[derive(Debug, thiserror::Error)]
pub(super) enum Obstacle {
    /// No right to packet sockets.
    #[error("run as root (CAP_NET_RAW), `explain` finds out whether this host's firewall is")]
    NotPermitted,
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<OpenError> for Obstacle {
    fn from(error: OpenError) -> Self {
        match &error {
            OpenError::Socket(cause) if cause.kind() == io::ErrorKind::PermissionDenied => {
                Self::NotPermitted
            }
            _ => Self::Other(error.to_string()),
        }
    }
}

impl From<NetlinkError> for Obstacle {
    fn from(error: NetlinkError) -> Self {
        Self::Other(error.to_string())
    }
}

impl From<io::Error> for Obstacle {
    fn from(error: io::Error) -> Self {
        Self::Other(error.to_string())
    }
}

/// Connects to a backend as the router's probe does, and watches the leg meanwhile.
pub(super) async fn ask(netlink: Netlink, question: Question) -> Result<Finding, Obstacle> {
    let Question { node, to } = question;
    let mut finding = Finding {
        node: Some(node),
        remote: to,
        own: (None, None),
        leg: String::new(),
        way: Way::Out,
        outcome: Outcome::Silent,
    };
    let route = match netlink.route_to(to.ip()).await {
        Ok(route) => route,
        Err(error) => {
            finding.outcome = Outcome::Unreachable(error.to_string());
            return Ok(finding);
        }
    };
    let leg = leg(&netlink, |link| link.index == route.ifindex)?;
    let socket = unconnected(to)?;
    finding.own = (route.source, Some(socket.local_addr()?.port()));
    finding.leg = leg.name.to_string();
    let mut tap = tap(&leg, socket.local_addr()?.port())?;
    let next_hop = route.gateway.unwrap_or(to.ip());
    let mut witness = Witness::new(to, next_hop);
    let ended = watch(&mut tap, &mut witness, socket.connect(to)).await?;
    let knows_hop = netlink.tables().borrow().neighbours.contains_key(&(leg.index, next_hop));
    finding.outcome = witness.judge(ended, knows_hop);
    if matches!(finding.outcome, Outcome::Withheld(_)) {
        finding.way = Way::In;
    }
    Ok(finding)
}

/// Not yet connected, its port known: the tap can be told before anything is sent.
fn unconnected(to: SocketAddr) -> io::Result<TcpSocket> {
    let (socket, any) = match to {
        SocketAddr::V4(_) => (TcpSocket::new_v4()?, IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
        SocketAddr::V6(_) => (TcpSocket::new_v6()?, IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
    };
    socket.bind(SocketAddr::new(any, 0))?;
    Ok(socket)
}

/// How the attempt ended; `None` where it did not in time.
async fn watch(
    tap: &mut Tap,
    witness: &mut Witness,
    attempt: impl Future<Output = io::Result<TcpStream>>,
) -> io::Result<Option<io::Result<()>>> {
    let mut frame = [0; FRAME];
    let mut end = Instant::now() + WAIT;
    tokio::pin!(attempt);
    let ended = loop {
        tokio::select! {
            // What the tap saw came first.
            biased;
            seen = tap.recv(&mut frame) => {
                let heard_before = witness.heard();
                witness.see(frame.get(..seen?).unwrap_or_default());
                if witness.heard() && !heard_before {
                    end = end.max(Instant::now() + GRACE);
                }
            }
            done = &mut attempt => break Some(done.and_then(|stream| stream.set_zero_linger())),
            () = sleep_until(end) => break None,
        }
    };
    // The end of the attempt may be told before the frame that brought it.
    while let Ok(seen) = timeout(Duration::ZERO, tap.recv(&mut frame)).await {
        witness.see(frame.get(..seen?).unwrap_or_default());
    }
    Ok(ended)
}

/// Puts an answer of a VIP on its leg, as the load balancer's program does, and looks whether it
/// leaves. It is addressed to the leg's own MAC address: no switch carries that anywhere.
pub(super) async fn depart(netlink: Netlink, departure: Departure) -> Result<Finding, Obstacle> {
    let Departure { from, client, leg: name } = departure;
    let leg = leg(&netlink, |link| link.name == name)?;
    let client = client.map_or_else(|| own_address(&netlink, &leg, from.ip()), Ok)?;
    let to = SocketAddr::new(client, DISCARD);
    let frame = reset(leg.mac.unwrap_or_default(), from, to)?;
    let (sender, mut tap) = (tap(&leg, DISCARD)?, tap(&leg, DISCARD)?);
    let left = leaves(&sender, &mut tap, &frame).await?;
    Ok(Finding {
        node: None,
        remote: to,
        own: (Some(from.ip()), Some(from.port())),
        leg: leg.name.to_string(),
        way: Way::Redirected,
        outcome: if left { Outcome::Silent } else { Outcome::Kept(Lost::Segment) },
    })
}

/// Where no client is asked about: the host's own address of that family on the leg.
fn own_address(netlink: &Netlink, leg: &Link, vip: IpAddr) -> Result<IpAddr, Obstacle> {
    let tables = netlink.tables();
    let tables = tables.borrow();
    let mut addresses = tables.addresses_of(leg.index).map(|address| address.net.addr());
    let none = || Obstacle::Other(format!("{} has no address of the VIP's family", leg.name));
    addresses.find(|address| address.is_ipv4() == vip.is_ipv4()).ok_or_else(none)
}

/// Whether one of a few frames leaves: a queue that is full for a moment may lose one.
async fn leaves(sender: &Tap, tap: &mut Tap, frame: &[u8]) -> io::Result<bool> {
    for _ in 0..FRAMES {
        // Where a hook drops the frame the call may fail: what the tap sees decides.
        drop(sender.send(frame).await);
        if is_seen(tap, frame).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn is_seen(tap: &mut Tap, wanted: &[u8]) -> io::Result<bool> {
    let seeing = async {
        let mut frame = [0; FRAME];
        loop {
            let length = tap.recv(&mut frame).await?;
            if frame.get(..length) == Some(wanted) {
                return Ok(true);
            }
        }
    };
    timeout(WAIT / FRAMES, seeing).await.unwrap_or(Ok(false))
}

/// A reset of a connection that there is not: whoever got it would do nothing.
fn reset(mac: [u8; 6], from: SocketAddr, to: SocketAddr) -> Result<Vec<u8>, Obstacle> {
    let ethernet = PacketBuilder::ethernet2(mac, mac);
    let ip = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => ethernet.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => ethernet.ipv6(from.octets(), to.octets(), 64),
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            return Err(Obstacle::Other(format!("{from} and {to} are of different families")));
        }
    };
    let mut frame = Vec::new();
    let written = ip.tcp(from.port(), to.port(), 0, 0).rst().write(&mut frame, &[]);
    written.map(|()| frame).map_err(|error| Obstacle::Other(error.to_string()))
}

fn leg(netlink: &Netlink, wanted: impl Fn(&Link) -> bool) -> Result<Link, Obstacle> {
    let tables = netlink.tables();
    let tables = tables.borrow();
    let link = tables.links.values().find(|link| wanted(link) && link.mac.is_some());
    match link {
        Some(link) if link.up && link.carrier => Ok(link.clone()),
        Some(link) => Err(Obstacle::Other(format!("{} is down or has no carrier", link.name))),
        None => Err(Obstacle::Other("the way is over no Ethernet interface".to_owned())),
    }
}

fn tap(leg: &Link, port: u16) -> Result<Tap, Obstacle> {
    let none = || Obstacle::Other(format!("{} has no index", leg.name));
    Ok(Tap::open(NonZeroU32::new(leg.index).ok_or_else(none)?, port)?)
}
