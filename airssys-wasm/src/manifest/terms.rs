//! What a grant depends on, and how much it permits: conditions, quotas of directories, limits of the network.

use std::{num::NonZeroU64, time::Duration};

use airssys_osl::{
    clock::Timestamp,
    net::Limits,
    policy::{FsTerms, Grant, HardLinks, Window},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use toml::de::DeValue;

use super::{
    section::{Notes, Section, kind},
    units,
};

const HARD_LINKS: &[(&str, HardLinks)] =
    &[("read_only", HardLinks::ReadOnly), ("refused", HardLinks::Refused), ("shared", HardLinks::Shared)];

/// The most sockets that a component may have open.
const CONNECTIONS: u32 = 65_536;

/// `conditions = { … }`: when a grant holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Conditions {
    until: Option<Timestamp>,
    during: Vec<Window>,
    at_most: Option<(u64, Duration)>,
}

impl Conditions {
    pub(super) fn read(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Self {
        let Some(mut section) = section.table("conditions", notes) else { return Self::default() };
        let until = read_until(&mut section, notes);
        let mut during = Vec::new();
        for text in section.texts("during", notes) {
            match text.value.parse() {
                Ok(window) => during.push(window),
                Err(_) => {
                    let place = section.place("during");
                    let message = format!("`{place}` must be hours of the week; this is \"{}\"", text.value);
                    let help = "such as \"mon-fri 09:00-17:30 +01:00\"; a window that ends before it begins ends \
                                on the day after";
                    notes.problem(&text.span, message, Some(help.to_owned()));
                }
            }
        }
        let rate = "a count and a time, such as \"10/1m\"";
        let at_most = section.parsed("at_most", rate, notes, parse_rate).map(|rate| rate.value);
        section.finish(notes);
        Self { until, during, at_most }
    }

    pub(super) fn apply(&self, grant: Grant) -> Grant {
        let grant = match self.until {
            Some(end) => grant.until(end),
            None => grant,
        };
        let grant = self.during.iter().fold(grant, |grant, window| grant.during(*window));
        match self.at_most {
            Some((count, period)) => grant.at_most(count, period),
            None => grant,
        }
    }
}

fn parse_rate(text: &str) -> Option<(u64, Duration)> {
    let (count, period) = text.split_once('/')?;
    let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    let period = units::duration(period).filter(|period| !period.is_zero())?;
    Some((count.parse().ok().filter(|_| is_number)?, period))
}

fn read_until(section: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<Timestamp> {
    let value = section.take("until")?;
    let moment = match value.get_ref() {
        DeValue::Datetime(moment) => timestamp(&moment.to_string()),
        _ => None,
    };
    if moment.is_none() {
        let what = kind(value.get_ref());
        let message =
            format!("`{}` must be a date, a time and an offset, not {what}", section.place("until"));
        notes.problem(
            &value.span(),
            message,
            Some("such as 2027-01-31T18:00:00Z, without quotes".to_owned()),
        );
    }
    moment
}

/// The moment of a date, a time and an offset; none where one of them is missing.
fn timestamp(text: &str) -> Option<Timestamp> {
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    Some(Timestamp { seconds: moment.unix_timestamp(), nanoseconds: moment.nanosecond() })
}

/// What holds beneath a granted directory besides its rights.
pub(super) fn read_fs(section: &mut Section<'_>, notes: &mut Notes<'_>) -> FsTerms {
    let mut terms = FsTerms::new();
    for denied in section.texts("deny", notes) {
        terms = terms.deny(denied.value);
    }
    if let Some(hard_links) = section.word("hard_links", HARD_LINKS, notes) {
        terms = terms.hard_links(hard_links);
    }
    if let Some(bytes) = section.parsed("quota", units::SIZE, notes, units::size) {
        terms = terms.quota_bytes(bytes.value as u64);
    }
    if let Some(files) = section.integer("quota_files", 0..u32::MAX, notes) {
        terms = terms.quota_files(files.into());
    }
    if let Some(bytes) = section.parsed("max_file", units::SIZE, notes, units::size) {
        terms = terms.max_file_bytes(bytes.value as u64);
    }
    terms
}

/// `limits.net`: how much of the network a component uses at a time.
pub(super) fn read_net(limits: &mut Section<'_>, notes: &mut Notes<'_>) -> Option<Grant> {
    let mut section = limits.table("net", notes)?;
    let mut net = Limits::new();
    if let Some(open) = section.integer("connections", 1..CONNECTIONS + 1, notes) {
        net = net.open(open as usize);
    }
    let rate = |section: &mut Section<'_>, key, notes: &mut Notes<'_>| {
        let parse = |text: &str| NonZeroU64::new(units::size(text)? as u64);
        section.parsed(key, units::SIZE, notes, parse).map(|rate| rate.value)
    };
    net = net.received_per_second(rate(&mut section, "receive", notes));
    net = net.sent_per_second(rate(&mut section, "send", notes));
    if let Some(timeout) = section.time("resolve_timeout", notes) {
        net = net.resolve_timeout(timeout);
    }
    if let Some(timeout) = section.time("connect_timeout", notes) {
        net = net.connect_timeout(timeout);
    }
    if let Some(timeout) = section.time("idle_timeout", notes) {
        net = net.idle_timeout(timeout);
    }
    if let Some(timeout) = section.time("total_timeout", notes) {
        net = net.total_timeout(timeout);
    }
    let rule = section.path.clone();
    section.finish(notes);
    Some(Grant::net_limits(net).rule(rule))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, seconds: Option<i64>) {
        assert_eq!(timestamp(text).map(|moment| moment.seconds), seconds, "{text}");
    }

    #[test]
    fn moments() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("1970-01-01T01:00:00+01:00", Some(0));
        check("1969-12-31T23:59:59Z", Some(-1));
        check("2026-11-22T20:30:00", None);
        check("2026-11-22", None);
    }

    #[test]
    fn rates() {
        assert_eq!(parse_rate("10/1m"), Some((10, Duration::from_secs(60))));
        for text in ["", "10", "/1m", "10/", "10/0s", "-1/1m", "+1/1m", "1.5/1m", "10/m"] {
            assert_eq!(parse_rate(text), None, "{text:?}");
        }
    }
}
