//! How long a supervisor waits before it starts a child again, where it is told to wait at all.

use std::time::Duration;

/// How much longer each wait is than the one before, unless set otherwise.
const DEFAULT_FACTOR: f64 = 2.0;

/// Which share of a wait is left to chance, unless set otherwise.
const DEFAULT_JITTER: f64 = 0.2;

/// A pause before each restart of a child, longer from failure to failure.
///
/// An option that OTP's `supervisor` lacks: there, a child is started again at once. The restart intensity counts a
/// failure when it happens, exactly as without a pause, so a pause also spaces out what it counts. While a child
/// waits its supervisor does everything else; to stop, or to terminate the child, it does not wait.
///
/// Where children depend on each other ([`OneForAll`](crate::Strategy::OneForAll),
/// [`RestForOne`](crate::Strategy::RestForOne)) those that come after the waiting child wait with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    factor: f64,
    jitter: f64,
    reset_after: Duration,
}

impl Backoff {
    /// Waits `min` after the first failure, twice as long after each further one, and never longer than `max`.
    ///
    /// A fifth of each wait is left to chance, and a child that ran for `max` is taken for healthy: its next failure
    /// is a first one again.
    pub fn exponential(min: Duration, max: Duration) -> Self {
        let max = max.max(min);
        Self { min, max, factor: DEFAULT_FACTOR, jitter: DEFAULT_JITTER, reset_after: max }
    }

    /// Sets by how much each wait is longer than the one before. Less than one, or no number, is one.
    pub fn factor(mut self, factor: f64) -> Self {
        self.factor = if factor > 1.0 { factor } else { 1.0 };
        self
    }

    /// Sets by which share, of 0 to 1, a wait is shortened at random, so that what failed together does not come
    /// back together. What is no number, or less, is 0.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = if share > 0.0 { share.min(1.0) } else { 0.0 };
        self
    }

    /// Sets how long a child has to run until its failures are forgotten.
    pub fn reset_after(mut self, healthy: Duration) -> Self {
        self.reset_after = healthy;
        self
    }

    /// The wait after so many failures in a row; `chance` is from 0 to 1.
    pub(crate) fn delay(&self, failures: u32, chance: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.min.as_secs_f64() * self.factor.powi(exponent);
        let full = Duration::try_from_secs_f64(grown).map_or(self.max, |grown| grown.min(self.max));
        // A float may round up.
        full.mul_f64(1.0 - self.jitter * chance).min(self.max)
    }
}

/// The failures of one child, as far as they are remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Strikes {
    failures: u32,
    /// When it came up last, since any fixed moment.
    up_since: Option<Duration>,
}

impl Strikes {
    pub(crate) fn up(&mut self, now: Duration) {
        self.up_since = Some(now);
    }

    /// Notes a failure at `now`; says how many there have been in a row.
    pub(crate) fn strike(&mut self, backoff: &Backoff, now: Duration) -> u32 {
        let healthy =
            self.up_since.take().is_some_and(|since| now.saturating_sub(since) >= backoff.reset_after);
        self.failures = if healthy { 1 } else { self.failures.saturating_add(1) };
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::Chance;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn check(backoff: &Backoff, chance: f64, expected_s: &[f64]) {
        let delays: Vec<f64> =
            (1..).take(expected_s.len()).map(|n| backoff.delay(n, chance).as_secs_f64()).collect();
        assert_eq!(delays, expected_s, "{backoff:?}");
    }

    #[test]
    fn a_wait_doubles_up_to_its_bound() {
        check(&Backoff::exponential(SECOND, 10 * SECOND), 0.0, &[1.0, 2.0, 4.0, 8.0, 10.0, 10.0]);
        check(&Backoff::exponential(SECOND, 10 * SECOND).factor(3.0), 0.0, &[1.0, 3.0, 9.0, 10.0]);
        check(&Backoff::exponential(SECOND, Duration::ZERO), 0.0, &[1.0, 1.0]);
    }

    #[test]
    fn chance_only_shortens() {
        check(&Backoff::exponential(SECOND, 10 * SECOND).jitter(0.5), 1.0, &[0.5, 1.0, 2.0, 4.0, 5.0]);
    }

    #[test]
    fn what_is_no_number_changes_nothing() {
        let odd = Backoff::exponential(SECOND, 2 * SECOND).factor(f64::NAN).jitter(f64::NAN);
        check(&odd, 1.0, &[1.0, 1.0]);
        check(&Backoff::exponential(SECOND, SECOND).factor(f64::INFINITY), 0.0, &[1.0, 1.0]);
        check(&Backoff::exponential(Duration::ZERO, SECOND).factor(f64::INFINITY), 0.0, &[0.0, 1.0]);
    }

    #[test]
    fn a_healthy_time_forgives() {
        let backoff = Backoff::exponential(SECOND, 10 * SECOND).reset_after(5 * SECOND);
        let mut strikes = Strikes::default();
        strikes.up(Duration::ZERO);
        assert_eq!(strikes.strike(&backoff, SECOND), 1);
        assert_eq!(strikes.strike(&backoff, SECOND), 2, "a failed start is no health");
        strikes.up(2 * SECOND);
        assert_eq!(strikes.strike(&backoff, 3 * SECOND), 3);
        strikes.up(4 * SECOND);
        assert_eq!(strikes.strike(&backoff, 9 * SECOND), 1);
    }

    proptest! {
        #[test]
        fn a_wait_is_within_its_bounds(
            (min, max) in (any::<u64>(), any::<u64>()),
            (factor, jitter) in (any::<f64>(), any::<f64>()),
            (failures, seed) in (any::<u32>(), any::<u64>()),
        ) {
            let (min, max) = (Duration::from_nanos(min), Duration::from_nanos(max));
            let chance = Chance::new(seed, "").roll();
            prop_assert!((0.0..1.0).contains(&chance));
            let backoff = Backoff::exponential(min, max).factor(factor).jitter(jitter);
            prop_assert!(backoff.delay(failures, chance) <= max.max(min));
        }
    }
}
