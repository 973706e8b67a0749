//! Which children a failure concerns.

use std::ops::RangeInclusive;

use super::children::Key;

/// Which children are restarted when one fails: `strategy` in OTP's supervisor flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// That one. For children that do not depend on each other.
    OneForOne,
    /// All. For children that all depend on each other.
    OneForAll,
    /// That one and those started after it. For children that depend on the ones before them.
    RestForOne,
}

impl Strategy {
    /// Returns the children, by their keys, that stop and start again when `failed` exits.
    ///
    /// Stop them from the end of the range, start them from its beginning (as Erlang/OTP `supervisor` does).
    pub(super) fn restart_set(self, failed: Key) -> RangeInclusive<Key> {
        match self {
            Self::OneForOne => failed..=failed,
            Self::RestForOne => failed..=Key::MAX,
            Self::OneForAll => 0..=Key::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Strategy::{self, OneForAll, OneForOne, RestForOne};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn restart_set_is_what_the_strategy_says(child in any::<u64>(), failed in any::<u64>()) {
            let concerned = |strategy: Strategy| strategy.restart_set(failed).contains(&child);
            prop_assert_eq!(concerned(OneForOne), child == failed);
            prop_assert_eq!(concerned(RestForOne), child >= failed);
            prop_assert!(concerned(OneForAll));
        }
    }
}
