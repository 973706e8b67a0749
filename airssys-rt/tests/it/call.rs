//! Requests and answers.
//!
//! After `gen_server_SUITE`: `call` → `an_answer_at_once`, `no_answer_in_time`; its delayed answers, by `gen_server:reply/2` →
//! `an_answer_later`, `an_answer_from_another_actor`; `crash` → `a_dropped_reply_is_known_at_once`; `call` of nobody, `noproc` →
//! `a_dead_actor_is_known_at_once`. `reply_by_alias`, which is that no late answer is delivered →
//! `a_late_answer_is_discarded`; `call` of itself, `calling_self` → `a_call_to_itself_times_out`. Deadlines of calls within
//! calls OTP does not have.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::{Actor, ActorRef, CallError, Context, ExitReason, Mailbox, Reply, System};
use tokio::time::Instant;

use crate::stage::{LONG, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Answers, or does one of the things that keep an answer away.
struct Oracle {
    /// Questions kept for later.
    kept: Vec<Reply<u32>>,
    deputy: Option<ActorRef<Ask>>,
}

enum Ask {
    Now(Reply<u32>),
    Later(Reply<u32>),
    AnswerKept,
    Deputy(Reply<u32>),
    Refuse(Reply<u32>),
    Crash(Reply<u32>),
    Never(Reply<u32>),
}

impl Actor for Oracle {
    type Msg = Ask;

    async fn handle(&mut self, ask: Ask, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match ask {
            Ask::Now(reply) => reply.send(42),
            Ask::Later(reply) => self.kept.push(reply),
            Ask::AnswerKept => self.kept.drain(..).for_each(|reply| reply.send(43)),
            Ask::Deputy(reply) => self.deputy.as_ref().unwrap().cast(Ask::Now(reply)).await?,
            Ask::Refuse(reply) => drop(reply),
            Ask::Crash(_reply) => return Err(std::fmt::Error.into()),
            Ask::Never(_reply) => std::future::pending().await,
        }
        Ok(())
    }
}

fn oracle() -> ActorRef<Ask> {
    let system = System::new();
    let deputy = system.spawn(Oracle { kept: Vec::new(), deputy: None });
    system.spawn(Oracle { kept: Vec::new(), deputy: Some(deputy) })
}

async fn check(ask: fn(Reply<u32>) -> Ask, after: Duration, expected: Result<u32, CallError>) {
    let (oracle, began) = (oracle(), Instant::now());
    assert_eq!(oracle.call(ask, SECOND).await, expected);
    assert_eq!(began.elapsed(), after);
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_once() {
    check(Ask::Now, Duration::ZERO, Ok(42)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_from_another_actor() {
    check(Ask::Deputy, Duration::ZERO, Ok(42)).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_later() {
    let oracle = oracle();
    let asked = tokio::spawn({
        let oracle = oracle.clone();
        async move { oracle.call(Ask::Later, SECOND).await }
    });
    settle().await;
    assert!(!asked.is_finished());
    oracle.cast(Ask::AnswerKept).await.unwrap();
    assert_eq!(asked.await.unwrap(), Ok(43));
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time() {
    check(Ask::Never, SECOND, Err(CallError::Timeout)).await;
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_discarded() {
    let oracle = oracle();
    assert_eq!(oracle.call(Ask::Later, SECOND).await, Err(CallError::Timeout));
    oracle.cast(Ask::AnswerKept).await.unwrap();
    assert_eq!(oracle.call(Ask::Now, SECOND).await, Ok(42));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reply_is_known_at_once() {
    check(Ask::Refuse, Duration::ZERO, Err(CallError::Dropped)).await;
    check(Ask::Crash, Duration::ZERO, Err(CallError::Dropped)).await;
}

#[tokio::test(start_paused = true)]
async fn requests_in_the_queue_of_a_crashing_actor_are_dropped() {
    let oracle = oracle();
    let crash = oracle.call(Ask::Crash, LONG);
    let queued = oracle.call(Ask::Now, LONG);
    assert_eq!(tokio::join!(crash, queued), (Err(CallError::Dropped), Err(CallError::Dropped)));
}

#[tokio::test(start_paused = true)]
async fn a_dead_actor_is_known_at_once() {
    let (oracle, began) = (oracle(), Instant::now());
    oracle.call(Ask::Crash, SECOND).await.unwrap_err();
    oracle.exited().await;
    assert_eq!(oracle.call(Ask::Now, SECOND).await, Err(CallError::NoProc));
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_covers_the_wait_for_room() {
    let mailbox = Mailbox::bounded(1);
    let oracle = mailbox.actor_ref();
    oracle.try_cast(Ask::AnswerKept).unwrap();
    assert_eq!(oracle.call(Ask::Crash, SECOND).await, Err(CallError::Timeout));

    // What did not get in is not delivered.
    System::new().spawn_on(&mailbox, None, Oracle { kept: Vec::new(), deputy: None }).unwrap();
    assert_eq!(oracle.call(Ask::Now, SECOND).await, Ok(42));
}

/// Calls others on behalf of those who call it, and writes down how long the answers took.
#[derive(Clone, Default)]
struct Broker(Arc<Mutex<Vec<Answer>>>);

/// What came of a call, and when.
type Answer = (Result<u32, CallError>, Duration);

/// One call: who is asked, how long it waits before it asks and for the answer.
struct Errand {
    to: ActorRef<Ask>,
    pause: Duration,
    timeout: Duration,
}

enum Broke {
    /// Its answer is the broker's.
    For(Reply<u32>, Errand),
    /// Nobody waits for it.
    Alone(Errand),
    /// As that, but a timer's.
    Later(Duration, Errand),
    /// By another broker.
    By(ActorRef<Broke>, Reply<u32>, Errand),
}

impl Actor for Broker {
    type Msg = Broke;

    async fn handle(&mut self, broke: Broke, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let (reply, errand) = match broke {
            Broke::For(reply, errand) => (Some(reply), errand),
            Broke::Alone(errand) => (None, errand),
            Broke::Later(delay, errand) => {
                cx.send_after(delay, Broke::Alone(errand));
                return Ok(());
            }
            Broke::By(other, reply, errand) => {
                let began = Instant::now();
                let answer = other.call(|reply| Broke::For(reply, errand), LONG).await;
                self.0.lock().unwrap().push((answer, began.elapsed()));
                if let Ok(answer) = answer {
                    reply.send(answer);
                }
                return Ok(());
            }
        };
        tokio::time::sleep(errand.pause).await;
        let began = Instant::now();
        let answer = errand.to.call(Ask::Never, errand.timeout).await;
        self.0.lock().unwrap().push((answer, began.elapsed()));
        if let (Some(reply), Ok(answer)) = (reply, answer) {
            reply.send(answer);
        }
        Ok(())
    }
}

impl Broker {
    #[track_caller]
    fn timed_out_after(&self, times: &[Duration]) {
        let expected: Vec<_> = times.iter().map(|time| (Err(CallError::Timeout), *time)).collect();
        // A deadline is on the wheel, which is up to two milliseconds late.
        let near = |took: &Answer| (took.0, Duration::from_millis(took.1.as_millis() as u64 / 10 * 10));
        let took: Vec<_> = std::mem::take(&mut *self.0.lock().unwrap()).iter().map(near).collect();
        assert_eq!(took, expected);
    }
}

const PAUSE: Duration = Duration::from_millis(400);

fn errand(pause: Duration, timeout: Duration) -> Errand {
    Errand { to: oracle(), pause, timeout }
}

#[tokio::test(start_paused = true)]
async fn a_nested_call_waits_no_longer_than_its_caller() {
    let broker = Broker::default();
    let actor = System::new().spawn(broker.clone());
    let ask = |pause, timeout| actor.call(move |reply| Broke::For(reply, errand(pause, timeout)), SECOND);
    // It has what its caller has left.
    // (Both end at the same time, so either may be first: a timeout, or a reply that is dropped for one.)
    ask(Duration::ZERO, LONG).await.unwrap_err();
    settle().await;
    broker.timed_out_after(&[SECOND]);
    // After a wait in the handler, too.
    ask(PAUSE, LONG).await.unwrap_err();
    settle().await;
    broker.timed_out_after(&[SECOND - PAUSE]);
    // Its own time, where that is shorter.
    assert_eq!(ask(Duration::ZERO, PAUSE).await, Err(CallError::Dropped));
    broker.timed_out_after(&[PAUSE]);
    // None, where the caller does not wait any more.
    assert_eq!(ask(2 * SECOND, LONG).await, Err(CallError::Timeout));
    tokio::time::sleep(2 * SECOND).await;
    broker.timed_out_after(&[Duration::ZERO]);
}

#[tokio::test(start_paused = true)]
async fn a_task_is_joined_no_longer_than_the_caller_waits() {
    /// Joins a task that would take an hour, on behalf of whoever calls it, or of nobody.
    struct Clerk(Arc<Mutex<Vec<Duration>>>);
    impl Actor for Clerk {
        type Msg = Option<Reply<()>>;
        async fn handle(&mut self, reply: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            let began = Instant::now();
            let joined = cx.task(tokio::time::sleep(LONG)).join(LONG / 2).await;
            assert!(matches!(joined, Err(airssys_rt::task::TaskError::Timeout)));
            self.0.lock().unwrap().push(began.elapsed());
            drop(reply);
            Ok(())
        }
    }
    let took = Arc::new(Mutex::new(Vec::new()));
    let clerk = System::new().spawn(Clerk(Arc::clone(&took)));
    clerk.call(Some, SECOND).await.unwrap_err();
    clerk.cast(None).await.unwrap();
    tokio::time::sleep(LONG).await;
    let seconds: Vec<_> = took.lock().unwrap().iter().map(Duration::as_secs).collect();
    assert_eq!(seconds, [SECOND.as_secs(), LONG.as_secs() / 2]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_goes_through_many_actors() {
    let system = System::new();
    let (first, second) = (Broker::default(), Broker::default());
    let (actor, deputy) = (system.spawn(first.clone()), system.spawn(second.clone()));
    let asked = actor.call(|reply| Broke::By(deputy, reply, errand(PAUSE, LONG)), SECOND).await;
    asked.unwrap_err();
    settle().await;
    first.timed_out_after(&[SECOND]);
    second.timed_out_after(&[SECOND - PAUSE]);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_with_the_message_that_has_it() {
    let broker = Broker::default();
    let actor = System::new().spawn(broker.clone());
    let call = || actor.call(|reply| Broke::For(reply, errand(Duration::ZERO, PAUSE)), SECOND);
    let five = 5 * SECOND;
    // Neither a cast, nor an urgent one, nor a timer has the deadline of the call before.
    call().await.unwrap_err();
    actor.cast(Broke::Alone(errand(Duration::ZERO, five))).await.unwrap();
    tokio::time::sleep(2 * five).await;
    broker.timed_out_after(&[PAUSE, five]);
    call().await.unwrap_err();
    actor.cast_urgent(Broke::Alone(errand(Duration::ZERO, five))).unwrap();
    tokio::time::sleep(2 * five).await;
    broker.timed_out_after(&[PAUSE, five]);
    actor.cast(Broke::Later(PAUSE / 2, errand(Duration::ZERO, five))).await.unwrap();
    settle().await;
    call().await.unwrap_err();
    tokio::time::sleep(2 * five).await;
    broker.timed_out_after(&[PAUSE, five]);
}

#[tokio::test(start_paused = true)]
async fn a_call_to_itself_times_out() {
    #[derive(Default)]
    struct Narcissus(bool);
    impl Actor for Narcissus {
        type Msg = Reply<Option<CallError>>;
        async fn handle(&mut self, reply: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            if !std::mem::replace(&mut self.0, true) {
                let answer = cx.actor_ref().call(|reply| reply, SECOND).await;
                reply.send(answer.err());
            }
            Ok(())
        }
    }
    let (actor, began) = (System::new().spawn(Narcissus::default()), Instant::now());
    assert_eq!(actor.call(|reply| reply, LONG).await, Ok(Some(CallError::Timeout)));
    assert!(began.elapsed() >= SECOND);
}

#[tokio::test(start_paused = true)]
async fn timeouts_of_nothing_and_of_ages() {
    let (actor, began) = (oracle(), Instant::now());
    // As in OTP, the request is sent all the same.
    assert_eq!(actor.call(Ask::Never, Duration::ZERO).await, Err(CallError::Timeout));
    assert!(began.elapsed() < Duration::from_millis(3));
    assert_eq!(oracle().call(Ask::Now, Duration::MAX).await, Ok(42));
    assert_eq!(oracle().call(Ask::Now, Duration::from_secs(1 << 40)).await, Ok(42));
    assert_eq!(actor.call(Ask::Now, SECOND).await, Err(CallError::Timeout));
}

/// Says until when whoever asked waits, and has a message that nobody waits for tell it to `told`.
struct Waited {
    told: Arc<Mutex<Vec<Option<Instant>>>>,
}

impl Actor for Waited {
    type Msg = Option<Reply<Option<Instant>>>;

    async fn handle(&mut self, asked: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match asked {
            Some(reply) => reply.send(cx.deadline()),
            None => self.told.lock().unwrap().push(cx.deadline()),
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_knows_until_when_its_caller_waits() {
    let told = Arc::default();
    let actor = System::new().spawn(Waited { told: Arc::clone(&told) });
    let began = Instant::now();
    assert_eq!(actor.call(Some, SECOND).await, Ok(Some(began + SECOND)));
    actor.cast(None).await.unwrap();
    assert_eq!(actor.call(Some, LONG).await, Ok(Some(began + LONG)));
    assert_eq!(*told.lock().unwrap(), [None], "nobody waits for what was cast");
}
