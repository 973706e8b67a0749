//! Which children a failure concerns.

use std::ops::Range;

/// Which children are restarted when one fails.
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
    /// Returns the children, by start order, that stop and start again when `failed` exits.
    ///
    /// Stop them from the end of the range, start them from its beginning (as Erlang/OTP `supervisor` does).
    pub(crate) fn restart_set(self, failed: usize, children: usize) -> Range<usize> {
        assert!(failed < children, "child {failed} of {children}");
        match self {
            Self::OneForOne => failed..failed + 1,
            Self::RestForOne => failed..children,
            Self::OneForAll => 0..children,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Strategy::{self, OneForAll, OneForOne, RestForOne};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn restart_set_is_what_the_strategy_says(children in 1..50_usize, failed in any::<prop::sample::Index>()) {
            let failed = failed.index(children);
            let concerned = |strategy: Strategy| strategy.restart_set(failed, children).collect::<Vec<_>>();
            let where_true = |rule: &dyn Fn(usize) -> bool| (0..children).filter(|&i| rule(i)).collect::<Vec<_>>();
            prop_assert_eq!(concerned(OneForOne), where_true(&|child| child == failed));
            prop_assert_eq!(concerned(RestForOne), where_true(&|child| child >= failed));
            prop_assert_eq!(concerned(OneForAll), where_true(&|_| true));
        }
    }
}
