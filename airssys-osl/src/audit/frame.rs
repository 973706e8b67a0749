//! How records, links and checkpoints follow one another in a file: `u32` length of the body, `u8` kind, body.

use super::{merkle::Hash, note, record, record::Malformed};

/// What precedes a body.
pub(super) const HEADER_BYTES: usize = 5;

/// The longest body: a reader never waits for more than this, whatever a length says.
const MAX_BODY_BYTES: usize = note::MAX_BYTES;
const _: () = assert!(record::MAX_BYTES <= MAX_BODY_BYTES);

const RECORD: u8 = 1;
const CHECKPOINT: u8 = 2;
const LINK: u8 = 3;

/// One frame, still where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame<'a> {
    /// The bytes of a [record](record::Body).
    Record(&'a [u8]),
    /// The text of a signed [checkpoint](super::checkpoint::Checkpoint).
    Checkpoint(&'a str),
    /// The [hash](super::merkle::leaf_hash) of the records since the link before.
    Link(&'a Hash),
}

/// The length of the frame that begins here, its header included; `None` where too little of it is there to tell.
pub(super) fn length(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
    let [a, b, c, d, kind] = *header;
    let body_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
    if body_bytes == 0 || body_bytes > MAX_BODY_BYTES {
        return Err(Malformed("a length that no frame has"));
    }
    if !matches!(kind, RECORD | CHECKPOINT | LINK) {
        return Err(Malformed("a kind that no frame has"));
    }
    Ok(Some(HEADER_BYTES + body_bytes))
}

/// Reads a frame of this [length]: any bytes give a frame or say why they are none.
pub(super) fn parse(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    if length(bytes)? != Some(bytes.len()) {
        return Err(Malformed("another length than its header says"));
    }
    match bytes.split_at_checked(HEADER_BYTES) {
        Some(([.., RECORD], body)) => Ok(Frame::Record(body)),
        Some(([.., LINK], body)) => {
            body.try_into().map(Frame::Link).map_err(|_| Malformed("a link that is no hash"))
        }
        Some((_, body)) => {
            str::from_utf8(body).map(Frame::Checkpoint).map_err(|_| Malformed("a checkpoint that is no text"))
        }
        None => Err(Malformed("no header")),
    }
}

/// Where the first frame begins in bytes from anywhere in a list of checkpoints: a header alone has zeros, which no text has.
pub(super) fn first_checkpoint(bytes: &[u8]) -> Option<usize> {
    bytes.windows(HEADER_BYTES).position(|header| matches!(header, [_, _, 0, 0, CHECKPOINT]))
}

/// Appends the header of a record whose body has this length.
pub(super) fn begin_record(body_bytes: usize, out: &mut Vec<u8>) {
    begin(body_bytes, RECORD, out);
}

/// Appends a checkpoint.
pub(super) fn push_checkpoint(note: &str, out: &mut Vec<u8>) {
    begin(note.len(), CHECKPOINT, out);
    out.extend_from_slice(note.as_bytes());
}

/// Appends a link.
pub(super) fn push_link(hash: &Hash, out: &mut Vec<u8>) {
    begin(hash.len(), LINK, out);
    out.extend_from_slice(hash);
}

fn begin(body_bytes: usize, kind: u8, out: &mut Vec<u8>) {
    debug_assert!(body_bytes <= MAX_BODY_BYTES, "{body_bytes} bytes");
    out.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    out.push(kind);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_follow_one_another() {
        let mut bytes = Vec::new();
        begin_record(3, &mut bytes);
        bytes.extend_from_slice(b"abc");
        push_checkpoint("é\n", &mut bytes);
        push_link(&[7; 32], &mut bytes);
        assert_eq!((length(&bytes), length(&bytes[8..])), (Ok(Some(8)), Ok(Some(8))));
        assert_eq!(parse(&bytes[16..]), Ok(Frame::Link(&[7; 32])));
        assert_eq!(parse(&bytes[..8]), Ok(Frame::Record(b"abc")));
        assert_eq!(parse(&bytes[8..16]), Ok(Frame::Checkpoint("é\n")));
    }

    #[test]
    fn checkpoints_are_found_from_anywhere_among_them() {
        let mut bytes = Vec::new();
        // Lengths with a zero in them, too.
        let lengths = [1, 2, 255, 256, 512, MAX_BODY_BYTES];
        let starts = lengths.map(|length| {
            let start = bytes.len();
            push_checkpoint(&"x".repeat(length), &mut bytes);
            start
        });
        for from in 0..bytes.len() {
            let next = starts.iter().find(|start| **start >= from);
            assert_eq!(first_checkpoint(&bytes[from..]), next.map(|start| start - from), "{from}");
        }
    }

    #[test]
    fn a_frame_ends_where_its_header_says() {
        let mut bytes = Vec::new();
        push_checkpoint("text\n", &mut bytes);
        for end in 0..bytes.len() {
            assert_eq!(
                length(&bytes[..end]),
                Ok((end >= HEADER_BYTES).then_some(bytes.len())),
                "{end} bytes"
            );
            assert!(parse(&bytes[..end]).is_err(), "{end} bytes");
        }
        bytes.push(0);
        assert!(parse(&bytes).is_err());
    }

    #[test]
    fn a_header_that_no_writer_writes_is_refused_without_waiting_for_its_body() {
        for header in [[0, 0, 0, 0, RECORD], [1, 0, 0, 1, RECORD], [255; 5], [1, 0, 0, 0, 0], [1, 0, 0, 0, 4]]
        {
            assert!(length(&header).is_err(), "{header:?}");
        }
        assert!(parse(&[1, 0, 0, 0, CHECKPOINT, 0xff]).is_err());
        assert!(parse(&[1, 0, 0, 0, LINK, 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = (length(&bytes), parse(&bytes));
        }
    }
}
