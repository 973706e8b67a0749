//! One file, as far as it has been read.

use airssys_guest::{Error, fs, log};

use crate::{
    gunzip::Gunzip,
    lines::{LINE_LIMIT_BYTES, Lines},
};

/// How much is decompressed at once.
const DECODED_BYTES: usize = 64 * 1024;

/// How much of the beginnings of two files is compared. A line of a log has a time in it.
const HEAD_BYTES: usize = 1024;

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
    /// Whether reading it failed, and is to be tried again at the next look.
    is_to_retry: bool,
    /// Whether it has left the folder.
    is_gone: bool,
    lines: Lines,
    /// How its content begins.
    head: Vec<u8>,
    /// How much of its content has been handed on, decompressed.
    content: u64,
    /// How much of its content another file has handed on before it.
    to_skip: u64,
    /// Whether it may be the compressed copy of another file.
    may_be_copy: bool,
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
        if is_gzip(name) { Self::Gzip(Box::new(Gunzip::new())) } else { Self::Plain }
    }
}

fn is_gzip(name: &str) -> bool {
    name.ends_with(".gz")
}

/// What is remembered of a file that has left the folder: its compressed copy may come.
pub(crate) struct Past {
    head: Vec<u8>,
    content: u64,
}

impl Source {
    pub(crate) fn new(identity: fs::Identity, name: String) -> Self {
        Self {
            identity,
            file: None,
            format: Format::of(&name),
            may_be_copy: is_gzip(&name),
            name,
            offset: 0,
            size: 0,
            has_more: false,
            is_to_retry: false,
            is_gone: false,
            lines: Lines::default(),
            head: Vec::new(),
            content: 0,
            to_skip: 0,
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
            self.start_over();
            self.lines.forget();
        }
        if size != self.size || std::mem::take(&mut self.is_to_retry) {
            self.size = size;
            self.has_more = !matches!(self.format, Format::Corrupt);
        }
        self.name = name;
    }

    fn start_over(&mut self) {
        self.format = Format::of(&self.name);
        self.may_be_copy = is_gzip(&self.name);
        self.head.clear();
        (self.offset, self.size, self.content) = (0, 0, 0);
        self.end();
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
            self.is_to_retry = true;
            self.warn(&error.chain());
        }
        let missing = HEAD_BYTES - self.head.len();
        self.head.extend_from_slice(out.get(..missing).unwrap_or(out));
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
                // Less than was asked for is no end: the host gives what it has at hand.
                if piece.is_empty() {
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

    /// Whether it has to be asked whether it is the compressed copy of another file.
    pub(crate) fn may_be_copy(&self) -> bool {
        self.may_be_copy && !self.head.is_empty()
    }

    /// Whether it begins as another file does, which is still there and is no copy itself.
    pub(crate) fn begins_like(&self, other: &Self) -> bool {
        self.identity != other.identity && !is_gzip(&other.name) && is_same_beginning(&self.head, &other.head)
    }

    /// It is a copy of a file that is still there: that one is read, and this one waits until it has left.
    pub(crate) fn wait(&mut self) {
        let size = self.size;
        self.start_over();
        self.size = size;
    }

    /// Goes on after [`wait`](Self::wait), if it waits.
    pub(crate) fn wake(&mut self) {
        self.has_more |= self.may_be_copy && self.size > 0;
    }

    /// It is a copy of the first of these that it begins like, or of none. What that one has handed on is left out.
    pub(crate) fn settle<'a>(&mut self, mut past: impl Iterator<Item = &'a Past>) {
        self.may_be_copy = false;
        if let Some(original) = past.find(|past| is_same_beginning(&self.head, &past.head)) {
            self.to_skip = original.content;
        }
    }

    /// What is to be remembered of it once it has left. None of a compressed file: nothing is a copy of that.
    pub(crate) fn into_past(self) -> Option<Past> {
        (!is_gzip(&self.name) && !self.head.is_empty())
            .then_some(Past { head: self.head, content: self.content })
    }

    /// Emits the lines that a piece completes.
    pub(crate) fn feed(
        &mut self,
        piece: &[u8],
        emit: impl FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.content += piece.len() as u64;
        let skipped = usize::try_from(self.to_skip).unwrap_or(usize::MAX).min(piece.len());
        self.to_skip -= skipped as u64;
        let fed = self.lines.feed(piece.get(skipped..).unwrap_or_default(), emit);
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

fn is_same_beginning(one: &[u8], other: &[u8]) -> bool {
    one.len() == HEAD_BYTES && one == other
}
