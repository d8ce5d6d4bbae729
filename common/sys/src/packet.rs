//! Packet sockets that see the address resolution of one interface, and nothing else.
//!
//! A [`PacketSocket`] is a pair of `AF_PACKET` `SOCK_RAW` sockets, one bound to ARP and one to
//! IPv6. They are not bound to every protocol (`ETH_P_ALL`): such a socket is handed each packet of
//! the interface before the load balancer's program runs, which would cost every packet of every
//! flow; a socket of one protocol sees only what the program passes on. A filter in the kernel
//! keeps what concerns this host and this network:
//!
//! * frames to this host, to a group or to all, never those that this host sends or that belong to
//!   others (`PACKET_HOST`, `PACKET_BROADCAST`, `PACKET_MULTICAST`);
//! * no frame with a VLAN tag: the kernel strips the tag before such a socket sees the frame;
//! * ARP, neighbour solicitations and neighbour advertisements.
//!
//! The sockets survive the interface going down and up again. When the interface is removed they
//! fall silent for ever; whoever watches the interfaces drops them.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    io::{self, Read},
    num::NonZeroU32,
    task::{Context, Poll, ready},
};

use socket2::{Domain, SockFilter, Socket, Type};
use tokio::io::{Interest, unix::AsyncFd};

mod filter;
mod raw;
mod tap;

pub use tap::Tap;

/// EtherType of ARP.
const ETHERTYPE_ARP: u16 = 0x0806;
/// EtherType of IPv4.
const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// Address resolution on one interface, non-blocking.
#[derive(Debug)]
pub struct PacketSocket {
    interface: NonZeroU32,
    arp: AsyncFd<Socket>,
    ipv6: AsyncFd<Socket>,
    /// Which of the two is asked first next time, so that a flood on one leaves the other heard.
    next: Protocol,
    groups: BTreeSet<[u8; 6]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Arp,
    Ipv6,
}

/// Why a packet socket could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The socket itself was refused.
    #[error("could not open a packet socket (the capability CAP_NET_RAW is needed)")]
    Socket(#[source] io::Error),
    /// The filter was refused.
    #[error("could not attach the filter for address resolution")]
    Filter(#[source] io::Error),
    /// The interface is gone, or is none.
    #[error("could not bind to the interface of index {index}")]
    Bind {
        /// Interface index.
        index: NonZeroU32,
        /// The cause.
        source: io::Error,
    },
    /// The runtime refused the file descriptor.
    #[error("could not watch the packet socket")]
    Watch(#[source] io::Error),
}

impl PacketSocket {
    /// Opens both sockets on the interface of this index. Must run within a tokio runtime.
    ///
    /// # Errors
    /// When a socket cannot be made, filtered, bound or watched.
    pub fn open(interface: NonZeroU32) -> Result<Self, OpenError> {
        Ok(Self {
            interface,
            arp: open(interface, ETHERTYPE_ARP, &filter::ARP)?,
            ipv6: open(interface, ETHERTYPE_IPV6, &filter::NEIGHBOUR_DISCOVERY)?,
            next: Protocol::Arp,
            groups: BTreeSet::new(),
        })
    }

    /// The interface index that it was opened on.
    pub fn interface(&self) -> NonZeroU32 {
        self.interface
    }

    /// Receives one frame, Ethernet header included, and gives its length; a longer frame than
    /// `buffer` is cut. Dropping the future loses no frame.
    ///
    /// # Errors
    /// What the kernel reports, except that the interface went down: then the call goes on waiting.
    pub async fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        poll_fn(|context| self.poll_recv(context, buffer)).await
    }

    /// Sends one frame, Ethernet header included, waiting for room. Dropping the future before it
    /// is done leaves the frame unsent.
    ///
    /// # Errors
    /// What the kernel reports: the interface is down or gone, or the frame is too long for it.
    pub async fn send(&self, frame: &[u8]) -> io::Result<()> {
        loop {
            match self.try_send(frame) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    poll_fn(|context| self.poll_writable(context)).await?;
                }
                done => return done,
            }
        }
    }

    /// As [`Self::recv`], for a task that waits on several sockets.
    ///
    /// # Errors
    /// As [`Self::recv`].
    pub fn poll_recv(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        for protocol in [self.next, self.next.other()] {
            if let Poll::Ready(received) = poll_read(self.of(protocol), context, buffer) {
                self.next = protocol.other();
                return Poll::Ready(received);
            }
        }
        Poll::Pending
    }

    /// Sends one frame if there is room at once.
    ///
    /// # Errors
    /// `WouldBlock` where there is no room ([`Self::poll_writable`] tells when there is), and as
    /// [`Self::send`].
    pub fn try_send(&self, frame: &[u8]) -> io::Result<()> {
        // The kernel takes the protocol of a frame from the socket, not from the frame.
        let protocol = match frame.get(12..14) {
            Some([0x08, 0x06]) => Protocol::Arp,
            Some([0x86, 0xdd]) => Protocol::Ipv6,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        self.of(protocol).try_io(Interest::WRITABLE, |socket| socket.send(frame)).map(drop)
    }

    /// Waits until both sockets have room for a frame.
    ///
    /// # Errors
    /// When the runtime is shutting down.
    pub fn poll_writable(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        for socket in [&self.arp, &self.ipv6] {
            ready!(socket.poll_write_ready(context))?.retain_ready();
        }
        Poll::Ready(Ok(()))
    }

    /// Makes the interface receive exactly these Ethernet groups (beside those of the kernel).
    ///
    /// # Errors
    /// When the interface is gone, or its list of groups is full; the groups named before the one
    /// refused are joined, and the call may be repeated.
    pub fn set_groups(&mut self, wanted: &BTreeSet<[u8; 6]>) -> io::Result<()> {
        let stale: Vec<_> = self.groups.difference(wanted).copied().collect();
        for group in stale {
            self.groups.remove(&group);
            raw::leave(self.ipv6.get_ref(), self.interface, group)?;
        }
        let missing: Vec<_> = wanted.difference(&self.groups).copied().collect();
        for group in missing {
            raw::join(self.ipv6.get_ref(), self.interface, group)?;
            self.groups.insert(group);
        }
        Ok(())
    }

    fn of(&self, protocol: Protocol) -> &AsyncFd<Socket> {
        match protocol {
            Protocol::Arp => &self.arp,
            Protocol::Ipv6 => &self.ipv6,
        }
    }
}

impl Protocol {
    fn other(self) -> Self {
        match self {
            Self::Arp => Self::Ipv6,
            Self::Ipv6 => Self::Arp,
        }
    }
}

/// One of the two sockets. It is bound last: an unbound packet socket hears nothing, so no frame
/// slips in before the filter.
fn open(
    interface: NonZeroU32,
    ethertype: u16,
    filter: &[SockFilter],
) -> Result<AsyncFd<Socket>, OpenError> {
    let socket =
        Socket::new(Domain::PACKET, Type::RAW.nonblocking(), None).map_err(OpenError::Socket)?;
    socket.attach_filter(filter).map_err(OpenError::Filter)?;
    raw::bind(&socket, interface, ethertype)
        .map_err(|source| OpenError::Bind { index: interface, source })?;
    raw::watch(socket).map_err(OpenError::Watch)
}

fn poll_read(
    socket: &AsyncFd<Socket>,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    loop {
        let mut guard = ready!(socket.poll_read_ready(context))?;
        match guard.try_io(|socket| socket.get_ref().read(buffer)) {
            // The kernel says once that the interface went down, and hears again when it is up.
            Ok(Err(error)) if error.raw_os_error() == Some(libc::ENETDOWN) => {}
            Ok(received) => return Poll::Ready(received),
            Err(_would_block) => {}
        }
    }
}

#[cfg(test)]
mod tests;
