//! Which trace operations belong to: what stands in their records, so that what one request led to is found by one query.
//!
//! A trace id is the 16 bytes of W3C Trace Context. Who serves a request knows it, and says so around all that the request
//! does; no handle carries it, because a handle outlives requests.
//!
//! ```
//! use airssys_osl::{Os, policy::{Grant, Policy}, testing::MemorySink, trace};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), airssys_osl::Error> {
//! let policy = Policy::builder().principal("api", [Grant::clock()]).build()?;
//! let records = MemorySink::new();
//! let principal = Os::new(policy, records.clone()).principal("api")?;
//!
//! trace::scope([7; 16], async { principal.clock().map(drop) }).await?;
//! assert_eq!(records.take()[0].trace, [7; 16]);
//! # Ok(())
//! # }
//! ```

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::pin,
};

/// No trace: what stands in records that belong to none.
pub const NONE: [u8; 16] = [0; 16];

thread_local! {
    static CURRENT: Cell<[u8; 16]> = const { Cell::new(NONE) };
}

/// Has all that `future` begins belong to `trace`; within, another scope holds for what is in it.
///
/// A task that is spawned within begins without a trace: give it a scope of its own. What was opened within says in the
/// record of its end what it was opened for.
///
/// # Cancel safety
///
/// That of `future`: what is under way keeps its trace in the record that says `cancelled`.
pub async fn scope<F: Future>(trace: [u8; 16], future: F) -> F::Output {
    let mut future = pin!(future);
    // Other tasks run on this thread between two polls.
    poll_fn(|cx| sync_scope(trace, || future.as_mut().poll(cx))).await
}

/// As [`scope`], for what does not wait.
#[inline]
pub fn sync_scope<T>(trace: [u8; 16], work: impl FnOnce() -> T) -> T {
    let _restored = Restored(set(trace));
    work()
}

/// The trace that holds here; [`NONE`] outside of all scopes.
#[inline]
pub fn current() -> [u8; 16] {
    // While the thread ends there is none any more.
    CURRENT.try_with(Cell::get).unwrap_or(NONE)
}

/// Returns the one before.
#[inline]
fn set(trace: [u8; 16]) -> [u8; 16] {
    CURRENT.try_with(|current| current.replace(trace)).unwrap_or(NONE)
}

/// Puts a trace back when it is dropped, after a panic too.
struct Restored([u8; 16]);

impl Drop for Restored {
    #[inline]
    fn drop(&mut self) {
        set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    const ONE: [u8; 16] = [1; 16];
    const TWO: [u8; 16] = [2; 16];

    #[tokio::test]
    async fn two_tasks_of_one_thread_keep_their_own() {
        let task = |trace| async move {
            for _ in 0..3 {
                assert_eq!(current(), trace);
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(scope(ONE, task(ONE)), scope(TWO, task(TWO)), task(NONE));
        assert_eq!(current(), NONE);
    }

    #[test]
    fn the_inner_scope_holds_and_the_outer_comes_back_even_after_a_panic() {
        sync_scope(ONE, || {
            let panicked = catch_unwind(AssertUnwindSafe(|| sync_scope(TWO, || panic!("{:?}", current()))));
            assert!(panicked.is_err());
            assert_eq!(current(), ONE);
        });
        assert_eq!(current(), NONE);
    }
}
