//! The host's own connections to VIPs: programs on the root of the cgroup tree (`c/host.bpf.c`).
//! They act in the network namespace that loaded them and in no other.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use libbpf_sys as raw;

use crate::{
    Error, Pins,
    object::{self, Aligned},
    sys,
};

static HOST: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/host.bpf.o")));

/// The programs, by their names in C, with what they are attached to.
const PROGRAMS: &[(&str, raw::bpf_attach_type)] = &[
    ("connect4", raw::BPF_CGROUP_INET4_CONNECT),
    ("connect6", raw::BPF_CGROUP_INET6_CONNECT),
    ("sendmsg4", raw::BPF_CGROUP_UDP4_SENDMSG),
    ("sendmsg6", raw::BPF_CGROUP_UDP6_SENDMSG),
    ("recvmsg4", raw::BPF_CGROUP_UDP4_RECVMSG),
    ("recvmsg6", raw::BPF_CGROUP_UDP6_RECVMSG),
    ("getpeername4", raw::BPF_CGROUP_INET4_GETPEERNAME),
    ("getpeername6", raw::BPF_CGROUP_INET6_GETPEERNAME),
];

/// Loads and attaches, or says why not: a kernel without cgroup programs serves clients all the
/// same.
pub(crate) fn load_or_warn(pins: &Pins) -> bool {
    let loaded = load(pins);
    if let Err(error) = &loaded {
        tracing::warn!(
            error = error as &dyn std::error::Error,
            "this host's own connections to load-balancer addresses are not served"
        );
    }
    loaded.is_ok()
}

fn load(pins: &Pins) -> Result<(), Error> {
    let mut object = object::open_object(HOST)?;
    // Every map that is shared has been pinned before.
    object::prepare_maps(&mut object, pins, |_| None)?;
    let refused = object::load_refused("the programs for the host's own connections");
    let mut object = object.load().map_err(refused)?;
    object::pin_maps(&mut object, pins)?;
    let names: Vec<&str> = PROGRAMS.iter().map(|(name, _)| *name).collect();
    object::pin_programs(&object, pins, &names)?;
    let cgroup = cgroup_root().map_err(Error::kernel("find the cgroup tree (cgroup2)"))?;
    PROGRAMS.iter().try_for_each(|(name, kind)| attach(pins, &cgroup, name, *kind))
}

/// Attaches, or puts the new program in the place of the old one.
fn attach(pins: &Pins, cgroup: &File, name: &str, kind: raw::bpf_attach_type) -> Result<(), Error> {
    let refused = || Error::kernel("attach to the root of the cgroup tree");
    let program = sys::open_pinned(&pins.program(name)).map_err(refused())?;
    let path = pins.host_link(name);
    if let Ok(link) = sys::open_pinned(&path) {
        return sys::update_link(link.as_fd(), program.as_fd()).map_err(refused());
    }
    let link = sys::attach_cgroup(program.as_fd(), cgroup.as_fd(), kind).map_err(refused())?;
    sys::pin(link.as_fd(), &path).map_err(|source| Error::Pins { path, source })
}

fn cgroup_root() -> io::Result<File> {
    let mounts = fs::read_to_string("/proc/self/mounts")?;
    let root = mounts.lines().find_map(cgroup_mount).ok_or(io::ErrorKind::NotFound)?;
    File::open(root)
}

/// The place of a cgroup2 mount, in the terms of fstab(5).
fn cgroup_mount(line: &str) -> Option<PathBuf> {
    let mut fields = line.split(' ');
    let place = fields.nth(1)?;
    (fields.next()? == "cgroup2").then(|| Path::new(place).to_owned())
}
