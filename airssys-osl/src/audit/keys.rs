//! The keys of a log, one after the other: each was named and signed by the one before, which exists no more.
//!
//! A checkpoint that names the next key is a hand-over. Whoever steals the key of today cannot sign anything for the time
//! before its hand-over: that has in it, signed by a key that is gone, the root of all records until then.

use super::{checkpoint::Checkpoint, note::Verifier, record::Malformed};

/// The keys of a log that are known. Who verifies a log knows all of them; who goes on writing one, the last few: what their first
/// hand-over says is then believed.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    first: Verifier,
    hand_overs: Vec<Checkpoint>,
}

impl Keys {
    pub(super) fn new(first: Verifier) -> Self {
        Self { first, hand_overs: Vec::new() }
    }

    /// Adds the note of a hand-over, which the last key has to have signed.
    pub(super) fn push(&mut self, note: &str) -> Result<(), Malformed> {
        let hand_over = Checkpoint::open(note, self.last())?;
        if hand_over.terms.next.is_none() {
            return Err(Malformed("a checkpoint that names no key"));
        }
        if self.hand_overs.last().is_some_and(|before| before.place >= hand_over.place) {
            return Err(Malformed("hand-overs in another order than they were made"));
        }
        self.hand_overs.push(hand_over);
        Ok(())
    }

    /// Forgets the hand-overs behind so many.
    pub(super) fn truncate(&mut self, hand_overs: usize) {
        self.hand_overs.truncate(hand_overs);
    }

    /// The key of so many hand-overs.
    pub(super) fn key(&self, hand_overs: usize) -> Option<&Verifier> {
        match hand_overs.checked_sub(1) {
            None => Some(&self.first),
            Some(index) => self.hand_overs.get(index)?.terms.next.as_ref(),
        }
    }

    /// The newest key.
    pub(super) fn last(&self) -> &Verifier {
        self.key(self.hand_overs.len()).unwrap_or(&self.first)
    }

    /// The number of hand-overs.
    pub(super) fn len(&self) -> usize {
        self.hand_overs.len()
    }

    /// The hand-over that leads to the key of so many.
    pub(super) fn hand_over(&self, number: usize) -> Option<&Checkpoint> {
        self.hand_overs.get(number)
    }

    /// How many hand-overs stand in segments before this one.
    pub(super) fn before_segment(&self, segment: u64) -> usize {
        self.hand_overs.partition_point(|hand_over| hand_over.place.segment < segment)
    }

    /// How many hand-overs stand before the checkpoint of this place.
    pub(super) fn before(&self, checkpoint: &Checkpoint) -> usize {
        self.hand_overs.partition_point(|hand_over| hand_over.place < checkpoint.place)
    }

    /// Reads a checkpoint that one of the keys signed: the one whose time it was.
    pub(super) fn open(&self, note: &str) -> Result<Checkpoint, Malformed> {
        let mut keys = (0..=self.len()).rev().filter_map(|number| Some((number, self.key(number)?)));
        let (number, key) =
            keys.find(|(_, key)| key.is_named_in(note)).ok_or(Malformed("no signature of the log's key"))?;
        let checkpoint = Checkpoint::open(note, key)?;
        if self.before(&checkpoint) == number {
            Ok(checkpoint)
        } else {
            Err(Malformed("a signature of a key of another time"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{
        chain::{Chain, Place},
        checkpoint::Terms,
        note::Signer,
    };

    #[test]
    fn each_key_signs_its_own_time() {
        let [first, second, third] = [1, 2, 3].map(|seed| Signer::from_seed("log", &[seed; 32]).unwrap());
        let mut keys = Keys::new(first.verifier().clone());
        // Only the key of today may name that of tomorrow.
        assert!(keys.push(&note(&second, 10, Some(&third))).is_err());
        assert!(keys.push(&note(&first, 10, None)).is_err());
        keys.push(&note(&first, 10, Some(&second))).unwrap();
        assert!(keys.push(&note(&first, 20, Some(&third))).is_err());
        assert!(keys.push(&note(&second, 10, Some(&third))).is_err());
        keys.push(&note(&second, 20, Some(&third))).unwrap();
        assert_eq!((keys.len(), keys.last()), (2, third.verifier()));

        for (signer, offset) in [(&first, 5), (&first, 10), (&second, 15), (&second, 20), (&third, 25)] {
            assert_eq!(keys.open(&note(signer, offset, None)).unwrap().place.offset, offset);
        }
        for (signer, offset) in [(&second, 5), (&third, 5), (&third, 15), (&first, 15), (&first, 25)] {
            let expected = Malformed("a signature of a key of another time");
            assert_eq!(keys.open(&note(signer, offset, None)), Err(expected), "{offset}");
        }
        let stranger = Signer::from_seed("log", &[4; 32]).unwrap();
        assert_eq!(keys.open(&note(&stranger, 25, None)), Err(Malformed("no signature of the log's key")));
    }

    fn note(signer: &Signer, offset: u64, next: Option<&Signer>) -> String {
        let terms = Terms { next: next.map(|next| next.verifier().clone()), ..Terms::default() };
        Chain::default().checkpoint("log", Place { segment: 0, offset }, terms).sign(signer)
    }
}
