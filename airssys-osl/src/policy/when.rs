//! When a rule holds: moments, windows of the week, rates.

use std::{
    fmt,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{Error, ErrorKind, clock::Timestamp, limits::RATE_PERIOD};

const MINUTE: i64 = 60;
const DAY: i64 = 24 * 60 * MINUTE;
/// In a window's minutes.
const DAY_MINUTES: u16 = 24 * 60;
/// The farthest that any zone is from UTC, rounded up to whole hours.
const OFFSET_MINUTES: i16 = 15 * 60;

/// A moment, as a decision looks at it: what the wall clock shows, and where the monotonic clock stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Seconds since 1970; `None` where nobody looked.
    wall: Option<i64>,
    /// The latest second that was ever seen: a clock that is set back brings no expired grant back.
    latest: i64,
    monotonic_ns: u64,
}

impl Moment {
    /// No moment at all: what is permitted only at times is not permitted, what is forbidden at times is forbidden.
    pub const UNKNOWN: Self = Self { wall: None, latest: i64::MAX, monotonic_ns: 0 };

    /// A moment by both clocks. `monotonic` is what rates are counted by.
    pub fn new(wall: Timestamp, monotonic: Duration) -> Self {
        let monotonic_ns = u64::try_from(monotonic.as_nanos()).unwrap_or(u64::MAX - 1);
        Self::seen(wall.seconds, wall.seconds, monotonic_ns)
    }

    /// The same moment, of a wall clock that was set back: before, it showed `later`. By that, what was granted for a
    /// time ends.
    #[must_use]
    pub fn set_back_from(self, later: Timestamp) -> Self {
        Self { latest: self.latest.max(later.seconds), ..self }
    }

    pub(crate) fn seen(wall: i64, latest: i64, monotonic_ns: u64) -> Self {
        Self { wall: Some(wall), latest: latest.max(wall), monotonic_ns }
    }

    /// The same moment, for what is open already: its opening was counted, its use is not.
    pub(crate) fn without_rates(self) -> Self {
        Self { monotonic_ns: u64::MAX, ..self }
    }

    /// Where the monotonic clock stands.
    pub(crate) fn monotonic_ns(self) -> u64 {
        self.monotonic_ns
    }

    fn counts(self) -> bool {
        self.monotonic_ns != u64::MAX
    }
}

bitflags::bitflags! {
    /// Days of the week.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Days: u8 {
        /// Monday.
        const MONDAY = 1;
        /// Tuesday.
        const TUESDAY = 1 << 1;
        /// Wednesday.
        const WEDNESDAY = 1 << 2;
        /// Thursday.
        const THURSDAY = 1 << 3;
        /// Friday.
        const FRIDAY = 1 << 4;
        /// Saturday.
        const SATURDAY = 1 << 5;
        /// Sunday.
        const SUNDAY = 1 << 6;
        /// From Monday to Friday.
        const WEEKDAYS = 0b1_1111;
    }
}

const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Hours of certain days of the week, at a fixed offset from UTC: `mon-fri 09:00-17:30 +01:00`.
///
/// It reads from text and writes itself as text: days (a day, `mon-fri`, or several with commas; all where none is
/// named), from when, until when (that minute is not in it any more), and the offset (UTC where there is none). A
/// window that ends before it begins, or when it begins, ends on the day after: `fri 22:00-06:00` is the night to
/// Saturday. There is no daylight saving time: an offset is what it is all year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    pub(super) days: Days,
    /// Minutes of the day.
    pub(super) from: u16,
    pub(super) to: u16,
    pub(super) offset: i16,
}

impl Window {
    fn contains(&self, wall: i64) -> bool {
        let local = wall.saturating_add(i64::from(self.offset) * MINUTE);
        let minute = local.rem_euclid(DAY) / MINUTE;
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        // 1970 began on a Thursday.
        let today = (local.div_euclid(DAY) + 3).rem_euclid(7);
        let begins_on = |day: i64| self.days.bits() & (1 << day) != 0;
        if from < to {
            begins_on(today) && (from..to).contains(&minute)
        } else {
            (minute >= from && begins_on(today)) || (minute < to && begins_on((today + 6) % 7))
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut word = words.next()?;
        let mut days = Days::all();
        if !word.contains(':') {
            days = parse_days(word)?;
            word = words.next()?;
        }
        let (from, to) = word.split_once('-')?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        let offset = words.next().map_or(Some(0), parse_offset)?;
        let whole = from < DAY_MINUTES && to <= DAY_MINUTES && words.next().is_none();
        whole.then_some(Self { days, from, to, offset })
    }
}

impl FromStr for Window {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text).ok_or_else(|| {
            let what = format!("take {text:?} as hours of the week, such as `mon-fri 09:00-17:30 +01:00`");
            Error::new(ErrorKind::Invalid, what)
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != Days::all() {
            let names = DAY_NAMES.iter().enumerate().filter(|(day, _)| self.days.bits() & (1 << day) != 0);
            let names: Vec<_> = names.map(|(_, name)| *name).collect();
            write!(f, "{} ", names.join(","))?;
        }
        let Self { from, to, offset, .. } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)?;
        if *offset != 0 {
            let (sign, minutes) = (if *offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
            write!(f, " {sign}{:02}:{:02}", minutes / 60, minutes % 60)?;
        }
        Ok(())
    }
}

fn parse_days(text: &str) -> Option<Days> {
    let day = |name: &str| DAY_NAMES.iter().position(|known| *known == name);
    let mut days = Days::empty();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        let mut next = first;
        loop {
            days |= Days::from_bits_truncate(1 << next);
            if next == last {
                break;
            }
            next = (next + 1) % 7;
        }
    }
    Some(days)
}

/// Reads `09:30`: two digits, a colon, two digits.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours <= 24).then_some(hours * 60 + minutes)
}

fn parse_offset(text: &str) -> Option<i16> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ if text == "UTC" => return Some(0),
        _ => return None,
    };
    let offset = i16::try_from(minutes(rest)?).ok().filter(|offset| *offset <= OFFSET_MINUTES)?;
    Some(sign * offset)
}

/// The conditions of a grant, as they were asked for. All must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    pub(super) until: Option<Timestamp>,
    /// Any of them; at all times where there is none.
    pub(super) during: Vec<Window>,
    pub(super) at_most: Option<(u64, Duration)>,
}

impl Conditions {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn compile(&self) -> Result<When, &'static str> {
        let rate = self.at_most.map(|(count, period)| Rate::new(count, period)).transpose()?;
        // A part of a second is a second: nothing ends before its time.
        let until = self.until.map(|end| end.seconds.saturating_add(i64::from(end.nanoseconds > 0)));
        Ok(When { until, during: self.during.clone().into(), rate })
    }
}

/// Conditions, ready to be looked at.
#[derive(Debug)]
pub(crate) struct When {
    until: Option<i64>,
    during: Box<[Window]>,
    pub(super) rate: Option<Rate>,
}

/// Why a rule does not hold now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unmet {
    Expired,
    Outside,
    Spent,
}

impl When {
    /// Goes on counting where `earlier` stands.
    pub(super) fn continue_from(&self, earlier: &Self) {
        if let (Some(rate), Some(earlier)) = (&self.rate, &earlier.rate) {
            rate.continue_from(earlier);
        }
    }

    /// What is in the way of a permission.
    pub(super) fn unmet(&self, now: Moment) -> Option<Unmet> {
        if self.until.is_some_and(|until| now.latest >= until) {
            return Some(Unmet::Expired);
        }
        let inside = |wall| self.during.iter().any(|window| window.contains(wall));
        if !self.during.is_empty() && !now.wall.is_some_and(inside) {
            return Some(Unmet::Outside);
        }
        self.is_spent(now).then_some(Unmet::Spent)
    }

    /// Whether it has a rate, and nothing left of it.
    pub(super) fn is_spent(&self, now: Moment) -> bool {
        self.rate.as_ref().is_some_and(|rate| now.counts() && !rate.has(now.monotonic_ns))
    }

    /// Whether a prohibition holds. It looks at the clock as it stands: one that was set forward ends none for good.
    pub(super) fn forbids(&self, now: Moment) -> bool {
        let Some(wall) = now.wall else { return true };
        self.until.is_none_or(|until| wall < until)
            && (self.during.is_empty() || self.during.iter().any(|window| window.contains(wall)))
    }
}

/// A bucket of tokens that fills within its period: after the generic cell rate algorithm, one number.
#[derive(Debug)]
pub(super) struct Rate {
    interval_ns: u64,
    burst_ns: u64,
    /// When the bucket will be full again.
    full_at: AtomicU64,
}

impl Rate {
    fn new(count: u64, period: Duration) -> Result<Self, &'static str> {
        let period_ns = u64::try_from(period.as_nanos()).unwrap_or(u64::MAX);
        if count == 0 || period_ns < count || period > RATE_PERIOD {
            return Err(
                "its rate is nothing, more than one in a nanosecond, or over a longer period than a year",
            );
        }
        let interval_ns = period_ns.div_ceil(count);
        Ok(Self { interval_ns, burst_ns: interval_ns * (count - 1), full_at: AtomicU64::new(0) })
    }

    fn has(&self, now_ns: u64) -> bool {
        self.full_at.load(Ordering::Relaxed) <= now_ns.saturating_add(self.burst_ns)
    }

    fn take(&self, now_ns: u64) -> bool {
        let next = |full_at: u64| {
            let full = full_at <= now_ns.saturating_add(self.burst_ns);
            full.then(|| full_at.max(now_ns).saturating_add(self.interval_ns))
        };
        self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    fn give_back(&self) {
        let back = |full_at: u64| Some(full_at.saturating_sub(self.interval_ns));
        let _ = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
    }

    /// Goes on where `other`, which is the same rate of an earlier policy, stands.
    fn continue_from(&self, other: &Self) {
        if (self.interval_ns, self.burst_ns) == (other.interval_ns, other.burst_ns) {
            self.full_at.store(other.full_at.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

/// Takes one from each rate among `whens`; nothing where one of them has none left.
pub(super) fn take_all(whens: &[Arc<When>], now_ns: u64) -> bool {
    for (taken, when) in whens.iter().enumerate() {
        if when.rate.as_ref().is_some_and(|rate| !rate.take(now_ns)) {
            give_back(whens.get(..taken).unwrap_or_default());
            return false;
        }
    }
    true
}

pub(super) fn give_back(whens: &[Arc<When>]) {
    whens.iter().filter_map(|when| when.rate.as_ref()).for_each(Rate::give_back);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Monday, 2026-11-23 00:00 UTC.
    const MONDAY: i64 = 1_795_392_000;

    #[track_caller]
    fn check(window: &str, days: i64, clock: &str, expected: bool) {
        let at = MONDAY + days * DAY + i64::from(minutes(clock).unwrap()) * MINUTE;
        assert_eq!(
            window.parse::<Window>().unwrap().contains(at),
            expected,
            "{window} on day {days}, {clock}"
        );
    }

    #[test]
    fn windows() {
        check("mon-fri 09:00-17:30", 0, "09:00", true);
        check("mon-fri 09:00-17:30", 0, "08:59", false);
        check("mon-fri 09:00-17:30", 4, "17:29", true);
        check("mon-fri 09:00-17:30", 4, "17:30", false);
        check("mon-fri 09:00-17:30", 5, "12:00", false);
        check("fri 22:00-06:00", 4, "22:00", true);
        check("fri 22:00-06:00", 5, "05:59", true);
        check("fri 22:00-06:00", 5, "22:00", false);
        check("fri 22:00-06:00", 4, "05:00", false);
        check("sun 00:00-00:00", 6, "23:59", true);
        check("sun 00:00-00:00", 7, "00:00", false);
        check("sun 00:00-24:00", 6, "23:59", true);
        check("00:00-24:00", 3, "00:00", true);
        check("mon 00:00-01:00 +01:00", -1, "23:30", true);
        check("mon 23:00-24:00 -01:00", 1, "00:30", true);
        check("sat-mon 00:00-24:00", 6, "12:00", true);
        check("sat-mon 00:00-24:00", 1, "12:00", false);
    }

    #[test]
    fn what_is_no_window() {
        for text in [
            "",
            "mon",
            "09:00",
            "9:00-17:00",
            "09:00-25:00",
            "24:00-01:00",
            "09:60-10:00",
            "mo 09:00-10:00",
            "09:00-10:00 01:00",
            "09:00-10:00 +16:00",
            "09:00-10:00 +01:00 x",
            "09:00-10:00  +01:00",
            "+9:00-10:00",
            "mon, 09:00-10:00",
        ] {
            assert!(text.parse::<Window>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_window_reads_as_it_writes(days in 1..128_u8, from in 0..1440_u16, to in 0..=1440_u16, offset in -900..=900_i16) {
            let window = Window { days: Days::from_bits_truncate(days), from, to, offset };
            prop_assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
        }

        #[test]
        fn any_text_is_a_window_or_an_error(text in "[a-z0-9:,+ -]{0,30}") {
            if let Ok(window) = text.parse::<Window>() {
                prop_assert_eq!(window.to_string().parse::<Window>().unwrap(), window);
            }
        }

        /// Within any span that begins with a full bucket there are no more than the bucket and what came in.
        #[test]
        fn a_rate_gives_its_count_and_what_comes_in(
            count in 1..20_u64, period in 20..1_000_u64, steps in prop::collection::vec(0..200_u64, 1..100),
        ) {
            let rate = Rate::new(count, Duration::from_nanos(period)).unwrap();
            let (mut now, mut taken) = (1_000, 0);
            for step in steps {
                now += step;
                prop_assert_eq!(rate.has(now), { let has = rate.take(now); taken += u64::from(has); has });
                let most = count + (now - 1_000) * count / period;
                prop_assert!(taken <= most + 1, "{} of {}", taken, most);
            }
            prop_assert!((0..count).all(|_| rate.take(now + 2 * period)), "it is full after its period");
            prop_assert!(!rate.take(now + 2 * period));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_brings_nothing_back() {
        let until = Timestamp { seconds: 100, nanoseconds: 0 };
        let when = Conditions { until: Some(until), ..Conditions::default() }.compile().unwrap();
        assert_eq!(when.unmet(Moment::seen(99, 99, 0)), None);
        assert_eq!(when.unmet(Moment::seen(100, 100, 0)), Some(Unmet::Expired));
        assert_eq!(when.unmet(Moment::seen(50, 100, 0)), Some(Unmet::Expired));
        assert!(when.forbids(Moment::seen(50, 100, 0)), "and ends no prohibition early");
        assert_eq!(when.unmet(Moment::UNKNOWN), Some(Unmet::Expired));
        assert!(when.forbids(Moment::UNKNOWN));
    }
}
