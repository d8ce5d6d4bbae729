//! Medians, percentiles, and an order that is different each time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The value below which `share` (0 to 1) of all lie; 0 where there are none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().saturating_sub(1);
    sorted.get(index(last, share)).copied().unwrap_or_default()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index below the number of samples, which is far below 2^52"
)]
fn index(last: usize, share: f64) -> usize {
    (last as f64 * share).round() as usize
}

/// The middle.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The median of the ratios of what was measured in the same round.
pub(crate) fn paired(of: &[f64], to: &[f64]) -> f64 {
    let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
    median(&ratios)
}

/// Milliseconds.
pub(crate) fn milliseconds(of: Duration) -> f64 {
    of.as_secs_f64() * 1_000.0
}

/// A small generator of numbers that need only differ (xorshift64).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Seeded by the clock.
    pub(crate) fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(now.as_secs().wrapping_mul(1_000_000_007) ^ u64::from(now.subsec_nanos()) | 1)
    }

    /// A number below `bound`, which must not be 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or(0) % bound
    }

    /// In another order.
    pub(crate) fn shuffle<T>(&mut self, of: &mut [T]) {
        for last in (1..of.len()).rev() {
            of.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(
            [quantile(&values, 0.0), median(&values), quantile(&values, 1.0)],
            [1.0, 3.0, 5.0]
        );
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn pairs_are_of_one_round() {
        assert_eq!(paired(&[2.0, 40.0, 6.0], &[1.0, 10.0, 2.0]), 3.0);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut order: Vec<usize> = (0..20).collect();
        Dice::new().shuffle(&mut order);
        order.sort_unstable();
        assert_eq!(order, (0..20).collect::<Vec<_>>());
    }
}
