//! Where the entries of a wheel are kept: in pieces, so that growing moves nothing and a burst is given back.

use super::Due;

/// No entry.
pub(super) const NONE: u32 = u32::MAX;

/// How many entries are allocated at a time, and kept for ever once one was needed.
const PIECE: u32 = 256;

/// One entry, or a place for one.
///
/// INVARIANT: `serial` is zero exactly where `value` is `None`.
pub(super) struct Slot<T> {
    pub(super) at: u64,
    serial: u64,
    value: Option<T>,
    /// The next in its bucket; of a free place, the next free place.
    pub(super) next: u32,
    pub(super) previous: u32,
    pub(super) bucket: u16,
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
    pieces: Vec<Box<[Slot<T>]>>,
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

    pub(super) fn insert(&mut self, at: u64, value: T) -> Key {
        let index = self.place();
        self.last_serial += 1;
        let serial = self.last_serial;
        if let Some(slot) = self.slot_mut(index) {
            (slot.at, slot.serial, slot.value) = (at, serial, Some(value));
        }
        self.len += 1;
        Key { serial, index, shard: 0 }
    }

    /// Takes an entry out, where there is one.
    pub(super) fn remove(&mut self, index: u32) -> Option<Due<T>> {
        let free = self.free;
        let slot = self.slot_mut(index)?;
        let value = slot.value.take()?;
        let due = Due { at: slot.at, serial: std::mem::take(&mut slot.serial), value };
        slot.next = free;
        self.free = index;
        self.len -= 1;
        if self.len == 0 {
            // Nothing refers to a place any more, and serial numbers go on: so all can begin anew.
            (self.free, self.untouched) = (NONE, 0);
            if self.pieces.len() > 1 {
                self.pieces.truncate(1);
                self.pieces.shrink_to_fit();
            }
        }
        Some(due)
    }

    pub(super) fn get(&self, key: Key) -> Option<&T> {
        self.slot(key.index).filter(|slot| slot.serial == key.serial)?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.slot_mut(key.index).filter(|slot| slot.serial == key.serial)?.value.as_mut()
    }

    pub(super) fn slot(&self, index: u32) -> Option<&Slot<T>> {
        self.pieces.get((index / PIECE) as usize)?.get((index % PIECE) as usize)
    }

    pub(super) fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        self.pieces.get_mut((index / PIECE) as usize)?.get_mut((index % PIECE) as usize)
    }

    /// A place that is free now.
    fn place(&mut self) -> u32 {
        if let Some(slot) = self.slot(self.free) {
            let next = slot.next;
            return std::mem::replace(&mut self.free, next);
        }
        let index = self.untouched;
        // An entry is far larger than one byte: memory ends before the numbers do.
        assert!(index < NONE, "four thousand million timers at once");
        if (index / PIECE) as usize == self.pieces.len() {
            self.pieces.push((0..PIECE).map(|_| Slot::free()).collect());
        }
        self.untouched += 1;
        index
    }
}

impl<T> Slot<T> {
    fn free() -> Self {
        Self { at: 0, serial: 0, value: None, next: NONE, previous: NONE, bucket: 0 }
    }
}

#[cfg(test)]
impl<T> Slab<T> {
    pub(super) fn capacity(&self) -> usize {
        self.pieces.len() * PIECE as usize
    }
}

#[cfg(test)]
pub(super) fn size_of_entry<T>() -> usize {
    size_of::<Slot<T>>()
}
