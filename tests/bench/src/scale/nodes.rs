//! A hundred nodes in one namespace: every address answers on every NodePort, and says which it is.

use std::{
    io::{ErrorKind, IoSlice, IoSliceMut, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsFd, AsRawFd as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result};
use nix::{
    cmsg_space,
    libc::in_pktinfo,
    poll::{PollFd, PollFlags, poll},
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
        sockopt::Ipv4PacketInfo,
    },
};
use roadstead_lab::Host;

/// NodePorts from here on answer as this port …
pub(crate) const FIRST_PORT: u16 = 30_000;
/// … and those from here on as this one.
pub(crate) const OTHER_PORT: u16 = 40_000;
/// kube-proxy's health port.
const HEALTH_PORT: u16 = 10_256;
/// How often a thread looks whether it is still wanted, in milliseconds.
const LOOK: u16 = 100;

/// All NodePorts meet in two: a socket for each of ten thousand would measure the nodes. The flows
/// of probes end soon, so that the tracking table holds.
const RULES: &str = "table ip bench {
    chain in {
        type nat hook prerouting priority dstnat;
        tcp dport 30000-49999 redirect to :30000
        udp dport 30000-39999 dnat to :30000
        udp dport 40000-49999 dnat to :40000
    }
}
";

/// What a node says: the last byte of its address, and whether it was asked on an other port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) node: u8,
    pub(crate) other_port: bool,
}

impl Answer {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let [node, other] = *bytes else { return None };
        Some(Self { node, other_port: other != 0 })
    }
}

/// The nodes at work, until dropped.
#[derive(Debug)]
pub(crate) struct Nodes {
    wanted: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Nodes {
    /// Answers on every IPv4 address of a host.
    pub(crate) fn start(host: &Host) -> Result<Self> {
        host.feed(&["nft", "-f", "-"], RULES)?;
        for timeout in ["udp_timeout", "udp_timeout_stream"] {
            host.sysctl(&format!("net/netfilter/nf_conntrack_{timeout}"), "1")?;
        }
        let wanted = Arc::new(AtomicBool::new(true));
        let threads = host.namespace().enter(|| {
            let (udp, tcp) = (echoes()?, listeners()?);
            let (one, two) = (Arc::clone(&wanted), Arc::clone(&wanted));
            Ok(vec![
                thread::spawn(move || echo(&udp, &one)),
                thread::spawn(move || accept(&tcp, &two)),
            ])
        })?;
        Ok(Self { wanted, threads })
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.wanted.store(false, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// A socket of every address, and whether it is the other port's.
struct Echo {
    socket: UdpSocket,
    other_port: bool,
}

fn echoes() -> Result<Vec<Echo>> {
    let echo = |(port, other_port)| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))
            .with_context(|| format!("cannot listen on port {port}"))?;
        socket.set_nonblocking(true)?;
        setsockopt(&socket, Ipv4PacketInfo, &true)?;
        Ok(Echo { socket, other_port })
    };
    [(FIRST_PORT, false), (OTHER_PORT, true)].into_iter().map(echo).collect()
}

impl Echo {
    /// Answers a datagram from the address that it came to; none when there is none.
    fn answer_one(&self) -> Option<()> {
        let (mut buffer, mut control) = ([0; 64], cmsg_space!(in_pktinfo));
        let mut into = [IoSliceMut::new(&mut buffer)];
        let socket = self.socket.as_raw_fd();
        let flags = MsgFlags::empty();
        let said = recvmsg::<SockaddrIn>(socket, &mut into, Some(&mut control), flags).ok()?;
        let info = said.cmsgs().ok()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info),
            _ => None,
        })?;
        let [_, _, _, node] = info.ipi_addr.s_addr.to_ne_bytes();
        let answer = [node, u8::from(self.other_port)];
        let from =
            in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: info.ipi_addr, ipi_addr: info.ipi_addr };
        let control = [ControlMessage::Ipv4PacketInfo(&from)];
        let answer = [IoSlice::new(&answer)];
        sendmsg(socket, &answer, &control, flags, said.address.as_ref()).ok().map(drop)
    }
}

fn listeners() -> Result<Vec<TcpListener>> {
    let listen = |port| {
        let listener = TcpListener::bind(("0.0.0.0", port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    [FIRST_PORT, HEALTH_PORT].into_iter().map(listen).collect()
}

fn echo(sockets: &[Echo], wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        for ready in ready(sockets.iter().map(|echo| &echo.socket)) {
            let Some(echo) = sockets.get(ready) else { continue };
            while echo.answer_one().is_some() {}
        }
    }
}

fn accept(listeners: &[TcpListener], wanted: &AtomicBool) {
    while wanted.load(Ordering::Relaxed) {
        for ready in ready(listeners) {
            let Some(listener) = listeners.get(ready) else { continue };
            while let Ok((stream, _)) = listener.accept() {
                let health = listener.local_addr().is_ok_and(|at| at.port() == HEALTH_PORT);
                if health {
                    drop(healthy(stream));
                }
            }
        }
    }
}

/// Says 200 to whatever is asked.
fn healthy(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(std::time::Duration::from_millis(LOOK.into())))?;
    let mut request = [0; 1_024];
    match stream.read(&mut request) {
        Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error.into()),
        Ok(_) | Err(_) => {}
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")?;
    Ok(())
}

/// Which of these can be read; none after [`LOOK`].
fn ready<'a, S: AsFd + 'a>(sockets: impl IntoIterator<Item = &'a S>) -> Vec<usize> {
    let mut all: Vec<PollFd<'_>> =
        sockets.into_iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)).collect();
    if !poll(&mut all, LOOK).is_ok_and(|count| count > 0) {
        return Vec::new();
    }
    let readable = all.iter().enumerate().filter(|(_, fd)| fd.any() == Some(true));
    readable.map(|(index, _)| index).collect()
}
