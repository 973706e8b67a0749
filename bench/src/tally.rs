//! The counts of a log, and the report of them.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use crate::{access_log::Record, stamp::Stamp};

/// So many clients and paths are listed.
const TOP: usize = 20;

/// What was counted so far.
///
/// Every key is counted exactly, so memory grows with the number of different clients, paths and sizes, not with
/// the number of lines.
#[derive(Debug, Default)]
pub struct Tally {
    lines: u64,
    malformed: u64,
    suspicious: u64,
    statuses: BTreeMap<u16, u64>,
    methods: HashMap<Box<[u8]>, u64>,
    unix_hours: BTreeMap<i64, u64>,
    clients: HashMap<Box<[u8]>, u64>,
    paths: HashMap<Box<[u8]>, u64>,
    sizes: HashMap<u64, u64>,
}

impl Tally {
    /// Counts one line. A malformed one counts as a line and as malformed, and as nothing else.
    pub fn add(&mut self, line: &[u8]) {
        self.lines += 1;
        let Some(record) = Record::parse(line) else {
            self.malformed += 1;
            return;
        };
        self.suspicious += u64::from(record.suspicious);
        *self.statuses.entry(record.status).or_default() += 1;
        *self.unix_hours.entry(record.time.unix_seconds.div_euclid(3_600)).or_default() += 1;
        *self.sizes.entry(record.bytes).or_default() += 1;
        count(&mut self.methods, record.method);
        count(&mut self.clients, record.client);
        count(&mut self.paths, &record.path);
    }

    /// The report, as JSON: the members that the example's own report has, and means the same by.
    pub fn report(&self) -> String {
        let well_formed = self.lines - self.malformed;
        let errors: u64 = self.statuses.range(400..).map(|(_, count)| count).sum();
        let error_rate = errors as f64 / well_formed.max(1) as f64;
        let mut sizes: Vec<_> = self.sizes.iter().map(|(size, count)| (*size, *count)).collect();
        sizes.sort_unstable();
        let total: u64 = sizes.iter().map(|(size, count)| size * count).sum();
        let largest = sizes.last().map_or(0, |(size, _)| *size);
        let [p50, p95] = [50, 95].map(|percent| percentile(&sizes, well_formed, percent));

        let members = [
            ("lines", self.lines.to_string()),
            ("malformed", self.malformed.to_string()),
            ("suspicious", self.suspicious.to_string()),
            ("errors", errors.to_string()),
            ("error_rate", error_rate.to_string()),
            ("statuses", object(self.statuses.iter().map(|(status, count)| (status.to_string(), *count)))),
            ("methods", object(ranked(&self.methods))),
            ("hours", object(self.unix_hours.iter().map(|(hour, count)| (Stamp::utc_hour(*hour), *count)))),
            ("bytes", format!("{{\"total\": {total}, \"max\": {largest}, \"p50\": {p50}, \"p95\": {p95}}}")),
            ("clients", ranking(&self.clients)),
            ("paths", ranking(&self.paths)),
        ];
        let members: Vec<_> = members.iter().map(|(name, value)| format!("  \"{name}\": {value}")).collect();
        format!("{{\n{}\n}}\n", members.join(",\n"))
    }
}

fn count(counts: &mut HashMap<Box<[u8]>, u64>, key: &[u8]) {
    match counts.get_mut(key) {
        Some(count) => *count += 1,
        None => {
            counts.insert(key.into(), 1);
        }
    }
}

/// All keys, the most frequent first; of equally frequent ones, the first by name.
fn ranked(counts: &HashMap<Box<[u8]>, u64>) -> impl Iterator<Item = (String, u64)> {
    let mut entries: Vec<_> = counts.iter().collect();
    entries.sort_unstable_by(|(a_key, a), (b_key, b)| b.cmp(a).then_with(|| a_key.cmp(b_key)));
    entries.into_iter().map(|(key, count)| (String::from_utf8_lossy(key).into_owned(), *count))
}

fn ranking(counts: &HashMap<Box<[u8]>, u64>) -> String {
    let top: Vec<_> = ranked(counts)
        .take(TOP)
        .map(|(name, count)| format!("{{\"name\": \"{}\", \"count\": {count}}}", escaped(&name)))
        .collect();
    format!("{{\"distinct\": {}, \"top\": [{}]}}", counts.len(), top.join(", "))
}

/// The nearest-rank percentile of `total` sizes that are given in order, with their counts.
fn percentile(sizes: &[(u64, u64)], total: u64, percent: u64) -> u64 {
    let rank = (total * percent).div_ceil(100);
    let mut seen = 0;
    let at_rank = sizes.iter().find(|(_, count)| {
        seen += count;
        seen >= rank
    });
    at_rank.map_or(0, |(size, _)| *size)
}

fn object(entries: impl Iterator<Item = (String, u64)>) -> String {
    let entries: Vec<_> = entries.map(|(key, count)| format!("\"{}\": {count}", escaped(&key))).collect();
    format!("{{{}}}", entries.join(", "))
}

fn escaped(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            control if u32::from(control) < 0x20 => {
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            other => json.push(other),
        }
    }
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> String {
        let mut tally = Tally::default();
        for line in lines {
            tally.add(line.as_bytes());
        }
        tally.report()
    }

    #[test]
    fn lines_are_counted_by_every_key() {
        let report = report(&[
            r#"192.0.2.1 - - [25/Oct/2026:02:30:00 +0200] "GET /a HTTP/1.1" 200 10 "-" "-""#,
            r#"192.0.2.1 - - [25/Oct/2026:02:30:00 +0100] "GET /%22 HTTP/1.1" 404 30 "-" "-""#,
            r#"192.0.2.2 - - [25/Oct/2026:02:30:01 +0100] "HEAD /a?../ HTTP/1.1" 200 0 "-" "-""#,
            "garbage",
        ]);
        for part in [
            r#""lines": 4"#,
            r#""malformed": 1"#,
            r#""suspicious": 1"#,
            r#""errors": 1"#,
            r#""error_rate": 0.3333333333333333"#,
            r#""statuses": {"200": 2, "404": 1}"#,
            r#""methods": {"GET": 2, "HEAD": 1}"#,
            r#""hours": {"2026-10-25T00": 1, "2026-10-25T01": 2}"#,
            r#""bytes": {"total": 40, "max": 30, "p50": 10, "p95": 30}"#,
            r#""clients": {"distinct": 2, "top": [{"name": "192.0.2.1", "count": 2}, {"name": "192.0.2.2", "count": 1}]}"#,
            r#""paths": {"distinct": 2, "top": [{"name": "/a", "count": 2}, {"name": "/\"", "count": 1}]}"#,
        ] {
            assert!(report.contains(part), "no {part} in {report}");
        }
    }

    #[test]
    fn an_empty_log_has_a_report() {
        assert!(report(&[]).contains(r#""bytes": {"total": 0, "max": 0, "p50": 0, "p95": 0}"#));
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let one_to_twenty: Vec<_> = (1..=20).map(|size| (size, 1)).collect();
        assert_eq!(percentile(&one_to_twenty, 20, 50), 10);
        assert_eq!(percentile(&one_to_twenty, 20, 95), 19);
        assert_eq!(percentile(&[(5, 99), (9, 1)], 100, 95), 5);
    }
}
