//! A tap on one interface that sees a single TCP connection pass.

use std::{future::poll_fn, io, num::NonZeroU32};

use socket2::Socket;
use tokio::io::{Interest, unix::AsyncFd};

use super::{OpenError, filter, open, poll_read};

/// `ETH_P_ALL` (linux/if_ether.h): every protocol, both directions.
const EVERY_PROTOCOL: u16 = 0x0003;

/// Sees the TCP segments from and to one port, and the ARP and neighbour discovery of every host,
/// as they pass an interface in either direction; those that it sends itself excepted.
///
/// What leaves is seen behind everything that may hold it back (netfilter's `output` and netdev
/// `egress` hooks, traffic control), what arrives before everything that may keep it from its
/// socket: so it tells apart what this host drops and what is lost elsewhere. The kernel asks such
/// a socket about each packet of the interface, so keep it for seconds, not for the life of a
/// daemon.
#[derive(Debug)]
pub struct Tap {
    socket: AsyncFd<Socket>,
}

impl Tap {
    /// Taps the interface of this index for the TCP port. Must run within a tokio runtime.
    ///
    /// # Errors
    /// When the socket cannot be made, filtered, bound or watched.
    pub fn open(interface: NonZeroU32, port: u16) -> Result<Self, OpenError> {
        let filter = filter::tcp_port_and_resolution(port);
        Ok(Self { socket: open(interface, EVERY_PROTOCOL, &filter)? })
    }

    /// Receives one frame, Ethernet header included, and gives its length; a longer frame than
    /// `buffer` is cut. Dropping the future loses no frame.
    ///
    /// # Errors
    /// What the kernel reports, except that the interface went down: then the call goes on waiting.
    pub async fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| poll_read(&self.socket, context, buffer)).await
    }

    /// Sends one frame, Ethernet header included; it passes traffic control and netfilter's
    /// `egress` hook, as a packet does that the load balancer's program redirects.
    ///
    /// # Errors
    /// What the kernel reports: the interface is down or gone, or a hook refuses the frame.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.async_io(Interest::WRITABLE, |socket| socket.send(frame)).await.map(drop)
    }
}
