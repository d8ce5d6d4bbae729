//! The calls that need `unsafe`: those with structures of `linux/if_packet.h`, and the
//! registration with the runtime.
#![expect(
    unsafe_code,
    reason = "neither std nor socket2 wraps sockaddr_ll and packet_mreq; AsyncFd cannot check what it registers"
)]

use std::{io, mem, num::NonZeroU32, os::fd::AsRawFd};

use socket2::Socket;
use tokio::io::unix::AsyncFd;

/// Has the runtime watch a socket.
pub(super) fn watch(socket: Socket) -> io::Result<AsyncFd<Socket>> {
    // SAFETY: `socket` owns an open descriptor, moves into the AsyncFd and is closed only with it;
    // this crate never takes it out and never hands out `&mut Socket`, so the descriptor stays the same.
    Ok(unsafe { AsyncFd::register(socket) }?)
}

/// Binds a packet socket to one interface and one EtherType; from now on it hears.
pub(super) fn bind(socket: &Socket, interface: NonZeroU32, ethertype: u16) -> io::Result<()> {
    let address = libc::sockaddr_ll {
        sll_family: to_u16(libc::AF_PACKET)?,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: index(interface)?,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    // SAFETY: `address` is a live, fully initialised sockaddr_ll and the length given is its size;
    // the kernel only reads it. The descriptor is open for as long as `socket` is borrowed.
    let status = unsafe {
        libc::bind(socket.as_raw_fd(), (&raw const address).cast(), size_of_val(&address))
    };
    check(status)
}

/// Adds an Ethernet group to what the interface receives.
pub(super) fn join(socket: &Socket, interface: NonZeroU32, group: [u8; 6]) -> io::Result<()> {
    membership(socket, libc::PACKET_ADD_MEMBERSHIP, interface, group)
}

/// Takes an Ethernet group away again.
pub(super) fn leave(socket: &Socket, interface: NonZeroU32, group: [u8; 6]) -> io::Result<()> {
    membership(socket, libc::PACKET_DROP_MEMBERSHIP, interface, group)
}

fn membership(
    socket: &Socket,
    option: libc::c_int,
    interface: NonZeroU32,
    [a, b, c, d, e, f]: [u8; 6],
) -> io::Result<()> {
    let request = libc::packet_mreq {
        mr_ifindex: index(interface)?,
        mr_type: to_u16(libc::PACKET_MR_MULTICAST)?,
        mr_alen: 6,
        mr_address: [a, b, c, d, e, f, 0, 0],
    };
    // SAFETY: `request` is a live, fully initialised packet_mreq and the length given is its size;
    // the kernel only reads it. The descriptor is open for as long as `socket` is borrowed.
    let status = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            option,
            (&raw const request).cast(),
            size_of_val(&request),
        )
    };
    check(status)
}

fn index(interface: NonZeroU32) -> io::Result<libc::c_int> {
    interface.get().try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn to_u16(constant: libc::c_int) -> io::Result<u16> {
    constant.try_into().map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// The length of a structure as the calls want it: these are a few octets.
fn size_of_val<T>(value: &T) -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of_val(value)).unwrap_or(0)
}

fn check(status: libc::c_int) -> io::Result<()> {
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
