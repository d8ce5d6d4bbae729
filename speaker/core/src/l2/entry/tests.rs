//! The whole transition table: every state with every input, its next state and its output.

use std::time::Duration;

use roadstead_wire::Arp;

use super::*;

const OTHER: Mac = Mac::new([2, 0, 0, 0, 0, 0xee]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Probing,
    /// With an earlier probe that still vouches for the address.
    Rechecking,
    Probed,
    /// Passed too long ago.
    Stale,
    Announcing,
    Held,
    Conflict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    HoldProbe,
    HoldAnnounce,
    HoldResume,
    Timer,
    Uses,
    Probes,
    Asked,
    Moved,
}

/// What went out, in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Out {
    Probe,
    Announce,
    Answer,
    Hush,
    Announced,
    Silent,
    Taken,
    Defended,
}

fn settings() -> Settings {
    Settings { probe: Probe::Fast, refresh: Duration::from_secs(40), seed: 1 }
}

fn answer() -> Frame {
    Frame::Arp(Arp::probe(OTHER, "192.0.2.1".parse().unwrap()))
}

fn entry(kind: Kind, now: Instant) -> Entry {
    let later = now + Duration::from_secs(5);
    let guard = Guard::default();
    let state = match kind {
        Kind::Probing => {
            State::Probing(Probing { sent: 1, due: now, conflicts: 0, vouched_until: None })
        }
        Kind::Rechecking => {
            State::Probing(Probing { sent: 1, due: now, conflicts: 0, vouched_until: Some(later) })
        }
        Kind::Probed => State::Probed(Probed { fresh: Some(Fresh { until: later, recheck: now }) }),
        Kind::Stale => State::Probed(Probed { fresh: Some(Fresh { until: now, recheck: now }) }),
        Kind::Announcing => {
            let rest = &BURST[1..];
            let started = now.checked_sub(Duration::from_millis(50)).unwrap();
            State::Announcing(Announcing { started, rest, listens: true, guard })
        }
        Kind::Held => State::Held(Held { refresh: now, guard }),
        Kind::Conflict => State::Conflict(Conflict { mac: OTHER, conflicts: 1, retry: now }),
    };
    let address = "192.0.2.10".parse().unwrap();
    let wanted = Wanted { hold: Hold::Probe, answering: Answering::UserSpace };
    let dice = Dice::new(1, "eth0", address);
    Entry { wanted, dice, epoch: 0, family: Family::V4, state: Some(state) }
}

fn input(event: Event, entry: &mut Entry) -> Input {
    let mut hold = |hold| {
        entry.wanted.hold = hold;
        Input::Hold
    };
    match event {
        Event::HoldProbe => hold(Hold::Probe),
        Event::HoldAnnounce => hold(Hold::Announce),
        Event::HoldResume => hold(Hold::Resume),
        Event::Timer => Input::Timer,
        Event::Uses => Input::Claim(Claim::Uses, OTHER),
        Event::Probes => Input::Claim(Claim::Probes, OTHER),
        Event::Asked => Input::Asked(answer()),
        Event::Moved => Input::Moved,
    }
}

fn kind(entry: &Entry, now: Instant) -> Kind {
    match entry.state.as_ref().unwrap() {
        State::Probing(state) if state.is_vouched(now) => Kind::Rechecking,
        State::Probing(_) => Kind::Probing,
        State::Probed(state) if state.is_fresh(now) => Kind::Probed,
        State::Probed(_) => Kind::Stale,
        State::Announcing(_) => Kind::Announcing,
        State::Held(_) => Kind::Held,
        State::Conflict(_) => Kind::Conflict,
    }
}

fn short(output: &Output) -> Out {
    match output {
        Output::Probe => Out::Probe,
        Output::Announce => Out::Announce,
        Output::Answer(_) => Out::Answer,
        Output::Hush => Out::Hush,
        Output::Tell(News::Announced) => Out::Announced,
        Output::Tell(News::Silent) => Out::Silent,
        Output::Tell(News::Conflict(_, OTHER, Phase::BeforeUse)) => Out::Taken,
        Output::Tell(News::Conflict(_, OTHER, Phase::InUse)) => Out::Defended,
        Output::Tell(other) => panic!("unexpected {other:?}"),
    }
}

fn step(from: Kind, event: Event) -> (Kind, Vec<Out>) {
    let now = Instant::now() + Duration::from_secs(1000);
    let mut entry = entry(from, now);
    let input = input(event, &mut entry);
    let mut outputs = Vec::new();
    let settings = settings();
    entry.handle(input, &mut Scene { now, settings: &settings, outputs: &mut outputs });
    assert!(entry.due().is_some(), "{from:?} with {event:?} leads to a state that never ends");
    (kind(&entry, now), outputs.iter().map(short).collect())
}

#[test]
fn every_state_with_every_input() {
    use self::Event::*;
    use Kind::{Announcing, Conflict, Held, Probed, Probing, Rechecking, Stale};
    use Out::{Announce, Announced, Answer, Defended, Hush, Probe, Silent, Taken};
    const START: &[Out] = &[Hush, Announced, Announce];
    const YIELD: &[Out] = &[Hush, Taken];
    const DEFEND: &[Out] = &[Announce, Defended];
    const QUIET: &[Out] = &[Hush, Silent];
    let table: &[(Kind, Event, Kind, &[Out])] = &[
        (Probing, HoldProbe, Probing, &[]),
        (Probing, HoldAnnounce, Probing, &[]),
        (Probing, HoldResume, Announcing, START),
        (Probing, Timer, Probing, &[Probe]),
        (Probing, Uses, Conflict, YIELD),
        (Probing, Probes, Conflict, YIELD),
        (Probing, Asked, Probing, &[]),
        (Probing, Moved, Probing, &[Probe]),
        (Rechecking, HoldProbe, Rechecking, &[]),
        (Rechecking, HoldAnnounce, Announcing, START),
        (Rechecking, HoldResume, Announcing, START),
        (Rechecking, Timer, Rechecking, &[Probe]),
        (Rechecking, Uses, Conflict, YIELD),
        (Rechecking, Probes, Conflict, YIELD),
        (Rechecking, Asked, Rechecking, &[]),
        (Rechecking, Moved, Rechecking, &[Probe]),
        (Probed, HoldProbe, Probed, &[]),
        (Probed, HoldAnnounce, Announcing, START),
        (Probed, HoldResume, Announcing, START),
        (Probed, Timer, Rechecking, &[Probe]),
        (Probed, Uses, Conflict, YIELD),
        (Probed, Probes, Conflict, YIELD),
        (Probed, Asked, Probed, &[]),
        (Probed, Moved, Probed, &[]),
        (Stale, HoldProbe, Stale, &[]),
        (Stale, HoldAnnounce, Probing, &[Probe]),
        (Stale, HoldResume, Announcing, START),
        (Stale, Timer, Probing, &[Probe]),
        (Stale, Uses, Conflict, YIELD),
        (Stale, Probes, Conflict, YIELD),
        (Stale, Asked, Stale, &[]),
        (Stale, Moved, Stale, &[]),
        (Announcing, HoldProbe, Probed, QUIET),
        (Announcing, HoldAnnounce, Announcing, &[]),
        (Announcing, HoldResume, Announcing, &[]),
        (Announcing, Timer, Announcing, &[Announce]),
        (Announcing, Uses, Announcing, DEFEND),
        (Announcing, Probes, Announcing, DEFEND),
        (Announcing, Asked, Announcing, &[Answer]),
        (Announcing, Moved, Announcing, &[Announce]),
        (Held, HoldProbe, Probed, QUIET),
        (Held, HoldAnnounce, Held, &[]),
        (Held, HoldResume, Held, &[]),
        (Held, Timer, Held, &[Announce, Probe]),
        (Held, Uses, Held, DEFEND),
        (Held, Probes, Held, DEFEND),
        (Held, Asked, Held, &[Answer]),
        (Held, Moved, Announcing, &[Announce]),
        (Conflict, HoldProbe, Conflict, &[]),
        (Conflict, HoldAnnounce, Conflict, &[]),
        (Conflict, HoldResume, Conflict, &[]),
        (Conflict, Timer, Probing, &[Probe]),
        (Conflict, Uses, Conflict, &[]),
        (Conflict, Probes, Conflict, &[]),
        (Conflict, Asked, Conflict, &[]),
        (Conflict, Moved, Conflict, &[]),
    ];
    let kinds = [Probing, Rechecking, Probed, Stale, Announcing, Held, Conflict];
    let events = [HoldProbe, HoldAnnounce, HoldResume, Timer, Uses, Probes, Asked, Moved];
    for from in kinds {
        for event in events {
            let rows: Vec<_> = table.iter().filter(|r| (r.0, r.1) == (from, event)).collect();
            assert_eq!(rows.len(), 1, "{from:?} with {event:?}");
            let (next, outputs) = step(from, event);
            assert_eq!((next, outputs.as_slice()), (rows[0].2, rows[0].3), "{from:?} {event:?}");
        }
    }
}

#[test]
fn the_wait_after_conflicts_doubles_up_to_a_minute() {
    let mut dice = Dice::new(1, "eth0", "192.0.2.10".parse().unwrap());
    for (conflicts, seconds) in [(1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (50, 60)] {
        let wait = schedule::retry(conflicts, &mut dice).as_secs_f64();
        let mean = f64::from(seconds);
        assert!((mean * 0.75..mean * 1.25).contains(&wait), "{conflicts}: {wait}");
    }
}
