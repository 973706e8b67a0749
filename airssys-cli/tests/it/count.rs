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
