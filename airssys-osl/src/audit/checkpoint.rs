//! What a log says about itself, to be signed: how long it is and what hash stands for all of it.
//!
//! The text is that of <https://c2sp.org/tlog-checkpoint>, followed by what a writer needs to go on from here without
//! reading the log again:
//!
//! ```text
//! example.org/log                    the origin: the name of the log and of its key
//! 3                                  the number of records
//! <base64>                           the root of their tree
//! time 1795345847000000000           nanoseconds since 1970
//! offset 731                         where in the file the checkpoint stands
//! last <base64>                      the leaf hash of the last record; zeros where there is none
//! frontier <base64> <base64>         the perfect subtrees, from the largest
//! closed                             only where the writer stopped in order
//! ```

use std::{fmt::Write as _, str::Lines};

use base64::{Engine, prelude::BASE64_STANDARD};

use super::{
    merkle::{Frontier, Hash},
    note::{Signer, Verifier},
    record::Malformed,
};

/// A log at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) origin: Box<str>,
    pub(super) frontier: Frontier,
    pub(super) last: Hash,
    pub(super) time_ns: u64,
    pub(super) offset: u64,
    pub(super) closed: bool,
}

impl Checkpoint {
    pub(super) fn sign(&self, signer: &Signer) -> String {
        signer.sign(&self.to_text())
    }

    /// Reads a note that the log's key signed.
    pub(super) fn open(note: &str, verifier: &Verifier) -> Result<Self, Malformed> {
        let text = verifier.open(note)?;
        let checkpoint = Self::from_text(text).ok_or(Malformed("other lines than a checkpoint"))?;
        if *checkpoint.origin == *verifier.name() {
            Ok(checkpoint)
        } else {
            Err(Malformed("an origin that is not the name of its key"))
        }
    }

    /// The number of records before it.
    pub(super) fn size(&self) -> u64 {
        self.frontier.size()
    }

    fn to_text(&self) -> String {
        let root = BASE64_STANDARD.encode(self.frontier.root());
        let mut text = format!("{}\n{}\n{root}\n", self.origin, self.size());
        let last = BASE64_STANDARD.encode(self.last);
        // Writing to a string cannot fail.
        let _ = write!(text, "time {}\noffset {}\nlast {last}\nfrontier", self.time_ns, self.offset);
        for peak in self.frontier.peaks() {
            let _ = write!(text, " {}", BASE64_STANDARD.encode(peak));
        }
        text.push_str(if self.closed { "\nclosed\n" } else { "\n" });
        text
    }

    fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let origin = lines.next()?.into();
        let size = lines.next()?.parse().ok()?;
        let _root = lines.next()?;
        let time_ns = field(&mut lines, "time ")?.parse().ok()?;
        let offset = field(&mut lines, "offset ")?.parse().ok()?;
        let last = hash(field(&mut lines, "last ")?)?;
        let peaks = field(&mut lines, "frontier")?.split_whitespace().map(hash).collect::<Option<_>>()?;
        let closed = lines.next().is_some();
        let frontier = Frontier::from_parts(size, peaks)?;
        let checkpoint = Self { origin, frontier, last, time_ns, offset, closed };
        // One spelling for each checkpoint; and the root is that of the frontier.
        (checkpoint.to_text() == text).then_some(checkpoint)
    }
}

fn field<'a>(lines: &mut Lines<'a>, name: &str) -> Option<&'a str> {
    lines.next()?.strip_prefix(name)
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
        let checkpoint = Checkpoint {
            origin: origin.into(),
            frontier,
            time_ns: u64::MAX,
            offset: u64::MAX,
            ..checkpoint(0, true)
        };
        let note = checkpoint.sign(&signer);
        assert_eq!(Checkpoint::open(&note, signer.verifier()), Ok(checkpoint));
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
            text.replace("closed", "Closed"),
            text.replace("frontier ", "frontier  "),
            text.replace("closed\n", "closed\nmore\n"),
            text.lines().take(6).map(|line| format!("{line}\n")).collect(),
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
        let origin = "example.org/log".into();
        Checkpoint { origin, frontier, last: [3; 32], time_ns: 4, offset: 5, closed }
    }
}
