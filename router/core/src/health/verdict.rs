//! The verdict on one thing that is probed.
//!
//! ```text
//!   Unknown ──passed──▶ Healthy ──fall × failed──▶ Unhealthy ──rise × passed──▶ Climbing
//!   (failed: counted)      ▲                          ▲                         │   │
//!                          └────── slow start over ───┼─────────────────────────┘   │
//!                                                     └──────── fall × failed ──────┘
//! ```
//!
//! What never passed is `Unknown`: its first pass makes it healthy at once. What fell needs `rise`
//! passes in a row, doubled with each fall of the last minutes (damping), and its weight climbs.

use std::time::Duration;

use roadstead_model::config;

use super::Failure;

/// Falls are forgotten one by one, each after this long without another.
const FORGET_FALL: Duration = Duration::from_secs(60);
/// Beyond so many remembered falls the wanted passes double no more.
const MOST_DOUBLINGS: u32 = 4;
/// A climbing weight takes this many steps, so that tables are not rewritten for every percent.
pub(super) const CLIMB_STEPS: u32 = 10;

/// Where a subject stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Never passed; so many failures in a row.
    Unknown { failed: u32 },
    /// In use; so many failures in a row.
    Healthy { failed: u32 },
    /// In use with a growing share.
    Climbing { since: Duration, failed: u32 },
    /// Not in use; so many passes in a row.
    Unhealthy { passed: u32 },
}

impl Verdict {
    /// In use, and the last probe failed.
    pub(super) fn in_doubt(self) -> bool {
        match self {
            Self::Healthy { failed } | Self::Climbing { failed, .. } => failed > 0,
            Self::Unknown { .. } | Self::Unhealthy { .. } => false,
        }
    }
}

/// A verdict with what it remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) verdict: Verdict,
    /// The last failure, kept until the next pass.
    pub(super) failure: Option<Failure>,
    falls: u32,
    fell: Duration,
}

impl Record {
    pub(super) fn new(verdict: Verdict) -> Self {
        Self { verdict, failure: None, falls: 0, fell: Duration::ZERO }
    }

    /// Takes in one result.
    pub(super) fn handle(
        &mut self,
        result: Result<(), Failure>,
        rules: &config::Health,
        now: Duration,
    ) {
        let before = self.verdict;
        let rise = self.rise(rules, now);
        self.verdict = match result {
            Ok(()) => passed(before, rise, rules.slow_start, now),
            Err(_) => failed(before, rules.fall),
        };
        self.failure = result.err();
        let fell = matches!(before, Verdict::Healthy { .. } | Verdict::Climbing { .. })
            && matches!(self.verdict, Verdict::Unhealthy { .. });
        if fell {
            self.falls = self.remembered(now).saturating_add(1);
            self.fell = now;
        }
    }

    /// Share of its weight in percent: below 100 only while it climbs.
    pub(super) fn percent(&self, slow_start: Duration, now: Duration) -> u32 {
        match self.verdict {
            Verdict::Climbing { since, .. } => {
                let steps = climbed(since, slow_start, now).clamp(1, CLIMB_STEPS);
                steps * 100 / CLIMB_STEPS
            }
            Verdict::Unknown { .. } | Verdict::Healthy { .. } | Verdict::Unhealthy { .. } => 100,
        }
    }

    /// When the next step of a climb is due.
    pub(super) fn next_step(&self, slow_start: Duration, now: Duration) -> Option<Duration> {
        let Verdict::Climbing { since, .. } = self.verdict else { return None };
        let done = climbed(since, slow_start, now);
        (done < CLIMB_STEPS).then(|| since + slow_start * (done + 1) / CLIMB_STEPS)
    }

    /// Passes in a row that a fallen one needs: `rise`, doubled for each fall but the first that is
    /// still remembered.
    fn rise(&self, rules: &config::Health, now: Duration) -> u32 {
        let doublings = self.remembered(now).saturating_sub(1).min(MOST_DOUBLINGS);
        rules.rise.max(1).saturating_mul(1 << doublings)
    }

    fn remembered(&self, now: Duration) -> u32 {
        let quiet = now.saturating_sub(self.fell).as_secs() / FORGET_FALL.as_secs();
        self.falls.saturating_sub(u32::try_from(quiet).unwrap_or(u32::MAX))
    }
}

fn passed(verdict: Verdict, rise: u32, slow_start: Duration, now: Duration) -> Verdict {
    match verdict {
        Verdict::Unknown { .. } | Verdict::Healthy { .. } => Verdict::Healthy { failed: 0 },
        Verdict::Climbing { since, .. } if now.saturating_sub(since) >= slow_start => {
            Verdict::Healthy { failed: 0 }
        }
        Verdict::Climbing { since, .. } => Verdict::Climbing { since, failed: 0 },
        Verdict::Unhealthy { passed } if passed.saturating_add(1) < rise => {
            Verdict::Unhealthy { passed: passed + 1 }
        }
        Verdict::Unhealthy { .. } if slow_start.is_zero() => Verdict::Healthy { failed: 0 },
        Verdict::Unhealthy { .. } => Verdict::Climbing { since: now, failed: 0 },
    }
}

fn failed(verdict: Verdict, fall: u32) -> Verdict {
    let falls = |failed: u32| failed.saturating_add(1) >= fall.max(1);
    match verdict {
        Verdict::Unknown { failed } => Verdict::Unknown { failed: failed.saturating_add(1) },
        Verdict::Healthy { failed } | Verdict::Climbing { failed, .. } if falls(failed) => {
            Verdict::Unhealthy { passed: 0 }
        }
        Verdict::Healthy { failed } => Verdict::Healthy { failed: failed + 1 },
        Verdict::Climbing { since, failed } => Verdict::Climbing { since, failed: failed + 1 },
        Verdict::Unhealthy { .. } => Verdict::Unhealthy { passed: 0 },
    }
}

/// How many of the steps of a climb are over.
fn climbed(since: Duration, slow_start: Duration, now: Duration) -> u32 {
    let span = slow_start.as_nanos().max(1);
    let steps = now.saturating_sub(since).as_nanos() * u128::from(CLIMB_STEPS) / span;
    u32::try_from(steps).unwrap_or(CLIMB_STEPS).min(CLIMB_STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::rules;

    const NOW: Duration = Duration::from_secs(100);
    const PASS: Result<(), Failure> = Ok(());
    const FAIL: Result<(), Failure> = Err(Failure::Refused);

    /// Every (state, event) pair: fall 3, rise 2, slow start 10 s.
    #[test]
    fn the_transition_table() {
        use Verdict::{Climbing, Healthy, Unhealthy, Unknown};
        let fresh = NOW - Duration::from_secs(1);
        let old = NOW - Duration::from_secs(10);
        let table = [
            (Unknown { failed: 0 }, PASS, Healthy { failed: 0 }),
            (Unknown { failed: 0 }, FAIL, Unknown { failed: 1 }),
            (Unknown { failed: 7 }, PASS, Healthy { failed: 0 }),
            (Unknown { failed: 7 }, FAIL, Unknown { failed: 8 }),
            (Healthy { failed: 0 }, PASS, Healthy { failed: 0 }),
            (Healthy { failed: 2 }, PASS, Healthy { failed: 0 }),
            (Healthy { failed: 0 }, FAIL, Healthy { failed: 1 }),
            (Healthy { failed: 2 }, FAIL, Unhealthy { passed: 0 }),
            (Unhealthy { passed: 0 }, FAIL, Unhealthy { passed: 0 }),
            (Unhealthy { passed: 1 }, FAIL, Unhealthy { passed: 0 }),
            (Unhealthy { passed: 0 }, PASS, Unhealthy { passed: 1 }),
            (Unhealthy { passed: 1 }, PASS, Climbing { since: NOW, failed: 0 }),
            (Climbing { since: fresh, failed: 1 }, PASS, Climbing { since: fresh, failed: 0 }),
            (Climbing { since: old, failed: 0 }, PASS, Healthy { failed: 0 }),
            (Climbing { since: fresh, failed: 0 }, FAIL, Climbing { since: fresh, failed: 1 }),
            (Climbing { since: fresh, failed: 2 }, FAIL, Unhealthy { passed: 0 }),
        ];
        for (before, result, after) in table {
            let mut record = Record::new(before);
            record.handle(result, &rules(), NOW);
            assert_eq!(record.verdict, after, "{before:?} after {result:?}");
        }
    }

    #[test]
    fn without_slow_start_the_full_weight_returns_at_once() {
        let rules = config::Health { slow_start: Duration::ZERO, ..rules() };
        let mut record = Record::new(Verdict::Unhealthy { passed: 1 });
        record.handle(PASS, &rules, NOW);
        assert_eq!(record.verdict, Verdict::Healthy { failed: 0 });
        assert_eq!(record.percent(rules.slow_start, NOW), 100);
    }

    #[test]
    fn a_weight_climbs_in_steps_and_each_has_its_deadline() {
        let span = Duration::from_secs(10);
        let record = Record::new(Verdict::Climbing { since: NOW, failed: 0 });
        let at = |seconds| record.percent(span, NOW + Duration::from_secs(seconds));
        assert_eq!([at(0), at(1), at(2), at(9), at(10), at(99)], [10, 10, 20, 90, 100, 100]);
        assert_eq!(record.next_step(span, NOW), Some(NOW + Duration::from_secs(1)));
        assert_eq!(record.next_step(span, NOW + span), None);
    }

    /// Passes wanted after each of several falls in a row.
    fn wanted_after_falls(pause: Duration) -> Vec<u32> {
        let rules = config::Health { slow_start: Duration::ZERO, ..rules() };
        let mut record = Record::new(Verdict::Healthy { failed: 0 });
        let mut now = NOW;
        let mut wanted = Vec::new();
        for _ in 0..7 {
            for _ in 0..rules.fall {
                record.handle(FAIL, &rules, now);
            }
            let mut passes = 0;
            while record.verdict != (Verdict::Healthy { failed: 0 }) {
                record.handle(PASS, &rules, now);
                passes += 1;
            }
            wanted.push(passes);
            now += pause;
        }
        wanted
    }

    #[test]
    fn flapping_is_damped_and_forgiven() {
        assert_eq!(wanted_after_falls(Duration::from_secs(1)), [2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(wanted_after_falls(Duration::from_secs(120)), [2; 7]);
    }
}
