//! One file, as far as it has been read.

use airssys_guest::{Error, fs, log};

use crate::{
    gunzip::Gunzip,
    lines::{LINE_LIMIT_BYTES, Lines},
};

/// How much is decompressed at once.
const DECODED_BYTES: usize = 64 * 1024;

/// One file, as far as it has been read.
pub(crate) struct Source {
    identity: fs::Identity,
    name: String,
    /// The file, while there is something to read in it.
    file: Option<fs::File>,
    format: Format,
    /// How much of the file has been read.
    offset: u64,
    /// Its size when it was last looked at.
    size: u64,
    has_more: bool,
    /// Whether it has left the folder.
    is_gone: bool,
    lines: Lines,
    has_warned: bool,
    has_warned_of_cut: bool,
}

enum Format {
    Plain,
    Gzip(Box<Gunzip>),
    /// It was gzip as far as it could be read.
    Corrupt,
}

impl Format {
    fn of(name: &str) -> Self {
        if name.ends_with(".gz") { Self::Gzip(Box::new(Gunzip::new())) } else { Self::Plain }
    }
}

impl Source {
    pub(crate) fn new(identity: fs::Identity, name: String) -> Self {
        Self {
            identity,
            file: None,
            format: Format::of(&name),
            name,
            offset: 0,
            size: 0,
            has_more: false,
            is_gone: false,
            lines: Lines::default(),
            has_warned: false,
            has_warned_of_cut: false,
        }
    }

    pub(crate) fn identity(&self) -> fs::Identity {
        self.identity
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there is something to read, as far as is known.
    pub(crate) fn has_more(&self) -> bool {
        self.has_more
    }

    pub(crate) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether it has left the folder and was read to its end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_gone && !self.has_more
    }

    /// Takes note of its name and size, which may have changed.
    pub(crate) fn look(&mut self, name: String, size: u64) {
        if size < self.offset {
            log::warn!("{name} was truncated: it is read from its start again");
            self.format = Format::of(&name);
            self.file = None;
            self.offset = 0;
            self.size = 0;
            self.lines.forget();
        }
        if size != self.size {
            self.size = size;
            self.has_more = !matches!(self.format, Format::Corrupt);
        }
        self.name = name;
    }

    /// Takes note that it has left the folder. What is open can still be read to its end.
    pub(crate) fn leave(&mut self) {
        self.is_gone = true;
        self.has_more &= self.is_open();
    }

    /// Reads the next piece of at most `chunk_bytes` bytes, decompressed, into `out`. What is wrong with the file is
    /// logged once.
    pub(crate) fn read(&mut self, dir: &fs::Dir, chunk_bytes: u64, out: &mut Vec<u8>) {
        out.clear();
        if let Err(error) = self.read_piece(dir, chunk_bytes, out) {
            self.end();
            self.warn(&error.chain());
        }
    }

    fn read_piece(&mut self, dir: &fs::Dir, chunk_bytes: u64, out: &mut Vec<u8>) -> Result<(), Error> {
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(dir.open(&self.name)?),
        };
        let piece = file.read_at(self.offset, chunk_bytes)?;
        let gunzip = match &mut self.format {
            Format::Gzip(gunzip) => gunzip,
            Format::Plain | Format::Corrupt => {
                self.offset += piece.len() as u64;
                if (piece.len() as u64) < chunk_bytes {
                    self.end();
                }
                *out = piece;
                return Ok(());
            }
        };
        out.reserve(DECODED_BYTES);
        match gunzip.decode(&piece, out) {
            Ok(used) => {
                self.offset += used as u64;
                if used == 0 && out.is_empty() {
                    let is_complete = gunzip.is_complete();
                    self.end();
                    if !is_complete {
                        self.warn("it ends too early; what was readable is sent, and more if it grows");
                    }
                }
            }
            Err(corrupt) => {
                self.format = Format::Corrupt;
                self.end();
                self.warn(&format!("{}; what was readable is sent", corrupt.0));
            }
        }
        Ok(())
    }

    /// Emits the lines that a piece completes.
    pub(crate) fn feed(&mut self, piece: &[u8], emit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let fed = self.lines.feed(piece, emit);
        if self.lines.cut() > 0 && !self.has_warned_of_cut {
            self.has_warned_of_cut = true;
            log::warn!("{} has lines of more than {LINE_LIMIT_BYTES} bytes: they are cut", self.name);
        }
        fed
    }

    /// Emits the line that has begun: its end will not come.
    pub(crate) fn finish(&mut self, emit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.lines.finish(emit)
    }

    /// There is nothing more to read until it grows.
    fn end(&mut self) {
        self.has_more = false;
        self.file = None;
    }

    fn warn(&mut self, what: &str) {
        if !self.has_warned {
            self.has_warned = true;
            log::warn!("{}: {what}", self.name);
        }
    }
}
