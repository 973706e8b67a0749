//! Actors that are run on the stack of whoever calls them: that it happens, and that nobody can tell.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use airssys_rt::{Actor, ActorRef, CallError, Context, ExitReason, Mailbox, Reply, System};

use crate::stage::LONG;

/// More calls than it takes to prove anything.
const MANY: usize = 10_000;

/// What counts as quick here: long enough that it does not depend on what else the machine does.
const QUICK: Duration = Duration::from_millis(5);

fn system() -> System {
    System::builder().quick(QUICK).build()
}

tokio::task_local! {
    static CALLER: u32;
}

struct Quick;

enum Ask {
    Where(Reply<ThreadId>),
    Local(Reply<Option<u32>>),
    /// Takes longer than a caller would like.
    Compute(Reply<ThreadId>),
    Wait(Reply<()>),
    Panic(#[expect(dead_code, reason = "dropped by the panic")] Reply<()>),
    Kill(ActorRef<Ask>, Reply<()>),
    /// Calls the first, which calls the next, and so on; the last says how many they were.
    Chain(Vec<ActorRef<Ask>>, Reply<usize>),
    /// Calls back, which cannot be answered.
    Call(ActorRef<Ask>, Duration, Reply<Result<(), CallError>>),
    Ping(Reply<()>),
}

impl Actor for Quick {
    type Msg = Ask;

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match ask {
            Ask::Where(reply) => reply.send(thread::current().id()),
            Ask::Local(reply) => reply.send(CALLER.try_with(|value| *value).ok()),
            Ask::Compute(reply) => {
                let began = Instant::now();
                while began.elapsed() < 3 * QUICK {
                    std::hint::spin_loop();
                }
                reply.send(thread::current().id());
            }
            Ask::Wait(reply) => {
                let _reply = reply;
                std::future::pending().await
            }
            Ask::Panic(_) => panic!("told to"),
            Ask::Kill(other, reply) => {
                other.kill();
                reply.send(());
            }
            Ask::Chain(mut next, reply) => match next.pop() {
                None => reply.send(1),
                Some(actor) => {
                    let rest = actor.call(|reply| Ask::Chain(next, reply), LONG).await?;
                    reply.send(rest + 1);
                }
            },
            Ask::Call(other, timeout, reply) => reply.send(other.call(Ask::Ping, timeout).await),
            Ask::Ping(reply) => reply.send(()),
        }
        Ok(())
    }
}

/// Calls it until it runs here. The caller is no thread of the runtime, so nobody else can be it.
async fn proven(system: &System) -> ActorRef<Ask> {
    let actor = system.spawn(Quick);
    prove(&actor).await;
    actor
}

async fn prove(actor: &ActorRef<Ask>) {
    for _ in 0..MANY {
        if actor.call(Ask::Where, LONG).await == Ok(thread::current().id()) {
            return;
        }
    }
    panic!("it never ran on the stack of its caller");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_quick_actor_runs_on_the_stack_of_its_caller() {
    let actor = proven(&system()).await;
    // What is not invisible: what belongs to the task that polls it.
    let mut seen = false;
    for _ in 0..MANY {
        seen = CALLER.scope(7, actor.call(Ask::Local, LONG)).await == Ok(Some(7));
        if seen {
            break;
        }
    }
    assert!(seen);
    assert_eq!(actor.call(Ask::Local, LONG).await, Ok(None));
}

/// As quick, but never here.
struct Apart;

impl Actor for Apart {
    type Msg = Reply<ThreadId>;

    const RUNS_ON_CALLERS: bool = false;

    async fn handle(&mut self, reply: Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        reply.send(thread::current().id());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_actor_can_choose_not_to() {
    let system = system();
    // So long that another one has proven itself.
    let (quick, apart) = (system.spawn(Quick), system.spawn(Apart));
    let mut proven = 0;
    for _ in 0..MANY {
        proven += usize::from(quick.call(Ask::Where, LONG).await == Ok(thread::current().id()));
        assert_ne!(apart.call(|reply| reply, LONG).await, Ok(thread::current().id()));
        if proven > 100 {
            return;
        }
    }
    panic!("nothing was proven");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn slow_turns_lose_the_privilege() {
    let actor = proven(&system()).await;
    // Of a proven actor's turns some are timed.
    for _ in 0..40 {
        actor.call(Ask::Compute, LONG).await.unwrap();
    }
    assert_ne!(actor.call(Ask::Where, LONG).await, Ok(thread::current().id()));
    // It can win it back.
    prove(&actor).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_comes_after_a_crash_need_not_prove_it_again() {
    // Here every turn counts as quick.
    let (system, mailbox) = (System::builder().quick(LONG).build(), Mailbox::unbounded());
    system.spawn_on(&mailbox, None, Quick).unwrap();
    let actor = mailbox.actor_ref();
    prove(&actor).await;
    assert_eq!(actor.call(Ask::Panic, LONG).await, Err(CallError::Dropped));
    while system.spawn_on(&mailbox, None, Quick).is_err() {
        tokio::task::yield_now().await;
    }
    // Fewer than it takes to prove it. The thread of the runtime, which has started it, may still have it for the first.
    let mut calls = 0;
    while actor.call(Ask::Where, LONG).await != Ok(thread::current().id()) {
        calls += 1;
        assert!(calls < 8, "it has to prove it again");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_panic_is_the_actors_alone() {
    let actor = proven(&system()).await;
    assert_eq!(actor.call(Ask::Panic, LONG).await, Err(CallError::Dropped));
    assert_eq!(actor.exited().await.to_string(), "panicked: told to");
    assert_eq!(actor.call(Ask::Ping, LONG).await, Err(CallError::NoProc));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_waits_is_left_to_the_runtime() {
    let actor = proven(&system()).await;
    let timeout = Duration::from_millis(1);
    assert_eq!(actor.call(Ask::Wait, timeout).await, Err(CallError::Timeout));
    assert!(actor.is_alive());
    actor.kill();
    assert_eq!(actor.exited().await.to_string(), "killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_is_killed_by_whom_it_calls_ends() {
    let system = system();
    let (caller, callee) = (proven(&system).await, proven(&system).await);
    // The callee kills its caller, on the caller's stack: that ends when it lets go.
    let (target, order) = (caller.clone(), callee.clone());
    caller.call(|reply| Ask::Chain(vec![callee.clone()], reply), LONG).await.unwrap();
    order.call(|reply| Ask::Kill(target, reply), LONG).await.unwrap();
    assert_eq!(caller.exited().await.to_string(), "killed");
    assert_eq!(callee.call(Ask::Ping, LONG).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn calls_may_be_nested_deeper_than_the_stack_is() {
    let system = system();
    let mut chain = Vec::new();
    for _ in 0..16 {
        chain.push(proven(&system).await);
    }
    let first = chain.pop().unwrap();
    for _ in 0..1_000 {
        let next = chain.clone();
        assert_eq!(first.call(|reply| Ask::Chain(next, reply), LONG).await, Ok(16));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn who_calls_back_is_not_answered() {
    let system = system();
    let (one, other) = (proven(&system).await, proven(&system).await);
    let timeout = Duration::from_millis(1);
    // To itself.
    let own = one.clone();
    let answer = one.call(|reply| Ask::Call(own, timeout, reply), LONG).await;
    assert_eq!(answer, Ok(Err(CallError::Timeout)));
    assert_eq!(other.call(Ask::Ping, LONG).await, Ok(()));
    assert_eq!(one.call(Ask::Ping, LONG).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_system_can_choose_not_to() {
    let actor = System::builder().quick(Duration::ZERO).build().spawn(Quick);
    for _ in 0..1_000 {
        assert_ne!(actor.call(Ask::Where, LONG).await, Ok(thread::current().id()));
    }
}

/// Counts, so that what is lost or overtaken shows.
struct Counter(u32);

impl Actor for Counter {
    type Msg = (u32, Option<Reply<u32>>);

    async fn handle(&mut self, (number, reply): Self::Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        assert_eq!(number, self.0);
        self.0 += 1;
        if let Some(reply) = reply {
            reply.send(number);
        }
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifo_between_casts_and_calls() {
    let counter = system().spawn(Counter(0));
    for number in 0..20_000 {
        if number % 3 == 0 {
            counter.cast((number, None)).await.unwrap();
        } else {
            assert_eq!(counter.call(|reply| (number, Some(reply)), LONG).await, Ok(number));
        }
    }
}

#[tokio::test]
async fn a_caller_whose_answers_are_always_there_lets_other_tasks_run() {
    /// So often it calls before that is too often.
    const CALLS: u32 = 1_000_000;
    let actor = system().spawn(Quick);
    let (visits, had_turn) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicBool::new(false)));
    let (counted, others) = (Arc::clone(&visits), Arc::clone(&had_turn));
    let calls = CALLER.scope(7, async move {
        for _ in 0..CALLS {
            let visited = actor.call(Ask::Local, LONG).await == Ok(Some(7));
            counted.fetch_add(visited.into(), Ordering::Relaxed);
            if others.load(Ordering::Relaxed) {
                return;
            }
        }
        panic!("{counted:?} visits, and nobody else has had a turn");
    });
    let calls = tokio::spawn(calls);
    // Another task of the same thread. It is there for sure when the caller has no reason to wait any more.
    while visits.load(Ordering::Relaxed) < 10 && !calls.is_finished() {
        tokio::task::yield_now().await;
    }
    had_turn.store(true, Ordering::Relaxed);
    calls.await.unwrap();
}
