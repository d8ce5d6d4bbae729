//! The router's own user does everything but load. A test binary of its own, because credentials are
//! those of the whole process.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use nix::unistd::{Gid, Uid, setegid, seteuid};
use roadstead_router_bpf::{Dataplane, Options, Pins, Sweeper, load};
use roadstead_router_core::maps::{Maps as _, Op};

#[path = "../dataplane/rig.rs"]
#[expect(dead_code, reason = "shared with another test, which uses more of it")]
mod rig;

const NOBODY: u32 = 65_534;

#[test]
fn a_user_without_any_capability_runs_the_dataplane() {
    let (directory, pins) = rig::private_filesystem();
    let options = Options { owner: Some((NOBODY, NOBODY)), ..Options::default() };
    load(&pins, &rig::CAPACITY, &options).expect("load");
    let lan = rig::make_leg("lan");
    assert_eq!(fs::metadata(pins.root()).expect("there").mode() & 0o777, 0o700);
    // A temporary directory belongs to its user alone.
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
    setegid(Gid::from_raw(NOBODY)).expect("group");
    seteuid(Uid::from_raw(NOBODY)).expect("user");
    let mut dataplane = Dataplane::open(&pins).expect("open");
    dataplane.apply(&Op::PutLeg(lan.0, 0)).expect("write");
    dataplane.read().expect("read");
    dataplane.events().expect("events");
    Sweeper::default().complete(&dataplane).expect("sweep");
    dataplane.attach(lan.0).expect("attach");
    dataplane.test_run(&[0; 64], lan.0, 0, 1).expect("run");
    let elsewhere = Pins::new(directory.path().join("other"));
    assert!(load(&elsewhere, &rig::CAPACITY, &Options::default()).is_err(), "loading is for root");
}
