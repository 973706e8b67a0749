//! The timestamp of a log line, such as `24/Oct/2026:06:31:59 +0200`.

use std::fmt;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAY: i64 = 86_400;

/// A moment, and the offset from UTC in which a server wrote it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds since 1970-01-01T00:00:00Z.
    pub unix_seconds: i64,
    offset_seconds: i64,
}

impl Stamp {
    /// Parses the text between the brackets of a log line; `None` where it is not a timestamp.
    pub fn parse(text: &str) -> Option<Self> {
        let (date, rest) = text.split_once(':')?;
        let (time, offset) = rest.split_once(' ')?;

        let mut date = date.splitn(3, '/');
        let day = number(date.next()?, 1..=31)?;
        let name = date.next()?;
        let month = MONTHS.iter().position(|month| *month == name)?;
        let year = number(date.next()?, 1970..=9999)?;

        let mut time = time.splitn(3, ':');
        let hour = number(time.next()?, 0..=23)?;
        let minute = number(time.next()?, 0..=59)?;
        let second = number(time.next()?, 0..=60)?;

        let offset_seconds = offset_seconds(offset)?;
        let local = days_from_civil(year, month, day) * DAY + hour * 3_600 + minute * 60 + second;
        Some(Self { unix_seconds: local - offset_seconds, offset_seconds })
    }

    /// The moment `seconds` later, in the same offset.
    pub fn later(self, seconds: i64) -> Self {
        Self { unix_seconds: self.unix_seconds + seconds, ..self }
    }

    /// The moment in UTC to the hour, such as `2026-10-24T04`.
    pub fn utc_hour(unix_hour: i64) -> String {
        let (year, month, day) = civil_from_days(unix_hour.div_euclid(24));
        format!("{year}-{:02}-{day:02}T{:02}", month + 1, unix_hour.rem_euclid(24))
    }
}

impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = self.unix_seconds + self.offset_seconds;
        let (year, month, day) = civil_from_days(local.div_euclid(DAY));
        let second = local.rem_euclid(DAY);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let name = MONTHS.get(month).copied().unwrap_or_default();
        let sign = if self.offset_seconds < 0 { '-' } else { '+' };
        let offset = self.offset_seconds.abs() / 60;
        write!(f, "{day:02}/{name}/{year}:{hour:02}:{minute:02}:{second:02} ")?;
        write!(f, "{sign}{:02}{:02}", offset / 60, offset % 60)
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// Parses `+0200`.
fn offset_seconds(text: &str) -> Option<i64> {
    let (sign, digits) = match text.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    let (hours, minutes) = digits.split_at_checked(2)?;
    Some(sign * (number(hours, 0..=14)? * 3_600 + number(minutes, 0..=59)? * 60))
}

/// Days since 1970-01-01 of a day in the Gregorian calendar; `month` counts from zero.
///
/// Years are taken to begin in March, so that the leap day is their last.
fn days_from_civil(year: i64, month: usize, day: i64) -> i64 {
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let day_of_year = (153 * month as i64 + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, usize, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month as usize + 2, day) } else { (year + 1, month as usize - 10, day) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_taken_off() {
        let unix_seconds = |text| Stamp::parse(text).map(|stamp| stamp.unix_seconds);
        assert_eq!(unix_seconds("01/Jan/1970:00:00:00 +0000"), Some(0));
        assert_eq!(unix_seconds("25/Oct/2026:02:30:00 +0200"), Some(1_792_888_200));
        assert_eq!(unix_seconds("25/Oct/2026:02:30:00 +0100"), Some(1_792_891_800));
        assert_eq!(unix_seconds("29/Feb/2028:23:59:59 -0330"), Some(1_835_494_199));
    }

    #[test]
    fn what_is_no_timestamp_is_refused() {
        for text in [
            "",
            "-",
            "24/Oct/2026",
            "32/Oct/2026:06:31:59 +0200",
            "24/Okt/2026:06:31:59 +0200",
            "24/Oct/2026:24:31:59 +0200",
            "24/Oct/2026:06:31:59 0200",
            "24/Oct/2026:06:31:59 +02é",
        ] {
            assert_eq!(Stamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_day_of_400_years_reads_back() {
        for day in 0..146_097 {
            let stamp = Stamp { unix_seconds: day * DAY + 3_599, offset_seconds: 5_400 };
            assert_eq!(Stamp::parse(&stamp.to_string()), Some(stamp));
        }
    }

    #[test]
    fn hours_are_named_in_utc() {
        assert_eq!(Stamp::utc_hour(1_792_888_200 / 3_600), "2026-10-25T00");
    }
}
