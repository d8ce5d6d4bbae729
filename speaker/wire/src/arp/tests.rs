use proptest::prelude::*;

use super::*;

const STATION: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const ASKER: Mac = Mac::new([2, 0, 0, 0, 0, 9]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

fn request() -> Arp {
    Arp {
        ethernet_destination: Mac::BROADCAST,
        ethernet_source: ASKER,
        operation: Operation::Request,
        sender_mac: ASKER,
        sender_ip: Ipv4Addr::new(192, 0, 2, 1),
        target_mac: Mac::ZERO,
        target_ip: VIP,
    }
}

#[test]
fn a_probe_is_the_octets_of_rfc_5227() {
    let expected = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x08, 0x06, // ethernet
        0, 1, 0x08, 0x00, 6, 4, 0, 1, // ethernet, ipv4, request
        2, 0, 0, 0, 0, 1, 0, 0, 0, 0, // sender
        0, 0, 0, 0, 0, 0, 192, 0, 2, 10, // target
    ];
    let probe = Arp::probe(STATION, VIP);
    assert_eq!(probe.emit(), expected);
    assert!(probe.is_probe());
    assert!(!request().is_probe());
}

#[test]
fn both_forms_of_an_announcement_name_the_address_twice() {
    let request = Arp::announcement(Operation::Request, STATION, VIP);
    let reply = Arp::announcement(Operation::Reply, STATION, VIP);
    for form in [request, reply] {
        assert_eq!((form.sender_ip, form.target_ip), (VIP, VIP));
        assert_eq!((form.ethernet_source, form.sender_mac), (STATION, STATION));
        assert_eq!(form.ethernet_destination, Mac::BROADCAST);
    }
    assert_eq!((request.emit()[21], reply.emit()[21]), (1, 2));
}

#[test]
fn a_reply_goes_to_the_one_who_asked() {
    let reply = request().reply(STATION);
    assert_eq!(reply.ethernet_destination, ASKER);
    assert_eq!((reply.sender_mac, reply.sender_ip), (STATION, VIP));
    assert_eq!((reply.target_mac, reply.target_ip), (ASKER, Ipv4Addr::new(192, 0, 2, 1)));
    assert_eq!(reply.operation, Operation::Reply);
}

#[test]
fn padding_after_the_packet_is_passed_over() {
    let mut frame = request().emit().to_vec();
    frame.resize(60, 0xaa);
    assert_eq!(Arp::parse(&frame), Ok(request()));
}

#[test]
fn every_truncation_is_told() {
    let frame = request().emit();
    for length in 0..frame.len() {
        let error = Arp::parse(&frame[..length]).unwrap_err();
        assert!(matches!(error, ArpError::Truncated { have, .. } if have == length), "{error}");
    }
}

#[test]
fn foreign_hardware_protocols_and_operations_are_refused_by_name() {
    let refused = |offset: usize, value: u8| {
        let mut frame = request().emit().to_vec();
        frame.resize(600, 0);
        frame[offset] = value;
        Arp::parse(&frame).unwrap_err()
    };
    assert_eq!(refused(15, 6), ArpError::Hardware { kind: 6, length: 6 });
    assert_eq!(refused(18, 8), ArpError::Hardware { kind: 1, length: 8 });
    assert_eq!(refused(17, 1), ArpError::Protocol { kind: 0x0801, length: 4 });
    assert_eq!(refused(19, 16), ArpError::Protocol { kind: 0x0800, length: 16 });
    assert_eq!(refused(21, 0), ArpError::Operation(0));
    assert_eq!(refused(20, 1), ArpError::Operation(257));
    assert_eq!(refused(12, 0x86), ArpError::EtherType(0x8606));
}

fn mac() -> impl Strategy<Value = Mac> {
    any::<[u8; 6]>().prop_map(Mac::new)
}

proptest! {
    #[test]
    fn what_is_emitted_is_read_back(
        macs in (mac(), mac(), mac(), mac()),
        ips in any::<(u32, u32)>(),
        reply in any::<bool>(),
    ) {
        let arp = Arp {
            ethernet_destination: macs.0,
            ethernet_source: macs.1,
            operation: if reply { Operation::Reply } else { Operation::Request },
            sender_mac: macs.2,
            sender_ip: ips.0.into(),
            target_mac: macs.3,
            target_ip: ips.1.into(),
        };
        prop_assert_eq!(Arp::parse(&arp.emit()), Ok(arp));
    }

    #[test]
    fn a_mutated_packet_is_read_or_refused(offset in 0..FRAME, value in any::<u8>(), cut in 0..=FRAME) {
        let mut frame = request().emit();
        frame[offset] = value;
        if let Ok(arp) = Arp::parse(&frame[..cut]) {
            prop_assert_eq!(&arp.emit()[..], &frame[..cut]);
        }
    }
}
