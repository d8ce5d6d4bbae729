//! The host as its own client: sockets of this very process, over real nodes' listeners, which
//! stand on the loopback of the test's namespace.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    thread,
};

use roadstead_router_core::maps::{BackendMode, Op};

use crate::rig::{Addresses, NODE_PORT, PORT, Rig, apply, families, ip};

/// Nodes whose addresses are on the loopback.
fn with_nodes() -> Rig {
    let rig = Rig::serving();
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

/// Accepts one connection on either node and says so.
fn greet(addresses: &Addresses) -> Vec<TcpListener> {
    let listen = |node| TcpListener::bind(SocketAddr::new(node, NODE_PORT)).expect("listen");
    let listeners: Vec<TcpListener> = addresses.nodes.into_iter().map(listen).collect();
    for listener in &listeners {
        let listener = listener.try_clone().expect("clone");
        thread::spawn(move || {
            if let Ok((mut stream, _)) = listener.accept() {
                drop(stream.write_all(b"hello"));
            }
        });
    }
    listeners
}

#[test]
fn a_connection_of_the_host_reaches_a_node_and_believes_in_the_vip() {
    let _rig = with_nodes();
    for addresses in families() {
        let _listeners = greet(&addresses);
        let mut stream = TcpStream::connect(vip(&addresses)).expect("connect");
        assert_eq!(stream.peer_addr().expect("peer"), vip(&addresses));
        let mut greeting = [0; 5];
        stream.read_exact(&mut greeting).expect("greeting");
        assert_eq!(&greeting, b"hello");
    }
}

#[test]
fn datagrams_of_the_host_come_back_from_the_vip() {
    let _rig = with_nodes();
    for addresses in families() {
        let bind = |node| UdpSocket::bind(SocketAddr::new(node, NODE_PORT)).expect("bind");
        for node in addresses.nodes.map(bind) {
            thread::spawn(move || {
                let mut buffer = [0; 16];
                if let Ok((length, from)) = node.recv_from(&mut buffer) {
                    drop(node.send_to(&buffer[..length], from));
                }
            });
        }
        let socket = UdpSocket::bind(SocketAddr::new(addresses.nodes[0], 0)).expect("bind");
        socket.send_to(b"echo", vip(&addresses)).expect("send");
        let mut buffer = [0; 16];
        let (length, from) = socket.recv_from(&mut buffer).expect("receive");
        assert_eq!((&buffer[..length], from), (&b"echo"[..], vip(&addresses)));
    }
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
fn other_addresses_and_other_namespaces_are_left_alone() {
    let _rig = with_nodes();
    let [v4, _] = families();
    let node = SocketAddr::new(v4.nodes[0], NODE_PORT);
    let _listeners = greet(&v4);
    let stream = TcpStream::connect(node).expect("the node itself");
    assert_eq!(stream.peer_addr().expect("peer"), node);
    thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("another namespace");
        let error = TcpStream::connect(vip(&v4)).expect_err("it has no network");
        assert_eq!(error.kind(), ErrorKind::NetworkUnreachable);
    })
    .join()
    .expect("the thread");
}
