//! The queue of a mailbox: many may push, one pops (after Dmitry Vyukov's intrusive MPSC queue).
//!
//! A push is one swap of `tail`, and what it swaps out also tells whether the reader sleeps: `tail` is null exactly
//! while it does. So the sender whose push finds null, and no other, has to wake it.

use std::ptr::{NonNull, null_mut};

use super::crowd;
use super::sync::{AtomicPtr, Cell, Ordering};

/// What the senders share.
pub(super) struct Queue {
    /// The node that was pushed last; null when there is none and the reader sleeps.
    tail: AtomicPtr<Link>,
    /// The node that was pushed while the reader slept.
    first: AtomicPtr<Link>,
}

/// What the reader has for itself.
pub(super) struct Reader {
    /// The node that was taken last. It stays until its successor is known, because its successor's sender writes
    /// to it. Null while the queue is empty.
    head: Cell<*mut Link>,
}

/// What all nodes begin with.
struct Link {
    next: AtomicPtr<Link>,
}

#[repr(C)]
struct Node<T> {
    link: Link,
    value: T,
}

/// The size of a node that holds a `T`.
pub(super) const fn node_bytes<T>() -> usize {
    size_of::<Node<T>>()
}

/// What a sender finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// The reader sleeps: the sender has to wake it.
    Asleep,
    Queued,
    /// As `Queued`, and others keep pushing at the same time; see [`crowd`].
    Crowded,
}

/// What there was to take.
pub(super) enum Pop<T> {
    Item(T),
    /// Nothing; the next push finds the reader asleep.
    Empty,
    /// A sender is in the middle of its push. Try again, but let it run.
    Busy,
}

impl Queue {
    pub(super) fn new() -> Self {
        Self { tail: AtomicPtr::new(null_mut()), first: AtomicPtr::new(null_mut()) }
    }

    /// Adds `value` at the end.
    ///
    /// # Safety
    ///
    /// All values of this queue have the type `T`.
    pub(super) unsafe fn push<T>(&self, value: T) -> Pushed {
        let node = take::<Node<T>>();
        let link: *mut Link = node.as_ptr().cast();
        // SAFETY: the node is ours until it is linked. `previous` stays until its `next` is set, and that is ours
        // alone to do: nobody else has swapped it out.
        unsafe {
            node.write(Node { link: Link { next: AtomicPtr::new(null_mut()) }, value });
            let previous = self.tail.swap(link, Ordering::AcqRel);
            let place = if previous.is_null() { &self.first } else { &(*previous).next };
            place.store(link, Ordering::Release);
            match previous.is_null() {
                true => Pushed::Asleep,
                false if is_carved::<Node<T>>() && self.is_crowded(previous, link) => Pushed::Crowded,
                false => Pushed::Queued,
            }
        }
    }

    fn is_crowded(&self, previous: *mut Link, own: *mut Link) -> bool {
        crowd::is_felt(std::ptr::from_ref(self).addr(), previous.addr(), own.addr())
    }

    /// Whether the next [`pop`](Self::pop) takes something.
    ///
    /// # Safety
    ///
    /// As that of `pop`.
    pub(super) unsafe fn has_next(&self, reader: &Reader) -> bool {
        let head = reader.head.get();
        // SAFETY: as in `pop`.
        let place = if head.is_null() { &self.first } else { unsafe { &(*head).next } };
        !place.load(Ordering::Relaxed).is_null()
    }

    /// Takes the oldest value.
    ///
    /// # Safety
    ///
    /// As [`push`](Self::push); and `reader` is the queue's other half, which no other thread uses meanwhile.
    pub(super) unsafe fn pop<T>(&self, reader: &Reader) -> Pop<T> {
        let head = reader.head.get();
        // SAFETY: the head is a node that was taken and is not freed yet; only the reader frees it. The value of
        // `next` was written before it was linked, and is moved out once, because the head moves on.
        unsafe {
            let place = if head.is_null() { &self.first } else { &(*head).next };
            let next = place.load(Ordering::Acquire);
            if next.is_null() {
                return self.pause(reader, head);
            }
            let value = (&raw const (*next.cast::<Node<T>>()).value).read();
            reader.head.set(next);
            if head.is_null() {
                self.first.store(null_mut(), Ordering::Relaxed);
            } else {
                free::<T>(head);
            }
            Pop::Item(value)
        }
    }

    /// Nothing is linked behind `head`: goes to sleep, unless someone is about to link.
    ///
    /// # Safety
    ///
    /// As [`pop`](Self::pop); `head` is the reader's.
    unsafe fn pause<T>(&self, reader: &Reader, head: *mut Link) -> Pop<T> {
        if head.is_null() {
            let asleep = self.tail.load(Ordering::Acquire).is_null();
            return if asleep { Pop::Empty } else { Pop::Busy };
        }
        // Release: the reset of `first` happens before the next sender that finds null.
        match self.tail.compare_exchange(head, null_mut(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                reader.head.set(null_mut());
                // SAFETY: it was the last node and is not reachable any more.
                unsafe { free::<T>(head) };
                Pop::Empty
            }
            Err(_) => Pop::Busy,
        }
    }

    /// Whether the reader sleeps: it has found nothing, and nothing has come since.
    pub(super) fn is_asleep(&self) -> bool {
        self.tail.load(Ordering::Acquire).is_null()
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { head: Cell::new(null_mut()) }
    }
}

/// # Safety
///
/// `link` is the beginning of a `Node<T>` whose value has been moved out, and nobody uses it again.
unsafe fn free<T>(link: *mut Link) {
    // SAFETY: the caller's word. A `Link` needs no drop.
    unsafe {
        if let Some(node) = NonNull::new(link.cast::<Node<T>>()) {
            give_back(node);
        }
    }
}

#[cfg(not(airssys_loom))]
use super::arena::{give_back, is_carved, take};

#[cfg(airssys_loom)]
use boxes::{give_back, is_carved, take};

/// Nodes as loom can watch them: it reports those that are lost.
#[cfg(airssys_loom)]
mod boxes {
    use std::alloc::Layout;
    use std::ptr::NonNull;

    pub(super) const fn is_carved<T>() -> bool {
        false
    }

    pub(super) fn take<T>() -> NonNull<T> {
        // SAFETY: a node is not empty.
        NonNull::new(unsafe { loom::alloc::alloc(Layout::new::<T>()) }.cast()).unwrap()
    }

    pub(super) unsafe fn give_back<T>(node: NonNull<T>) {
        // SAFETY: it came from `take`.
        unsafe { loom::alloc::dealloc(node.as_ptr().cast(), Layout::new::<T>()) }
    }
}
