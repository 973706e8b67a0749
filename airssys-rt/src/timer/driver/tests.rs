use std::sync::atomic::AtomicU32;
use std::task::Wake;

use tokio::runtime::Builder;

use super::*;
use crate::timer::timeout::{Elapsed, Timeout, until};

const MS: Duration = Duration::from_millis(1);

trait Alarm: Send + Sync + 'static {
    fn due(&self, timer: TimerRef);
}

fn tell(alarm: Arc<impl Alarm>, timer: TimerRef) -> Fire {
    Fire::Tell(Box::new(move || alarm.due(timer)))
}

fn timeout<F: Future>(timers: Option<&Timers>, limit: Duration, future: F) -> Timeout<'_, F> {
    until(timers, crate::cell::Deadline::after(limit), future)
}

/// Writes down who is due, and when.
#[derive(Default)]
struct Journal(Mutex<Vec<(TimerRef, Instant)>>);

impl Alarm for Journal {
    fn due(&self, timer: TimerRef) {
        self.0.lock().unwrap().push((timer, Instant::now()));
    }
}

impl Journal {
    fn take(&self) -> Vec<(TimerRef, Instant)> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// Counts how often it is woken.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn owner() -> Owner {
    Owner::new(Handle::current())
}

fn arm(timers: &Timers, journal: &Arc<Journal>, after: Duration) -> (TimerRef, Option<Key>) {
    let timer = TimerRef::unique();
    (timer, timers.arm(timers.now().after(after), tell(Arc::clone(journal), timer)))
}

fn passes(timers: &Timers) -> usize {
    timers.0.ticker.passes.load(Ordering::SeqCst)
}

fn pending<T>() -> std::future::Pending<T> {
    std::future::pending()
}

#[tokio::test(start_paused = true)]
async fn timers_fire_in_the_order_of_their_deadlines() {
    let (owner, journal, start) = (owner(), Arc::new(Journal::default()), Instant::now());
    let delays = [5_000, 3, 0, 70, 3, 4_097, 1, 70, 3_600_000];
    let mut expected: Vec<_> = delays
        .iter()
        .map(|ms| (MS * *ms, arm(owner.timers(), &journal, MS * *ms).0))
        .map(|(after, timer)| (start + after, timer))
        .collect();
    expected.sort();
    tokio::time::sleep(MS * 4_000_000).await;
    let fired: Vec<_> = journal.take().into_iter().map(|(timer, at)| (at, timer)).collect();
    assert_eq!(fired, expected);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_timer_wakes_the_ticker() {
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    for ms in [10_000, 1_000, 100, 10, 0] {
        arm(owner.timers(), &journal, MS * ms);
        tokio::time::sleep(MS).await;
    }
    assert_eq!(journal.take().len(), 1);
    tokio::time::sleep(MS * 10_000).await;
    assert_eq!(journal.take().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_later_timer_does_not_wake_the_ticker() {
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let keys: Vec<_> = (1_000..2_000).map(|ms| arm(owner.timers(), &journal, MS * ms).1).collect();
    tokio::time::sleep(MS).await;
    assert_eq!(passes(owner.timers()), 1);
    for key in keys {
        assert!(owner.timers().cancel(key.unwrap()));
        arm(owner.timers(), &journal, MS * 5_000);
        tokio::time::sleep(MS).await;
    }
    // Of the thousand that were cancelled, the one it slept for woke it.
    assert_eq!(passes(owner.timers()), 2);
}

#[tokio::test(start_paused = true)]
async fn timers_that_are_cancelled_one_after_the_other_wake_the_ticker_once() {
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    for _ in 0..1_000 {
        let (_, key) = arm(owner.timers(), &journal, MS * 5_000);
        owner.timers().cancel(key.unwrap());
        // The ticker may look, and finds nothing.
        tokio::time::sleep(MS).await;
    }
    assert_eq!(passes(owner.timers()), 1);
    // A timer that is due makes it look in between.
    arm(owner.timers(), &journal, Duration::ZERO);
    tokio::time::sleep(MS).await;
    let before = passes(owner.timers());
    for _ in 0..1_000 {
        let (_, key) = arm(owner.timers(), &journal, MS * 5_000);
        owner.timers().cancel(key.unwrap());
        tokio::time::sleep(MS).await;
    }
    assert_eq!(passes(owner.timers()), before);
}

#[tokio::test(start_paused = true)]
async fn the_ticker_wakes_once_for_what_was_cancelled_and_then_sleeps() {
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let keys: Vec<_> = (1..1_000).map(|s| arm(owner.timers(), &journal, MS * 977 * s).1).collect();
    tokio::time::sleep(MS).await;
    keys.into_iter().for_each(|key| assert!(owner.timers().cancel(key.unwrap())));
    let before = passes(owner.timers());
    tokio::time::sleep(MS * 1_000_000).await;
    assert_eq!(passes(owner.timers()) - before, 1);
    assert_eq!(journal.take(), []);
    // No timer is armed in tokio either: a year passes and nobody looks.
    tokio::time::sleep(MS * u32::MAX).await;
    assert_eq!(passes(owner.timers()) - before, 1);
}

#[tokio::test(start_paused = true)]
async fn the_longest_delay_does_not_overflow() {
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let century = MS * 1_000 * 3_600 * 24 * 365 * 100;
    arm(owner.timers(), &journal, Duration::MAX);
    arm(owner.timers(), &journal, century);
    tokio::time::advance(century - MS).await;
    tokio::time::sleep(Duration::ZERO).await;
    assert_eq!(journal.take(), []);
    tokio::time::sleep(MS * 2).await;
    assert_eq!(journal.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_one_timer_is_no_other_timers_business() {
    struct Bomb;
    impl Alarm for Bomb {
        fn due(&self, _: TimerRef) {
            panic!("told to");
        }
    }
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let timers = owner.timers();
    timers.arm(timers.now(), tell(Arc::new(Bomb), TimerRef::unique()));
    arm(timers, &journal, Duration::ZERO);
    arm(timers, &journal, MS);
    tokio::time::sleep(MS * 2).await;
    assert_eq!(journal.take().len(), 2);
}

/// What fires may arm and cancel: no lock is held.
#[tokio::test(start_paused = true)]
async fn what_fires_may_use_the_timers() {
    struct Again(Timers, Arc<Journal>);
    impl Alarm for Again {
        fn due(&self, _: TimerRef) {
            let (_, key) = arm(&self.0, &self.1, MS);
            self.0.cancel(key.unwrap());
            arm(&self.0, &self.1, MS);
        }
    }
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let timers = owner.timers();
    let again = Arc::new(Again(timers.clone(), Arc::clone(&journal)));
    timers.arm(timers.now(), tell(again, TimerRef::unique()));
    tokio::time::sleep(MS * 3).await;
    assert_eq!(journal.take().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_ticker_ends_with_its_owner() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let timers = owner.timers().clone();
    assert_eq!(tasks(), 0);
    arm(&timers, &journal, MS * 10);
    tokio::time::sleep(MS).await;
    assert_eq!(tasks(), 1);
    drop(owner);
    tokio::time::sleep(MS).await;
    assert_eq!(tasks(), 0);
    assert_eq!(Arc::strong_count(&journal), 1, "what was armed is dropped");
    assert_eq!(arm(&timers, &journal, MS).1, None);
    assert!(timers.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_timeout_arms_when_it_waits_and_disarms_when_it_is_dropped() {
    let (owner, start) = (owner(), Instant::now());
    let timers = Some(owner.timers());
    assert_eq!(timeout(timers, MS, std::future::ready(1)).await, Ok(1));
    assert!(!owner.timers().0.ticker.started.load(Ordering::SeqCst), "nothing was armed");
    assert_eq!(timeout(timers, Duration::ZERO, pending::<()>()).await, Err(Elapsed));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(timeout(timers, MS * 5, pending::<()>()).await, Err(Elapsed));
    assert_eq!(start.elapsed(), MS * 5);

    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    {
        let mut waits = timeout(timers, MS * 5, pending::<()>());
        let waits = std::pin::Pin::new(&mut waits);
        assert!(waits.poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        assert_eq!(Arc::strong_count(&bell), 3);
    }
    assert_eq!(Arc::strong_count(&bell), 2);
    tokio::time::sleep(MS * 10).await;
    assert_eq!(bell.0.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_wakes_the_waker_of_its_last_poll() {
    let owner = owner();
    let bells = [(); 2].map(|()| Arc::new(Bell::default()));
    let mut waits = timeout(Some(owner.timers()), MS * 5, pending::<()>());
    for bell in [&bells[0], &bells[0], &bells[1], &bells[1]] {
        let waker = Waker::from(Arc::clone(bell));
        let mut task = std::task::Context::from_waker(&waker);
        assert!(std::pin::Pin::new(&mut waits).poll(&mut task).is_pending());
    }
    tokio::time::sleep(MS * 10).await;
    assert_eq!(bells.map(|bell| bell.0.load(Ordering::SeqCst)), [0, 1]);
    assert_eq!(waits.await, Err(Elapsed));
}

#[test]
fn a_timeout_outlives_the_runtime_of_its_timers() {
    let theirs = Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let ours = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let owner = theirs.block_on(async { owner() });
    ours.block_on(async {
        let start = Instant::now();
        let mut waits = timeout(Some(owner.timers()), MS * 3_600_000, pending::<()>());
        assert!(tokio::time::timeout(MS, &mut waits).await.is_err());
        assert!(owner.timers().0.ticker.started.load(Ordering::SeqCst), "it is armed there");
        theirs.shutdown_background();
        assert_eq!(waits.await, Err(Elapsed));
        assert!(owner.timers().is_closed());
        // Of their time next to nothing had passed; it is ours that did.
        assert!(start.elapsed() >= MS * 3_000_000, "{:?}", start.elapsed());
        // And what comes later never arms there.
        assert_eq!(timeout(Some(owner.timers()), MS, pending::<()>()).await, Err(Elapsed));
    });
}

#[test]
fn a_timeout_does_not_rely_on_a_runtime_that_stands_still() {
    let runtime = || Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (theirs, ours) = (runtime(), runtime());
    let owner = theirs.block_on(async { owner() });
    let waits = timeout(Some(owner.timers()), MS, pending::<()>());
    assert_eq!(ours.block_on(waits), Err(Elapsed));
}

#[test]
fn timers_that_are_due_when_the_runtime_shuts_down() {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (journal, bell) = (Arc::new(Journal::default()), Arc::new(Bell::default()));
    let owner = runtime.block_on(async {
        let owner = owner();
        let timers = owner.timers();
        let waker = || Fire::Wake(Waker::from(Arc::clone(&bell)));
        // More than fire in one turn, and one for which the ticker sleeps.
        (0..3 * TURN).for_each(|_| assert!(timers.arm(timers.now(), waker()).is_some()));
        timers.arm(timers.now().after(MS), waker());
        arm(timers, &journal, MS);
        tokio::task::yield_now().await;
        owner
    });
    assert!((bell.0.load(Ordering::SeqCst) as usize) < 3 * TURN, "a turn is a part of them");
    drop(runtime);
    assert_eq!(bell.0.load(Ordering::SeqCst) as usize, 3 * TURN + 1);
    assert_eq!(Arc::strong_count(&bell), 1);
    assert_eq!(Arc::strong_count(&journal), 1);
    assert_eq!(journal.take(), []);
    assert_eq!(arm(owner.timers(), &journal, MS).1, None);
}

#[test]
fn without_a_time_driver_a_timeout_panics_where_it_waits() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let panicked = std::panic::catch_unwind(|| {
        runtime.block_on(async {
            let owner = owner();
            // So long that it cannot be over before anybody waits.
            timeout(Some(owner.timers()), MS * 3_600_000, pending::<()>()).await
        })
    });
    assert!(panicked.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_million_timers() {
    const MANY: u32 = 1_000_000;
    let (owner, journal) = (owner(), Arc::new(Journal::default()));
    let timers = owner.timers();
    let keys: Vec<_> =
        (0..MANY).map(|n| arm(timers, &journal, MS * (n % 1_000 * 10 + n / 100_000)).1).collect();
    for key in keys.into_iter().step_by(2) {
        assert!(timers.cancel(key.unwrap()));
    }
    tokio::time::sleep(MS * 10_001).await;
    let fired = journal.take();
    assert_eq!(fired.len() as u32, MANY / 2);
    assert!(fired.is_sorted_by_key(|(_, at)| *at));
}

/// Whatever the threads do at the same time, no timer is overslept: one that is lost would never be counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn timers_of_many_threads() {
    const EACH: u32 = 3_000;
    let owner = owner();
    let waiting: Vec<_> = (0..6)
        .map(|seed| {
            let timers = owner.timers().clone();
            tokio::spawn(async move {
                for n in 0..EACH {
                    let (ms, start) = ((n * 31 + seed) % 7, Instant::now());
                    let waits = timeout(Some(&timers), MS * ms, pending::<()>());
                    if n % 100 == 0 {
                        assert_eq!(waits.await, Err(Elapsed));
                        assert!(start.elapsed() >= MS * ms, "early");
                    } else {
                        // Armed, and disarmed at once.
                        let mut waits = std::pin::pin!(waits);
                        std::future::poll_fn(|task| {
                            drop(waits.as_mut().poll(task));
                            std::task::Poll::Ready(())
                        })
                        .await;
                    }
                }
            })
        })
        .collect();
    for task in waiting {
        task.await.unwrap();
    }
}
