//! How often children may fail before their supervisor gives up.

use std::collections::VecDeque;
use std::time::Duration;

/// At most `max` restarts in any `period`, as in OTP's `add_restart`. Time is what the caller says it is.
#[derive(Clone, Debug)]
pub(crate) struct Intensity {
    max: usize,
    period: Duration,
    /// When the restarts of the last period were, oldest first: never more than `max`.
    restarts: VecDeque<Duration>,
}

impl Intensity {
    pub(crate) fn new(max: usize, period: Duration) -> Self {
        Self { max, period, restarts: VecDeque::new() }
    }

    /// Counts a restart at `now`, the time since any fixed moment; false where it is one too many.
    ///
    /// A restart exactly one period ago still counts.
    pub(crate) fn add_restart(&mut self, now: Duration) -> bool {
        let start = now.saturating_sub(self.period);
        while self.restarts.front().is_some_and(|&restart| restart < start) {
            self.restarts.pop_front();
        }
        if self.restarts.len() >= self.max {
            return false;
        }
        self.restarts.push_back(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(max: usize, period_ms: u64, restarts_ms: &[u64], expected: &[bool]) {
        let mut intensity = Intensity::new(max, Duration::from_millis(period_ms));
        let seen: Vec<bool> =
            restarts_ms.iter().map(|&at| intensity.add_restart(Duration::from_millis(at))).collect();
        assert_eq!(seen, expected, "{max} in {period_ms} ms at {restarts_ms:?}");
    }

    #[test]
    fn none_allowed() {
        check(0, 5_000, &[0], &[false]);
    }

    #[test]
    fn the_window_slides() {
        check(3, 1_000, &[0, 700, 1_400, 2_100, 2_800], &[true; 5]);
        check(1, 1_000, &[0, 999], &[true, false]);
    }

    #[test]
    fn the_end_of_the_period_belongs_to_it() {
        check(1, 1_000, &[0, 1_000], &[true, false]);
        check(1, 1_000, &[0, 1_001], &[true, true]);
    }

    /// `add_restart` of OTP, spelled out: keep every restart, count those in the period.
    fn model(max: usize, period: Duration, restarts: &[Duration]) -> Option<usize> {
        (0..restarts.len()).find(|&last| {
            let in_period = |then: &&Duration| restarts[last] <= **then + period;
            restarts[..=last].iter().filter(in_period).count() > max
        })
    }

    proptest! {
        #[test]
        fn gives_up_when_otp_does(
            max in 0..6_usize,
            period in 1..50_u64,
            gaps in prop::collection::vec(0..30_u64, 0..60),
        ) {
            let period = Duration::from_millis(period);
            let times: Vec<Duration> = gaps
                .iter()
                .scan(0, |now, gap| { *now += gap; Some(Duration::from_millis(*now)) })
                .collect();
            let mut intensity = Intensity::new(max, period);
            let gave_up = times.iter().position(|&now| !intensity.add_restart(now));
            prop_assert_eq!(gave_up, model(max, period, &times));
        }
    }
}
