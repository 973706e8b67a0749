//! Rules for things with a name: exact ones, and patterns that end in `*`.

use std::collections::hash_map::Entry;

use super::{
    Decision,
    clause::{Clause, Clauses, Collect as _},
    fixed::Fixed,
    when::Moment,
};

/// What is ruled about names of one kind.
#[derive(Debug, Default)]
pub(super) struct Names {
    exact: Fixed<Clauses>,
    /// By what stands before the `*`.
    prefixes: Fixed<Clauses>,
    /// How long those are, the longest first: each is one lookup.
    lengths: Vec<usize>,
}

impl Names {
    /// Adds a clause for the names that `pattern` means, and says whether the same list said so before.
    pub(super) fn add(&mut self, pattern: &str, clause: Clause) -> Result<bool, &'static str> {
        Ok(match pattern.split_once('*') {
            None => put(self.exact.entry(pattern.as_bytes()), clause),
            Some((prefix, "")) => {
                if !self.lengths.contains(&prefix.len()) {
                    self.lengths.push(prefix.len());
                    self.lengths.sort_unstable_by(|one, other| other.cmp(one));
                }
                put(self.prefixes.entry(prefix.as_bytes()), clause)
            }
            Some(_) => return Err("a name has a `*` only at its end"),
        })
    }

    /// Makes everything that was added findable.
    pub(super) fn fix(&mut self) {
        self.exact.fix();
        self.prefixes.fix();
    }

    /// The first that `f` takes of what is ruled about `name`, the exact before the wide.
    pub(super) fn find<'a, T>(
        &'a self,
        name: &str,
        mut f: impl FnMut(&'a Clauses) -> Option<T>,
    ) -> Option<T> {
        if let Some(found) = self.exact.get(name.as_bytes()).and_then(&mut f) {
            return Some(found);
        }
        let prefixes = self.lengths.iter().filter_map(|length| name.get(..*length));
        prefixes.filter_map(|prefix| self.prefixes.get(prefix.as_bytes())).find_map(f)
    }

    /// The first that permits; else what is in the way of the first that would.
    #[inline]
    pub(super) fn permit(&self, name: &str, now: Moment) -> Decision<'_> {
        match self.exact.get(name.as_bytes()).map(|clauses| clauses.permit(now)) {
            Some(decision) if decision.permits() => decision,
            None if self.lengths.is_empty() => Decision::DEFAULT,
            _ => self.permit_wide(name, now),
        }
    }

    fn permit_wide(&self, name: &str, now: Moment) -> Decision<'_> {
        let mut unmet = None;
        let permitted = self.find(name, |clauses| {
            let decision = clauses.permit(now);
            if decision.permits() {
                return Some(decision);
            }
            unmet.get_or_insert(decision);
            None
        });
        permitted.or(unmet).unwrap_or(Decision::DEFAULT)
    }

    /// The names without a `*`, and what is ruled about each.
    pub(super) fn exact(&self) -> impl Iterator<Item = (&str, &Clauses)> {
        // They came as texts.
        self.exact.iter().map(|(name, clauses)| (str::from_utf8(name).unwrap_or_default(), clauses))
    }
}

/// Adds a clause to those of a place, and says whether the same list said so before.
pub(super) fn put<K>(place: Entry<'_, K, Clauses>, clause: Clause) -> bool {
    match place {
        Entry::Occupied(mut known) => known.get_mut().add(clause),
        Entry::Vacant(place) => {
            place.insert(Clauses::new(clause));
            false
        }
    }
}
