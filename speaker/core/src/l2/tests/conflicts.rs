//! Questions and claims of others.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn held(answering: Answering) -> Host {
    let mut host = Host::new(Probe::Off);
    host.want(wanted(Hold::Announce, answering, &[VIP.into(), vip6().into()]));
    host.run_until(SECOND * 10);
    host.events();
    host
}

fn solicitation(source: Ipv6Addr) -> Solicitation {
    let mut solicitation = Solicitation::probe(OTHER, vip6(), Nonce([9; 6]));
    solicitation.source = source;
    solicitation
}

#[test]
fn a_claim_while_probing_keeps_the_address_unannounced_until_it_is_free() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    host.run_until(Duration::from_millis(100));
    host.hear(&uses(OTHER, VIP));
    assert_eq!(host.wire(VIP.into()), Some(Wire::Conflict { mac: OTHER.octets() }));
    assert_eq!(host.run_until(SECOND * 3), []);
    assert_eq!(host.events(), [conflict(VIP, Phase::BeforeUse, Claim::Uses)]);
    let sent = words(&host.run_until(SECOND * 8));
    assert!(sent.iter().filter(|s| s.1 == "probe").count() > 2);
    assert_eq!(host.events(), [probed(VIP), announced(VIP)]);
}

#[test]
fn an_address_that_stays_taken_is_tried_less_and_less() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    let mut probes = host.run_until(Duration::ZERO);
    host.hear(&uses(OTHER, VIP));
    while let Some(due) = host.announcer.next_deadline() {
        if due > host.start + SECOND * 600 {
            break;
        }
        probes.extend(host.run_until(due - host.start));
        host.hear(&Frame::Arp(Arp::probe(OURS, VIP).reply(OTHER)));
    }
    assert!(probes.iter().all(|(_, frame)| word(frame) == "probe"));
    // 5, 10, 20, 40, then 60 s apart, a quarter either way.
    assert!((10..=18).contains(&probes.len()), "{} probes in ten minutes", probes.len());
}

#[test]
fn the_probe_of_another_while_we_probe_is_a_conflict() {
    for (address, probe) in [
        (IpAddr::from(VIP), Frame::Arp(Arp::probe(OTHER, VIP))),
        (vip6().into(), Frame::Solicitation(Solicitation::probe(OTHER, vip6(), Nonce([9; 6])))),
    ] {
        let mut host = Host::new(Probe::Fast);
        host.want(announce(&[address]));
        host.hear(&probe);
        assert_eq!(host.events(), [conflict(address, Phase::BeforeUse, Claim::Probes)]);
        assert_eq!(host.sent(), []);
    }
}

#[test]
fn an_announced_address_is_defended_once_in_ten_seconds() {
    let mut host = held(Answering::Kernel);
    let mut defences = Vec::new();
    for tenth in 100..400_u32 {
        host.run_until(SECOND * tenth / 10);
        host.hear(&uses(OTHER, VIP));
        let sent = host.sent();
        if !sent.is_empty() {
            defences.push(sent[0].0);
            assert_eq!(words(&sent).iter().map(|s| s.1).collect::<Vec<_>>(), ["request", "reply"]);
        }
    }
    assert_eq!(defences, [10_000, 20_000, 30_000]);
    let events = host.events();
    assert_eq!(events, vec![conflict(VIP, Phase::InUse, Claim::Uses); 3]);
    assert_eq!(host.wire(VIP.into()), Some(Wire::Announced));
    let counters = host.announcer.counters();
    assert_eq!((counters.conflicts, counters.defences), (300, 3));
}

#[test]
fn a_late_answer_after_the_fast_probe_is_a_conflict_in_use() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    host.run_until(SECOND);
    host.events();
    let late = Arp::probe(OURS, VIP).reply(OTHER);
    host.hear(&Frame::Arp(late));
    assert_eq!(host.events(), [conflict(VIP, Phase::InUse, Claim::Uses)]);
}

/// A station may take the address long after it was announced and never say a word of itself, as a
/// node does whose kube-proxy puts it on a dummy interface.
#[test]
fn a_silent_station_that_takes_an_announced_address_is_found_at_the_next_refresh() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    host.run_until(SECOND * 10);
    host.events();
    let sent = words(&host.run_until(SECOND * 70));
    let probes = sent.iter().filter(|s| s.1 == "probe").count();
    assert!((1..=2).contains(&probes), "{sent:?}");
    host.hear(&Frame::Arp(Arp::probe(OURS, VIP).reply(OTHER)));
    assert_eq!(host.events(), [conflict(VIP, Phase::InUse, Claim::Uses)]);
}

#[test]
fn a_conflict_in_use_is_told_to_be_over() {
    let mut host = held(Answering::Kernel);
    host.hear(&uses(OTHER, VIP));
    host.events();
    host.run_until(SECOND * 200);
    let (address, leg) = at_leg(VIP);
    assert_eq!(host.events(), [Event::Settled { address, leg }]);
}

#[test]
fn duplicate_address_detection_of_another_is_answered_and_defended() {
    let mut host = held(Answering::UserSpace);
    host.hear(&Frame::Solicitation(solicitation(Ipv6Addr::UNSPECIFIED)));
    let sent = words(&host.sent());
    let kinds: Vec<_> = sent.iter().map(|s| s.1).collect();
    assert_eq!(kinds, ["unsolicited", "join", "unsolicited"]);
    assert_eq!(host.events(), [conflict(vip6(), Phase::InUse, Claim::Probes)]);
}

#[test]
fn requests_to_all_and_to_us_are_answered_in_user_space_only_if_told_so() {
    let mut unicast = Arp::probe(OTHER, VIP);
    unicast.sender_ip = Ipv4Addr::new(192, 0, 2, 99);
    unicast.ethernet_destination = OURS;
    let mut unicast6 = solicitation("fe80::9".parse().unwrap());
    unicast6.ethernet_destination = OURS;
    unicast6.destination = vip6();
    let questions = [
        request(OTHER, VIP),
        Frame::Arp(unicast),
        Frame::Solicitation(solicitation("fe80::9".parse().unwrap())),
        Frame::Solicitation(unicast6),
    ];
    for question in questions {
        let mut host = held(Answering::UserSpace);
        host.hear(&question);
        let sent = host.sent();
        assert_eq!(words(&sent).iter().map(|s| s.1).collect::<Vec<_>>(), ["answer"]);
        let answer = Frame::parse(&sent[0].1).unwrap();
        assert_eq!((answer.ethernet_source(), answer.ethernet_destination()), (OURS, OTHER));
        let mut host = held(Answering::Kernel);
        host.hear(&question);
        assert_eq!(host.sent(), []);
        assert_eq!(host.announcer.counters().requests, 1);
    }
}

#[test]
fn a_request_to_another_station_is_not_answered() {
    let mut host = held(Answering::UserSpace);
    let mut elsewhere = Arp::probe(OTHER, VIP);
    elsewhere.sender_ip = Ipv4Addr::new(192, 0, 2, 99);
    elsewhere.ethernet_destination = Mac::new([2, 0, 0, 0, 0, 0x55]);
    host.hear(&Frame::Arp(elsewhere));
    assert_eq!(host.sent(), []);
}

#[test]
fn nothing_is_answered_before_the_announcement() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    host.run_until(Duration::from_millis(150));
    host.hear(&request(OTHER, VIP));
    assert_eq!(host.sent(), []);
}

#[test]
fn our_own_frames_that_come_back_are_no_conflict() {
    let mut host = Host::new(Probe::Fast);
    let second = Mac::new([2, 0, 0, 0, 0, 2]);
    host.announcer.set_legs([leg(LEG, OURS), leg("eth1", second)], host.now);
    host.want(announce(&[VIP.into(), vip6().into()]));
    // A loop, and a second leg on the same segment.
    for (_, frame) in host.run_until(SECOND * 5) {
        if let Ok(frame) = Frame::parse(&frame) {
            host.hear(&frame);
        }
    }
    host.hear(&uses(second, VIP));
    assert_eq!(host.events(), [probed(VIP), announced(VIP), probed(vip6()), announced(vip6())]);
    assert_eq!(host.announcer.counters().conflicts, 0);
}

#[test]
fn our_own_duplicate_address_detection_is_known_by_its_nonce() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[vip6().into()]));
    let sent = host.run_until(Duration::ZERO);
    let Frame::Solicitation(mut looped) = Frame::parse(&sent[1].1).unwrap() else { panic!() };
    // A wireless bridge that puts its own MAC in.
    looped.ethernet_source = OTHER;
    host.hear(&Frame::Solicitation(looped));
    assert_eq!(host.wire(vip6().into()), Some(Wire::Probing));
    looped.nonce = Some(Nonce([0; 6]));
    host.hear(&Frame::Solicitation(looped));
    assert_eq!(host.wire(vip6().into()), Some(Wire::Conflict { mac: OTHER.octets() }));
}

#[test]
fn a_flood_of_requests_costs_bounded_memory_and_answers() {
    let mut host = held(Answering::UserSpace);
    for sender in 0..100_000_u32 {
        let [_, a, b, c] = sender.to_be_bytes();
        host.hear(&request(Mac::new([2, 0, 9, a, b, c]), VIP));
    }
    assert_eq!(host.sent().len(), 1024);
    let counters = host.announcer.counters();
    assert_eq!(counters.requests, 100_000);
    assert_eq!(counters.answers + counters.answers_limited, 100_000);
    assert_eq!(host.announcer.wire().len(), 2);
}

#[test]
fn a_flood_of_claims_is_told_once_in_ten_seconds() {
    let mut host = held(Answering::Kernel);
    for sender in 0..100_000_u32 {
        let [_, a, b, c] = sender.to_be_bytes();
        host.hear(&uses(Mac::new([2, 0, 1, a, b, c]), VIP));
    }
    assert_eq!((host.sent().len(), host.events().len()), (2, 1));
}
