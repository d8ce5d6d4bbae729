//! What is applied is read back, by the same process and by the next.

use std::net::IpAddr;

use roadstead_model::{Protocol, local::VipKind};
use roadstead_router_bpf::Dataplane;
use roadstead_router_core::maps::{
    Answer, AnswerKey, BackendMode, FrontendKey, Installed, MapError, Maps as _, Op, VipEntry,
};

use crate::rig::{Rig, apply, families, frontend, snat, spread};

/// One of each kind of entry, with nothing left at its default.
fn everything(rig: &Rig) -> Installed {
    let mut installed = Installed::default();
    installed.legs.extend([(rig.lan.0, 0), (rig.rack.0, 1)]);
    for (family, addresses) in (0_u16..).zip(families()) {
        let key =
            FrontendKey { address: addresses.vip, protocol: Protocol::Udp, port: 5_353 + family };
        let id = u32::from(family) + 7;
        let mut served = frontend(id, family);
        served.affinity_seconds = 10_800;
        served.ranges = Some(u32::from(family));
        served.log = true;
        let mut backend = rig.backend(family, addresses.nodes[0], 0);
        backend.gateway = Some(addresses.client);
        backend.state = [BackendMode::Doubtful, BackendMode::Gone][usize::from(family)];
        installed.vips.insert(addresses.vip, VipEntry { kind: VipKind::Host, legs: 0b10 });
        installed.frontends.insert(key, served);
        installed.identities.insert(id, key);
        installed.backends.insert(family + 3, backend);
        installed.tables.insert(family, spread(&[family + 3, u16::MAX]));
        installed.snats.insert(family, snat(&addresses));
        let answer = AnswerKey { address: addresses.vip, ifindex: rig.lan.0 };
        installed.answers.insert(answer, Answer { mac: rig.lan.1, expires: Some(12_345) });
    }
    for (set, range) in
        [(0, "198.51.100.0/24"), (0, "0.0.0.0/0"), (1, "2001:db8:7::/48"), (1, "::/0")]
    {
        installed.ranges.insert((set, range.parse().expect("a range")));
    }
    installed
}

fn install(rig: &mut Rig, wanted: &Installed) {
    let ops = roadstead_router_core::diff::diff(&Installed::default(), wanted);
    apply(&mut rig.dataplane, &ops);
}

#[test]
fn what_is_applied_is_read_back() {
    let mut rig = Rig::empty();
    let wanted = everything(&rig);
    install(&mut rig, &wanted);
    assert_eq!(rig.dataplane.read().expect("read"), wanted);
    let next = Dataplane::open(&rig.pins).expect("open again");
    assert_eq!(next.read().expect("read"), wanted, "another process reads the same");
}

#[test]
fn what_is_deleted_is_gone() {
    let mut rig = Rig::empty();
    let wanted = everything(&rig);
    install(&mut rig, &wanted);
    let ops = roadstead_router_core::diff::diff(&wanted, &Installed::default());
    apply(&mut rig.dataplane, &ops);
    assert_eq!(rig.dataplane.read().expect("read"), Installed::default());
}

#[test]
fn a_table_is_written_many_times_over() {
    let mut rig = Rig::empty();
    for round in 0..50 {
        let table = spread(&[round % 16]);
        apply(&mut rig.dataplane, &[Op::PutTable(round % 4, table.clone())]);
        let read = rig.dataplane.read().expect("read");
        assert_eq!(read.tables[&(round % 4)], table, "round {round}");
    }
    let mut next = Dataplane::open(&rig.pins).expect("open again");
    for round in 0..50 {
        apply(&mut next, &[Op::PutTable(round % 4, spread(&[3]))]);
    }
}

#[test]
fn a_full_map_is_told_by_its_name() {
    let mut rig = Rig::empty();
    let vip = VipEntry { kind: VipKind::Virtual, legs: u32::MAX };
    let put = |n: u8| Op::PutVip(IpAddr::from([198, 18, 0, n]), vip);
    let mut refused = None;
    for n in 0..=64 {
        if let Err(error) = rig.dataplane.apply(&put(n)) {
            refused = Some((n, error));
        }
    }
    let (n, error) = refused.expect("65 do not fit");
    assert_eq!(n, 64);
    assert!(matches!(error, MapError::Full { map: "vips", capacity: 64 }), "{error}");
}
