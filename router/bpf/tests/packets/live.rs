//! Real kernels on both sides of the program: a client, the edge and a node in a namespace each, so
//! that what a test run cannot show is seen too (checksums left to the hardware, super-packets, the
//! neighbour code), and every answer is judged by the receiver's own stack.

use std::{
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::mpsc::{self, Sender},
    thread,
    time::{Duration, Instant},
};

use nix::{
    ifaddrs::getifaddrs,
    sched::{CloneFlags, unshare},
    sys::{
        socket::{
            AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, bind, recv, send,
            setsockopt, socket, sockopt::ReceiveTimeout,
        },
        time::{TimeVal, TimeValLike as _},
    },
    unistd::gettid,
};

use crate::{
    frame::Mac,
    rig::{self, Leg, Rig, ip},
    world::{Backend, CLOSED, DNS, DNS_NODE, FAMILIES, Family, HTTP, HTTP_NODE},
};

/// Longer than any exchange here takes, shorter than a person waits.
const PATIENCE: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with a thread in it.
struct Host {
    thread: i32,
    jobs: Sender<Job>,
}

impl Host {
    fn new() -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace of our own");
            tell.send(gettid().as_raw()).expect("the test waits");
            for job in queue {
                job();
            }
        });
        Self { thread: told.recv().expect("the thread lives"), jobs }
    }

    /// Runs a job in the namespace. Sockets made there stay there.
    fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::channel();
        let job = move || tell.send(job()).expect("the test waits");
        self.jobs.send(Box::new(job)).expect("the thread lives");
        told.recv().expect("the job has panicked: see above")
    }

    /// Moves an interface in and gives it addresses; its MAC.
    fn adopt(&self, interface: &'static str, addresses: Vec<String>) -> Mac {
        ip(&format!("link set {interface} netns {}", self.thread));
        self.run(move || {
            ip(&format!("link set {interface} up"));
            for address in &addresses {
                add(address, interface);
            }
            await_up(interface);
            rig::leg(interface).1
        })
    }

    fn connect(&self, to: SocketAddr) -> io::Result<TcpStream> {
        self.run(move || {
            let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        })
    }

    /// Sends a datagram and waits for one, or for the error that comes instead.
    fn ask(&self, to: SocketAddr, question: &'static [u8]) -> io::Result<Vec<u8>> {
        self.run(move || {
            let any: IpAddr = if to.is_ipv4() { [0_u8; 4].into() } else { [0_u8; 16].into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(to)?;
            socket.send(question)?;
            let mut answer = [0; 4_096];
            let length = socket.recv(&mut answer)?;
            Ok(answer[..length].to_vec())
        })
    }
}

/// Until the kernel has activated a link it drops what is sent on it, which datagrams do not survive.
fn await_up(interface: &str) {
    await_answer(&format!("-o link show {interface}"), "state UP");
}

/// Asks `ip` until its answer contains what is expected.
fn await_answer(question: &str, expected: &str) {
    let deadline = Instant::now() + PATIENCE;
    while !ip(question).contains(expected) {
        assert!(Instant::now() < deadline, "ip {question}: no {expected:?} after {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Gives an interface an address and waits until the kernel takes packets to it for its own, which
/// for IPv6 is the work of another thread.
fn add(address: &str, interface: &str) {
    let nodad = if address.contains(':') { " nodad" } else { "" };
    ip(&format!("addr add {address} dev {interface}{nodad}"));
    let (address, _) = address.split_once('/').expect("a prefix length");
    await_answer(&format!("route get {address}"), "local");
}

/// A client and a node around the program.
struct Lab {
    rig: Rig,
    client: Host,
    node: Host,
}

#[derive(Clone, Copy, Debug)]
struct Conditions {
    /// Checksums are left to the (virtual) hardware, and segments to its offload.
    offload: bool,
    /// The program knows the node's MAC.
    resolved: bool,
    /// What the links to the client and to the node take.
    mtus: (u16, u16),
}

const WIDE: (u16, u16) = (1_500, 1_500);

impl Lab {
    fn new(conditions: Conditions) -> Self {
        let mut rig = Rig::serving();
        if !conditions.offload {
            for interface in ["lan", "rack", "lan-peer", "rack-peer"] {
                no_offload(interface);
            }
        }
        let (client, node) = (Host::new(), Host::new());
        client.adopt("lan-peer", vec!["192.0.2.77/24".into(), "2001:db8:1::77/64".into()]);
        let mac = node.adopt("rack-peer", FAMILIES.map(|family| on_link(family.nodes[0])).into());
        await_up("lan");
        await_up("rack");
        add("192.0.2.2/24", "lan");
        rig.put_leg(0, Leg::Lan, conditions.mtus.0);
        for family in FAMILIES {
            add(&on_link(family.snat), "rack");
            rig.answer(family.vip, Leg::Lan, None);
            let known = rig.backend(&family, 0, family.nodes[0]);
            let mac = conditions.resolved.then_some(mac);
            let backend = Backend { mac, mtu: conditions.mtus.1, ..known };
            rig.put_backend(family.backend(0), &backend);
            rig.put_table(rig.frontend(&family, HTTP, 0).table, &[family.backend(0)]);
        }
        rig.attach(Leg::Lan);
        rig.attach(Leg::Rack);
        Self { rig, client, node }
    }

    /// The node echoes what it is sent on the NodePort until the client has finished.
    fn echo(&self, family: &Family) -> thread::JoinHandle<()> {
        let at = SocketAddr::new(family.nodes[0], HTTP_NODE);
        let listener = self.node.run(move || TcpListener::bind(at).expect("bind"));
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("accept");
            let mut all = Vec::new();
            stream.read_to_end(&mut all).expect("read");
            stream.write_all(&all).expect("write");
        })
    }
}

fn on_link(address: IpAddr) -> String {
    format!("{address}/{}", if address.is_ipv4() { 24 } else { 64 })
}

fn no_offload(interface: &str) {
    let arguments = ["-K", interface, "tx", "off", "tso", "off", "gso", "off"];
    let output = std::process::Command::new("ethtool").args(arguments).output().expect("ethtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// With and without offload, with and without the node's MAC.
fn all_conditions(mtus: (u16, u16)) -> impl Iterator<Item = Conditions> {
    [(true, true), (true, false), (false, true), (false, false)]
        .into_iter()
        .map(move |(offload, resolved)| Conditions { offload, resolved, mtus })
}

#[test]
fn closed_ports_are_refused_in_terms_that_the_clients_stack_accepts() {
    for conditions in all_conditions(WIDE) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            let refused = lab.client.connect(family.vip_at(CLOSED)).expect_err("a closed port");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{conditions:?}: TCP");
            let refused = lab.client.ask(family.vip_at(CLOSED), b"?").expect_err("a closed port");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{conditions:?}: UDP");
        }
    }
}

#[test]
fn what_the_node_refuses_is_refused_to_the_client() {
    for conditions in all_conditions(WIDE) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            let refused = lab.client.connect(family.vip_at(HTTP)).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{conditions:?}: TCP");
            let refused = lab.client.ask(family.vip_at(DNS), b"?").expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{conditions:?}: UDP");
        }
    }
}

/// Sends `length` bytes to the node's echo and takes them back.
fn round_trip(lab: &Lab, family: &Family, length: usize) {
    let echo = lab.echo(family);
    let mut stream = lab.client.connect(family.vip_at(HTTP)).expect("connected");
    let sent = crate::frame::bytes(length);
    stream.write_all(&sent).expect("sent");
    stream.shutdown(Shutdown::Write).expect("finished");
    let mut back = Vec::new();
    stream.read_to_end(&mut back).expect("received");
    assert!(back == sent, "{} bytes of {length} came back", back.len());
    echo.join().expect("the node is fine");
}

#[test]
fn a_megabyte_goes_there_and_back() {
    for conditions in all_conditions(WIDE) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            round_trip(&lab, &family, 1 << 20);
        }
        assert_eq!(lab.rig.counted(), [""; 0], "{conditions:?}");
    }
}

#[test]
fn path_mtu_discovery_works_in_both_directions() {
    for conditions in all_conditions((1_400, 1_300)) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            round_trip(&lab, &family, 1 << 20);
        }
        assert_eq!(lab.rig.counted(), ["too-big"], "{conditions:?}");
    }
}

#[test]
fn datagrams_go_there_and_back() {
    for conditions in all_conditions(WIDE) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            let at = SocketAddr::new(family.nodes[0], DNS_NODE);
            let socket = lab.node.run(move || UdpSocket::bind(at).expect("bind"));
            let answering = thread::spawn(move || {
                let mut question = [0; 2_048];
                let (length, from) = socket.recv_from(&mut question).expect("received");
                socket.send_to(&question[..length], from).expect("sent");
            });
            let answer = lab.client.ask(family.vip_at(DNS), &[b'x'; 1_001]);
            let answer = answer.unwrap_or_else(|error| {
                panic!("{error}: {conditions:?}, counted {:?}", lab.rig.counted())
            });
            assert_eq!(answer, [b'x'; 1_001], "{conditions:?}");
            answering.join().expect("the node is fine");
        }
    }
}

#[test]
fn long_datagrams_go_in_fragments() {
    for conditions in all_conditions(WIDE) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            let at = SocketAddr::new(family.nodes[0], DNS_NODE);
            let socket = lab.node.run(move || UdpSocket::bind(at).expect("bind"));
            socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
            let answering = thread::spawn(move || {
                let mut question = vec![0; 65_535];
                let (length, from) = socket.recv_from(&mut question).expect("received");
                socket.send_to(&question[..length.min(2_000)], from).expect("sent");
                length
            });
            static LONG: [u8; 9_000] = [b'y'; 9_000];
            let answer = lab.client.ask(family.vip_at(DNS), &LONG);
            let answer = answer.unwrap_or_else(|error| {
                panic!("{error}: {conditions:?}, counted {:?}", lab.rig.counted())
            });
            assert_eq!(answer.len(), 2_000, "{conditions:?}");
            assert_eq!(answering.join().expect("the node is fine"), LONG.len());
        }
    }
}

#[test]
fn pings_are_answered_by_the_address() {
    for conditions in all_conditions(WIDE).take(1) {
        let lab = Lab::new(conditions);
        for family in FAMILIES {
            let vip = family.vip;
            let output = lab.client.run(move || {
                let arguments = ["-c", "2", "-i", "0.2", "-W", "5", "-s", "1000"];
                std::process::Command::new("ping").args(arguments).arg(vip.to_string()).output()
            });
            let output = output.expect("iputils-ping");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
}

/// A socket that sends and hears every frame of an interface in the caller's namespace.
fn wire(interface: &str) -> OwnedFd {
    let wire =
        socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), SockProtocol::EthAll);
    let wire = wire.expect("a packet socket");
    let all = getifaddrs().expect("the interfaces");
    let link = all
        .filter(|each| each.interface_name == interface)
        .find_map(|each| each.address?.as_link_addr().copied())
        .expect("such an interface");
    bind(wire.as_raw_fd(), &link).expect("bind");
    setsockopt(&wire, ReceiveTimeout, &TimeVal::seconds(20)).expect("a timeout");
    wire
}

/// An ARP request of the client for an address, asking as `sender`.
fn arp_request(mac: Mac, sender: [u8; 4], target: [u8; 4], tag: &[u8]) -> Vec<u8> {
    let ethernet = [&[0xff; 6], &mac[..], tag, &[8, 6]].concat();
    let arp = [&[0, 1, 8, 0, 6, 4, 0, 1], &mac[..], &sender, &[0; 6], &target].concat();
    [ethernet, arp].concat()
}

#[test]
fn a_frame_whose_tag_the_kernel_has_taken_off_is_not_ours() {
    let lab = Lab::new(Conditions { offload: true, resolved: true, mtus: WIDE });
    let answered = lab.client.run(|| {
        let mac = rig::leg("lan-peer").1;
        let wire = wire("lan-peer");
        let vip = [192, 0, 2, 10];
        let tagged = arp_request(mac, [192, 0, 2, 78], vip, &[0x81, 0, 0, 5]);
        let plain = arp_request(mac, [192, 0, 2, 77], vip, &[]);
        for frame in [tagged, plain] {
            send(wire.as_raw_fd(), &frame, MsgFlags::empty()).expect("sent");
        }
        let mut frame = [0; 256];
        loop {
            let length = recv(wire.as_raw_fd(), &mut frame, MsgFlags::empty()).expect("a reply");
            let is_reply = frame[12..14] == [8, 6] && frame[20..22] == [0, 2];
            if length >= 42 && is_reply {
                return frame[38..42].to_vec();
            }
        }
    });
    assert_eq!(answered, [192, 0, 2, 77], "the first answer is the one to the plain request");
}
