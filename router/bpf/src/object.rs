//! From an object file to pinned maps and programs, whichever the object.

use std::{
    fs,
    os::fd::{AsFd as _, BorrowedFd},
    path::{Path, PathBuf},
};

use libbpf_rs::{MapCore as _, Object, ObjectBuilder, OpenObject};

use crate::{
    Error,
    pins::{HOST_MAPS, MAPS, Pins},
    sys,
};

/// The object file, aligned as ELF wants it.
#[repr(C, align(8))]
pub(crate) struct Aligned<T: ?Sized>(pub(crate) T);

pub(crate) fn open_object(file: &Aligned<[u8]>) -> Result<OpenObject, Error> {
    ObjectBuilder::default()
        .name("roadstead")
        .and_then(|builder| builder.open_memory(&file.0))
        .map_err(load_refused("the object file"))
}

/// Sizes the maps, or takes those that are pinned. True where there were any.
pub(crate) fn prepare_maps(
    object: &mut OpenObject,
    pins: &Pins,
    entries: impl Fn(&str) -> Option<u32>,
) -> Result<bool, Error> {
    let mut kept = false;
    for mut map in object.maps_mut() {
        let name = short_name(&map.name().to_string_lossy()).to_owned();
        let path = pins.map(&name);
        if is_pinned(&name) && path.exists() {
            map.reuse_pinned_map(&path).map_err(load_refused(&name))?;
            kept = true;
        } else if let Some(entries) = entries(&name) {
            map.set_max_entries(entries).map_err(load_refused(&name))?;
        }
    }
    Ok(kept)
}

/// libbpf calls the map of a section `.data.NAME` by a shortened name of the object and the section.
fn short_name(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn is_pinned(map: &str) -> bool {
    MAPS.contains(&map) || HOST_MAPS.contains(&map)
}

pub(crate) fn pin_maps(object: &mut Object, pins: &Pins) -> Result<(), Error> {
    for mut map in object.maps_mut() {
        let name = short_name(&map.name().to_string_lossy()).to_owned();
        let path = pins.map(&name);
        if is_pinned(&name) && !path.exists() {
            map.pin(&path).map_err(load_refused(&name))?;
        }
    }
    Ok(())
}

/// Pins each program beside the old pin and renames: whoever opens it finds one or the other.
pub(crate) fn pin_programs(object: &Object, pins: &Pins, ours: &[&str]) -> Result<(), Error> {
    for program in object.progs() {
        let name = program.name().to_string_lossy().into_owned();
        if ours.contains(&&*name) {
            pin_anew(program.as_fd(), &pins.program(&name))?;
        }
    }
    Ok(())
}

fn pin_anew(program: BorrowedFd<'_>, path: &Path) -> Result<(), Error> {
    let mut aside = path.as_os_str().to_owned();
    aside.push("_new");
    let aside = PathBuf::from(aside);
    drop(fs::remove_file(&aside)); // left by a load that was killed here
    sys::pin(program, &aside)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|source| Error::Pins { path: path.to_owned(), source })
}

pub(crate) fn load_refused(what: &str) -> impl Fn(libbpf_rs::Error) -> Error {
    move |source| Error::Load { what: what.to_owned(), advice: advice(source.kind()), source }
}

fn advice(kind: libbpf_rs::ErrorKind) -> &'static str {
    use libbpf_rs::ErrorKind;
    match kind {
        ErrorKind::PermissionDenied => {
            "loading needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (or root), and Linux 6.1 or later"
        }
        ErrorKind::OutOfMemory => "too little memory for the flow table: lower router.flows",
        ErrorKind::NotFound => "Linux 6.1 or later with CONFIG_DEBUG_INFO_BTF is needed",
        // Without CAP_PERFMON the verifier is stricter, and refuses by other errors too.
        _ => {
            "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and Linux 6.1 or later are needed; the log has what \
             the verifier said"
        }
    }
}
