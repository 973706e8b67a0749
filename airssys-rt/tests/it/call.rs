//! Requests and answers.

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
