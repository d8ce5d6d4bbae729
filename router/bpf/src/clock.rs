//! The program's clock: jiffies, which cost it no call. How many make a second is a configuration
//! that the kernel does not tell; but their counter began five minutes before its lower half turns
//! over (`INITIAL_JIFFIES`), and how long ago that was is known.

use crate::layout::Clock;

/// What `CONFIG_HZ` can be on the architectures that have BPF.
const POSSIBLE: [u32; 7] = [100, 128, 200, 250, 256, 300, 1000];
const NANOSECONDS: u128 = 1_000_000_000;

/// The `HZ` that explains both clocks best.
pub(crate) fn hz(clock: &Clock) -> u32 {
    POSSIBLE.into_iter().min_by_key(|hz| distance(*hz, clock)).unwrap_or(250)
}

/// By how many nanoseconds the monotonic clock is missed under this `HZ`.
fn distance(hz: u32, clock: &Clock) -> u128 {
    let initial = u64::from(hz.saturating_mul(300).wrapping_neg());
    let ticks = u128::from(clock.jiffies.wrapping_sub(initial));
    let counted = ticks.saturating_mul(NANOSECONDS) / u128::from(hz);
    counted.abs_diff(u128::from(clock.monotonic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_possible_tick_is_told_from_the_others() {
        for hz_of_kernel in POSSIBLE {
            for seconds in [1_u64, 60, 86_400, 10_000_000] {
                let initial = u64::from(hz_of_kernel.saturating_mul(300).wrapping_neg());
                let jiffies = initial + seconds * u64::from(hz_of_kernel);
                let monotonic = seconds * 1_000_000_000 + 300_000;
                assert_eq!(hz(&Clock { jiffies, monotonic }), hz_of_kernel, "{seconds} s up");
            }
        }
    }
}
