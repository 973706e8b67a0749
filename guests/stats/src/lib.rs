//! Counts the records of an access log.
//!
//! The part `stats` of the logwatch example. Whatever the log holds, its memory has a bound: paths and clients are
//! counted by [`tally`], sizes by [`histogram`], hours and methods up to a number of each.

use airssys_guest::{Actor, Config, Error, Message, log};
use logwatch::{Record, subject};

mod counts;
mod histogram;
mod tally;

/// Counts `record` and `malformed` messages, and answers `snapshot` calls.
struct Stats {
    counts: counts::Counts,
}

airssys_guest::export!(Stats);

impl Actor for Stats {
    fn init(config: &Config) -> Result<Self, Error> {
        config.allow(&[])?;
        Ok(Self { counts: counts::Counts::default() })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        match message.subject.as_str() {
            subject::RECORD => match Record::decode(&message.payload) {
                Some(record) => self.counts.add(&record),
                // Dying would lose what was counted; that a sender speaks another version should be seen, though.
                None => log::error!("{} sent a record that is none", message.sender),
            },
            subject::MALFORMED => self.counts.add_malformed(),
            subject::SNAPSHOT => {
                let snapshot = serde_json::to_vec(&self.counts.snapshot());
                return snapshot.map(Some).map_err(|cause| Error::new("no snapshot").caused_by(cause));
            }
            other => log::error!("{} sent `{other}`, which means nothing here", message.sender),
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_guest::testing::Host;
    use logwatch::Snapshot;

    const RECORD: Record<'_> = Record {
        time: 1_795_341_600,
        bytes: 512,
        status: 404,
        suspicious: false,
        method: b"GET",
        path: b"/a",
        client: b"::1",
    };

    #[test]
    fn what_was_sent_is_in_the_snapshot() {
        let mut stats = Stats::init(&Config::default()).unwrap();
        let mut payload = Vec::new();
        RECORD.encode(&mut payload);
        stats.handle(Host::message("parser", "record", &payload)).unwrap();
        stats.handle(Host::message("parser", "malformed", b"")).unwrap();
        let answer = stats.handle(Host::message("report", "snapshot", b"")).unwrap().unwrap();
        let snapshot: Snapshot = serde_json::from_slice(&answer).unwrap();
        assert_eq!((snapshot.lines, snapshot.malformed, snapshot.errors), (2, 1, 1));
        assert_eq!(snapshot.hours.get("2026-11-22T10"), Some(&1));
    }

    #[test]
    fn nonsense_is_logged_and_costs_nothing_that_was_counted() {
        let host = Host::new();
        let mut stats = Stats::init(&Config::default()).unwrap();
        stats.handle(Host::message("parser", "malformed", b"")).unwrap();
        stats.handle(Host::message("parser", "record", b"x")).unwrap();
        stats.handle(Host::message("parser", "hello", b"")).unwrap();
        assert_eq!(host.take_logged().len(), 2);
        assert_eq!(stats.counts.snapshot().lines, 1);
    }
}
