//! How a future finds its cell again when it can go on.

use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::core::{AnyCell, Core};

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker for `cell`, without a reference of its own.
pub(super) fn borrowed(cell: &AnyCell) -> ManuallyDrop<Waker> {
    // SAFETY: the functions below keep `RawWaker`'s contract for a pointer that stands for a reference. This one
    // stands for the caller's, which is longer alive; it is never dropped, and `wake` is not called on it.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw(cell.ptr())) })
}

fn raw(cell: NonNull<Core>) -> RawWaker {
    RawWaker::new(cell.as_ptr().cast_const().cast(), &VTABLE)
}

/// # Safety
///
/// `data` came from [`raw`].
unsafe fn cell(data: *const ()) -> NonNull<Core> {
    // SAFETY: it came from a `NonNull`.
    unsafe { NonNull::new_unchecked(data.cast_mut().cast()) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker that is cloned keeps the cell alive.
    raw(unsafe { AnyCell::from_ptr(cell(data)) }.into_ptr())
}

unsafe fn wake(data: *const ()) {
    // SAFETY: this waker ends here, and its reference is ours.
    unsafe { AnyCell::take_over(cell(data)) }.wake();
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker keeps the cell alive, and its reference stays with it.
    ManuallyDrop::new(unsafe { AnyCell::take_over(cell(data)) }).wake();
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: this waker ends here, and its reference is ours.
    drop(unsafe { AnyCell::take_over(cell(data)) });
}
