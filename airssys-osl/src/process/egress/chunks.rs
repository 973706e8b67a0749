//! Where a body in chunks ends (RFC 9112, 7.1). Strict: what two readers could take for two things is an error.

use crate::limits::EGRESS_HEAD_BYTES;

/// The most digits of a chunk's size: more than 2^60 bytes nobody has.
const DIGITS: u32 = 15;

/// Follows a body, byte by byte.
#[derive(Debug, Default)]
pub(in crate::process) struct Chunks {
    state: State,
    /// How many bytes of extensions and trailers there were: they are bounded as heads are.
    beside: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size { size: u64, digits: u32 },
    Extension { size: u64 },
    SizeEnd { size: u64 },
    Data { left: u64 },
    DataReturn,
    DataEnd,
    TrailerStart,
    Trailer,
    TrailerEnd,
    LastEnd,
    Over,
}

impl Default for State {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// How many of `bytes` belong to the body: all of them, or those up to its end; `None` where they are not chunks.
    pub(in crate::process) fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty() && !self.is_over()) {
            taken += self.step(rest)?;
        }
        Some(taken)
    }

    pub(in crate::process) fn is_over(&self) -> bool {
        self.state == State::Over
    }

    /// Takes some bytes of `rest`, and says how many.
    fn step(&mut self, rest: &[u8]) -> Option<usize> {
        if let State::Data { left } = self.state {
            let taken = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let left = left - taken as u64;
            self.state = if left == 0 { State::DataReturn } else { State::Data { left } };
            return Some(taken);
        }
        let byte = *rest.first()?;
        self.state = match (self.state, byte) {
            (State::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < DIGITS => {
                let digit = char::from(byte).to_digit(16)?;
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b';') => State::Extension { size },
            (State::Size { size, digits: 1.. } | State::Extension { size }, b'\r') => State::SizeEnd { size },
            (State::Extension { size }, _) if is_text(byte) => self.beside(State::Extension { size })?,
            (State::SizeEnd { size: 0 }, b'\n') => State::TrailerStart,
            (State::SizeEnd { size }, b'\n') => State::Data { left: size },
            (State::DataReturn, b'\r') => State::DataEnd,
            (State::DataEnd, b'\n') => State::default(),
            (State::TrailerStart, b'\r') => State::LastEnd,
            (State::TrailerStart | State::Trailer, _) if is_text(byte) => self.beside(State::Trailer)?,
            (State::Trailer, b'\r') => State::TrailerEnd,
            (State::TrailerEnd, b'\n') => State::TrailerStart,
            (State::LastEnd, b'\n') => State::Over,
            _ => return None,
        };
        Some(1)
    }

    fn beside(&mut self, state: State) -> Option<State> {
        self.beside += 1;
        (self.beside <= EGRESS_HEAD_BYTES).then_some(state)
    }
}

/// Whether a byte may stand in a line.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of `bytes` is a body, however they come; `None` where it is none, or is not over.
    #[track_caller]
    fn check(bytes: &str, expected: Option<usize>) {
        for step in 1..=bytes.len() {
            let mut chunks = Chunks::default();
            let taken =
                bytes.as_bytes().chunks(step).try_fold(0, |all, piece| Some(all + chunks.take(piece)?));
            assert_eq!(taken.filter(|_| chunks.is_over()), expected, "{bytes:?}, {step} at a time");
        }
    }

    #[test]
    fn bodies_and_what_comes_behind_them() {
        check("0\r\n\r\n", Some(5));
        check("3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1", Some(13));
        check("a;name=value\r\n0123456789\r\n00\r\nTrailer: x\r\n\r\n", Some(44));
        check("3\r\nabc\r\n", None);
    }

    #[test]
    fn what_two_readers_take_for_two_things_is_none() {
        for body in [
            "\r\n\r\n",
            "3\nabc\n0\n\n",
            "0x3\r\nabc\r\n0\r\n\r\n",
            "-1\r\n\r\n",
            " 3\r\nabc\r\n0\r\n\r\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "3\r\nabcd\r\n0\r\n\r\n",
            "3\r\r\nabc\r\n0\r\n\r\n",
            "3;a\nb\r\nabc\r\n0\r\n\r\n",
            "10000000000000003\r\nabc\r\n0\r\n\r\n",
            "0\r\nTrailer: x\n\r\n\r\n",
        ] {
            check(body, None);
        }
    }

    #[test]
    fn what_is_beside_a_body_is_bounded() {
        let mut chunks = Chunks::default();
        assert_eq!(chunks.take(format!("1;{}", "a".repeat(EGRESS_HEAD_BYTES + 1)).as_bytes()), None);
    }
}
