//! The host as its own client: sockets of this very process.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use roadstead_router_bpf::{Options, load};
use roadstead_router_core::maps::{BackendMode, Op};

use crate::rig::{Addresses, CAPACITY, NODE_PORT, PORT, Rig, apply, families, ip};

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
            await_route(node);
        }
    }
    rig
}

/// Long enough for any machine; nothing waits for it to pass.
const PATIENCE: Duration = Duration::from_secs(10);

/// The kernel makes the route to an IPv6 address of its own after the address, by itself.
fn await_route(own: IpAddr) {
    let begun = Instant::now();
    let family = if own.is_ipv6() { "-6" } else { "-4" };
    while !ip(&format!("{family} route show table local")).contains(&format!("local {own} dev lo"))
    {
        assert!(begun.elapsed() < PATIENCE, "no route to {own}");
    }
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

#[test]
fn a_connection_goes_to_a_node_and_believes_it_talks_to_the_vip() {
    let _rig = with_nodes();
    for addresses in families() {
        let any = if addresses.vip.is_ipv6() { "[::]" } else { "0.0.0.0" };
        let node = TcpListener::bind(format!("{any}:{NODE_PORT}")).expect("bound");
        let mut client = TcpStream::connect(vip(&addresses)).expect("a node serves");
        assert_eq!(client.peer_addr().expect("connected"), vip(&addresses));
        let (mut served, _) = node.accept().expect("accepted");
        assert!(addresses.nodes.contains(&served.local_addr().expect("connected").ip()));
        served.write_all(b"hello").expect("sent");
        client.set_read_timeout(Some(PATIENCE)).expect("set");
        client.read_exact(&mut [0; 5]).expect("heard");
    }
}

/// A socket that is not connected sends each datagram by its own, and is told who answers.
#[test]
fn datagrams_go_to_a_node_and_are_answered_by_the_vip() {
    let _rig = with_nodes();
    for addresses in families() {
        let any = if addresses.vip.is_ipv6() { "[::]" } else { "0.0.0.0" };
        let [node, client] = [NODE_PORT, 0].map(|port| {
            let socket = UdpSocket::bind(format!("{any}:{port}")).expect("bound");
            socket.set_read_timeout(Some(PATIENCE)).expect("set");
            socket
        });
        client.send_to(b"question", vip(&addresses)).expect("sent");
        let mut buffer = [0; 16];
        let (length, from) = node.recv_from(&mut buffer).expect("a node is asked");
        assert_eq!(&buffer[..length], b"question");
        node.send_to(b"answer", from).expect("sent");
        let (length, from) = client.recv_from(&mut buffer).expect("an answer");
        assert_eq!((&buffer[..length], from), (&b"answer"[..], vip(&addresses)));
    }
}
