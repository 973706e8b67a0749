//! Messages that an actor sends to its later self.
//!
//! After `timer_bif_SUITE`: `send_after_1`, `send_after_2` → `timers_come_when_they_are_due`; `cancel_timer_1` →
//! `a_cancelled_timer_does_not_come`, `a_timer_can_be_cancelled_until_it_is_handled`; `cleanup` →
//! `timers_end_with_the_incarnation_that_armed_them`, `a_timer_that_is_not_needed_any_more_leaves_nothing_behind`.

use std::time::Duration;

use airssys_rt::Strategy::OneForOne;
use airssys_rt::{Actor, ActorRef, ChildSpec, Context, ExitReason, Mailbox, Reply, System, TimerRef};

use crate::stage::{LONG, crash, settle, start, top};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Clock {
    heard: Vec<u32>,
    armed: Vec<TimerRef>,
}

enum Tick {
    Arm(Duration, u32),
    Due(u32),
    Cancel(Reply<Vec<bool>>),
    Work(Duration),
    Heard(Reply<Vec<u32>>),
    Crash,
}

impl Actor for Clock {
    type Msg = Tick;

    async fn handle(&mut self, tick: Tick, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match tick {
            Tick::Arm(delay, number) => self.armed.push(cx.send_after(delay, Tick::Due(number))),
            Tick::Due(number) => self.heard.push(number),
            Tick::Cancel(reply) => reply.send(self.armed.drain(..).map(|timer| cx.cancel(timer)).collect()),
            Tick::Work(time) => tokio::time::sleep(time).await,
            Tick::Heard(reply) => reply.send(self.heard.clone()),
            Tick::Crash => return Err(crash()),
        }
        Ok(())
    }
}

async fn tell(clock: &ActorRef<Tick>, ticks: impl IntoIterator<Item = Tick>) {
    for tick in ticks {
        clock.cast(tick).await.unwrap();
    }
}

async fn heard(clock: &ActorRef<Tick>) -> Vec<u32> {
    clock.call(Tick::Heard, LONG).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn timers_come_when_they_are_due() {
    let clock = System::new().spawn(Clock::default());
    tell(&clock, [3, 1, 2].map(|n| Tick::Arm(SECOND * n, n))).await;
    tokio::time::sleep(SECOND * 5 / 2).await;
    assert_eq!(heard(&clock).await, [1, 2]);
    tokio::time::sleep(SECOND).await;
    assert_eq!(heard(&clock).await, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_waits_for_its_turn() {
    let clock = System::new().spawn(Clock::default());
    // 1 and 3 are in the mailbox when 2 becomes due, in the middle of the work; 4 comes later.
    tell(&clock, [Tick::Arm(SECOND, 2), Tick::Work(SECOND * 2), Tick::Due(1), Tick::Due(3)]).await;
    tokio::time::sleep(SECOND * 3 / 2).await;
    tell(&clock, [Tick::Due(4)]).await;
    assert_eq!(heard(&clock).await, [1, 3, 2, 4]);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_timer_does_not_come() {
    let clock = System::new().spawn(Clock::default());
    tell(&clock, [Tick::Arm(SECOND, 1), Tick::Arm(SECOND * 3, 2)]).await;
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(clock.call(Tick::Cancel, LONG).await.unwrap(), [false, true]);
    tokio::time::sleep(SECOND * 2).await;
    assert_eq!(heard(&clock).await, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_can_be_cancelled_until_it_is_handled() {
    let clock = System::new().spawn(Clock::default());
    tell(&clock, [Tick::Arm(SECOND, 1), Tick::Work(SECOND * 2)]).await;
    // Asked before the timer is due, answered after it.
    assert_eq!(clock.call(Tick::Cancel, LONG).await.unwrap(), [true]);
    assert_eq!(heard(&clock).await, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_that_is_not_needed_any_more_leaves_nothing_behind() {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    // A watchdog may hold an actor for a moment.
    let clock = System::builder().watchdog(None).build().spawn(Clock::default());
    tell(&clock, [Tick::Arm(LONG, 1), Tick::Arm(LONG, 2)]).await;
    settle().await;
    // The one that runs actors, and the one that waits for the next deadline of the system.
    assert_eq!(tasks(), 2);
    clock.call(Tick::Cancel, LONG).await.unwrap();
    settle().await;
    assert_eq!(tasks(), 2);
    tell(&clock, [Tick::Arm(LONG, 3), Tick::Crash]).await;
    settle().await;
    drop(clock);
    settle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn timers_end_with_the_incarnation_that_armed_them() {
    let mailbox = Mailbox::unbounded();
    let child = ChildSpec::actor_with_mailbox("clock", mailbox.clone(), Clock::default);
    start(top(OneForOne, [child])).await;
    let clock = mailbox.actor_ref();
    // The first is due, and in the mailbox, when the crash comes; the second never is.
    tell(&clock, [Tick::Arm(SECOND, 1), Tick::Arm(SECOND * 5, 2), Tick::Work(SECOND * 2), Tick::Crash]).await;
    tell(&clock, [Tick::Due(3)]).await;
    tokio::time::sleep(SECOND * 6).await;
    assert_eq!(heard(&clock).await, [3]);
}

#[tokio::test(start_paused = true)]
async fn a_full_mailbox_takes_timers() {
    let mailbox = Mailbox::bounded(2);
    let clock = System::new().spawn_on(&mailbox, None, Clock::default()).unwrap();
    tell(&clock, [Tick::Arm(SECOND, 3)]).await;
    tell(&clock, [Tick::Work(SECOND * 2)]).await;
    tokio::task::yield_now().await;
    tell(&clock, [1, 2].map(Tick::Due)).await;
    assert!(clock.try_cast(Tick::Due(4)).is_err());
    assert_eq!(heard(&clock).await, [1, 2, 3]);
}
