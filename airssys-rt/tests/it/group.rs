//! Groups, with the names of OTP's `pg_SUITE` where it has the case.

use airssys_rt::{
    Actor, ActorRef, Context, ExitReason, GroupError, GroupEvent, GroupMonitor, Init, Mailbox, RegisterError,
    Strategy, System,
};

use super::stage::{Do, LONG, Stage, settle, start, top};

async fn end(actor: &ActorRef<Do>) {
    actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
    actor.exited().await;
}

fn members(system: &System, group: &str) -> Vec<ActorRef<Do>> {
    system.group(group).members().to_vec()
}

fn count(system: &System, group: &str) -> usize {
    members(system, group).len()
}

fn groups(system: &System) -> Vec<String> {
    system.which_groups().iter().map(ToString::to_string).collect()
}

/// The events that are there, shortly.
async fn heard(monitor: &mut GroupMonitor<Do>) -> Vec<String> {
    let mut heard = Vec::new();
    while let Ok(event) = tokio::time::timeout(std::time::Duration::from_millis(1), monitor.next()).await {
        heard.push(match event {
            GroupEvent::Joined(_) => "+".to_owned(),
            GroupEvent::Left(_) => "-".to_owned(),
            GroupEvent::Members(members) => format!("={}", members.len()),
        });
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn pg() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    let group = system.group("pg");
    group.join(&actor).unwrap();
    assert_eq!(group.members()[0].id(), actor.id());
    assert_eq!(groups(&system), ["pg"]);
    assert!(group.leave(&actor));
    assert!(group.members().is_empty());
    assert!(groups(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn errors() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    system.group("g").join(&actor).unwrap();

    let other = Mailbox::<u32>::default();
    let error = system.group("g").join(&other.actor_ref()).unwrap_err();
    assert!(matches!(error, GroupError::OtherType { .. }));
    assert!(error.to_string().starts_with("the members of `g` take `"), "{error}");
    assert!(matches!(system.group::<u32>("g").monitor(), Err(GroupError::OtherType { .. })));
    assert!(system.group::<u32>("g").members().is_empty());
    assert!(!system.group::<u32>("g").leave(&other.actor_ref()));
    assert_eq!(system.group::<u32>("g").cast(7).sent, 0);

    let error = system.group("").join(&actor).unwrap_err();
    assert!(matches!(&error, GroupError::BadName(RegisterError::BadName { bytes: 0 })));
    end(&actor).await;
    assert!(matches!(system.group("g").join(&actor), Err(GroupError::NoProc)));
    // With its members the group forgets their type.
    system.group("g").join(&other.actor_ref()).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leave_exit_race() {
    let (stage, system) = (Stage::default(), System::new());
    let group = system.group("test");
    for round in 0..1_000 {
        let actor = system.spawn(stage.lone("a"));
        actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
        match group.join(&actor) {
            Ok(()) | Err(GroupError::NoProc) => {}
            Err(error) => panic!("{error} in round {round}"),
        }
        if round % 2 == 0 {
            group.leave(&actor);
        }
        actor.exited().await;
        assert!(groups(&system).is_empty(), "in round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn single() {
    let (stage, system) = (Stage::default(), System::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    let group = system.group("single");
    for times in 1..=3 {
        group.join(&one).unwrap();
        assert_eq!(group.members().len(), times);
    }
    assert!(!system.group("missing").leave(&one));
    for left in [2, 1, 0] {
        assert!(group.leave(&one));
        assert_eq!(group.members().len(), left);
    }
    assert!(!group.leave(&one));
    assert!(groups(&system).is_empty());

    group.join(&one).unwrap();
    group.join(&other).unwrap();
    assert_eq!(group.members().len(), 2);
    end(&other).await;
    assert_eq!(group.members().iter().map(ActorRef::id).collect::<Vec<_>>(), [one.id()]);
}

/// An actor in thousands of groups, which it leaves at its end.
#[tokio::test(start_paused = true)]
async fn thundering_herd() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    for group in 0..10_000 {
        system.group(format!("group-{group}")).join(&actor).unwrap();
    }
    assert_eq!(system.which_groups().len(), 10_000);
    end(&actor).await;
    assert!(groups(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn one_who_joined_twice_leaves_wholly_at_its_end() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    let group = system.group("g");
    group.join(&actor).unwrap();
    group.join(&actor).unwrap();
    end(&actor).await;
    assert!(groups(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn monitor() {
    let (stage, system) = (Stage::default(), System::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    let group = system.group("g");
    group.join(&one).unwrap();
    let mut monitor = group.monitor().unwrap();
    assert_eq!(heard(&mut monitor).await, ["=1"]);
    group.join(&other).unwrap();
    group.join(&other).unwrap();
    group.leave(&one);
    assert_eq!(heard(&mut monitor).await, ["+", "+", "-"]);
    system.group("another").join(&one).unwrap();
    assert!(heard(&mut monitor).await.is_empty());
    // Once for each time that it had joined.
    end(&other).await;
    assert_eq!(heard(&mut monitor).await, ["-", "-"]);
    // A group that is only watched is not in the list, but keeps its type.
    assert_eq!(groups(&system), ["another"]);
    assert!(matches!(system.group::<u32>("g").monitor(), Err(GroupError::OtherType { .. })));
    drop(monitor);
    drop(system.group::<u32>("g").monitor().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_monitor_that_is_behind_is_told_the_members() {
    let (stage, system) = (Stage::default(), System::new());
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    let group = system.group("g");
    let mut monitor = group.monitor().unwrap();
    for _ in 0..2_000 {
        group.join(&one).unwrap();
        group.leave(&one);
    }
    group.join(&other).unwrap();
    assert_eq!(heard(&mut monitor).await, ["=1"]);
    group.leave(&other);
    assert_eq!(heard(&mut monitor).await, ["-"]);
}

/// Watches a group, and notes how many members it counts.
struct Census {
    group: &'static str,
    forward: Option<airssys_rt::Forward>,
    members: usize,
}

enum Count {
    Event(GroupEvent<Do>),
    Tell(airssys_rt::Reply<usize>),
    StopWatching,
}

impl Actor for Census {
    type Msg = Count;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let monitor = cx.system().group(self.group).monitor()?;
        self.forward = Some(monitor.forward(cx, Count::Event));
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: Count, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Count::Event(GroupEvent::Members(members)) => self.members = members.len(),
            Count::Event(GroupEvent::Joined(_)) => self.members += 1,
            Count::Event(GroupEvent::Left(_)) => self.members -= 1,
            Count::Tell(reply) => reply.send(self.members),
            Count::StopWatching => self.forward = None,
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_actor_can_monitor_a_group() {
    let (stage, system) = (Stage::default(), System::new());
    let group = system.group("g");
    let actors: Vec<_> = (0..5).map(|_| system.spawn(stage.lone("a"))).collect();
    group.join(&actors[0]).unwrap();
    // Fewer places than events: they wait for their turn.
    let mailbox = Mailbox::bounded(1);
    let census = system.spawn_on(&mailbox, None, Census { group: "g", forward: None, members: 0 }).unwrap();
    settle().await;
    actors.iter().for_each(|actor| group.join(actor).unwrap());
    end(&actors[4]).await;
    settle().await;
    assert_eq!(census.call(Count::Tell, LONG).await.unwrap(), 5);
    census.cast(Count::StopWatching).await.unwrap();
    settle().await;
    group.leave(&actors[0]);
    settle().await;
    assert_eq!(census.call(Count::Tell, LONG).await.unwrap(), 5);
}

#[tokio::test(start_paused = true)]
async fn forwarding_ends_with_its_actor() {
    let (stage, system) = (Stage::default(), System::new());
    let watcher = system.spawn(stage.lone("a"));
    let guard = system.group::<u32>("g").monitor().unwrap().forward(&watcher, |_| Do::Note(1));
    settle().await;
    end(&watcher).await;
    settle().await;
    // Nobody watches any more: the type is free.
    system.group::<u64>("g").monitor().unwrap();
    drop(guard);
    stage.saw(&["+a", "a:1", "-a normal"]);
}

#[tokio::test(start_paused = true)]
async fn a_cast_reaches_every_member_and_waits_for_none() {
    let (stage, system) = (Stage::default(), System::new());
    let group = system.group("g");
    let actors: Vec<_> = ["a", "b"].map(|name| system.spawn(stage.lone(name))).into();
    settle().await;
    group.join(&actors[0]).unwrap();
    group.join(&actors[0]).unwrap();
    group.join(&actors[1]).unwrap();
    let full = Mailbox::bounded(1);
    full.actor_ref().try_cast(Do::Panic).unwrap();
    group.join(&full.actor_ref()).unwrap();
    let fanout = group.cast_with(|actor| Do::Note(u32::from(actor.id() == actors[1].id())));
    assert_eq!((fanout.sent, fanout.full, fanout.no_proc), (3, 1, 0));
    settle().await;
    let mut journal = stage.journal();
    journal.sort();
    assert_eq!(journal, ["+a", "+b", "a:0", "a:0", "b:1"]);
}

#[tokio::test(start_paused = true)]
async fn members_may_be_changed_while_messages_are_made() {
    let (stage, system) = (Stage::default(), System::new());
    let group = system.group("g");
    let (one, other) = (system.spawn(stage.lone("a")), system.spawn(stage.lone("b")));
    group.join(&one).unwrap();
    let fanout = group.cast_with(|_| {
        group.join(&other).unwrap();
        assert!(group.leave(&one));
        Do::Note(1)
    });
    assert_eq!(fanout.sent, 1);
    assert_eq!(members(&system, "g")[0].id(), other.id());
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_stays_a_member_and_an_incarnation_does_not() {
    struct Joiner;
    impl Actor for Joiner {
        type Msg = Do;
        async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
            cx.join("incarnations")?;
            Ok(Init::Ready)
        }
        async fn handle(&mut self, _: Do, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            assert!(cx.leave("mailboxes"), "a mailbox's place can be left by the actor too");
            Err(ExitReason::Normal)
        }
    }
    let system = System::new();
    let mailbox = Mailbox::default();
    system.group("mailboxes").join(&mailbox.actor_ref()).unwrap();
    system.group("mailboxes").join(&mailbox.actor_ref()).unwrap();
    for left in [1, 0] {
        let actor = system.spawn_on(&mailbox, None, Joiner).unwrap();
        settle().await;
        assert_eq!(count(&system, "incarnations"), 1);
        end(&actor).await;
        assert_eq!((count(&system, "mailboxes"), count(&system, "incarnations")), (left, 0));
    }
    system.group("mailboxes").join(&mailbox.actor_ref()).unwrap();
    drop(mailbox);
    assert!(groups(&system).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_tree_that_stops_leaves_no_groups() {
    let (stage, system) = (Stage::default(), System::new());
    let tree = start(top(Strategy::OneForAll, ["a", "b"].map(|name| stage.child(name)))).await;
    for name in ["a", "b"] {
        system.group("g").join(&stage.player(name)).unwrap();
    }
    assert_eq!(count(&system, "g"), 2);
    stage.crash("a").await;
    assert_eq!(count(&system, "g"), 0, "restarted actors are others");
    tree.shutdown().await;
}

/// Actors join, leave and die on two threads; whoever counts the events comes to what the group comes to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_monitor_counts_rightly_through_a_storm() {
    let (stage, system) = (Stage::default(), System::new());
    let group = system.group::<Do>("g");
    let mut monitor = group.monitor().unwrap();
    let storm = |parity: usize| {
        let (stage, system, group) = (stage.clone(), system.clone(), group.clone());
        tokio::spawn(async move {
            for round in 0..500 {
                let actor = system.spawn(stage.lone("a"));
                for _ in 0..=(round + parity) % 3 {
                    group.join(&actor).unwrap();
                }
                actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
                if round % 2 == parity {
                    group.leave(&actor);
                }
                actor.exited().await;
            }
        })
    };
    let storms = [storm(0), storm(1)];
    let last = system.spawn(stage.lone("last"));
    let last_id = last.id();
    let counting = tokio::spawn(async move {
        let mut count = 0_usize;
        loop {
            match monitor.next().await {
                GroupEvent::Members(members) => count = members.len(),
                GroupEvent::Joined(actor) if actor.id() == last_id => return count,
                GroupEvent::Joined(_) => count += 1,
                GroupEvent::Left(_) => count -= 1,
            }
        }
    });
    for storm in storms {
        storm.await.unwrap();
    }
    assert!(group.members().is_empty());
    group.join(&last).unwrap();
    assert_eq!(counting.await.unwrap(), 0);
}
