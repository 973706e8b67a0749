//! The folder of a log: which files it has, and what is said when they are not as they were left.
//!
//! | file | content |
//! |---|---|
//! | `000000000000.log` … | segments: the frames of records, links and checkpoints. Named after the number of records before |
//! | `head` | the note of a recent checkpoint; where to go on after a crash, and proof that the log was as long as that |
//! | `key.pub` | the first of the log's keys |
//! | `keys` | the hand-overs from each key to the next, as frames |
//! | `key` | the secret of the key of today, and for a moment also of the next. Its first writing makes a log complete |
//! | `….cursor` | how far somebody exported the log, where that is waited for |
//! | `reserve` | zeros: space for what is written before something is removed |
//! | `lock` | held by the program that writes the log |

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    checkpoint::Checkpoint,
    export::cursor::{self, Cursor},
    frame::{self, Frame},
    keys::Keys,
    note::{self, Signer, Verifier},
    scan::Scan,
    walk::Stop,
};
use crate::{Error, ErrorKind, sys::log_file};

const SEGMENT_END: &str = ".log";
/// Digits in the name of a segment. A log of more records has names with more.
const SEGMENT_DIGITS: usize = 12;
const HEAD: &str = "head";
const KEY: &str = "key";
const PUBLIC_KEY: &str = "key.pub";
const KEYS: &str = "keys";
const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
const CURSOR_END: &str = ".cursor";

/// A folder, and what is about to be done with it.
#[derive(Clone, Debug)]
pub(super) struct Store {
    dir: PathBuf,
    /// The verb of the sentence "cannot … the audit log `…`".
    verb: &'static str,
    /// What to do when the log is not what it was.
    advice: &'static str,
}

impl Store {
    pub(super) fn to_write(dir: &Path) -> Self {
        let advice = "; to keep it as evidence and to start a new log, rename the folder";
        Self { advice, ..Self::new(dir, "open") }
    }

    pub(super) fn to_read(dir: &Path) -> Self {
        Self::new(dir, "read")
    }

    pub(super) fn to_verify(dir: &Path) -> Self {
        Self::new(dir, "verify")
    }

    fn new(dir: &Path, verb: &'static str) -> Self {
        // A program that changes its directory later still means the same folder.
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        Self { dir, verb, advice: "" }
    }

    pub(super) fn create(&self) -> Result<(), Error> {
        log_file::create_dir(&self.dir).map_err(|error| self.io(error))
    }

    pub(super) fn lock(&self) -> Result<Option<log_file::Lock>, Error> {
        log_file::lock(&self.dir.join(LOCK)).map_err(|error| self.io(error))
    }

    pub(super) fn is_locked(&self) -> Result<bool, Error> {
        log_file::is_locked(&self.dir.join(LOCK)).map_err(|error| self.io(error))
    }

    pub(super) fn read_secrets(&self) -> Result<Option<String>, Error> {
        self.read(KEY)
    }

    /// Writes secrets, one a line, durably, and overwrites those that were there.
    pub(super) fn write_secrets(&self, signers: &[&Signer]) -> io::Result<()> {
        let lines: String = signers.iter().map(|signer| format!("{}\n", signer.to_text())).collect();
        log_file::replace_secret(&self.dir, KEY, &lines)
    }

    pub(super) fn write_public_key(&self, public_key: &Verifier) -> Result<(), Error> {
        log_file::replace(&self.dir, PUBLIC_KEY, &format!("{}\n", public_key.to_text()), true)
            .map_err(|error| self.io(error))
    }

    /// Reads the first key; `None` where there is no such file.
    pub(super) fn read_public_key(&self) -> Result<Option<Verifier>, Error> {
        let Some(text) = self.read(PUBLIC_KEY)? else { return Ok(None) };
        let verifier = Verifier::from_text(text.trim_end());
        verifier.map(Some).map_err(|malformed| self.tampered(&format!("`{PUBLIC_KEY}` has {malformed}")))
    }

    /// Reads the keys that follow the first, up to where the file ends or breaks off.
    fn read_keys(&self, first: Verifier) -> Result<Keys, Error> {
        let mut keys = Keys::new(first);
        let Some(mut scan) = self.scan_file(KEYS, 0)? else { return Ok(keys) };
        while let Some(piece) = scan.next().map_err(|error| self.io(error))? {
            let pushed = match piece.frame {
                Ok(Frame::Checkpoint(note)) => keys.push(note),
                Ok(_) => Err(super::record::Malformed("something else than hand-overs")),
                Err(malformed) => Err(malformed),
            };
            pushed.map_err(|malformed| self.tampered(&format!("`{KEYS}` has {malformed}")))?;
        }
        Ok(keys)
    }

    /// Appends a hand-over behind so many, durably. What a crash left half-written there is overwritten.
    pub(super) fn append_key(&self, keys: &Keys, note: &str) -> io::Result<()> {
        let mut offset = 0;
        if let Some(file) = log_file::open(&self.dir.join(KEYS), 0)? {
            let mut scan = Scan::new(file, 0);
            for _ in 0..keys.len() {
                scan.next()?;
            }
            offset = scan.offset();
        }
        let mut bytes = Vec::new();
        frame::push_checkpoint(note, &mut bytes);
        let mut file = log_file::Segment::open(&self.dir.join(KEYS))?;
        file.truncate(offset)?;
        file.write_at(offset, &bytes)?;
        file.sync()
    }

    /// Reads the head, its text, and the keys that follow the first.
    pub(super) fn read_head(&self, first: Verifier) -> Result<(Checkpoint, String, Keys), Error> {
        // In this order: a writer adds a key to the list before the key signs a head.
        let text = self.read(HEAD)?.ok_or_else(|| self.tampered("its `head` is missing"))?;
        let keys = self.read_keys(first)?;
        match keys.open(&text) {
            Ok(head) => Ok((head, text, keys)),
            Err(malformed) => Err(self.tampered(&format!("its `head` has {malformed}"))),
        }
    }

    pub(super) fn write_head(&self, note: &str, durable: bool) -> io::Result<()> {
        log_file::replace(&self.dir, HEAD, note, durable)
    }

    /// The segments that there are, from the oldest on.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let names = log_file::names(&self.dir)?.into_iter();
        let mut segments: Vec<u64> = names.filter_map(|name| segment_of(&name)).collect();
        segments.sort_unstable();
        Ok(segments)
    }

    /// Opens a segment to read it from a byte on; `None` where it does not exist.
    pub(super) fn scan(&self, segment: u64, offset: u64) -> Result<Option<Scan>, Error> {
        self.scan_file(&segment_name(segment), offset)
    }

    /// Opens a segment to write it.
    pub(super) fn segment(&self, segment: u64) -> io::Result<log_file::Segment> {
        log_file::Segment::open(&self.dir.join(segment_name(segment)))
    }

    /// When a segment was begun, as its first checkpoint says; nanoseconds since 1970.
    pub(super) fn begin_ns(&self, segment: u64) -> io::Result<Option<u64>> {
        Ok(self.peek(segment)?.map(|checkpoint| checkpoint.terms.time_ns))
    }

    /// What the first checkpoint of a segment says, whoever signed it; `None` where there is none.
    pub(super) fn peek(&self, segment: u64) -> io::Result<Option<Checkpoint>> {
        let Some(file) = log_file::open(&self.dir.join(segment_name(segment)), 0)? else { return Ok(None) };
        let mut scan = Scan::new(file, 0);
        let Some(piece) = scan.next()? else { return Ok(None) };
        Ok(if let Ok(Frame::Checkpoint(note)) = piece.frame { Checkpoint::peek(note) } else { None })
    }

    pub(super) fn segment_bytes(&self, segment: u64) -> io::Result<u64> {
        log_file::bytes(&self.dir.join(segment_name(segment)))
    }

    pub(super) fn remove_segment(&self, segment: u64) -> io::Result<()> {
        log_file::remove(&self.dir.join(segment_name(segment)))
    }

    /// The lowest segment that a cursor in the folder stands at. One that cannot be read stands at the first.
    pub(super) fn exported(&self) -> io::Result<Option<u64>> {
        let names = log_file::names(&self.dir)?.into_iter().filter(|name| name.ends_with(CURSOR_END));
        let segments = names.map(|name| {
            let text = log_file::read_text(&self.dir.join(name), cursor::BYTES).ok().flatten();
            let cursor = text.and_then(|text| Cursor::parse(&text));
            cursor.map_or(0, |cursor| cursor.place.segment)
        });
        Ok(segments.min())
    }

    /// Fills the file that sets space aside up to so many bytes; frees it where that is none.
    pub(super) fn reserve(&self, bytes: u64) -> io::Result<()> {
        let path = self.dir.join(RESERVE);
        if bytes == 0 { log_file::remove(&path) } else { log_file::fill(&path, bytes) }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        log_file::sync_dir(&self.dir)
    }

    /// The error of a system call.
    pub(super) fn io(&self, error: io::Error) -> Error {
        Error::io(self.what(), error)
    }

    /// The error of a log that is not what it was when it was written.
    pub(super) fn tampered(&self, how: &str) -> Error {
        Error::new(ErrorKind::Tampered, format!("{}: {how}{}", self.what(), self.advice))
    }

    /// The error of a request that cannot be met with this log.
    pub(super) fn invalid(&self, why: &str) -> Error {
        Error::new(ErrorKind::Invalid, format!("{}: {why}", self.what()))
    }

    pub(super) fn stopped(&self, stop: Stop) -> Error {
        match stop {
            Stop::Io(error) => self.io(error),
            Stop::Error(error) => error,
            Stop::Tampered(how) => self.tampered(&how),
            Stop::Missing => self.tampered("its records are missing"),
        }
    }

    /// Completes "cannot …".
    pub(super) fn what(&self) -> String {
        format!("{} the audit log `{}`", self.verb, self.dir.display())
    }

    fn scan_file(&self, name: &str, offset: u64) -> Result<Option<Scan>, Error> {
        let file = log_file::open(&self.dir.join(name), offset).map_err(|error| self.io(error))?;
        Ok(file.map(|file| Scan::new(file, offset)))
    }

    fn read(&self, name: &str) -> Result<Option<String>, Error> {
        match log_file::read_text(&self.dir.join(name), note::MAX_BYTES) {
            // Not text: somebody else wrote it.
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(self.tampered(&format!("`{name}` is not text")))
            }
            read => read.map_err(|error| self.io(error)),
        }
    }
}

fn segment_name(segment: u64) -> String {
    format!("{segment:0SEGMENT_DIGITS$}{SEGMENT_END}")
}

/// The segment of a file's name, where it is one.
fn segment_of(name: &str) -> Option<u64> {
    let segment = name.strip_suffix(SEGMENT_END)?.parse().ok()?;
    (segment_name(segment) == name).then_some(segment)
}
