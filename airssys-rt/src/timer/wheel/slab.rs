//! Where the entries of a wheel are kept: in pieces, so that growing moves nothing and a burst is given back.

use super::Due;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// How many entries are allocated at a time.
const PIECE: usize = 256;

/// How many pieces an emptied wheel keeps: a quarter of a megabyte is not worth to be given back and asked for again.
const KEPT_PIECES: usize = 16;

/// One entry, or a place for one; a cache line.
///
/// INVARIANT: `serial` is zero exactly where `value` is `None`.
#[repr(align(64))]
pub(super) struct Slot<T> {
    pub(super) at: u64,
    serial: u64,
    value: Option<T>,
    /// The next in its bucket; of a free place, the next free place.
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) bucket: u16,
}

/// What an entry leaves behind where it was.
pub(super) struct Gap {
    pub(super) bucket: u16,
    pub(super) next: u32,
    pub(super) previous: u32,
}

/// Names an entry. Once that is gone the key is stale for ever: no other entry has its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    serial: u64,
    index: u32,
    shard: u32,
}

impl Key {
    /// The same key, for whoever has several wheels.
    pub(crate) fn in_shard(self, shard: u32) -> Self {
        Self { shard, ..self }
    }

    pub(crate) fn shard(self) -> u32 {
        self.shard
    }

    pub(super) fn index(self) -> u32 {
        self.index
    }
}

pub(super) struct Slab<T> {
    pieces: Vec<Box<[Slot<T>; PIECE]>>,
    /// The first of the places that were used and are free.
    free: u32,
    /// Where the places begin that are not in use and not in the list of free ones.
    untouched: u32,
    len: u32,
    last_serial: u64,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { pieces: Vec::new(), free: NONE, untouched: 0, len: 0, last_serial: 0 }
    }

    /// Adds an entry that is to be the first of its bucket, before `next`.
    #[inline]
    pub(super) fn insert(&mut self, at: u64, value: T, bucket: u16, next: u32) -> Key {
        let index = if self.free == NONE { self.touch() } else { self.free };
        self.last_serial += 1;
        self.len += 1;
        let serial = self.last_serial;
        if let Some(slot) = slot_mut(&mut self.pieces, index) {
            if self.free == index {
                self.free = slot.next;
            }
            // One by one: as a whole it would be built elsewhere and copied.
            slot.at = at;
            slot.serial = serial;
            slot.value = Some(value);
            slot.next = next;
            slot.previous = NONE;
            slot.bucket = bucket;
        }
        Key { serial, index, shard: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Takes out the entry that a key names, where there still is one.
    #[inline]
    pub(super) fn take(&mut self, key: Key) -> Option<(T, Gap)> {
        let slot = slot_mut(&mut self.pieces, key.index).filter(|slot| slot.serial == key.serial)?;
        let gap = Gap { bucket: slot.bucket, next: slot.next, previous: slot.previous };
        let value = slot.empty(self.free)?;
        self.freed(key.index);
        Some((value, gap))
    }

    /// Takes out the entry at a place, where there is one.
    pub(super) fn remove(&mut self, index: u32) -> Option<Due<T>> {
        let slot = slot_mut(&mut self.pieces, index)?;
        let (at, serial) = (slot.at, slot.serial);
        let value = slot.empty(self.free)?;
        self.freed(index);
        Some(Due { at, serial, value })
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key.index).filter(|slot| slot.serial == key.serial)?.value.as_mut()
    }

    #[inline]
    pub(super) fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.pieces.get(index as usize / PIECE)?.get(index as usize % PIECE)
    }

    #[inline]
    pub(super) fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        slot_mut(&mut self.pieces, index)
    }

    /// Begins to use a place that was never used.
    #[cold]
    fn touch(&mut self) -> u32 {
        let index = self.untouched;
        // An entry is far larger than one byte: memory ends before the numbers do.
        assert!(index < NONE, "four thousand million timers at once");
        if index as usize / PIECE == self.pieces.len() {
            self.pieces.push(Box::new(std::array::from_fn(|_| Slot::free())));
        }
        self.untouched += 1;
        index
    }

    #[inline]
    fn freed(&mut self, index: u32) {
        self.free = index;
        self.len -= 1;
        if self.len == 0 {
            // Nothing refers to a place any more, and serial numbers go on: so all can begin anew.
            (self.free, self.untouched) = (NONE, 0);
            if self.pieces.len() > KEPT_PIECES {
                self.pieces.truncate(KEPT_PIECES);
                self.pieces.shrink_to_fit();
            }
        }
    }
}

#[inline]
fn slot_mut<T>(pieces: &mut [Box<[Slot<T>; PIECE]>], index: u32) -> Option<&mut Slot<T>> {
    pieces.get_mut(index as usize / PIECE)?.get_mut(index as usize % PIECE)
}

impl<T> Slot<T> {
    fn free() -> Self {
        Self { at: 0, serial: 0, value: None, next: NONE, previous: NONE, bucket: 0 }
    }

    #[inline]
    fn empty(&mut self, free: u32) -> Option<T> {
        let value = self.value.take()?;
        self.serial = 0;
        self.next = free;
        Some(value)
    }
}

#[cfg(test)]
impl<T> Slab<T> {
    pub(super) fn capacity(&self) -> usize {
        self.pieces.len() * PIECE
    }
}

#[cfg(test)]
pub(super) fn size_of_entry<T>() -> usize {
    size_of::<Slot<T>>()
}
