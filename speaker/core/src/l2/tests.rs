//! The announcer as a whole, on a virtual clock.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::{Duration, Instant},
};

use roadstead_wire::{Arp, Frame, Mac, Nonce, Solicitation, arp::Operation, ndp};

use super::*;

mod burst;
mod conflicts;
mod pair;
mod properties;

const OURS: Mac = Mac::new([2, 0, 0, 0, 0, 1]);
const OTHER: Mac = Mac::new([2, 0, 0, 0, 0, 0xee]);
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);
const LEG: &str = "eth0";

fn vip6() -> Ipv6Addr {
    "2001:db8::10".parse().unwrap()
}

fn settings(probe: Probe) -> Settings {
    Settings { probe, refresh: Duration::from_secs(40), seed: 1 }
}

fn leg(name: &str, mac: Mac) -> Leg {
    Leg { name: name.into(), mac, link_local: Some("fe80::1".parse().unwrap()) }
}

fn wanted(hold: Hold, answering: Answering, addresses: &[IpAddr]) -> WantedByLeg {
    let of_leg = addresses.iter().map(|a| (*a, Wanted { hold, answering })).collect();
    WantedByLeg::from([(LEG.into(), of_leg)])
}

fn announce(addresses: &[IpAddr]) -> WantedByLeg {
    wanted(Hold::Announce, Answering::UserSpace, addresses)
}

/// One announcer with a clock that moves only when told.
struct Host {
    announcer: Announcer,
    start: Instant,
    now: Instant,
}

impl Host {
    fn new(probe: Probe) -> Self {
        let start = Instant::now() + Duration::from_secs(3600);
        let mut announcer = Announcer::new(settings(probe));
        announcer.set_legs([leg(LEG, OURS)], start);
        Self { announcer, start, now: start }
    }

    fn want(&mut self, wanted: WantedByLeg) {
        self.announcer.set_wanted(wanted, self.now);
    }

    fn hear(&mut self, frame: &Frame) {
        self.announcer.handle_frame(LEG, frame, self.now);
    }

    /// Runs every timer up to `time` after the start; gives what was sent, with its time in
    /// milliseconds.
    fn run_until(&mut self, time: Duration) -> Vec<(u128, Vec<u8>)> {
        let mut sent = self.sent();
        while let Some(due) = self.announcer.next_deadline().filter(|d| *d <= self.start + time) {
            self.now = self.now.max(due);
            self.announcer.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        self.now = self.start + time;
        sent
    }

    fn sent(&mut self) -> Vec<(u128, Vec<u8>)> {
        let at = (self.now - self.start).as_millis();
        std::iter::from_fn(|| self.announcer.poll_transmit(LEG)).map(|frame| (at, frame)).collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.announcer.poll_event()).collect()
    }

    fn wire(&self, address: IpAddr) -> Option<Wire> {
        self.announcer.wire().get(&(address, LEG.into())).copied()
    }
}

fn uses(mac: Mac, address: Ipv4Addr) -> Frame {
    Frame::Arp(Arp::announcement(Operation::Request, mac, address))
}

fn request(mac: Mac, address: Ipv4Addr) -> Frame {
    let mut arp = Arp::probe(mac, address);
    arp.sender_ip = Ipv4Addr::new(192, 0, 2, 99);
    Frame::Arp(arp)
}

/// What a frame is, in one word.
fn word(frame: &[u8]) -> &'static str {
    match Frame::parse(frame) {
        Ok(Frame::Arp(arp)) if arp.is_probe() => "probe",
        Ok(Frame::Arp(arp)) if arp.sender_ip != arp.target_ip => "answer",
        Ok(Frame::Arp(arp)) => match arp.operation {
            Operation::Request => "request",
            Operation::Reply => "reply",
        },
        Ok(Frame::Solicitation(_)) => "dad",
        Ok(Frame::Advertisement(a)) if a.destination == ndp::ALL_NODES => "unsolicited",
        Ok(Frame::Advertisement(_)) => "answer",
        Err(_) => "join",
    }
}

fn words(sent: &[(u128, Vec<u8>)]) -> Vec<(u128, &'static str)> {
    sent.iter().map(|(at, frame)| (*at, word(frame))).collect()
}

fn address(frame: &[u8]) -> Option<IpAddr> {
    match Frame::parse(frame).ok()? {
        Frame::Arp(arp) if arp.is_probe() => Some(arp.target_ip.into()),
        Frame::Arp(arp) => Some(arp.sender_ip.into()),
        Frame::Solicitation(solicitation) => Some(solicitation.target.into()),
        Frame::Advertisement(advertisement) => Some(advertisement.target.into()),
    }
}

fn at_leg(address: impl Into<IpAddr>) -> (IpAddr, LegName) {
    (address.into(), LEG.into())
}

fn announced(of: impl Into<IpAddr>) -> Event {
    let (address, leg) = at_leg(of);
    Event::Announced { address, leg }
}

fn probed(of: impl Into<IpAddr>) -> Event {
    let (address, leg) = at_leg(of);
    Event::Probed { address, leg }
}

fn silent(of: impl Into<IpAddr>) -> Event {
    let (address, leg) = at_leg(of);
    Event::Silent { address, leg }
}

fn conflict(of: impl Into<IpAddr>, phase: Phase, claim: Claim) -> Event {
    let (address, leg) = at_leg(of);
    Event::Conflict { address, leg, mac: OTHER, phase, claim }
}
