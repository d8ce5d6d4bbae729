//! Random schedules of wishes, frames and time: what must hold whatever happens.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const ADDRESSES: u8 = 4;

fn nth(index: u8) -> IpAddr {
    if index.is_multiple_of(2) {
        Ipv4Addr::new(192, 0, 2, 10 + index).into()
    } else {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x10 + u16::from(index)).into()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Want(Vec<(u8, bool)>),
    Wait(u64),
    Claim(u8),
    Ask(u8),
    Leg(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => proptest::collection::vec((0..ADDRESSES, any::<bool>()), 0..5).prop_map(Step::Want),
        6 => (1_u64..20_000).prop_map(Step::Wait),
        3 => (0..ADDRESSES).prop_map(Step::Claim),
        3 => (0..ADDRESSES).prop_map(Step::Ask),
        1 => any::<bool>().prop_map(Step::Leg),
    ]
}

fn mode() -> impl Strategy<Value = Probe> {
    prop_oneof![Just(Probe::Fast), Just(Probe::Rfc5227), Just(Probe::Off)]
}

fn claim(address: IpAddr) -> Frame {
    match address {
        IpAddr::V4(v4) => uses(OTHER, v4),
        IpAddr::V6(v6) => {
            Frame::Advertisement(roadstead_wire::Advertisement::announcement(OTHER, v6))
        }
    }
}

fn question(address: IpAddr) -> Frame {
    match address {
        IpAddr::V4(v4) => request(OTHER, v4),
        IpAddr::V6(v6) => {
            let mut solicitation = Solicitation::probe(OTHER, v6, Nonce([9; 6]));
            solicitation.source = "fe80::9".parse().unwrap();
            Frame::Solicitation(solicitation)
        }
    }
}

/// The host with a record of what it may do.
struct Watched {
    host: Host,
    wanted: BTreeMap<IpAddr, Hold>,
    leg_is_up: bool,
    announced: BTreeSet<IpAddr>,
    /// Unsolicited announcements by address, for the rate.
    spoken: BTreeMap<IpAddr, Vec<u128>>,
}

impl Watched {
    fn new(probe: Probe) -> Self {
        Self {
            host: Host::new(probe),
            wanted: BTreeMap::new(),
            leg_is_up: true,
            announced: BTreeSet::new(),
            spoken: BTreeMap::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        let now = self.host.now;
        match step {
            Step::Want(list) => self.want(list),
            Step::Wait(milliseconds) => {
                let end = now - self.host.start + Duration::from_millis(*milliseconds);
                // One deadline at a time, so that events and frames are seen in their order.
                while let Some(due) =
                    self.host.announcer.next_deadline().filter(|d| *d <= self.host.start + end)
                {
                    self.host.run_until_instant(due);
                    self.look();
                }
                self.host.now = self.host.start + end;
            }
            Step::Claim(index) => self.host.hear(&claim(nth(*index))),
            Step::Ask(index) => self.host.hear(&question(nth(*index))),
            Step::Leg(up) => {
                self.leg_is_up = *up;
                let legs = up.then(|| leg(LEG, OURS));
                self.host.announcer.set_legs(legs, now);
            }
        }
        self.look();
    }

    fn want(&mut self, list: &[(u8, bool)]) {
        let hold = |announce| if announce { Hold::Announce } else { Hold::Probe };
        self.wanted = list.iter().map(|(index, a)| (nth(*index), hold(*a))).collect();
        let of_leg = self.wanted.iter().map(|(address, hold)| {
            (*address, Wanted { hold: *hold, answering: Answering::UserSpace })
        });
        self.host.want(WantedByLeg::from([(LEG.into(), of_leg.collect())]));
    }

    /// Events first: they say what the frames behind them may be.
    fn look(&mut self) {
        for event in self.host.events() {
            match event {
                Event::Announced { address, .. } => assert!(self.announced.insert(address)),
                Event::Silent { address, .. } => assert!(self.announced.remove(&address)),
                Event::Probed { .. } | Event::Conflict { .. } | Event::Settled { .. } => {}
            }
        }
        for (at, frame) in self.host.sent() {
            self.check(at, &frame);
        }
    }

    fn check(&mut self, at: u128, frame: &[u8]) {
        assert!(self.leg_is_up, "a frame left a leg that is not there");
        let Some(address) = address(frame) else { return };
        assert!(self.wanted.contains_key(&address), "{address} is not wanted");
        match word(frame) {
            "probe" | "dad" => {}
            "answer" => assert!(self.announced.contains(&address)),
            _ => {
                assert!(self.announced.contains(&address), "{address} is not announced");
                assert_eq!(self.wanted[&address], Hold::Announce);
                self.spoken.entry(address).or_default().push(at);
            }
        }
    }
}

impl Host {
    fn run_until_instant(&mut self, instant: Instant) {
        self.now = self.now.max(instant);
        self.announcer.handle_timeout(self.now);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_leaves_for_an_address_that_may_not_speak(
        probe in mode(),
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let mut watched = Watched::new(probe);
        for step in &steps {
            watched.take(step);
        }
    }

    #[test]
    fn every_wanted_address_is_announced_when_nobody_objects(
        probe in mode(),
        steps in proptest::collection::vec(step(), 0..30),
        last in proptest::collection::btree_set(0..ADDRESSES, 1..4),
    ) {
        let mut watched = Watched::new(probe);
        for step in &steps {
            watched.take(step);
        }
        watched.take(&Step::Leg(true));
        watched.take(&Step::Want(last.iter().map(|index| (*index, true)).collect()));
        // The longest back-off and the longest probe.
        watched.take(&Step::Wait(75_000 + 8_000));
        let expected: BTreeSet<IpAddr> = last.iter().map(|index| nth(*index)).collect();
        prop_assert_eq!(&watched.announced, &expected);
    }

    #[test]
    fn claims_never_raise_the_rate_of_announcements_above_the_defence(
        claims in proptest::collection::vec(1_u64..3_000, 50..150),
    ) {
        let mut watched = Watched::new(Probe::Off);
        watched.take(&Step::Want(vec![(0, true)]));
        watched.take(&Step::Wait(10_000));
        watched.spoken.clear();
        for wait in &claims {
            watched.take(&Step::Claim(0));
            watched.take(&Step::Wait(*wait));
        }
        let spoken = watched.spoken.get(&nth(0)).cloned().unwrap_or_default();
        // Two frames each: the defence, and the refresh of thirty seconds at the soonest.
        for (index, at) in spoken.iter().enumerate() {
            let within = spoken[index..].iter().take_while(|later| **later < at + 10_000).count();
            prop_assert!(within <= 4, "{} frames within ten seconds", within);
        }
    }
}
