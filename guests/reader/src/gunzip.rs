//! A gzip file (RFC 1952) as it arrives: any number of members, in pieces of any size.

use flate2::{Crc, Decompress, FlushDecompress, Status};

/// The longest header of a member. It holds little more than a file name.
pub(crate) const HEADER_LIMIT_BYTES: usize = 4 * 1024;

/// The least that a member's header has.
const FIXED_HEADER_BYTES: usize = 10;

const TRAILER_BYTES: usize = 8;

/// Decompresses. It keeps its place: the next piece goes on where the last one ended.
pub(crate) struct Gunzip {
    state: State,
    inflate: Decompress,
    crc: Crc,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    FirstHeader,
    Body,
    Trailer,
    /// After a member there may be another one, or padding.
    NextHeader,
}

/// Why the rest cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Corrupt(pub(crate) &'static str);

impl Gunzip {
    pub(crate) fn new() -> Self {
        Self { state: State::FirstHeader, inflate: Decompress::new(false), crc: Crc::new() }
    }

    /// Whether a file that ends here is whole.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.state, State::NextHeader)
    }

    /// Decompresses from `input` into the free capacity of `out`, until one of them is used up. Returns how much of
    /// the input was used; what was not is to be offered again, with what follows.
    pub(crate) fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Corrupt> {
        let mut used = 0;
        loop {
            let rest = input.get(used..).unwrap_or_default();
            let before = (self.state, out.len());
            let step = match self.state {
                State::FirstHeader => self.header(rest)?,
                State::NextHeader if rest.first() == Some(&0) => {
                    rest.iter().take_while(|&&byte| byte == 0).count()
                }
                State::NextHeader => self.header(rest)?,
                State::Body => self.body(rest, out)?,
                State::Trailer => self.trailer(rest)?,
            };
            used += step;
            if step == 0 && before == (self.state, out.len()) {
                return Ok(used);
            }
        }
    }

    fn header(&mut self, input: &[u8]) -> Result<usize, Corrupt> {
        match header_length(input)? {
            None if input.len() >= HEADER_LIMIT_BYTES => Err(Corrupt("the header has no end")),
            None => Ok(0),
            Some(length) => {
                self.state = State::Body;
                self.inflate.reset(false);
                self.crc.reset();
                Ok(length)
            }
        }
    }

    fn body(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<usize, Corrupt> {
        let (used_before, length_before) = (self.inflate.total_in(), out.len());
        let status = self.inflate.decompress_vec(input, out, FlushDecompress::None);
        let status = status.map_err(|_| Corrupt("the compressed data is damaged"))?;
        self.crc.update(out.get(length_before..).unwrap_or_default());
        if status == Status::StreamEnd {
            self.state = State::Trailer;
        }
        usize::try_from(self.inflate.total_in() - used_before).map_err(|_| Corrupt("the piece is too large"))
    }

    fn trailer(&mut self, input: &[u8]) -> Result<usize, Corrupt> {
        let Some((crc, rest)) = input.split_first_chunk() else { return Ok(0) };
        let Some((length, _)) = rest.split_first_chunk() else { return Ok(0) };
        if u32::from_le_bytes(*crc) != self.crc.sum() || u32::from_le_bytes(*length) != self.crc.amount() {
            return Err(Corrupt("the checksum is wrong"));
        }
        self.state = State::NextHeader;
        Ok(TRAILER_BYTES)
    }
}

/// The length of the header that `input` begins with. None where it ends within it.
fn header_length(input: &[u8]) -> Result<Option<usize>, Corrupt> {
    const HAS_CHECKSUM: u8 = 2;
    const HAS_EXTRA: u8 = 4;
    const HAS_NAME: u8 = 8;
    const HAS_COMMENT: u8 = 16;

    let magic = [0x1f, 0x8b, 8];
    if input.iter().zip(&magic).any(|(found, expected)| found != expected) {
        return Err(Corrupt("it is not gzip"));
    }
    let (Some(&flags), Some(mut rest)) = (input.get(3), input.get(FIXED_HEADER_BYTES..)) else {
        return Ok(None);
    };
    if flags & HAS_EXTRA != 0 {
        let Some((length, behind)) = rest.split_first_chunk() else { return Ok(None) };
        let Some(behind) = behind.get(usize::from(u16::from_le_bytes(*length))..) else { return Ok(None) };
        rest = behind;
    }
    for has_text in [HAS_NAME, HAS_COMMENT] {
        if flags & has_text != 0 {
            let Some(end) = rest.iter().position(|&byte| byte == 0) else { return Ok(None) };
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & HAS_CHECKSUM != 0 {
        let Some(behind) = rest.get(2..) else { return Ok(None) };
        rest = behind;
    }
    Ok(Some(input.len() - rest.len()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use flate2::{Compression, GzBuilder};
    use std::io::Write;

    /// A member as gzip writes it.
    pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzBuilder::new().filename("access.log").write(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    /// Text that does not compress well, the same every time.
    pub(crate) fn noise(length: usize) -> Vec<u8> {
        let mut state = 7_u32;
        let step = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 26 == 0 { b'\n' } else { b'!' + (state >> 26) as u8 }
        };
        (0..length).map(step).collect()
    }

    /// All that can be read, offered `piece` bytes at a time into a buffer of `room` bytes.
    fn gunzip(file: &[u8], piece: usize, room: usize) -> (Vec<u8>, Result<bool, Corrupt>) {
        let mut gunzip = Gunzip::new();
        let mut all = Vec::new();
        let (mut start, mut end) = (0, 0);
        loop {
            let mut out = Vec::with_capacity(room);
            let decoded = gunzip.decode(&file[start..end], &mut out);
            all.extend_from_slice(&out);
            match decoded {
                Err(corrupt) => return (all, Err(corrupt)),
                Ok(used) => start += used,
            }
            if out.is_empty() && end == file.len() {
                return (all, Ok(gunzip.is_complete()));
            }
            end = (end + piece).min(file.len());
        }
    }

    #[test]
    fn members_in_pieces_of_any_size() {
        let text = noise(5_000);
        let (head, tail) = text.split_at(2_000);
        let file = [gzip(head), gzip(b""), gzip(tail), vec![0; 700]].concat();
        for (piece, room) in [(file.len(), 10_000), (1, 10_000), (7, 64), (1_000, 64)] {
            let (found, end) = gunzip(&file, piece, room);
            assert_eq!((found == text, end), (true, Ok(true)), "{piece} {room}");
        }
    }

    #[test]
    fn headers_with_everything() {
        let mut encoder = GzBuilder::new()
            .extra([7; 300])
            .filename("a")
            .comment("b")
            .write(Vec::new(), Compression::fast());
        encoder.write_all(b"text").unwrap();
        let file = encoder.finish().unwrap();
        assert_eq!(gunzip(&file, 1, 100), (b"text".to_vec(), Ok(true)));
    }

    #[test]
    fn a_torn_file_is_read_up_to_its_end_and_is_not_complete() {
        let file = gzip(&noise(5_000));
        for length in (0..file.len()).step_by(97) {
            let (_, end) = gunzip(&file[..length], 1_000, 1_000);
            assert_eq!(end, Ok(false), "{length}");
        }
        let (found, _) = gunzip(&file[..file.len() - 1], 1_000, 1_000);
        assert_eq!(found, noise(5_000));
    }

    #[test]
    fn a_damaged_file_is_read_up_to_the_damage() {
        let mut file = gzip(&noise(50_000));
        let last = file.len() - 1;
        file[last - 5] ^= 1;
        let (found, end) = gunzip(&file, 1_000, 1_000);
        assert_eq!((found.len(), end), (50_000, Err(Corrupt("the checksum is wrong"))));
    }

    #[test]
    fn what_is_not_gzip_is_told_so() {
        assert_eq!(gunzip(b"plain", 100, 100).1, Err(Corrupt("it is not gzip")));
        let trailing = [gzip(b"a"), b"garbage".to_vec()].concat();
        assert_eq!(gunzip(&trailing, 100, 100), (b"a".to_vec(), Err(Corrupt("it is not gzip"))));
        let endless = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0][..], &[b'a'; HEADER_LIMIT_BYTES]].concat();
        assert_eq!(gunzip(&endless, 100_000, 100).1, Err(Corrupt("the header has no end")));
    }

    #[test]
    fn a_bomb_fills_the_buffer_and_no_more() {
        let file = gzip(&vec![b'0'; 10_000_000]);
        let mut out = Vec::with_capacity(4_096);
        let capacity = out.capacity();
        Gunzip::new().decode(&file, &mut out).unwrap();
        assert_eq!((out.len(), out.capacity()), (capacity, capacity));
    }
}
