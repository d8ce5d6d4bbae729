//! How soon after one plan the next may begin.

use std::time::Duration;

/// Between two plans: changes that come together are planned together.
const GAP: Duration = Duration::from_millis(5);
/// Planning that may run ahead of its half of the time: what one change brings in turn (the object of
/// a Service, its address, its first probes) waits for no more than [`GAP`].
const AHEAD: Duration = Duration::from_millis(100);

/// Planning takes at most half of the time, whatever happens: a plan is paid off by as long without
/// one.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// When the last plan ended.
    ended: Duration,
    /// What was not paid off then.
    owed: Duration,
}

impl Pace {
    /// Notes a plan.
    pub(super) fn planned(&mut self, began: Duration, ended: Duration) {
        let paid = began.saturating_sub(self.ended);
        self.owed = self.owed.saturating_sub(paid) + ended.saturating_sub(began);
        self.ended = ended;
    }

    /// When the next one may begin.
    pub(super) fn next(&self) -> Duration {
        self.ended + GAP.max(self.owed.saturating_sub(AHEAD))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Duration = Duration::from_millis(30);

    /// Plans as soon as may be until then; returns when each began.
    fn plans(pace: &mut Pace, until: Duration) -> Vec<Duration> {
        let next = || {
            let began = pace.next();
            pace.planned(began, began + PLAN);
            (began < until).then_some(began)
        };
        std::iter::from_fn(next).collect()
    }

    /// A Service that is created is planned when its object is seen and again when its address is
    /// known: the first plan holds up the second no longer than changes that come together.
    #[test]
    fn a_plan_that_took_long_does_not_hold_up_the_next_ones() {
        let mut pace = Pace::default();
        let began = plans(&mut pace, Duration::from_millis(100));
        let step = PLAN + GAP;
        assert_eq!(began, [GAP, GAP + step, GAP + step * 2]);
    }

    #[test]
    fn without_an_end_of_changes_half_of_the_time_is_left() {
        let mut pace = Pace::default();
        let seconds = Duration::from_secs(60);
        let count = u32::try_from(plans(&mut pace, seconds).len()).unwrap();
        assert!(PLAN * count <= seconds / 2 + AHEAD + PLAN, "{count} plans");
        assert!(PLAN * count >= seconds / 2, "{count} plans: no time is lost");
        pace.planned(seconds * 2, seconds * 2 + PLAN);
        assert_eq!(pace.next(), seconds * 2 + PLAN + GAP, "it is paid off by a quiet while");
    }
}
