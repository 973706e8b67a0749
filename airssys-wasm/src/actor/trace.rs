//! Which request something belongs to: a message carries its trace to whoever handles it, and on to what that sends.

use std::{
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

/// Begins a trace: a number under keys of this run, so that no two of one log are alike.
pub(crate) fn new() -> [u8; 16] {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let half = |half: u8| u128::from(KEYS.hash_one((number, half)));
    (half(0) << 64 | half(1)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike_and_one_goes_on_where_it_holds() {
        assert_ne!(new(), new());
        assert_ne!(current_or_new(), trace::NONE);
        assert_eq!(trace::sync_scope([7; 16], current_or_new), [7; 16]);
    }
}
