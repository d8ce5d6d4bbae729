//! Attaching the program to legs. A tcx link (Linux 6.6) needs only the program's descriptor; it is
//! pinned, so that it outlives the router, and it dies with its interface. Before 6.6 a clsact filter
//! does, which needs CAP_NET_ADMIN and stays until it is taken away.

use std::{
    fs, io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use libbpf_rs::{TC_INGRESS, TcHook, TcHookBuilder};
use nix::net::if_::{Interface, if_nameindex};

use crate::{Dataplane, Error, pins::Pins, sys};

/// Place of our filter among others on a clsact hook.
const CLSACT_HANDLE: u32 = 0x7273; // "rs"
const CLSACT_PRIORITY: u32 = 0x7273;

/// Attaches a tc program that is not ours to the ingress of an interface, until the descriptor is
/// dropped: what benchmarks compare with. Linux 6.6.
///
/// # Errors
/// When there is no such interface, or the kernel refuses.
pub fn attach_program(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    sys::attach_tcx(program, ifindex)
}

/// The pinned links with the interfaces that their names say.
pub(crate) fn pinned_links(pins: &Pins) -> Result<Vec<(u32, OwnedFd)>, Error> {
    let refused = |source| Error::Pins { path: pins.links(), source };
    let mut links = Vec::new();
    for entry in fs::read_dir(pins.links()).map_err(refused)? {
        let path = entry.map_err(refused)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let Some(ifindex) = name.and_then(|name| name.parse().ok()) else { continue };
        let link =
            sys::open_pinned(&path).map_err(|source| Error::Open { path: path.clone(), source })?;
        links.push((ifindex, link));
    }
    Ok(links)
}

impl Dataplane {
    /// Attaches the program to the ingress of an interface, if it is not attached. Where an
    /// interface has vanished and another has its index now, it is attached anew.
    ///
    /// # Errors
    /// When there is no such interface, or on a kernel before 6.6 the capability is missing.
    pub fn attach(&self, ifindex: u32) -> Result<(), Error> {
        if self.is_attached(ifindex) {
            return Ok(());
        }
        let path = self.pins.link(ifindex);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                return Err(Error::Pins { path, source });
            }
            _ => {} // a dead link's pin, or none
        }
        match sys::attach_tcx(self.ingress.as_fd(), ifindex) {
            Ok(link) => {
                sys::pin(link.as_fd(), &path).map_err(|source| Error::Pins { path, source })
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => self.attach_clsact(ifindex),
            Err(source) => Err(refused(ifindex, source)),
        }
    }

    /// Whether the program sees the packets that come by an interface.
    pub fn is_attached(&self, ifindex: u32) -> bool {
        let link = sys::open_pinned(&self.pins.link(ifindex));
        link.and_then(|link| sys::link_ifindex(link.as_fd())).is_ok_and(|of| of == ifindex)
            || self.clsact(ifindex).query().is_ok()
    }

    /// The interfaces that the program is attached to.
    ///
    /// # Errors
    /// When the pins cannot be read.
    pub fn attached(&self) -> Result<Vec<u32>, Error> {
        let links = pinned_links(&self.pins)?;
        Ok(links.into_iter().map(|(ifindex, _)| ifindex).filter(|i| self.is_attached(*i)).collect())
    }

    /// Takes the program off an interface.
    ///
    /// # Errors
    /// When the pin may not be removed, or on a kernel before 6.6 the capability is missing.
    pub fn detach(&self, ifindex: u32) -> Result<(), Error> {
        let path = self.pins.link(ifindex);
        match fs::remove_file(&path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.detach_clsact(ifindex),
            Err(source) => Err(Error::Pins { path, source }),
        }
    }

    /// Attaches as kernels before 6.6 do it: a filter with direct action on the clsact qdisc.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or when there is no such interface.
    pub fn attach_clsact(&self, ifindex: u32) -> Result<(), Error> {
        let mut hook = self.clsact(ifindex);
        let attached = hook.create().and_then(|mut hook| hook.attach());
        attached.map(drop).map_err(|source| refused(ifindex, io::Error::other(source)))
    }

    /// Puts the program in the place of the one that an earlier load attached to the clsact qdisc:
    /// one step of the kernel, so that every packet meets one of the two. Returns those legs.
    pub(crate) fn replace_clsact(&self) -> Result<Vec<u32>, Error> {
        let listed =
            if_nameindex().map_err(|errno| Error::kernel("list the interfaces")(errno.into()))?;
        let interfaces = listed.iter().map(Interface::index);
        let attached: Vec<u32> =
            interfaces.filter(|ifindex| self.clsact(*ifindex).query().is_ok()).collect();
        for ifindex in &attached {
            let replaced = self.clsact(*ifindex).attach();
            replaced.map_err(|source| refused(*ifindex, io::Error::other(source)))?;
        }
        Ok(attached)
    }

    fn detach_clsact(&self, ifindex: u32) -> Result<(), Error> {
        let mut hook = self.clsact(ifindex);
        if hook.query().is_err() {
            return Ok(());
        }
        hook.detach().map_err(|source| refused(ifindex, io::Error::other(source)))
    }

    fn clsact(&self, ifindex: u32) -> TcHook {
        TcHookBuilder::new(self.ingress.as_fd())
            .ifindex(ifindex.cast_signed())
            .handle(CLSACT_HANDLE)
            .priority(CLSACT_PRIORITY)
            .replace(true)
            .hook(TC_INGRESS)
    }
}

fn refused(ifindex: u32, source: io::Error) -> Error {
    let advice = match source.raw_os_error() {
        Some(libc::ENODEV) => "there is no such interface (any more)",
        Some(libc::EPERM) => "before Linux 6.6 this needs CAP_NET_ADMIN: run the loader as root",
        _ => "the kernel refused",
    };
    Error::Attach { ifindex, advice, source }
}
