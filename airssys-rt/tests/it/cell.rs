//! What is hard on the cell of an actor: ends at awkward moments, and user code that panics where nobody expects it.

use std::fmt;
use std::future::{Future, pending, poll_fn};
use std::panic::panic_any;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, CallError, Context, Event, ExitReason, Init, Mailbox, MailboxOptions, Observer,
    Overflow, Reply, SendError, SpawnOptions, Stash, System,
};
use tokio::runtime::{Builder, Runtime};

use crate::stage::{LONG, settle};

pub(crate) type Deed = Box<dyn FnOnce(&mut Context<Puppet>) -> Result<(), ExitReason> + Send>;

/// What a puppet is sent: what to do, what to wait for, or something that it drops.
pub(crate) enum Say {
    Do(Deed),
    Wait(Pin<Box<dyn Future<Output = ()> + Send>>),
    Ask(Reply<()>),
    Drop(Box<dyn Send>),
}

/// Does what it is told.
#[derive(Default)]
pub(crate) struct Puppet {
    /// What it drops at its end.
    #[expect(dead_code, reason = "only its drop matters")]
    pub(crate) holds: Option<Box<dyn Send>>,
    pub(crate) start: Option<Deed>,
}

impl Actor for Puppet {
    type Msg = Say;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.start.take().map_or(Ok(()), |deed| deed(cx)).map(|()| Init::Ready)
    }

    async fn handle(&mut self, message: Say, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Say::Do(deed) => deed(cx)?,
            Say::Wait(future) => future.await,
            Say::Ask(reply) => reply.send(()),
            Say::Drop(it) => drop(it),
        }
        Ok(())
    }
}

pub(crate) fn deed(
    code: impl FnOnce(&mut Context<Puppet>) -> Result<(), ExitReason> + Send + 'static,
) -> Say {
    Say::Do(Box::new(code))
}

fn linked(other: ActorRef<Say>) -> Say {
    deed(move |cx| {
        cx.link(&other);
        Ok(())
    })
}

fn puppet() -> Puppet {
    Puppet::default()
}

/// Panics when it is dropped, with what does the same, so many times.
#[derive(Debug)]
pub(crate) struct Bomb(pub(crate) u32);

impl Drop for Bomb {
    fn drop(&mut self) {
        if self.0 > 0 {
            panic_any(Self(self.0 - 1));
        }
    }
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bomb")
    }
}

impl std::error::Error for Bomb {}

/// Does something when it is dropped.
struct Last<F: FnMut()>(F);

impl<F: FnMut()> Drop for Last<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Is owned by a system, and so by its cells.
pub(crate) struct Watchman;

impl Observer for Watchman {
    fn event(&self, _: &Event) {}
}

/// A system, and what tells whether all its cells are freed.
pub(crate) fn watched() -> (System, Arc<Watchman>) {
    let watchman = Arc::new(Watchman);
    (System::builder().observer(watchman.clone()).build(), watchman)
}

/// Waits until nothing is left of the system of `watchman`.
pub(crate) async fn all_freed(watchman: &Arc<Watchman>) {
    while Arc::strong_count(watchman) > 1 {
        tokio::task::yield_now().await;
    }
}

/// As [`all_freed`], where there is no runtime. The thread that looks at turns may hold an actor for a moment.
fn all_freed_here(watchman: &Arc<Watchman>) {
    while Arc::strong_count(watchman) > 1 {
        thread::yield_now();
    }
}

/// Checks that the system still runs actors.
async fn lives(system: &System) {
    let probe = system.spawn(puppet());
    probe.call(Say::Ask, LONG).await.unwrap();
    probe.kill();
    assert!(matches!(probe.exited().await, ExitReason::Killed));
}

#[tokio::test(start_paused = true)]
async fn what_is_sent_after_death_is_given_back() {
    let (system, watchman) = watched();
    let actor = system.spawn(puppet());
    actor.kill();
    actor.exited().await;
    let cargo = Arc::new(());
    let refused = actor.try_cast(Say::Drop(Box::new(cargo.clone()))).unwrap_err();
    assert!(matches!(refused, SendError::NoProc(Say::Drop(_))));
    assert!(matches!(actor.cast(refused.into_message()).await, Err(SendError::NoProc(_))));
    assert!(actor.cast_urgent(Say::Drop(Box::new(cargo.clone()))).is_err());
    assert_eq!(actor.call(Say::Ask, LONG).await, Err(CallError::NoProc));
    assert_eq!(Arc::strong_count(&cargo), 1);
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_overtakes_what_it_was_woken_for() {
    let (system, watchman) = watched();
    let actor = system.spawn(puppet());
    settle().await;
    let cargo = Arc::new(());
    actor.try_cast(Say::Drop(Box::new(cargo.clone()))).unwrap();
    actor.stop(ExitReason::Normal);
    actor.stop(ExitReason::GaveUp);
    assert!(matches!(actor.exited().await, ExitReason::Normal));
    assert_eq!(Arc::strong_count(&cargo), 1);
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_drops_a_handler_that_waits() {
    let (system, watchman) = watched();
    let actor = system.spawn(puppet());
    let (cargo, waits) = (Arc::new(()), Arc::new(()));
    let held = cargo.clone();
    actor
        .try_cast(Say::Wait(Box::pin(async move {
            let _held = held;
            pending().await
        })))
        .unwrap();
    actor.try_cast(Say::Drop(Box::new(waits.clone()))).unwrap();
    settle().await;
    assert_eq!(Arc::strong_count(&cargo), 2);
    actor.kill();
    assert!(matches!(actor.exited().await, ExitReason::Killed));
    assert_eq!((Arc::strong_count(&cargo), Arc::strong_count(&waits)), (1, 1));
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_waker_outlives_its_actor() {
    let (system, watchman) = watched();
    let actor = system.spawn(puppet());
    let kept: Arc<Mutex<Option<Waker>>> = Arc::default();
    let keep = kept.clone();
    let wait = poll_fn(move |cx| {
        *keep.lock().unwrap() = Some(cx.waker().clone());
        Poll::Pending
    });
    actor.try_cast(Say::Wait(Box::pin(wait))).unwrap();
    settle().await;
    actor.kill();
    actor.exited().await;
    let waker = kept.lock().unwrap().take().unwrap();
    waker.wake_by_ref();
    let twin = waker.clone();
    drop((actor, system));
    thread::spawn(move || twin.wake()).join().unwrap();
    settle().await;
    // It keeps the cell, and the cell its system.
    assert!(Arc::strong_count(&watchman) > 1);
    waker.wake();
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_init_is_a_failed_start() {
    let (system, watchman) = watched();
    let cargo = Arc::new(());
    let start: Deed = Box::new(|_| panic!("init"));
    let actor = system.spawn(Puppet { holds: Some(Box::new(cargo.clone())), start: Some(start) });
    let reason = actor.exited().await;
    assert_eq!((reason.to_string().as_str(), Arc::strong_count(&cargo)), ("panicked: init", 1));
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_where_the_actor_is_dropped_is_its_reason() {
    let (system, watchman) = watched();
    let holds = Last(|| panic!("dropped"));
    let actor = system.spawn(Puppet { holds: Some(Box::new(holds)), start: None });
    settle().await;
    actor.kill();
    assert_eq!(actor.exited().await.to_string(), "panicked: dropped");
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_may_panic_where_it_is_dropped_because_it_panicked() {
    let (system, watchman) = watched();
    let holds = Last(|| panic!("dropped"));
    let actor = system.spawn(Puppet { holds: Some(Box::new(holds)), start: None });
    actor.try_cast(deed(|_| panic!("handled"))).unwrap();
    assert_eq!(actor.exited().await.to_string(), "panicked: handled");
    lives(&system).await;
    drop((actor, system));
    all_freed(&watchman).await;
}

/// How an actor ends itself.
type End = fn(&ActorRef<Say>) -> Result<(), ExitReason>;

/// How many there are of each kind of thing that an actor has in its care.
const OF_EACH: usize = 3;

#[tokio::test(start_paused = true)]
async fn what_an_actor_had_in_its_care_may_panic_where_it_is_dropped() {
    let (system, watchman) = watched();
    let ends: [(End, &str); 3] = [
        (|_| panic!("handled"), "panicked: handled"),
        (|_| Err(ExitReason::Normal), "panicked: dropped"),
        (
            |own| {
                own.kill();
                Ok(())
            },
            "panicked: dropped",
        ),
    ];
    for (end, expected) in ends {
        let cargo = Arc::new(());
        let goods =
            || -> Vec<Say> { (0..OF_EACH).map(|_| Say::Drop(Box::new((Bomb(2), cargo.clone())))).collect() };
        let (timed, unstashed, stashed) = (goods(), goods(), goods());
        let holds = Last(|| panic!("dropped"));
        let actor = system.spawn(Puppet { holds: Some(Box::new(holds)), start: None });
        let has = deed(move |cx| {
            timed.into_iter().for_each(|message| _ = cx.send_after(LONG, message));
            let bomb = Bomb(1);
            cx.send_interval(LONG, move || Say::Drop(Box::new(bomb.to_string())));
            let [mut first, mut second] = [(); 2].map(|()| Stash::new());
            unstashed.into_iter().for_each(|message| cx.stash(&mut first, message).unwrap());
            stashed.into_iter().for_each(|message| cx.stash(&mut second, message).unwrap());
            cx.unstash_all(&mut first);
            drop(second);
            end(&cx.actor_ref())
        });
        actor.try_cast(has).unwrap();
        assert_eq!(actor.exited().await.to_string(), expected);
        assert_eq!(Arc::strong_count(&cargo), 1);
    }
    lives(&system).await;
    drop(system);
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_panics_where_it_is_dropped_takes_no_other_with_it() {
    let (system, watchman) = watched();
    let actor = system.spawn(puppet());
    let cargo = Arc::new(());
    actor.try_cast(Say::Wait(Box::pin(pending()))).unwrap();
    settle().await;
    for _ in 0..3 {
        actor.try_cast(Say::Drop(Box::new(Bomb(3)))).unwrap();
        actor.cast_urgent(Say::Drop(Box::new(Bomb(1)))).unwrap();
        actor.try_cast(Say::Drop(Box::new(cargo.clone()))).unwrap();
        actor.cast_urgent(Say::Drop(Box::new(cargo.clone()))).unwrap();
    }
    actor.kill();
    actor.exited().await;
    assert_eq!(Arc::strong_count(&cargo), 1);
    lives(&system).await;
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_panics_with_what_panics_takes_no_other_with_it() {
    let (system, watchman) = watched();
    for fuse in 1..4 {
        let actor = system.spawn(puppet());
        actor.try_cast(deed(move |_| panic_any(Bomb(fuse)))).unwrap();
        assert!(matches!(actor.exited().await, ExitReason::Panic(_)));
    }
    lives(&system).await;
    drop(system);
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn an_error_that_panics_where_it_is_dropped_takes_no_other_with_it() {
    let (system, watchman) = watched();
    let actor = system.spawn(puppet());
    actor.try_cast(deed(|_| Err(Bomb(1).into()))).unwrap();
    settle().await;
    drop(actor);
    let actor = system.spawn(puppet());
    actor.try_cast(Say::Wait(Box::pin(pending()))).unwrap();
    settle().await;
    actor.stop(Bomb(1).into());
    actor.kill();
    assert!(matches!(actor.exited().await, ExitReason::Killed));
    settle().await;
    lives(&system).await;
    drop((actor, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_panics_where_it_is_dropped_takes_no_other_with_it() {
    struct Courier;
    impl Actor for Courier {
        type Msg = Reply<Bomb>;
        async fn handle(&mut self, reply: Reply<Bomb>, _: &mut Context<Self>) -> Result<(), ExitReason> {
            reply.send(Bomb(1));
            Ok(())
        }
    }
    let (system, watchman) = watched();
    let courier = system.spawn(Courier);
    {
        let mut call = Box::pin(courier.call(|reply| reply, LONG));
        // It is queued, and then nobody waits for it.
        let polled = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_pending())).await;
        assert!(polled);
    }
    assert!(matches!(courier.exited().await, ExitReason::Panic(_)));
    lives(&system).await;
    drop((courier, system));
    all_freed(&watchman).await;
}

#[tokio::test(start_paused = true)]
async fn an_order_may_use_the_actor_where_it_is_dropped() {
    struct Meddler(ActorRef<Say>);
    impl Drop for Meddler {
        fn drop(&mut self) {
            self.0.stop(ExitReason::Normal);
            self.0.kill();
        }
    }
    impl fmt::Debug for Meddler {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("Meddler")
        }
    }
    impl fmt::Display for Meddler {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("meddler")
        }
    }
    impl std::error::Error for Meddler {}
    let system = System::new();
    let actor = system.spawn(puppet());
    actor.try_cast(Say::Wait(Box::pin(pending()))).unwrap();
    settle().await;
    actor.stop(Meddler(actor.clone()).into());
    actor.exit(Bomb(0).into());
    actor.exited().await;
    // The end of an incarnation follows that of another one, with the last reference to its reason.
    let mailbox = Mailbox::unbounded();
    for round in 0..3 {
        let actor = system.spawn_on(&mailbox, None, puppet()).unwrap();
        let me = actor.clone();
        let done = move |_: &mut Context<Puppet>| {
            if round < 2 { Err(Meddler(me).into()) } else { Err(Bomb(0).into()) }
        };
        actor.try_cast(deed(done)).unwrap();
        actor.exited().await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_to_nobody_is_not_for_the_next_incarnation() {
    let (system, mailbox) = (System::new(), Mailbox::unbounded());
    let actor = mailbox.actor_ref();
    for order in [
        |a: &ActorRef<Say>| a.kill(),
        |a: &ActorRef<Say>| a.stop(ExitReason::GaveUp),
        |a: &ActorRef<Say>| a.exit(Bomb(0).into()),
    ] {
        order(&actor);
        system.spawn_on(&mailbox, None, puppet()).unwrap();
        actor.call(Say::Ask, LONG).await.unwrap();
        actor.stop(ExitReason::Shutdown);
        assert!(matches!(actor.exited().await, ExitReason::Shutdown));
    }
}

#[test]
fn a_mailbox_outlives_the_runtime_of_its_actor() {
    let mailbox = Mailbox::unbounded();
    let actor = mailbox.actor_ref();
    for round in 0..3 {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let system = System::new();
            system.spawn_on(&mailbox, None, puppet()).unwrap();
            actor.call(Say::Ask, LONG).await.unwrap();
            if round == 1 {
                actor.stop(ExitReason::Shutdown);
                actor.exited().await;
            }
        });
        drop(runtime);
        // Here nobody runs it; and the end of the runtime ends nothing that comes later.
        assert!(actor.is_alive());
    }
}

#[tokio::test(start_paused = true)]
async fn a_timer_does_not_inherit_the_deadline_of_a_message() {
    struct Asker(ActorRef<Say>, mpsc::Sender<Result<(), CallError>>);
    impl Actor for Asker {
        type Msg = Option<Reply<()>>;
        async fn handle(&mut self, message: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            if let Some(reply) = message {
                cx.send_after(Duration::from_secs(60), None);
                reply.send(());
                return Ok(());
            }
            self.1.send(self.0.call(Say::Ask, LONG).await).unwrap();
            Ok(())
        }
    }
    let system = System::new();
    let (tell, told) = mpsc::channel();
    let peer = system.spawn(puppet());
    // It answers half a minute after it is asked.
    peer.try_cast(Say::Wait(Box::pin(tokio::time::sleep(Duration::from_secs(90))))).unwrap();
    let asker = system.spawn(Asker(peer, tell));
    asker.call(Some, Duration::from_secs(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(told.try_recv(), Ok(Ok(())));
}

#[test]
fn the_end_of_the_runtime_ends_queued_idle_and_waiting_actors() {
    let workers = |count| Builder::new_multi_thread().worker_threads(count).enable_all().build().unwrap();
    ends_with(Builder::new_current_thread().enable_all().build().unwrap());
    ends_with(workers(1));
    ends_with(workers(3));
}

fn ends_with(runtime: Runtime) {
    let cargo = Arc::new(());
    let (actors, watchman) = runtime.block_on(async {
        let (system, watchman) = watched();
        let mut actors = Vec::new();
        for number in 0..30 {
            let actor = system.spawn(Puppet { holds: Some(Box::new(cargo.clone())), start: None });
            if number % 3 == 0 {
                let held = cargo.clone();
                let wait = async move {
                    let _held = held;
                    pending().await
                };
                actor.try_cast(Say::Wait(Box::pin(wait))).unwrap();
            }
            if number % 3 == 1 {
                actor.call(Say::Ask, LONG).await.unwrap();
            }
            actors.push(actor);
        }
        actors.iter().for_each(|actor| actor.try_cast(Say::Drop(Box::new(cargo.clone()))).unwrap());
        (actors, watchman)
    });
    drop(runtime);
    let other = Builder::new_current_thread().enable_all().build().unwrap();
    other.block_on(async {
        for actor in &actors {
            let reason = actor.exited().await;
            assert!(matches!(reason, ExitReason::Killed), "{reason}");
        }
    });
    assert_eq!(Arc::strong_count(&cargo), 1);
    drop(actors);
    all_freed_here(&watchman);
}

#[test]
fn a_long_chain_of_links_ends_with_the_runtime() {
    const LENGTH: usize = 20_000;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let watchman = runtime.block_on(async {
        let (system, watchman) = watched();
        let mut former: Option<ActorRef<Say>> = None;
        for _ in 0..LENGTH {
            let actor = system.spawn(puppet());
            if let Some(former) = former.replace(actor.clone()) {
                actor.try_cast(linked(former)).unwrap();
            }
        }
        former.unwrap().call(Say::Ask, LONG).await.unwrap();
        watchman
    });
    // Had each its frames on the stack, so many did not fit.
    thread::Builder::new().stack_size(1 << 18).spawn(|| drop(runtime)).unwrap().join().unwrap();
    all_freed_here(&watchman);
}

#[test]
fn the_last_reference_may_be_dropped_by_an_ending_thread() {
    thread_local! {
        static KEPT: std::cell::RefCell<Vec<ActorRef<Say>>> = const { std::cell::RefCell::new(Vec::new()) };
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (system, watchman) = watched();
        let cargo = Arc::new(());
        for round in 0..20 {
            let (dead, live) = (system.spawn(puppet()), system.spawn(puppet()));
            dead.kill();
            dead.exited().await;
            let (kept, held) = (live.clone(), cargo.clone());
            // Registered before or after the thread's share of the arena, so dropped after or before it.
            let send = move || {
                for _ in 0..100 {
                    drop(kept.try_cast(Say::Drop(Box::new(held.clone()))));
                }
            };
            let keep = move || KEPT.with_borrow_mut(|all| all.extend([dead, live]));
            let ending = if round % 2 == 0 {
                thread::spawn(move || (send(), keep()))
            } else {
                thread::spawn(move || (keep(), send()))
            };
            ending.join().unwrap();
        }
        // Those that live are nobody's any more; they end with the runtime.
        drop(system);
        while Arc::strong_count(&cargo) > 1 {
            tokio::task::yield_now().await;
        }
        watchman
    });
}

#[test]
fn a_mailbox_whose_owner_leaves_as_its_actor_ends_is_closed() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (system, watchman) = watched();
        for round in 0..2_000_u32 {
            let mailbox = Mailbox::unbounded();
            let actor = system.spawn_on(&mailbox, None, puppet()).unwrap();
            let owner = tokio::spawn(async move {
                (0..round % 64).for_each(|_| std::hint::spin_loop());
                drop(mailbox);
            });
            actor.kill();
            owner.await.unwrap();
            while actor.is_alive() {
                assert!(matches!(actor.exited().await, ExitReason::Killed | ExitReason::NoProc));
            }
        }
        drop(system);
        all_freed(&watchman).await;
    });
}

#[test]
fn a_mailbox_that_drops_its_oldest_may_end_while_it_does() {
    const CAPACITY: usize = 2;
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let gone = Arc::new(AtomicUsize::new(0));
    runtime.block_on(async {
        let (system, watchman) = watched();
        for round in 0..100 {
            let mailbox = MailboxOptions::bounded(CAPACITY).overflow(Overflow::DropOldest);
            let actor = system.spawn_with(SpawnOptions { mailbox, name: None }, puppet());
            let senders: Vec<_> = (0..3)
                .map(|_| {
                    let (actor, made, gone) = (actor.clone(), made.clone(), gone.clone());
                    thread::spawn(move || {
                        for _ in 0..200 {
                            made.fetch_add(1, Ordering::Relaxed);
                            let gone = gone.clone();
                            let message = Last(move || {
                                gone.fetch_add(1, Ordering::Relaxed);
                            });
                            drop(actor.try_cast(Say::Drop(Box::new(message))));
                        }
                    })
                })
                .collect();
            if round % 2 == 0 {
                actor.kill();
                senders.into_iter().for_each(|sender| sender.join().unwrap());
            } else {
                senders.into_iter().for_each(|sender| sender.join().unwrap());
                // It never holds more than it may, whatever went on before.
                while actor.depth() > 0 {
                    tokio::task::yield_now().await;
                }
                actor.cast(Say::Wait(Box::pin(pending()))).await.unwrap();
                while actor.depth() > 0 {
                    tokio::task::yield_now().await;
                }
                for _ in 0..10 {
                    actor.try_cast(Say::Drop(Box::new(()))).unwrap();
                }
                assert!(actor.depth() <= CAPACITY, "{} in round {round}", actor.depth());
                actor.kill();
            }
            actor.exited().await;
        }
        drop(system);
        all_freed(&watchman).await;
    });
    assert_eq!(made.load(Ordering::Relaxed), gone.load(Ordering::Relaxed));
}
