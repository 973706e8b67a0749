//! Simulations: one seed is one order of everything, many seeds are many orders, and no run is endless.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::testing::{self, Chance, Sim};
use airssys_rt::{
    Actor, ActorRef, ChildSpec, Context, Event, ExitReason, Info, Init, Observer, Reply, Strategy,
    Supervisor, System, TimerRef,
};

use crate::stage::LONG;

/// What happened in a run, in order.
#[derive(Clone, Default)]
struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    fn note(&self, line: impl Into<String>) {
        self.0.lock().unwrap().push(line.into());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Journal {
    fn event(&self, event: &Event) {
        // Without a name, the path is the id, which is another one each time.
        let path = if event.path.starts_with('<') { "somebody" } else { &*event.path };
        self.note(format!("{path}: {:?}", event.kind));
    }
}

/// An actor that does a bit of everything: it crashes at times, calls its friend, and watches its links end.
struct Busy {
    name: String,
    journal: Journal,
    friend: Option<ActorRef<Work>>,
    timer: Option<TimerRef>,
}

enum Work {
    Befriend(ActorRef<Work>),
    Note(u64),
    Ask(u64, Reply<u64>),
    Tick,
    Crash,
}

impl Busy {
    fn new(name: &str, journal: &Journal) -> Self {
        Self { name: name.to_owned(), journal: journal.clone(), friend: None, timer: None }
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.journal.note(format!("{} {what}", self.name));
    }
}

impl Actor for Busy {
    type Msg = Work;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.trap_exit(self.name.ends_with('0'));
        cx.join("busy")?;
        self.timer = Some(cx.send_interval(Duration::from_millis(3), || Work::Tick));
        self.note("begins");
        Ok(Init::Ready)
    }

    async fn handle(&mut self, work: Work, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match work {
            Work::Befriend(friend) => {
                cx.link(&friend);
                cx.monitor(&friend);
                self.friend = Some(friend);
            }
            Work::Note(number) => {
                self.note(number);
                if let Some(friend) = self.friend.as_ref().filter(|_| number % 3 == 0) {
                    let answer =
                        friend.call(|reply| Work::Ask(number, reply), Duration::from_millis(2)).await;
                    self.note(format_args!("heard {answer:?}"));
                }
            }
            Work::Ask(number, reply) if number % 2 == 0 => reply.send(number),
            Work::Ask(_, reply) => drop(
                cx.system()
                    .task(async move {
                        tokio::time::sleep(Duration::from_millis(1)).await;
                        reply.send(1);
                    })
                    .detach(),
            ),
            Work::Tick => self.note("ticks"),
            Work::Crash => panic!("told to"),
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match info {
            Info::Exit(exit) => self.note(format_args!("heard an exit: {}", exit.reason)),
            Info::Down(down) => self.note(format_args!("heard an end: {}", down.reason)),
            _ => {}
        }
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        self.note(format_args!("ends: {reason}"));
    }
}

/// What happens in a system with supervisors, timers, calls, links, groups and blocking work.
fn history(seed: u64) -> Vec<String> {
    let journal = Journal::default();
    let test = |_: System| {
        let journal = journal.clone();
        async move {
            let system = System::builder().observer(Arc::new(journal.clone())).seed(seed).build();
            let worker = |name: String| {
                let journal = journal.clone();
                ChildSpec::actor(name.clone(), move || Busy::new(&name, &journal))
            };
            let team = |name: &str| {
                (0..3).fold(Supervisor::new(name, Strategy::OneForAll).intensity(100, LONG), |team, n| {
                    team.child(worker(format!("{name}{n}")))
                })
            };
            let top = Supervisor::new("top", Strategy::OneForOne)
                .intensity(100, LONG)
                .child(ChildSpec::supervisor(team("a")))
                .child(ChildSpec::supervisor(team("b")));
            let top = system.start(top).await.unwrap();
            let mut chance = Chance::new(seed);
            let busy = system.group::<Work>("busy");
            for number in 0..40 {
                let members = busy.members();
                let (Some(one), Some(other)) = (chance.pick(&members), chance.pick(&members)) else {
                    continue;
                };
                let work = match chance.below(12) {
                    0 => Work::Crash,
                    1 | 2 => Work::Befriend(other.clone()),
                    _ => Work::Note(number),
                };
                // Some have ended meanwhile.
                drop(one.try_cast(work));
                if chance.one_in(4) {
                    let note = journal.clone();
                    drop(system.blocking(move || note.note(format!("blocking {number}"))).await);
                }
                if chance.one_in(6) {
                    tokio::time::sleep(Duration::from_millis(chance.below(8))).await;
                }
            }
            top.shutdown().await;
        }
    };
    Sim::new(seed).run(test).unwrap();
    journal.take()
}

#[test]
fn one_seed_gives_one_order_of_everything() {
    let mut orders = std::collections::HashSet::new();
    for seed in 0..40 {
        let first = history(seed);
        assert!(first.len() > 60, "{first:#?}");
        // Other tests take ids and time meanwhile; and it does not matter.
        for _ in 0..2 {
            assert_eq!(history(seed), first, "seed {seed}");
        }
        orders.insert(first);
    }
    assert_eq!(orders.len(), 40);
}

/// Reads and writes with a gap in between.
struct Account(u64);

enum Order {
    Read(Reply<u64>),
    Write(u64),
}

impl Actor for Account {
    type Msg = Order;

    async fn handle(&mut self, order: Order, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match order {
            Order::Read(reply) => reply.send(self.0),
            Order::Write(value) => self.0 = value,
        }
        Ok(())
    }
}

async fn add_one(account: ActorRef<Order>) {
    let value = account.call(Order::Read, LONG).await.unwrap();
    account.cast(Order::Write(value + 1)).await.unwrap();
}

/// What two tasks that add one come to: two, unless both have read before one of them writes.
fn sum(seed: u64) -> u64 {
    let test = |system: System| async move {
        let account = system.spawn(Account(0));
        let (one, other) = (system.task(add_one(account.clone())), system.task(add_one(account.clone())));
        one.await.unwrap();
        other.await.unwrap();
        account.call(Order::Read, LONG).await.unwrap()
    };
    Sim::new(seed).run(test).unwrap()
}

#[test]
fn some_seed_finds_a_lost_update() {
    let sums: Vec<u64> = (0..200).map(sum).collect();
    let lost = sums.iter().filter(|sum| **sum == 1).count();
    assert!((10..190).contains(&lost), "{lost} of 200");
    assert!(sums.iter().all(|sum| (1..=2).contains(sum)));
    assert_eq!(sums, (0..200).map(sum).collect::<Vec<u64>>());
}

/// Every order comes up of what two actors do that are woken together.
#[test]
fn all_orders_come_up() {
    let order = |seed| {
        let journal = Journal::default();
        let test = |system: System| {
            let journal = journal.clone();
            async move {
                let actors: Vec<_> =
                    (0..2).map(|n| system.spawn(Busy::new(&format!("{n}"), &journal))).collect();
                testing::settle().await;
                drop(journal.take());
                for number in [1, 2, 4] {
                    for actor in &actors {
                        actor.cast(Work::Note(number)).await.unwrap();
                    }
                }
                testing::settle().await;
            }
        };
        Sim::new(seed).run(test).unwrap();
        journal.take()
    };
    let orders: std::collections::HashSet<_> = (0..1_500).map(order).collect();
    // Six notes of two actors, each with its own three in order.
    assert_eq!(orders.len(), 20);
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap()
}

/// What the panic says that a simulation ends with.
fn failure<F: Future<Output = ()>>(test: impl Fn(System) -> F) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| testing::sim(3..10, test)));
    message(&*failed.unwrap_err())
}

#[test]
fn a_deadlock_is_reported_with_its_seed() {
    let report = failure(|system: System| async move {
        let account = system.spawn(Account(0));
        if system.seed() == Some(7) {
            account.exited().await;
        }
    });
    assert!(report.starts_with("seed 7: deadlock"), "{report}");
    assert!(report.contains("AIRSSYS_SEED=7 cargo test sim::a_deadlock_is_reported"), "{report}");
}

#[test]
fn what_goes_on_for_ever_is_reported() {
    // Virtual time passes, and nothing else happens.
    let ticking = Sim::new(1).steps(5_000).run(|system| async move {
        system.spawn(Busy::new("idle", &Journal::default())).exited().await;
    });
    // An actor writes to itself for ever, and no time passes.
    let playing = Sim::new(1).steps(5_000).run(|system| async move {
        struct Ball;
        impl Actor for Ball {
            type Msg = ();
            async fn handle(&mut self, (): (), cx: &mut Context<Self>) -> Result<(), ExitReason> {
                Ok(cx.actor_ref().cast(()).await?)
            }
        }
        let ball = system.spawn(Ball);
        ball.cast(()).await.unwrap();
        tokio::time::sleep(LONG).await;
    });
    // The test itself never rests.
    let restless = Sim::new(1).steps(5_000).run(|_| async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    for stuck in [ticking.unwrap_err(), playing.unwrap_err(), restless.unwrap_err()] {
        assert!(!stuck.is_deadlock());
        assert_eq!(stuck.steps(), 5_000, "{stuck}");
    }
}

#[test]
fn time_is_virtual_and_bounded() {
    let year = |_| async { tokio::time::sleep(LONG * 24 * 366).await };
    let stuck = Sim::new(1).run(year).unwrap_err();
    assert!(stuck.is_deadlock());
    assert_eq!(Sim::new(1).time(LONG * 24 * 367).run(year).map_err(|stuck| stuck.is_deadlock()), Err(true));
    Sim::new(1).time(LONG * 2).run(|_| tokio::time::sleep(LONG)).unwrap();
}

#[test]
fn what_a_test_returns_or_panics_with_comes_out() {
    assert_eq!(Sim::new(1).run(|system| async move { system.seed() }).unwrap(), Some(1));
    assert_eq!(failure(|_| async { panic!("as told") }), "as told");
    assert_eq!(testing::run(|system| async move { system.seed() }), None);
}

#[test]
#[should_panic(expected = "without a seed")]
fn a_simulation_needs_a_seed() {
    testing::sim([], |_| async {});
}

/// Each system of a simulation has an order of its own, and all of them end with it.
#[test]
fn systems_in_one_simulation() {
    let seeds = |seed| {
        Sim::new(seed).run(|first| async move {
            let systems = [first, System::new(), System::new(), System::builder().seed(5).build()];
            let actors: Vec<_> = systems.iter().map(|system| system.spawn(Account(0))).collect();
            for actor in &actors {
                assert_eq!(actor.call(Order::Read, LONG).await.unwrap(), 0);
            }
            (systems.map(|system| system.seed().unwrap()), actors)
        })
    };
    let (first, actors) = seeds(1).unwrap();
    let (again, _) = seeds(1).unwrap();
    assert_eq!(first, again);
    assert_eq!((first[0], first[3]), (1, 5));
    assert!(first[1] != first[2]);
    assert!(actors.iter().all(|actor| !actor.is_alive()));
}

/// A system that nobody has any more leaves no task behind.
#[test]
fn systems_end_before_their_simulation() {
    testing::sim(0..10, |_| async {
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let system = System::new();
        let actor = system.spawn(Account(0));
        assert_eq!(actor.call(Order::Read, LONG).await.unwrap(), 0);
        actor.stop(ExitReason::Normal);
        actor.exited().await;
        drop((system, actor));
        while tasks() > before {
            // Longer than any of its timers; a task that stays makes this a deadlock.
            tokio::time::sleep(Duration::from_secs(24 * 3_600)).await;
        }
    });
}

/// What runs on other threads otherwise runs on this one, in the order of the seed, with the same results.
#[test]
fn blocking_work_is_part_of_the_simulation() {
    let order = |seed| {
        let journal = Journal::default();
        let test = |system: System| {
            let journal = journal.clone();
            async move {
                let thread = std::thread::current().id();
                let work = (0..4).map(|n| {
                    let (system, journal) = (system.clone(), journal.clone());
                    system.clone().task(async move {
                        let done = system.blocking(move || {
                            assert!(n != 3, "work fails");
                            (n, std::thread::current().id())
                        });
                        match done.await {
                            Ok((n, here)) if here == thread => journal.note(n.to_string()),
                            Ok(_) => journal.note("another thread"),
                            Err(error) => journal.note(error.to_string()),
                        }
                    })
                });
                for work in work.collect::<Vec<_>>() {
                    work.await.unwrap();
                }
                assert_eq!(system.blocking_stats().running, 0);
            }
        };
        Sim::new(seed).run(test).unwrap();
        journal.take()
    };
    let orders: std::collections::HashSet<_> = (0..100)
        .map(|seed| {
            let first = order(seed);
            assert_eq!(order(seed), first);
            let mut all = first.clone();
            all.sort();
            assert_eq!(all, ["0", "1", "2", "blocking work panicked: work fails"]);
            first
        })
        .collect();
    assert!(orders.len() > 10);
}
