//! Which request something belongs to: a message carries its trace to whoever handles it, and on to what that sends.

use std::{
    cell::Cell,
    hash::{BuildHasher as _, RandomState},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use airssys_osl::trace;

/// The trace that holds here, or a new one where none does.
pub(crate) fn current_or_new() -> [u8; 16] {
    match trace::current() {
        trace::NONE => new(),
        current => current,
    }
}

/// How many numbers a thread takes at a time: taken one by one, each would be fetched from another processor.
const TAKEN: u64 = 1 << 16;

/// Odd, so that no two numbers have the same product: a golden ratio of 64 bits.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

/// Begins a trace: what this run drew once, and a number that it gives once, so that no two of one log are alike.
pub(crate) fn new() -> [u8; 16] {
    static RUN: LazyLock<[u64; 2]> =
        LazyLock::new(|| [0_u8, 1].map(|half| RandomState::new().hash_one(half)));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static LAST: Cell<u64> = const { Cell::new(TAKEN - 1) };
    }
    let number = LAST.with(|last| {
        let mut next = last.get() + 1;
        if next % TAKEN == 0 {
            next = NEXT.fetch_add(TAKEN, Ordering::Relaxed);
        }
        last.set(next);
        next
    });
    let [run, first] = *RUN;
    let spread = first.wrapping_add(number.wrapping_mul(SPREAD));
    (u128::from(run) << 64 | u128::from(spread)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread};

    use super::*;

    #[test]
    fn no_two_are_alike_and_one_goes_on_where_it_holds() {
        let all: HashSet<_> = (0..4)
            .map(|_| thread::spawn(|| (0..2 * TAKEN + 3).map(|_| new()).collect::<Vec<_>>()))
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|thread| thread.join().expect("it counts"))
            .collect();
        assert_eq!(all.len() as u64, 4 * (2 * TAKEN + 3));
        assert_ne!(current_or_new(), trace::NONE);
        assert_eq!(trace::sync_scope([7; 16], current_or_new), [7; 16]);
    }
}
