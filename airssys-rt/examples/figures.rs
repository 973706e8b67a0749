//! Measures what timers cost: those of an actor, and the deadline of a call, beside what tokio has for it.
//!
//! `cargo run --release -p airssys-rt --example figures`. Each figure is the median of rounds that take turns, so that
//! what else the machine does falls on all alike.

use std::error::Error;
use std::future::{Future, pending, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use airssys_rt::{
    Actor, ActorRef, CallError, Context, ExitReason, MailboxOptions, Reply, SpawnOptions, System,
};

const ROUNDS: usize = 101;
const TIMERS: u32 = 1_000;
/// Enough that the tick for which they wait does not count.
const FIRED: u32 = 50_000;
const LONG: Duration = Duration::from_secs(3_600);

/// Arms and cancels as it is told, and tells how long it took.
#[derive(Default)]
struct Clock {
    due: u32,
    waiting: Option<(Instant, Reply<Duration>)>,
    kept: Vec<Reply<()>>,
}

enum Msg {
    /// Arms timers that are not due, cancels them, and tells how long each half took.
    ArmAndCancel(Reply<[Duration; 2]>),
    /// Arms timers that are due in a tick, and tells how long it took until the last was handled.
    Fire(Reply<Duration>),
    Due,
    Echo(Reply<()>),
    /// Leaves the caller without an answer, until the next `Echo`.
    Keep(Reply<()>),
}

impl Actor for Clock {
    type Msg = Msg;

    async fn handle(&mut self, message: Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Msg::ArmAndCancel(reply) => {
                let mut timers = Vec::with_capacity(TIMERS as usize);
                let arm =
                    each(|n| timers.push(cx.send_after(LONG + Duration::from_micros(n * 7_919), Msg::Due)));
                let mut timers = timers.into_iter();
                let cancel = each(|_| timers.next().is_some_and(|timer| cx.cancel(timer)));
                reply.send([arm, cancel]);
            }
            Msg::Fire(reply) => {
                (self.due, self.waiting) = (0, Some((Instant::now(), reply)));
                for _ in 0..FIRED {
                    cx.send_after(Duration::from_millis(1), Msg::Due);
                }
            }
            Msg::Due => {
                self.due += 1;
                if let Some((start, reply)) = self.waiting.take_if(|_| self.due == FIRED) {
                    reply.send(start.elapsed() / FIRED);
                }
            }
            Msg::Echo(reply) => {
                self.kept.clear();
                reply.send(());
            }
            Msg::Keep(reply) => self.kept.push(reply),
        }
        Ok(())
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error>> {
    // On a worker, where actors are too.
    Ok(tokio::spawn(measure()).await??)
}

async fn measure() -> Result<(), CallError> {
    let options = SpawnOptions { mailbox: MailboxOptions::unbounded(), ..SpawnOptions::default() };
    let clock = System::new().spawn_with(options, Clock::default());
    let mut times = [const { Vec::new() }; 7];
    let [arm, cancel, fire, echo, abandoned, sleep, timeout] = &mut times;
    for _ in 0..ROUNDS {
        let [armed, cancelled] = clock.call(Msg::ArmAndCancel, LONG).await?;
        arm.push(armed);
        cancel.push(cancelled);
        echo.push(echoes(&clock).await?);
        abandoned.push(each_once(|| clock.call(Msg::Keep, LONG)).await);
        clock.call(Msg::Echo, LONG).await?;
        sleep.push(each_once(|| tokio::time::sleep(LONG)).await);
        timeout.push(each_once(|| tokio::time::timeout(LONG, pending::<()>())).await);
    }
    // By themselves: what fires wakes the actor from another thread, and where tasks run is felt by the calls.
    for _ in 0..ROUNDS {
        fire.push(clock.call(Msg::Fire, LONG).await?);
    }
    let [arm, cancel, fire, echo, abandoned, sleep, timeout] = times.map(median);
    println!("an actor's timers, {TIMERS} at a time ({FIRED} where they fire):");
    report("Context::send_after", arm);
    report("Context::cancel", cancel);
    report("send_after, fired and handled", fire);
    println!("a call with a deadline:");
    report("asked and answered", echo);
    report("asked and given up", abandoned);
    println!("tokio's, armed and dropped:");
    report("sleep", sleep);
    report("timeout", timeout);
    Ok(())
}

/// How long one takes of many.
fn each<T>(mut code: impl FnMut(u64) -> T) -> Duration {
    let start = Instant::now();
    for number in 0..TIMERS {
        black_box(code(number.into()));
    }
    start.elapsed() / TIMERS
}

/// How long it takes to make a future, to ask it once, and to drop it.
async fn each_once<F: Future>(mut make: impl FnMut() -> F) -> Duration {
    poll_fn(|task| Poll::Ready(each(|_| pin!(make()).as_mut().poll(task).is_ready()))).await
}

async fn echoes(clock: &ActorRef<Msg>) -> Result<Duration, CallError> {
    let start = Instant::now();
    for _ in 0..TIMERS {
        clock.call(Msg::Echo, LONG).await?;
    }
    Ok(start.elapsed() / TIMERS)
}

fn report(what: &str, time: Duration) {
    println!("  {what:<34} {:>6} ns", time.as_nanos());
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
