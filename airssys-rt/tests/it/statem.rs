//! State machines, by the cases of OTP's `gen_statem_SUITE`, and the order of events against a naive model.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::statem::{Begin, Enter, Event, Machine, Next, StateMachine};
use airssys_rt::{
    Actor, ActorRef, Context, Event as Told, EventKind, ExitReason, Info, Observer, Reply, System,
};
use proptest::prelude::*;
use tokio::time::Instant;

use crate::cell::Bomb;
use crate::stage::{LONG, crash, settle};

const SECOND: Duration = Duration::from_secs(1);

type Journal = Arc<Mutex<Vec<String>>>;

/// A machine that notes what happens to it and decides by a closure.
struct Scripted {
    journal: Journal,
    began: Option<Instant>,
    first: Option<Begin<Scripted>>,
    script: Script,
    entry: Entry,
}

type Script = Box<dyn FnMut(u8, Event<&'static str>) -> Next<Scripted> + Send>;
type Entry = Box<dyn FnMut(Option<u8>, u8) -> Enter<Scripted> + Send>;

impl Scripted {
    fn note(&self, line: String) {
        let after = self.began.map_or(0, |began| began.elapsed().as_secs());
        self.journal.lock().unwrap().push(match after {
            0 => line,
            seconds => format!("{seconds}s {line}"),
        });
    }
}

impl StateMachine for Scripted {
    type State = u8;
    type Msg = &'static str;
    const QUEUE_LIMIT: usize = 8;

    async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
        self.began = Some(Instant::now());
        self.first.take().ok_or(ExitReason::Normal)
    }

    async fn handle_event(
        &mut self,
        state: &u8,
        event: Event<&'static str>,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Next<Self>, ExitReason> {
        self.note(match &event {
            Event::Message(text) => format!("{state} {text}"),
            Event::Internal(text) => format!("{state} internal {text}"),
            Event::StateTimeout(text) => format!("{state} state_timeout {text}"),
            Event::EventTimeout(text) => format!("{state} event_timeout {text}"),
            Event::Timeout(name, text) => format!("{state} timeout {name} {text}"),
            other => format!("{state} {other:?}"),
        });
        Ok((self.script)(*state, event))
    }

    async fn enter(
        &mut self,
        old: Option<&u8>,
        state: &u8,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Enter<Self>, ExitReason> {
        self.note(match old {
            Some(old) => format!("enter {old}->{state}"),
            None => format!("enter {state}"),
        });
        Ok((self.entry)(old.copied(), *state))
    }

    async fn terminate(&mut self, reason: &ExitReason, state: &u8, _: &mut Context<Machine<Self>>) {
        self.note(format!("{state} terminate {reason}"));
    }
}

fn scripted(
    script: impl FnMut(u8, Event<&'static str>) -> Next<Scripted> + Send + 'static,
) -> (Scripted, Journal) {
    let journal = Journal::default();
    let machine = Scripted {
        journal: Arc::clone(&journal),
        began: None,
        first: Some(Begin::state(0)),
        script: Box::new(script),
        entry: Box::new(|_, _| Enter::keep()),
    };
    (machine, journal)
}

/// Sends the messages, waits ten seconds, and compares what happened.
async fn run((machine, journal): (Scripted, Journal), messages: &[&'static str], expected: &[&str]) {
    let machine = System::new().spawn(Machine::new(machine));
    for message in messages {
        machine.try_cast(message).unwrap();
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(*journal.lock().unwrap(), expected);
}

async fn check(
    script: impl FnMut(u8, Event<&'static str>) -> Next<Scripted> + Send + 'static,
    messages: &[&'static str],
    expected: &[&str],
) {
    run(scripted(script), messages, expected).await;
}

use Event::{EventTimeout, Internal, Message, StateTimeout, Timeout};

#[tokio::test(start_paused = true)]
async fn basic() {
    let script = |_, event| match event {
        Message("go") => Next::goto(1),
        Message("stop") => Next::stop(ExitReason::Normal),
        _ => Next::keep(),
    };
    let expected = &["enter 0", "0 a", "0 go", "enter 0->1", "1 b", "1 stop", "1 terminate normal"];
    check(script, &["a", "go", "b", "stop", "never"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn postpone() {
    let script = |state, event| match (state, event) {
        (0, Message("go")) => Next::goto(1),
        (0, event) => Next::keep().postpone(event),
        _ => Next::keep(),
    };
    let expected = &["enter 0", "0 a", "0 b", "0 go", "enter 0->1", "1 a", "1 b", "1 c"];
    check(script, &["a", "b", "go", "c"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn postponed_again_it_keeps_its_place() {
    let script = |state, event| match (state, event) {
        (0, Message("one")) => Next::goto(1),
        (1, Message("two")) => Next::goto(2),
        (0 | 1, event) => Next::keep().postpone(event),
        _ => Next::keep(),
    };
    let expected = &[
        "enter 0",
        "0 a",
        "0 two",
        "0 b",
        "0 one",
        "enter 0->1",
        "1 a",
        "1 two",
        "enter 1->2",
        "2 a",
        "2 b",
        "2 c",
    ];
    check(script, &["a", "two", "b", "one", "c"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn postponed_by_the_event_that_changes_the_state() {
    let script = |state, event| match (state, event) {
        (0, event @ Message("a")) => Next::goto(1).postpone(event),
        _ => Next::keep(),
    };
    check(script, &["a", "b"], &["enter 0", "0 a", "enter 0->1", "1 a", "1 b"]).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_state_is_no_change() {
    let script = |_, event| match event {
        Message("again") => Next::goto(0),
        Message("repeat") => Next::repeat(),
        Message("a") => Next::keep().postpone(event).state_timeout(SECOND, "x"),
        _ => Next::keep(),
    };
    let expected = &["enter 0", "0 a", "0 again", "0 repeat", "enter 0->0", "1s 0 state_timeout x"];
    check(script, &["a", "again", "repeat"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn next_events() {
    let script = |state, event| match (state, event) {
        (0, Message("go")) => Next::goto(1).next_event("first").next_event("second"),
        (1, Internal("first")) => Next::keep().next_event("deeper"),
        (0, event) => Next::keep().postpone(event),
        _ => Next::keep(),
    };
    let expected = &[
        "enter 0",
        "0 a",
        "0 go",
        "enter 0->1",
        "1 internal first",
        "1 internal deeper",
        "1 internal second",
        "1 a",
        "1 b",
    ];
    check(script, &["a", "go", "b"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn state_timeout() {
    let script = |state, event| match (state, event) {
        (0, Message("arm")) => Next::keep().state_timeout(SECOND, "late"),
        // Set by the event that changes the state, it is the new state's.
        (0, StateTimeout(_)) => Next::goto(1).state_timeout(2 * SECOND, "later"),
        (1, StateTimeout(_)) => Next::goto(2).state_timeout(SECOND, "cancelled"),
        (2, Timeout(..)) => Next::keep().cancel_state_timeout(),
        _ => Next::keep(),
    };
    let (mut machine, journal) = scripted(script);
    machine.entry = Box::new(|_, state| match state {
        2 => Enter::keep().timeout("cancel", Duration::from_millis(500), ""),
        _ => Enter::keep(),
    });
    let expected = &[
        "enter 0",
        "0 arm",
        "0 other",
        "1s 0 state_timeout late",
        "1s enter 0->1",
        "3s 1 state_timeout later",
        "3s enter 1->2",
        "3s 2 timeout cancel ",
    ];
    run((machine, journal), &["arm", "other"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_change_of_state_cancels_the_state_timeout() {
    let script = |_, event| match event {
        Message("arm") => Next::keep().state_timeout(SECOND, "late"),
        Message("zero") => Next::keep().next_event("go").state_timeout(Duration::ZERO, "never"),
        Internal("go") | Message("go") => Next::goto(1),
        _ => Next::keep(),
    };
    check(script, &["arm", "go"], &["enter 0", "0 arm", "0 go", "enter 0->1"]).await;
    check(script, &["zero"], &["enter 0", "0 zero", "0 internal go", "enter 0->1"]).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_no_duration_comes_after_what_waits_and_before_the_mailbox() {
    let script = |_, event| match event {
        Message("go") => Next::keep()
            .state_timeout(Duration::ZERO, "s")
            .timeout("t", Duration::ZERO, "n")
            .event_timeout(Duration::ZERO, "cancelled by s")
            .next_event("i"),
        Message("alone") => Next::keep().event_timeout(Duration::ZERO, "e"),
        _ => Next::keep(),
    };
    let expected = &["enter 0", "0 go", "0 internal i", "0 state_timeout s", "0 timeout t n", "0 b"];
    check(script, &["go", "b"], expected).await;
    check(script, &["alone", "b"], &["enter 0", "0 alone", "0 event_timeout e", "0 b"]).await;
}

#[tokio::test(start_paused = true)]
async fn event_timeout() {
    let script = |_, event| match event {
        Message(_) => Next::keep().event_timeout(SECOND, "idle"),
        EventTimeout(_) => Next::keep().event_timeout(2 * SECOND, "cancelled").timeout("t", SECOND, ""),
        _ => Next::keep(),
    };
    // The second message cancels the first one's timeout, the named timeout that of the first timeout.
    let expected = &["enter 0", "0 a", "0 b", "1s 0 event_timeout idle", "2s 0 timeout t "];
    check(script, &["a", "b"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn generic_timers() {
    let script = |_, event| match event {
        Message("arm") => Next::goto(1)
            .timeout("a", 3 * SECOND, "1")
            .timeout(String::from("b"), SECOND, "2")
            .timeout("c", 2 * SECOND, "3"),
        // Set again, the timer begins anew; it is one and the same.
        Message("rearm") => Next::goto(2).timeout("a", 4 * SECOND, "4").cancel_timeout("c"),
        _ => Next::keep(),
    };
    let expected =
        &["enter 0", "0 arm", "enter 0->1", "1 rearm", "enter 1->2", "1s 2 timeout b 2", "4s 2 timeout a 4"];
    check(script, &["arm", "rearm"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn a_timeout_that_is_due_can_still_be_cancelled() {
    let script = |_, event| match event {
        Message("arm") => Next::keep().timeout("a", SECOND, "").timeout("b", SECOND, ""),
        Timeout(name, _) => Next::keep().cancel_timeout(if name == "a" { "b" } else { "a" }),
        _ => Next::keep(),
    };
    let (machine, journal) = scripted(script);
    let machine = System::new().spawn(Machine::new(machine));
    machine.cast("arm").await.unwrap();
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(journal.lock().unwrap().len(), 3, "{journal:?}");
}

#[tokio::test(start_paused = true)]
async fn state_enter() {
    let (mut machine, journal) = scripted(|_, event| match event {
        Message("go") => Next::goto(1).timeout("first", Duration::ZERO, ""),
        Message("repeat") => Next::repeat(),
        Message("end") => Next::goto(2).next_event("never"),
        _ => Next::keep(),
    });
    machine.entry = Box::new(|old, state| match (old, state) {
        (None, _) => Enter::keep().state_timeout(SECOND, "cancelled"),
        (Some(0), 1) => Enter::keep().timeout("second", Duration::ZERO, ""),
        (_, 2) => Enter::stop(ExitReason::Shutdown),
        _ => Enter::keep(),
    });
    let expected = &[
        "enter 0",
        "0 go",
        "enter 0->1",
        "1 timeout first ",
        "1 timeout second ",
        "1 repeat",
        "enter 1->1",
        "1 end",
        "enter 1->2",
        "2 terminate shutdown",
    ];
    run((machine, journal), &["go", "repeat", "end"], expected).await;
}

#[tokio::test(start_paused = true)]
async fn it_begins_with_its_own_events() {
    let (mut machine, journal) = scripted(|_, _| Next::keep());
    machine.first = Some(Begin::state(3).next_event("a").next_event("b"));
    run((machine, journal), &["c"], &["enter 3", "3 internal a", "3 internal b", "3 c"]).await;
}

#[tokio::test(start_paused = true)]
async fn start_ignore() {
    let (mut machine, journal) = scripted(|_, _| Next::keep());
    machine.first = Some(Begin::ignore());
    let machine = System::new().spawn(Machine::new(machine));
    assert!(matches!(machine.exited().await, ExitReason::Normal));
    assert!(journal.lock().unwrap().is_empty());
}

/// A lock that answers, now or when it is unlocked.
struct Lock;

enum Ask {
    Enter(Reply<&'static str>),
    Unlock,
    Stop(Reply<&'static str>),
    Fail,
    Watch(ActorRef<()>),
}

impl StateMachine for Lock {
    type State = bool;
    type Msg = Ask;

    async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
        Ok(Begin::state(false))
    }

    async fn handle_event(
        &mut self,
        open: &bool,
        event: Event<Ask>,
        cx: &mut Context<Machine<Self>>,
    ) -> Result<Next<Self>, ExitReason> {
        Ok(match event {
            Message(Ask::Enter(_)) if !open => Next::keep().postpone(event),
            Message(Ask::Enter(reply)) => Next::keep().reply(reply, "welcome"),
            Message(Ask::Unlock) | Event::Info(Info::Down(_)) => Next::goto(true),
            Message(Ask::Stop(reply)) => Next::stop(ExitReason::Normal).reply(reply, "bye"),
            Message(Ask::Fail) => return Err(crash()),
            Message(Ask::Watch(actor)) => {
                cx.monitor(&actor);
                Next::keep()
            }
            _ => Next::keep(),
        })
    }
}

#[tokio::test(start_paused = true)]
async fn reply_to_a_postponed_call() {
    let lock = System::new().spawn(Machine::new(Lock));
    let (entered, ()) = tokio::join!(lock.call(Ask::Enter, LONG), async {
        settle().await;
        lock.cast(Ask::Unlock).await.unwrap();
    });
    assert_eq!(entered, Ok("welcome"));
}

#[tokio::test(start_paused = true)]
async fn stop_and_reply() {
    let lock = System::new().spawn(Machine::new(Lock));
    assert_eq!(lock.call(Ask::Stop, LONG).await, Ok("bye"));
    assert!(matches!(lock.exited().await, ExitReason::Normal));
}

#[tokio::test(start_paused = true)]
async fn an_info_is_an_event() {
    struct Mortal;
    impl Actor for Mortal {
        type Msg = ();
        async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
            Err(ExitReason::Normal)
        }
    }
    let system = System::new();
    let (lock, mortal) = (system.spawn(Machine::new(Lock)), system.spawn(Mortal));
    lock.cast(Ask::Watch(mortal.clone())).await.unwrap();
    mortal.cast(()).await.unwrap();
    assert_eq!(lock.call(Ask::Enter, LONG).await, Ok("welcome"));
}

#[tokio::test(start_paused = true)]
async fn what_is_postponed_at_the_end_becomes_dead_letters() {
    #[derive(Default)]
    struct Cemetery(Mutex<usize>);
    impl Observer for Cemetery {
        fn event(&self, event: &Told) {
            if let EventKind::DeadLetters { count, .. } = event.kind {
                *self.0.lock().unwrap() += count;
            }
        }
    }
    let cemetery = Arc::new(Cemetery::default());
    let system = System::builder().observer(Arc::clone(&cemetery) as _).build();
    let lock = system.spawn(Machine::new(Lock));
    let asked = [lock.call(Ask::Enter, LONG), lock.call(Ask::Enter, LONG)];
    let [first, second] = asked;
    let (first, second, fail) = tokio::join!(first, second, lock.cast(Ask::Fail));
    assert!(first.is_err() && second.is_err() && fail.is_ok());
    assert_eq!(lock.exited().await.to_string(), "crash");
    settle().await;
    assert_eq!(*cemetery.0.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_at_the_end_may_panic_where_it_is_dropped() {
    /// Keeps messages until one is empty, and then some more of its own.
    struct Keeper;
    impl StateMachine for Keeper {
        type State = ();
        type Msg = Option<Bomb>;
        async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
            Ok(Begin::state(()))
        }
        async fn handle_event(
            &mut self,
            (): &(),
            event: Event<Option<Bomb>>,
            _: &mut Context<Machine<Self>>,
        ) -> Result<Next<Self>, ExitReason> {
            match event {
                Event::Message(Some(_)) => Ok(Next::keep().postpone(event)),
                Event::Message(None) => {
                    let bomb = || Some(Bomb(1));
                    let next = Next::keep().next_event(None).next_event(bomb()).next_event(bomb());
                    let zero = Duration::ZERO;
                    Ok(next.timeout("one", zero, bomb()).timeout("other", zero, bomb()))
                }
                _ => Err(ExitReason::Normal),
            }
        }
    }
    let keeper = System::new().spawn(Machine::new(Keeper));
    for message in [Some(Bomb(1)), Some(Bomb(1)), None] {
        keeper.cast(message).await.unwrap();
    }
    assert_eq!(keeper.exited().await.to_string(), "normal");
}

#[tokio::test(start_paused = true)]
async fn one_that_keeps_too_much_ends() {
    let script = |_, event| Next::keep().postpone(event);
    let machine = System::new().spawn(Machine::new(scripted(script).0));
    for _ in 0..8 {
        machine.cast("a").await.unwrap();
    }
    settle().await;
    assert!(machine.is_alive());
    machine.cast("one more").await.unwrap();
    assert_eq!(machine.exited().await.to_string(), "more than 8 events kept");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_never_looks_into_its_mailbox_lets_others_run() {
    let script = |_, _| Next::keep().next_event("again");
    let machine = System::new().spawn(Machine::new(scripted(script).0));
    machine.cast("a").await.unwrap();
    // There is one thread: this is reached only because the machine yields.
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert!(machine.is_alive());
}

/// What a machine does at an event: per state and event, drawn at random.
#[derive(Clone, Debug)]
struct Rule {
    postpone: bool,
    goto: Option<u8>,
    insert: u8,
}

const STATES: u8 = 3;
const KINDS: u8 = 4;
/// After so many events a run ends: rules may go round in circles.
const STEPS: usize = 200;

/// One event: its kind, which decides, and its number, which tells it apart.
type Numbered = (u8, u32);

struct Ruled {
    rules: Vec<Rule>,
    seen: Arc<Mutex<Vec<(u8, Numbered)>>>,
}

impl StateMachine for Ruled {
    type State = u8;
    type Msg = Numbered;
    const QUEUE_LIMIT: usize = usize::MAX;

    async fn init(&mut self, _: &mut Context<Machine<Self>>) -> Result<Begin<Self>, ExitReason> {
        Ok(Begin::state(0))
    }

    async fn handle_event(
        &mut self,
        state: &u8,
        event: Event<Numbered>,
        _: &mut Context<Machine<Self>>,
    ) -> Result<Next<Self>, ExitReason> {
        let (Message((kind, number)) | Internal((kind, number))) = event else { panic!("{event:?}") };
        let mut seen = self.seen.lock().unwrap();
        seen.push((*state, (kind, number)));
        if seen.len() == STEPS {
            return Err(ExitReason::Normal);
        }
        let rule = &self.rules[usize::from(*state * KINDS + kind)];
        let mut next = rule.goto.map_or_else(Next::keep, Next::goto);
        if rule.postpone {
            next = next.postpone(event);
        }
        for child in 0..rule.insert {
            // What is inserted is of a lower kind: so it ends.
            if let Some(kind) = kind.checked_sub(child + 1) {
                next = next.next_event((kind, number.wrapping_mul(10) + u32::from(child)));
            }
        }
        Ok(next)
    }
}

/// The naive model: one list of all events and a cursor. Those before it are postponed; a change of state puts it back
/// to the beginning.
fn model(rules: &[Rule], events: &[Numbered]) -> Vec<(u8, Numbered)> {
    let mut list: VecDeque<Numbered> = events.iter().copied().collect();
    let (mut cursor, mut state, mut seen) = (0, 0, Vec::new());
    while let Some(&(kind, number)) = list.get(cursor) {
        seen.push((state, (kind, number)));
        if seen.len() == STEPS {
            break;
        }
        let rule = &rules[usize::from(state * KINDS + kind)];
        if rule.postpone {
            cursor += 1;
        } else {
            list.remove(cursor);
        }
        if let Some(goto) = rule.goto.filter(|goto| *goto != state) {
            (state, cursor) = (goto, 0);
        }
        for child in (0..rule.insert).rev() {
            if let Some(kind) = kind.checked_sub(child + 1) {
                list.insert(cursor, (kind, number.wrapping_mul(10) + u32::from(child)));
            }
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_events_is_that_of_a_naive_model(
        rules in prop::collection::vec(
            (any::<bool>(), prop::option::of(0..STATES), 0..3_u8)
                .prop_map(|(postpone, goto, insert)| Rule { postpone, goto, insert }),
            usize::from(STATES * KINDS),
        ),
        kinds in prop::collection::vec(0..KINDS, 0..12),
    ) {
        let events: Vec<Numbered> = kinds.into_iter().zip(1..).collect();
        let expected = model(&rules, &events);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let seen = Arc::new(Mutex::new(Vec::new()));
        runtime.unwrap().block_on(async {
            let machine = System::new().spawn(Machine::new(Ruled { rules, seen: Arc::clone(&seen) }));
            for event in events {
                machine.try_cast(event).unwrap();
            }
            settle().await;
        });
        let seen = seen.lock().unwrap().clone();
        prop_assert_eq!(seen, expected);
    }
}
