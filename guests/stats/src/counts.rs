//! All that is counted.

use std::collections::BTreeMap;

use logwatch::{Bytes, Ranking, Record, Snapshot, calendar};

use crate::{
    histogram::{Histogram, RELATIVE_ERROR},
    tally::Tally,
};

/// How many paths, and how many clients, are counted at least.
const NAMES: usize = 10_000;

/// How many of the most frequent ones a snapshot holds.
const TOP: usize = 20;

/// How many hours are kept: the latest year.
const HOURS: usize = 366 * 24;

/// How many methods are told apart; HTTP and its extensions have some forty.
const METHODS: usize = 64;

/// The name of all methods beyond those.
const OTHER_METHODS: &str = "other";

const SECONDS_PER_HOUR: i64 = 3_600;

/// What was counted so far.
pub(crate) struct Counts {
    lines: u64,
    malformed: u64,
    suspicious: u64,
    errors: u64,
    statuses: BTreeMap<u16, u64>,
    methods: BTreeMap<Box<[u8]>, u64>,
    /// By hours since 1970.
    hours: BTreeMap<i64, u64>,
    earlier: u64,
    sizes: Histogram,
    clients: Tally,
    paths: Tally,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            lines: 0,
            malformed: 0,
            suspicious: 0,
            errors: 0,
            statuses: BTreeMap::new(),
            methods: BTreeMap::new(),
            hours: BTreeMap::new(),
            earlier: 0,
            sizes: Histogram::default(),
            clients: Tally::new(NAMES),
            paths: Tally::new(NAMES),
        }
    }
}

impl Counts {
    /// Counts a line.
    pub(crate) fn add(&mut self, record: &Record<'_>) {
        self.lines += 1;
        self.suspicious += u64::from(record.suspicious);
        self.errors += u64::from(record.status >= 400);
        *self.statuses.entry(record.status).or_default() += 1;
        self.sizes.add(record.bytes);
        self.clients.add(record.client);
        self.paths.add(record.path);
        self.add_method(record.method);
        self.add_hour(record.time.div_euclid(SECONDS_PER_HOUR));
    }

    /// Counts a line that is no record.
    pub(crate) fn add_malformed(&mut self) {
        self.lines += 1;
        self.malformed += 1;
    }

    fn add_method(&mut self, method: &[u8]) {
        match self.methods.get_mut(method) {
            Some(count) => *count += 1,
            None => {
                let name = if self.methods.len() < METHODS { method } else { OTHER_METHODS.as_bytes() };
                *self.methods.entry(name.into()).or_default() += 1;
            }
        }
    }

    fn add_hour(&mut self, hour: i64) {
        *self.hours.entry(hour).or_default() += 1;
        if self.hours.len() > HOURS
            && let Some((_, count)) = self.hours.pop_first()
        {
            self.earlier += count;
        }
    }

    /// What was counted so far, in the words of the other components.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let records = self.lines - self.malformed;
        let error_rate = if records == 0 { 0.0 } else { self.errors as f64 / records as f64 };
        Snapshot {
            lines: self.lines,
            malformed: self.malformed,
            suspicious: self.suspicious,
            errors: self.errors,
            error_rate,
            statuses: self.statuses.clone(),
            methods: self.methods.iter().map(|(name, count)| (text(name), *count)).collect(),
            hours: self.hours.iter().map(|(hour, count)| (calendar::hour_name(*hour), *count)).collect(),
            earlier: self.earlier,
            bytes: Bytes {
                total: self.sizes.sum(),
                max: self.sizes.max(),
                p50: self.sizes.percentile(50),
                p95: self.sizes.percentile(95),
                relative_error: RELATIVE_ERROR,
            },
            clients: ranking(&self.clients),
            paths: ranking(&self.paths),
        }
    }
}

fn ranking(tally: &Tally) -> Ranking {
    let top = tally.top(TOP).into_iter();
    let top = top.map(|(name, count)| logwatch::Count { name: text(name), count, country: None }).collect();
    Ranking { distinct: tally.len(), undercount: tally.undercount(), top }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'_> = Record {
        time: 0,
        bytes: 0,
        status: 200,
        suspicious: false,
        method: b"GET",
        path: b"/",
        client: b"::1",
    };

    fn count<'a>(records: impl IntoIterator<Item = Record<'a>>) -> Snapshot {
        let mut counts = Counts::default();
        records.into_iter().for_each(|record| counts.add(&record));
        counts.snapshot()
    }

    #[test]
    fn nothing_counted_is_a_snapshot_too() {
        let snapshot = count([]);
        assert_eq!((snapshot.lines, snapshot.error_rate, snapshot.bytes.p95), (0, 0.0, 0));
    }

    #[test]
    fn errors_are_a_share_of_the_well_formed_lines() {
        let mut counts = Counts::default();
        for status in [200, 304, 399, 404, 500] {
            counts.add(&Record { status, ..RECORD });
        }
        (0..95).for_each(|_| counts.add_malformed());
        let snapshot = counts.snapshot();
        assert_eq!((snapshot.errors, snapshot.error_rate, snapshot.lines), (2, 0.4, 100));
    }

    #[test]
    fn of_too_many_hours_the_latest_are_kept() {
        let records = (0..HOURS as i64 + 3).map(|hour| Record { time: hour * SECONDS_PER_HOUR, ..RECORD });
        let snapshot = count(records);
        assert_eq!((snapshot.hours.len(), snapshot.earlier), (HOURS, 3));
        assert_eq!(snapshot.hours.first_key_value(), Some((&"1970-01-01T03".to_owned(), &1)));
    }

    #[test]
    fn of_too_many_methods_the_rest_is_other() {
        let names: Vec<String> = (0..METHODS + 5).map(|index| format!("M{index}")).collect();
        let snapshot = count(names.iter().map(|name| Record { method: name.as_bytes(), ..RECORD }));
        assert_eq!(snapshot.methods.len(), METHODS + 1);
        assert_eq!(snapshot.methods[OTHER_METHODS], 5);
    }

    #[test]
    fn equally_frequent_names_are_in_order() {
        let paths = ["/b", "/c", "/a", "/c"];
        let snapshot = count(paths.iter().map(|path| Record { path: path.as_bytes(), ..RECORD }));
        let top: Vec<_> = snapshot.paths.top.iter().map(|entry| (entry.name.as_str(), entry.count)).collect();
        assert_eq!(top, [("/c", 2), ("/a", 1), ("/b", 1)]);
        assert_eq!((snapshot.paths.distinct, snapshot.paths.undercount), (3, 0));
    }
}
