//! From a stream of bytes to frames and back: no task, no I/O.

use memchr::memchr;

use super::{PortError, json};

/// How a program tells where what it says begins and ends; it is spoken to in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Framing {
    /// Lines that end in `\n`, which is not part of the frame; the last one may lack it. A frame that is written with a `\n`
    /// in it is several lines. Erlang's `{line, L}`, but a line that is too long ends the port.
    Lines,
    /// Lines of which each is one JSON text; others end the port. In what is written, line ends become spaces: where JSON
    /// has them they mean the same.
    JsonLines,
    /// The length in bytes, of 1, 2 or 4 bytes with the highest first, before each frame: Erlang's `{packet, N}`.
    LengthPrefix(PrefixBytes),
    /// The length in decimal digits, `:`, the frame, `,`.
    Netstring,
}

/// How many bytes a length has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefixBytes {
    /// Frames of up to 255 bytes.
    One,
    /// Frames of up to 65,535 bytes.
    Two,
    /// Frames of up to 4 GiB.
    Four,
}

impl Framing {
    /// Whether `frame` is read as one frame when it is written: not a line with a `\n` in it, nor one of JSON that is none.
    pub fn takes(self, frame: &[u8]) -> bool {
        match self {
            Self::Lines => !frame.contains(&b'\n'),
            Self::JsonLines => json::is_valid(frame),
            Self::LengthPrefix(_) | Self::Netstring => true,
        }
    }
}

impl PrefixBytes {
    fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Four => 4,
        }
    }
}

/// The most digits of a length that is looked at: those of 2^32.
const DIGITS: usize = 10;

/// Takes frames out of what a program says.
#[derive(Debug)]
pub(super) struct Decoder {
    framing: Framing,
    limit: usize,
    buffer: Vec<u8>,
    /// Where the next frame begins.
    start: usize,
    /// Up to where there is no line end.
    searched: usize,
}

impl Decoder {
    pub(super) fn new(framing: Framing, limit: usize) -> Self {
        Self { framing, limit, buffer: Vec::new(), start: 0, searched: 0 }
    }

    /// Lends the buffer, to be appended to.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        &mut self.buffer
    }

    /// The next frame, as far as it is there.
    pub(super) fn next(&mut self) -> Result<Option<&[u8]>, PortError> {
        match self.framing {
            Framing::Lines => self.line(),
            Framing::JsonLines => self.line()?.map(checked).transpose(),
            Framing::LengthPrefix(prefix) => self.prefixed(prefix.count()),
            Framing::Netstring => self.netstring(),
        }
    }

    /// What is left at the end.
    pub(super) fn finish(mut self) -> Result<Option<Vec<u8>>, PortError> {
        let rest = self.buffer.split_off(self.start);
        match self.framing {
            _ if rest.is_empty() => Ok(None),
            Framing::Lines => Ok(Some(rest)),
            Framing::JsonLines => checked(rest).map(Some),
            _ => Err(PortError::Truncated),
        }
    }

    fn rest(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    fn line(&mut self) -> Result<Option<&[u8]>, PortError> {
        let unseen = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(end) = memchr(b'\n', unseen) else {
            self.searched = self.buffer.len();
            return if self.rest().len() > self.limit { Err(self.too_long()) } else { Ok(None) };
        };
        let length = self.searched + end - self.start;
        self.searched += end + 1;
        self.take(0, length, 1)
    }

    fn prefixed(&mut self, count: usize) -> Result<Option<&[u8]>, PortError> {
        let Some(prefix) = self.rest().get(..count) else { return Ok(None) };
        let length = prefix.iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte));
        self.take(count, length, 0)
    }

    fn netstring(&mut self) -> Result<Option<&[u8]>, PortError> {
        let rest = self.rest();
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = rest.get(..digits).unwrap_or_default();
        let zero_first = digits > 1 && text.first() == Some(&b'0');
        match rest.get(digits) {
            _ if digits > DIGITS || zero_first => return Err(PortError::Malformed("a netstring's length")),
            None => return Ok(None),
            Some(b':') if digits > 0 => {}
            Some(_) => return Err(PortError::Malformed("a netstring's length")),
        }
        let length =
            text.iter().fold(0, |length: usize, digit| length.saturating_mul(10) + usize::from(digit - b'0'));
        match rest.get(length.saturating_add(digits + 1)) {
            Some(b',') => self.take(digits + 1, length, 1),
            Some(_) => Err(PortError::Malformed("a netstring's end")),
            None if length > self.limit => Err(self.too_long()),
            None => Ok(None),
        }
    }

    /// Takes a frame that has `head` bytes before it and `tail` after it.
    fn take(&mut self, head: usize, length: usize, tail: usize) -> Result<Option<&[u8]>, PortError> {
        if length > self.limit {
            return Err(self.too_long());
        }
        let begin = self.start + head;
        let frame = begin..begin + length;
        if frame.end <= self.buffer.len() {
            self.start = frame.end + tail;
            self.searched = self.searched.max(self.start);
        }
        Ok(self.buffer.get(frame))
    }

    fn too_long(&self) -> PortError {
        PortError::TooLong { limit_bytes: self.limit }
    }
}

fn checked<T: AsRef<[u8]>>(line: T) -> Result<T, PortError> {
    if json::is_valid(line.as_ref()) { Ok(line) } else { Err(PortError::Malformed("a line of JSON")) }
}

/// Appends a frame as a program reads it.
pub(super) fn encode(
    framing: Framing,
    limit: usize,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), PortError> {
    let most = match framing {
        Framing::LengthPrefix(PrefixBytes::One) => limit.min(u8::MAX.into()),
        Framing::LengthPrefix(PrefixBytes::Two) => limit.min(u16::MAX.into()),
        Framing::LengthPrefix(PrefixBytes::Four) => limit.min(u32::MAX as usize),
        _ => limit,
    };
    if frame.len() > most {
        return Err(PortError::TooLong { limit_bytes: most });
    }
    match framing {
        Framing::Lines => {
            out.extend_from_slice(frame);
            out.push(b'\n');
        }
        Framing::JsonLines if !json::is_valid(frame) => return Err(PortError::Malformed("a line of JSON")),
        Framing::JsonLines => {
            out.extend(frame.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
            out.push(b'\n');
        }
        Framing::LengthPrefix(prefix) => {
            let length = (frame.len() as u64).to_be_bytes();
            out.extend(length.iter().skip(length.len() - prefix.count()));
            out.extend_from_slice(frame);
        }
        Framing::Netstring => {
            out.extend(format!("{}:", frame.len()).into_bytes());
            out.extend_from_slice(frame);
            out.push(b',');
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 8;
    const ALL: [Framing; 6] = [
        Framing::Lines,
        Framing::JsonLines,
        Framing::LengthPrefix(PrefixBytes::One),
        Framing::LengthPrefix(PrefixBytes::Two),
        Framing::LengthPrefix(PrefixBytes::Four),
        Framing::Netstring,
    ];

    /// All frames of `bytes`, which come `step` at a time.
    fn decode(framing: Framing, bytes: &[u8], step: usize) -> Result<Vec<Vec<u8>>, PortError> {
        let mut decoder = Decoder::new(framing, LIMIT);
        let mut frames = Vec::new();
        for chunk in bytes.chunks(step) {
            decoder.buffer().extend_from_slice(chunk);
            while let Some(frame) = decoder.next()? {
                frames.push(frame.to_vec());
            }
        }
        frames.extend(decoder.finish()?);
        Ok(frames)
    }

    #[track_caller]
    fn check(framing: Framing, bytes: &[u8], expected: Result<&[&str], &str>) {
        for step in 1..=bytes.len().max(1) {
            let frames = decode(framing, bytes, step);
            let expected =
                expected.map(|frames| frames.iter().map(|frame| frame.as_bytes().to_vec()).collect());
            assert_eq!(
                frames.map_err(|error| error.to_string()),
                expected.map_err(str::to_owned),
                "{step} at a time"
            );
        }
    }

    #[test]
    fn lines() {
        check(Framing::Lines, b"a\n\nbc\n", Ok(&["a", "", "bc"]));
        check(Framing::Lines, b"a\nlast", Ok(&["a", "last"]));
        check(Framing::Lines, b"12345678\n", Ok(&["12345678"]));
        check(Framing::Lines, b"123456789", Err("a frame is longer than 8 bytes"));
        check(Framing::JsonLines, b"[1]\n{}\n\"a\"", Ok(&["[1]", "{}", "\"a\""]));
        check(Framing::JsonLines, b"[1\n", Err("a line of JSON is malformed"));
    }

    #[test]
    fn lengths() {
        let two = Framing::LengthPrefix(PrefixBytes::Two);
        check(two, b"\0\x01a\0\0\0\x02bc", Ok(&["a", "", "bc"]));
        check(two, b"\0\x02b", Err("a frame is cut off"));
        check(two, b"\0", Err("a frame is cut off"));
        check(two, b"\xff\xff", Err("a frame is longer than 8 bytes"));
        check(Framing::Netstring, b"1:a,0:,2:bc,", Ok(&["a", "", "bc"]));
        check(Framing::Netstring, b"1:ab", Err("a netstring's end is malformed"));
        check(Framing::Netstring, b"01:a,", Err("a netstring's length is malformed"));
        check(Framing::Netstring, b":a,", Err("a netstring's length is malformed"));
        check(Framing::Netstring, b"9:", Err("a frame is longer than 8 bytes"));
        check(Framing::Netstring, b"99999999999", Err("a netstring's length is malformed"));
        check(Framing::Netstring, b"5:abc", Err("a frame is cut off"));
    }

    #[test]
    fn what_is_read_as_one_frame() {
        let takes = |framing: Framing| [&b"1"[..], b"1\n2", b"[1,\n2]"].map(|frame| framing.takes(frame));
        assert_eq!(takes(Framing::Lines), [true, false, false]);
        assert_eq!(takes(Framing::JsonLines), [true, false, true], "line ends become spaces");
        assert_eq!(takes(Framing::Netstring), [true; 3]);
    }

    #[test]
    fn what_is_too_long_is_not_written() {
        let written = |framing, length: usize| encode(framing, 70_000, &vec![b'1'; length], &mut Vec::new());
        assert!(written(Framing::LengthPrefix(PrefixBytes::One), 255).is_ok());
        assert!(written(Framing::LengthPrefix(PrefixBytes::One), 256).is_err());
        assert!(written(Framing::LengthPrefix(PrefixBytes::Two), 65_536).is_err());
        assert!(written(Framing::Lines, 70_001).is_err());
        assert!(encode(Framing::JsonLines, 9, b"[", &mut Vec::new()).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(frames in prop::collection::vec("[a-z0-9]{0,8}", 0..9), step in 1_usize..9) {
            for framing in ALL.into_iter().filter(|framing| *framing != Framing::JsonLines) {
                let mut bytes = Vec::new();
                frames.iter().for_each(|frame| encode(framing, LIMIT, frame.as_bytes(), &mut bytes).unwrap());
                let read = decode(framing, &bytes, step).unwrap();
                prop_assert!(read.iter().eq(frames.iter().map(|frame| frame.as_bytes())), "{:?}", framing);
            }
        }

        #[test]
        fn hostile_bytes_end_in_an_error_at_worst(bytes in prop::collection::vec(any::<u8>(), 0..64), step in 1_usize..9) {
            for framing in ALL {
                if let Ok(frames) = decode(framing, &bytes, step) {
                    prop_assert!(frames.iter().all(|frame| frame.len() <= LIMIT));
                }
            }
        }
    }
}
