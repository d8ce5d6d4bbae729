//! How long to wait after failures. Pure: chance is an argument.

use std::time::Duration;

/// Waits that double from a first one to a longest, each spread by chance over half to one and a
/// half of it, so that daemons that lost the API together do not come back together.
#[derive(Clone, Debug)]
pub(in crate::kubernetes) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Nothing has failed yet.
    pub(in crate::kubernetes) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// Counts a failure and says how long to wait.
    pub(in crate::kubernetes) fn after_failure(&mut self, chance: u64) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures.min(20)).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let mean = self.first.saturating_mul(doubled).min(self.most);
        let permille = u32::try_from(chance % 1_000).unwrap_or(0).saturating_add(500);
        mean.saturating_mul(permille).checked_div(1_000).unwrap_or(mean).min(self.most)
    }

    /// All is well again.
    pub(in crate::kubernetes) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How often it failed since all was well.
    pub(in crate::kubernetes) fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const MOST: Duration = Duration::from_secs(30);

    #[test]
    fn waits_double_to_the_longest_and_begin_anew_when_all_is_well() {
        let mut backoff = Backoff::new(FIRST, MOST);
        let waits: Vec<_> = (0..9).map(|_| backoff.after_failure(500).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 30_000]);
        assert_eq!(backoff.failures(), 9);
        backoff.reset();
        assert_eq!(backoff.after_failure(500), FIRST);
    }

    proptest! {
        #[test]
        fn no_wait_is_too_short_or_too_long(chances in prop::collection::vec(any::<u64>(), 1..80)) {
            let mut backoff = Backoff::new(FIRST, MOST);
            for chance in chances {
                let wait = backoff.after_failure(chance);
                prop_assert!(wait >= FIRST / 2 && wait <= MOST, "{wait:?}");
            }
        }
    }
}
