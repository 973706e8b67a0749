//! Writes what was counted as JSON and as a page.
//!
//! The part `report` of the logwatch example.

use std::{collections::BTreeMap, time::Duration};

use airssys_guest::{Actor, Config, Error, Message, Reason, call, fs, log, timers};
use logwatch::{Snapshot, subject};

mod chart;
mod page;
mod text;

/// The folder that the manifest grants.
const FOLDER: &str = "/out";

const DEFAULT_EVERY_MS: u64 = 1_000;

const WRITE: &str = "write";

/// How long the statistics may take. They have a queue of lines before them.
const STATS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long it may take to locate one address.
const GEO_TIMEOUT: Duration = Duration::from_millis(500);

/// Where an address is from if nobody knows.
const UNKNOWN: &str = "unknown";

/// How many addresses are remembered; the talkers at the top change rarely.
const LOCATED_LIMIT: usize = 1_000;

/// The longest answer of the component that locates, which is not trusted.
const COUNTRY_LIMIT_CHARS: usize = 64;

/// Writes `report.json` and `report.html`.
struct Report {
    every: Duration,
    stats: String,
    geo: String,
    out: fs::Dir,
    located: BTreeMap<String, String>,
    /// The snapshot that was written last.
    written: Vec<u8>,
}

airssys_guest::export!(Report);

impl Actor for Report {
    fn init(config: &Config) -> Result<Self, Error> {
        config.allow(&["every-ms", "stats", "geo"])?;
        let report = Self {
            every: Duration::from_millis(config.parse("every-ms", DEFAULT_EVERY_MS)?),
            stats: config.text("stats").unwrap_or("stats").to_owned(),
            geo: config.text("geo").unwrap_or("geo").to_owned(),
            out: fs::dir(FOLDER)?,
            located: BTreeMap::new(),
            written: Vec::new(),
        };
        timers::set(WRITE, report.every);
        Ok(report)
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        log::warn!("{} sent `{}`, which means nothing here", message.sender, message.subject);
        Ok(None)
    }

    fn timer(&mut self, _: &str) -> Result<(), Error> {
        self.write();
        timers::set(WRITE, self.every);
        Ok(())
    }

    fn terminate(&mut self, _: Reason) {
        self.write();
    }
}

impl Report {
    /// Writes both files where something has changed. A failure is logged; the next time may be better.
    fn write(&mut self) {
        if let Err(error) = self.try_write() {
            log::error!("no report: {}", error.chain());
        }
    }

    fn try_write(&mut self) -> Result<(), Error> {
        let answer = call(&self.stats, subject::SNAPSHOT, &[], STATS_TIMEOUT)?;
        if answer == self.written {
            return Ok(());
        }
        let unreadable = |cause| Error::new("the snapshot cannot be read").caused_by(cause);
        let mut snapshot: Snapshot = serde_json::from_slice(&answer).map_err(unreadable)?;
        self.locate(&mut snapshot);
        let json = serde_json::to_vec_pretty(&snapshot).map_err(unreadable)?;
        self.out.write_atomic("report.json", &json)?;
        self.out.write_atomic("report.html", page::render(&snapshot).as_bytes())?;
        self.written = answer;
        Ok(())
    }

    /// Asks where the top talkers are from. Once it has failed it is not asked again for this report: a plug-in that
    /// hangs must not hold up the page by more than one timeout.
    fn locate(&mut self, snapshot: &mut Snapshot) {
        let mut is_reachable = true;
        for talker in &mut snapshot.clients.top {
            let mut country = self.located.get(&talker.name).cloned();
            if country.is_none() && is_reachable {
                match call(&self.geo, subject::LOCATE, talker.name.as_bytes(), GEO_TIMEOUT) {
                    Ok(answer) => country = Some(self.remember(&talker.name, &answer)),
                    Err(error) => {
                        is_reachable = false;
                        log::warn!("addresses cannot be located: {}", error.chain());
                    }
                }
            }
            talker.country = Some(country.unwrap_or_else(|| UNKNOWN.to_owned()));
        }
    }

    fn remember(&mut self, client: &str, answer: &[u8]) -> String {
        let country: String = String::from_utf8_lossy(answer).chars().take(COUNTRY_LIMIT_CHARS).collect();
        if self.located.len() >= LOCATED_LIMIT {
            self.located.clear();
        }
        self.located.insert(client.to_owned(), country.clone());
        country
    }
}

#[cfg(test)]
mod tests;
