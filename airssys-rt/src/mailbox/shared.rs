//! The queue itself, as senders see it.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::sync::oneshot;

use crate::actor_ref::{ActorId, Slot};
use crate::exit::ExitReason;
use crate::link::{Bereaved, Down, MonitorRef, Tell, Watched, Watcher};
use crate::observe::{EventKind, Reporter};
use crate::timer::TimerRef;

/// One thing in the queue.
pub(crate) enum Entry<M> {
    Message(M),
    /// A timer of the actor is due.
    Timer(TimerRef),
    /// A monitored actor ended. Boxed, because it is rare and must not make every entry larger.
    Down(Box<Down>),
    /// The actor has put something off. Never in a queue: its context hands it out.
    Continue,
}

/// A message that was not queued.
pub(crate) enum Refused<M> {
    Full(M),
    Closed(M),
}

/// A queue and everything about it that outlives the incarnations of its actor.
///
/// The reader swaps the whole queue for an empty one and works through it alone, so that a message costs one short
/// lock at its sender and next to nothing at its receiver. What it has in hand still counts against the capacity.
#[repr(C)]
pub(crate) struct Shared<M> {
    slot: Slot,
    /// `usize::MAX` is no bound.
    capacity: usize,
    /// How many `Mailbox` values keep it open.
    pub(super) owners: AtomicUsize,
    state: Mutex<State<M>>,
    /// Keeps what the reader writes at each message off the cache lines that senders lock. (Not by alignment, which
    /// would cost more memory in the allocator than it needs here.)
    _apart: [u8; 64],
    /// Entries that the reader has swapped out and not taken yet. It alone writes it.
    pub(super) in_hand: AtomicUsize,
    /// Whether anyone waits for room.
    ///
    /// INVARIANT: a sender sets it before it looks at `in_hand` for the last time, and the reader lowers `in_hand`
    /// before it looks here, both sequentially consistent: so one of them sees the other, and no sender waits
    /// beside free room.
    contended: AtomicBool,
}

pub(super) struct State<M> {
    pub(super) queue: VecDeque<Entry<M>>,
    /// What the reader's last swap brought: `in_hand` is that or less.
    pub(super) batch: usize,
    /// The reader's waker while it waits for an entry.
    pub(super) reader: Option<Waker>,
    pub(super) door: Door,
    /// Whether an incarnation has the reading end.
    pub(super) has_reader: bool,
    /// Senders that wait for room, oldest first, by ascending ticket.
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
    /// Room that was promised to senders which stopped waiting and have not queued their message yet.
    granted: usize,
    watchers: Vec<Watcher>,
    last_exit: Option<ExitReason>,
    /// Who hears of dead letters; known once an incarnation has started.
    reporter: Option<Reporter>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Open,
    /// No new messages: the actor handles what is queued and stops. Opens again with the next incarnation.
    Draining,
    /// For ever.
    Closed,
}

struct Waiting {
    ticket: u64,
    waker: Waker,
}

impl<M> Shared<M> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            slot: Slot::claim(),
            capacity,
            owners: AtomicUsize::new(1),
            state: Mutex::new(State {
                queue: VecDeque::new(),
                batch: 0,
                reader: None,
                door: Door::Open,
                has_reader: false,
                waiting: VecDeque::new(),
                next_ticket: 0,
                granted: 0,
                watchers: Vec::new(),
                last_exit: None,
                reporter: None,
            }),
            _apart: [0; 64],
            in_hand: AtomicUsize::new(0),
            contended: AtomicBool::new(false),
        }
    }

    pub(crate) fn id(&self) -> ActorId {
        self.slot.id()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().door == Door::Open
    }

    pub(crate) fn depth(&self) -> usize {
        let state = self.lock();
        state.queue.len() + self.in_hand.load(Ordering::Relaxed)
    }

    pub(crate) fn try_send(&self, message: M) -> Result<(), Refused<M>> {
        let state = self.lock();
        if state.door != Door::Open {
            return Err(Refused::Closed(message));
        }
        // Whoever waits was here first.
        if !self.has_room(&state) || !state.waiting.is_empty() {
            return Err(Refused::Full(message));
        }
        push(state, Entry::Message(message));
        Ok(())
    }

    /// Queues a message, waiting for room; gives it back where the queue takes no more.
    pub(crate) async fn send(&self, message: M) -> Result<(), M> {
        let message = match self.try_send(message) {
            Ok(()) => return Ok(()),
            Err(Refused::Closed(message)) => return Err(message),
            Err(Refused::Full(message)) => message,
        };
        let mut message = Some(message);
        let mut place = Place { shared: self, ticket: None };
        poll_fn(|task| place.poll(task.waker(), &mut message)).await
    }

    pub(crate) fn timer_due(&self, timer: TimerRef) {
        self.push_own(Entry::Timer(timer));
    }

    /// Queues what the actor itself has asked for, whatever the capacity.
    fn push_own(&self, entry: Entry<M>) {
        let state = self.lock();
        if state.door != Door::Closed {
            push(state, entry);
        }
    }

    /// Refuses messages from now on; the reader comes to an end when it has taken all.
    pub(crate) fn drain(&self) {
        let mut state = self.lock();
        if state.door == Door::Open {
            state.door = Door::Draining;
        }
        // They stay in line: should the next incarnation open the door before they look, they go on waiting.
        let wakers: Vec<Waker> = state.waiting.iter().map(|waiting| waiting.waker.clone()).collect();
        let reader = state.reader.take();
        drop(state);
        wakers.into_iter().chain(reader).for_each(Waker::wake);
    }

    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.door = Door::Closed;
        let queue = std::mem::take(&mut state.queue);
        let waiting = std::mem::take(&mut state.waiting);
        let watchers = std::mem::take(&mut state.watchers);
        let reporter = state.reporter.take();
        let reason = state.last_exit.clone().unwrap_or(ExitReason::NoProc);
        drop(state);

        waiting.into_iter().for_each(|waiting| waiting.waker.wake());
        watchers.into_iter().for_each(|watcher| watcher.tell(self.id(), &reason));
        let count = queue.iter().filter(|entry| matches!(entry, Entry::Message(_))).count();
        drop(queue);
        if let Some(reporter) = reporter.filter(|_| count > 0) {
            reporter.tell(EventKind::DeadLetters { count });
        }
    }

    /// Notes that an incarnation starts, and who hears of its dead letters.
    pub(crate) fn begin(&self, reporter: &Reporter) {
        self.lock().reporter = Some(reporter.clone());
    }

    /// Notes how the incarnation ended; hands out those who are to be told.
    pub(crate) fn end(&self, reason: &ExitReason) -> Vec<Watcher> {
        let mut state = self.lock();
        state.last_exit = Some(reason.clone());
        std::mem::take(&mut state.watchers)
    }

    /// Adds one to those who are told of the next end; gives it back where there will be none.
    pub(crate) fn watch(&self, watcher: Watcher) -> Result<(), Watcher> {
        let mut state = self.lock();
        if state.door == Door::Closed {
            return Err(watcher);
        }
        state.watchers.push(watcher);
        Ok(())
    }

    fn forget(&self, monitor: MonitorRef) {
        self.lock().watchers.retain(|watcher| watcher.monitor != monitor);
    }

    pub(crate) async fn exited(&self) -> ExitReason {
        let (tell, told) = oneshot::channel();
        let monitor = MonitorRef::unique();
        if self.watch(Watcher { monitor, tell: Tell::Waiter(tell) }).is_ok() {
            let _forget = Forget { shared: self, monitor };
            if let Ok(reason) = told.await {
                return reason;
            }
        }
        self.lock().last_exit.clone().unwrap_or(ExitReason::NoProc)
    }

    /// Gives free room to those who wait, oldest first. For the reader, whenever there may be some.
    pub(super) fn grant(&self) {
        if !self.contended.load(Ordering::SeqCst) {
            return;
        }
        let mut state = self.lock();
        let mut woken = Vec::new();
        while self.has_room(&state) {
            let Some(next) = state.waiting.pop_front() else { break };
            state.granted += 1;
            woken.push(next.waker);
        }
        self.contended.store(!state.waiting.is_empty(), Ordering::SeqCst);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    pub(super) fn is_bounded(&self) -> bool {
        self.capacity != usize::MAX
    }

    /// No user code runs under the lock, so a poisoned one holds a sound state.
    pub(super) fn lock(&self) -> MutexGuard<'_, State<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has_room(&self, state: &State<M>) -> bool {
        let left = self.capacity.saturating_sub(state.queue.len() + state.granted);
        // Most of the time the size of the last swap tells, and the reader's cache line is left in peace.
        left > state.batch || left > self.in_hand.load(Ordering::SeqCst)
    }
}

impl<M: Send> Watched for Shared<M> {
    fn unwatch(&self, monitor: MonitorRef) {
        self.forget(monitor);
    }
}

impl<M: Send> Bereaved for Shared<M> {
    fn down(&self, down: Down) {
        self.push_own(Entry::Down(Box::new(down)));
    }
}

/// Queues an entry and wakes the reader, not under the lock.
fn push<M>(mut state: MutexGuard<'_, State<M>>, entry: Entry<M>) {
    state.queue.push_back(entry);
    let reader = state.reader.take();
    drop(state);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// A sender's place in the line before a full mailbox.
struct Place<'a, M> {
    shared: &'a Shared<M>,
    /// Its ticket, once it has one. A ticket that is not in line any more has been granted its room.
    ticket: Option<u64>,
}

impl<M> Place<'_, M> {
    fn poll(&mut self, waker: &Waker, message: &mut Option<M>) -> Poll<Result<(), M>> {
        let mut state = self.shared.lock();
        let Some(ticket) = self.ticket else {
            return self.join(state, waker, message);
        };
        if state.door == Door::Open
            && let Ok(index) = state.find(ticket)
        {
            if let Some(waiting) = state.waiting.get_mut(index) {
                waiting.waker.clone_from(waker);
            }
            return Poll::Pending;
        }
        if state.door != Door::Open {
            drop(state);
            return message.take().map_or(Poll::Pending, |message| Poll::Ready(Err(message)));
        }
        self.ticket = None;
        state.granted -= 1;
        self.enter(state, message)
    }

    /// Looks for room once more, now that the reader knows of us, and gets in line if there is none.
    fn join(
        &mut self,
        mut state: MutexGuard<'_, State<M>>,
        waker: &Waker,
        message: &mut Option<M>,
    ) -> Poll<Result<(), M>> {
        self.shared.contended.store(true, Ordering::SeqCst);
        if state.door != Door::Open {
            drop(state);
            return message.take().map_or(Poll::Pending, |message| Poll::Ready(Err(message)));
        }
        if state.waiting.is_empty() && self.shared.has_room(&state) {
            return self.enter(state, message);
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(Waiting { ticket, waker: waker.clone() });
        self.ticket = Some(ticket);
        Poll::Pending
    }

    fn enter(&self, state: MutexGuard<'_, State<M>>, message: &mut Option<M>) -> Poll<Result<(), M>> {
        if let Some(message) = message.take() {
            push(state, Entry::Message(message));
        }
        Poll::Ready(Ok(()))
    }
}

impl<M> Drop for Place<'_, M> {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let mut state = self.shared.lock();
        match state.find(ticket) {
            Ok(index) => drop(state.waiting.remove(index)),
            // The door closed for ever: nothing was granted.
            Err(_) if state.door == Door::Closed => {}
            Err(_) => {
                state.granted -= 1;
                drop(state);
                self.shared.grant();
            }
        }
    }
}

impl<M> State<M> {
    fn find(&self, ticket: u64) -> Result<usize, usize> {
        self.waiting.binary_search_by_key(&ticket, |waiting| waiting.ticket)
    }
}

/// Takes a waiter off the list when its future is dropped.
struct Forget<'a, M> {
    shared: &'a Shared<M>,
    monitor: MonitorRef,
}

impl<M> Drop for Forget<'_, M> {
    fn drop(&mut self) {
        self.shared.forget(self.monitor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::Context;

    #[test]
    fn one_who_stops_waiting_for_the_end_is_forgotten() {
        let shared = Shared::<()>::new(1);
        {
            let mut exited = pin!(shared.exited());
            assert!(exited.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            assert_eq!(shared.lock().watchers.len(), 1);
        }
        assert_eq!(shared.lock().watchers.len(), 0);
    }
}
