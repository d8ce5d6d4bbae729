//! The global budget of probes: a token bucket in the form of the generic cell rate algorithm
//! (ITU-T I.371 §A), so that its whole state is one instant.

use std::time::Duration;

/// How many probes may start in one go after a quiet while, as part of one second's budget.
const BURST: Duration = Duration::from_millis(500);

/// So many probes per second, over every node and Service.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    /// Time that one probe costs.
    cost: Duration,
    /// When the bucket will be full again.
    full_at: Duration,
}

impl Budget {
    /// `rate` probes per second; 0 counts as 1.
    pub(super) fn new(rate: u32) -> Self {
        Self { cost: Duration::from_secs(1) / rate.max(1), full_at: Duration::ZERO }
    }

    /// Takes one probe's worth, if there is one.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        if self.next_at(now) > now {
            return false;
        }
        self.full_at = self.full_at.max(now) + self.cost;
        true
    }

    /// When the next probe may start: `now` or later.
    pub(super) fn next_at(&self, now: Duration) -> Duration {
        (self.full_at + self.cost).saturating_sub(BURST.max(self.cost)).max(now)
    }

    /// The time that `probes` cost.
    pub(super) fn cost_of(&self, probes: usize) -> Duration {
        self.cost.saturating_mul(u32::try_from(probes).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn over_any_second_no_more_than_the_rate_and_the_burst_is_spent() {
        let mut budget = Budget::new(200);
        let mut now = Duration::from_secs(10);
        let mut spent = 0;
        while now < Duration::from_secs(15) {
            while budget.take(now) {
                spent += 1;
            }
            now = budget.next_at(now);
        }
        assert!((1_000..=1_100).contains(&spent), "{spent} in five seconds");
    }

    #[test]
    fn the_slowest_budget_still_moves() {
        let mut budget = Budget::new(0);
        assert!(budget.take(Duration::ZERO));
        assert!(!budget.take(Duration::ZERO));
        assert_eq!(budget.next_at(Duration::ZERO), Duration::from_secs(1));
        assert!(budget.take(Duration::from_secs(1)));
    }
}
