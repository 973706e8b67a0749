//! Which actors there are: a slot for each, with its generation and, while the actor can be found, its cell.
//!
//! It is the program's, not a system's, because a mailbox exists before it belongs to any system.

use std::ptr::NonNull;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};

use super::core::{AnyCell, Core};
use super::sync::{Mutex, MutexGuard};
use crate::actor_ref::ActorId;
use crate::system;

/// Slots are allocated so many at a time, and never move.
const BLOCK: usize = if cfg!(airssys_loom) { 4 } else { 1024 };

/// No slot.
const NONE: u32 = u32::MAX;

/// Each thread enters cells into one of so many tables, so that threads seldom meet at a lock. A power of two: the
/// lowest bits of a slot tell its table.
const TABLES: u32 = if cfg!(airssys_loom) { 1 } else { 16 };

/// Two cache lines apart, because processors fetch them in pairs.
#[repr(align(128))]
struct Padded(Mutex<Table>);

#[cfg(not(airssys_loom))]
static ALL: [Padded; TABLES as usize] = [const { Padded(Mutex::new(Table::EMPTY)) }; TABLES as usize];

#[cfg(airssys_loom)]
loom::lazy_static! {
    static ref ALL: [Padded; 1] = [Padded(Mutex::new(Table::EMPTY))];
}

struct Table {
    blocks: Vec<Box<[Row; BLOCK]>>,
    /// The first row that was never used.
    unused: u32,
    /// The row that was freed last; the others follow from it.
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

/// Gives a new cell a slot, and so an id, which `tell` is told before anybody can find the cell. It has to
/// [`leave`] before it is freed.
pub(super) fn enter(cell: NonNull<Core>, tell: impl FnOnce(ActorId)) -> ActorId {
    let number = own_table();
    let mut table = table(number);
    #[cfg(feature = "testing")]
    let (index, generation) = table.claim_in_order().unwrap_or_else(|| table.claim());
    #[cfg(not(feature = "testing"))]
    let (index, generation) = table.claim();
    let id = ActorId::new(index * TABLES + number, generation);
    tell(id);
    if let Some(row) = table.row(index) {
        row.cell = Some(cell);
    }
    id
}

/// Takes the cell of `id` out, and frees the slot for the next generation.
pub(super) fn leave(id: ActorId) {
    let mut table = table(id.slot() % TABLES);
    let (index, free) = (id.slot() / TABLES, table.free);
    let Some(row) = table.row(index) else { return };
    row.cell = None;
    // A slot whose generations are used up is retired: better a hole than an id that names two actors.
    if let Some(generation) = id.generation().checked_add(1) {
        row.generation = generation;
        row.next_free = free;
        table.free = index;
    }
}

/// The cells that can be found and whose system is `ours`, in `limit` slots from `start` on; and where to go on.
///
/// Those of others are not held, not even for a moment: their system could not end meanwhile.
pub(crate) fn page(
    start: u32,
    limit: u32,
    ours: impl Fn(Option<&system::Inner>) -> bool,
) -> (Vec<AnyCell>, Option<u32>) {
    let (number, first) = (start % TABLES, start / TABLES);
    let mut table = table(number);
    let end = first.saturating_add(limit).min(table.unused);
    let cells = (first..end).filter_map(|index| {
        let cell = table.row(index).and_then(|row| row.cell)?;
        // SAFETY: the cell is in the table, whose lock we have: it is not freed before it has left.
        if !ours(unsafe { cell.as_ref() }.system()) {
            return None;
        }
        // One whose last reference has been dropped is about to leave.
        // SAFETY: as above.
        unsafe { AnyCell::upgrade(cell) }
    });
    let cells = cells.collect();
    // Then the next table, from its beginning.
    let next = match number + 1 {
        _ if end < table.unused => Some(end * TABLES + number),
        TABLES => None,
        next => Some(next),
    };
    (cells, next)
}

/// The cell of `id`, where it can be found.
pub(crate) fn find(id: ActorId) -> Option<AnyCell> {
    let mut table = table(id.slot() % TABLES);
    let row = table.row(id.slot() / TABLES).filter(|row| row.generation == id.generation())?;
    // SAFETY: as in `page`.
    row.cell.and_then(|cell| unsafe { AnyCell::upgrade(cell) })
}

/// How many cells can be found.
#[cfg(all(test, airssys_loom))]
pub(super) fn count() -> usize {
    let rows = |table: &Table| {
        table.blocks.iter().flat_map(|rows| rows.iter()).filter(|row| row.cell.is_some()).count()
    };
    (0..TABLES).map(|number| rows(&table(number))).sum()
}

/// The table of this thread.
fn own_table() -> u32 {
    static THREADS: AtomicU32 = AtomicU32::new(0);
    thread_local! {
        static NUMBER: u32 = THREADS.fetch_add(1, Ordering::Relaxed) % TABLES;
    }
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

fn table(number: u32) -> MutexGuard<'static, Table> {
    let all: &[Padded; TABLES as usize] = &ALL;
    let [first, ..] = all;
    all.get(number as usize).unwrap_or(first).0.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    const EMPTY: Self = Self { blocks: Vec::new(), unused: 0, free: NONE };

    fn claim(&mut self) -> (u32, u32) {
        let free = self.free;
        if let Some(row) = self.row(free) {
            let (generation, next) = (row.generation, row.next_free);
            self.free = next;
            return (free, generation);
        }
        (self.unused(), 0)
    }

    fn row(&mut self, index: u32) -> Option<&mut Row> {
        self.blocks.get_mut(index as usize / BLOCK)?.get_mut(index as usize % BLOCK)
    }

    /// Claims a row that was never used.
    fn unused(&mut self) -> u32 {
        let index = self.unused;
        // Each claimed row belongs to something far larger than itself.
        assert!(index < NONE / TABLES, "four thousand million actors at once");
        self.unused = index + 1;
        if index as usize / BLOCK == self.blocks.len() {
            self.blocks.push(Box::new([Row { cell: None, generation: 0, next_free: NONE }; BLOCK]));
        }
        index
    }
}

#[cfg(feature = "testing")]
mod births;
#[cfg(feature = "testing")]
pub(crate) use births::Births;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_id_is_given_twice() {
        let mut seen = HashSet::new();
        let mut held = Vec::new();
        for round in 0..10_000 {
            let id = {
                let (index, generation) = table(7).claim();
                ActorId::new(index * TABLES + 7, generation)
            };
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
