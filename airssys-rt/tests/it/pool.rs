//! Pools of workers. OTP has none; what a worker is to its supervisor is in `supervisor`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::{
    Actor, Backoff, Balance, CallError, ChildSpec, Context, ExitReason, Pool, PoolRef, Reply, Restart,
    Shutdown, Strategy, Supervisor, System,
};

use super::stage::{LONG, crash, named, settle, start};

const MINUTE: Duration = Duration::from_secs(60);

enum Job {
    Note(u32),
    Who(Reply<usize>),
    Work(Duration),
    /// Works, and ends.
    Last(Duration),
    Crash,
    Done,
}

/// What the workers did: how each note was handled, by whom.
type Notes = Arc<Mutex<BTreeMap<u32, usize>>>;

struct Worker {
    index: usize,
    notes: Notes,
}

impl Actor for Worker {
    type Msg = Job;

    async fn handle(&mut self, job: Job, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match job {
            Job::Note(note) => {
                let twice = self.notes.lock().unwrap().insert(note, self.index);
                assert!(twice.is_none(), "{note} came twice");
            }
            Job::Who(reply) => reply.send(self.index),
            Job::Work(time) => tokio::time::sleep(time).await,
            Job::Last(time) => {
                tokio::time::sleep(time).await;
                return Err(ExitReason::Normal);
            }
            Job::Crash => return Err(crash()),
            Job::Done => return Err(ExitReason::Normal),
        }
        Ok(())
    }
}

fn pool(size: usize, notes: &Notes) -> Pool<Worker> {
    let notes = Arc::clone(notes);
    Pool::new("pool", size, move |index| Worker { index, notes: Arc::clone(&notes) })
}

async fn who(pool: &PoolRef<Job>) -> usize {
    pool.call(Job::Who, LONG).await.unwrap()
}

fn worker(pool: &PoolRef<Job>, index: usize) -> airssys_rt::ActorRef<Job> {
    pool.workers().nth(index).unwrap().clone()
}

/// A key of the worker with this index.
fn key_of(pool: &PoolRef<Job>, index: usize) -> u32 {
    let id = worker(pool, index).id();
    (0..).find(|key| pool.by_key(key).id() == id).unwrap()
}

#[tokio::test(start_paused = true)]
async fn round_robin_goes_round() {
    let (supervisor, pool) = pool(3, &Notes::default()).build();
    let tree = start(supervisor).await;
    let mut order = Vec::new();
    for _ in 0..7 {
        order.push(who(&pool).await);
    }
    assert_eq!(order, [0, 1, 2, 0, 1, 2, 0]);
    assert_eq!((pool.size(), pool.running(), pool.depth()), (3, 3, 0));
    tree.shutdown().await;
    assert_eq!(pool.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pool_has_at_least_one_worker() {
    let (supervisor, pool) = pool(0, &Notes::default()).balance(Balance::LeastLoaded).build();
    let _tree = start(supervisor).await;
    assert_eq!((pool.size(), who(&pool).await, pool.by_key("x").id()), (1, 0, worker(&pool, 0).id()));
}

#[tokio::test(start_paused = true)]
async fn the_less_loaded_of_two_gets_the_message() {
    let notes = Notes::default();
    let (supervisor, pool) = pool(2, &notes).balance(Balance::LeastLoaded).build();
    let _tree = start(supervisor).await;
    let busy = worker(&pool, 0);
    busy.cast(Job::Work(LONG)).await.unwrap();
    settle().await;
    for note in 1_000..1_010 {
        busy.cast(Job::Note(note)).await.unwrap();
    }
    for note in 0..50 {
        pool.cast(Job::Note(note)).await.unwrap();
        settle().await;
    }
    assert_eq!(notes.lock().unwrap().len(), 50, "all by the other");
}

#[tokio::test(start_paused = true)]
async fn load_is_spread_evenly() {
    let (_supervisor, pool) = pool(8, &Notes::default()).balance(Balance::LeastLoaded).build();
    // Nobody reads yet.
    for note in 0..800 {
        pool.try_cast(Job::Note(note)).unwrap();
    }
    let depths: Vec<_> = pool.workers().map(|worker| worker.depth()).collect();
    assert!(depths.iter().all(|depth| (90..110).contains(depth)), "{depths:?}");
}

#[tokio::test(start_paused = true)]
async fn queued_work_survives_a_crash() {
    let notes = Notes::default();
    let (supervisor, pool) = pool(2, &notes).build();
    let _tree = start(supervisor).await;
    for _ in 0..2 {
        pool.cast(Job::Crash).await.unwrap();
    }
    for note in 0..10 {
        pool.cast(Job::Note(note)).await.unwrap();
    }
    settle().await;
    assert_eq!(notes.lock().unwrap().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_key_keeps_its_worker() {
    let notes = Notes::default();
    let (supervisor, pool) = pool(4, &notes).intensity(100, LONG).build();
    let _tree = start(supervisor).await;
    let before: Vec<_> = (0..100).map(|key| pool.by_key(&key).id()).collect();
    assert!(pool.workers().all(|worker| before.contains(&worker.id())), "every worker has keys");
    let key = key_of(&pool, 2);
    for crashing in 0..4 {
        worker(&pool, crashing).cast(Job::Crash).await.unwrap();
        let who = pool.by_key(&key).call(Job::Who, LONG).await.unwrap();
        assert_eq!(who, 2, "when {crashing} crashed");
    }
    let after: Vec<_> = (0..100).map(|key| pool.by_key(&key).id()).collect();
    assert_eq!(after, before);
    assert_eq!(pool.by_key("text").id(), pool.by_key(&String::from("text")).id());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_does_not_run_is_passed_over() {
    for balance in [Balance::RoundRobin, Balance::LeastLoaded] {
        let pool = pool(3, &Notes::default()).workers(|spec| spec.restart(Restart::Transient));
        let (supervisor, pool) = pool.balance(balance).build();
        let _tree = start(supervisor).await;
        worker(&pool, 1).cast(Job::Done).await.unwrap();
        settle().await;
        assert_eq!(pool.running(), 2);
        for _ in 0..20 {
            assert_ne!(who(&pool).await, 1);
        }
        // Its mailbox is open, but nobody sent anything there.
        assert_eq!(worker(&pool, 1).depth(), 0);
        // Where none runs, messages wait.
        for index in [0, 2] {
            worker(&pool, index).cast(Job::Done).await.unwrap();
        }
        settle().await;
        pool.try_cast(Job::Note(1)).unwrap();
        assert_eq!((pool.running(), pool.depth()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_gone_for_good_is_passed_over() {
    let pool = pool(2, &Notes::default()).workers(|spec| spec.restart(Restart::Temporary));
    let (supervisor, pool) = pool.build();
    let _tree = start(supervisor).await;
    worker(&pool, 0).cast(Job::Crash).await.unwrap();
    settle().await;
    assert!(!worker(&pool, 0).is_alive());
    for _ in 0..4 {
        assert_eq!(who(&pool).await, 1);
    }
    pool.cast(Job::Done).await.unwrap();
    settle().await;
    assert!(pool.try_cast(Job::Note(1)).is_err());
    assert_eq!(pool.call(Job::Who, LONG).await, Err(CallError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn a_full_worker_is_passed_over_and_then_waited_for() {
    let notes = Notes::default();
    let (supervisor, pool) = pool(2, &notes).capacity(1).build();
    let _tree = start(supervisor).await;
    let second = Duration::from_secs(1);
    for index in 0..2 {
        worker(&pool, index).cast(Job::Work(second)).await.unwrap();
    }
    settle().await;
    worker(&pool, 0).try_cast(Job::Note(0)).unwrap();
    pool.try_cast(Job::Note(1)).unwrap();
    let error = pool.try_cast(Job::Note(2)).unwrap_err();
    assert_eq!(error.to_string(), "the mailbox is full");
    assert!(matches!(error.into_message(), Job::Note(2)));
    let before = tokio::time::Instant::now();
    pool.cast(Job::Note(3)).await.unwrap();
    assert!(before.elapsed() > second / 2, "it waited for room");
    settle().await;
    assert_eq!(notes.lock().unwrap().keys().copied().collect::<Vec<_>>(), [0, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_worker_that_goes_is_sent_on() {
    let notes = Notes::default();
    let pool = pool(2, &notes).capacity(1).workers(|spec| spec.restart(Restart::Temporary));
    let (supervisor, pool) = pool.build();
    let tree = start(supervisor).await;
    let second = Duration::from_secs(1);
    worker(&pool, 0).cast(Job::Last(second)).await.unwrap();
    worker(&pool, 1).cast(Job::Work(2 * second)).await.unwrap();
    settle().await;
    for index in 0..2 {
        worker(&pool, index).cast(Job::Note(index as u32)).await.unwrap();
    }
    // It waits for worker 0, which ends with what it has in hand.
    pool.cast(Job::Note(2)).await.unwrap();
    settle().await;
    assert_eq!(*notes.lock().unwrap(), BTreeMap::from([(1, 1), (2, 1)]));
    tree.shutdown().await;
    assert!(pool.cast(Job::Note(4)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn work_waits_for_the_first_start() {
    let notes = Notes::default();
    let (supervisor, pool) = pool(2, &notes).build();
    pool.cast(Job::Note(1)).await.unwrap();
    assert_eq!((pool.running(), pool.depth()), (0, 1));
    let _tree = start(supervisor).await;
    settle().await;
    assert_eq!(notes.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_pool_in_a_tree_keeps_its_work_when_it_gives_up() {
    let notes = Notes::default();
    let pool = pool(2, &notes).intensity(0, LONG).workers(|spec| spec.shutdown(Shutdown::BrutalKill));
    let (supervisor, pool) = pool.build();
    let top = named("top", Strategy::OneForOne, [ChildSpec::supervisor(supervisor)]);
    let tree = start(top).await;
    pool.cast(Job::Crash).await.unwrap();
    for note in 0..10 {
        pool.cast(Job::Note(note)).await.unwrap();
    }
    settle().await;
    let [child] = &tree.which_children().await[..] else { panic!("one child") };
    assert_eq!(child.restarts, 1);
    assert_eq!(notes.lock().unwrap().len(), 10);
    tree.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_panics_at_its_start_does_not_run() {
    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    let (supervisor, pool) = Pool::new("pool", 1, move |index| {
        assert_eq!(counted.fetch_add(1, Ordering::Relaxed), 0, "only one start succeeds");
        Worker { index, notes: Notes::default() }
    })
    .intensity(3, LONG)
    .build();
    let tree = start(supervisor).await;
    pool.cast(Job::Crash).await.unwrap();
    tree.exited().await;
    assert_eq!((pool.running(), starts.load(Ordering::Relaxed)), (0, 4));
    assert_eq!(pool.call(Job::Who, LONG).await, Err(CallError::NoProc));
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_pauses_after_a_panic_does_not_run() {
    let starts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&starts);
    let (supervisor, pool) = Pool::new("pool", 1, move |index| {
        assert_ne!(counted.fetch_add(1, Ordering::Relaxed), 1, "the second start fails");
        Worker { index, notes: Notes::default() }
    })
    .intensity(3, LONG)
    .workers(|worker| worker.backoff(Backoff::exponential(MINUTE, MINUTE)))
    .build();
    let _tree = start(supervisor).await;
    pool.cast(Job::Crash).await.unwrap();
    while starts.load(Ordering::Relaxed) < 2 {
        tokio::time::sleep(MINUTE / 10).await;
    }
    settle().await;
    assert_eq!(pool.running(), 0);
    assert_eq!(pool.call(Job::Who, LONG).await, Ok(0));
    assert_eq!((pool.running(), starts.load(Ordering::Relaxed)), (1, 3));
}

/// Thousands of messages between hundreds of crashes: each is handled once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_message_is_lost_or_doubled_by_crashes() {
    const MESSAGES: u32 = 10_000;
    for balance in [Balance::RoundRobin, Balance::LeastLoaded] {
        let notes = Notes::default();
        let (supervisor, pool) = pool(4, &notes).balance(balance).intensity(1_000_000, LONG).build();
        let supervisor = Supervisor::new("top", Strategy::OneForOne).child(ChildSpec::supervisor(supervisor));
        let tree = System::new().start(supervisor).await.unwrap();
        for note in 0..MESSAGES {
            pool.cast(Job::Note(note)).await.unwrap();
            if note % 50 == 0 {
                pool.cast(Job::Crash).await.unwrap();
            }
        }
        for worker in pool.workers() {
            // Behind all others; what stood in a crashed worker's queue has been handled then.
            worker.call(Job::Who, LONG).await.unwrap();
        }
        assert_eq!(notes.lock().unwrap().len(), MESSAGES as usize);
        tree.shutdown().await;
    }
}
