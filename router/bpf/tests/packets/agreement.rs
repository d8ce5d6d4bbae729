//! The program and the model of it agree on sequences of random and mutated packets.

use std::cell::RefCell;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    frame::{self, ACK, FIN, Ip, Mac, RST, SYN, Tcp},
    model::{Decision, Ends, FlowKey, Model, translated, view},
    rig::{Leg, Outcome, Rig, Verdict},
    world::{CLIENT_MAC, CLOSED, DNS, FAMILIES, Family, HOST, HTTP, ORPHAN, node_mac},
};

/// Which packet to make next.
#[derive(Clone, Debug)]
enum Kind {
    Tcp {
        flags: u8,
        options: bool,
    },
    Udp {
        unsummed: bool,
    },
    Ping,
    Message {
        kinds: [(u8, u8); 2],
    },
    /// About a packet of one of the flows there are.
    Error {
        kinds: [(u8, u8); 2],
        quoted: usize,
        mtu: u16,
    },
    Other {
        protocol: u8,
    },
}

#[derive(Clone, Debug)]
enum From {
    Client,
    /// The node of one of the flows there are.
    Node,
    /// A router on the way to either.
    Router {
        rack: bool,
    },
    Strange {
        index: usize,
    },
}

/// A recipe: what it becomes depends on the flows that are there.
#[derive(Clone, Debug)]
struct Recipe {
    family: usize,
    from: From,
    kind: Kind,
    /// Chooses among flows.
    flow: usize,
    ports: (u16, u16),
    to_host: bool,
    payload: usize,
    hop_limit: u8,
    id: u32,
    /// 0 whole, 1 first, 2 later fragment.
    fragment: u8,
    between: u8,
    /// Bits to flip after the Ethernet addresses, and bytes to cut or add.
    flips: Vec<u16>,
    resize: i8,
}

const ERRORS: [[(u8, u8); 2]; 6] = [
    [(3, 3), (1, 4)],
    [(3, 1), (1, 0)],
    [(3, 4), (2, 0)],
    [(11, 0), (3, 0)],
    [(12, 0), (4, 1)],
    [(5, 0), (5, 0)],
];

fn kinds() -> impl Strategy<Value = Kind> {
    let flags = select(vec![SYN, SYN, ACK, SYN | ACK, FIN | ACK, RST, RST | ACK, SYN | RST, 0]);
    prop_oneof![
        6 => (flags, any::<bool>()).prop_map(|(flags, options)| Kind::Tcp { flags, options }),
        3 => any::<bool>().prop_map(|unsummed| Kind::Udp { unsummed }),
        1 => Just(Kind::Ping),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(kind, code)| Kind::Message { kinds: [(kind, code); 2] }),
        3 => (select(ERRORS.to_vec()), 0..120_usize, select(vec![0, 67, 68, 600, 1_279, 1_280, 1_400]))
            .prop_map(|(kinds, quoted, mtu)| Kind::Error { kinds, quoted, mtu }),
        1 => any::<u8>().prop_map(|protocol| Kind::Other { protocol }),
    ]
}

fn senders() -> impl Strategy<Value = From> {
    prop_oneof![
        6 => Just(From::Client),
        4 => Just(From::Node),
        1 => any::<bool>().prop_map(|rack| From::Router { rack }),
        1 => (0..6_usize).prop_map(|index| From::Strange { index }),
    ]
}

prop_compose! {
    fn recipes()(
        family in 0..2_usize,
        from in senders(),
        kind in kinds(),
        flow in 0..8_usize,
        ports in (40_000..40_002_u16, select(vec![HTTP, HTTP, HTTP, DNS, DNS, DNS, ORPHAN, CLOSED])),
        to_host in prop::bool::weighted(0.1),
        payload in 0..120_usize,
        hop_limit in select(vec![64, 64, 64, 64, 64, 255, 2, 1, 0]),
        id in 1..4_u32,
        fragment in select(vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 2]),
        between in select(vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 7]),
        flips in prop_oneof![3 => Just(Vec::new()), 1 => vec(any::<u16>(), 1..4)],
        resize in select(vec![0, 0, 0, 0, 0, 18, -1, -5, -20, -60]),
    ) -> Recipe {
        Recipe { family, from, kind, flow, ports, to_host, payload, hop_limit, id, fragment,
                 between, flips, resize }
    }
}

/// Addresses that nobody answers to, or that are our own.
fn strange(family: &Family, index: usize) -> std::net::IpAddr {
    let v4 = ["0.1.2.3", "127.0.0.1", "224.0.0.5", "255.255.255.255", "192.0.2.10", "192.0.2.2"];
    let v6 = ["::", "::1", "ff02::5", "2001:db8:1::10", "::ffff:192.0.2.1", "fe80::1"];
    let all = if family.vip.is_ipv4() { v4 } else { v6 };
    all[index].parse().expect("an address")
}

/// The packet's IP header, its ends with ports, and the leg it comes by.
fn addressed(recipe: &Recipe, model: &Model) -> (Ip, Ends, Leg) {
    let family = &FAMILIES[recipe.family];
    let mut flows: Vec<_> = model
        .flows
        .iter()
        .filter(|(key, _)| key.client.0.is_ipv4() == family.vip.is_ipv4())
        .collect();
    flows.sort_by_key(|(key, _)| (key.client, key.service));
    let chosen = flows.get(recipe.flow % flows.len().max(1)).copied();
    let vip = if recipe.to_host && recipe.family == 0 { HOST } else { family.vip };
    let service = (vip, recipe.ports.1);
    let (source, destination, leg) = match (&recipe.from, chosen) {
        (From::Node, Some((_, flow))) => (flow.node, flow.snat, Leg::Rack),
        (From::Node, None) => ((family.nodes[0], 30_080), (family.snat, 40_000), Leg::Rack),
        (From::Router { rack: true }, _) => ((family.router, 1), (family.snat, 2), Leg::Rack),
        (From::Router { rack: false }, _) => ((family.router, recipe.ports.0), service, Leg::Lan),
        (From::Strange { index }, _) => {
            ((strange(family, *index), recipe.ports.0), service, Leg::Lan)
        }
        (From::Client, _) => ((family.client, recipe.ports.0), service, Leg::Lan),
    };
    (Ip::new(source.0, destination.0), Ends { source, destination }, leg)
}

/// A quotation of what the receiver of the error has sent for one of its flows.
fn quotation(recipe: &Recipe, model: &Model, ends: &Ends, leg: Leg) -> Vec<u8> {
    let about: Vec<(&FlowKey, Ends)> = model
        .flows
        .iter()
        .map(|(key, flow)| match leg {
            Leg::Rack => (key, Ends { source: flow.snat, destination: flow.node }),
            Leg::Lan => (key, Ends { source: key.service, destination: key.client }),
        })
        .filter(|(_, quoted)| quoted.source.0 == ends.destination.0)
        .collect();
    let Some((key, quoted)) = about.get(recipe.flow % about.len().max(1)) else {
        return frame::bytes(recipe.payload);
    };
    let (source, destination) = (quoted.source.into(), quoted.destination.into());
    let l4 = match key.protocol {
        frame::TCP => Tcp::data(recipe.payload).segment(source, destination),
        _ => frame::datagram(source, destination, &frame::bytes(recipe.payload)),
    };
    Ip::new(quoted.source.0, quoted.destination.0).packet(key.protocol, &l4)
}

/// Transport protocol, header and payload.
fn carried(recipe: &Recipe, model: &Model, ends: &Ends, leg: Leg) -> (u8, Vec<u8>) {
    let family = &FAMILIES[recipe.family];
    let (source, destination) = (ends.source.into(), ends.destination.into());
    let payload = frame::bytes(recipe.payload);
    let addresses = (ends.source.0, ends.destination.0);
    match &recipe.kind {
        Kind::Tcp { flags, options } => {
            let options = if *options { vec![2, 4, 5, 180] } else { Vec::new() };
            let tcp = Tcp { options, payload, ..Tcp::flags(*flags) };
            (frame::TCP, tcp.segment(source, destination))
        }
        Kind::Udp { unsummed } => {
            let mut datagram = frame::datagram(source, destination, &payload);
            if *unsummed {
                datagram[6..8].copy_from_slice(&[0, 0]);
            }
            (frame::UDP, datagram)
        }
        Kind::Ping => family.icmp(addresses, [(8, 0), (128, 0)], [1, 2, 3, 4], &payload),
        Kind::Message { kinds } => family.icmp(addresses, *kinds, [0; 4], &payload),
        Kind::Error { kinds, quoted, mtu } => {
            let whole = quotation(recipe, model, ends, leg);
            let cut = &whole[..whole.len().min(quoted + 20)];
            let [high, low] = mtu.to_be_bytes();
            family.icmp(addresses, *kinds, [0, 0, high, low], cut)
        }
        Kind::Other { protocol } => (*protocol, payload),
    }
}

/// The IP header with what the recipe adds to it.
fn header(recipe: &Recipe, ip: Ip) -> Ip {
    let fragment = match recipe.fragment {
        0 => None,
        1 => Some((0, true)),
        _ => Some((64, false)),
    };
    let kinds = [frame::HOP_BY_HOP, frame::DESTINATION_OPTIONS, frame::ROUTING];
    let extensions = (0..recipe.between)
        .map(|index| (kinds[usize::from(index) % 3], vec![0; usize::from(index % 2) * 8]))
        .collect();
    Ip {
        hop_limit: recipe.hop_limit,
        id: recipe.id,
        fragment,
        options: vec![1; usize::from(recipe.between) * 4],
        extensions,
        ..ip
    }
}

fn build(recipe: &Recipe, rig: &Rig, model: &Model) -> (Leg, Vec<u8>) {
    let (ip, ends, leg) = addressed(recipe, model);
    let (protocol, l4) = carried(recipe, model, &ends, leg);
    let packet = header(recipe, ip).packet(protocol, &l4);
    let ethertype = if recipe.family == 0 { 0x0800 } else { 0x86dd };
    let from = if leg == Leg::Lan { CLIENT_MAC } else { node_mac(0) };
    let mut frame = frame::ethernet(rig.mac(leg), from, ethertype, &packet);
    for flip in &recipe.flips {
        let bits = (frame.len() - 14) * 8;
        let bit = 14 * 8 + usize::from(*flip) % bits;
        frame[bit / 8] ^= 1 << (bit % 8);
    }
    // The kernel's test run refuses frames that end within the IP header.
    let least = 14 + if recipe.family == 0 { 20 } else { 40 };
    let length = frame.len().saturating_add_signed(isize::from(recipe.resize)).max(least);
    frame.resize(length, 0xee);
    (leg, frame)
}

fn sent(macs: (Mac, Mac), packet: &[u8]) -> Vec<u8> {
    let ethertype = if packet[0] >> 4 == 4 { 0x0800 } else { 0x86dd };
    frame::ethernet(macs.0, macs.1, ethertype, packet)
}

/// The frame that the decision means, where it means one, and the reason that is counted.
fn meant(
    decision: &Decision,
    rig: &Rig,
    leg: Leg,
    frame: &[u8],
) -> (Verdict, Option<Vec<u8>>, Option<&'static str>) {
    let to_client = (CLIENT_MAC, rig.mac(Leg::Lan));
    let turned = {
        let (to, from) = frame[..12].split_at(6);
        (from.try_into().expect("6 bytes"), to.try_into().expect("6 bytes"))
    };
    let (macs, packet, reason) = match decision {
        Decision::Pass => return (Verdict::Pass, Some(frame.to_vec()), None),
        Decision::Drop(reason) => return (Verdict::Drop, None, Some(*reason)),
        Decision::Answer(reason, packet) => (turned, packet.clone(), *reason),
        Decision::ToClient(packet) => (to_client, packet.clone(), None),
        Decision::Error(packet) if leg == Leg::Rack => (to_client, packet.clone(), None),
        Decision::Error(packet) => (to_node(rig, packet), packet.clone(), None),
        Decision::ToNode(key) => {
            let flow = rig.flows()[key];
            let view = view(frame).expect("the model has read it");
            let packet = translated(&view, &Ends { source: flow.snat, destination: flow.node });
            (to_node(rig, &packet), packet, None)
        }
    };
    (Verdict::Redirect, Some(sent(macs, &packet)), reason)
}

fn to_node(rig: &Rig, packet: &[u8]) -> (Mac, Mac) {
    let destination = if packet[0] >> 4 == 4 { &packet[16..20] } else { &packet[24..40] };
    let is = |node: usize| {
        FAMILIES.iter().any(|family| frame::octets(family.nodes[node]) == destination)
    };
    (node_mac(usize::from(is(1))), rig.mac(Leg::Rack))
}

fn assert_agreement(rig: &Rig, model: &mut Model, recipe: &Recipe) {
    model.flows = rig.flows();
    let (leg, frame) = build(recipe, rig, model);
    let decision = model.decide(&frame);
    let outcome = rig.send(leg, &frame);
    let (verdict, expected, reason) = meant(&decision, rig, leg, &frame);
    let told = || format!("{recipe:?}\n{frame:02x?}\n{decision:02x?}\n{outcome:02x?}");
    assert_eq!(verdict, outcome.verdict, "{}", told());
    assert_eq!(reason.into_iter().collect::<Vec<_>>(), outcome.counted, "{}", told());
    if let Some(expected) = expected {
        assert_eq!(expected, outcome.frame, "{}", told());
    }
    assert_flows(rig, model, &decision, &outcome);
}

/// Flows stay as they were but for the one that this packet opens; both directions go together.
fn assert_flows(rig: &Rig, model: &Model, decision: &Decision, outcome: &Outcome) {
    let after = rig.flows();
    assert_eq!(rig.count("replies"), after.len(), "{decision:?} {outcome:?}");
    for (key, flow) in &model.flows {
        let now = after.get(key);
        let reopened = matches!(decision, Decision::ToNode(opened) if opened == key);
        assert!(now == Some(flow) || reopened, "{key:?} was {flow:?}, is {now:?}");
    }
    let opened: Vec<_> = after.keys().filter(|key| !model.flows.contains_key(key)).collect();
    assert!(opened.len() <= 1, "{opened:?}");
}

#[test]
fn the_program_does_what_the_model_says() {
    let rig = RefCell::new(Rig::serving());
    let config = ProptestConfig { cases: 300, max_shrink_iters: 2_000, ..Default::default() };
    proptest!(config, |(sequence in vec(recipes(), 1..60))| {
        let mut rig = rig.borrow_mut();
        rig.forget();
        let mut model = Model::default();
        for recipe in &sequence {
            assert_agreement(&rig, &mut model, recipe);
        }
    });
}
