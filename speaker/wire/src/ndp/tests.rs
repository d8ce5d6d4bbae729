use etherparse::Icmpv6Header;
use proptest::prelude::*;

use super::*;

const STATION: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const ASKER: Mac = Mac::new([2, 0, 0, 0, 0, 9]);

fn vip() -> Ipv6Addr {
    "2001:db8::ab:cd10".parse().unwrap()
}

fn asker() -> Ipv6Addr {
    "fe80::9".parse().unwrap()
}

fn solicitation() -> Solicitation {
    let destination = solicited_node(vip());
    Solicitation {
        ethernet_destination: Mac::of_ipv6_multicast(destination),
        ethernet_source: ASKER,
        source: asker(),
        destination,
        target: vip(),
        source_link_layer: Some(ASKER),
        nonce: None,
    }
}

/// Writes `octets` into a frame and mends the checksum, so that only the rule under test is broken.
fn with(frame: &[u8], offset: usize, octets: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    frame[offset..offset + octets.len()].copy_from_slice(octets);
    mend(&mut frame);
    frame
}

fn mend(frame: &mut [u8]) {
    let source = frame[22..38].try_into().unwrap();
    let destination = frame[38..54].try_into().unwrap();
    let (mut header, _) = Icmpv6Header::from_slice(&frame[54..]).unwrap();
    let length = header.header_len();
    header.update_checksum(source, destination, &frame[54 + length..]).unwrap();
    frame[56..58].copy_from_slice(&header.checksum.to_be_bytes());
}

#[test]
fn a_probe_is_the_octets_of_rfc_4862() {
    let frame = Solicitation::probe(STATION, vip(), Nonce([1, 2, 3, 4, 5, 6])).emit();
    assert_eq!(frame[..14], [0x33, 0x33, 0xff, 0xab, 0xcd, 0x10, 2, 0, 0, 0, 0, 1, 0x86, 0xdd]);
    assert_eq!(frame[14..22], [0x60, 0, 0, 0, 0, 32, 58, 255]);
    assert_eq!(frame[22..38], [0; 16]);
    assert_eq!(frame[38..54], solicited_node(vip()).octets());
    assert_eq!(frame[54..56], [135, 0]);
    assert_eq!(frame[58..62], [0; 4]);
    assert_eq!(frame[62..78], vip().octets());
    assert_eq!(frame[78..], [14, 1, 1, 2, 3, 4, 5, 6]);
    let mut mended = frame.clone();
    mend(&mut mended);
    assert_eq!(mended, frame);
}

#[test]
fn a_solicitation_is_answered_solicited_with_override() {
    let answer = solicitation().reply(STATION);
    assert_eq!((answer.ethernet_destination, answer.destination), (ASKER, asker()));
    assert_eq!((answer.source, answer.target), (vip(), vip()));
    assert_eq!(answer.flags, Flags { router: false, solicited: true, overriding: true });
    assert_eq!(answer.target_link_layer, Some(STATION));
    assert_eq!(answer.emit()[58], 0x60);
}

#[test]
fn duplicate_address_detection_is_answered_to_all_nodes() {
    let answer = Solicitation::probe(ASKER, vip(), Nonce([0; 6])).reply(STATION);
    assert_eq!(answer, Advertisement::announcement(STATION, vip()));
    assert_eq!((answer.destination, answer.flags.solicited), (ALL_NODES, false));
    assert_eq!(answer.ethernet_destination.to_string(), "33:33:00:00:00:01");
}

#[test]
fn a_unicast_solicitation_without_option_is_answered_to_its_frame() {
    let mut unicast = solicitation();
    unicast.source_link_layer = None;
    assert_eq!(unicast.reply(STATION).ethernet_destination, ASKER);
}

#[test]
fn every_truncation_is_refused() {
    let frame = solicitation().emit();
    for length in 0..frame.len() {
        let error = parse(&frame[..length]).unwrap_err();
        assert!(matches!(error, NdpError::Truncated { have, .. } if have == length), "{error}");
    }
}

#[test]
fn a_message_shortened_in_its_header_is_refused() {
    let frame = solicitation().emit();
    for length in 0..32_u8 {
        let mut short = frame.clone();
        short[19] = length;
        assert!(parse(&short).is_err(), "payload length {length}");
    }
}

#[test]
fn each_rule_of_rfc_4861_7_1_refuses_by_its_own_name() {
    let valid = solicitation().emit();
    let check = |frame: Vec<u8>| parse(&frame).unwrap_err();
    assert_eq!(check(with(&valid, 12, &[8, 6])), NdpError::EtherType(0x0806));
    assert_eq!(check(with(&valid, 14, &[0x40])), NdpError::Version(4));
    assert_eq!(check(with(&valid, 20, &[44])), NdpError::NextHeader(44));
    assert_eq!(check(with(&valid, 21, &[254])), NdpError::HopLimit(254));
    assert_eq!(check(with(&valid, 54, &[134])), NdpError::Type(134));
    assert_eq!(check(with(&valid, 55, &[1])), NdpError::Code(1));
    let group: Ipv6Addr = "ff02::5".parse().unwrap();
    assert_eq!(check(with(&valid, 62, &group.octets())), NdpError::Target(group));
    assert_eq!(check(with(&valid, 22, &group.octets())), NdpError::Source(group));
    let zero_length = NdpError::OptionLength { kind: 1, units: 0, rest: 8 };
    assert_eq!(check(with(&valid, 79, &[0])), zero_length);
    let overrun = NdpError::OptionLength { kind: 1, units: 2, rest: 8 };
    assert_eq!(check(with(&valid, 79, &[2])), overrun);
    let mut checksum = valid.clone();
    checksum[57] ^= 1;
    assert_eq!(check(checksum), NdpError::Checksum);
}

#[test]
fn a_message_of_less_than_24_octets_is_refused() {
    let mut frame = solicitation().emit();
    frame.truncate(14 + 40 + 23);
    frame[19] = 23;
    mend(&mut frame);
    assert_eq!(parse(&frame), Err(NdpError::Length(23)));
}

#[test]
fn a_probe_goes_to_a_solicited_node_group_without_link_layer_address() {
    let mut probe = Solicitation::probe(ASKER, vip(), Nonce([7; 6]));
    probe.source_link_layer = Some(ASKER);
    assert_eq!(parse(&probe.emit()), Err(NdpError::ProbeLinkLayer));
    probe.source_link_layer = None;
    probe.destination = vip();
    assert_eq!(parse(&probe.emit()), Err(NdpError::ProbeDestination(vip())));
}

#[test]
fn a_group_hears_no_solicited_advertisement() {
    let mut advertisement = Advertisement::announcement(STATION, vip());
    advertisement.flags.solicited = true;
    assert_eq!(parse(&advertisement.emit()), Err(NdpError::SolicitedToGroup(ALL_NODES)));
}

#[test]
fn a_link_layer_address_of_two_units_is_not_ethernet() {
    let mut frame = solicitation().emit();
    frame.extend([0; 8]);
    frame[19] += 8;
    let frame = with(&frame, 79, &[2]);
    assert_eq!(parse(&frame), Err(NdpError::LinkLayerLength { kind: 1, units: 2 }));
}

#[test]
fn unknown_options_and_long_nonces_are_passed_over() {
    let mut frame = solicitation().emit();
    frame.extend([200, 1, 9, 9, 9, 9, 9, 9]);
    frame.extend([14, 2, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]);
    frame[19] += 24;
    mend(&mut frame);
    assert_eq!(parse(&frame), Ok(Ndp::Solicitation(solicitation())));
}

#[test]
fn octets_behind_the_ipv6_payload_are_padding() {
    let mut frame = solicitation().emit();
    frame.extend([0xaa; 10]);
    assert_eq!(parse(&frame), Ok(Ndp::Solicitation(solicitation())));
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac::new)
}

fn unicast() -> impl Strategy<Value = Ipv6Addr> {
    any::<[u8; 16]>().prop_map(|mut octets| {
        octets[0] &= 0x7f;
        octets[15] |= 1;
        octets.into()
    })
}

prop_compose! {
    fn any_solicitation()(
        macs in (mac(), mac()), source in unicast(), target in unicast(), multicast in any::<bool>(),
        source_link_layer in proptest::option::of(mac()), nonce in proptest::option::of(any::<[u8; 6]>()),
    ) -> Solicitation {
        Solicitation {
            ethernet_destination: macs.0,
            ethernet_source: macs.1,
            source,
            destination: if multicast { solicited_node(target) } else { target },
            target,
            source_link_layer,
            nonce: nonce.map(Nonce),
        }
    }
}

prop_compose! {
    fn any_advertisement()(
        macs in (mac(), mac()), ends in (unicast(), unicast()), target in unicast(),
        flags in any::<[bool; 3]>(), target_link_layer in proptest::option::of(mac()),
    ) -> Advertisement {
        Advertisement {
            ethernet_destination: macs.0,
            ethernet_source: macs.1,
            source: ends.0,
            destination: if flags[1] { ends.1 } else { ALL_NODES },
            target,
            flags: Flags { router: flags[0], solicited: flags[1], overriding: flags[2] },
            target_link_layer,
        }
    }
}

proptest! {
    #[test]
    fn solicitations_are_read_back(message in any_solicitation()) {
        prop_assert_eq!(parse(&message.emit()), Ok(Ndp::Solicitation(message)));
    }

    #[test]
    fn advertisements_are_read_back(message in any_advertisement()) {
        prop_assert_eq!(parse(&message.emit()), Ok(Ndp::Advertisement(message)));
    }

    #[test]
    fn mutated_options_are_read_or_refused(
        message in any_solicitation(),
        tail in proptest::collection::vec(any::<u8>(), 0..80),
    ) {
        let mut frame = message.emit();
        frame.truncate(78);
        frame.extend(&tail);
        frame[18..20].copy_from_slice(&u16::try_from(24 + tail.len()).unwrap().to_be_bytes());
        mend(&mut frame);
        if let Ok(Ndp::Solicitation(read)) = parse(&frame) {
            prop_assert_eq!(parse(&read.emit()), Ok(Ndp::Solicitation(read)));
        }
    }

    #[test]
    fn one_flipped_bit_is_never_taken_for_the_message(message in any_solicitation(), bit in 112_usize..624) {
        let mut frame = message.emit();
        frame[bit / 8] ^= 1 << (bit % 8);
        let read = parse(&frame);
        // Traffic class and flow label are the only bits that no rule and no checksum covers.
        let uncovered = (116..144).contains(&(bit / 8 * 8 + (7 - bit % 8)));
        prop_assert_eq!(read == Ok(Ndp::Solicitation(message)), uncovered);
    }
}
