//! Which segments are kept. Pure.

use std::time::Duration;

/// Which old segments a log keeps, when it begins a new one. The one that is written is always kept; without any bound
/// all are.
///
/// On a full disk it removes what the bounds let it at once, and not only with the next segment: some megabytes are set aside
/// for what has to be written before. It never removes what is within the bounds: then the log refuses records.
///
/// Segments that were not exported yet stay, whatever the bounds: an [`Exporter`](super::export::Exporter) whose cursor is a
/// file `….cursor` in the folder of the log is waited for. Remove the cursor of one that does not come back, or the log
/// grows.
///
/// What is removed is told in a signed checkpoint first, so that [`verify`](super::verify) knows a removed beginning from
/// one that somebody cut off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The most bytes of all segments.
    pub bytes: Option<u64>,
    /// How long a segment is kept after its last record. It goes by the wall clock: whoever sets that forward has
    /// segments removed too early.
    pub age: Option<Duration>,
    /// The most segments.
    pub segments: Option<usize>,
}

impl Retention {
    /// Whether anything is ever removed.
    pub(super) fn is_bounded(&self) -> bool {
        *self != Self::default()
    }
}

/// A segment that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    /// How many records precede it.
    pub(super) segment: u64,
    pub(super) bytes: u64,
    /// When the next one was begun; nanoseconds since 1970.
    pub(super) end_ns: Option<u64>,
}

/// Returns how many records, from the first on, are to be removed: whole segments, never the last one.
pub(super) fn dropped(kept: &[Kept], now_ns: u64, retention: &Retention) -> u64 {
    let mut bytes: u64 = kept.iter().map(|kept| kept.bytes).sum();
    let mut segments = kept.len();
    let mut rest = kept.iter().peekable();
    while let Some(oldest) = rest.next() {
        let Some(next) = rest.peek() else { return oldest.segment };
        let too_many = retention.segments.is_some_and(|limit| segments > limit);
        let too_large = retention.bytes.is_some_and(|limit| bytes > limit);
        let too_old = retention
            .age
            .zip(oldest.end_ns)
            .is_some_and(|(limit, end_ns)| u128::from(now_ns.saturating_sub(end_ns)) > limit.as_nanos());
        if !(too_many || too_large || too_old) {
            return oldest.segment;
        }
        (bytes, segments) = (bytes - oldest.bytes, segments - 1);
        debug_assert!(next.segment > oldest.segment);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Retention = Retention { bytes: None, age: None, segments: None };

    fn check(retention: Retention, expected: u64) {
        // Three segments of ten records and a hundred bytes, which ended at 1, 2 and 3 seconds.
        let segment = |number: u64| Kept {
            segment: 10 * number,
            bytes: 100,
            end_ns: (number < 2).then_some((number + 1) * 1_000_000_000),
        };
        let kept = [segment(0), segment(1), segment(2)];
        assert_eq!(dropped(&kept, 4_000_000_000, &retention), expected, "{retention:?}");
    }

    #[test]
    fn whole_segments_go_from_the_oldest_on_and_the_last_one_stays() {
        check(ALL, 0);
        check(Retention { bytes: Some(300), ..ALL }, 0);
        check(Retention { bytes: Some(299), ..ALL }, 10);
        check(Retention { bytes: Some(0), ..ALL }, 20);
        check(Retention { segments: Some(2), ..ALL }, 10);
        check(Retention { segments: Some(0), ..ALL }, 20);
        check(Retention { age: Some(Duration::from_secs(3)), ..ALL }, 0);
        check(Retention { age: Some(Duration::from_millis(2_500)), ..ALL }, 10);
        check(Retention { age: Some(Duration::ZERO), ..ALL }, 20);
        check(Retention { bytes: Some(299), segments: Some(1), ..ALL }, 20);
        assert_eq!(dropped(&[], 0, &ALL), 0);
    }

    #[test]
    fn a_clock_that_went_backwards_makes_nothing_old() {
        let kept =
            [Kept { segment: 0, bytes: 1, end_ns: Some(9) }, Kept { segment: 1, bytes: 1, end_ns: None }];
        assert_eq!(dropped(&kept, 0, &Retention { age: Some(Duration::ZERO), ..ALL }), 0);
    }
}
