//! The system calls that libbpf-rs does not offer on a bare file descriptor. All of this crate's
//! `unsafe` is here and in `layout`.
#![expect(unsafe_code, reason = "the kernel is called with pointers and lengths")]

use std::{
    ffi::{CString, c_void},
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    ptr::NonNull,
};

use libbpf_sys as raw;

/// The result of a libbpf call: negative is an error number.
fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other)
}

/// Opens a pinned object.
pub(crate) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path is a string that outlives the call.
    let fd = check(unsafe { raw::bpf_obj_get(path.as_ptr()) })?;
    // SAFETY: the call made this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Pins an object.
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the path is a string that outlives the call.
    check(unsafe { raw::bpf_obj_pin(fd.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// Attaches a program to the ingress of an interface (tcx). Needs no capability, only the program.
pub(crate) fn attach_tcx(program: BorrowedFd<'_>, ifindex: u32) -> io::Result<OwnedFd> {
    link_create(program, ifindex.cast_signed(), raw::BPF_TCX_INGRESS)
}

/// Attaches a program to a cgroup, beside those that are there.
pub(crate) fn attach_cgroup(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    kind: raw::bpf_attach_type,
) -> io::Result<OwnedFd> {
    link_create(program, cgroup.as_raw_fd(), kind)
}

/// What the kernel calls the network namespace of this thread; never 0.
pub(crate) fn netns_cookie() -> io::Result<u64> {
    let socket = std::os::unix::net::UnixDatagram::unbound()?;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).map_err(io::Error::other)?;
    // SAFETY: `cookie` is as large as `length` says and outlives the call.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(cookie) } else { Err(io::Error::last_os_error()) }
}

/// include/uapi/asm-generic/socket.h, since Linux 5.14.
const SO_NETNS_COOKIE: i32 = 71;

fn link_create(
    program: BorrowedFd<'_>,
    target: i32,
    kind: raw::bpf_attach_type,
) -> io::Result<OwnedFd> {
    // SAFETY: no options are passed, the descriptors are open.
    let fd = check(unsafe {
        raw::bpf_link_create(program.as_raw_fd(), target, kind, std::ptr::null())
    })?;
    // SAFETY: the call made this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Puts another program in the place of a link's, between two packets.
pub(crate) fn update_link(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: no options are passed, the descriptors are open.
    check(unsafe { raw::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) })
        .map(drop)
}

/// What the kernel tells of a link to an interface: the interface, 0 once that is gone.
pub(crate) fn link_ifindex(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = raw::bpf_link_info::default();
    let mut length = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    // SAFETY: `info` is as large as `length` says and outlives the call.
    check(unsafe {
        raw::bpf_obj_get_info_by_fd(link.as_raw_fd(), (&raw mut info).cast(), &raw mut length)
    })?;
    // SAFETY: the kernel fills this member for tcx links, and zeroes are valid in any case.
    Ok(unsafe { info.__bindgen_anon_1.tcx.ifindex })
}

/// Reads one element. `value` is as long as the map's values (times the processors for per-processor
/// maps). Returns false where there is no such key.
pub(crate) fn lookup(map: BorrowedFd<'_>, key: &[u8], value: &mut [u8]) -> io::Result<bool> {
    // SAFETY: the typed maps pass buffers of the map's sizes, checked when they are opened.
    let result = unsafe {
        raw::bpf_map_lookup_elem(map.as_raw_fd(), key.as_ptr().cast(), value.as_mut_ptr().cast())
    };
    match check(result) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes one element.
pub(crate) fn update(map: BorrowedFd<'_>, key: &[u8], value: &[u8]) -> io::Result<()> {
    // SAFETY: the typed maps pass buffers of the map's sizes, checked when they are opened.
    check(unsafe {
        raw::bpf_map_update_elem(map.as_raw_fd(), key.as_ptr().cast(), value.as_ptr().cast(), 0)
    })
    .map(drop)
}

/// Writes many elements in one call: as many as there are whole keys and values.
pub(crate) fn update_batch(
    map: BorrowedFd<'_>,
    (keys, key_size): (&[u8], usize),
    (values, value_size): (&[u8], usize),
) -> io::Result<()> {
    let whole = (keys.len() / key_size).min(values.len() / value_size);
    let mut count = u32::try_from(whole).map_err(io::Error::other)?;
    let options = raw::bpf_map_batch_opts {
        sz: size_of::<raw::bpf_map_batch_opts>() as raw::size_t,
        ..Default::default()
    };
    // SAFETY: `count` keys and values are there; the kernel only reads them.
    check(unsafe {
        raw::bpf_map_update_batch(
            map.as_raw_fd(),
            keys.as_ptr().cast::<c_void>(),
            values.as_ptr().cast::<c_void>(),
            &raw mut count,
            &raw const options,
        )
    })
    .map(drop)
}

/// Deletes one element. Returns false where there was none.
pub(crate) fn delete(map: BorrowedFd<'_>, key: &[u8]) -> io::Result<bool> {
    // SAFETY: the typed maps pass buffers of the map's sizes, checked when they are opened.
    match check(unsafe { raw::bpf_map_delete_elem(map.as_raw_fd(), key.as_ptr().cast()) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Where a walk over a map stands: opaque to us, as long as the map's key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position(Option<Vec<u8>>);

/// The outcome of one batch.
pub(crate) enum Batch {
    /// So many elements were read; more may follow.
    Some(usize),
    /// So many elements were read; these were the last.
    Last(usize),
    /// One bucket holds more than the buffers: try again with larger ones.
    TooSmall,
}

/// Reads many elements in one call and moves the position on.
pub(crate) fn lookup_batch(
    map: BorrowedFd<'_>,
    position: &mut Position,
    (keys, key_size): (&mut [u8], usize),
    (values, value_size): (&mut [u8], usize),
) -> io::Result<Batch> {
    let room = (keys.len() / key_size).min(values.len() / value_size);
    let mut count = u32::try_from(room).map_err(io::Error::other)?;
    let before =
        position.0.as_mut().map_or(std::ptr::null_mut(), |token| token.as_mut_ptr().cast());
    let mut after = vec![0_u8; key_size.max(4)];
    let options = raw::bpf_map_batch_opts {
        sz: size_of::<raw::bpf_map_batch_opts>() as raw::size_t,
        ..Default::default()
    };
    // SAFETY: `count` elements fit the buffers; the tokens are as long as a key, at least 4 bytes,
    // which is what the kernel writes.
    let result = unsafe {
        raw::bpf_map_lookup_batch(
            map.as_raw_fd(),
            before,
            after.as_mut_ptr().cast::<c_void>(),
            keys.as_mut_ptr().cast::<c_void>(),
            values.as_mut_ptr().cast::<c_void>(),
            &raw mut count,
            &raw const options,
        )
    };
    let read = usize::try_from(count).map_err(io::Error::other)?;
    match check(result) {
        Ok(_) => {
            position.0 = Some(after);
            Ok(Batch::Some(read))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            position.0 = None;
            Ok(Batch::Last(read))
        }
        Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => Ok(Batch::TooSmall),
        Err(error) => Err(error),
    }
}

/// What one test run made of its input.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) value: u32,
    pub(crate) data: usize,
    pub(crate) nanoseconds: u32,
}

/// Runs a program (`BPF_PROG_TEST_RUN`) on a packet or, for a system call program, on a context
/// that it may change.
pub(crate) fn test_run(
    program: BorrowedFd<'_>,
    packet: Option<(&[u8], &mut [u8])>,
    context: &mut [u8],
    repeat: u32,
) -> io::Result<Ran> {
    let length = |bytes: usize| u32::try_from(bytes).map_err(io::Error::other);
    let mut options = raw::bpf_test_run_opts {
        sz: size_of::<raw::bpf_test_run_opts>() as raw::size_t,
        ctx_in: context.as_mut_ptr().cast_const().cast(),
        ctx_size_in: length(context.len())?,
        ..Default::default()
    };
    if let Some((input, output)) = packet {
        options.data_in = input.as_ptr().cast();
        options.data_size_in = length(input.len())?;
        options.data_out = output.as_mut_ptr().cast();
        options.data_size_out = length(output.len())?;
        options.repeat = repeat.cast_signed();
    }
    // SAFETY: every pointer is paired with its length and outlives the call.
    check(unsafe { raw::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) })?;
    Ok(Ran {
        value: options.retval,
        data: usize::try_from(options.data_size_out).map_err(io::Error::other)?,
        nanoseconds: options.duration,
    })
}

/// A map of type array shared with the kernel by `mmap`.
#[derive(Debug)]
pub(crate) struct Mapping<T> {
    at: NonNull<T>,
}

// SAFETY: the mapping is plain memory of the process, tied to no thread.
unsafe impl<T: Send> Send for Mapping<T> {}
// SAFETY: access is by volatile reads and writes of plain values, which other processors make too.
unsafe impl<T: Sync> Sync for Mapping<T> {}

impl<T> Mapping<T> {
    /// Maps the single element of a map whose values are `T`.
    pub(crate) fn new(map: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<T>(),
                protection,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(|at| Self { at }).ok_or_else(io::Error::last_os_error)
    }

    /// Where it is, for volatile access to its fields.
    pub(crate) fn pointer(&self) -> *mut T {
        self.at.as_ptr()
    }
}

impl<T> Drop for Mapping<T> {
    fn drop(&mut self) {
        // SAFETY: this is the mapping that `new` made, and its end.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<T>()) };
    }
}
