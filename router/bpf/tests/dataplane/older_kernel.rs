//! Before Linux 6.2 a program cannot see what the kernel knows of a checksum, and leaves the change
//! of it to the kernel's helpers. This kernel is told to be one of those.

use std::net::SocketAddr;

use libbpf_rs::{Object, ObjectBuilder, ProgramInput};

use crate::{
    frame::{self, Ip, SYN, Tcp},
    rig::{Addresses, CLIENT_MAC, REDIRECT, Rig, families, flow},
    seen::Seen,
};

/// The program once more, over the same maps.
fn program_of_an_older_kernel(rig: &Rig) -> Object {
    let file = concat!(env!("OUT_DIR"), "/nat.bpf.o");
    let mut object = ObjectBuilder::default().open_file(file).expect("open");
    for mut map in object.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        let name = name.rsplit('.').next().expect("a name");
        let pin = rig.pins.root().join("maps").join(name);
        if pin.exists() {
            map.reuse_pinned_map(&pin).expect("the same map");
        } else if name == "kernel" {
            map.set_initial_value(&[1]).expect("one switch");
        }
    }
    object.load().expect("load")
}

fn run(object: &Object, ifindex: u32, frame: &[u8]) -> Seen {
    let mut context = [0; 192];
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    let mut out = vec![0; frame.len() + 256];
    let input = ProgramInput {
        context_in: Some(&mut context),
        data_in: Some(frame),
        data_out: Some(&mut out),
        ..ProgramInput::default()
    };
    let program = object.progs_mut().find(|program| program.name() == "ingress").expect("ingress");
    let output = program.test_run(input).expect("test run");
    assert_eq!(output.return_value.cast_signed(), REDIRECT);
    Seen::parse(output.data.expect("a frame"))
}

fn client_sends(rig: &Rig, addresses: &Addresses, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let packet = Ip::new(addresses.client, addresses.vip).packet(protocol, payload);
    let ethertype = if addresses.client.is_ipv4() { 0x0800 } else { 0x86dd };
    frame::ethernet(rig.lan.1, CLIENT_MAC, ethertype, &packet)
}

#[test]
fn checksums_are_changed_by_the_kernels_helpers() {
    let rig = Rig::serving();
    let object = program_of_an_older_kernel(&rig);
    for addresses in families() {
        let (client, vip) = flow(&addresses, 40_000);
        let snat = SocketAddr::new(addresses.snat, 40_000);
        let syn = Tcp::flags(SYN).segment(client, vip);
        // Seen::parse verifies every checksum.
        let there = run(&object, rig.lan.0, &client_sends(&rig, &addresses, frame::TCP, &syn));
        assert_eq!(there.ends().0, snat);
        let datagram = frame::datagram(client, vip, b"odd");
        let there = run(&object, rig.lan.0, &client_sends(&rig, &addresses, frame::UDP, &datagram));
        assert_eq!((there.ends().0, there.data()), (snat, &b"odd"[..]));
    }
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    let rig = Rig::serving();
    let object = program_of_an_older_kernel(&rig);
    let [v4, _] = families();
    let (client, vip) = flow(&v4, 40_000);
    let mut datagram = frame::datagram(client, vip, b"odd");
    datagram[6..8].copy_from_slice(&[0, 0]);
    let there = run(&object, rig.lan.0, &client_sends(&rig, &v4, frame::UDP, &datagram));
    assert_eq!(there.payload[6..8], [0, 0]);
}
