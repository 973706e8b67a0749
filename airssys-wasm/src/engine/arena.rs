//! Where the memories and stacks of very many instances are: in a few large mappings.
//!
//! A mapping each would end at some ten thousand instances: Linux gives a process 65,530 areas of address space
//! (`vm.max_map_count`), and an instance of the pool takes up to six. Here neighbours are of one area, and what stands between
//! two stacks are guards that the kernel keeps in its page tables (Linux 6.13).
//!
//! Code for these memories checks every access against their length, so that nothing has to lie between them; it is the engine's
//! setting `reserved` that says so.

use std::{
    collections::BTreeMap,
    ffi::c_void,
    io,
    ops::Range,
    ptr::{self, NonNull},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use airssys_osl::bootstrap;
use wasmtime::{LinearMemory, MemoryCreator, MemoryType, StackCreator, StackMemory};

use crate::instance::NoRoom;

/// The least that is mapped at a time, in bytes, where the machine gives that much address space.
const CHUNK_BYTES: usize = 256 << 20;

/// The smallest place of a memory, in bytes: a page of WebAssembly.
const LEAST_BYTES: usize = 64 << 10;

/// What lies below each stack and ends who writes there, in bytes: the largest page that Linux has.
const GUARD_BYTES: usize = 64 << 10;

/// The areas of address space that stacks leave to all else: threads, allocators and mapped code, which could not go on without.
const SPARE_AREAS: u64 = 1024;

/// `MADV_GUARD_INSTALL` of Linux 6.13.
const GUARD_INSTALL: i32 = 102;

/// Places for memories and stacks. What is given back is given away again, as zeros.
#[derive(Default)]
pub(super) struct Arena {
    /// The places that nobody has, by their size.
    free: Mutex<BTreeMap<Shelf, Vec<Place>>>,
}

/// What places are alike in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Shelf {
    bytes: usize,
    /// Whether the first [`GUARD_BYTES`] are a guard.
    guarded: bool,
}

/// The address of some bytes that one owner has, or the arena.
struct Place(NonNull<u8>);

// INVARIANT: whoever has a `Place` has its bytes; no two of them share any.
#[expect(unsafe_code, reason = "it owns what it points to, which no thread keeps anything of")]
// SAFETY: a place is an address; nothing about it belongs to a thread.
unsafe impl Send for Place {}
#[expect(unsafe_code, reason = "it owns what it points to, which no thread keeps anything of")]
// SAFETY: by a shared reference nothing can be done but to copy the address.
unsafe impl Sync for Place {}

/// A place that goes back to its arena.
struct Rented {
    arena: Arc<Arena>,
    shelf: Shelf,
    /// Always there until it is dropped.
    place: Option<Place>,
}

/// A linear memory.
struct Memory {
    rented: Rented,
    bytes: usize,
}

/// A stack.
struct Stack(Rented);

impl Arena {
    fn take(self: &Arc<Self>, shelf: Shelf) -> io::Result<Rented> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let places = free.entry(shelf).or_default();
        let place = match places.pop() {
            Some(place) => place,
            None => {
                *places = chunk(shelf)?;
                places.pop().ok_or(io::ErrorKind::OutOfMemory)?
            }
        };
        Ok(Rented { arena: Arc::clone(self), shelf, place: Some(place) })
    }
}

impl Rented {
    fn start(&self) -> *mut u8 {
        self.place.as_ref().map_or(ptr::null_mut(), |place| place.0.as_ptr())
    }

    /// What of it is used.
    fn range(&self) -> Range<*mut u8> {
        let guard = if self.shelf.guarded { GUARD_BYTES } else { 0 };
        self.start().wrapping_add(guard)..self.start().wrapping_add(self.shelf.bytes)
    }
}

impl Drop for Rented {
    fn drop(&mut self) {
        let range = self.range();
        let len = range.end.addr() - range.start.addr();
        #[expect(unsafe_code, reason = "nothing safe gives back pages")]
        // SAFETY: the bytes are of a private mapping that is never unmapped, nobody has them but this place, and they are
        // read as zeros from here on.
        let cleared = unsafe { libc::madvise(range.start.cast::<c_void>(), len, libc::MADV_DONTNEED) };
        let Some(place) = self.place.take() else { return };
        if cleared != 0 {
            // What an instance left there must not reach the next one: nobody gets the place again.
            return tracing::error!(cause = %io::Error::last_os_error(), "cannot clear the memory of an instance");
        }
        let mut free = self.arena.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.entry(self.shelf).or_default().push(place);
    }
}

/// Maps places; one, where there is no room for more. They stay mapped for as long as the program runs.
fn chunk(shelf: Shelf) -> io::Result<Vec<Place>> {
    /// The stacks of all arenas, which are never unmapped.
    static STACKS: AtomicU64 = AtomicU64::new(0);
    let count = (CHUNK_BYTES / shelf.bytes).max(1);
    if !shelf.guarded {
        return places(shelf, count, |_| Ok(()));
    }
    let made = places(shelf, left(most_stacks(), STACKS.load(Ordering::Relaxed), count), guard)?;
    STACKS.fetch_add(made.len() as u64, Ordering::Relaxed);
    Ok(made)
}

/// How many of `count` more stacks there may be.
fn left(most: Option<u64>, made: u64, count: usize) -> usize {
    let left = most.map_or(u64::MAX, |most| most.saturating_sub(made));
    usize::try_from(left).map_or(count, |left| left.min(count))
}

/// Maps places and makes each one's guard. Behind the first that cannot be made none is kept.
fn places(shelf: Shelf, count: usize, guard: impl Fn(*mut u8) -> io::Result<()>) -> io::Result<Vec<Place>> {
    if count == 0 {
        return Err(io::ErrorKind::OutOfMemory.into());
    }
    let (start, count) =
        map(shelf.bytes * count).map(|start| (start, count)).or_else(|error| match count {
            1 => Err(error),
            _ => map(shelf.bytes).map(|start| (start, 1)),
        })?;
    let places: Vec<_> =
        (0..count).filter_map(|at| NonNull::new(start.wrapping_add(at * shelf.bytes))).collect();
    let failed = places.iter().enumerate().find_map(|(at, place)| Some((at, guard(place.as_ptr()).err()?)));
    let kept = match failed {
        None => count,
        Some((kept, error)) => {
            unmap(start.wrapping_add(kept * shelf.bytes), (count - kept) * shelf.bytes);
            if kept == 0 {
                return Err(error);
            }
            kept
        }
    };
    Ok(places.into_iter().take(kept).map(Place).collect())
}

/// Gives back what was mapped and nobody has got.
fn unmap(start: *mut u8, bytes: usize) {
    #[expect(unsafe_code, reason = "nothing safe unmaps memory that others owned")]
    // SAFETY: the bytes are of a mapping that was just made, and nobody has them.
    if unsafe { libc::munmap(start.cast(), bytes) } != 0 {
        tracing::warn!(cause = %io::Error::last_os_error(), "cannot give back address space");
    }
}

/// Maps memory that becomes resident page by page, when it is written.
fn map(bytes: usize) -> io::Result<*mut u8> {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    #[expect(unsafe_code, reason = "nothing safe maps memory that others own")]
    // SAFETY: a new mapping touches nothing that is there.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    #[expect(unsafe_code, reason = "nothing safe gives advice about memory")]
    // SAFETY: the mapping is the one that was just made. Advice that is not taken changes nothing but what is resident: a
    // huge page would be as large as many an instance.
    let _ = unsafe { libc::madvise(start, bytes, libc::MADV_NOHUGEPAGE) };
    Ok(start.cast())
}

/// Makes the first bytes of a place a guard; an area of its own where the kernel has no other.
fn guard(start: *mut u8) -> io::Result<()> {
    if has_guard(start) {
        return Ok(());
    }
    #[expect(unsafe_code, reason = "nothing safe forbids access")]
    // SAFETY: the bytes are of a mapping that was just made, and nobody has them.
    match unsafe { libc::mprotect(start.cast(), GUARD_BYTES, libc::PROT_NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes them one that is no area of its own, where the kernel can.
fn has_guard(start: *mut u8) -> bool {
    #[expect(unsafe_code, reason = "nothing safe installs guards")]
    // SAFETY: the bytes are of a mapping that was just made, and nobody has them.
    unsafe {
        libc::madvise(start.cast(), GUARD_BYTES, GUARD_INSTALL) == 0
    }
}

/// How many stacks there can be before the areas of address space are used up; `None` where they take none.
pub(super) fn most_stacks() -> Option<u64> {
    static HAS_GUARDS: LazyLock<bool> = LazyLock::new(|| map(GUARD_BYTES).is_ok_and(has_guard));
    // A guard and a stack each.
    if *HAS_GUARDS {
        None
    } else {
        bootstrap::most_areas().map(|areas| areas.saturating_sub(SPARE_AREAS) / 2)
    }
}

/// As Wasmtime makes memories and stacks of.
pub(super) struct Creator(pub(super) Arc<Arena>);

#[expect(unsafe_code, reason = "as Wasmtime has it")]
// SAFETY: each memory is a place that nobody else has, of zeros when it begins, and the engine's settings say that nothing is
// reserved and no guard expected; with others it is an error.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _: MemoryType,
        minimum: usize,
        _: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if reserved.is_some_and(|bytes| bytes != 0) || guard != 0 {
            return Err("the arena has no guards".to_owned());
        }
        let rented = self.0.take(Shelf::memory(minimum).ok_or("a memory that large")?);
        let rented = rented.map_err(|error| NoRoom(error).to_string())?;
        Ok(Box::new(Memory { rented, bytes: minimum }))
    }
}

impl Shelf {
    fn memory(bytes: usize) -> Option<Self> {
        let bytes = bytes.max(LEAST_BYTES).checked_next_power_of_two()?;
        Some(Self { bytes, guarded: false })
    }
}

#[expect(unsafe_code, reason = "as Wasmtime has it")]
// SAFETY: `bytes` is at most the length of the place, and the place is this memory's for as long as it lives.
unsafe impl LinearMemory for Memory {
    fn byte_size(&self) -> usize {
        self.bytes
    }

    fn byte_capacity(&self) -> usize {
        self.rented.shelf.bytes
    }

    fn grow_to(&mut self, bytes: usize) -> wasmtime::Result<()> {
        if bytes > self.rented.shelf.bytes {
            let shelf = Shelf::memory(bytes).ok_or_else(|| wasmtime::Error::msg("a memory that large"))?;
            let larger = self.rented.arena.take(shelf).map_err(NoRoom)?;
            #[expect(unsafe_code, reason = "it moves from place to place")]
            // SAFETY: both places are this memory's alone, and each has at least as many bytes.
            unsafe {
                ptr::copy_nonoverlapping(self.rented.start(), larger.start(), self.bytes);
            }
            self.rented = larger;
        }
        self.bytes = bytes;
        Ok(())
    }

    fn as_ptr(&self) -> *mut u8 {
        self.rented.start()
    }
}

#[expect(unsafe_code, reason = "as Wasmtime has it")]
// SAFETY: each stack is a place that nobody else has, of zeros when it begins, with a guard below it.
unsafe impl StackCreator for Creator {
    fn new_stack(&self, size: usize, _zeroed: bool) -> wasmtime::Result<Box<dyn StackMemory>> {
        let bytes = size.next_multiple_of(GUARD_BYTES) + GUARD_BYTES;
        let rented = self.0.take(Shelf { bytes, guarded: true }).map_err(NoRoom)?;
        Ok(Box::new(Stack(rented)))
    }
}

#[expect(unsafe_code, reason = "as Wasmtime has it")]
// SAFETY: the place is this stack's for as long as it lives; it begins and ends with a page, as the guard does.
unsafe impl StackMemory for Stack {
    fn top(&self) -> *mut u8 {
        self.0.range().end
    }

    fn range(&self) -> Range<usize> {
        let range = self.0.range();
        range.start.addr()..range.end.addr()
    }

    fn guard_range(&self) -> Range<*mut u8> {
        self.0.start()..self.0.range().start
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "looking at what the kernel has mapped")]
mod tests {
    use super::*;
    use crate::trap::Trap;

    fn bytes_of(rented: &mut Rented) -> &mut [u8] {
        let range = rented.range();
        #[expect(unsafe_code, reason = "a guest's accesses are not safe Rust either")]
        // SAFETY: the place is the test's, which has no other reference to it.
        unsafe {
            std::slice::from_raw_parts_mut(range.start, range.end.addr() - range.start.addr())
        }
    }

    #[test]
    fn what_is_given_back_is_given_away_as_zeros() {
        let arena = Arc::new(Arena::default());
        for shelf in
            [Shelf { bytes: LEAST_BYTES, guarded: false }, Shelf { bytes: 2 * GUARD_BYTES, guarded: true }]
        {
            let mut first = arena.take(shelf).expect("there is room");
            bytes_of(&mut first).fill(7);
            let at = first.start();
            drop(first);
            let mut next = arena.take(shelf).expect("there is room");
            assert_eq!(next.start(), at, "the same place");
            assert!(bytes_of(&mut next).iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn stacks_have_guards_that_are_no_areas_where_the_kernel_has_them() {
        let arena = Arc::new(Arena::default());
        let shelf = Shelf { bytes: 17 * GUARD_BYTES, guarded: true };
        let stacks: Vec<_> = (0..200).map(|_| arena.take(shelf).expect("there is room")).collect();
        // All are of one chunk, and other tests map elsewhere.
        let starts = || stacks.iter().map(|stack| stack.start().addr());
        let (first, last) = (starts().min().unwrap_or(0), starts().max().unwrap_or(0));
        let start_of = |line: &str| usize::from_str_radix(line.split('-').next()?, 16).ok();
        let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux tells");
        let areas = maps.lines().filter_map(start_of).filter(|start| (first..=last).contains(start)).count();
        match most_stacks() {
            None => assert!(areas <= 1, "{areas} areas"),
            Some(most) => assert!(most > 0 && areas >= stacks.len(), "{areas} areas"),
        }
    }

    #[test]
    fn stacks_leave_some_areas_to_all_else() {
        let check = |most, made, expected| assert_eq!(left(most, made, 240), expected, "{most:?} {made}");
        check(None, 1_000_000, 240);
        check(Some(1000), 0, 240);
        check(Some(1000), 900, 100);
        check(Some(1000), 1000, 0);
        check(Some(0), 1000, 0);
        let shelf = Shelf { bytes: 2 * GUARD_BYTES, guarded: true };
        assert!(places(shelf, 0, guard).is_err());
    }

    #[test]
    fn the_places_before_one_that_cannot_be_guarded_are_kept() {
        let shelf = Shelf { bytes: 2 * GUARD_BYTES, guarded: true };
        let kept = |guards: usize| {
            let left = std::cell::Cell::new(guards);
            let guard = |_| match left.get() {
                0 => Err(io::ErrorKind::OutOfMemory.into()),
                some => {
                    left.set(some - 1);
                    Ok(())
                }
            };
            places(shelf, 5, guard).map(|places| places.len()).ok()
        };
        assert_eq!((kept(5), kept(3), kept(0)), (Some(5), Some(3), None));
    }

    #[test]
    fn what_there_is_no_room_for_says_nothing_of_the_guest() {
        let creator = Creator(Arc::new(Arena::default()));
        let error = creator.new_stack(1 << 60, false).map(drop).unwrap_err();
        assert!(Trap::lacks_room(&error), "{error}");
        let shelf = Shelf::memory(1).expect("a size");
        let rented = creator.0.take(shelf).expect("there is room");
        let error = Memory { rented, bytes: LEAST_BYTES }.grow_to(1 << 60).unwrap_err();
        assert!(error.is::<NoRoom>(), "{error}");
    }

    #[test]
    fn places_do_not_overlap() {
        let arena = Arc::new(Arena::default());
        let mut rented: Vec<_> = [LEAST_BYTES, 4 * LEAST_BYTES, LEAST_BYTES, CHUNK_BYTES * 2]
            .map(|bytes| arena.take(Shelf::memory(bytes).expect("a size")).expect("there is room"))
            .into();
        rented.sort_by_key(|it| it.start().addr());
        for pair in rented.windows(2) {
            assert!(pair[0].range().end <= pair[1].start());
        }
    }

    #[test]
    fn a_memory_that_grows_keeps_what_it_has() {
        let shelf = Shelf::memory(1).expect("a size");
        let rented = Arc::new(Arena::default()).take(shelf).expect("there is room");
        let mut memory = Memory { rented, bytes: LEAST_BYTES };
        bytes_of(&mut memory.rented).fill(7);
        memory.grow_to(3 * LEAST_BYTES).expect("there is room");
        assert_eq!((memory.byte_size(), memory.byte_capacity()), (3 * LEAST_BYTES, 4 * LEAST_BYTES));
        let (old, new) = bytes_of(&mut memory.rented).split_at(LEAST_BYTES);
        assert!(old.iter().all(|byte| *byte == 7) && new.iter().all(|byte| *byte == 0));
    }
}
