//! Durations and sizes as people write them: `250ms`, `1.5s` is not one, `64MiB`.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// What a duration looks like, for errors.
pub(super) const DURATION: &str =
    "a duration: a whole number and `ms`, `s`, `m`, `h` or `d`, such as \"250ms\"";

/// What a size looks like, for errors.
pub(super) const SIZE: &str = "a size: a whole number and `B`, `KiB`, `MiB` or `GiB`, such as \"64MiB\"";

pub(super) fn duration(text: &str) -> Option<Duration> {
    measure(text, DURATIONS).map(Duration::from_millis)
}

pub(super) fn size(text: &str) -> Option<usize> {
    measure(text, SIZES).and_then(|bytes| usize::try_from(bytes).ok())
}

fn measure(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let split = text.find(|character: char| !character.is_ascii_digit())?;
    let (number, unit) = text.split_at(split);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("250ms"), Some(Duration::from_millis(250)));
        assert_eq!(duration("5s"), Some(Duration::from_secs(5)));
        assert_eq!(duration("2m"), Some(Duration::from_secs(120)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        assert_eq!(duration("7d"), Some(Duration::from_secs(7 * 86_400)));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("12B"), Some(12));
        assert_eq!(size("1KiB"), Some(1024));
        assert_eq!(size("64MiB"), Some(64 << 20));
    }

    #[test]
    fn what_is_neither() {
        for text in
            ["", "5", "s", "-1s", "1.5s", "5 s", "5S", "99999999999999999999s", "9999999999999999h", "1MB"]
        {
            assert_eq!(duration(text), None, "{text:?}");
            assert_eq!(size(text), None, "{text:?}");
        }
    }
}
