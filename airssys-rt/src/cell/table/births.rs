//! Ids in the order of birth, for simulations.
//!
//! A slot that was freed last is used again first, and what else the program does frees slots in between. So which of
//! two actors has the smaller id, and comes first where ids are an order, would be left to chance.

use std::cell::RefCell;
use std::marker::PhantomData;

use super::Table;
use crate::actor_ref::ActorId;

/// How many slots are reserved at a time: more actors than most simulations have.
const RESERVE: usize = 128;

/// How many of the free slots are looked at to find some that come after the last one.
const SEARCH: usize = 1024;

thread_local! {
    static RESERVED: RefCell<Option<Reserved>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Reserved {
    /// Free slots after all that were claimed, the first one last.
    slots: Vec<u32>,
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
        let mut table = super::table();
        reserved.slots.into_iter().for_each(|slot| table.free(slot));
    }
}

impl Table {
    /// Claims the next slot, on a thread where ids are in the order of birth.
    pub(super) fn claim_in_order(&mut self) -> Option<ActorId> {
        let mut claim = |reserved: &mut Option<Reserved>| {
            let reserved = reserved.as_mut()?;
            if reserved.slots.is_empty() {
                reserved.slots = self.reserve(reserved.last);
            }
            reserved.last = reserved.slots.pop();
            let slot = reserved.last?;
            Some(ActorId::new(slot, self.slot(slot)?.generation))
        };
        RESERVED.try_with(|reserved| claim(&mut reserved.borrow_mut())).ok().flatten()
    }

    fn reserve(&mut self, last: Option<u32>) -> Vec<u32> {
        let found = (0..SEARCH).map_while(|_| {
            let free = self.free;
            self.free = self.slot(free)?.next_free;
            Some(free)
        });
        let found: Vec<u32> = found.collect();
        let (mut slots, before): (Vec<u32>, Vec<u32>) =
            found.into_iter().partition(|slot| last.is_none_or(|last| *slot > last));
        before.into_iter().for_each(|slot| self.free(slot));
        slots.sort_unstable();
        slots.split_off(slots.len().min(RESERVE)).into_iter().for_each(|slot| self.free(slot));
        // A slot that was never used comes after all others.
        slots.extend((slots.len()..RESERVE).map(|_| self.unused()));
        slots.reverse();
        slots
    }

    fn free(&mut self, slot: u32) {
        let next_free = std::mem::replace(&mut self.free, slot);
        if let Some(row) = self.slot(slot) {
            row.next_free = next_free;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{claim, leave};
    use super::*;

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
