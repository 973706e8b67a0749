//! The queue of a mailbox: many may push, one pops (after Dmitry Vyukov's intrusive MPSC queue).
//!
//! A push is one swap of `tail`, and what it swaps out also tells whether the reader sleeps: `tail` is null exactly
//! while it does. So the sender whose push finds null, and no other, has to wake it.
//!
//! Where the mailbox has a bound, a part of its room lies in the same word, as *credit*: a push that takes its room there
//! is one compare-and-swap in all. Who finds no credit fetches more.

use std::ptr::{NonNull, null_mut};

use super::crowd;
use super::sync::{AtomicPtr, Cell, Ordering};
use crate::mailbox::Bounds;

/// Where the credit stands in the word of `tail`: above what addresses need. Where they need all, there is never any.
const CREDIT_SHIFT: u32 = if usize::BITS == 64 { 48 } else { 0 };
const CREDIT_MASK: usize = if usize::BITS == 64 { 0xffff << CREDIT_SHIFT } else { 0 };

/// What the senders share.
pub(super) struct Queue {
    /// A [`Tail`].
    tail: AtomicPtr<Link>,
    /// The node that was pushed while the reader slept.
    first: AtomicPtr<Link>,
}

/// The node that was pushed last, null when there is none and the reader sleeps; and the credit that is left.
#[derive(Clone, Copy)]
struct Tail(*mut Link);

impl Tail {
    fn new(node: *mut Link, credit: u32) -> Self {
        // INVARIANT: user space has no addresses as high as that, unless it asks for them.
        debug_assert_eq!(node.addr() & CREDIT_MASK, 0, "an address with something where credit stands");
        Self(node.map_addr(|address| address | ((credit as usize) << CREDIT_SHIFT)))
    }

    fn node(self) -> *mut Link {
        self.0.map_addr(|address| address & !CREDIT_MASK)
    }

    fn credit(self) -> u32 {
        // No more than was put there.
        ((self.0.addr() & CREDIT_MASK) >> CREDIT_SHIFT) as u32
    }
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

    /// Adds `value` at the end of a queue without credit.
    ///
    /// # Safety
    ///
    /// All values of this queue have the type `T`.
    #[inline(always)]
    pub(super) unsafe fn push<T>(&self, value: T) -> Pushed {
        let node = make(value);
        let previous = self.tail.swap(node.as_ptr().cast(), Ordering::AcqRel);
        // SAFETY: nobody else has swapped it out. The rest is the caller's word.
        unsafe { self.link(previous, node) }
    }

    /// As [`push`](Self::push), for what needs no room or has it already: any credit stays.
    ///
    /// # Safety
    ///
    /// As that of `push`.
    pub(super) unsafe fn push_beside<T>(&self, value: T) -> Pushed {
        let node = make(value);
        let mut tail = self.tail();
        loop {
            match self.change(tail, node.as_ptr().cast(), tail.credit()) {
                // SAFETY: as in `push`.
                Ok(()) => return unsafe { self.link(tail.node(), node) },
                Err(now) => tail = now,
            }
        }
    }

    /// As [`push`](Self::push), for one credit; gives `value` back where there is none and the bound has no more.
    ///
    /// # Safety
    ///
    /// As that of `push`.
    pub(super) unsafe fn push_within<T>(&self, value: T, bounds: &Bounds) -> Result<Pushed, T> {
        let node = make(value);
        let mut tail = self.tail();
        let mut fetched = 0;
        loop {
            if tail.credit() > 0 && fetched > 0 {
                // Others have fetched some, too. So there is never more than fits.
                bounds.give(fetched);
                fetched = 0;
            }
            if tail.credit() + fetched == 0 {
                fetched = bounds.take();
                tail = self.tail();
                if fetched + tail.credit() == 0 {
                    // SAFETY: it is new, and nobody knows of it.
                    return Err(unsafe { unmake(node) });
                }
                continue;
            }
            match self.change(tail, node.as_ptr().cast(), tail.credit() + fetched - 1) {
                // SAFETY: as in `push`.
                Ok(()) => return Ok(unsafe { self.link(tail.node(), node) }),
                Err(now) => tail = now,
            }
        }
    }

    /// How many more may be pushed without asking the bound.
    pub(super) fn credit(&self) -> u32 {
        self.tail().credit()
    }

    /// Takes all credit away, and says how much that was.
    pub(super) fn take_credit(&self) -> u32 {
        let mut tail = self.tail();
        while tail.credit() > 0 {
            match self.change(tail, tail.node(), 0) {
                Ok(()) => break,
                Err(now) => tail = now,
            }
        }
        tail.credit()
    }

    fn tail(&self) -> Tail {
        Tail(self.tail.load(Ordering::Acquire))
    }

    /// Puts another tail into the place of this one, unless it is there no more.
    fn change(&self, tail: Tail, node: *mut Link, credit: u32) -> Result<(), Tail> {
        let new = Tail::new(node, credit);
        let changed = self.tail.compare_exchange(tail.0, new.0, Ordering::AcqRel, Ordering::Acquire);
        changed.map(drop).map_err(Tail)
    }

    /// Tells the reader of a node.
    ///
    /// # Safety
    ///
    /// The node is new, and the caller, and nobody else, has put it in the place of `previous`.
    #[inline(always)]
    unsafe fn link<T>(&self, previous: *mut Link, node: NonNull<Node<T>>) -> Pushed {
        let link: *mut Link = node.as_ptr().cast();
        // SAFETY: `previous` stays until its `next` is set, and that is ours alone to do.
        let place = if previous.is_null() { &self.first } else { unsafe { &(*previous).next } };
        place.store(link, Ordering::Release);
        match previous.is_null() {
            true => Pushed::Asleep,
            false if is_carved::<Node<T>>() && self.is_crowded(previous, link) => Pushed::Crowded,
            false => Pushed::Queued,
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
    #[inline(always)]
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
            return if self.is_asleep() { Pop::Empty } else { Pop::Busy };
        }
        // Where there is no credit, as without a bound, that is the only look at what the senders write.
        let mut tail = Tail(head);
        // Release: the reset of `first` happens before the next sender that finds null.
        while let Err(now) = self.change(tail, null_mut(), tail.credit()) {
            if now.node() != head {
                return Pop::Busy;
            }
            tail = now;
        }
        reader.head.set(null_mut());
        // SAFETY: it was the last node and is not reachable any more.
        unsafe { free::<T>(head) };
        Pop::Empty
    }

    /// Whether the reader sleeps: it has found nothing, and nothing has come since.
    pub(super) fn is_asleep(&self) -> bool {
        self.tail().node().is_null()
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        Self { head: Cell::new(null_mut()) }
    }
}

/// A node that nobody else knows of.
#[inline(always)]
fn make<T>(value: T) -> NonNull<Node<T>> {
    let node = take::<Node<T>>();
    // SAFETY: it is ours.
    unsafe { node.write(Node { link: Link { next: AtomicPtr::new(null_mut()) }, value }) };
    node
}

/// # Safety
///
/// The node is from [`make`], and nobody else has come to know of it.
unsafe fn unmake<T>(node: NonNull<Node<T>>) -> T {
    // SAFETY: the caller's word. A `Link` needs no drop.
    unsafe {
        let Node { value, .. } = node.read();
        give_back(node);
        value
    }
}

/// # Safety
///
/// `link` is the beginning of a `Node<T>` whose value has been moved out, and nobody uses it again.
#[inline(always)]
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
