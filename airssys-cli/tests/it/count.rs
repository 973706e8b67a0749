//! An independent count of the sample's logs, to hold the report against: it shares no code with the components.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader},
    path::Path,
};

use flate2::read::MultiGzDecoder;

/// What the logs of a folder hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) lines: u64,
    pub(crate) malformed: u64,
    /// Lines whose query ends in a cut-off percent escape: they crash the example's parser and are counted nowhere.
    pub(crate) poison: Vec<String>,
    pub(crate) statuses: BTreeMap<String, u64>,
    /// Well-formed lines with a status of 400 or more.
    pub(crate) errors: u64,
    /// By UTC hour, such as `2026-10-24T04`.
    pub(crate) hours: BTreeMap<String, u64>,
    /// By path: the target without its query, decoded, cut to 200 bytes.
    pub(crate) paths: BTreeMap<String, u64>,
    pub(crate) clients: BTreeMap<String, u64>,
    pub(crate) bytes: u64,
    sizes: Vec<u64>,
}

impl Count {
    pub(crate) fn of(folder: &Path) -> Self {
        let mut count = Self::default();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = File::open(&path).unwrap();
            if path.extension().is_some_and(|extension| extension == "gz") {
                count.add_all(BufReader::new(MultiGzDecoder::new(file)));
            } else {
                count.add_all(BufReader::new(file));
            }
        }
        count.sizes.sort_unstable();
        count
    }

    /// The most frequent of these names; of equally frequent ones, the first by name.
    pub(crate) fn top(names: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
        let mut top: Vec<_> = names.iter().map(|(name, count)| (name.as_str(), *count)).collect();
        top.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        top.truncate(20);
        top
    }

    /// The nearest-rank percentile of the sizes.
    pub(crate) fn percentile(&self, percent: usize) -> u64 {
        let rank = (percent * self.sizes.len()).div_ceil(100).max(1);
        self.sizes[rank - 1]
    }

    fn add_all(&mut self, lines: impl BufRead) {
        for line in lines.split(b'\n') {
            self.add(&String::from_utf8_lossy(&line.unwrap()));
        }
    }

    fn add(&mut self, line: &str) {
        let Some((client, target, status, bytes)) = fields(line) else {
            self.lines += 1;
            self.malformed += 1;
            return;
        };
        if is_poison(target) {
            self.poison.push(line.to_owned());
            return;
        }
        self.lines += 1;
        *self.statuses.entry(status.to_owned()).or_default() += 1;
        self.errors += u64::from(status >= "400");
        *self.hours.entry(utc_hour(line)).or_default() += 1;
        *self.paths.entry(path(target)).or_default() += 1;
        *self.clients.entry(client.to_owned()).or_default() += 1;
        let bytes = bytes.parse().unwrap_or(0);
        self.bytes += bytes;
        self.sizes.push(bytes);
    }
}

/// Client, target, status and bytes of a well-formed line.
fn fields(line: &str) -> Option<(&str, &str, &str, &str)> {
    let (client, rest) = line.split_once(' ')?;
    let (_, rest) = rest.split_once("] \"")?;
    let (request, rest) = rest.split_at(closing_quote(rest)?);
    let mut after = rest.strip_prefix("\" ")?.splitn(3, ' ');
    let (status, bytes) = (after.next()?, after.next()?);
    let mut words = request.split(' ');
    let (method, target, protocol) = (words.next()?, words.next()?, words.next()?);
    let plain = !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_uppercase());
    let http = protocol
        .strip_prefix("HTTP/")
        .is_some_and(|version| version.len() == 3 && version.as_bytes()[1] == b'.');
    (plain && http && !target.is_empty() && words.next().is_none()).then_some((client, target, status, bytes))
}

/// Where the quote is that no backslash escapes.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}

fn is_poison(target: &str) -> bool {
    let Some((_, query)) = target.split_once('?') else { return false };
    query.ends_with('%') || query.len() > 1 && query.as_bytes()[query.len() - 2] == b'%'
}

/// The hour of `[24/Oct/2026:06:25:01 +0200]`, in UTC.
fn utc_hour(line: &str) -> String {
    let (_, stamp) = line.split_once('[').unwrap();
    let number = |range: std::ops::Range<usize>| stamp[range].parse::<i64>().unwrap();
    let month = "JanFebMarAprMayJunJulAugSepOctNovDec".find(&stamp[3..6]).unwrap() / 3 + 1;
    let month = time::Month::try_from(u8::try_from(month).unwrap()).unwrap();
    let date = time::Date::from_calendar_date(number(7..11) as i32, month, number(0..2) as u8).unwrap();
    let sign = if &stamp[21..22] == "-" { -1 } else { 1 };
    let offset = time::Duration::minutes(sign * (number(22..24) * 60 + number(24..26)));
    let local = date.with_hms(number(12..14) as u8, number(15..17) as u8, 0).unwrap();
    let utc = local - offset;
    format!("{}T{:02}", utc.date(), utc.hour())
}

fn path(target: &str) -> String {
    let target = target.split('?').next().unwrap().as_bytes();
    let mut path = Vec::new();
    let mut at = 0;
    while at < target.len() {
        let digits = target.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let escape =
            digits.filter(|_| target[at] == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        path.push(escape.unwrap_or(target[at]));
        at += if escape.is_some() { 3 } else { 1 };
    }
    path.truncate(200);
    String::from_utf8_lossy(&path).into_owned()
}
