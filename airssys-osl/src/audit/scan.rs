//! Reads frames off a file, one after the other, in memory of a fixed size.

use std::{
    fs::File,
    io::{self, Read as _},
};

use super::{
    frame::{self, Frame},
    record::Malformed,
};

/// How much is read at once.
const CHUNK_BYTES: usize = 256 * 1024;

/// A place in a file of frames.
#[derive(Debug)]
pub(super) struct Scan {
    file: File,
    /// What was read and not yet looked at begins at `start`.
    buffer: Vec<u8>,
    start: usize,
    /// Where in the file that is.
    offset: u64,
}

/// One frame, or what stands where one should be.
#[derive(Debug)]
pub(super) struct Piece<'a> {
    /// Where it begins.
    pub(super) offset: u64,
    /// How long it is; of a malformed one, how much of it was looked at.
    pub(super) bytes: usize,
    pub(super) frame: Result<Frame<'a>, Malformed>,
    /// All bytes of the frame, its header included.
    pub(super) raw: &'a [u8],
}

impl Scan {
    /// Begins at the place where `file` stands, which is its byte `offset`.
    pub(super) fn new(file: File, offset: u64) -> Self {
        Self { file, buffer: Vec::with_capacity(2 * CHUNK_BYTES), start: 0, offset }
    }

    /// Where the next frame begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the next frame; `None` where the file ends, or ends inside of it: ask again when it may have grown.
    ///
    /// After a malformed piece it is not known where the next one would begin, so there is no next one: the same is
    /// returned again.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece<'_>>> {
        let bytes = loop {
            match frame::length(self.unread()) {
                Ok(Some(bytes)) if bytes <= self.unread().len() => break bytes,
                Ok(_) if self.read_more()? => {}
                Ok(_) => return Ok(None),
                Err(malformed) => {
                    let bytes = frame::HEADER_BYTES;
                    return Ok(Some(Piece { offset: self.offset, bytes, frame: Err(malformed), raw: &[] }));
                }
            }
        };
        let raw = self.buffer.get(self.start..self.start + bytes).unwrap_or_default();
        let frame = frame::parse(raw);
        let offset = self.offset;
        if frame.is_ok() {
            self.start += bytes;
            self.offset += bytes as u64;
        }
        Ok(Some(Piece { offset, bytes, frame, raw }))
    }

    /// What was found of an unfinished frame.
    pub(super) fn unfinished(&self) -> &[u8] {
        self.unread()
    }

    /// Goes back to the beginning of the piece that [`next`](Self::next) returned last and reads from there to the
    /// end of the file.
    pub(super) fn measure_tail(&mut self, piece_offset: u64) -> io::Result<Tail> {
        // The last piece is still in the buffer: only `read_more` removes what was looked at.
        let back = usize::try_from(self.offset.saturating_sub(piece_offset)).unwrap_or_default();
        self.start = self.start.saturating_sub(back);
        let mut tail = Tail { bytes: 0, written_bytes: 0 };
        loop {
            let unread = self.unread();
            if let Some(last) = unread.iter().rposition(|byte| *byte != 0) {
                tail.written_bytes = tail.bytes + last as u64 + 1;
            }
            tail.bytes += unread.len() as u64;
            self.start = self.buffer.len();
            if !self.read_more()? {
                return Ok(tail);
            }
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Returns whether there was more.
    fn read_more(&mut self) -> io::Result<bool> {
        self.buffer.drain(..self.start);
        self.start = 0;
        Ok((&self.file).take(CHUNK_BYTES as u64).read_to_end(&mut self.buffer)? > 0)
    }
}

/// What there is from a place in a file to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) bytes: u64,
    /// The same without the zeros at the end.
    pub(super) written_bytes: u64,
}
