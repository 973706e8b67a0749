//! What has to hold of the proxy's readers, whatever a program sends: asked by property tests, and by `fuzz/` of more bytes.

use super::egress::{
    chunks::Chunks,
    head::{Body, Request, parse},
};

/// Gives the proxy a head, and looks at what it would send on: one request, for the host that was decided about, whose body
/// ends where the proxy thinks.
///
/// # Errors
///
/// What is wrong with it, which is a mistake of the proxy's.
pub fn egress_head(bytes: &[u8]) -> Result<(), &'static str> {
    let Ok(Request::Forward(forward)) = parse(bytes) else { return Ok(()) };
    let text = str::from_utf8(&forward.head).map_err(|_| "it sends on what is no text")?;
    let head = text.strip_suffix("\r\n\r\n").ok_or("what it sends on has no end")?;
    let lines: Vec<&str> = head.split("\r\n").collect();
    if lines.iter().any(|line| line.is_empty() || line.contains(['\r', '\n', '\0'])) {
        return Err("it sends on more than one head, or a line that is two");
    }
    let values = |name: &str| {
        let fields = lines.iter().skip(1).filter_map(|line| line.split_once(": "));
        fields
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .collect::<Vec<_>>()
    };
    if values("host") != [forward.authority] {
        return Err("it sends on another host than the one that was decided about");
    }
    let (lengths, encodings) = (values("content-length"), values("transfer-encoding"));
    let is_read_alike = match forward.body {
        Body::Chunks => lengths.is_empty() && encodings.len() == 1,
        Body::Bytes(0) if lengths.is_empty() => encodings.is_empty(),
        Body::Bytes(length) => {
            encodings.is_empty()
                && lengths.len() == 1
                && lengths.iter().all(|text| text.parse() == Ok(length))
        }
    };
    if is_read_alike { Ok(()) } else { Err("the body ends elsewhere for the server") }
}

/// Gives the proxy a body in chunks, whole and in pieces of `piece` bytes: it must end at the same place.
///
/// # Errors
///
/// That it does not, which is a mistake of the proxy's.
pub fn egress_chunks(bytes: &[u8], piece: usize) -> Result<(), &'static str> {
    let whole = end(std::iter::once(bytes));
    if whole.is_some_and(|end| !bytes.get(..end).is_some_and(|body| body.ends_with(b"\r\n"))) {
        return Err("it ends where no chunk does");
    }
    if whole == end(bytes.chunks(piece.max(1))) { Ok(()) } else { Err("pieces end elsewhere") }
}

/// How much of a body there is; `None` where it is none, or is not over.
fn end<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Option<usize> {
    let mut chunks = Chunks::default();
    let taken = pieces.try_fold(0, |all, piece| Some(all + chunks.take(piece)?));
    taken.filter(|_| chunks.is_over())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pieces of heads and bodies, whose joints are where mistakes are.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: &[&str] = &[
            "GET http://a.b/ HTTP/1.1\r\n",
            "POST http://a.b:81?x HTTP/1.1\r\n",
            "CONNECT a.b:443 HTTP/1.1\r\n",
            "Host: a.b\r\n",
            "Host: c.d\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Connection: x, content-length\r\n",
            "\r\n",
            "\r",
            "\n",
            " ",
            ":",
            "\0",
            "3\r\nabc\r\n",
            "0\r\n\r\n",
            "a;x=y\r\n0123456789\r\n",
            "\u{85}",
        ];
        let one = prop_oneof![
            8 => prop::sample::select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(one, 0..9).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

        #[test]
        fn what_goes_on_is_one_request_to_the_host_that_was_decided(head in pieces()) {
            prop_assert_eq!(egress_head(&head), Ok(()));
        }

        #[test]
        fn a_body_ends_at_one_place_however_it_comes(body in pieces(), piece in 1_usize..9) {
            prop_assert_eq!(egress_chunks(&body, piece), Ok(()));
        }
    }

    #[test]
    fn mistakes_would_be_seen() {
        // What is asked is asked of something: most heads of these are read.
        assert_eq!(
            egress_head(b"GET http://a.b/ HTTP/1.1\r\nHost: a.b\r\nContent-Length: 5\r\n\r\n"),
            Ok(())
        );
        assert_eq!(egress_chunks(b"3\r\nabc\r\n0\r\n\r\nmore", 2), Ok(()));
    }
}
