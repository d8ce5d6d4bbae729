//! Loading, loading again, opening without privileges, attaching and detaching.

use std::fs;

use roadstead_router_bpf::{Dataplane, Error, Options, load};
use roadstead_router_core::maps::Maps as _;

use crate::rig::{CAPACITY, Rig, ip, load_small, private_filesystem};

#[test]
fn loading_again_keeps_the_maps_and_swaps_the_program_under_its_legs() {
    let rig = Rig::serving();
    rig.dataplane.attach(rig.lan.0).expect("attach");
    let before = rig.dataplane.read().expect("read");
    let loaded = load_small(&rig.pins);
    assert!(loaded.kept_maps);
    assert_eq!(loaded.capacity, CAPACITY);
    assert_eq!(loaded.replaced, [rig.lan.0]);
    let next = Dataplane::open(&rig.pins).expect("open");
    assert_eq!(next.read().expect("read"), before);
    assert!(next.is_attached(rig.lan.0));
}

#[test]
fn the_first_load_says_that_maps_are_new() {
    let (_directory, pins) = private_filesystem();
    assert!(!load_small(&pins).kept_maps);
}

#[test]
fn nothing_loaded_is_told_with_what_to_do() {
    let (_directory, pins) = private_filesystem();
    let error = Dataplane::open(&pins).expect_err("nothing is there");
    assert!(matches!(error, Error::NotLoaded { .. }), "{error}");
    assert!(error.to_string().contains("roadstead-router load"), "{error}");
}

#[test]
fn an_impossible_capacity_is_refused_by_name() {
    let (_directory, pins) = private_filesystem();
    let mut capacity = CAPACITY;
    capacity.snats = 65;
    let error = load(&pins, &capacity, &Options::default()).expect_err("too many");
    assert!(matches!(error, Error::Capacity { map: "snats", high: 64, .. }), "{error}");
}

#[test]
fn maps_of_another_version_are_told_and_removed_only_when_asked() {
    let (directory, pins) = private_filesystem();
    let other = directory.path().join("roadstead/v0");
    fs::create_dir_all(&other).expect("another version");
    let error = load(&pins, &CAPACITY, &Options::default()).expect_err("in the way");
    assert!(matches!(error, Error::Schema { .. }), "{error}");
    assert!(other.exists());
    let options = Options { replace_other_version: true, ..Options::default() };
    load(&pins, &CAPACITY, &options).expect("replaced");
    assert!(!other.exists());
}

#[test]
fn legs_are_attached_once_and_detached() {
    let rig = Rig::empty();
    for _ in 0..2 {
        rig.dataplane.attach(rig.lan.0).expect("attach");
    }
    rig.dataplane.attach(rig.rack.0).expect("attach");
    let mut attached = rig.dataplane.attached().expect("attached");
    attached.sort_unstable();
    assert_eq!(attached, [rig.lan.0, rig.rack.0]);
    rig.dataplane.detach(rig.lan.0).expect("detach");
    rig.dataplane.detach(rig.lan.0).expect("detach what is not attached");
    assert_eq!(rig.dataplane.attached().expect("attached"), [rig.rack.0]);
    assert!(!rig.dataplane.is_attached(rig.lan.0));
}

#[test]
fn an_interface_that_vanished_and_returned_is_attached_again() {
    let rig = Rig::empty();
    rig.dataplane.attach(rig.lan.0).expect("attach");
    ip("link delete lan");
    assert!(!rig.dataplane.is_attached(rig.lan.0));
    assert!(rig.dataplane.attach(rig.lan.0).is_err(), "it is not there");
    ip(&format!("link add lan index {} type veth peer name lan-peer", rig.lan.0));
    rig.dataplane.attach(rig.lan.0).expect("attach again");
    assert!(rig.dataplane.is_attached(rig.lan.0));
}

#[test]
fn an_attached_leg_is_found_by_the_older_way_too() {
    let rig = Rig::empty();
    rig.dataplane.attach_clsact(rig.lan.0).expect("clsact");
    assert!(rig.dataplane.is_attached(rig.lan.0));
    rig.dataplane.detach(rig.lan.0).expect("detach");
    assert!(!rig.dataplane.is_attached(rig.lan.0));
}

#[test]
fn a_load_replaces_the_program_that_was_attached_the_older_way() {
    let rig = Rig::empty();
    rig.dataplane.attach_clsact(rig.lan.0).expect("clsact");
    let before = filters(&rig);
    let again = load_small(&rig.pins);
    assert_eq!(again.replaced, [rig.lan.0]);
    let after = filters(&rig);
    assert_eq!(after.matches(" direct-action ").count(), 1, "{after}");
    assert_ne!(before, after, "the same program as before");
}

/// What the kernel says of the filters at ingress, with the numbers of their programs.
fn filters(rig: &Rig) -> String {
    let name = nix::net::if_::if_indextoname(rig.lan.0).expect("a name");
    let tc = std::process::Command::new("tc")
        .args(["filter", "show", "dev", name.to_str().expect("text"), "ingress"])
        .output();
    String::from_utf8(tc.expect("tc").stdout).expect("text")
}
