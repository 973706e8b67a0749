//! The folder of a log: which files it has, and what is said when they are not as they were left.
//!
//! | file | content |
//! |---|---|
//! | `000000000000.log` | frames: the records and, between them, checkpoints. Named after the number of records before it |
//! | `head` | the note of a recent checkpoint; where to go on after a crash, and proof that the log was as long as that |
//! | `key`, `key.pub` | what checkpoints are signed and verified with. `key` is written last: it makes a log complete |
//! | `lock` | held by the program that writes the log |

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    checkpoint::Checkpoint,
    note::{self, Verifier},
    scan::Scan,
    walk::Stop,
};
use crate::{Error, ErrorKind, sys::log_file};

const SEGMENT: &str = "000000000000.log";
const HEAD: &str = "head";
const KEY: &str = "key";
const PUBLIC_KEY: &str = "key.pub";
const LOCK: &str = "lock";

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

    pub(super) fn read_key(&self) -> Result<Option<String>, Error> {
        self.read(KEY)
    }

    /// Writes both keys, and makes that durable: with it a log is complete.
    pub(super) fn write_keys(&self, key: &str, public_key: &str) -> Result<(), Error> {
        self.write_public_key(public_key)?;
        log_file::replace(&self.dir, KEY, &format!("{key}\n"), true)
            .and_then(|()| log_file::sync_dir(&self.dir))
            .map_err(|error| self.io(error))
    }

    pub(super) fn write_public_key(&self, public_key: &str) -> Result<(), Error> {
        log_file::replace(&self.dir, PUBLIC_KEY, &format!("{public_key}\n"), true)
            .map_err(|error| self.io(error))
    }

    /// Reads the public key; `None` where there is no such file.
    pub(super) fn read_public_key(&self) -> Result<Option<Verifier>, Error> {
        let Some(text) = self.read(PUBLIC_KEY)? else { return Ok(None) };
        let verifier = Verifier::from_text(text.trim_end());
        verifier.map(Some).map_err(|malformed| self.tampered(&format!("`{PUBLIC_KEY}` has {malformed}")))
    }

    /// Reads the head.
    pub(super) fn read_head(&self, verifier: &Verifier) -> Result<Checkpoint, Error> {
        let text = self.read(HEAD)?.ok_or_else(|| self.tampered("its `head` is missing"))?;
        Checkpoint::open(&text, verifier)
            .map_err(|malformed| self.tampered(&format!("its `head` has {malformed}")))
    }

    pub(super) fn write_head(&self, note: &str, durable: bool) -> io::Result<()> {
        log_file::replace(&self.dir, HEAD, note, durable)
    }

    /// Opens the file of records to read it from a byte on; `None` where it does not exist.
    pub(super) fn scan(&self, offset: u64) -> Result<Option<Scan>, Error> {
        let file = log_file::open(&self.dir.join(SEGMENT), offset).map_err(|error| self.io(error))?;
        Ok(file.map(|file| Scan::new(file, offset)))
    }

    /// Opens the file of records to write it.
    pub(super) fn segment(&self) -> Result<log_file::Segment, Error> {
        log_file::Segment::open(&self.dir.join(SEGMENT)).map_err(|error| self.io(error))
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
            Stop::Tampered(how) => self.tampered(&how),
        }
    }

    /// Completes "cannot …".
    pub(super) fn what(&self) -> String {
        format!("{} the audit log `{}`", self.verb, self.dir.display())
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
