//! Two announcers on one segment and one virtual clock, with latency and loss.

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const MACS: [Mac; 2] = [OURS, OTHER];

struct Pair {
    hosts: [Announcer; 2],
    start: Instant,
    now: Instant,
    /// Frames under way: arrival, receiver, octets.
    wire: Vec<(Instant, usize, Vec<u8>)>,
    latency: Duration,
    /// Each frame of this many is lost; 0 = none.
    loses: usize,
    sent: usize,
    events: [Vec<Event>; 2],
    first_frames: BTreeMap<(usize, &'static str), Instant>,
}

impl Pair {
    fn new(probe: Probe, loses: usize) -> Self {
        let start = Instant::now() + Duration::from_secs(3600);
        let hosts = [0, 1].map(|host: usize| {
            let mut settings = settings(probe);
            settings.seed = u64::try_from(host).unwrap() + 1;
            let mut announcer = Announcer::new(settings);
            announcer.set_legs([leg(LEG, MACS[host])], start);
            announcer
        });
        Self {
            hosts,
            start,
            now: start,
            wire: Vec::new(),
            latency: Duration::from_millis(1),
            loses,
            sent: 0,
            events: [Vec::new(), Vec::new()],
            first_frames: BTreeMap::new(),
        }
    }

    fn want(&mut self, host: usize, wanted: WantedByLeg) {
        self.hosts[host].set_wanted(wanted, self.now);
        self.collect();
    }

    fn collect(&mut self) {
        for host in [0, 1] {
            while let Some(frame) = self.hosts[host].poll_transmit(LEG) {
                self.sent += 1;
                self.first_frames.entry((host, word(&frame))).or_insert(self.now);
                if !self.sent.is_multiple_of(self.loses) {
                    self.wire.push((self.now + self.latency, 1 - host, frame));
                }
            }
            while let Some(event) = self.hosts[host].poll_event() {
                self.events[host].push(event);
            }
        }
    }

    fn run_until(&mut self, time: Duration) {
        let end = self.start + time;
        loop {
            let arrivals = self.wire.iter().map(|(at, ..)| *at);
            let timers = self.hosts.iter().filter_map(Announcer::next_deadline);
            let Some(next) = arrivals.chain(timers).min().filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            self.deliver();
            for host in &mut self.hosts {
                host.handle_timeout(self.now);
            }
            self.collect();
        }
        self.now = end;
    }

    fn deliver(&mut self) {
        let now = self.now;
        for (_, host, frame) in self.wire.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>()
        {
            if let Ok(frame) = Frame::parse(&frame) {
                self.hosts[host].handle_frame(LEG, &frame, now);
            }
        }
    }

    fn wire_state(&self, host: usize, address: IpAddr) -> Option<Wire> {
        self.hosts[host].wire().get(&(address, LEG.into())).copied()
    }
}

fn addresses() -> [IpAddr; 2] {
    [VIP.into(), vip6().into()]
}

#[test]
fn the_second_comer_finds_the_address_taken() {
    for address in addresses() {
        for probe in [Probe::Fast, Probe::Rfc5227] {
            let mut pair = Pair::new(probe, 0);
            pair.want(0, announce(&[address]));
            pair.run_until(SECOND * 20);
            pair.want(1, announce(&[address]));
            pair.run_until(SECOND * 600);
            assert_eq!(pair.wire_state(0, address), Some(Wire::Announced));
            assert!(matches!(
                pair.wire_state(1, address),
                Some(Wire::Conflict { .. } | Wire::Probing)
            ));
            assert!(!pair.events[1].iter().any(|e| matches!(e, Event::Announced { .. })));
        }
    }
}

#[test]
fn of_two_that_start_at_once_one_gets_the_address() {
    for address in addresses() {
        let mut pair = Pair::new(Probe::Fast, 0);
        pair.want(0, announce(&[address]));
        pair.want(1, announce(&[address]));
        pair.run_until(SECOND * 120);
        let states = [0, 1].map(|host| pair.wire_state(host, address) == Some(Wire::Announced));
        assert_eq!(states.iter().filter(|announced| **announced).count(), 1, "{states:?}");
    }
}

#[test]
fn the_second_comer_takes_over_when_the_first_withdraws() {
    for address in addresses() {
        let mut pair = Pair::new(Probe::Fast, 0);
        pair.want(0, announce(&[address]));
        pair.run_until(SECOND * 10);
        pair.want(1, announce(&[address]));
        pair.run_until(SECOND * 30);
        pair.want(0, WantedByLeg::new());
        pair.run_until(SECOND * 200);
        assert_eq!(pair.wire_state(1, address), Some(Wire::Announced));
        assert_eq!(pair.wire_state(0, address), None);
    }
}

#[test]
fn two_that_hold_the_same_address_do_not_storm() {
    for address in addresses() {
        let mut pair = Pair::new(Probe::Off, 0);
        pair.want(0, announce(&[address]));
        pair.want(1, announce(&[address]));
        pair.run_until(SECOND * 10);
        let before = pair.sent;
        pair.run_until(SECOND * 610);
        // Ten minutes: a defence per ten seconds and a refresh per thirty, two frames each, both.
        let sent = pair.sent - before;
        assert!(sent <= 2 * 2 * (60 + 20), "{sent} frames in ten minutes");
        for events in &pair.events {
            assert!(
                events.iter().any(|e| matches!(e, Event::Conflict { phase: Phase::InUse, .. }))
            );
        }
    }
}

#[test]
fn a_third_of_the_frames_lost_still_shows_the_conflict() {
    for address in addresses() {
        let mut pair = Pair::new(Probe::Fast, 3);
        pair.want(0, announce(&[address]));
        pair.run_until(SECOND * 20);
        pair.want(1, announce(&[address]));
        pair.run_until(SECOND * 60);
        assert!(pair.events[1].iter().any(|e| matches!(e, Event::Conflict { .. })));
    }
}
