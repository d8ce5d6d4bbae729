//! Packet sockets on a veth pair in a network namespace of each test's own: frames are really sent
//! by one end and heard, or not heard, by the other.

use std::{
    fs,
    future::Future,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::sched::{CloneFlags, unshare};

use super::*;

const NEAR: [u8; 6] = [2, 0, 0, 0, 0, 1];
const FAR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const BROADCAST: [u8; 6] = [0xff; 6];

/// Runs `test` with a current-thread runtime in a fresh network namespace that holds the veth pair
/// `near` and `far`. The namespace goes with the thread.
fn on_a_segment<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let body = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("tests of packet sockets run as root");
        ip(
            "link add near address 02:00:00:00:00:01 type veth peer name far address 02:00:00:00:00:02",
        );
        for end in ["near", "far"] {
            // No chatter of the kernel's own on the segment.
            ip(&format!("link set {end} addrgenmode none up"));
        }
        wait_for_carrier();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test());
    };
    if let Err(panic) = thread::spawn(body).join() {
        std::panic::resume_unwind(panic);
    }
}

fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "ip {arguments}");
}

/// Frames that are sent before the kernel has seen the carrier are lost without an error.
fn wait_for_carrier() {
    let deadline = Instant::now() + Duration::from_secs(10);
    let up = || {
        let links = Command::new("ip").args(["-o", "link", "show", "up"]).output().unwrap().stdout;
        String::from_utf8_lossy(&links).matches("state UP").count() == 2
    };
    while !up() {
        assert!(Instant::now() < deadline, "the veth pair has no carrier");
        thread::sleep(Duration::from_millis(2));
    }
}

fn index(name: &str) -> NonZeroU32 {
    NonZeroU32::new(nix::net::if_::if_nametoindex(name).unwrap()).unwrap()
}

fn segment_end(name: &str) -> PacketSocket {
    PacketSocket::open(index(name)).unwrap()
}

fn frame(to: [u8; 6], from: [u8; 6], rest: &[u8]) -> Vec<u8> {
    let mut frame = [&to[..], &from, rest].concat();
    frame.resize(90, 0);
    frame
}

fn arp(to: [u8; 6], mark: u8) -> Vec<u8> {
    frame(to, NEAR, &[0x08, 0x06, mark])
}

fn icmpv6(to: [u8; 6], next_header: u8, kind: u8) -> Vec<u8> {
    let mut frame = frame(to, NEAR, &[0x86, 0xdd, 0x60]);
    frame[20] = next_header;
    frame[54] = kind;
    frame
}

/// Sends the frames, then one that is surely heard: what arrives before it is what passed.
async fn heard(near: &PacketSocket, far: &mut PacketSocket, frames: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let last = arp(FAR, 0xee);
    for frame in frames {
        near.send(frame).await.unwrap();
    }
    // One for each of the two sockets behind the pair, so that neither is ahead of the other.
    near.send(&icmpv6(FAR, 58, 136)).await.unwrap();
    near.send(&last).await.unwrap();
    let mut passed = Vec::new();
    let mut ends = 0;
    let mut buffer = [0; 256];
    while ends < 2 {
        let length = far.recv(&mut buffer).await.unwrap();
        if buffer[..length] == last || buffer[..length] == icmpv6(FAR, 58, 136) {
            ends += 1;
        } else {
            passed.push(buffer[..length].to_vec());
        }
    }
    passed.sort();
    passed
}

#[test]
fn arp_and_neighbour_discovery_for_us_are_heard() {
    on_a_segment(|| async {
        let (near, mut far) = (segment_end("near"), segment_end("far"));
        let mut frames = vec![
            arp(BROADCAST, 1),
            arp(FAR, 2),
            icmpv6(FAR, 58, 135),
            icmpv6([0x33, 0x33, 0, 0, 0, 1], 58, 136),
        ];
        let passed = heard(&near, &mut far, &frames).await;
        frames.sort();
        assert_eq!(passed, frames);
    });
}

#[test]
fn frames_of_others_and_of_other_protocols_are_not_heard() {
    on_a_segment(|| async {
        let (near, mut far) = (segment_end("near"), segment_end("far"));
        let frames = [
            arp([2, 0, 0, 0, 0, 3], 1),
            icmpv6([2, 0, 0, 0, 0, 3], 58, 135),
            icmpv6(FAR, 58, 134),
            icmpv6(FAR, 17, 135),
        ];
        assert!(heard(&near, &mut far, &frames).await.is_empty());
    });
}

#[test]
fn what_a_host_sends_itself_is_not_heard() {
    on_a_segment(|| async {
        let (mut near, mut far) = (segment_end("near"), segment_end("far"));
        near.send(&arp(BROADCAST, 1)).await.unwrap();
        far.send(&frame(BROADCAST, FAR, &[0x08, 0x06, 2])).await.unwrap();
        let mut buffer = [0; 256];
        let length = near.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], frame(BROADCAST, FAR, &[0x08, 0x06, 2]));
        let length = far.recv(&mut buffer).await.unwrap();
        assert_eq!(buffer[..length], arp(BROADCAST, 1));
    });
}

#[test]
fn tagged_frames_are_not_heard() {
    on_a_segment(|| async {
        let (near, mut far) = (segment_end("near"), segment_end("far"));
        let sender = Socket::new(Domain::PACKET, Type::RAW, None).unwrap();
        raw::bind(&sender, index("near"), 0x8100).unwrap();
        for mut frame in [arp(BROADCAST, 1), arp(FAR, 2), icmpv6(FAR, 58, 135)] {
            frame.splice(12..12, [0x81, 0x00, 0x00, 0x07]);
            sender.send(&frame).unwrap();
        }
        assert!(heard(&near, &mut far, &[]).await.is_empty());
    });
}

#[test]
fn groups_are_joined_and_left_as_wanted() {
    on_a_segment(|| async {
        let mut near = segment_end("near");
        let groups = |last: &[u8]| -> BTreeSet<[u8; 6]> {
            last.iter().map(|last| [0x33, 0x33, 0xff, 0, 0, *last]).collect()
        };
        let joined = || {
            let table = fs::read_to_string("/proc/thread-self/net/dev_mcast").unwrap();
            let near = table.lines().filter(|line| line.split_whitespace().nth(1) == Some("near"));
            near.filter_map(|line| line.split_whitespace().last().map(str::to_owned))
                .filter(|group| group.starts_with("3333ff"))
                .collect::<BTreeSet<_>>()
        };
        near.set_groups(&groups(&[1, 2])).unwrap();
        assert_eq!(joined(), BTreeSet::from(["3333ff000001".into(), "3333ff000002".into()]));
        near.set_groups(&groups(&[2, 3])).unwrap();
        assert_eq!(joined(), BTreeSet::from(["3333ff000002".into(), "3333ff000003".into()]));
        near.set_groups(&groups(&[2, 3])).unwrap();
        near.set_groups(&groups(&[])).unwrap();
        assert_eq!(joined(), BTreeSet::new());
    });
}

#[test]
fn an_interface_that_goes_down_and_up_is_heard_again() {
    on_a_segment(|| async {
        let (near, mut far) = (segment_end("near"), segment_end("far"));
        ip("link set far down");
        assert!(far.send(&arp(BROADCAST, 1)).await.is_err());
        ip("link set far up");
        wait_for_carrier();
        assert_eq!(heard(&near, &mut far, &[arp(BROADCAST, 3)]).await, [arp(BROADCAST, 3)]);
    });
}

#[test]
fn a_removed_interface_is_told_on_sending_and_on_opening() {
    on_a_segment(|| async {
        let near = segment_end("near");
        ip("link delete near");
        assert!(near.send(&arp(BROADCAST, 1)).await.is_err());
        let again = PacketSocket::open(near.interface());
        assert!(matches!(again, Err(OpenError::Bind { .. })));
    });
}

#[test]
fn only_address_resolution_can_be_sent() {
    on_a_segment(|| async {
        let near = segment_end("near");
        let error = near.send(&frame(FAR, NEAR, &[0x08, 0x00])).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    });
}

/// A TCP segment without a payload from or to a port, in a frame to `to`.
fn segment(to: [u8; 6], ipv6: bool, source: u16, destination: u16) -> Vec<u8> {
    let head: &[u8] = if ipv6 { &[0x86, 0xdd, 0x60] } else { &[0x08, 0x00, 0x46] };
    let mut frame = frame(to, NEAR, head);
    // An IPv4 header with an option: what lies behind it is found by its length.
    let (protocol, tcp) = if ipv6 { (20, 54) } else { (23, 38) };
    frame[protocol] = 6;
    frame[tcp..tcp + 2].copy_from_slice(&source.to_be_bytes());
    frame[tcp + 2..tcp + 4].copy_from_slice(&destination.to_be_bytes());
    frame
}

#[test]
fn a_tap_sees_one_port_and_address_resolution_in_both_directions() {
    on_a_segment(|| async {
        for (tapped, sender) in [("near", "near"), ("far", "near")] {
            let mut tap = Tap::open(index(tapped), 4040).unwrap();
            let sender = Tap::open(index(sender), 1).unwrap();
            let mut udp = segment(FAR, false, 4040, 80);
            udp[23] = 17;
            let unseen = [
                segment(FAR, false, 4041, 80),
                segment(FAR, true, 80, 4041),
                udp,
                icmpv6(FAR, 58, 128),
            ];
            let seen = [
                segment(FAR, false, 4040, 80),
                segment(FAR, false, 80, 4040),
                segment(FAR, true, 4040, 80),
                segment(FAR, true, 80, 4040),
                icmpv6(FAR, 58, 135),
                icmpv6(FAR, 58, 136),
                arp(BROADCAST, 1),
            ];
            for frame in unseen.iter().chain(&seen) {
                sender.send(frame).await.unwrap();
            }
            for wanted in &seen {
                let mut buffer = [0; 2048];
                let length = tap.recv(&mut buffer).await.unwrap();
                assert_eq!(&buffer[..length], wanted, "at {tapped}");
            }
        }
    });
}
