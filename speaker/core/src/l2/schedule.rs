//! When what is sent.

use std::time::Duration;

use roadstead_model::{Family, config::Probe};

use super::dice::Dice;

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// How long a passed probe vouches for an address that is not announced.
pub(super) const FRESH: Duration = Duration::from_secs(120);
/// Mean age at which such an address is probed again, well before [`FRESH`] ends.
pub(super) const RECHECK: Duration = Duration::from_secs(75);
/// DEFEND_INTERVAL of RFC 5227 §1.1: at most one defence in this time.
pub(super) const DEFEND_INTERVAL: Duration = Duration::from_secs(10);
/// A claim not repeated for this long is history.
pub(super) const SETTLED: Duration = Duration::from_secs(60);

/// First and longest wait before an address that was taken is probed again. The longest is
/// RATE_LIMIT_INTERVAL of RFC 5227 §1.1.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// How long to wait after the given number of conflicts in a row.
pub(super) fn retry(conflicts: u32, dice: &mut Dice) -> Duration {
    let doublings = conflicts.saturating_sub(1).min(8);
    dice.around((RETRY.0 * (1 << doublings)).min(RETRY.1))
}

/// What follows a number of probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterProbes {
    /// Another probe after this time.
    Another(Duration),
    /// The address is free if nobody claims it for this time.
    Verdict(Duration),
}

/// Wait before the first probe; `None` = no probe at all.
pub(super) fn first_probe(mode: Probe, dice: &mut Dice) -> Option<Duration> {
    match mode {
        Probe::Fast => Some(Duration::ZERO),
        // PROBE_WAIT of RFC 5227 §2.1.1; MAX_RTR_SOLICITATION_DELAY of RFC 4862 §5.4.2.
        Probe::Rfc5227 => Some(dice.between(Duration::ZERO, ms(1000))),
        Probe::Off => None,
    }
}

/// What follows the `sent`th probe.
pub(super) fn after_probe(mode: Probe, family: Family, sent: u8, dice: &mut Dice) -> AfterProbes {
    match (mode, family, sent) {
        (Probe::Off, _, _) => AfterProbes::Verdict(Duration::ZERO),
        (Probe::Fast, _, 0..3) => AfterProbes::Another(ms(70)),
        (Probe::Fast, _, _) => AfterProbes::Verdict(ms(60)),
        // PROBE_NUM 3, PROBE_MIN 1 s, PROBE_MAX 2 s, ANNOUNCE_WAIT 2 s (RFC 5227 §1.1).
        (Probe::Rfc5227, Family::V4, 0..3) => {
            AfterProbes::Another(dice.between(ms(1000), ms(2000)))
        }
        (Probe::Rfc5227, Family::V4, _) => AfterProbes::Verdict(ms(2000)),
        // DupAddrDetectTransmits 1, RetransTimer 1 s (RFC 4862 §5.1, RFC 4861 §10).
        (Probe::Rfc5227, Family::V6, _) => AfterProbes::Verdict(ms(1000)),
    }
}

/// What is done at one point of the burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Announce.
    Announce,
    /// Probe once more: a station that slept, or whose port the switch held back, was not heard by
    /// the fast probe (RFC 5227 §2.1.1 takes 4 to 7 s).
    Listen,
}

/// The burst by which neighbours and switches learn of a take-over: time since its start, action.
pub(super) const BURST: [(Duration, Action); 9] = [
    (ms(0), Action::Announce),
    (ms(50), Action::Announce),
    (ms(200), Action::Announce),
    (ms(1000), Action::Announce),
    (ms(1500), Action::Listen),
    (ms(2000), Action::Announce),
    (ms(3000), Action::Listen),
    (ms(4000), Action::Announce),
    (ms(6000), Action::Listen),
];
