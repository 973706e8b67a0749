//! What a log says about itself, to be signed: how long it is and what hash stands for all of it.
//!
//! The text is that of <https://c2sp.org/tlog-checkpoint>, followed by what a writer needs to go on from here without
//! reading the log again, and by what it promises:
//!
//! ```text
//! example.org/log                    the origin: the name of the log and of its keys
//! 3                                  the number of leaves
//! <base64>                           the root of their tree
//! records 131                        the number of records
//! time 1795345847000000000           nanoseconds since 1970
//! place 0 731                        the segment and the byte in it where the checkpoint stands
//! last <base64>                      the hash of the last leaf; zeros where there is none
//! frontier <base64> <base64>         the perfect subtrees, from the largest
//! span 1795345840… 1795345847…       the first and the last moment of a record in this segment; at the beginning of a
//!                                    segment, of the one before
//! dropped 100                        the records that retention removed, from the first on
//! next <public key>                  the key that signs from here on; the one that signed this exists no more
//! closed                             the writer stopped in order
//! ```
//!
//! The last four lines are there only where they apply.

use std::{fmt::Write as _, str::Lines};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    chain::Place,
    merkle::{Frontier, Hash},
    note::{Signer, Verifier},
    record::Malformed,
};

/// A log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) origin: Box<str>,
    pub(super) records: u64,
    pub(super) frontier: Frontier,
    pub(super) last: Hash,
    pub(super) place: Place,
    pub(super) terms: Terms,
}

/// What a checkpoint says that does not follow from the records before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) time_ns: u64,
    pub(super) span: Option<Span>,
    pub(super) dropped: u64,
    pub(super) next: Option<Verifier>,
    pub(super) closed: bool,
}

/// The first and the last moment of some records, whatever their order; nanoseconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) first_ns: u64,
    pub(super) last_ns: u64,
}

impl Span {
    /// The span of the same records and one more.
    pub(super) fn with(span: Option<Self>, wall_ns: u64) -> Self {
        let Self { first_ns, last_ns } = span.unwrap_or(Self { first_ns: wall_ns, last_ns: wall_ns });
        Self { first_ns: first_ns.min(wall_ns), last_ns: last_ns.max(wall_ns) }
    }
}

impl Checkpoint {
    pub(super) fn sign(&self, signer: &Signer) -> String {
        signer.sign(&self.to_text())
    }

    /// Reads a note that this key of the log signed.
    pub(super) fn open(note: &str, verifier: &Verifier) -> Result<Self, Malformed> {
        let text = verifier.open(note)?;
        let checkpoint = Self::from_text(text).ok_or(Malformed("other lines than a checkpoint"))?;
        if *checkpoint.origin == *verifier.name() {
            Ok(checkpoint)
        } else {
            Err(Malformed("an origin that is not the name of its key"))
        }
    }

    /// Reads a note whoever signed it: what it says proves nothing.
    pub(super) fn peek(note: &str) -> Option<Self> {
        let (text, _) = note.rsplit_once("\n\n")?;
        Self::from_text(&format!("{text}\n"))
    }

    /// Where a note says that it stands, whoever signed it.
    pub(super) fn peek_place(note: &str) -> Option<Place> {
        let (segment, offset) = numbers(note.lines().nth(5)?.strip_prefix("place ")?)?;
        Some(Place { segment, offset })
    }

    fn to_text(&self) -> String {
        let root = BASE64_STANDARD.encode(self.frontier.root());
        let last = BASE64_STANDARD.encode(self.last);
        let (Place { segment, offset }, terms) = (self.place, &self.terms);
        let mut text = format!("{}\n{}\n{root}\n", self.origin, self.frontier.size());
        // Writing to a string cannot fail.
        let _ = write!(text, "records {}\ntime {}\n", self.records, terms.time_ns);
        let _ = write!(text, "place {segment} {offset}\nlast {last}\nfrontier");
        for peak in self.frontier.peaks() {
            let _ = write!(text, " {}", BASE64_STANDARD.encode(peak));
        }
        text.push('\n');
        if let Some(Span { first_ns, last_ns }) = terms.span {
            let _ = writeln!(text, "span {first_ns} {last_ns}");
        }
        if terms.dropped > 0 {
            let _ = writeln!(text, "dropped {}", terms.dropped);
        }
        if let Some(next) = &terms.next {
            let _ = writeln!(text, "next {}", next.to_text());
        }
        text.push_str(if terms.closed { "closed\n" } else { "" });
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next()?.into();
        let size = lines.next()?.parse().ok()?;
        let _root = lines.next()?;
        let records = field(&mut lines, "records ")?.parse().ok()?;
        let time_ns = field(&mut lines, "time ")?.parse().ok()?;
        let (segment, offset) = numbers(field(&mut lines, "place ")?)?;
        let last = hash(field(&mut lines, "last ")?)?;
        let peaks = field(&mut lines, "frontier")?.split_whitespace().map(hash).collect::<Option<_>>()?;
        let mut terms = Terms { time_ns, ..Terms::default() };
        for line in lines {
            match line.split_once(' ') {
                Some(("span", span)) => {
                    terms.span = numbers(span).map(|(first_ns, last_ns)| Span { first_ns, last_ns });
                }
                Some(("dropped", dropped)) => terms.dropped = dropped.parse().ok()?,
                Some(("next", key)) => terms.next = Some(Verifier::from_text(key).ok()?),
                _ => terms.closed = true,
            }
        }
        let frontier = Frontier::from_parts(size, peaks)?;
        let place = Place { segment, offset };
        let checkpoint = Self { origin, records, frontier, last, place, terms };
        // One spelling for each checkpoint; and the root is that of the frontier.
        (checkpoint.to_text() == text).then_some(checkpoint)
    }
}

fn field<'a>(lines: &mut Lines<'a>, name: &str) -> Option<&'a str> {
    lines.next()?.strip_prefix(name)
}

fn numbers(text: &str) -> Option<(u64, u64)> {
    let (first, second) = text.split_once(' ')?;
    Some((first.parse().ok()?, second.parse().ok()?))
}

fn hash(text: &str) -> Option<Hash> {
    BASE64_STANDARD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle::leaf_hash;

    #[test]
    fn a_checkpoint_reads_back_as_it_was_signed() {
        let signer = Signer::from_seed("example.org/log", &[1; 32]).unwrap();
        for closed in [false, true] {
            for size in [0, 1, 5] {
                let checkpoint = checkpoint(size, closed);
                let note = checkpoint.sign(&signer);
                assert_eq!(Checkpoint::peek_place(&note), Some(checkpoint.place), "{note}");
                assert_eq!(Checkpoint::open(&note, signer.verifier()), Ok(checkpoint), "{note}");
            }
        }
    }

    #[test]
    fn the_first_three_lines_are_those_of_any_transparency_log() {
        let text = checkpoint(0, false).to_text();
        assert!(
            text.starts_with("example.org/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"),
            "{text}"
        );
    }

    #[test]
    fn a_checkpoint_of_the_largest_log_is_a_note() {
        let frontier = Frontier::from_parts(u64::MAX, vec![[0xff; 32]; 64]).unwrap();
        let origin = "x".repeat(crate::audit::note::MAX_NAME_BYTES);
        let signer = Signer::from_seed(&origin, &[1; 32]).unwrap();
        let terms = Terms {
            time_ns: u64::MAX,
            span: Some(Span { first_ns: u64::MAX, last_ns: u64::MAX }),
            dropped: u64::MAX,
            next: Some(signer.verifier().clone()),
            closed: true,
        };
        let checkpoint = Checkpoint {
            origin: origin.into(),
            records: u64::MAX,
            frontier,
            last: [3; 32],
            place: Place { segment: u64::MAX, offset: u64::MAX },
            terms,
        };
        let note = checkpoint.sign(&signer);
        assert_eq!(Checkpoint::open(&note, signer.verifier()), Ok(checkpoint));
    }

    #[test]
    fn a_span_holds_all_moments_though_the_clock_goes_backwards() {
        let span = [5, 9, 2, 7].into_iter().fold(None, |span, wall_ns| Some(Span::with(span, wall_ns)));
        assert_eq!(span, Some(Span { first_ns: 2, last_ns: 9 }));
    }

    #[test]
    fn texts_that_no_writer_writes_are_refused() {
        let text = checkpoint(5, true).to_text();
        assert!(Checkpoint::from_text(&text).is_some());
        let spoilt = [
            text.replace("\n5\n", "\n05\n"),
            text.replace("\n5\n", "\n7\n"),
            text.replace("time ", "time  "),
            text.replace("last ", "least "),
            text.replace("closed", "dropped 0\nclosed"),
            text.replace("closed", "dropped 5\ndropped 5\nclosed"),
            text.replace("span 1 2", "span 1  2"),
            text.replace("closed", "Closed"),
            text.replace("frontier ", "frontier  "),
            text.replace("closed\n", "closed\nmore\n"),
            text.lines().take(7).map(|line| format!("{line}\n")).collect(),
            {
                let root = BASE64_STANDARD.encode(checkpoint(5, true).frontier.root());
                text.replace(&root, &BASE64_STANDARD.encode([0; 32]))
            },
        ];
        for text in spoilt {
            assert_eq!(Checkpoint::from_text(&text), None, "{text}");
        }
    }

    fn checkpoint(size: u8, closed: bool) -> Checkpoint {
        let mut frontier = Frontier::default();
        (0..size).for_each(|leaf| frontier.push(leaf_hash(&[leaf])));
        let terms =
            Terms { time_ns: 4, span: Some(Span { first_ns: 1, last_ns: 2 }), closed, ..Terms::default() };
        Checkpoint {
            origin: "example.org/log".into(),
            records: 7,
            frontier,
            last: [3; 32],
            place: Place { segment: 6, offset: 5 },
            terms,
        }
    }
}
