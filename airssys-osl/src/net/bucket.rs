//! A token bucket: how many bytes may go now. Pure: time comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;

/// What is left of a rate. It is full when nothing went for a second, and never fuller.
#[derive(Debug, Default)]
pub(super) struct Bucket {
    /// When it was looked at last, and how many bytes could go then; `None` before the first time.
    state: Option<(Instant, u64)>,
}

const SECOND_NS: u128 = 1_000_000_000;

impl Bucket {
    /// Takes up to `want` bytes out, at least one; or says how long to wait until some are there.
    ///
    /// The wait is for a twentieth of a second's worth, or for all that is wanted where that is less: a stream that
    /// woke up for each single byte would do nothing else.
    pub(super) fn take(&mut self, now: Instant, per_second: u64, want: u64) -> Result<u64, Duration> {
        let (_, level) = self.fill(now, per_second);
        let taken = want.min(level);
        if taken > 0 || want == 0 {
            self.state = Some((now, level - taken));
            return Ok(taken);
        }
        // Time that is too short for a whole byte must not be lost: the moment stays where it is.
        let enough = want.min((per_second / 20).max(1));
        Err(duration(enough, per_second))
    }

    /// Puts back what was taken out and did not go.
    pub(super) fn put_back(&mut self, bytes: u64) {
        if let Some((_, level)) = &mut self.state {
            *level = level.saturating_add(bytes);
        }
    }

    fn fill(&mut self, now: Instant, per_second: u64) -> (Instant, u64) {
        let (at, level) = self.state.unwrap_or((now, per_second));
        let elapsed = now.saturating_duration_since(at).as_nanos();
        let gained = elapsed.saturating_mul(per_second.into()) / SECOND_NS;
        let gained = u64::try_from(gained).unwrap_or(u64::MAX);
        let state = if gained == 0 {
            (at, level.min(per_second))
        } else {
            (now, level.saturating_add(gained).min(per_second))
        };
        self.state = Some(state);
        state
    }
}

fn duration(bytes: u64, per_second: u64) -> Duration {
    let ns = (u128::from(bytes) * SECOND_NS).div_ceil(u128::from(per_second.max(1)));
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_second_of_burst_then_the_rate() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(bucket.take(at(0), 1000, 600), Ok(600));
        assert_eq!(bucket.take(at(0), 1000, 600), Ok(400));
        assert_eq!(bucket.take(at(0), 1000, 600), Err(Duration::from_millis(50)));
        assert_eq!(bucket.take(at(0), 1000, 10), Err(Duration::from_millis(10)));
        assert_eq!(bucket.take(at(50), 1000, 600), Ok(50));
        bucket.put_back(20);
        assert_eq!(bucket.take(at(50), 1000, 600), Ok(20));
        assert_eq!(bucket.take(at(9_000), 1000, 9_999), Ok(1000), "never more than a second's worth");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing() {
        let (mut bucket, start) = (Bucket::default(), Instant::now());
        let later = start + Duration::from_secs(9);
        assert_eq!(bucket.take(later, 10, 10), Ok(10));
        assert!(bucket.take(start, 10, 10).is_err());
    }

    proptest! {
        /// However it is asked, no more goes than the rate allows.
        #[test]
        fn the_rate_holds(
            rate in 1..100_000_u64, asks in prop::collection::vec((0..100_000_u64, 0..300_u64), 1..50),
        ) {
            let (mut bucket, start) = (Bucket::default(), Instant::now());
            let (mut now, mut gone) = (start, 0);
            for (want, wait_ms) in asks {
                now += Duration::from_millis(wait_ms);
                gone += bucket.take(now, rate, want).unwrap_or(0);
                let most = u128::from(rate) + (now - start).as_nanos() * u128::from(rate) / SECOND_NS;
                prop_assert!(u128::from(gone) <= most, "{} of {}", gone, most);
            }
        }

        /// Whoever waits as long as it says gets something.
        #[test]
        fn a_wait_ends(rate in 1..u64::MAX, want in 1..u64::MAX) {
            let (mut bucket, mut now) = (Bucket::default(), Instant::now());
            bucket.take(now, rate, u64::MAX).unwrap();
            if let Err(wait) = bucket.take(now, rate, want) {
                now += wait;
                prop_assert!(bucket.take(now, rate, want).is_ok());
            }
        }
    }
}
