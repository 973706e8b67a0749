//! Ids in the order of birth, for simulations.
//!
//! A row that was freed last is used again first, and what else the program does frees rows in between. So which of
//! two actors has the smaller id, and comes first where ids are an order, would be left to chance. A thread has all of
//! its actors in one table, so there the order of rows is that of ids.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::{Table, own_table, table};

/// How many rows are reserved at a time: more actors than most simulations have.
const RESERVE: usize = 128;

/// How many of the free rows are looked at to find some that come after the last one.
const SEARCH: usize = 1024;

thread_local! {
    static RESERVED: RefCell<Option<Reserved>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Reserved {
    /// Free rows after all that were claimed, the first one last.
    rows: Vec<u32>,
    last: Option<u32>,
}

/// While it lives, each actor of this thread gets a larger id than those before.
pub(crate) struct Births {
    outer: Option<Reserved>,
    of_this_thread: PhantomData<*const ()>,
}

impl Births {
    pub(crate) fn in_order() -> Self {
        Self { outer: RESERVED.replace(Some(Reserved::default())), of_this_thread: PhantomData }
    }
}

impl Drop for Births {
    fn drop(&mut self) {
        let Some(reserved) = RESERVED.replace(self.outer.take()) else { return };
        let mut table = table(own_table());
        reserved.rows.into_iter().for_each(|index| table.free(index));
    }
}

impl Table {
    /// Claims the next row of this thread's own table, where its ids are in the order of birth.
    pub(super) fn claim_in_order(&mut self) -> Option<(u32, u32)> {
        let mut claim = |reserved: &mut Option<Reserved>| {
            let reserved = reserved.as_mut()?;
            if reserved.rows.is_empty() {
                reserved.rows = self.reserve(reserved.last);
            }
            reserved.last = reserved.rows.pop();
            let index = reserved.last?;
            Some((index, self.row(index)?.generation))
        };
        RESERVED.try_with(|reserved| claim(&mut reserved.borrow_mut())).ok().flatten()
    }

    fn reserve(&mut self, last: Option<u32>) -> Vec<u32> {
        let found = (0..SEARCH).map_while(|_| {
            let free = self.free;
            self.free = self.row(free)?.next_free;
            Some(free)
        });
        let found: Vec<u32> = found.collect();
        let (mut rows, before): (Vec<u32>, Vec<u32>) =
            found.into_iter().partition(|index| last.is_none_or(|last| *index > last));
        before.into_iter().for_each(|index| self.free(index));
        rows.sort_unstable();
        rows.split_off(rows.len().min(RESERVE)).into_iter().for_each(|index| self.free(index));
        // A row that was never used comes after all others.
        rows.extend((rows.len()..RESERVE).map(|_| self.unused()));
        rows.reverse();
        rows
    }

    fn free(&mut self, index: u32) {
        let next_free = std::mem::replace(&mut self.free, index);
        if let Some(row) = self.row(index) {
            row.next_free = next_free;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{TABLES, leave};
    use super::*;
    use crate::actor_ref::ActorId;

    fn claim() -> ActorId {
        let number = own_table();
        let claimed = table(number).claim_in_order();
        let (index, generation) = claimed.expect("in order");
        ActorId::new(index * TABLES + number, generation)
    }

    #[test]
    fn ids_are_in_the_order_of_birth() {
        for _ in 0..3 {
            let births = Births::in_order();
            let ids: Vec<ActorId> = (0..3_000)
                .map(|n| {
                    let id = claim();
                    if n % 2 == 0 {
                        leave(id);
                    }
                    id
                })
                .collect();
            assert!(ids.is_sorted_by(|one, next| one < next));
            drop(births);
            ids.into_iter().skip(1).step_by(2).for_each(leave);
        }
    }
}
