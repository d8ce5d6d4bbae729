//! Packets cut at every byte and packets with every bit of their headers flipped: never a frame with
//! a broken checksum, never a flow that nobody asked for, never an answer to what cannot be read.

use crate::{
    flow,
    frame::{self, ACK, Ip, SYN, Tcp},
    rig::{Leg, Rig, Verdict},
    seen::Seen,
    world::{CLIENT_PORT, DNS, FAMILIES, Family, HTTP},
};

/// The length of Ethernet and IP headers: the kernel's test run refuses frames that are shorter.
fn headers(family: &Family) -> usize {
    14 + if family.vip.is_ipv4() { 20 } else { 40 }
}

#[test]
fn a_frame_cut_within_its_headers_opens_nothing() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let segment = family.tcp(&rig, HTTP, &Tcp::flags(SYN));
        let datagram = family.udp(&rig, DNS, b"");
        for whole in [segment, datagram] {
            for length in headers(&family)..whole.len() {
                let outcome = rig.send(Leg::Lan, &whole[..length]);
                outcome.assert_dropped("malformed", &format!("{length} bytes"));
            }
        }
        assert_eq!(rig.count("flows"), 0);
    }
}

#[test]
fn an_error_cut_anywhere_is_translated_whole_or_not_at_all() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let flow = flow::open_tcp(&rig, &family, CLIENT_PORT);
        let packet = Ip::new(flow.snat.ip(), flow.node.ip())
            .packet(frame::TCP, &Tcp::data(40).segment(flow.snat, flow.node));
        let ends = (flow.node.ip(), flow.snat.ip());
        for length in 0..packet.len() {
            let (protocol, message) =
                family.icmp(ends, [(3, 1), (1, 3)], [0; 4], &packet[..length]);
            let ip = Ip::new(ends.0, ends.1);
            let frame = family.node_sends(&rig, &ip, protocol, &message);
            let outcome = rig.send(Leg::Rack, &frame);
            if outcome.verdict == Verdict::Redirect {
                let quote = Seen::parse(&outcome.frame).quote();
                assert_eq!(quote.destination, family.vip_at(HTTP), "{length} bytes quoted");
            } else {
                outcome.assert_untouched(&frame, &format!("{length} bytes quoted"));
            }
        }
    }
}

#[test]
fn a_flipped_bit_never_makes_a_wrong_packet_right_or_a_right_one_wrong() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let good = [
            family.tcp(&rig, HTTP, &Tcp::flags(SYN)),
            family.tcp(&rig, HTTP, &Tcp::flags(ACK)),
            family.udp(&rig, DNS, b"abc"),
        ];
        for (frame, bit) in
            good.iter().flat_map(|frame| (14 * 8..frame.len() * 8).map(move |bit| (frame, bit)))
        {
            let mut flipped = frame.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let outcome = rig.send(Leg::Lan, &flipped);
            if outcome.verdict == Verdict::Redirect && outcome.counted.is_empty() {
                assert_eq!(
                    Seen::read(&outcome.frame).is_ok(),
                    Seen::read(&flipped).is_ok(),
                    "bit {bit}"
                );
            }
            if outcome.verdict == Verdict::Pass {
                assert_eq!(outcome.frame, flipped, "bit {bit}");
            }
        }
    }
}

#[test]
fn a_length_beyond_the_frame_is_never_answered() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let mut frame = family.udp(&rig, 4_444, &frame::bytes(100));
        let at = if family.vip.is_ipv4() { 14 + 2 } else { 14 + 4 };
        frame[at..at + 2].copy_from_slice(&400_u16.to_be_bytes());
        let outcome = rig.send(Leg::Lan, &frame);
        assert_ne!(outcome.verdict, Verdict::Redirect);
    }
}

#[test]
fn what_stands_in_the_padding_is_no_header() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let mut frame = family.tcp(&rig, HTTP, &Tcp::flags(SYN));
        let (at, length) = if family.vip.is_ipv4() { (14 + 2, 39_u16) } else { (14 + 4, 19) };
        frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
        rig.send(Leg::Lan, &frame).assert_dropped("malformed", "TCP of 19 bytes");
        let (protocol, message) =
            family.icmp((family.client, family.vip), [(8, 0), (128, 0)], [0; 4], b"padding");
        let ip = Ip::new(family.client, family.vip);
        let mut frame = family.client_sends(&rig, &ip, protocol, &message);
        let length: u16 = if family.vip.is_ipv4() { 27 } else { 7 };
        frame[at..at + 2].copy_from_slice(&length.to_be_bytes());
        rig.send(Leg::Lan, &frame).assert_dropped("protocol", "ICMP of 7 bytes");
    }
}

/// RFC 9293 section 3.1: at least five words, and no more than there are.
#[test]
fn a_data_offset_that_cannot_be_is_malformed() {
    for family in FAMILIES {
        let rig = Rig::serving();
        let whole = family.tcp(&rig, HTTP, &Tcp::flags(SYN));
        let offset_at = headers(&family) + 12;
        for words in [0, 4, 6, 15] {
            let mut frame = whole.clone();
            frame[offset_at] = words << 4;
            rig.send(Leg::Lan, &frame).assert_dropped("malformed", &format!("{words} words"));
        }
        assert_eq!(rig.count("flows"), 0);
    }
}
