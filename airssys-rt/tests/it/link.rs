//! Links, after `process_SUITE`, `signal_SUITE` and the Erlang reference manual's "Processes".

use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::Strategy::OneForOne;
use airssys_rt::{
    Actor, ActorId, ActorRef, ChildSpec, Context, Event, ExitReason, Info, Init, Mailbox, Observer, Restart,
    SpawnOptions, System,
};

use crate::node::{Act, Node, two, two_of_which_one_traps};
use crate::stage::{LONG, Stage, crash, settle, start, top};

#[tokio::test(start_paused = true)]
async fn link_is_bidirectional() {
    let (one, other) = two();
    one.link(&other).await;
    other.end(crash()).await;
    assert_eq!(one.why().await, "crash");

    let (one, other) = two();
    one.link(&other).await;
    one.end(crash()).await;
    assert_eq!(other.why().await, "crash");
    // It ended where it stood, as in OTP: without `terminate`.
    one.heard(&["bye crash"]);
    other.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_normal_exit_ends_nobody() {
    let (one, other) = two();
    one.link(&other).await;
    other.end(ExitReason::Normal).await;
    assert!(one.lives());
    other.heard(&["bye normal"]);
    one.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn every_other_exit_ends_those_that_are_linked() {
    let reasons = [
        ExitReason::Shutdown,
        ExitReason::ShutdownFor("upgrade".into()),
        ExitReason::GaveUp,
        ExitReason::Killed,
        ExitReason::NoProc,
        ExitReason::Panic("boom".into()),
    ];
    for reason in reasons {
        let (one, other) = two();
        one.link(&other).await;
        other.end(reason.clone()).await;
        assert_eq!(one.why().await, reason.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_goes_over_a_link() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    one.run(|_| panic!("boom")).await;
    other.heard(&["link panicked: boom"]);
}

#[tokio::test(start_paused = true)]
async fn trap_exit_makes_exits_messages() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    one.end(crash()).await;
    other.heard(&["link crash"]);
    assert!(other.lives());

    // A normal one, too.
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    one.end(ExitReason::Normal).await;
    other.heard(&["link normal"]);
}

/// Notes who sent the exit signals that it traps.
struct Origin(Arc<Mutex<Vec<(Sender, bool)>>>);

type Sender = Option<ActorId>;

impl Actor for Origin {
    type Msg = ActorRef<Act>;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.trap_exit(true);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, other: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        cx.link(&other);
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if let Info::Exit(exit) = info {
            self.0.lock().unwrap().push((exit.from, exit.linked));
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_exit_says_who_sent_it() {
    let (system, heard) = (System::new(), Arc::default());
    let origin = system.spawn(Origin(Arc::clone(&heard)));
    let other = Node::default().start(&system);
    origin.cast(other.actor.clone()).await.unwrap();
    settle().await;
    // Outside of all actors; by an actor; over a link.
    origin.exit(crash());
    other.run(move |_| origin.exit(crash())).await;
    other.end(crash()).await;
    let id = other.actor.id();
    assert_eq!(*heard.lock().unwrap(), [(None, false), (Some(id), false), (Some(id), true)]);
}

#[tokio::test(start_paused = true)]
async fn link_to_the_dead_is_noproc() {
    let (one, other) = two();
    other.end(ExitReason::Normal).await;
    one.link(&other).await;
    assert_eq!(one.why().await, "no such actor");

    let (dead, other) = two_of_which_one_traps();
    dead.end(crash()).await;
    other.link(&dead).await;
    other.heard(&["link no such actor"]);
    // Each try is told.
    other.link(&dead).await;
    other.heard(&["link no such actor"]);
}

#[tokio::test(start_paused = true)]
async fn unlink_takes_back_what_either_side_linked() {
    let (one, other) = two();
    one.link(&other).await;
    other.unlink(&one).await;
    other.end(crash()).await;
    assert!(one.lives());

    let (one, other) = two();
    one.link(&other).await;
    one.unlink(&other).await;
    one.end(crash()).await;
    assert!(other.lives());
}

#[tokio::test(start_paused = true)]
async fn unlink_flushes_the_exit_that_waits() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    // It is busy when the exit comes over the link, and one that does not.
    other.actor.try_cast(Act::Work(Duration::from_secs(1))).unwrap();
    settle().await;
    let (gone, to) = (one.actor.clone(), other.actor.clone());
    other.tell(move |cx| {
        cx.unlink(&gone);
        Ok(())
    });
    one.tell(move |_| {
        to.exit(ExitReason::Shutdown);
        Err(crash())
    });
    assert_eq!(one.why().await, "crash");
    other.actor.call(Act::Ping, LONG).await.unwrap();
    other.heard(&["exit shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn a_link_after_the_exit_is_another_link() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    other.actor.try_cast(Act::Work(Duration::from_secs(1))).unwrap();
    let gone = one.actor.clone();
    other.tell(move |cx| {
        cx.link(&gone);
        Ok(())
    });
    one.end(crash()).await;
    other.actor.call(Act::Ping, LONG).await.unwrap();
    other.actor.call(Act::Ping, LONG).await.unwrap();
    other.heard(&["link crash", "link no such actor"]);
}

#[tokio::test(start_paused = true)]
async fn linked_twice_is_linked_once() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    one.link(&other).await;
    other.link(&one).await;
    one.end(crash()).await;
    other.heard(&["link crash"]);

    let (one, other) = two();
    one.link(&other).await;
    other.link(&one).await;
    one.unlink(&other).await;
    other.end(crash()).await;
    assert!(one.lives());
}

#[tokio::test(start_paused = true)]
async fn a_link_to_oneself_is_none() {
    let one = Node::trapping().start(&System::new());
    one.link(&one).await;
    one.unlink(&one).await;
    one.end(crash()).await;
    one.heard(&["bye crash"]);
    assert_eq!(one.why().await, "crash");
}

#[tokio::test(start_paused = true)]
async fn signal_order_is_that_of_the_sender() {
    let (one, other) = two_of_which_one_traps();
    one.link(&other).await;
    let to = other.actor.clone();
    one.tell(move |_| {
        to.try_cast(Act::Note("first")).unwrap();
        to.exit(ExitReason::Shutdown);
        to.try_cast(Act::Note("second")).unwrap();
        Err(crash())
    });
    settle().await;
    other.heard(&["first", "exit shutdown", "second", "link crash"]);
}

#[tokio::test(start_paused = true)]
async fn a_ring_of_links_ends_as_a_whole() {
    const RING: usize = 1_000;
    let system = System::new();
    let ring: Vec<_> = (0..RING).map(|_| Node::default().start(&system)).collect();
    for (index, one) in ring.iter().enumerate() {
        let next = ring[(index + 1) % RING].actor.clone();
        one.tell(move |cx| {
            cx.link(&next);
            Ok(())
        });
    }
    settle().await;
    ring[RING / 3].end(crash()).await;
    for one in &ring {
        assert_eq!(one.why().await, "crash");
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_and_a_monitor_tell_once_each() {
    let (one, other) = two_of_which_one_traps();
    let target = one.actor.clone();
    other
        .run(move |cx| {
            cx.monitor(&target);
            cx.link(&target);
        })
        .await;
    one.end(crash()).await;
    other.heard(&["down crash", "link crash"]);
}

#[tokio::test(start_paused = true)]
async fn demonitor_leaves_the_link() {
    let (one, other) = two_of_which_one_traps();
    let target = one.actor.clone();
    other
        .run(move |cx| {
            let monitor = cx.monitor(&target);
            cx.link(&target);
            cx.demonitor(monitor);
        })
        .await;
    one.end(crash()).await;
    other.heard(&["link crash"]);
}

/// Held by a system, and so by each of its actors as long as anybody keeps it.
struct Held;

impl Observer for Held {
    fn event(&self, _: &Event) {}
}

#[tokio::test(start_paused = true)]
async fn a_link_does_not_keep_the_dead() {
    let (one, held) = (Node::default().start(&System::new()), Arc::new(Held));
    for reason in [ExitReason::Normal, ExitReason::Shutdown] {
        let others = System::builder().observer(Arc::<Held>::clone(&held)).watchdog(None).build();
        let other = Node::default().start(&others);
        one.link(&other).await;
        if matches!(reason, ExitReason::Shutdown) {
            other.unlink(&one).await;
        }
        other.end(reason).await;
        drop((other, others));
        settle().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
    assert!(one.lives());
}

#[tokio::test(start_paused = true)]
async fn a_link_is_the_incarnations() {
    let (system, mailbox) = (System::new(), Mailbox::bounded(8));
    let other = Node::trapping().start(&system);
    let first = Node::default().start_on(&system, &mailbox);
    first.link(&other).await;
    first.end(crash()).await;
    other.heard(&["link crash"]);

    // Neither is the next incarnation linked, nor does the end of the other reach it.
    let second = Node::default().start_on(&system, &mailbox);
    settle().await;
    other.end(crash()).await;
    assert!(second.lives());
    second.run(|_| ()).await;
    second.end(ExitReason::Normal).await;
    second.heard(&["bye normal"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_both_share_does_not_end_the_next_incarnation() {
    let (system, mailbox) = (System::new(), Mailbox::bounded(8));
    let other = Node::default().start(&system);
    let first = Node::default().start_on(&system, &mailbox);
    first.link(&other).await;
    let again = mailbox.clone();
    first.tell(|_| Err(crash()));
    first.actor.exited().await;
    let second = Node::default().start_on(&system, &again);
    assert_eq!(other.why().await, "crash");
    settle().await;
    second.run(|_| ()).await;
    second.actor.call(Act::Ping, LONG).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_an_incarnation_trapped_is_not_the_next_ones() {
    let (system, mailbox) = (System::new(), Mailbox::bounded(8));
    let first = Node::trapping().start_on(&system, &mailbox);
    settle().await;
    first.tell(|cx| {
        cx.actor_ref().exit(crash());
        Err(ExitReason::Normal)
    });
    first.actor.exited().await;
    let second = Node::default().start_on(&system, &mailbox);
    second.actor.call(Act::Ping, LONG).await.unwrap();
    second.heard(&[]);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_with_a_cause_is_orderly_for_supervisors() {
    let stage = Stage::default();
    let child = |name, restart| stage.child(name).restart(restart);
    let children =
        [child("a", Restart::Transient), child("b", Restart::Permanent), child("c", Restart::Temporary)];
    let supervisor = start(top(OneForOne, children)).await;
    stage.saw(&["+a", "+b", "+c"]);
    for name in ["a", "b", "c"] {
        stage.exit(name, ExitReason::ShutdownFor("upgrade".into())).await;
    }
    stage.saw(&["-a shutdown: upgrade", "-b shutdown: upgrade", "+b", "-c shutdown: upgrade"]);
    supervisor.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn a_supervised_actor_that_a_link_ends_is_started_again() {
    let (stage, system) = (Stage::default(), System::new());
    let linked = Arc::new(Mutex::new(None));
    let child = {
        let linked = Arc::clone(&linked);
        ChildSpec::actor("linked", move || Reporting(Arc::clone(&linked)))
    };
    let supervisor = system.start(top(OneForOne, [child, stage.child("other")])).await.unwrap();
    let first: ActorRef<Act> = linked.lock().unwrap().clone().unwrap();
    let other = Node::default().start(&system);
    let target = first.clone();
    other.run(move |cx| cx.link(&target)).await;
    other.end(crash()).await;
    assert_eq!(first.exited().await.to_string(), "crash");
    let second: ActorRef<Act> = linked.lock().unwrap().clone().unwrap();
    assert_ne!(first.id(), second.id());
    assert!(second.is_alive());
    stage.saw(&["+other"]);
    supervisor.shutdown().await;
}

/// Tells where it is.
struct Reporting(Arc<Mutex<Option<ActorRef<Act>>>>);

impl Actor for Reporting {
    type Msg = Act;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        *self.0.lock().unwrap() = Some(cx.actor_ref());
        Ok(Init::Ready)
    }

    async fn handle(&mut self, _: Act, _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}

/// Ends before it begins.
struct Stillborn;

impl Actor for Stillborn {
    type Msg = ();

    async fn init(&mut self, _: &mut Context<Self>) -> Result<Init, ExitReason> {
        Err(crash())
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn spawn_link_misses_no_end() {
    let one = Node::trapping().start(&System::new());
    one.run(|cx| drop(cx.spawn_link(Stillborn))).await;
    one.heard(&["link crash"]);

    let one = Node::default().start(&System::new());
    one.run(|cx| drop(cx.spawn_link(Stillborn))).await;
    assert_eq!(one.why().await, "crash");
}

#[tokio::test(start_paused = true)]
async fn spawn_link_ends_the_child_with_its_parent() {
    let (one, child) = (Node::default().start(&System::new()), Arc::new(Mutex::new(None)));
    let place = Arc::clone(&child);
    // It ends in the handler that starts the child.
    one.tell(move |cx| {
        let options = SpawnOptions { name: Some("child".to_owned()), ..SpawnOptions::default() };
        *place.lock().unwrap() = Some(cx.spawn_link_with(options, Node::default()));
        Err(crash())
    });
    settle().await;
    let child: ActorRef<Act> = child.lock().unwrap().take().unwrap();
    assert_eq!(child.exited().await.to_string(), "crash");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn links_that_come_and_go_while_actors_end() {
    // Whoever is linked when the other ends hears of it, exactly once, or of `NoProc`.
    let system = System::new();
    for round in 0..2_000 {
        let (one, other) = (Node::trapping().start(&system), Node::trapping().start(&system));
        let target = other.actor.clone();
        one.tell(move |cx| {
            cx.link(&target);
            Ok(())
        });
        if round % 2 == 0 {
            other.tell(|_| Err(ExitReason::Shutdown));
        } else {
            other.actor.kill();
        }
        other.actor.exited().await;
        // Queued after the news: those who watch are told first, so it asks twice.
        one.actor.call(Act::Ping, LONG).await.unwrap();
        while !one.heard_any() {
            tokio::task::yield_now().await;
        }
        one.actor.call(Act::Ping, LONG).await.unwrap();
        one.heard_one_of(&["link shutdown", "link killed", "link no such actor"]);
        one.actor.kill();
    }
}
