//! The test kit: what a probe sees, and actors that fail by plan.

use std::time::Duration;

use airssys_rt::statem::{Begin, Event, Machine, Next, StateMachine};
use airssys_rt::testing::{self, Fault, Faults, Faulty, Probe, ProbeError, settle};
use airssys_rt::{
    Actor, ActorRef, ChildSpec, Context, ExitReason, Info, Init, Mailbox, Reply, Stash, Strategy, System,
    TimerRef,
};
use tokio::time::Instant;

use crate::stage::{LONG, start, top};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_hour_takes_no_time() {
    let began = std::time::Instant::now();
    let waited = testing::run(|_| async {
        let began = Instant::now();
        tokio::time::sleep(LONG).await;
        began.elapsed()
    });
    assert_eq!(waited, LONG);
    assert!(began.elapsed() < LONG / 2);
}

#[test]
fn a_probe_sees_messages_in_order() {
    testing::run(|system| async move {
        let mut probe = Probe::new(&system);
        let actor = probe.actor_ref();
        for n in 1..=4 {
            actor.cast(n).await.unwrap();
        }
        assert_eq!(probe.expect(SECOND).await.unwrap(), 1);
        assert_eq!(probe.expect_where(SECOND, |n| *n == 2).await.unwrap(), 2);
        assert!(matches!(probe.expect_where(SECOND, |n| *n == 9).await, Err(ProbeError::Other(3))));
        assert!(matches!(probe.expect_none(SECOND).await, Err(ProbeError::Other(4))));
        probe.expect_none(SECOND).await.unwrap();
    });
}

#[test]
fn a_probe_waits_as_long_as_it_is_told() {
    testing::run(|system| async move {
        let mut probe = Probe::new(&system);
        let (actor, began) = (probe.actor_ref(), Instant::now());
        assert!(matches!(probe.expect(SECOND).await, Err(ProbeError::Nothing(SECOND))));
        assert_eq!(began.elapsed(), SECOND);
        let task = system.task(async move {
            for n in 1..=5 {
                tokio::time::sleep(SECOND).await;
                actor.cast(n).await.unwrap();
            }
        });
        assert_eq!(probe.fish(LONG, |n| *n == 3).await.unwrap(), 3);
        assert_eq!(began.elapsed(), 4 * SECOND);
        // All of the fishing takes no longer than that, whatever bites.
        assert!(matches!(probe.fish(SECOND / 2, |n| *n == 9).await, Err(ProbeError::Nothing(_))));
        task.await.unwrap();
        assert_eq!(probe.expect(SECOND).await.unwrap(), 4);
    });
}

#[test]
fn a_test_answers_what_a_probe_is_asked() {
    testing::run(|system| async move {
        let mut probe = Probe::<Reply<u32>>::new(&system);
        let actor = probe.actor_ref();
        let asked = system.task(async move { actor.call(|reply| reply, SECOND).await });
        probe.expect(SECOND).await.unwrap().send(42);
        assert_eq!(asked.await.unwrap(), Ok(42));
    });
}

#[test]
fn a_probe_dies_by_order_and_with_its_test() {
    testing::run(|system| async move {
        let mut probe = Probe::new(&system);
        let actor = probe.actor_ref();
        actor.cast(1).await.unwrap();
        settle().await;
        probe.kill();
        assert!(matches!(actor.exited().await, ExitReason::Killed));
        assert_eq!(probe.expect(SECOND).await.unwrap(), 1);
        let began = Instant::now();
        probe.expect_none(SECOND).await.unwrap();
        assert_eq!(began.elapsed(), SECOND);

        let probe = Probe::<()>::new(&system);
        let actor = probe.actor_ref();
        drop(probe);
        assert!(matches!(actor.exited().await, ExitReason::Killed));
    });
}

/// Tells a probe what it handles. Has a timer, a monitor and a stash, all of which a wrapper must not lose.
struct Teller {
    probe: ActorRef<String>,
    stash: Stash<Tell>,
    timer: Option<TimerRef>,
}

enum Tell {
    Say(u32),
    Arm,
    Disarm(Reply<bool>),
    Monitor(ActorRef<()>),
    Stash(u32),
    Unstash,
    Stop,
}

impl Actor for Teller {
    type Msg = Tell;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.probe.cast("init".to_owned()).await?;
        cx.continue_next();
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: Tell, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Tell::Say(n) => self.probe.cast(n.to_string()).await?,
            Tell::Arm => self.timer = Some(cx.send_after(SECOND, Tell::Say(1_000))),
            Tell::Disarm(reply) => reply.send(self.timer.take().is_some_and(|timer| cx.cancel(timer))),
            Tell::Monitor(actor) => drop(cx.monitor(&actor)),
            Tell::Stash(n) => cx.stash(&mut self.stash, Tell::Say(n))?,
            Tell::Unstash => drop(cx.unstash_all(&mut self.stash)),
            Tell::Stop => return Err(ExitReason::Normal),
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        let text = match info {
            Info::Down(down) => format!("down: {}", down.reason),
            _ => "continue".to_owned(),
        };
        Ok(self.probe.cast(text).await?)
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        self.probe.try_cast(format!("bye: {reason}")).unwrap();
    }
}

fn teller(probe: &Probe<String>) -> Teller {
    Teller { probe: probe.actor_ref(), stash: Stash::new(), timer: None }
}

async fn saw(probe: &mut Probe<String>, expected: &[&str]) {
    for expected in expected {
        assert_eq!(probe.expect(LONG).await.unwrap(), *expected);
    }
    probe.expect_none(SECOND / 2).await.unwrap();
}

#[test]
fn without_a_fault_the_wrapper_is_as_the_actor() {
    testing::run(|system| async move {
        let (mut probe, mortal) = (Probe::new(&system), Probe::<()>::new(&system));
        let actor = system.spawn(Faulty::new(teller(&probe), Faults::new()));
        saw(&mut probe, &["init", "continue"]).await;
        actor.cast(Tell::Arm).await.unwrap();
        actor.cast(Tell::Say(1)).await.unwrap();
        saw(&mut probe, &["1"]).await;
        saw(&mut probe, &["1000"]).await;
        actor.cast(Tell::Arm).await.unwrap();
        assert_eq!(actor.call(Tell::Disarm, SECOND).await, Ok(true));
        actor.cast(Tell::Monitor(mortal.actor_ref())).await.unwrap();
        for tell in [Tell::Stash(2), Tell::Stash(3), Tell::Unstash, Tell::Say(4)] {
            actor.cast(tell).await.unwrap();
        }
        saw(&mut probe, &["2", "3", "4"]).await;
        drop(mortal);
        saw(&mut probe, &["down: killed"]).await;
        actor.cast(Tell::Stop).await.unwrap();
        saw(&mut probe, &["bye: normal"]).await;
    });
}

#[test]
fn faults_come_at_the_chosen_messages() {
    testing::run(|system| async move {
        let mut probe = Probe::new(&system);
        let faults = Faults::new()
            .nth(2, Fault::Lose)
            .nth(4, Fault::Panic("fourth"))
            .matching(|tell| matches!(tell, Tell::Say(3)), Fault::Delay(2 * SECOND));
        let actor = system.spawn(Faulty::new(teller(&probe), faults.clone()));
        for n in 1..=4 {
            actor.cast(Tell::Say(n)).await.unwrap();
        }
        saw(&mut probe, &["init", "continue", "1"]).await;
        let began = Instant::now();
        saw(&mut probe, &["3"]).await;
        assert_eq!(began.elapsed(), 2 * SECOND);
        assert_eq!(actor.exited().await.to_string(), "panicked: fourth");
        assert_eq!((faults.messages(), faults.fired()), (4, 3));
    });
}

#[tokio::test(start_paused = true)]
async fn faults_are_counted_over_incarnations() {
    let mut probe = Probe::new(&System::new());
    let faults = Faults::new()
        .at_start(2, Fault::Exit(std::fmt::Error.into()))
        .nth(2, Fault::Exit(std::fmt::Error.into()));
    let (mailbox, plan, ear) = (Mailbox::default(), faults.clone(), probe.actor_ref());
    let actor = mailbox.actor_ref();
    let child = ChildSpec::actor_with_mailbox("teller", mailbox, move || {
        let teller = Teller { probe: ear.clone(), stash: Stash::new(), timer: None };
        Faulty::new(teller, plan.clone())
    });
    let _tree = start(top(Strategy::OneForOne, [child])).await;
    for n in 1..=3 {
        actor.cast(Tell::Say(n)).await.unwrap();
    }
    let error = std::fmt::Error.to_string();
    let bye = format!("bye: {error}");
    // The first life, no second one, and the third.
    saw(&mut probe, &["init", "continue", "1", &bye, "init", "continue", "3"]).await;
    assert_eq!((faults.messages(), faults.fired()), (3, 2));
}

#[test]
fn a_state_machine_can_be_faulty() {
    struct Blinker(ActorRef<bool>);
    impl StateMachine for Blinker {
        type State = bool;
        type Msg = ();
        async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
            Ok(Begin::state(false).next_event(()))
        }
        async fn handle_event(
            &mut self,
            on: &bool,
            event: Event<()>,
            _: &mut Context<Machine<Self>>,
        ) -> Result<Next<Self>, ExitReason> {
            assert!(!matches!(event, Event::Message(())), "a timeout is no message");
            self.0.cast(*on).await?;
            Ok(Next::goto(!on).state_timeout(SECOND, ()))
        }
    }
    testing::run(|system| async move {
        let mut probe = Probe::new(&system);
        let faults = Faults::new().nth(3, Fault::Panic("dark"));
        let blinker = system.spawn(Faulty::new(Machine::new(Blinker(probe.actor_ref())), faults));
        for expected in [false, true, false] {
            assert_eq!(probe.expect(2 * SECOND).await.unwrap(), expected);
        }
        assert_eq!(blinker.exited().await.to_string(), "panicked: dark");
    });
}

#[test]
fn a_timeout_that_a_fault_swallowed_is_not_taken_for_the_next_message() {
    struct Sleeper(ActorRef<&'static str>);
    impl StateMachine for Sleeper {
        type State = ();
        type Msg = &'static str;
        async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
            Ok(Begin::state(()))
        }
        async fn handle_event(
            &mut self,
            (): &(),
            event: Event<&'static str>,
            _: &mut Context<Machine<Self>>,
        ) -> Result<Next<Self>, ExitReason> {
            self.0.cast(if matches!(event, Event::Message(_)) { "message" } else { "timeout" }).await?;
            Ok(Next::keep().state_timeout(SECOND, "late"))
        }
    }
    testing::run(|system| async move {
        let mut probe = Probe::new(&system);
        let faults = Faults::new().nth(2, Fault::Lose);
        let sleeper = system.spawn(Faulty::new(Machine::new(Sleeper(probe.actor_ref())), faults.clone()));
        sleeper.cast("a").await.unwrap();
        assert_eq!(probe.expect(SECOND).await.unwrap(), "message");
        tokio::time::sleep(2 * SECOND).await;
        assert_eq!(faults.fired(), 1);
        sleeper.cast("b").await.unwrap();
        assert_eq!(probe.expect(SECOND).await.unwrap(), "message");
        assert_eq!(probe.expect(2 * SECOND).await.unwrap(), "timeout");
    });
}
