//! The host as its own client: sockets of this very process.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
};

use roadstead_router_bpf::{Options, load};
use roadstead_router_core::maps::{BackendMode, Op};

use crate::rig::{Addresses, CAPACITY, PORT, Rig, apply, families, ip};

/// Nodes whose addresses are on the loopback.
fn with_nodes() -> Rig {
    let rig = Rig::serving();
    let options = Options { host_traffic: true, ..Options::default() };
    assert!(load(&rig.pins, &CAPACITY, &options).expect("load").host_traffic);
    ip("link set lo up");
    for addresses in families() {
        for node in addresses.nodes {
            let nodad = if node.is_ipv6() { " nodad" } else { "" };
            ip(&format!("address add {node} dev lo{nodad}"));
        }
    }
    rig
}

fn vip(addresses: &Addresses) -> SocketAddr {
    SocketAddr::new(addresses.vip, PORT)
}

#[test]
fn what_nobody_serves_is_refused_at_once() {
    let mut rig = with_nodes();
    for addresses in families() {
        let closed = SocketAddr::new(addresses.vip, PORT + 1);
        let error = TcpStream::connect(closed).expect_err("a closed port");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
    assert_eq!(rig.dropped("closed-port"), 2);
    for (id, addresses) in (0_u16..).zip(families()) {
        for (index, node) in (0_u16..).zip(addresses.nodes) {
            let mut backend = rig.backend(id, node, index);
            backend.state = BackendMode::Gone;
            apply(&mut rig.dataplane, &[Op::PutBackend(id * 2 + index, backend)]);
        }
        let error = TcpStream::connect(vip(&addresses)).expect_err("no node is left");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }
}
