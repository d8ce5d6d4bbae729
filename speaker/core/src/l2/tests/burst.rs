//! What goes out, and when, while nobody objects.

use super::*;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn the_fast_probe_takes_200_ms_and_the_burst_follows() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    let sent = host.run_until(SECOND * 7);
    let expected = [
        (0, "probe"),
        (70, "probe"),
        (140, "probe"),
        (200, "request"),
        (200, "reply"),
        (250, "request"),
        (250, "reply"),
        (400, "request"),
        (400, "reply"),
        (1200, "request"),
        (1200, "reply"),
        (1700, "probe"),
        (2200, "request"),
        (2200, "reply"),
        (3200, "probe"),
        (4200, "request"),
        (4200, "reply"),
        (6200, "probe"),
    ];
    assert_eq!(words(&sent), expected);
    assert_eq!(host.events(), [probed(VIP), announced(VIP)]);
}

#[test]
fn ipv6_joins_its_group_before_each_probe_and_announcement() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[vip6().into()]));
    let sent = words(&host.run_until(Duration::from_millis(300)));
    let expected = [
        (0, "join"),
        (0, "dad"),
        (70, "join"),
        (70, "dad"),
        (140, "join"),
        (140, "dad"),
        (200, "join"),
        (200, "unsolicited"),
        (250, "join"),
        (250, "unsolicited"),
    ];
    assert_eq!(sent, expected);
    let groups: Vec<_> = host.announcer.groups(LEG).iter().map(Mac::to_string).collect();
    assert_eq!(groups, ["33:33:00:00:00:01", "33:33:ff:00:00:10"]);
}

#[test]
fn rfc_5227_and_dad_are_kept_in_full() {
    for (address, count, least, most) in
        [(IpAddr::from(VIP), 3, 4000, 7000), (IpAddr::from(vip6()), 1, 1000, 2000)]
    {
        let mut host = Host::new(Probe::Rfc5227);
        host.want(announce(&[address]));
        let sent = words(&host.run_until(SECOND * 8));
        let probes: Vec<_> = sent.iter().filter(|s| ["probe", "dad"].contains(&s.1)).collect();
        assert_eq!(probes.len(), count);
        assert!(probes[0].0 <= 1000);
        assert!(probes.windows(2).all(|w| (1000..=2000).contains(&(w[1].0 - w[0].0))));
        let first = sent.iter().find(|s| ["request", "unsolicited"].contains(&s.1)).unwrap();
        assert!((least..=most).contains(&first.0), "{address} was announced after {} ms", first.0);
    }
}

#[test]
fn without_probing_the_address_is_announced_at_once() {
    let mut host = Host::new(Probe::Off);
    host.want(announce(&[VIP.into()]));
    assert_eq!(words(&host.run_until(Duration::ZERO)), [(0, "request"), (0, "reply")]);
    assert_eq!(host.events(), [probed(VIP), announced(VIP)]);
}

#[test]
fn an_address_held_before_a_restart_goes_on_without_a_probe() {
    let mut host = Host::new(Probe::Rfc5227);
    host.want(wanted(Hold::Resume, Answering::Kernel, &[VIP.into()]));
    let sent = words(&host.run_until(SECOND * 10));
    assert_eq!(sent[..2], [(0, "request"), (0, "reply")]);
    assert!(sent.iter().all(|s| s.1 != "probe"));
    assert_eq!(host.events(), [announced(VIP)]);
}

#[test]
fn the_refresh_goes_on_for_ever_with_jitter() {
    let mut host = Host::new(Probe::Off);
    host.want(announce(&[VIP.into()]));
    host.run_until(SECOND * 6);
    let sent = words(&host.run_until(SECOND * 4000));
    let requests: Vec<_> = sent.iter().filter(|s| s.1 == "request").map(|s| s.0).collect();
    assert!((80..=134).contains(&requests.len()), "{}", requests.len());
    let gaps: Vec<_> = requests.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps.iter().all(|gap| (30_000..=50_000).contains(gap)));
    assert!(gaps.iter().any(|gap| gap.abs_diff(gaps[0]) > 1000));
}

#[test]
fn a_probe_ahead_of_need_makes_the_announcement_immediate() {
    let mut host = Host::new(Probe::Rfc5227);
    host.want(wanted(Hold::Probe, Answering::Kernel, &[VIP.into()]));
    host.run_until(SECOND * 600);
    assert_eq!(host.wire(VIP.into()), Some(Wire::Probed));
    assert!(host.events().iter().all(|event| *event == probed(VIP)));
    host.want(announce(&[VIP.into()]));
    assert_eq!(words(&host.sent())[0].1, "request");
}

#[test]
fn probes_ahead_of_need_are_rare() {
    let mut host = Host::new(Probe::Fast);
    host.want(wanted(Hold::Probe, Answering::Kernel, &[VIP.into()]));
    let sent = host.run_until(SECOND * 3600);
    assert!((3600 / 95 * 3..=3600 / 56 * 3 + 3).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().all(|(_, frame)| word(frame) == "probe"));
}

#[test]
fn a_withdrawn_address_is_silent_at_once() {
    let mut host = Host::new(Probe::Off);
    host.want(announce(&[VIP.into(), vip6().into()]));
    // The burst's first frames still wait to be taken.
    host.want(announce(&[vip6().into()]));
    let sent = host.run_until(SECOND * 200);
    assert!(!sent.is_empty());
    assert!(sent.iter().all(|(_, frame)| address(frame) != Some(VIP.into())));
    assert!(host.events().contains(&silent(VIP)));
    host.hear(&request(OTHER, VIP));
    assert_eq!(host.sent(), []);
}

#[test]
fn an_address_no_longer_to_be_announced_stays_ready() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    host.run_until(SECOND * 30);
    host.want(wanted(Hold::Probe, Answering::Kernel, &[VIP.into()]));
    assert_eq!(host.events().last(), Some(&silent(VIP)));
    assert_eq!(host.run_until(SECOND * 31), []);
    host.want(announce(&[VIP.into()]));
    assert_eq!(host.events(), [announced(VIP)]);
}

#[test]
fn a_leg_that_vanishes_and_returns_is_taken_up_again() {
    let mut host = Host::new(Probe::Fast);
    host.want(announce(&[VIP.into()]));
    host.run_until(SECOND * 10);
    host.events();
    host.announcer.set_legs([], host.now);
    assert_eq!(host.events(), [silent(VIP)]);
    assert_eq!((host.run_until(SECOND * 100), host.announcer.next_deadline()), (vec![], None));
    host.announcer.set_legs([leg(LEG, OURS)], host.now);
    host.run_until(SECOND * 101);
    assert_eq!(host.events(), [probed(VIP), announced(VIP)]);
}

#[test]
fn each_change_of_standing_is_told_once_with_the_latest() {
    let mut host = Host::new(Probe::Fast);
    let change = |host: &mut Host| host.announcer.poll_change().map(|(_, _, wire)| wire);
    host.want(announce(&[VIP.into()]));
    assert_eq!(change(&mut host), Some(Some(Wire::Probing)));
    assert_eq!(change(&mut host), None);
    host.run_until(SECOND * 10);
    assert_eq!(change(&mut host), Some(Some(Wire::Announced)));
    host.run_until(SECOND * 100);
    assert_eq!(change(&mut host), None);
    host.want(WantedByLeg::new());
    assert_eq!(change(&mut host), Some(None));
}

#[test]
fn another_mac_starts_the_burst_anew() {
    let mut host = Host::new(Probe::Off);
    host.want(announce(&[VIP.into()]));
    host.run_until(SECOND * 10);
    let new = Mac::new([2, 0, 0, 0, 0, 7]);
    host.announcer.set_legs([leg(LEG, new)], host.now);
    let sent = host.run_until(SECOND * 15);
    assert_eq!(sent.len(), 12);
    for (_, frame) in &sent {
        assert_eq!(Frame::parse(frame).unwrap().ethernet_source(), new);
    }
}

#[test]
fn each_leg_is_a_matter_of_its_own() {
    let mut host = Host::new(Probe::Off);
    let second = Mac::new([2, 0, 0, 0, 0, 2]);
    host.announcer.set_legs([leg(LEG, OURS), leg("eth1", second)], host.now);
    host.want(announce(&[VIP.into()]));
    assert!(!host.sent().is_empty());
    assert_eq!(host.announcer.poll_transmit("eth1"), None);
    host.announcer.handle_frame("eth1", &request(OTHER, VIP), host.now);
    assert_eq!(host.announcer.poll_transmit("eth1"), None);
}

/// A rack's worth: what waits, and what is armed, stays in proportion to what is wanted.
#[test]
fn ten_thousand_addresses_are_resumed_and_withdrawn_together() {
    let mut host = Host::new(Probe::Fast);
    let addresses: Vec<IpAddr> =
        (0..10_000_u32).map(|n| Ipv4Addr::from_bits(0xc612_0000 + n).into()).collect();
    host.want(wanted(Hold::Resume, Answering::Kernel, &addresses));
    let sent = host.run_until(SECOND * 5);
    assert_eq!(sent.len(), 10_000 * 2 * 6);
    assert_eq!(host.events().len(), 10_000);
    assert_eq!(host.announcer.counters().overflows, 0);
    host.want(WantedByLeg::new());
    assert_eq!(host.run_until(SECOND * 600), []);
    assert_eq!((host.events().len(), host.announcer.next_deadline()), (10_000, None));
}

/// A leg that takes nothing costs bounded memory, and hears the rest once it takes again.
#[test]
fn a_leg_that_takes_nothing_fills_a_bounded_queue() {
    let mut host = Host::new(Probe::Off);
    let addresses: Vec<IpAddr> =
        (0..10_000_u32).map(|n| Ipv4Addr::from_bits(0xc612_0000 + n).into()).collect();
    host.want(announce(&addresses));
    while host.announcer.next_deadline().is_some_and(|due| due < host.start + SECOND * 300) {
        host.now = host.announcer.next_deadline().unwrap();
        host.announcer.handle_timeout(host.now);
    }
    let waiting = host.sent().len();
    assert!((65_536..65_540).contains(&waiting), "{waiting} frames wait");
    assert!(host.announcer.counters().overflows > 0);
    let until = host.now - host.start + SECOND * 51;
    assert!(host.run_until(until).len() >= 20_000, "each is refreshed within its interval");
}
