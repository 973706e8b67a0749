//! Memory for the nodes of mailboxes.
//!
//! A node lives from its push to its pop, mostly on two threads. So a thread carves nodes out of a chunk of its own,
//! one after the other and without a shared write, and whoever frees them gives back only how many, in one write for
//! a run of nodes of the same chunk. A chunk whose nodes are all back is used again.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::{Cell, RefCell};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// A power of two, and the alignment of a chunk: so a node's address tells its chunk.
///
/// In a flood, threads take chunks from the allocator all the time, and each may be a call of the system that keeps the
/// others from touching new memory. So they are large.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

/// The part of it that nodes may have. The rest is the allocator's, for what it keeps beside each piece of memory:
/// without that, the next piece that is aligned like this one would leave as much room before it as it has itself.
const USABLE: usize = CHUNK_BYTES - 32;

/// Nodes larger than this get memory of their own.
const LARGEST_NODE: usize = 512;

/// How many free chunks a thread keeps for itself.
const KEPT_BY_THREAD: usize = 8;

/// How many free chunks the program keeps: 16 MiB. More go back to the allocator.
const KEPT_BY_ALL: usize = 256;

const LAYOUT: Layout = match Layout::from_size_align(USABLE, CHUNK_BYTES) {
    Ok(layout) => layout,
    Err(_) => unreachable!(),
};

/// Where the first node may begin: aligned for anything that a chunk holds.
const FIRST: usize = 16;

/// What a thread that still carves holds of its chunk, beside the nodes: more than there can be nodes.
const CARVING: usize = CHUNK_BYTES;

/// The beginning of a chunk.
struct Chunk {
    /// The nodes that are in use; before the chunk is full, `CARVING` less those that have been given back.
    live: AtomicUsize,
}

/// A chunk with nothing in it.
struct Free(NonNull<Chunk>);

// SAFETY: nobody else has a pointer into a free chunk.
unsafe impl Send for Free {}

/// The free chunks that no thread has.
static POOL: Mutex<Vec<Free>> = Mutex::new(Vec::new());

/// What a thread has of the arena.
struct Local {
    /// The chunk that it carves nodes out of.
    chunk: Cell<*mut Chunk>,
    /// The first byte of `chunk` that is not carved.
    used: Cell<usize>,
    /// The nodes that were carved out of `chunk`.
    carved: Cell<usize>,
    /// Nodes that it freed and has not given back yet, all of one chunk.
    spent: Cell<*mut Chunk>,
    spent_nodes: Cell<usize>,
    free: RefCell<Vec<Free>>,
}

thread_local! {
    static LOCAL: Local = const {
        Local {
            chunk: Cell::new(null_mut()),
            used: Cell::new(CHUNK_BYTES),
            carved: Cell::new(0),
            spent: Cell::new(null_mut()),
            spent_nodes: Cell::new(0),
            free: RefCell::new(Vec::new()),
        }
    };
}

/// Whether values of type `T` are carved out of chunks.
pub(super) const fn is_carved<T>() -> bool {
    size_of::<T>() <= LARGEST_NODE && align_of::<T>() <= FIRST
}

/// Takes memory for one `T`. It belongs to the caller until [`give_back`], on any thread.
pub(super) fn take<T>() -> NonNull<T> {
    const { assert!(size_of::<T>() > 0) };
    if !const { is_carved::<T>() } {
        return allocate(Layout::new::<T>()).cast();
    }
    LOCAL.try_with(Local::carve::<T>).unwrap_or_else(|_| {
        // The thread is ending and has no chunk any more: one for this node alone.
        let chunk = new_chunk(1);
        // SAFETY: `FIRST` plus the largest node is far below the size of a chunk.
        unsafe { chunk.byte_add(FIRST).cast() }
    })
}

/// Gives memory back.
///
/// # Safety
///
/// `node` came from [`take`] with the same `T`, is given back once, and is not used again.
pub(super) unsafe fn give_back<T>(node: NonNull<T>) {
    if !const { is_carved::<T>() } {
        // SAFETY: such a node was allocated by `take` with this layout.
        return unsafe { dealloc(node.as_ptr().cast(), Layout::new::<T>()) };
    }
    let chunk: *mut Chunk = node.as_ptr().map_addr(|address| address & !(CHUNK_BYTES - 1)).cast();
    // SAFETY: the node lies in a chunk, which is aligned to its size, and keeps it alive.
    unsafe {
        if LOCAL.try_with(|local| local.spend(chunk)).is_err() {
            release(chunk, 1);
        }
    }
}

/// Gives back what this thread has gathered. Called where it may have nothing to do for long.
pub(crate) fn settle() {
    // A thread without its local part has gathered nothing.
    let _ = LOCAL.try_with(Local::settle);
}

impl Local {
    #[inline]
    fn carve<T>(&self) -> NonNull<T> {
        let start = self.used.get().next_multiple_of(align_of::<T>());
        if start + size_of::<T>() > USABLE {
            return self.carve_anew();
        }
        self.used.set(start + size_of::<T>());
        self.carved.set(self.carved.get() + 1);
        // SAFETY: `used` is `CHUNK_BYTES` while there is no chunk, so there is one, and the node ends within it.
        unsafe { NonNull::new_unchecked(self.chunk.get().byte_add(start).cast()) }
    }

    #[cold]
    fn carve_anew<T>(&self) -> NonNull<T> {
        self.retire();
        let kept = self.free.borrow_mut().pop();
        let chunk = kept.map(|free| free.reuse(CARVING)).unwrap_or_else(|| {
            self.restock();
            self.free.borrow_mut().pop().map_or_else(|| new_chunk(CARVING), |free| free.reuse(CARVING))
        });
        self.chunk.set(chunk.as_ptr());
        self.used.set(FIRST);
        self.carve()
    }

    /// Fetches free chunks from the pool, several at a time lest its lock is fought for.
    fn restock(&self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let from = pool.len().saturating_sub(KEPT_BY_THREAD / 2);
        self.free.borrow_mut().extend(pool.drain(from..));
    }

    /// Stops carving nodes out of the chunk in hand.
    fn retire(&self) {
        let chunk = self.chunk.replace(null_mut());
        self.used.set(CHUNK_BYTES);
        let carved = self.carved.take();
        if !chunk.is_null() {
            // SAFETY: as long as it is in hand, its `CARVING` has not been given back.
            unsafe { release(chunk, CARVING - carved) };
        }
    }

    /// # Safety
    ///
    /// A node of `chunk` is given back with this.
    #[inline]
    unsafe fn spend(&self, chunk: *mut Chunk) {
        if self.spent.get() != chunk {
            self.settle();
            self.spent.set(chunk);
        }
        self.spent_nodes.set(self.spent_nodes.get() + 1);
    }

    fn settle(&self) {
        let chunk = self.spent.replace(null_mut());
        let nodes = self.spent_nodes.take();
        if !chunk.is_null() {
            // SAFETY: that many nodes were given back to us and not to the chunk.
            unsafe { release(chunk, nodes) };
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.settle();
        self.retire();
        self.free.take().into_iter().for_each(Free::pool);
    }
}

impl Free {
    fn reuse(self, live: usize) -> NonNull<Chunk> {
        // SAFETY: the chunk is ours alone.
        unsafe { self.0.as_ref() }.live.store(live, Ordering::Relaxed);
        self.0
    }

    fn keep(self) {
        let mut chunk = Some(self);
        // In an ending thread it goes to the pool, as it does where the thread has enough.
        let _ = LOCAL.try_with(|local| {
            let mut free = local.free.borrow_mut();
            if free.len() == KEPT_BY_THREAD {
                let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
                let room = KEPT_BY_ALL.saturating_sub(pool.len());
                pool.extend(free.drain(..(KEPT_BY_THREAD / 2).min(room)));
            }
            if free.len() < KEPT_BY_THREAD {
                free.extend(chunk.take());
            }
        });
        chunk.into_iter().for_each(Self::pool);
    }

    fn pool(self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.len() < KEPT_BY_ALL {
            pool.push(self);
            return;
        }
        drop(pool);
        // SAFETY: the chunk is ours alone and was allocated with this layout.
        unsafe { dealloc(self.0.as_ptr().cast(), LAYOUT) };
    }
}

/// Gives back `count` of what `live` counts; who gives back the last frees the chunk.
///
/// # Safety
///
/// The caller holds that many, and does not touch the chunk afterwards.
unsafe fn release(chunk: *mut Chunk, count: usize) {
    // SAFETY: what the caller holds keeps the chunk alive. As in `Arc`, every use happens before the last release.
    let before = unsafe { (*chunk).live.fetch_sub(count, Ordering::AcqRel) };
    if before == count
        && let Some(chunk) = NonNull::new(chunk)
    {
        Free(chunk).keep();
    }
}

fn new_chunk(live: usize) -> NonNull<Chunk> {
    let chunk = allocate(LAYOUT).cast::<Chunk>();
    // SAFETY: it is ours, large enough and aligned.
    unsafe { chunk.write(Chunk { live: AtomicUsize::new(live) }) };
    chunk
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layouts used here are not empty.
    let memory = unsafe { alloc(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn nodes_in_use_are_apart_and_aligned() {
        let small: Vec<NonNull<[u8; 3]>> = (0..3_000).map(|_| take()).collect();
        let wide: Vec<NonNull<u128>> = (0..3_000).map(|_| take()).collect();
        let large: Vec<NonNull<[u64; 65]>> = (0..10).map(|_| take()).collect();
        let mut bytes = HashSet::new();
        let mut claim = |start: usize, size: usize| {
            assert!((start..start + size).all(|byte| bytes.insert(byte)));
        };
        small.iter().for_each(|node| claim(node.as_ptr() as usize, 3));
        wide.iter().for_each(|node| claim(node.as_ptr() as usize, 16));
        large.iter().for_each(|node| claim(node.as_ptr() as usize, 520));
        assert!(wide.iter().all(|node| node.is_aligned()));
        // SAFETY: each came from `take` and is not used again.
        unsafe {
            small.into_iter().for_each(|node| give_back(node));
            wide.into_iter().for_each(|node| give_back(node));
            large.into_iter().for_each(|node| give_back(node));
        }
    }

    #[test]
    fn memory_is_used_again_across_threads() {
        let (send, receive) = std::sync::mpsc::sync_channel::<Vec<usize>>(4);
        let producer = std::thread::spawn(move || {
            for _ in 0..20_000 {
                let nodes = (0..100).map(|_| take::<[u64; 5]>().as_ptr() as usize);
                send.send(nodes.collect()).unwrap();
            }
        });
        let mut chunks = HashSet::new();
        for nodes in receive {
            for node in nodes {
                chunks.insert(node & !(CHUNK_BYTES - 1));
                // SAFETY: the producer took it with this type and has forgotten it.
                unsafe { give_back(NonNull::new(node as *mut [u64; 5]).unwrap()) };
            }
        }
        producer.join().unwrap();
        assert!(chunks.len() < 300, "{} chunks for 2,000,000 nodes, 600 at a time", chunks.len());
    }
}
