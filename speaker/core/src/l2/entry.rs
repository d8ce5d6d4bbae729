//! One address on one leg: every state with every input.

use std::{net::IpAddr, time::Instant};

use roadstead_model::{Family, config::Probe};
use roadstead_wire::{Frame, Mac};

use super::{
    Answering, Claim, Event, Hold, LegName, Phase, Settings, Wanted, Wire,
    dice::Dice,
    schedule::{self, Action, AfterProbes, BURST},
};

/// An address on a leg.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) wanted: Wanted,
    pub(super) dice: Dice,
    /// Marks what is queued for it; a new one voids the old.
    pub(super) epoch: u64,
    family: Family,
    /// `None` only while a transition is under way.
    state: Option<State>,
}

/// Where it stands; a variant holds what only this state needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Probing(Probing),
    Probed(Probed),
    Announcing(Announcing),
    Held(Held),
    Conflict(Conflict),
}

/// Probes go out, nobody has answered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probing {
    sent: u8,
    due: Instant,
    /// Conflicts in a row before this attempt.
    conflicts: u32,
    /// An earlier attempt vouches for the address until then.
    vouched_until: Option<Instant>,
}

/// Nobody answered; not to be announced (yet).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Probed {
    /// `None` = for ever: probing is off.
    fresh: Option<Fresh>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fresh {
    until: Instant,
    recheck: Instant,
}

/// The burst is going out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Announcing {
    started: Instant,
    /// What is still to come of [`BURST`]; never empty.
    rest: &'static [(std::time::Duration, Action)],
    /// Whether the probe was too short to be sure.
    listens: bool,
    guard: Guard,
}

/// Announced; the next refresh is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    refresh: Instant,
    guard: Guard,
}

/// Another station has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    mac: Mac,
    conflicts: u32,
    retry: Instant,
}

/// Claims of others on an announced address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Guard {
    defended: Option<Instant>,
    claimed: Option<Instant>,
}

/// What happens to an entry.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// What is wanted of it changed.
    Hold,
    /// Its deadline has come.
    Timer,
    /// Another station claims the address.
    Claim(Claim, Mac),
    /// Somebody looks for the address; this would be the answer.
    Asked(Frame),
    /// The leg's MAC changed.
    Moved,
}

/// What an entry wants done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Probe,
    Announce,
    Answer(Frame),
    /// What is queued for the address is void.
    Hush,
    Tell(News),
}

/// An [`Event`] before address and leg are put to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Probed,
    Announced,
    Silent,
    Conflict(Claim, Mac, Phase),
    Settled,
}

impl News {
    pub(super) fn at(self, address: IpAddr, leg: LegName) -> Event {
        match self {
            Self::Probed => Event::Probed { address, leg },
            Self::Announced => Event::Announced { address, leg },
            Self::Silent => Event::Silent { address, leg },
            Self::Conflict(claim, mac, phase) => {
                Event::Conflict { address, leg, mac, phase, claim }
            }
            Self::Settled => Event::Settled { address, leg },
        }
    }
}

/// What an input meets: the clock, the rules, and where output goes.
pub(super) struct Scene<'a> {
    pub(super) now: Instant,
    pub(super) settings: &'a Settings,
    pub(super) outputs: &'a mut Vec<Output>,
}

impl Entry {
    /// A pair that was not wanted before.
    pub(super) fn new(
        address: IpAddr,
        leg: &LegName,
        wanted: Wanted,
        scene: &mut Scene<'_>,
    ) -> Self {
        let dice = Dice::new(scene.settings.seed, leg, address);
        let mut entry = Self { wanted, dice, epoch: 0, family: Family::of(address), state: None };
        let state = match wanted.hold {
            Hold::Resume => entry.announce(scene, false),
            Hold::Probe | Hold::Announce => entry.probe(scene, 0, None),
        };
        entry.state = Some(state);
        entry
    }

    /// When [`Input::Timer`] is due.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.state.as_ref()? {
            State::Probing(probing) => Some(probing.due),
            State::Probed(probed) => probed.fresh.map(|fresh| fresh.recheck),
            State::Announcing(announcing) => announcing.due(),
            State::Held(held) => Some(held.refresh),
            State::Conflict(conflict) => Some(conflict.retry),
        }
    }

    /// Whether it may be announced and answered for now.
    pub(super) fn is_announced(&self) -> bool {
        matches!(self.state, Some(State::Announcing(_) | State::Held(_)))
    }

    /// The state in the words of the gate.
    pub(super) fn wire(&self) -> Wire {
        match &self.state {
            Some(State::Probing(_)) | None => Wire::Probing,
            Some(State::Probed(_)) => Wire::Probed,
            Some(State::Announcing(_) | State::Held(_)) => Wire::Announced,
            Some(State::Conflict(conflict)) => Wire::Conflict { mac: conflict.mac.octets() },
        }
    }

    /// Takes one step.
    pub(super) fn handle(&mut self, input: Input, scene: &mut Scene<'_>) {
        let next = match self.state.take() {
            Some(State::Probing(state)) => self.probing(state, input, scene),
            Some(State::Probed(state)) => self.probed(state, input, scene),
            Some(State::Announcing(state)) => self.announcing(state, input, scene),
            Some(State::Held(state)) => self.held(state, input, scene),
            Some(State::Conflict(state)) => self.conflict(state, input, scene),
            None => self.probe(scene, 0, None),
        };
        self.state = Some(next);
    }

    fn probing(&mut self, state: Probing, input: Input, scene: &mut Scene<'_>) -> State {
        match input {
            Input::Hold => match self.wanted.hold {
                Hold::Probe => State::Probing(state),
                Hold::Announce if state.is_vouched(scene.now) => self.announce_probed(scene),
                Hold::Announce => State::Probing(state),
                Hold::Resume => self.announce(scene, false),
            },
            Input::Timer => self.next_probe(state, scene),
            Input::Claim(claim, mac) => self.yield_to(claim, mac, state.conflicts, scene),
            Input::Asked(_) => State::Probing(state),
            Input::Moved => self.probe(scene, state.conflicts, state.vouched_until),
        }
    }

    fn probed(&mut self, state: Probed, input: Input, scene: &mut Scene<'_>) -> State {
        match input {
            Input::Hold => match self.wanted.hold {
                Hold::Probe => State::Probed(state),
                Hold::Announce if state.is_fresh(scene.now) => self.announce_probed(scene),
                Hold::Announce => self.probe(scene, 0, None),
                Hold::Resume => self.announce(scene, false),
            },
            Input::Timer => self.probe(scene, 0, state.fresh.map(|fresh| fresh.until)),
            Input::Claim(claim, mac) => self.yield_to(claim, mac, 0, scene),
            Input::Asked(_) | Input::Moved => State::Probed(state),
        }
    }

    fn announcing(&mut self, mut state: Announcing, input: Input, scene: &mut Scene<'_>) -> State {
        match input {
            Input::Hold => match self.wanted.hold {
                Hold::Probe => self.fall_silent(scene),
                Hold::Announce | Hold::Resume => State::Announcing(state),
            },
            Input::Timer => self.next_in_burst(state, scene),
            Input::Claim(claim, mac) => {
                state.guard.defend(claim, mac, scene);
                State::Announcing(state)
            }
            Input::Asked(answer) => {
                self.answer(answer, scene);
                State::Announcing(state)
            }
            Input::Moved => self.burst(scene, state.listens, state.guard),
        }
    }

    fn held(&mut self, mut state: Held, input: Input, scene: &mut Scene<'_>) -> State {
        match input {
            Input::Hold => match self.wanted.hold {
                Hold::Probe => self.fall_silent(scene),
                Hold::Announce | Hold::Resume => State::Held(state),
            },
            Input::Timer => {
                scene.outputs.push(Output::Announce);
                state.guard.settle(scene);
                // A station that took the address since, and never spoke, answers this.
                if scene.settings.probe != Probe::Off {
                    scene.outputs.push(Output::Probe);
                }
                self.hold(state.guard, scene)
            }
            Input::Claim(claim, mac) => {
                state.guard.defend(claim, mac, scene);
                State::Held(state)
            }
            Input::Asked(answer) => {
                self.answer(answer, scene);
                State::Held(state)
            }
            Input::Moved => self.burst(scene, false, state.guard),
        }
    }

    fn conflict(&mut self, mut state: Conflict, input: Input, scene: &mut Scene<'_>) -> State {
        match input {
            Input::Timer => self.probe(scene, state.conflicts, None),
            Input::Claim(_, mac) => {
                state.mac = mac;
                State::Conflict(state)
            }
            Input::Hold | Input::Asked(_) | Input::Moved => State::Conflict(state),
        }
    }

    /// Starts probing, or passes over it where probing is off.
    fn probe(
        &mut self,
        scene: &mut Scene<'_>,
        conflicts: u32,
        vouched_until: Option<Instant>,
    ) -> State {
        match schedule::first_probe(scene.settings.probe, &mut self.dice) {
            Some(wait) if wait.is_zero() => {
                let state = Probing { sent: 0, due: scene.now, conflicts, vouched_until };
                self.next_probe(state, scene)
            }
            Some(wait) => {
                let due = scene.now + wait;
                State::Probing(Probing { sent: 0, due, conflicts, vouched_until })
            }
            None => self.pass(None, scene),
        }
    }

    fn next_probe(&mut self, mut state: Probing, scene: &mut Scene<'_>) -> State {
        let mode = scene.settings.probe;
        if self.is_last(&state, mode) {
            return self.pass(Some(scene.now + schedule::FRESH), scene);
        }
        state.sent = state.sent.saturating_add(1);
        scene.outputs.push(Output::Probe);
        let (AfterProbes::Another(wait) | AfterProbes::Verdict(wait)) =
            schedule::after_probe(mode, self.family, state.sent, &mut self.dice);
        state.due = scene.now + wait;
        State::Probing(state)
    }

    /// Whether the time that has passed was the one after the last probe.
    fn is_last(&self, state: &Probing, mode: Probe) -> bool {
        let mut dice = self.dice.clone();
        let after = schedule::after_probe(mode, self.family, state.sent, &mut dice);
        state.sent > 0 && matches!(after, AfterProbes::Verdict(_))
    }

    /// Nobody has the address.
    fn pass(&mut self, fresh_until: Option<Instant>, scene: &mut Scene<'_>) -> State {
        scene.outputs.push(Output::Tell(News::Probed));
        match self.wanted.hold {
            Hold::Probe => self.rest(fresh_until, scene),
            Hold::Announce | Hold::Resume => self.announce_probed(scene),
        }
    }

    fn rest(&mut self, fresh_until: Option<Instant>, scene: &Scene<'_>) -> State {
        let recheck = scene.now + self.dice.around(schedule::RECHECK);
        State::Probed(Probed { fresh: fresh_until.map(|until| Fresh { until, recheck }) })
    }

    fn announce_probed(&mut self, scene: &mut Scene<'_>) -> State {
        let listens = scene.settings.probe == Probe::Fast;
        self.announce(scene, listens)
    }

    fn announce(&mut self, scene: &mut Scene<'_>, listens: bool) -> State {
        scene.outputs.extend([Output::Hush, Output::Tell(News::Announced)]);
        self.burst(scene, listens, Guard::default())
    }

    fn burst(&mut self, scene: &mut Scene<'_>, listens: bool, guard: Guard) -> State {
        let state = Announcing { started: scene.now, rest: &BURST, listens, guard };
        self.next_in_burst(state, scene)
    }

    fn next_in_burst(&mut self, mut state: Announcing, scene: &mut Scene<'_>) -> State {
        while let [(_, action), rest @ ..] = state.rest {
            if state.due().is_some_and(|due| due > scene.now) {
                return State::Announcing(state);
            }
            match action {
                Action::Announce => scene.outputs.push(Output::Announce),
                Action::Listen if state.listens => scene.outputs.push(Output::Probe),
                Action::Listen => {}
            }
            state.rest = rest;
        }
        self.hold(state.guard, scene)
    }

    fn hold(&mut self, guard: Guard, scene: &Scene<'_>) -> State {
        let refresh = scene.now + self.dice.around(scene.settings.refresh);
        State::Held(Held { refresh, guard })
    }

    /// What was ours a moment ago is free to take again for a while.
    fn fall_silent(&mut self, scene: &mut Scene<'_>) -> State {
        scene.outputs.extend([Output::Hush, Output::Tell(News::Silent)]);
        let probes = scene.settings.probe != Probe::Off;
        self.rest(probes.then_some(scene.now + schedule::FRESH), scene)
    }

    fn yield_to(&mut self, claim: Claim, mac: Mac, conflicts: u32, scene: &mut Scene<'_>) -> State {
        scene
            .outputs
            .extend([Output::Hush, Output::Tell(News::Conflict(claim, mac, Phase::BeforeUse))]);
        let conflicts = conflicts.saturating_add(1);
        let retry = scene.now + schedule::retry(conflicts, &mut self.dice);
        State::Conflict(Conflict { mac, conflicts, retry })
    }

    fn answer(&self, answer: Frame, scene: &mut Scene<'_>) {
        match self.wanted.answering {
            Answering::Kernel => {}
            Answering::UserSpace => scene.outputs.push(Output::Answer(answer)),
        }
    }
}

impl Probing {
    fn is_vouched(&self, now: Instant) -> bool {
        self.vouched_until.is_some_and(|until| now < until)
    }
}

impl Probed {
    fn is_fresh(&self, now: Instant) -> bool {
        self.fresh.is_none_or(|fresh| now < fresh.until)
    }
}

impl Announcing {
    fn due(&self) -> Option<Instant> {
        self.rest.first().map(|(offset, _)| self.started + *offset)
    }
}

impl Guard {
    /// RFC 5227 §2.4: at most one defence in DEFEND_INTERVAL. The alarm goes with it, so that a
    /// flood of claims is told as one.
    fn defend(&mut self, claim: Claim, mac: Mac, scene: &mut Scene<'_>) {
        self.claimed = Some(scene.now);
        let recently =
            |at: Instant| scene.now.saturating_duration_since(at) < schedule::DEFEND_INTERVAL;
        if self.defended.is_some_and(recently) {
            return;
        }
        self.defended = Some(scene.now);
        scene
            .outputs
            .extend([Output::Announce, Output::Tell(News::Conflict(claim, mac, Phase::InUse))]);
    }

    fn settle(&mut self, scene: &mut Scene<'_>) {
        let over = |at: Instant| scene.now.saturating_duration_since(at) >= schedule::SETTLED;
        if self.claimed.is_some_and(over) {
            self.claimed = None;
            scene.outputs.push(Output::Tell(News::Settled));
        }
    }
}

#[cfg(test)]
mod tests;
