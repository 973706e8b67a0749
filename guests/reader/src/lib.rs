//! Reads a folder of access logs line by line, as they grow.
//!
//! The part `reader` of the logwatch example: every file of its folder, plain or gzip, one message for each line.

use std::time::Duration;

use airssys_guest::{Actor, Config, Error, ErrorKind, Message, Reason, fs, log, send, timers};

mod folder;
mod gunzip;
mod lines;
mod source;

/// The folder that the manifest grants.
const FOLDER: &str = "/inbox";

/// The subject of a line.
const LINE: &str = "line";

/// Who gets the lines where the manifest does not say.
const DEFAULT_RECEIVER: &str = "parser";

/// How long to wait before looking for news, where the manifest does not say.
const DEFAULT_POLL_MS: u64 = 200;

/// How much is read at once, where the manifest does not say.
const DEFAULT_CHUNK_BYTES: u64 = 64 * 1024;

/// What may be read at once: a header of a gzip file must fit, and the host has its own limit.
const CHUNK_RANGE: std::ops::RangeInclusive<u64> = gunzip::HEADER_LIMIT_BYTES as u64..=1024 * 1024;

/// What one turn of the timer may read and send, so that a stop, or another message, gets a turn too.
const TURN_LINES: u64 = 16 * 1024;
const TURN_BYTES: u64 = 1024 * 1024;

/// What a piece counts for at least: reading costs, also where nothing comes of it.
const PIECE_LEAST_BYTES: u64 = 4 * 1024;

const POLL: &str = "poll";

/// Sends the lines of a folder.
struct Reader {
    folder: folder::Folder,
    poll: Duration,
    chunk_bytes: u64,
    lines: Outgoing,
    /// What was read last, kept so that a turn costs no allocation of its own.
    piece: Vec<u8>,
}

airssys_guest::export!(Reader);

impl Actor for Reader {
    fn init(config: &Config) -> Result<Self, Error> {
        config.allow(&["to", "poll-ms", "chunk-bytes"])?;
        let chunk_bytes = config.parse("chunk-bytes", DEFAULT_CHUNK_BYTES)?;
        if !CHUNK_RANGE.contains(&chunk_bytes) {
            return Err(format!("config `chunk-bytes` must be in {CHUNK_RANGE:?}").into());
        }
        let to = config.text("to").unwrap_or(DEFAULT_RECEIVER).to_owned();
        let reader = Self {
            folder: folder::Folder::new(fs::dir(FOLDER)?),
            poll: Duration::from_millis(config.parse("poll-ms", DEFAULT_POLL_MS)?),
            chunk_bytes,
            lines: Outgoing { to, lines: 0, bytes: 0 },
            piece: Vec::new(),
        };
        timers::set(POLL, Duration::ZERO);
        Ok(reader)
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        log::warn!("{} sent `{}`, which means nothing here", message.sender, message.subject);
        Ok(None)
    }

    fn timer(&mut self, _: &str) -> Result<(), Error> {
        self.folder.refresh();
        let has_more = self.turn()?;
        timers::set(POLL, if has_more { Duration::ZERO } else { self.poll });
        Ok(())
    }

    fn terminate(&mut self, _: Reason) {
        // Where there is more to read, what was read last ends in the middle of a line.
        for source in self.folder.sources().filter(|source| !source.has_more()) {
            if let Err(error) = source.finish(|line| self.lines.send(line)) {
                log::error!("the end of {} is lost: {}", source.name(), error.chain());
            }
        }
    }
}

impl Reader {
    /// Sends what may be sent in one turn, a chunk of each file after the other. True where more is waiting.
    ///
    /// An error means that lines cannot be sent. What is wrong with a file is logged and ends that file.
    fn turn(&mut self) -> Result<bool, Error> {
        self.lines.begin_turn();
        self.folder.let_go(|line| self.lines.send(line))?;
        while let Some(source) = self.folder.read_next(self.chunk_bytes, &mut self.piece) {
            self.lines.bytes += (self.piece.len() as u64).max(PIECE_LEAST_BYTES);
            source.feed(&self.piece, |line| self.lines.send(line))?;
            if self.lines.is_turn_over() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Where the lines go, and how many of them went there in this turn.
struct Outgoing {
    to: String,
    /// Sent in this turn.
    lines: u64,
    /// Read in this turn.
    bytes: u64,
}

impl Outgoing {
    fn begin_turn(&mut self) {
        (self.lines, self.bytes) = (0, 0);
    }

    fn is_turn_over(&self) -> bool {
        self.lines >= TURN_LINES || self.bytes >= TURN_BYTES
    }

    fn send(&mut self, line: &[u8]) -> Result<(), Error> {
        self.lines += 1;
        match send(&self.to, LINE, line) {
            // This line will never fit, and the others are not to blame.
            Err(error) if error.kind() == ErrorKind::LimitExceeded => {
                log::warn!("a line of {} bytes is lost: {}", line.len(), error.chain());
                Ok(())
            }
            sent => sent,
        }
    }
}

#[cfg(test)]
mod tests;
