//! Many things, each found by a small number.

/// The most that there is room for.
pub(super) const MOST: usize = u32::MAX as usize;

/// How much room an empty one keeps: a crowd is not paid for ever.
const KEPT_CAPACITY: usize = 1024;

/// Keeps things in places that are used again. Two things never have one place at the same time.
pub(super) struct Slab<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The end of the places that were ever used.
    pub(super) fn end(&self) -> usize {
        self.places.len()
    }

    /// The place of the next thing; `None` where there is no room.
    pub(super) fn vacant(&self) -> Option<u32> {
        self.free.last().copied().or_else(|| u32::try_from(self.places.len()).ok())
    }

    /// Puts a thing into the vacant place.
    pub(super) fn push(&mut self, thing: T) {
        match self.free.pop() {
            Some(place) => {
                if let Some(slot) = self.places.get_mut(place as usize) {
                    *slot = Some(thing);
                }
            }
            None => self.places.push(Some(thing)),
        }
    }

    pub(super) fn get_mut(&mut self, place: u32) -> Option<&mut T> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let thing = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        if self.is_empty() {
            self.places.clear();
            self.places.shrink_to(KEPT_CAPACITY);
            self.free.clear();
            self.free.shrink_to(KEPT_CAPACITY);
        }
        Some(thing)
    }

    /// Takes any thing out.
    pub(super) fn pop(&mut self) -> Option<T> {
        loop {
            if let Some(thing) = self.places.pop()? {
                return Some(thing);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_slab_is_a_map_that_chooses_its_keys(steps in prop::collection::vec(any::<Option<u8>>(), 0..200)) {
            let (mut slab, mut model) = (Slab::new(), BTreeMap::new());
            for (thing, step) in steps.into_iter().enumerate() {
                match step {
                    Some(_) => {
                        let place = slab.vacant().unwrap();
                        slab.push(thing);
                        prop_assert_eq!(model.insert(place, thing), None, "one place for two");
                    }
                    None => {
                        let place = model.keys().nth(thing % model.len().max(1)).copied().unwrap_or(7);
                        prop_assert_eq!(slab.remove(place), model.remove(&place));
                    }
                }
                prop_assert_eq!(slab.len(), model.len());
                prop_assert!(slab.iter().eq(model.values()));
            }
        }
    }

    #[test]
    fn a_crowd_is_not_paid_for_ever() {
        let mut slab = Slab::new();
        (0..100_000).for_each(|thing| slab.push(thing));
        (0..100_000).for_each(|place| assert_eq!(slab.remove(place), Some(place)));
        assert!(slab.places.capacity() <= KEPT_CAPACITY && slab.free.capacity() <= KEPT_CAPACITY);
    }
}
