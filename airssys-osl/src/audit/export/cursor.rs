//! How far a log was sent: which record was the last, and where it stands.
//!
//! A place alone is not enough. A machine that loses power may forget records that were sent, and write others in their
//! place; a folder may hold another log than it did.

use crate::audit::{Record, chain::Place};

/// The longest cursor, in bytes: some numbers, and the first key of a log with its name.
pub(in crate::audit) const BYTES: usize = 512;

/// The last record that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::audit) struct Cursor {
    pub(in crate::audit) place: Place,
    pub(super) sequence: u64,
    wall_ns: u64,
    /// The first key of the log.
    pub(super) log: Box<str>,
}

impl Cursor {
    /// Nothing of a log has arrived yet.
    pub(super) fn before(log: &str) -> Self {
        Self { place: Place::default(), sequence: 0, wall_ns: 0, log: log.into() }
    }

    pub(super) fn at(record: &Record, place: Place, log: &str) -> Self {
        Self { place, sequence: record.sequence(), wall_ns: record.wall_ns(), log: log.into() }
    }

    pub(in crate::audit) fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_suffix('\n')?.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let place = Place { segment: number()?, offset: number()? };
        let (sequence, wall_ns) = (number()?, number()?);
        let log = words.next().filter(|log| !log.is_empty() && !log.contains('\n'))?.into();
        words.next().is_none().then_some(Self { place, sequence, wall_ns, log })
    }

    pub(super) fn to_text(&self) -> String {
        let Self { place: Place { segment, offset }, sequence, wall_ns, log } = self;
        format!("{segment} {offset} {sequence} {wall_ns} {log}\n")
    }

    /// Whether it is this record, which stands at its place.
    pub(super) fn is(&self, record: &Record) -> bool {
        (record.sequence(), record.wall_ns()) == (self.sequence, self.wall_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_as_it_writes_and_nothing_else_is_one() {
        let text = "600 900 607 1795380162318243642 example.org/log+0a0b0c0d+AAAA\n";
        assert_eq!(Cursor::parse(text).map(|cursor| cursor.to_text()).as_deref(), Some(text));
        for text in [
            "",
            "\n",
            "x\n",
            "600 900\n",
            "1 2 1 4\n",
            "1 2 1 4 \n",
            "1 2 1 4 k",
            "1 2 1 4 k k\n",
            "1 2 1 4 k\n\n",
            "1 2 -1 4 k\n",
            "1 2 x 4 k\n",
            " 1 2 1 4 k\n",
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
