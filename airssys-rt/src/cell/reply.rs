//! The place of one answer: written once by whoever answers, taken once by the caller.
//!
//! Each of the two lets go of the place by one last write, and whoever comes second frees it. So an answer that is
//! there before the caller looks costs one write, and no count of references.

use std::cell::{self, UnsafeCell};
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll, Waker, ready};

use tokio::task::coop;

use super::sync::{AtomicU32, Cell, Ordering};
use crate::exit::quietly;

/// The caller need not wait any more.
const OVER: u32 = 1;
/// There is a value, which is the caller's. With `OVER`.
const ANSWERED: u32 = 1 << 1;
/// There is a waker. It is the caller's, from `OVER` on the answerer's.
const WAITS: u32 = 1 << 2;
/// The answerer does not touch the place any more.
const LEFT: u32 = 1 << 3;
/// The caller does not touch the place any more.
const GONE: u32 = 1 << 4;

/// Of so many answers, one counts against the budget of the task. Most that are there at once are those of quick actors
/// that the caller has run itself, and to let other tasks run costs as much as many of them.
const COUNTED: u8 = 4;

thread_local! {
    /// How many answers were there on this thread.
    static ANSWERS: cell::Cell<u8> = const { cell::Cell::new(0) };
}

struct Place<T> {
    state: AtomicU32,
    waker: Slot<Waker>,
    value: Slot<T>,
    /// For loom to see that it is freed, once.
    #[cfg(airssys_loom)]
    _freed: loom::alloc::Track<()>,
}

/// Room for a value, for one who knows whether it is there.
struct Slot<T> {
    value: UnsafeCell<MaybeUninit<T>>,
    /// Written with it, for loom to see that its users have met.
    touched: Cell<()>,
}

/// The end of the one who answers. Dropped unused, it says that there will be no answer.
pub(crate) struct Answerer<T>(End<T>);

/// The end of the caller: resolves to the answer, or to `None` where there will be none.
pub(crate) struct Answer<T>(Option<End<T>>);

/// A pointer to a place that this end has not let go of.
struct End<T> {
    place: NonNull<Place<T>>,
    values: PhantomData<T>,
}

// SAFETY: a value goes from one end to the other, and nothing else of a `T` does.
unsafe impl<T: Send> Send for End<T> {}
// SAFETY: nothing of a `T` is reached by a shared reference to an end.
unsafe impl<T: Send> Sync for End<T> {}

/// The value is not part of it.
impl<T> Unpin for Answer<T> {}

/// Makes a place for an answer.
pub(crate) fn channel<T>() -> (Answerer<T>, Answer<T>) {
    let place = Box::new(Place {
        state: AtomicU32::new(0),
        waker: Slot::new(),
        value: Slot::new(),
        #[cfg(airssys_loom)]
        _freed: loom::alloc::Track::new(()),
    });
    // SAFETY: the pointer of a box is not null.
    let place = unsafe { NonNull::new_unchecked(Box::into_raw(place)) };
    let end = || End { place, values: PhantomData };
    (Answerer(end()), Answer(Some(end())))
}

impl<T> Answerer<T> {
    pub(crate) fn send(self, value: T) {
        let end = ManuallyDrop::new(self);
        // SAFETY: this end has not let go, and before `ANSWERED` the value is its own; it lets go once.
        unsafe {
            end.0.place().value.put(value);
            end.0.leave(OVER | ANSWERED);
        }
    }
}

impl<T> Drop for Answerer<T> {
    fn drop(&mut self) {
        // SAFETY: this end has not let go, and does so once.
        unsafe { self.0.leave(OVER) };
    }
}

impl<T> Answer<T> {
    /// Whether there is nothing to wait for any more.
    #[inline]
    pub(crate) fn is_there(&self) -> bool {
        // SAFETY: this end has not let go.
        self.0.as_ref().is_none_or(|end| unsafe { end.place() }.state.load(Ordering::Acquire) & OVER != 0)
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<T>> {
        // A caller whose answers are always there lets other tasks run all the same.
        let answers = ANSWERS.get();
        let budget = match answers.is_multiple_of(COUNTED) {
            true => Some(ready!(coop::poll_proceed(task))),
            false => None,
        };
        let Some(end) = &self.0 else { return Poll::Ready(None) };
        // SAFETY: this end has not let go.
        if !unsafe { end.is_over(task.waker()) } {
            return Poll::Pending;
        }
        ANSWERS.set(answers.wrapping_add(1));
        if let Some(budget) = budget {
            budget.made_progress();
        }
        // SAFETY: it is over, and this end lets go here.
        Poll::Ready(self.0.take().and_then(|end| unsafe { end.take() }))
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            // SAFETY: this end has not let go, and does so once.
            unsafe { end.go() };
        }
    }
}

impl<T> End<T> {
    /// # Safety
    ///
    /// This end has not let go.
    unsafe fn place(&self) -> &Place<T> {
        // SAFETY: only the second end to let go frees it.
        unsafe { self.place.as_ref() }
    }

    /// Says how it went, lets go of the answerer's end, and wakes the caller.
    ///
    /// # Safety
    ///
    /// It is the answerer's and has not let go. With `ANSWERED`, the value has been written.
    #[inline]
    unsafe fn leave(&self, outcome: u32) {
        // SAFETY: the caller's word.
        let state = &unsafe { self.place() }.state;
        if state.compare_exchange(0, outcome | LEFT, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            // SAFETY: the caller's word; what failed changed nothing.
            unsafe { self.leave_waiting(outcome) };
        }
    }

    /// As [`leave`](Self::leave), where the caller waits, or has gone.
    ///
    /// # Safety
    ///
    /// As there.
    unsafe fn leave_waiting(&self, outcome: u32) {
        // SAFETY: the caller's word. With `OVER` the waker is ours if there is one, else the end is let go of; after
        // `LEFT` the place is not used, unless the other end had let go before.
        unsafe {
            let place = self.place();
            let mut state = place.state.load(Ordering::Acquire);
            while state & GONE == 0 {
                let left = if state & WAITS == 0 { LEFT } else { 0 };
                let next = state | outcome | left;
                if let Err(now) =
                    place.state.compare_exchange(state, next, Ordering::AcqRel, Ordering::Acquire)
                {
                    state = now;
                    continue;
                }
                if left == 0 {
                    let waker = place.waker.take();
                    if place.state.fetch_or(LEFT, Ordering::AcqRel) & GONE != 0 {
                        // The caller has had the value.
                        drop(Box::from_raw(self.place.as_ptr()));
                    }
                    // It is anybody's, and this may be the actor.
                    quietly(|| waker.wake());
                }
                return;
            }
            let place = Box::from_raw(self.place.as_ptr());
            if outcome & ANSWERED != 0 {
                drop(place.value.take());
            }
        }
    }

    /// Whether it is over. If not, the answerer will wake `waker`.
    ///
    /// # Safety
    ///
    /// It is the caller's and has not let go.
    unsafe fn is_over(&self, waker: &Waker) -> bool {
        // SAFETY: the caller's word.
        let place = unsafe { self.place() };
        let state = place.state.load(Ordering::Acquire);
        if state & OVER != 0 {
            return true;
        }
        // SAFETY: the caller's word.
        let known = unsafe { place.take_back(state) };
        if known.is_none() && state & WAITS != 0 {
            return true;
        }
        let known = known.filter(|known| known.will_wake(waker)).unwrap_or_else(|| waker.clone());
        // SAFETY: without `WAITS` the answerer does not look at it.
        unsafe { place.waker.put(known) };
        if place.state.compare_exchange(0, WAITS, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            return false;
        }
        // SAFETY: it was written above. Only with `WAITS` would it have become the answerer's.
        drop(unsafe { place.waker.take() });
        true
    }

    /// Takes what there is, and lets go of the caller's end.
    ///
    /// # Safety
    ///
    /// It is the caller's and has not let go; and it is over.
    unsafe fn take(self) -> Option<T> {
        // SAFETY: the caller's word: the value is the caller's. The place is freed by whoever lets go second.
        unsafe {
            let place = self.place();
            let state = place.state.load(Ordering::Acquire);
            let value = (state & ANSWERED != 0).then(|| place.value.take());
            if state & LEFT != 0 || place.state.fetch_or(GONE, Ordering::AcqRel) & LEFT != 0 {
                drop(Box::from_raw(self.place.as_ptr()));
            }
            value
        }
    }

    /// Lets go of the caller's end.
    ///
    /// # Safety
    ///
    /// It is the caller's and has not let go.
    unsafe fn go(self) {
        // SAFETY: the caller's word; what fails to let go finds that it is over.
        unsafe {
            let place = self.place();
            let waker = place.take_back(place.state.load(Ordering::Acquire));
            if place.state.compare_exchange(0, GONE, Ordering::AcqRel, Ordering::Acquire).is_err() {
                drop(self.take());
            }
            drop(waker);
        }
    }
}

impl<T> Place<T> {
    /// Takes back the waker of the caller, for the caller, where `state` says that there is one; `None` also where it
    /// is over by now.
    ///
    /// # Safety
    ///
    /// For the caller's end.
    unsafe fn take_back(&self, state: u32) -> Option<Waker> {
        let waits = state & (OVER | WAITS) == WAITS
            && self.state.compare_exchange(WAITS, 0, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        // SAFETY: it was not over, so it was the caller's.
        waits.then(|| unsafe { self.waker.take() })
    }
}

impl<T> Slot<T> {
    fn new() -> Self {
        Self { value: UnsafeCell::new(MaybeUninit::uninit()), touched: Cell::new(()) }
    }

    /// # Safety
    ///
    /// Nobody else uses the slot meanwhile.
    unsafe fn put(&self, value: T) {
        self.touched.set(());
        // SAFETY: the caller's word.
        unsafe { (*self.value.get()).write(value) };
    }

    /// # Safety
    ///
    /// As [`put`](Self::put); and there is a value, which is taken once.
    unsafe fn take(&self) -> T {
        self.touched.set(());
        // SAFETY: the caller's word.
        unsafe { (*self.value.get()).assume_init_read() }
    }
}
