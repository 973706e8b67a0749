//! Sends a log elsewhere while it is written: to files, syslog, the journal and collectors of OpenTelemetry.
//!
//! Each record arrives at least once: the place up to which all has arrived is kept in a file, the cursor, and moved only
//! when the other side has taken what was sent. After a failure or a restart some records may come twice; their sequence
//! numbers tell. A cursor knows the record that it stands behind. Where that is not there any more, because the machine lost
//! power before it was on the device, the segment that it was in comes again from its beginning; another log in the same
//! folder comes from its first record.
//!
//! Retention waits for a cursor that is a file `….cursor` in the folder of the log ([`Retention`](super::Retention)). What it
//! removed before another one had come there, is counted by [`Exporter::lost`].
//!
//! Whoever exports is the program itself: what it connects to is decided by nobody and recorded nowhere.

pub(super) mod cursor;
mod format;
mod target;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use self::cursor::Cursor;
pub use self::target::Target;
use super::{Position, Reader, Record, chain::Place, note::Verifier, store::Store};
use crate::{
    Error, ErrorKind,
    os::{Fault, pool},
    sys::log_file,
};

/// How many records are sent at a time.
const BATCH: usize = 256;
/// How long the other side may take for them.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long apart a log is looked at for more, and how long a target is left alone after failures, at least and at most.
const POLL: Duration = Duration::from_millis(200);
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// Sends the records of one log to one target.
///
/// # Examples
///
/// ```
/// use airssys_osl::audit::{Log, LogOptions, export::{Exporter, Target}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let dir = folder.path().join("log");
/// # Log::open(&dir, "example.org/log", LogOptions::default())?.close()?;
/// let cursor = folder.path().join("stdout.cursor");
/// let mut exporter = Exporter::open(&dir, &cursor, Target::lines(tokio::io::sink()))?;
/// exporter.run_once().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Exporter {
    log: PathBuf,
    cursor: PathBuf,
    target: Target,
    /// The last record that has arrived; `None` where there was no cursor.
    done: Option<Cursor>,
    /// What stands there, and the first key of its log; `None` after a failure.
    reader: Option<(Reader, Box<str>)>,
    lost: u64,
}

impl Exporter {
    /// Begins where the file `cursor` says, or at the first record where there is no such file.
    ///
    /// # Errors
    ///
    /// * [`Invalid`](ErrorKind::Invalid): the file is no cursor.
    /// * [`Io`](ErrorKind::Io): the system refused.
    pub fn open(log: &Path, cursor: &Path, target: Target) -> Result<Self, Error> {
        let what = || format!("read the cursor `{}`", cursor.display());
        let text = log_file::read_text(cursor, cursor::BYTES).map_err(|error| Error::io(what(), error))?;
        let parse = |text: String| Cursor::parse(&text).ok_or_else(|| Error::new(ErrorKind::Invalid, what()));
        let done = text.map(parse).transpose()?;
        Ok(Self { log: log.to_owned(), cursor: cursor.to_owned(), target, done, reader: None, lost: 0 })
    }

    /// Where the last record stands that has arrived; the beginning of the log where none has.
    pub fn position(&self) -> Position {
        self.done.as_ref().map(|done| Position(done.place)).unwrap_or_default()
    }

    /// How many records retention removed before they were sent, as far as this exporter found out.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Sends all records that there are, and returns how many.
    ///
    /// # Errors
    ///
    /// * [`Io`](ErrorKind::Io), [`TimedOut`](ErrorKind::TimedOut) and the like: the target did not take them, within ten
    ///   seconds for some hundred. Call it again: it goes on behind what has arrived.
    /// * [`Tampered`](ErrorKind::Tampered): what should be a record is none.
    ///
    /// # Cancel safety
    ///
    /// What was sent and not yet confirmed is sent again by the next call.
    pub async fn run_once(&mut self) -> Result<u64, Error> {
        let mut sent = 0;
        loop {
            let (records, done) = self.read().await?;
            if let (None, Some((_, key))) = (&self.done, &self.reader) {
                // From here on retention waits.
                let nothing = Cursor::before(key);
                self.save(&nothing)?;
                self.done = Some(nothing);
            }
            let Some(done) = done else { return Ok(sent) };
            let reader = self.reader.take();
            self.send(&records).await?;
            self.save(&done)?;
            self.lost += missing(self.done.as_ref().filter(|before| before.log == done.log), &records);
            (self.done, self.reader) = (Some(done), reader);
            sent += records.len() as u64;
        }
    }

    /// Sends all records and those that come, until the future is dropped. Where the target fails, tries again, after
    /// pauses of up to half a minute; the records wait in the log.
    ///
    /// # Errors
    ///
    /// [`Tampered`](ErrorKind::Tampered): what should be a record is none.
    ///
    /// # Cancel safety
    ///
    /// As [`run_once`](Self::run_once).
    pub async fn follow(&mut self) -> Result<(), Error> {
        let mut pause = MIN_PAUSE;
        loop {
            match self.run_once().await {
                Ok(_) => {
                    pause = MIN_PAUSE;
                    tokio::time::sleep(POLL).await;
                }
                Err(error) if error.kind() == ErrorKind::Tampered => return Err(error),
                Err(_) => {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(MAX_PAUSE);
                }
            }
        }
    }

    /// Reads some records that were not sent yet, and the cursor behind them.
    async fn read(&mut self) -> Result<(Vec<Record>, Option<Cursor>), Error> {
        let (reader, log, done) = (self.reader.take(), self.log.clone(), self.done.clone());
        let read = pool(move || {
            let read = || -> Result<_, Error> {
                let (mut reader, key) = match reader {
                    Some(reader) => reader,
                    None => resume(&log, done.as_ref())?,
                };
                let records: Vec<Record> = reader.by_ref().take(BATCH).collect::<Result<_, _>>()?;
                let done = records.last().map(|last| Cursor::at(last, reader.last_place(), &key));
                Ok(((reader, key), records, done))
            };
            Ok(read())
        });
        let what = || format!("read the audit log `{}`", self.log.display());
        let (reader, records, done) = read.await.map_err(|fault| failed(what(), fault))??;
        self.reader = Some(reader);
        Ok((records, done))
    }

    async fn send(&mut self, records: &[Record]) -> Result<(), Error> {
        let what = format!("export audit records to {}", self.target);
        match tokio::time::timeout(TIMEOUT, self.target.send(records)).await {
            Ok(sent) => sent.map_err(|error| Error::io(what, error)),
            Err(_elapsed) => Err(Error::new(ErrorKind::TimedOut, what)),
        }
    }

    fn save(&self, done: &Cursor) -> Result<(), Error> {
        let dir = self.cursor.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let name = self.cursor.file_name().unwrap_or_default().to_string_lossy();
        log_file::replace(dir, &name, &done.to_text(), true)
            .map_err(|error| Error::io(format!("write the cursor `{}`", self.cursor.display()), error))
    }
}

/// Opens a log behind what has arrived. Returns it with its first key.
fn resume(log: &Path, done: Option<&Cursor>) -> Result<(Reader, Box<str>), Error> {
    let store = Store::to_read(log);
    let key: Box<str> = first_key(&store)?.to_text().into();
    let Some(done) = done.filter(|done| done.log == key) else { return Ok((Reader::open(log)?, key)) };
    let place = done.place;
    let segments = store.segments().map_err(|error| store.io(error))?;
    let Some(at) = segments.into_iter().filter(|at| *at <= place.segment).max() else {
        // Retention was faster.
        return Ok((Reader::open(log)?, key));
    };
    if at == place.segment {
        let mut reader = Reader::open_at(log, Position(place))?;
        // What stands there may be anything: only the very record says that all before it has arrived.
        let last = reader.next().and_then(Result::ok);
        if last.is_some_and(|last| done.is(&last)) {
            return Ok((reader, key));
        }
    }
    let beginning = Position(Place { segment: at, offset: 0 });
    Ok((Reader::open_at(log, beginning)?, key))
}

/// How many records are not there between those that arrived `before` and these, and among these.
fn missing(before: Option<&Cursor>, records: &[Record]) -> u64 {
    let mut next = before.map(|before| before.sequence + 1);
    let gaps = records.iter().map(|record| {
        let expected = next.replace(record.sequence() + 1).unwrap_or(record.sequence());
        record.sequence().saturating_sub(expected)
    });
    gaps.sum()
}

fn first_key(store: &Store) -> Result<Verifier, Error> {
    store.read_public_key()?.ok_or_else(|| store.io(io::ErrorKind::NotFound.into()))
}

/// Publishes the checkpoints of a log, so that what was signed once cannot be taken back: whoever changes the log later
/// would have to change them too, wherever they are.
///
/// To prove a log by what was published to a file, give the text of the file to [`verify`](super::verify).
#[derive(Debug)]
pub struct Anchors {
    store: Store,
    target: Target,
    /// What was published last.
    last: String,
}

impl Anchors {
    /// Publishes the checkpoints of the log in the folder `log`. A target [`append`](Target::append) makes a file of
    /// them.
    pub fn new(log: &Path, target: Target) -> Self {
        Self { store: Store::to_read(log), target, last: String::new() }
    }

    /// Publishes the newest checkpoint, unless it was the last to be published. Returns whether it was. Call it as often
    /// as you want to be sure of your records; a new one is made each second at most.
    ///
    /// # Errors
    ///
    /// * [`Tampered`](ErrorKind::Tampered): the checkpoint is missing, or none of the log's keys signed it.
    /// * [`Io`](ErrorKind::Io), [`TimedOut`](ErrorKind::TimedOut) and the like: it did not arrive. Call it again.
    ///
    /// # Cancel safety
    ///
    /// A checkpoint may have arrived that counts as not published; it comes again then.
    pub async fn publish(&mut self) -> Result<bool, Error> {
        let store = self.store.clone();
        let note = pool(move || Ok(newest(&store))).await;
        let note = note.map_err(|fault| failed(self.store.what(), fault))??;
        if note == self.last {
            return Ok(false);
        }
        let what = format!("publish a checkpoint to {}", self.target);
        match tokio::time::timeout(TIMEOUT, self.target.publish(&note)).await {
            Ok(sent) => sent.map_err(|error| Error::io(what, error))?,
            Err(_elapsed) => return Err(Error::new(ErrorKind::TimedOut, what)),
        }
        self.last = note;
        Ok(true)
    }
}

fn newest(store: &Store) -> Result<String, Error> {
    let first = store.read_public_key()?.ok_or_else(|| store.invalid("there is none in this folder"))?;
    let (_, note, _) = store.read_head(first)?;
    Ok(note)
}

fn failed(what: String, fault: Fault) -> Error {
    match fault {
        Fault::Os(error) => Error::io(what, error),
        _ => Error::new(ErrorKind::Bug, what),
    }
}
