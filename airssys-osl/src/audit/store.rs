//! The folder of a log: which files it has, and what is said when they are not as they were left.
//!
//! | file | content |
//! |---|---|
//! | `000000000000.log` … | segments: the frames of records, links and checkpoints. Named after the number of records before |
//! | `head` | the note of a recent checkpoint; where to go on after a crash, and proof that the log was as long as that |
//! | `key.pub` | the first of the log's keys |
//! | `keys` | the hand-overs from each key to the next, as frames |
//! | `key` | the [secret](super::secrets) of the key of today, and for a moment also of the next. Its first writing makes a log complete |
//! | `….cursor` | how far somebody exported the log, where that is waited for |
//! | `reserve` | zeros: space for what is written before something is removed |
//! | `lock` | held by the program that writes the log |

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use super::{
    chain::Place,
    checkpoint::Checkpoint,
    export::cursor::{self, Cursor},
    frame::{self, Frame},
    keys::Keys,
    note::{self, Signer, Verifier},
    record::Malformed,
    scan::Scan,
    secrets,
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

/// How much of the list of keys is read at its end by who goes on writing: some dozens of hand-overs.
const LAST_KEYS_BYTES: u64 = 16 * 1024;
const _: () = assert!(LAST_KEYS_BYTES as usize > note::MAX_BYTES + frame::HEADER_BYTES);
/// How many hand-overs before the head are checked by who goes on writing. A log is opened as often as a program is started,
/// and has one for each time: only who verifies the log checks them all.
const CHECKED_KEYS: usize = 4;

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

    pub(super) fn read_secrets(&self) -> Result<Option<Vec<u8>>, Error> {
        self.secret_bytes().map_err(|error| self.io(error))
    }

    /// Writes secrets, durably, and overwrites others that were there.
    pub(super) fn write_secrets(&self, signers: &[&Signer]) -> io::Result<()> {
        // What cannot be read is replaced.
        let there = self.secret_bytes().ok().flatten().unwrap_or_default();
        match secrets::changes(&there, signers) {
            Some(parts) => log_file::overwrite(&self.dir.join(KEY), &parts),
            None => log_file::replace_secret(&self.dir, KEY, &secrets::whole(signers)),
        }
    }

    /// What is in the file of the secret, and a block of what is too much.
    fn secret_bytes(&self) -> io::Result<Option<Vec<u8>>> {
        let path = self.dir.join(KEY);
        let blocks = log_file::read_blocks(&path, secrets::BLOCK_BYTES, secrets::BLOCKS + 1)?;
        blocks.map(secrets::joined).transpose()
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
        self.scan_keys(0, |note| keys.push(note))?;
        Ok(keys)
    }

    /// Calls `take` with each hand-over of the list from a byte on; returns where it ends.
    fn scan_keys(
        &self,
        offset: u64,
        mut take: impl FnMut(&str) -> Result<(), Malformed>,
    ) -> Result<u64, Error> {
        let Some(mut scan) = self.scan_file(KEYS, offset)? else { return Ok(0) };
        while let Some(piece) = scan.next().map_err(|error| self.io(error))? {
            let taken = match piece.frame {
                Ok(Frame::Checkpoint(note)) => take(note),
                Ok(_) => Err(Malformed("something else than hand-overs")),
                Err(malformed) => Err(malformed),
            };
            taken.map_err(|malformed| self.wrong_keys(malformed))?;
        }
        Ok(scan.offset())
    }

    /// Reads the last of the keys: as many as it takes to go on from `head`. Returns where the list ends, too.
    fn read_last_keys(&self, first: Verifier, head: Place) -> Result<(Keys, u64), Error> {
        let read = |offset| {
            let mut notes = Vec::new();
            let end = self.scan_keys(offset, |note| {
                let place = Checkpoint::peek_place(note).ok_or(Malformed("a hand-over without a place"))?;
                notes.push((place, Box::<str>::from(note)));
                Ok(())
            })?;
            let before = notes.iter().take_while(|(place, _)| *place < head).count();
            Ok::<_, Error>((notes, end, before))
        };
        let mut begin = self.last_keys().map_err(|error| self.io(error))?;
        let (mut notes, mut end, mut before) = read(begin)?;
        if begin > 0 && before == 0 {
            begin = 0;
            (notes, end, before) = read(begin)?;
        }
        // Who signed the first that is read need not be among them.
        let skipped = before.saturating_sub(CHECKED_KEYS).max(usize::from(begin > 0));
        let (passed, rest) = notes.split_at_checked(skipped).unwrap_or_default();
        let first = match passed.last() {
            None => Some(first),
            Some((_, note)) => Checkpoint::peek(note).and_then(|hand_over| hand_over.terms.next),
        };
        let first = first.ok_or_else(|| self.wrong_keys(Malformed("a checkpoint that names no key")))?;
        let mut keys = Keys::new(first);
        let pushed = rest.iter().try_for_each(|(_, note)| keys.push(note));
        pushed.map_err(|malformed| self.wrong_keys(malformed))?;
        Ok((keys, end))
    }

    /// Where a hand-over begins that is not far from the end of the list.
    fn last_keys(&self) -> io::Result<u64> {
        let path = self.dir.join(KEYS);
        let bytes = match log_file::bytes(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            bytes => bytes?,
        };
        let from = bytes.saturating_sub(LAST_KEYS_BYTES);
        if from == 0 {
            return Ok(0);
        }
        let mut tail = Vec::new();
        if let Some(mut file) = log_file::open(&path, from)? {
            file.read_to_end(&mut tail)?;
        }
        Ok(frame::first_checkpoint(&tail).map_or(0, |at| from + at as u64))
    }

    /// Puts a hand-over at the end of the list, durably, and returns where the list ends then. What a crash left half-written
    /// there is overwritten.
    pub(super) fn append_key(&self, end: u64, note: &str) -> io::Result<u64> {
        let mut bytes = Vec::new();
        frame::push_checkpoint(note, &mut bytes);
        let mut file = log_file::Segment::open(&self.dir.join(KEYS))?;
        file.truncate(end)?;
        file.write_at(end, &bytes)?;
        file.sync()?;
        if end == 0 {
            // It is new. Without its name, the hand-overs would be gone whose segments are dropped.
            self.sync()?;
        }
        Ok(end + bytes.len() as u64)
    }

    /// Reads the head, its text, and the keys that follow the first.
    pub(super) fn read_head(&self, first: Verifier) -> Result<(Checkpoint, String, Keys), Error> {
        // In this order: a writer adds a key to the list before the key signs a head.
        let text = self.head_text()?;
        let keys = self.read_keys(first)?;
        match keys.open(&text) {
            Ok(head) => Ok((head, text, keys)),
            Err(malformed) => Err(self.wrong_head(malformed)),
        }
    }

    /// Reads the head, and of the keys as many as it takes to go on from there. Returns where the list of the keys ends, too.
    pub(super) fn read_head_to_write(&self, first: Verifier) -> Result<(Checkpoint, Keys, u64), Error> {
        let text = self.head_text()?;
        let place = Checkpoint::peek_place(&text);
        let place = place.ok_or_else(|| self.wrong_head(Malformed("other lines than a checkpoint")))?;
        let (keys, end) = self.read_last_keys(first, place)?;
        let head = keys.open(&text).map_err(|malformed| self.wrong_head(malformed))?;
        Ok((head, keys, end))
    }

    fn head_text(&self) -> Result<String, Error> {
        self.read(HEAD)?.ok_or_else(|| self.tampered("its `head` is missing"))
    }

    fn wrong_head(&self, malformed: Malformed) -> Error {
        self.tampered(&format!("its `head` has {malformed}"))
    }

    fn wrong_keys(&self, malformed: Malformed) -> Error {
        self.tampered(&format!("`{KEYS}` has {malformed}"))
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
