//! Timers that come again, and timers that say nothing came.
//!
//! After `timer_simple_SUITE`: `send_interval1` → `send_interval`; `cancel1`, `cancel2` → `cancel_an_interval`. After
//! `timer_bif_SUITE`: `read_timer`, `read_timer_trivial` → `read_timer`; `send_after_big` → `the_longest_delay_is_just_far`;
//! `evil_timers` → `many_timers_of_one_actor`. The timeouts of a `gen_server` that hears nothing are those from
//! `a_timeout_when_nothing_comes` on.

use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, CallError, Context, ExitReason, Info, Init, Mailbox, Reply, System, TimerRef,
};
use tokio::time::Instant;

use crate::stage::{LONG, settle};

const SECOND: Duration = Duration::from_secs(1);

/// Writes down what it hears, and how long after its start.
struct Metronome {
    start: Instant,
    heard: Vec<(char, Duration)>,
    timer: Option<TimerRef>,
    /// How long the limit is that it begins with.
    idle: Option<Duration>,
    /// Whether it sets the limit anew at each timeout.
    again: bool,
}

enum Beat {
    Every(Duration),
    After(Duration),
    Note(char),
    Idle(Option<Duration>),
    Again,
    Cancel(Reply<bool>),
    Read(Reply<Option<Duration>>),
    Work(Duration),
    Heard(Reply<Vec<(char, Duration)>>),
    Panic,
}

impl Metronome {
    fn new() -> Self {
        Self { start: Instant::now(), heard: Vec::new(), timer: None, idle: None, again: false }
    }

    fn hear(&mut self, what: char) {
        self.heard.push((what, self.start.elapsed()));
    }
}

impl Actor for Metronome {
    type Msg = Beat;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.set_idle_timeout(self.idle);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, beat: Beat, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match beat {
            Beat::Every(period) => {
                let mut beats = ('a'..='z').cycle();
                self.timer =
                    Some(cx.send_interval(period, move || Beat::Note(beats.next().unwrap_or_default())));
            }
            Beat::After(delay) => self.timer = Some(cx.send_after(delay, Beat::Note('!'))),
            Beat::Note(note) => self.hear(note),
            Beat::Idle(limit) => cx.set_idle_timeout(limit),
            Beat::Again => self.again = true,
            Beat::Cancel(reply) => reply.send(self.timer.is_some_and(|timer| cx.cancel(timer))),
            Beat::Read(reply) => reply.send(self.timer.and_then(|timer| cx.read_timer(timer))),
            Beat::Work(time) => tokio::time::sleep(time).await,
            Beat::Heard(reply) => reply.send(std::mem::take(&mut self.heard)),
            Beat::Panic => {
                cx.send_interval(SECOND, || panic!("no message"));
            }
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Info::Timeout = info {
            self.hear('-');
            if self.again {
                cx.set_idle_timeout(Some(SECOND));
            }
        }
        Ok(())
    }
}

async fn tell(metronome: &ActorRef<Beat>, beats: impl IntoIterator<Item = Beat>) {
    for beat in beats {
        metronome.cast(beat).await.unwrap();
    }
}

async fn heard(metronome: &ActorRef<Beat>) -> Vec<(char, u32)> {
    let heard = metronome.call(Beat::Heard, LONG).await.unwrap();
    heard.into_iter().map(|(beat, at)| (beat, at.as_millis() as u32)).collect()
}

async fn read(metronome: &ActorRef<Beat>) -> Option<Duration> {
    metronome.call(Beat::Read, LONG).await.unwrap()
}

fn idle(limit: Duration) -> ActorRef<Beat> {
    System::new().spawn(Metronome { idle: Some(limit), ..Metronome::new() })
}

#[tokio::test(start_paused = true)]
async fn send_interval() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::Every(SECOND * 2)]).await;
    tokio::time::sleep(SECOND * 7).await;
    assert_eq!(heard(&metronome).await, [('a', 2_000), ('b', 4_000), ('c', 6_000)]);
}

#[tokio::test(start_paused = true)]
async fn an_interval_does_not_drift() {
    let metronome = System::new().spawn(Metronome::new());
    // Not a whole number of ticks: each is rounded up, and the fractions do not add up.
    tell(&metronome, [Beat::Every(SECOND / 3)]).await;
    tokio::time::sleep(SECOND * 1_000).await;
    let heard = heard(&metronome).await;
    assert_eq!(heard.len(), 2_999);
    let late = |(number, (_, at)): (usize, &(char, u32))| *at - (number as u32 + 1) * 1_000 / 3;
    assert!(heard.iter().enumerate().map(late).all(|late| late <= 1), "{heard:?}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_actor_gets_one_message_of_an_interval() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::Every(SECOND), Beat::Work(SECOND * 9 / 2)]).await;
    tokio::time::sleep(SECOND * 13 / 2).await;
    // One waited; the next is again a multiple of the period.
    assert_eq!(heard(&metronome).await, [('a', 4_500), ('b', 5_000), ('c', 6_000)]);
}

#[tokio::test(start_paused = true)]
async fn cancel_an_interval() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::Every(SECOND)]).await;
    tokio::time::sleep(SECOND * 5 / 2).await;
    assert!(metronome.call(Beat::Cancel, LONG).await.unwrap());
    assert!(!metronome.call(Beat::Cancel, LONG).await.unwrap());
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(heard(&metronome).await.len(), 2);
    assert_eq!(read(&metronome).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_interval_can_be_cancelled_while_its_message_waits() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::Every(SECOND), Beat::Work(SECOND * 3)]).await;
    assert!(metronome.call(Beat::Cancel, LONG).await.unwrap());
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(heard(&metronome).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_period_of_nothing_counts_as_a_millisecond() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::Every(Duration::ZERO)]).await;
    tokio::time::sleep(SECOND / 10).await;
    assert!((99..=100).contains(&heard(&metronome).await.len()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_while_a_message_is_made_ends_the_actor() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::Panic]).await;
    assert!(matches!(metronome.exited().await, ExitReason::Panic(_)));
}

#[tokio::test(start_paused = true)]
async fn read_timer() {
    let metronome = System::new().spawn(Metronome::new());
    assert_eq!(read(&metronome).await, None);
    tell(&metronome, [Beat::After(SECOND * 5)]).await;
    assert_eq!(read(&metronome).await, Some(SECOND * 5));
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(read(&metronome).await, Some(SECOND * 3));
    // Asked before it is due, answered when it is, and has not been handled.
    tell(&metronome, [Beat::Work(SECOND * 4)]).await;
    assert_eq!(read(&metronome).await, Some(Duration::ZERO));
    assert_eq!(read(&metronome).await, None);

    tell(&metronome, [Beat::Every(SECOND * 2)]).await;
    tokio::time::sleep(SECOND * 5).await;
    assert_eq!(read(&metronome).await, Some(SECOND));
}

#[tokio::test(start_paused = true)]
async fn the_longest_delay_is_just_far() {
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::After(Duration::MAX)]).await;
    assert!(read(&metronome).await.unwrap() > SECOND * u32::MAX);
    tell(&metronome, [Beat::Every(Duration::MAX)]).await;
    tokio::time::sleep(LONG * 24 * 365 * 50).await;
    assert_eq!(heard(&metronome).await, []);
    let forever = metronome.call(Beat::Heard, Duration::MAX);
    assert_eq!(forever.await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn without_a_delay_there_is_nothing_to_wait_for() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let metronome = System::new().spawn(Metronome::new());
    tell(&metronome, [Beat::After(Duration::ZERO), Beat::Note('a')]).await;
    settle().await;
    assert_eq!(tasks(), 1, "nobody waits for a deadline");
    assert_eq!(heard(&metronome).await, [('a', 0), ('!', 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_when_nothing_comes() {
    let metronome = idle(SECOND);
    tokio::time::sleep(SECOND * 10).await;
    // Once: it takes a message to begin anew.
    assert_eq!(heard(&metronome).await, [('-', 1_000)]);
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(heard(&metronome).await, [('-', 11_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_message_begins_the_idle_time_anew() {
    let metronome = idle(SECOND);
    for _ in 0..10 {
        tokio::time::sleep(SECOND * 9 / 10).await;
        tell(&metronome, [Beat::Note('a')]).await;
    }
    tokio::time::sleep(SECOND * 2).await;
    let heard = heard(&metronome).await;
    assert_eq!(heard[9..], [('a', 9_000), ('-', 10_000)]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_its_own_is_a_message() {
    let metronome = idle(SECOND);
    tell(&metronome, [Beat::After(SECOND / 2)]).await;
    tokio::time::sleep(SECOND * 3).await;
    assert_eq!(heard(&metronome).await, [('!', 500), ('-', 1_500)]);
}

#[tokio::test(start_paused = true)]
async fn work_is_not_idle() {
    let metronome = idle(SECOND);
    tell(&metronome, [Beat::Work(SECOND * 5), Beat::Note('a')]).await;
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(heard(&metronome).await, [('a', 5_000), ('-', 6_000)]);
}

#[tokio::test(start_paused = true)]
async fn the_idle_limit_can_be_set_anew() {
    let metronome = idle(SECOND * 10);
    tell(&metronome, [Beat::Idle(Some(SECOND))]).await;
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(heard(&metronome).await, [('-', 1_000)]);
    tell(&metronome, [Beat::Idle(Some(SECOND * 5))]).await;
    tokio::time::sleep(SECOND * 10).await;
    assert_eq!(heard(&metronome).await, [('-', 7_000)]);
    tell(&metronome, [Beat::Idle(None)]).await;
    tokio::time::sleep(SECOND * 20).await;
    assert_eq!(heard(&metronome).await, []);
    tell(&metronome, [Beat::Idle(Some(Duration::ZERO))]).await;
    settle().await;
    assert_eq!(heard(&metronome).await, [('-', 32_000)]);
}

#[tokio::test(start_paused = true)]
async fn at_a_timeout_the_limit_can_be_set_once_more() {
    let metronome = idle(SECOND);
    tell(&metronome, [Beat::Again]).await;
    tokio::time::sleep(SECOND * 7 / 2).await;
    assert_eq!(heard(&metronome).await, [('-', 1_000), ('-', 2_000), ('-', 3_000)]);
}

#[tokio::test(start_paused = true)]
async fn many_timers_of_one_actor() {
    const MANY: u32 = 100_000;
    let mailbox = Mailbox::unbounded();
    let metronome = System::new().spawn_on(&mailbox, None, Metronome::new()).unwrap();
    for n in 0..MANY {
        metronome.try_cast(Beat::After(Duration::from_millis(u64::from(n % 1_000 * 100)))).unwrap();
    }
    tokio::time::sleep(SECOND * 101).await;
    let heard = heard(&metronome).await;
    assert_eq!(heard.len() as u32, MANY);
    assert!(heard.is_sorted_by_key(|(_, at)| *at));
}

/// The end of an actor costs what its own timers cost, and takes nobody else's.
#[tokio::test(start_paused = true)]
async fn an_end_takes_its_own_timers() {
    let system = System::new();
    let (one, other) = (system.spawn(Metronome::new()), system.spawn(Metronome::new()));
    for metronome in [&one, &other] {
        tell(metronome, [Beat::After(SECOND), Beat::Every(SECOND), Beat::Idle(Some(SECOND * 2))]).await;
    }
    tell(&one, [Beat::Panic]).await;
    assert!(matches!(one.exited().await, ExitReason::Panic(_)));
    tokio::time::sleep(SECOND * 3 / 2).await;
    assert_eq!(heard(&other).await.len(), 3);
    assert_eq!(one.call(Beat::Heard, SECOND).await, Err(CallError::NoProc));
}

#[test]
fn timers_during_runtime_shutdown() {
    let mailbox = Mailbox::unbounded();
    let metronome = mailbox.actor_ref();
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let (first, second) = (runtime(), runtime());
    let spawn = || System::new().spawn_on(&mailbox, None, Metronome::new()).unwrap();
    first.block_on(async {
        spawn();
        tell(&metronome, [Beat::After(SECOND), Beat::Every(SECOND), Beat::Idle(Some(SECOND))]).await;
        tokio::time::sleep(SECOND / 2).await;
    });
    drop(first);
    // No incarnation reads, and the timers of the first system are gone; the time runs all the same.
    second.block_on(async {
        assert_eq!(metronome.call(Beat::Heard, SECOND).await, Err(CallError::Timeout));
        spawn();
        assert_eq!(heard(&metronome).await, []);
        tell(&metronome, [Beat::After(SECOND)]).await;
        tokio::time::sleep(SECOND * 2).await;
        assert_eq!(heard(&metronome).await.len(), 1);
    });
}
