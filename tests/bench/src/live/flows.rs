//! Flows that were really made: open connections, and datagrams that were answered.

use std::{
    net::{SocketAddr, TcpStream, UdpSocket},
    ops::Range,
    os::fd::AsRawFd,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, socket};

use roadstead_lab::eventually;

use crate::traffic::rig::{Family, Rig};

const ANSWERED: Duration = Duration::from_secs(2);
const SERVED: Duration = Duration::from_secs(10);

/// Open sockets of the client; closing them ends the flows.
#[derive(Debug)]
pub(super) struct Flows {
    _tcp: Vec<TcpStream>,
    _udp: Vec<UdpSocket>,
}

impl Flows {
    /// Opens a flow from each of these ports, over both families and both protocols.
    pub(super) fn open(rig: &Rig, ports: Range<u16>) -> Result<Self> {
        let (mut tcp, mut udp) = (Vec::new(), Vec::new());
        for family in Family::ALL {
            let client = family.address_of(rig.client()?)?;
            let (web, dns) = (rig.web(family)?, rig.udp(family)?);
            let any = SocketAddr::new(client, 0);
            eventually("datagrams are answered", SERVED, || {
                rig.client()?.namespace().enter(|| exchange(any, dns)).map(drop)
            })?;
            for port in ports.clone() {
                let from = SocketAddr::new(client, port);
                let open = || Ok((connection(from, web)?, exchange(from, dns)?));
                let (one, other) = rig.client()?.namespace().enter(open)?;
                tcp.push(one);
                udp.push(other);
            }
        }
        Ok(Self { _tcp: tcp, _udp: udp })
    }
}

fn connection(from: SocketAddr, to: SocketAddr) -> Result<TcpStream> {
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrStorage::from(from)).with_context(|| from.to_string())?;
    connect(socket.as_raw_fd(), &SockaddrStorage::from(to)).with_context(|| to.to_string())?;
    Ok(socket.into())
}

fn exchange(from: SocketAddr, to: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind(from)?;
    socket.set_read_timeout(Some(ANSWERED))?;
    socket.connect(to)?;
    socket.send(b"?")?;
    let length = socket.recv(&mut [0; 8]).with_context(|| format!("no answer from {to}"))?;
    ensure!(length == 1, "{to} answered {length} octets");
    Ok(socket)
}
