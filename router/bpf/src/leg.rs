//! What the kernel knows of an interface, by `ioctl`: needs no capability, and sees the network
//! namespace of the process.
#![expect(unsafe_code, reason = "ioctl takes an untyped union")]

use std::{
    io,
    net::UdpSocket,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use crate::layout::Leg;

/// MAC and MTU of an interface.
pub(crate) fn read(ifindex: u32) -> io::Result<Leg> {
    let socket = any_socket()?;
    let mut request = named(socket.as_fd(), ifindex)?;
    ioctl(socket.as_fd(), libc::SIOCGIFHWADDR, &mut request)?;
    // SAFETY: the kernel has just filled this member.
    let hardware = unsafe { request.ifr_ifru.ifru_hwaddr.sa_data };
    ioctl(socket.as_fd(), libc::SIOCGIFMTU, &mut request)?;
    // SAFETY: the kernel has just filled this member.
    let mtu = unsafe { request.ifr_ifru.ifru_mtu };
    let mut mac = [0; 6];
    for (byte, from) in mac.iter_mut().zip(hardware) {
        *byte = from.cast_unsigned();
    }
    Ok(Leg { ifindex, mtu: u16::try_from(mtu).unwrap_or(u16::MAX), mac })
}

/// A socket is only the handle by which interfaces are asked for.
fn any_socket() -> io::Result<UdpSocket> {
    UdpSocket::bind(("0.0.0.0", 0)).or_else(|_| UdpSocket::bind(("::", 0)))
}

/// A request that names the interface.
fn named(socket: BorrowedFd<'_>, ifindex: u32) -> io::Result<libc::ifreq> {
    // SAFETY: an `ifreq` is plain data, for which zeroes are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_ifru.ifru_ifindex = ifindex.cast_signed();
    ioctl(socket, libc::SIOCGIFNAME, &mut request)?;
    Ok(request)
}

fn ioctl(
    socket: BorrowedFd<'_>,
    number: libc::c_ulong,
    request: &mut libc::ifreq,
) -> io::Result<()> {
    // SAFETY: these requests read and write one `ifreq`.
    match unsafe { libc::ioctl(socket.as_raw_fd(), number, &raw mut *request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
