//! Which actors there are: a slot for each, with its generation and, while the actor can be found, its cell.
//!
//! It is the program's, not a system's, because a mailbox exists before it belongs to any system.

use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::core::{AnyCell, Core};
use crate::actor_ref::ActorId;

/// Slots are allocated so many at a time, and never move.
const BLOCK: usize = 1024;

/// No slot.
const NONE: u32 = u32::MAX;

static TABLE: Mutex<Table> = Mutex::new(Table { blocks: Vec::new(), unused: 0, free: NONE });

struct Table {
    blocks: Vec<Box<[Row; BLOCK]>>,
    /// The first slot that was never used.
    unused: u32,
    /// The slot that was freed last; the others follow from it.
    free: u32,
}

#[derive(Clone, Copy)]
struct Row {
    cell: Option<NonNull<Core>>,
    /// Of the actor that has it, or will have it next.
    generation: u32,
    next_free: u32,
}

// SAFETY: the pointers are only followed under the lock, where whoever frees a cell has taken it out before.
unsafe impl Send for Table {}

/// Claims a slot for a new actor.
pub(super) fn claim() -> ActorId {
    let mut table = table();
    let free = table.free;
    if let Some(slot) = table.slot(free) {
        let (generation, next) = (slot.generation, slot.next_free);
        table.free = next;
        return ActorId::new(free, generation);
    }
    let slot = table.unused;
    // Each claimed slot belongs to something far larger than itself.
    assert!(slot < NONE, "four thousand million actors at once");
    table.unused = slot + 1;
    if slot as usize / BLOCK == table.blocks.len() {
        table.blocks.push(Box::new([Row { cell: None, generation: 0, next_free: NONE }; BLOCK]));
    }
    ActorId::new(slot, 0)
}

/// Makes the cell of `id` one that can be found. It has to [`leave`] before it is freed.
pub(super) fn enter(id: ActorId, cell: NonNull<Core>) {
    if let Some(slot) = table().slot(id.slot()) {
        slot.cell = Some(cell);
    }
}

/// Takes the cell of `id` out, and frees the slot for the next generation.
pub(super) fn leave(id: ActorId) {
    let mut table = table();
    let free = table.free;
    let Some(slot) = table.slot(id.slot()) else { return };
    slot.cell = None;
    // A slot whose generations are used up is retired: better a hole than an id that names two actors.
    if let Some(generation) = id.generation().checked_add(1) {
        slot.generation = generation;
        slot.next_free = free;
        table.free = id.slot();
    }
}

/// The cells that can be found, those in slots from `start` on, at most `limit` slots of them; and where to go on.
pub(crate) fn page(start: u32, limit: u32) -> (Vec<AnyCell>, Option<u32>) {
    let mut table = table();
    let end = start.saturating_add(limit).min(table.unused);
    let cells = (start..end).filter_map(|slot| {
        // SAFETY: the cell is in the table, whose lock we have: it is not freed before it has left.
        table.slot(slot).and_then(|slot| slot.cell).map(|cell| unsafe { AnyCell::from_ptr(cell) })
    });
    (cells.collect(), (end < table.unused).then_some(end))
}

/// The cell of `id`, where it can be found.
pub(crate) fn find(id: ActorId) -> Option<AnyCell> {
    let mut table = table();
    let row = table.slot(id.slot()).filter(|row| row.generation == id.generation())?;
    // SAFETY: as in `page`.
    row.cell.map(|cell| unsafe { AnyCell::from_ptr(cell) })
}

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    fn slot(&mut self, slot: u32) -> Option<&mut Row> {
        self.blocks.get_mut(slot as usize / BLOCK)?.get_mut(slot as usize % BLOCK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_id_is_given_twice() {
        let mut seen = HashSet::new();
        let mut held = Vec::new();
        for round in 0..10_000 {
            let id = claim();
            assert!(seen.insert(id), "{id} in round {round}");
            if round % 3 == 0 {
                held.push(id);
            } else {
                leave(id);
            }
        }
        held.into_iter().for_each(leave);
    }
}
