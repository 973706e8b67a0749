//! The one allocation of an actor: what senders need, what its runner needs, and its future.

use std::cell::UnsafeCell;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Deref;
use std::pin::Pin;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll};

use super::cold::Cold;
use super::queue::{Pop, Pushed, Queue, Reader, node_bytes};
use super::state::{self, State};
use super::sync::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Cell, Mutex, MutexGuard, Ordering};
use super::table;
use super::{Deadline, Door, Entry, Stage, StageCell};
use crate::actor::Info;
use crate::actor_ref::ActorId;
use crate::counters::Count;
use crate::exit::{ExitReason, quietly};
use crate::mailbox::{Bounds, Made};
use crate::system;
use crate::timer::{TimerRef, Timers};

/// What all cells have, whatever the type of their messages and of their future.
///
/// Senders write to its beginning, the runner to its end. They lie more than a cache line apart; not by alignment,
/// which would cost more memory in the allocator than it needs here.
#[repr(C)]
pub(crate) struct Core {
    queue: Queue,
    /// Where there is a bound, all about it.
    pub(super) bounds: Option<Box<Bounds>>,
    /// How many entries were pushed since the queue was empty last, about.
    pushed: AtomicU32,
    door: AtomicU8,
    /// How quick its turns are; see [`super::run`].
    pub(super) pace: AtomicU8,
    /// How it ended; see [`super::cold`].
    pub(super) exit: AtomicU8,
    /// Whether it has a body. The runner's.
    pub(super) has_body: Cell<bool>,
    /// How many `AnyCell`s, `CellRef`s and wakers point here.
    refs: AtomicU32,
    pub(super) stage: StageCell,
    vtable: &'static VTable,
    id: AtomicU64,
    cold: Mutex<Option<Box<Cold>>>,
    /// An `Arc`; null until there is a first incarnation.
    system: AtomicPtr<system::Inner>,
    pub(super) state: State,
    /// How many entries it may handle before others run. The runner's.
    pub(super) budget: Cell<u8>,
    /// What the runner knows of `bounds`: to look there for each message would take the line from the senders.
    pub(super) made: Made,
    reader: Reader,
    /// How many entries were taken, ever. The runner's.
    taken: AtomicU64,
    /// Until when the caller of the message in hand waits. The runner's.
    pub(super) until: Cell<Option<Deadline>>,
}

/// A cell, as it is laid out.
#[repr(C)]
struct Whole<F> {
    core: Core,
    body: UnsafeCell<MaybeUninit<F>>,
}

/// What depends on the types.
pub(super) struct VTable {
    poll: unsafe fn(NonNull<Core>, &mut Context<'_>, &mut Option<ExitReason>),
    drop_body: unsafe fn(NonNull<Core>),
    free: unsafe fn(NonNull<Core>),
    push_own: fn(&Core, Own) -> bool,
    discard: unsafe fn(&Core) -> Pop<bool>,
    bytes: usize,
    /// The size of an entry, as it is queued.
    entry_bytes: usize,
    message: fn() -> &'static str,
}

/// What is queued without knowing the type of the messages.
pub(crate) enum Own {
    Timer(TimerRef),
    Info(Box<Info>),
}

/// A strong reference to any cell.
pub(crate) struct AnyCell(NonNull<Core>);

/// A strong reference to a cell whose messages are `M`s.
pub(crate) struct CellRef<M> {
    cell: AnyCell,
    messages: PhantomData<fn(M)>,
}

// SAFETY: what a reference allows from any thread is synchronised: atomics, a lock, the queue's pushes, and the
// runner's part only to whoever holds `SCHEDULED`. Bodies and messages are `Send` (see `CellRef::build` and `push`),
// because they go to whichever thread runs the cell.
unsafe impl Send for AnyCell {}
// SAFETY: as above.
unsafe impl Sync for AnyCell {}

/// A cell, as its own body sees it: without a reference of its own. A body drops its parts when it is done, and the
/// cell must still be there then.
pub(crate) struct Lent<M>(ManuallyDrop<CellRef<M>>);

/// A handle to what it is part of, to lend out. It does not count as one.
pub(crate) struct Loan<T>(OnceLock<ManuallyDrop<T>>);

impl<T> Loan<T> {
    pub(crate) fn new() -> Self {
        Self(OnceLock::new())
    }

    /// # Safety
    ///
    /// What `handle` keeps alive holds this, and drops it with itself.
    pub(super) unsafe fn set(&self, handle: &T) {
        // SAFETY: a copy that is never dropped, and that is not used longer than it is valid: by the caller's word.
        self.0.get_or_init(|| ManuallyDrop::new(unsafe { std::ptr::read(handle) }));
    }

    pub(crate) fn get(&self) -> Option<&T> {
        self.0.get().map(|handle| &**handle)
    }
}

/// Lets a system lend itself out without being counted.
pub(crate) fn lend_system(system: &system::System) {
    // SAFETY: the inner part of a system is what the handle keeps alive.
    unsafe { system.inner().loan().set(system) };
}

/// A future that a mailbox which outlives it can hold.
pub(crate) type BoxedBody = Pin<Box<dyn Future<Output = ExitReason> + Send>>;

impl<M: Send + 'static> CellRef<M> {
    /// Makes a cell with a body that knows it. It is queued for its first run.
    pub(crate) fn spawn<F>(
        system: &Arc<system::Inner>,
        bounds: Option<Box<Bounds>>,
        cold: impl FnOnce(ActorId) -> Option<Box<Cold>>,
        body: impl FnOnce(&Self, Lent<M>) -> F,
    ) -> Self
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let cell = Self::build::<F>(Some(Arc::clone(system)), bounds, cold);
        // SAFETY: the cell was built for an `F`, has no body yet, and is ours: nobody else runs a vacant one. What is
        // lent becomes part of its body.
        unsafe { cell.put(body(&cell, cell.lend())) };
        cell
    }

    /// Makes a cell without a body.
    pub(crate) fn vacant(bounds: Option<Box<Bounds>>, cold: Box<Cold>) -> Self {
        Self::build::<BoxedBody>(None, bounds, |_| Some(cold))
    }

    /// Gives a body to a cell that was made [vacant](Self::vacant), and queues it for its first run.
    ///
    /// # Safety
    ///
    /// The caller alone may do so now: it has taken the mailbox (see `Cold::taken`), and the cell was made vacant.
    pub(super) unsafe fn install(&self, body: BoxedBody) {
        // SAFETY: the caller's word.
        unsafe { self.put(body) };
    }

    fn build<F>(
        system: Option<Arc<system::Inner>>,
        bounds: Option<Box<Bounds>>,
        cold: impl FnOnce(ActorId) -> Option<Box<Cold>>,
    ) -> Self
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        let made = Made::of(bounds.as_deref());
        let core = Core {
            queue: Queue::new(),
            bounds,
            pushed: AtomicU32::new(0),
            door: AtomicU8::new(Door::Open as u8),
            pace: AtomicU8::new(super::run::UNKNOWN),
            exit: AtomicU8::new(0),
            has_body: Cell::new(false),
            refs: AtomicU32::new(1),
            stage: StageCell::new(Stage::Starting),
            vtable: const { &VTable::of::<M, F>() },
            id: AtomicU64::new(0),
            cold: Mutex::new(None),
            system: AtomicPtr::new(system.map_or(null_mut(), |system| Arc::into_raw(system).cast_mut())),
            state: State::vacant(),
            budget: Cell::new(0),
            made,
            reader: Reader::new(),
            taken: AtomicU64::new(0),
            until: Cell::new(None),
        };
        let whole = Box::new(Whole { core, body: UnsafeCell::new(MaybeUninit::<F>::uninit()) });
        // SAFETY: the pointer of a box is not null. It keeps the provenance of the whole allocation.
        let core = unsafe { NonNull::new_unchecked(Box::into_raw(whole).cast::<Core>()) };
        let cell = Self { cell: AnyCell(core), messages: PhantomData };
        // From now on it can be found, though not for long without an id: nobody else has the lock of the table.
        let id = table::enter(core, |id| cell.id.store(id.to_bits(), Ordering::Relaxed));
        if let Some(cold) = cold(id) {
            *cell.cold() = Some(cold);
        }
        cell
    }

    /// Lends the cell to its body.
    ///
    /// # Safety
    ///
    /// It becomes part of the body of this cell, and is not used after that has ended.
    pub(super) unsafe fn lend(&self) -> Lent<M> {
        Lent(ManuallyDrop::new(Self { cell: AnyCell(self.cell.0), messages: PhantomData }))
    }

    /// # Safety
    ///
    /// The cell was built for an `F`, has no body, and the caller holds `SCHEDULED`.
    unsafe fn put<F>(&self, body: F) {
        // The reference that keeps a cell with a body alive; see `AnyCell::take_back`.
        let whole = self.cell.clone().into_ptr().cast::<Whole<F>>();
        // SAFETY: by the caller's word the layout is right and nobody else uses this place.
        unsafe { (*whole.as_ref().body.get()).write(body) };
        self.stage.set(Stage::Starting);
        if let Some(system) = self.system() {
            system.counters().add(Count::Started, 1);
        }
        self.has_body.set(true);
        // It is `SCHEDULED` from before: all that it needs is to be queued.
        self.cell.queue_newborn();
    }

    /// Adds an entry at the end of the queue, which needs no room or has it already.
    #[inline(always)]
    pub(super) fn push(&self, entry: Entry<M>) -> Pushed {
        // SAFETY: all values in the queue of a cell for `M` are `Entry<M>`s.
        unsafe { push(self, entry) }
    }

    /// Adds an entry at the end of the queue, if there is room for it and nobody waits for some; gives it back else.
    pub(super) fn push_within(&self, bounds: &Bounds, entry: Entry<M>) -> Result<Pushed, Entry<M>> {
        // SAFETY: as in `push`.
        let pushed = unsafe { self.queue.push_within(entry, bounds) }?;
        self.count_push();
        Ok(pushed)
    }

    /// Whether there is something to take, as far as the senders have come.
    ///
    /// # Safety
    ///
    /// As [`pop`](Self::pop).
    pub(super) unsafe fn has_next(&self) -> bool {
        // SAFETY: the caller's word.
        unsafe { self.queue.has_next(&self.reader) }
    }

    /// Takes the oldest entry.
    ///
    /// # Safety
    ///
    /// The caller holds `SCHEDULED`, and where the bound has a lock for the reader, that too.
    #[inline(always)]
    pub(super) unsafe fn pop(&self) -> Pop<Entry<M>> {
        // SAFETY: the type as in `push`; the rest is the caller's word.
        let popped = unsafe { self.queue.pop(&self.reader) };
        self.count_pop(&popped);
        popped
    }
}

impl VTable {
    const fn of<M: Send + 'static, F>() -> Self
    where
        F: Future<Output = ExitReason> + Send + 'static,
    {
        Self {
            poll: poll::<F>,
            drop_body: drop_body::<F>,
            free: free::<M, F>,
            push_own: |core, own| {
                // SAFETY: this table belongs to cells whose queues hold `Entry<M>`s.
                unsafe { push(core, Entry::<M>::from(own)) == Pushed::Asleep }
            },
            discard: discard::<M>,
            bytes: size_of::<Whole<F>>(),
            entry_bytes: node_bytes::<Entry<M>>(),
            message: std::any::type_name::<M>,
        }
    }
}

/// # Safety
///
/// The cell was built for `M`.
#[inline(always)]
unsafe fn push<M>(core: &Core, entry: Entry<M>) -> Pushed {
    core.count_push();
    // SAFETY: all values in the queue of a cell for `M` are `Entry<M>`s.
    unsafe { if core.bounds.is_some() { core.queue.push_beside(entry) } else { core.queue.push(entry) } }
}

/// # Safety
///
/// The cell was built for an `F` and has a body; the caller holds `SCHEDULED`.
unsafe fn poll<F: Future<Output = ExitReason>>(
    core: NonNull<Core>,
    cx: &mut Context<'_>,
    ended: &mut Option<ExitReason>,
) {
    // SAFETY: there is a body, which nobody else uses. It is pinned: a cell never moves and drops its body in place.
    let polled = unsafe {
        let body = core.cast::<Whole<F>>().as_ref().body.get();
        Pin::new_unchecked((*body).assume_init_mut()).poll(cx)
    };
    if let Poll::Ready(reason) = polled {
        *ended = Some(reason);
    }
}

/// # Safety
///
/// As [`poll`]; and the body is not used any more.
unsafe fn drop_body<F>(core: NonNull<Core>) {
    // SAFETY: there is a body, which nobody else uses.
    unsafe { (*core.cast::<Whole<F>>().as_ref().body.get()).assume_init_drop() }
}

/// # Safety
///
/// The cell was built for `M` and `F`, has no body, and this was the last reference.
unsafe fn free<M, F>(core: NonNull<Core>) {
    // What the messages and the reason of the end drop is the user's, and this may be anybody's thread.
    // SAFETY: nobody else can reach the cell, so this is its reader and its owner.
    unsafe {
        while !matches!(quietly(|| discard::<M>(core.as_ref())), Some(Pop::Empty | Pop::Busy)) {}
        quietly(|| drop(Box::from_raw(core.cast::<Whole<F>>().as_ptr())));
    }
}

/// Drops the oldest entry and says whether it was a message.
///
/// # Safety
///
/// The cell was built for `M`, and the caller is its reader.
unsafe fn discard<M>(core: &Core) -> Pop<bool> {
    // A sender that was at the bound when the door closed may still be taking the oldest away.
    let reader = core.bounds.as_ref().and_then(|bounds| bounds.reader());
    // SAFETY: the type is right, and the rest is the caller's word.
    let popped = unsafe { core.queue.pop::<Entry<M>>(&core.reader) };
    drop(reader);
    match popped {
        Pop::Item(entry) => {
            core.count_discarded();
            Pop::Item(entry.is_message())
        }
        Pop::Empty => {
            core.count_pop(&popped);
            Pop::Empty
        }
        Pop::Busy => Pop::Busy,
    }
}

impl Core {
    pub(crate) fn id(&self) -> ActorId {
        ActorId::from_bits(self.id.load(Ordering::Relaxed))
    }

    pub(crate) fn door(&self) -> Door {
        match self.door.load(Ordering::Acquire) {
            0 => Door::Open,
            1 => Door::Draining,
            _ => Door::Closed,
        }
    }

    /// For whoever holds the lock of the cold part.
    pub(super) fn set_door(&self, door: Door) {
        self.door.store(door as u8, Ordering::Release);
    }

    /// No user code runs under the lock, so a poisoned one holds a sound state.
    pub(super) fn cold(&self) -> MutexGuard<'_, Option<Box<Cold>>> {
        self.cold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn system(&self) -> Option<&system::Inner> {
        // SAFETY: an `Arc` that this cell owns from when it is set until it is freed.
        unsafe { self.system.load(Ordering::Acquire).as_ref() }
    }

    /// The timers of its system; none before its first start.
    pub(crate) fn timers(&self) -> Option<&Timers> {
        self.system().map(system::Inner::timers)
    }

    /// Makes the cell belong to a system. For whoever may give it a body: nobody is about to queue it.
    pub(super) fn join(&self, system: &Arc<system::Inner>) {
        let new = Arc::as_ptr(system).cast_mut();
        if self.system.load(Ordering::Acquire) == new {
            return;
        }
        let former = self.system.swap(Arc::into_raw(Arc::clone(system)).cast_mut(), Ordering::AcqRel);
        if !former.is_null() {
            // SAFETY: it was made by `into_raw`, here.
            let former = unsafe { Arc::from_raw(former.cast_const()) };
            // Someone may still be at work with it: it stays as long as the cell, and once is enough.
            self.with_cold(|cold| {
                if !cold.former_systems.iter().any(|known| Arc::ptr_eq(known, &former)) {
                    cold.former_systems.push(former);
                }
            });
        }
    }

    /// Counts without a common write of all senders: those that push at once may be counted as one, until the queue
    /// is empty again.
    fn count_push(&self) {
        self.pushed.store(self.pushed.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    fn count_pop<T>(&self, popped: &Pop<T>) {
        match popped {
            Pop::Item(_) => {
                self.taken.store(self.taken.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
            Pop::Empty => self.pushed.store(self.taken() as u32, Ordering::Relaxed),
            Pop::Busy => {}
        }
    }

    /// One entry less waits, and nobody has handled it.
    fn count_discarded(&self) {
        self.pushed.store(self.pushed.load(Ordering::Relaxed).wrapping_sub(1), Ordering::Relaxed);
    }

    /// The number of entries that wait. Without a bound, and while several send at once, perhaps a few less.
    pub(crate) fn depth(&self) -> usize {
        if let Some(bounds) = &self.bounds {
            return bounds.depth(&self.made, self.queue.credit());
        }
        let pushed = self.pushed.load(Ordering::Relaxed);
        let waiting = pushed.wrapping_sub(self.taken() as u32).cast_signed();
        usize::try_from(waiting).unwrap_or(0)
    }

    /// The number of entries that were taken out of the queue.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether there may be room for one more message.
    pub(super) fn may_have_room(&self, bounds: &Bounds) -> bool {
        self.queue.credit() > 0 || bounds.has_room()
    }

    /// Takes away the room that senders have fetched and not used.
    pub(super) fn take_credit(&self) -> u32 {
        self.queue.take_credit()
    }

    /// Whether the actor has found its queue empty, and nothing has come since.
    pub(super) fn has_gone_to_sleep(&self) -> bool {
        self.queue.is_asleep()
    }

    /// The size of the allocation.
    pub(crate) fn bytes(&self) -> usize {
        self.vtable.bytes
    }

    /// The size of an entry, as it is queued.
    pub(super) fn entry_bytes(&self) -> usize {
        self.vtable.entry_bytes
    }

    /// The name of the type of its messages.
    pub(crate) fn message_type(&self) -> &'static str {
        (self.vtable.message)()
    }

    /// Queues what the runtime has to say. True where the cell has to be woken.
    pub(super) fn push_own(&self, own: Own) -> bool {
        (self.vtable.push_own)(self, own)
    }
}

impl AnyCell {
    /// Adds a reference.
    ///
    /// # Safety
    ///
    /// Someone holds a reference.
    pub(super) unsafe fn from_ptr(core: NonNull<Core>) -> Self {
        // Relaxed, as in `Arc`: the new reference is made from one that keeps the cell alive.
        // SAFETY: the caller's word.
        let before = unsafe { core.as_ref() }.refs.fetch_add(1, Ordering::Relaxed);
        if before > u32::MAX / 2 {
            // Leaked references only; two more and the count would wrap into a use after free.
            std::process::abort();
        }
        Self(core)
    }

    /// Adds a reference, unless the last one has been dropped.
    ///
    /// # Safety
    ///
    /// The memory of the cell is not freed meanwhile.
    pub(super) unsafe fn upgrade(core: NonNull<Core>) -> Option<Self> {
        // SAFETY: the caller's word.
        let refs = &unsafe { core.as_ref() }.refs;
        let add = |count: u32| (count > 0).then_some(count + 1);
        refs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).is_ok().then(|| Self(core))
    }

    /// Takes over a reference that was [given up](Self::into_ptr).
    ///
    /// # Safety
    ///
    /// It was, and this is the only time that it is taken over.
    pub(super) unsafe fn take_over(core: NonNull<Core>) -> Self {
        Self(core)
    }

    /// Gives up a reference without dropping it.
    pub(super) fn into_ptr(self) -> NonNull<Core> {
        ManuallyDrop::new(self).0
    }

    pub(super) fn ptr(&self) -> NonNull<Core> {
        self.0
    }

    /// Takes over the reference that the cell has while it has a body.
    ///
    /// # Safety
    ///
    /// The caller holds `SCHEDULED`, and has just dropped the body.
    pub(super) unsafe fn take_back(&self) -> Self {
        Self(self.0)
    }

    /// Polls the body. Where that is its end, `ended` is why; a reason that was returned would be moved from function to
    /// function each time, though mostly there is none.
    ///
    /// # Safety
    ///
    /// There is one, and the caller holds `SCHEDULED`.
    pub(super) unsafe fn poll_body(&self, cx: &mut Context<'_>, ended: &mut Option<ExitReason>) {
        // SAFETY: the table fits the cell; the rest is the caller's word.
        unsafe { (self.vtable.poll)(self.0, cx, ended) }
    }

    /// Drops the body in place.
    ///
    /// # Safety
    ///
    /// As [`poll_body`](Self::poll_body).
    pub(super) unsafe fn drop_body(&self) {
        self.has_body.set(false);
        // SAFETY: as above; it is not used again, since there is none any more.
        unsafe { (self.vtable.drop_body)(self.0) }
    }

    /// Drops the oldest entry and says whether it was a message.
    ///
    /// # Safety
    ///
    /// The caller holds `SCHEDULED`.
    pub(super) unsafe fn discard(&self) -> Pop<bool> {
        // SAFETY: the table fits the cell; holding `SCHEDULED`, the caller is the reader.
        unsafe { (self.vtable.discard)(self) }
    }
}

impl Deref for AnyCell {
    type Target = Core;

    fn deref(&self) -> &Core {
        // SAFETY: a reference keeps the cell alive. The body is not part of what is lent.
        unsafe { self.0.as_ref() }
    }
}

impl Clone for AnyCell {
    fn clone(&self) -> Self {
        // SAFETY: `self` keeps it alive.
        unsafe { Self::from_ptr(self.0) }
    }
}

impl Drop for AnyCell {
    fn drop(&mut self) {
        if self.refs.fetch_sub(1, Ordering::Release) != 1 {
            return;
        }
        // As in `Arc`: all uses happen before the end. A load, because the tools that look for races know no fences.
        self.refs.load(Ordering::Acquire);
        debug_assert!(!self.has_body.get(), "a cell with a body has a reference");
        // SAFETY: this was the last reference. While there is a body there is one more, so there is none.
        unsafe { (self.vtable.free)(self.0) };
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.state.load() & state::DEAD == 0 {
            table::leave(self.id());
        }
        let system = self.system.load(Ordering::Relaxed);
        if !system.is_null() {
            // SAFETY: it was made by `into_raw` in `join`, and only this gives it back.
            drop(unsafe { Arc::from_raw(system.cast_const()) });
        }
    }
}

impl<M> Deref for CellRef<M> {
    type Target = AnyCell;

    fn deref(&self) -> &AnyCell {
        &self.cell
    }
}

impl<M> Lent<M> {
    /// The system that the body runs in.
    pub(crate) fn home(&self) -> &system::Inner {
        // SAFETY: a cell belongs to a system before it gets a body, and this is part of one. See also `Core::system`.
        unsafe { &*self.0.system.load(Ordering::Relaxed) }
    }

    /// The system that the body runs in, as its users see it.
    pub(crate) fn home_system(&self) -> &system::System {
        let system = self.home().loan().get();
        // SAFETY: `SystemBuilder::build` sets it before anybody has the system.
        unsafe { system.unwrap_unchecked() }
    }

    /// Lends it once more, to another part of the same body.
    #[cfg(feature = "testing")]
    pub(crate) fn again(&self) -> Self {
        Self(ManuallyDrop::new(CellRef { cell: AnyCell(self.0.cell.0), messages: PhantomData }))
    }
}

impl<M> Deref for Lent<M> {
    type Target = CellRef<M>;

    fn deref(&self) -> &CellRef<M> {
        &self.0
    }
}

impl<M> Clone for CellRef<M> {
    fn clone(&self) -> Self {
        Self { cell: self.cell.clone(), messages: PhantomData }
    }
}
