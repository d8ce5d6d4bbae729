//! The task on a veth pair in a network namespace of each test's own: `lan` is the leg, `peer`
//! plays the rest of the segment.

use std::{future::Future, net::Ipv4Addr, num::NonZeroU32, process::Command, thread};

use nix::sched::{CloneFlags, unshare};
use roadstead_model::config::Probe;
use roadstead_speaker_core::gate::Hold;
use roadstead_sys::PacketSocket;
use roadstead_wire::{Arp, Mac, arp::Operation};
use tokio::time::timeout;

use super::*;

const OURS: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const PEER: Mac = Mac::new([2, 0, 0, 0, 0, 2]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
/// Far above what any step takes.
const PATIENCE: Duration = Duration::from_secs(10);

/// The task under test with both ends in hand.
struct Segment {
    orders: watch::Sender<Arc<Orders>>,
    seen: mpsc::Receiver<Seen>,
    peer: PacketSocket,
    metrics: metrics::L2,
}

/// Runs `test` beside the task, in a thread with a network namespace of its own.
fn on_a_segment<F: Future<Output = ()>>(test: impl FnOnce(Segment) -> F + Send + 'static) {
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests of the announcer run as root");
        make_pair();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (orders, orders_out) = watch::channel(Arc::default());
            let (seen_in, seen) = mpsc::channel(64);
            let metrics = metrics::L2::default();
            let peer = PacketSocket::open(NonZeroU32::new(index("peer")).unwrap()).unwrap();
            let segment = Segment { orders, seen, peer, metrics: metrics.clone() };
            tokio::select! {
                () = test(segment) => {}
                result = run(orders_out, seen_in, metrics) => panic!("the task ended: {result:?}"),
            }
        });
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn make_pair() {
    ip("link add lan address 02:00:00:00:00:01 type veth peer name peer address 02:00:00:00:00:02");
    ip("link set lan addrgenmode none up");
    ip("link set peer addrgenmode none up");
    let deadline = Instant::now() + PATIENCE;
    while ip("-o link show up").matches("state UP").count() < 2 {
        assert!(Instant::now() < deadline, "the veth pair has no carrier");
        thread::sleep(Duration::from_millis(2));
    }
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).unwrap()
}

fn orders(hold: Option<Hold>, kernel_answers: bool) -> Orders {
    let facts = LegFacts {
        name: "lan".into(),
        ifindex: index("lan"),
        mac: OURS.octets(),
        addresses: vec!["192.0.2.1/24".parse().unwrap()],
    };
    let wanted =
        hold.map(|hold| gate::Wanted { address: VIP.into(), legs: vec!["lan".into()], hold });
    Orders {
        legs: vec![facts],
        wanted: wanted.into_iter().collect(),
        kernel_answers: kernel_answers.then(|| (VIP.into(), "lan".into())).into_iter().collect(),
        settings: Some(config::L2 {
            probe: Probe::Fast,
            refresh: Duration::from_secs(40),
            probe_ahead: 0,
        }),
    }
}

impl Segment {
    fn order(&self, orders: Orders) {
        self.orders.send(Arc::new(orders)).unwrap();
    }

    /// The next ARP packet that the peer hears.
    async fn arp(&mut self) -> Arp {
        let mut buffer = [0; FRAME];
        loop {
            let length = timeout(PATIENCE, self.peer.recv(&mut buffer)).await.unwrap().unwrap();
            if let Ok(Frame::Arp(arp)) = Frame::parse(&buffer[..length]) {
                return arp;
            }
        }
    }

    /// The next packet that is no announcement of the burst.
    async fn reaction(&mut self) -> Arp {
        loop {
            let arp = self.arp().await;
            if arp.ethernet_destination == PEER {
                return arp;
            }
        }
    }

    async fn seen(&mut self) -> Seen {
        timeout(PATIENCE, self.seen.recv()).await.unwrap().unwrap()
    }

    /// Waits until the standing of the address is this.
    async fn until(&mut self, wanted: Option<Wire>) {
        loop {
            if let Seen::Wire(address, leg, wire) = self.seen().await {
                assert_eq!((address, leg.as_ref()), (VIP.into(), "lan"));
                if wire == wanted {
                    return;
                }
            }
        }
    }

    async fn ask(&self) {
        let mut request = Arp::probe(PEER, VIP);
        request.sender_ip = Ipv4Addr::new(192, 0, 2, 99);
        self.peer.send(&request.emit()).await.unwrap();
    }
}

#[test]
fn an_address_is_probed_announced_and_withdrawn() {
    on_a_segment(|mut segment| async move {
        segment.order(orders(Some(Hold::Announce), false));
        for _ in 0..3 {
            assert_eq!(segment.arp().await, Arp::probe(OURS, VIP));
        }
        let forms = [segment.arp().await, segment.arp().await];
        let expected = [Operation::Request, Operation::Reply];
        assert_eq!(forms, expected.map(|form| Arp::announcement(form, OURS, VIP)));
        segment.until(Some(Wire::Announced)).await;
        segment.order(orders(None, false));
        segment.until(None).await;
        assert_eq!(
            (segment.metrics.probes.get(), segment.metrics.gratuitous.get() >= 2),
            (3, true)
        );
    });
}

#[test]
fn requests_are_answered_until_the_kernel_does() {
    on_a_segment(|mut segment| async move {
        segment.order(orders(Some(Hold::Resume), false));
        segment.until(Some(Wire::Announced)).await;
        segment.ask().await;
        let answer = segment.reaction().await;
        assert_eq!((answer.sender_mac, answer.sender_ip), (OURS, VIP));
        // A second address shows that the orders were taken.
        let second = Ipv4Addr::new(192, 0, 2, 11).into();
        let mut kernel = orders(Some(Hold::Announce), true);
        kernel.wanted.push(gate::Wanted {
            address: second,
            legs: vec!["lan".into()],
            hold: Hold::Probe,
        });
        segment.order(kernel);
        let taken = segment.seen().await;
        assert!(matches!(taken, Seen::Wire(address, _, Some(Wire::Probing)) if address == second));
        segment.ask().await;
        // The defence comes after whatever the question would have brought.
        let claim = Arp::announcement(Operation::Request, PEER, VIP);
        segment.peer.send(&claim.emit()).await.unwrap();
        while !matches!(segment.seen().await, Seen::Contested(_, PEER)) {}
        assert_eq!((segment.metrics.requests.get(), segment.metrics.answers.get()), (2, 1));
    });
}

#[test]
fn a_taken_address_is_told_and_not_announced() {
    on_a_segment(|mut segment| async move {
        segment.order(orders(Some(Hold::Announce), false));
        let probe = segment.arp().await;
        segment.peer.send(&probe.reply(PEER).emit()).await.unwrap();
        segment.until(Some(Wire::Conflict { mac: PEER.octets() })).await;
        assert_eq!(segment.metrics.gratuitous.get(), 0);
    });
}

#[test]
fn an_interface_that_vanishes_and_returns_is_taken_up_again() {
    on_a_segment(|mut segment| async move {
        segment.order(orders(Some(Hold::Announce), false));
        segment.until(Some(Wire::Announced)).await;
        let mut gone = orders(Some(Hold::Announce), false);
        gone.legs.clear();
        ip("link delete lan");
        segment.order(gone);
        segment.until(None).await;
        make_pair();
        segment.peer = PacketSocket::open(NonZeroU32::new(index("peer")).unwrap()).unwrap();
        segment.order(orders(Some(Hold::Announce), false));
        segment.until(Some(Wire::Announced)).await;
        assert_eq!(segment.arp().await, Arp::probe(OURS, VIP));
    });
}

#[test]
fn a_leg_that_cannot_be_opened_is_tried_again() {
    on_a_segment(|mut segment| async move {
        let mut orders = orders(Some(Hold::Announce), false);
        let real = orders.legs[0].ifindex;
        orders.legs[0].ifindex = real + 1000;
        segment.order(orders.clone());
        // Nothing is heard of it: it is no leg. The interface comes with the index it was given.
        ip("link delete lan");
        let pair = format!(
            "link add lan index {} address 02:00:00:00:00:01 type veth peer name peer address 02:00:00:00:00:02",
            real + 1000
        );
        ip(&pair);
        ip("link set lan up");
        ip("link set peer up");
        segment.until(Some(Wire::Announced)).await;
    });
}

#[test]
fn a_switch_that_snoops_learns_the_group_of_an_ipv6_address() {
    on_a_segment(|mut segment| async move {
        ip("link add name switch type bridge mcast_snooping 1 mcast_querier 1");
        ip("link set peer master switch");
        ip("link set switch up");
        let mut orders = orders(None, false);
        let vip = "2001:db8::ab:cd10".parse().unwrap();
        orders.wanted =
            vec![gate::Wanted { address: vip, legs: vec!["lan".into()], hold: Hold::Announce }];
        segment.order(orders);
        while !matches!(segment.seen().await, Seen::Wire(_, _, Some(Wire::Announced))) {}
        let groups = || Command::new("bridge").args(["mdb", "show"]).output().unwrap().stdout;
        let deadline = Instant::now() + PATIENCE;
        while !String::from_utf8_lossy(&groups()).contains("grp ff02::1:ffab:cd10") {
            assert!(Instant::now() < deadline, "{}", String::from_utf8_lossy(&groups()));
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}
