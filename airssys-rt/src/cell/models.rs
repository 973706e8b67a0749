//! Every interleaving of the lock-free parts, as loom sees them: of the cell as it is, not of a copy.
//!
//! `cargo xtask models` runs them. Only tokio's and crossbeam's own parts (who waits for room, the run queue) are
//! taken as given: each of their operations happens at once. No drainer is polled; the models run what is queued.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Wake, Waker};

use loom::thread;

use super::core::CellRef;
use super::queue::{Pop, Pushed, Queue, Reader};
use super::run::PROVEN;
use super::{Answer, Cold, Door, channel, life, page, table};
use crate::actor::{Actor, Context, Init};
use crate::exit::ExitReason;
use crate::mailbox::{Mailbox, MailboxOptions, Overflow};
use crate::system::System;

struct Pair {
    queue: Queue,
    reader: Reader,
}

// SAFETY: in these models one thread at a time reads.
unsafe impl Send for Pair {}
// SAFETY: as above.
unsafe impl Sync for Pair {}

impl Pair {
    fn new() -> Arc<Self> {
        Arc::new(Self { queue: Queue::new(), reader: Reader::new() })
    }

    fn push(&self, value: Box<u32>) -> bool {
        // SAFETY: all values are boxes.
        unsafe { self.queue.push(value) == Pushed::Asleep }
    }

    fn pop(&self) -> Pop<Box<u32>> {
        // SAFETY: as above.
        unsafe { self.queue.pop(&self.reader) }
    }
}

/// Runs a model as often as there are interleavings with so many preemptions.
pub(crate) fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Where nobody chose another.
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.max_branches = 100_000;
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    builder.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} interleavings", count.load(Ordering::Relaxed));
}

#[test]
fn models_push_and_pop() {
    explore(3, || {
        let pair = Pair::new();
        let senders: Vec<_> = [10, 20]
            .map(|base| {
                let pair = Arc::clone(&pair);
                thread::spawn(move || {
                    pair.push(Box::new(base));
                    pair.push(Box::new(base + 1));
                })
            })
            .into();
        let mut seen = Vec::new();
        while seen.len() < 4 {
            match pair.pop() {
                Pop::Item(value) => seen.push(*value),
                Pop::Empty | Pop::Busy => thread::yield_now(),
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
        assert!(matches!(pair.pop(), Pop::Empty));
        let of = |base: u32| seen.iter().copied().filter(|value| value / 10 == base).collect::<Vec<u32>>();
        assert_eq!((of(1), of(2)), (vec![10, 11], vec![20, 21]));
    });
}

#[test]
fn models_credit_is_room_and_no_more() {
    explore(3, || {
        let bounds = MailboxOptions::bounded(16).bounds().unwrap();
        // Of sixteen, so that there is credit, three are left.
        for _ in 0..7 {
            assert_eq!(bounds.take(), 2);
        }
        bounds.give(1);
        let (pair, bounds) = (Pair::new(), Arc::new(bounds));
        let push = |number| {
            let (pair, bounds) = (Arc::clone(&pair), Arc::clone(&bounds));
            // SAFETY: all values are boxes.
            move || u32::from(unsafe { pair.queue.push_within(Box::new(number), &bounds) }.is_ok())
        };
        let senders = [10, 20].map(push).map(thread::spawn);
        let mut pushed = push(30)();
        bounds.give(pair.queue.take_credit());
        pushed += senders.into_iter().map(|sender| sender.join().unwrap()).sum::<u32>();
        // Who comes while another one fetches may be told that there is none.
        assert!((1..=3).contains(&pushed));
        let mut left = pair.queue.take_credit();
        while let taken @ 1.. = bounds.take() {
            left += taken;
        }
        assert_eq!(pushed + left, 3);
        for _ in 0..pushed {
            assert!(matches!(pair.pop(), Pop::Item(_)));
        }
        assert!(matches!(pair.pop(), Pop::Empty));
    });
}

/// A waker that counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Looks for an answer, with a waker of its own.
fn look(answer: &mut Answer<Word>) -> (Poll<Option<Word>>, Arc<Bell>) {
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    (Pin::new(answer).poll(&mut Task::from_waker(&waker)), bell)
}

/// Runs a model of one answer. Where there was a word, it is dropped in the end, once.
fn explore_answers(model: impl Fn(&Arc<Tally>) + Sync + Send + 'static) {
    explore(3, move || {
        let tally = Arc::default();
        model(&tally);
        assert_eq!(tally.made.load(Ordering::Relaxed), tally.dropped.load(Ordering::Relaxed));
    });
}

#[test]
fn models_an_answer_meets_a_caller_who_looks_twice() {
    explore_answers(|tally| {
        let (answerer, mut answer) = channel();
        let word = Word::new(tally);
        let thread = thread::spawn(move || answerer.send(word));
        let mut last = Arc::default();
        for _ in 0..2 {
            let looked;
            (looked, last) = look(&mut answer);
            if let Poll::Ready(word) = looked {
                assert!(word.is_some());
                return join([thread]);
            }
        }
        join([thread]);
        assert_eq!(last.0.load(Ordering::Relaxed), 1, "the waker that it was given last");
        assert!(matches!(look(&mut answer).0, Poll::Ready(Some(_))));
    });
}

#[test]
fn models_an_answer_meets_a_caller_who_gives_up() {
    explore_answers(|tally| {
        let (answerer, mut answer) = channel();
        let word = Word::new(tally);
        let thread = thread::spawn(move || answerer.send(word));
        drop(look(&mut answer));
        drop(answer);
        join([thread]);
    });
}

#[test]
fn models_nobody_answers_a_caller() {
    explore_answers(|_| {
        let (answerer, mut answer) = channel();
        let thread = thread::spawn(move || drop(answerer));
        let (looked, bell) = look(&mut answer);
        join([thread]);
        if looked.is_pending() {
            assert_eq!(bell.0.load(Ordering::Relaxed), 1);
            assert!(matches!(look(&mut answer).0, Poll::Ready(None)));
        }
        assert!(answer.is_there());
    });
}

/// What a model counts.
#[derive(Default)]
struct Tally {
    inside: AtomicBool,
    handled: AtomicUsize,
    made: AtomicUsize,
    dropped: AtomicUsize,
    waker: Mutex<Option<Waker>>,
}

/// A message; it is dropped once.
struct Word(Arc<Tally>);

impl Word {
    fn new(tally: &Arc<Tally>) -> Self {
        tally.made.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(tally))
    }
}

impl Drop for Word {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

/// Handles words, one at a time.
struct Listener {
    tally: Arc<Tally>,
    /// Whether it waits, in its `init`, until it is woken twice.
    sleepy: bool,
}

impl Actor for Listener {
    type Msg = Word;

    async fn init(&mut self, _: &mut Context<Self>) -> Result<Init, ExitReason> {
        let mut polls = 0;
        poll_fn(|task| {
            *self.tally.waker.lock().unwrap() = Some(task.waker().clone());
            polls += 1;
            if self.sleepy && polls < 2 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        Ok(Init::Ready)
    }

    async fn handle(&mut self, word: Word, _: &mut Context<Self>) -> Result<(), ExitReason> {
        assert!(!self.tally.inside.swap(true, Ordering::Relaxed));
        // Where others may come in between.
        thread::yield_now();
        drop(word);
        self.tally.handled.fetch_add(1, Ordering::Relaxed);
        self.tally.inside.store(false, Ordering::Relaxed);
        Ok(())
    }
}

/// One run of a model.
struct Play {
    system: System,
    tally: Arc<Tally>,
}

impl Play {
    fn listener(&self) -> Listener {
        Listener { tally: Arc::clone(&self.tally), sleepy: false }
    }

    fn spawn(&self) -> CellRef<Word> {
        life::spawn(&self.system, None, None, self.listener())
    }

    fn word(&self) -> Word {
        Word::new(&self.tally)
    }

    /// Has a thread do something to the cell, with a reference of its own, and a word to send.
    fn thread(
        &self,
        cell: &CellRef<Word>,
        act: impl FnOnce(CellRef<Word>, Word) + 'static,
    ) -> thread::JoinHandle<()> {
        let (cell, word) = (cell.clone(), self.word());
        thread::spawn(move || act(cell, word))
    }

    /// Gives at most so many turns to what waits for one.
    fn run(&self, turns: usize) {
        run(&self.system, turns);
    }

    /// A second drainer.
    fn runner(&self, turns: usize) -> thread::JoinHandle<()> {
        let system = self.system.clone();
        thread::spawn(move || run(&system, turns))
    }

    fn handled(&self) -> usize {
        self.tally.handled.load(Ordering::Relaxed)
    }
}

fn run(system: &System, turns: usize) {
    for _ in 0..turns {
        let Some(runnable) = system.inner().scheduler().next() else { return };
        if let Some(again) = runnable.run().again {
            system.inner().enqueue(again);
            thread::yield_now();
        }
    }
}

/// As [`explore`], for cells. When the model is over, all words and all cells are gone.
fn explore_cells(preemptions: usize, model: impl Fn(&Play) + Sync + Send + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let guard = runtime.enter();
    let system = System::new();
    let references = Arc::strong_count(system.inner());
    let inner = system.clone();
    explore(preemptions, move || {
        let play = Play { system: inner.clone(), tally: Arc::default() };
        model(&play);
        play.run(usize::MAX);
        drop(play.tally.waker.lock().unwrap().take());
        let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
        assert_eq!(count(&play.tally.made), count(&play.tally.dropped), "words");
        assert_eq!(Arc::strong_count(&play.tally), 1, "a body is left");
        drop(play);
        assert_eq!(Arc::strong_count(inner.inner()), references + 1, "a cell is left");
        assert_eq!(table::count(), 0, "a cell that is gone can be found");
    });
    // Its end would look for its cells, and outside of a model there is no table of them.
    drop(guard);
    std::mem::forget((system, runtime));
}

fn join(threads: impl IntoIterator<Item = thread::JoinHandle<()>>) {
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Ends an actor that must have ended in order, and then handled `handled` words.
fn end(play: &Play, cell: CellRef<Word>, handled: usize) {
    play.run(usize::MAX);
    assert_eq!(play.handled(), handled);
    cell.kill();
    play.run(usize::MAX);
    assert!(matches!(cell.last_exit(), ExitReason::Killed), "{}", cell.last_exit());
}

fn offer(cell: CellRef<Word>, word: Word) {
    drop(cell.offer(word, None));
}

#[test]
fn models_no_wake_up_is_lost_and_nobody_runs_twice() {
    explore_cells(3, |play| {
        let cell = play.spawn();
        let threads = [play.thread(&cell, offer), play.thread(&cell, offer), play.runner(2)];
        play.run(2);
        join(threads);
        end(play, cell, 2);
    });
}

#[test]
fn models_a_caller_runs_an_actor_that_others_wake() {
    explore_cells(3, |play| {
        let cell = play.spawn();
        play.run(1);
        // Far from its next turn that is timed: no model has a clock.
        cell.pace.store(PROVEN + 30, super::sync::Ordering::Relaxed);
        let threads = [play.thread(&cell, offer), play.runner(2)];
        {
            let mut ask = pin!(cell.ask(play.word(), None));
            assert!(ask.as_mut().poll(&mut Task::from_waker(Waker::noop())).is_ready());
        }
        join(threads);
        end(play, cell, 2);
    });
}

#[test]
fn models_a_caller_asks_an_actor_that_ends() {
    explore_cells(3, |play| {
        let cell = play.spawn();
        play.run(1);
        // As above.
        cell.pace.store(PROVEN + 30, super::sync::Ordering::Relaxed);
        let threads = [play.thread(&cell, |cell, _| cell.kill()), play.runner(1)];
        {
            let mut ask = pin!(cell.ask(play.word(), None));
            assert!(ask.as_mut().poll(&mut Task::from_waker(Waker::noop())).is_ready());
        }
        join(threads);
        play.run(usize::MAX);
        assert!(matches!(cell.last_exit(), ExitReason::Killed), "{}", cell.last_exit());
    });
}

#[test]
fn models_a_kill_meets_a_message_and_the_last_references() {
    explore_cells(3, |play| {
        let cell = play.spawn();
        let threads = [play.thread(&cell, offer), play.thread(&cell, |cell, _| cell.kill())];
        drop(cell);
        play.run(2);
        join(threads);
    });
}

#[test]
fn models_a_stop_meets_urgent_messages() {
    explore_cells(3, |play| {
        let cell = play.spawn();
        play.run(1);
        let urge = |cell: CellRef<Word>, word| drop(cell.urge(word));
        let threads = [play.thread(&cell, urge), play.thread(&cell, |cell, _| cell.stop(ExitReason::GaveUp))];
        play.run(2);
        join(threads);
        play.run(usize::MAX);
        assert!(matches!(cell.last_exit(), ExitReason::GaveUp));
        assert!(cell.door() == Door::Closed);
    });
}

#[test]
fn models_late_messages_are_dropped_by_somebody() {
    explore_cells(3, |play| {
        let cell = play.spawn();
        play.run(1);
        cell.kill();
        // Two drainers and two senders: what comes too late has its cell queued once more.
        let threads = [play.thread(&cell, offer), play.thread(&cell, offer), play.runner(1)];
        drop(cell);
        play.run(1);
        join(threads);
    });
}

#[test]
fn models_a_waker_meets_the_end() {
    explore_cells(3, |play| {
        let listener = Listener { sleepy: true, ..play.listener() };
        let cell = life::spawn(&play.system, None, None, listener);
        play.run(1);
        let waker = play.tally.waker.lock().unwrap().take().unwrap();
        let threads = [thread::spawn(move || waker.wake()), play.thread(&cell, |cell, _| cell.kill())];
        drop(cell);
        play.run(2);
        join(threads);
    });
}

#[test]
fn models_a_mailbox_drops_its_oldest_as_it_ends() {
    explore_cells(3, |play| {
        let options = MailboxOptions::bounded(1).overflow(Overflow::DropOldest);
        let cell = life::spawn(&play.system, options.bounds(), None, play.listener());
        cell.offer(play.word(), None).ok().unwrap();
        cell.kill();
        let thread = play.thread(&cell, offer);
        drop(cell);
        play.run(2);
        join([thread]);
    });
}

#[test]
fn models_the_last_owner_leaves_as_an_incarnation_ends() {
    explore_cells(3, |play| {
        let mailbox = Mailbox::unbounded();
        life::spawn_on(&play.system, &mailbox, None, None, play.listener()).unwrap();
        let cell = mailbox.cell().clone();
        cell.kill();
        let owner = thread::spawn(move || drop(mailbox));
        play.run(1);
        join([owner]);
        play.run(usize::MAX);
        assert!(cell.door() == Door::Closed);
    });
}

#[test]
fn models_an_incarnation_follows_another() {
    explore_cells(3, |play| {
        let mailbox = Mailbox::unbounded();
        life::spawn_on(&play.system, &mailbox, None, None, play.listener()).unwrap();
        let cell = mailbox.cell().clone();
        cell.kill();
        let threads = [play.thread(&cell, offer), play.runner(1)];
        drop(cell);
        // Refused as long as the one before has not left.
        let next = life::spawn_on(&play.system, &mailbox, None, None, play.listener());
        play.run(1);
        join(threads);
        play.run(usize::MAX);
        assert_eq!(play.handled(), usize::from(next.is_ok()));
    });
}

#[test]
fn models_who_lists_cells_brings_none_back() {
    explore_cells(3, |play| {
        let cell: CellRef<Word> = CellRef::vacant(None, Box::new(Cold::default()));
        assert!(cell.offer(play.word(), None).is_ok());
        let thread = thread::spawn(move || drop(cell));
        drop(page(0, 8, |_| true));
        join([thread]);
    });
}
