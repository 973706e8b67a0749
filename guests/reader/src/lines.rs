//! Lines out of chunks.

/// The longest line that is sent; the rest of a longer one is cut off.
pub(crate) const LINE_LIMIT_BYTES: usize = 64 * 1024;

/// Puts lines together that arrive in pieces.
#[derive(Default)]
pub(crate) struct Lines {
    /// The line that has begun, as far as it is known.
    begun: Vec<u8>,
    /// How many lines were cut off.
    cut: u64,
    /// Whether the line that has begun is one of them.
    is_cut: bool,
}

impl Lines {
    /// Takes the next piece, and emits the lines that it completes, without their ends. Empty ones are left out.
    ///
    /// The first error of `emit` ends it, and what follows in the piece is lost.
    pub(crate) fn feed<E>(
        &mut self,
        piece: &[u8],
        mut emit: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = behind.get(1..).unwrap_or_default();
            if self.begun.is_empty() && line.len() <= LINE_LIMIT_BYTES {
                emit_line(line, &mut emit)?;
            } else {
                self.begin(line);
                self.finish(&mut emit)?;
            }
        }
        self.begin(rest);
        Ok(())
    }

    /// Emits the line that has begun: its end will not come.
    pub(crate) fn finish<E>(&mut self, mut emit: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let emitted = emit_line(&self.begun, &mut emit);
        self.forget();
        emitted
    }

    /// Forgets the line that has begun.
    pub(crate) fn forget(&mut self) {
        self.begun.clear();
        self.is_cut = false;
    }

    /// How many lines were cut off so far.
    pub(crate) fn cut(&self) -> u64 {
        self.cut
    }

    fn begin(&mut self, piece: &[u8]) {
        let room = LINE_LIMIT_BYTES - self.begun.len();
        let fitting = piece.get(..room).unwrap_or(piece);
        self.begun.extend_from_slice(fitting);
        if fitting.len() < piece.len() && !self.is_cut {
            self.is_cut = true;
            self.cut += 1;
        }
    }
}

fn emit_line<E>(line: &[u8], emit: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.is_empty() { Ok(()) } else { emit(line) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    /// The lines of some pieces, the last of them finished; and how many were cut.
    fn split(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, u64) {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        let mut emit = |line: &[u8]| {
            found.push(line.to_vec());
            Ok::<(), Infallible>(())
        };
        for piece in pieces {
            lines.feed(piece, &mut emit).unwrap();
        }
        lines.finish(&mut emit).unwrap();
        (found, lines.cut())
    }

    #[track_caller]
    fn check(pieces: &[&[u8]], expected: &[&[u8]]) {
        let (lines, cut) = split(pieces);
        assert_eq!((lines.iter().map(Vec::as_slice).collect::<Vec<_>>(), cut), (expected.to_vec(), 0));
    }

    #[test]
    fn ends_of_lines() {
        check(&[b"a\nb\r\n\n\r\nc"], &[b"a", b"b", b"c"]);
        check(&[b"a\n"], &[b"a"]);
        check(&[b""], &[]);
    }

    #[test]
    fn every_place_to_break_is_the_same() {
        let text = b"first\nsecond\r\n\nthird\n";
        for middle in 0..=text.len() {
            let (head, tail) = text.split_at(middle);
            check(&[head, tail], &[b"first", b"second", b"third"]);
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        check(&bytes, &[b"first", b"second", b"third"]);
    }

    #[test]
    fn long_lines_are_cut_and_counted_once() {
        let long = vec![b'x'; LINE_LIMIT_BYTES + 1];
        for pieces in [
            vec![&long[..], b"\nnext\n"],
            vec![&long[..100], &long[100..], b"", b"\nnext\n"],
            vec![&long[..], b"more\nnext\n"],
        ] {
            let (lines, cut) = split(&pieces);
            assert_eq!(cut, 1);
            assert_eq!((lines[0].len(), &lines[1][..]), (LINE_LIMIT_BYTES, &b"next"[..]));
        }
    }

    #[test]
    fn a_line_of_just_the_limit_is_whole() {
        let (lines, cut) = split(&[&vec![b'x'; LINE_LIMIT_BYTES], b"\n"]);
        assert_eq!((lines[0].len(), cut), (LINE_LIMIT_BYTES, 0));
    }
}
