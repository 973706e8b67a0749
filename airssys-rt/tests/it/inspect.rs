//! What can be seen of running actors; after `process_info` and `sys:suspend` in OTP's `process_SUITE` and `sys_SUITE`.

use std::collections::HashSet;
use std::future::pending;

use airssys_rt::Restart::Permanent;
use airssys_rt::Strategy::OneForOne;
use airssys_rt::{
    Actor, ActorId, ActorInfo, ActorState, ChildSpec, Context, DynamicSupervisor, ExitReason, Info, Init,
    Mailbox, MailboxOptions, Reply, SpawnOptions, Stash, System,
};

use crate::stage::{Do, LONG, Plan, Stage, named, settle, top};

fn named_options(name: &str) -> SpawnOptions {
    SpawnOptions { name: Some(name.to_owned()), ..SpawnOptions::default() }
}

#[track_caller]
fn info(system: &System, id: ActorId) -> ActorInfo {
    system.actor(id).unwrap()
}

fn state(system: &System, id: ActorId) -> ActorState {
    info(system, id).state
}

#[tokio::test(start_paused = true)]
async fn t_process_info() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn_with(named_options("clerk"), stage.lone("a"));
    settle().await;
    let seen = info(&system, actor.id());
    assert_eq!((seen.id, seen.path.as_deref()), (actor.id(), Some("clerk")));
    assert!(seen.message_type.ends_with("stage::Do"), "{}", seen.message_type);
    assert_eq!((seen.state, seen.depth, seen.handled), (ActorState::Idle, 0, 0));
    assert_eq!((seen.parent, seen.restarts, seen.monitored_by), (None, 0, 0));
    assert!(!seen.traps_exits && !seen.traced && seen.links.is_empty());
    for note in 0..3 {
        actor.cast(Do::Note(note)).await.unwrap();
    }
    let queued = info(&system, actor.id());
    assert_eq!((queued.state, queued.depth, queued.handled), (ActorState::Runnable, 3, 0));
    let each = (queued.memory_bytes - seen.memory_bytes) / 3;
    assert!((16..=128).contains(&each), "{each} bytes a message");
    settle().await;
    let after = info(&system, actor.id());
    assert_eq!((after.state, after.depth, after.handled), (ActorState::Idle, 0, 3));
    assert_eq!(after.memory_bytes, seen.memory_bytes);
}

#[tokio::test(start_paused = true)]
async fn no_info_of_the_dead_or_of_another_system() {
    let (stage, system, other) = (Stage::default(), System::new(), System::new());
    let actor = system.spawn(stage.lone("a"));
    settle().await;
    assert_eq!(other.actor(actor.id()), None);
    assert!(!other.suspend(actor.id()) && !other.resume(actor.id()) && !other.trace(actor.id(), true));
    assert_eq!(other.actors().count(), 0);
    actor.kill();
    actor.exited().await;
    assert_eq!((system.actor(actor.id()), system.actors().count()), (None, 0));
    // Its slot is used again, by one that is not it.
    let next = system.spawn(stage.lone("b"));
    assert_eq!(system.actor(actor.id()), None);
    assert!(system.actor(next.id()).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_an_actor_does() {
    let (stage, system) = (Stage::default(), System::new());
    stage.plan("slow", [Plan::Wait(LONG)]);
    let slow = system.spawn(stage.lone("slow"));
    let actor = system.spawn(stage.lone("a"));
    settle().await;
    assert_eq!(state(&system, slow.id()), ActorState::Starting);
    assert_eq!(state(&system, actor.id()), ActorState::Idle);
    actor.cast(Do::Hang).await.unwrap();
    assert_eq!(state(&system, actor.id()), ActorState::Runnable);
    settle().await;
    assert_eq!(state(&system, actor.id()), ActorState::Waiting);
    actor.cast(Do::Note(1)).await.unwrap();
    assert_eq!(state(&system, actor.id()), ActorState::Waiting);
    actor.stop(ExitReason::Shutdown);
    assert_eq!(state(&system, actor.id()), ActorState::Stopping);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_with_what_came_past_the_queue_is_not_idle() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    settle().await;
    actor.cast_urgent(Do::Work(LONG)).unwrap();
    assert_eq!((info(&system, actor.id()).depth, info(&system, actor.id()).handled), (1, 0));
    settle().await;
    let busy = info(&system, actor.id());
    assert_eq!((busy.state, busy.depth, busy.handled), (ActorState::Waiting, 0, 1));
    tokio::time::sleep(LONG).await;
    assert_eq!(state(&system, actor.id()), ActorState::Idle);

    struct Keeper(Stash<bool>);
    impl Actor for Keeper {
        type Msg = bool;
        async fn handle(&mut self, first: bool, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            if first {
                drop(cx.stash(&mut self.0, false));
                cx.unstash_all(&mut self.0);
                return Ok(());
            }
            pending().await
        }
    }
    let keeper = system.spawn(Keeper(Stash::new()));
    keeper.cast(true).await.unwrap();
    settle().await;
    assert_eq!(state(&system, keeper.id()), ActorState::Waiting);
}

#[tokio::test(start_paused = true)]
async fn last_words_count_as_stopping() {
    let (stage, system) = (Stage::default(), System::new());
    stage.slow_farewell("a", LONG);
    let actor = system.spawn(stage.lone("a"));
    actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
    settle().await;
    assert_eq!(state(&system, actor.id()), ActorState::Stopping);
    assert!(matches!(actor.exited().await, ExitReason::Normal));
}

struct Ask(Reply<ActorInfo>);
struct SelfAware;

impl Actor for SelfAware {
    type Msg = Ask;
    async fn handle(&mut self, Ask(reply): Ask, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        reply.send(cx.system().actor(cx.id()).unwrap());
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn process_info_of_oneself() {
    let actor = System::new().spawn(SelfAware);
    let info = actor.call(Ask, LONG).await.unwrap();
    assert_eq!((info.id, info.state, info.handled), (actor.id(), ActorState::Running, 1));
}

/// Links and monitors as it is told, and traps exits.
struct Networker;
enum Tie {
    Link(airssys_rt::ActorRef<Do>),
    Monitor(airssys_rt::ActorRef<Do>),
}

impl Actor for Networker {
    type Msg = Tie;
    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.trap_exit(true);
        Ok(Init::Ready)
    }
    async fn handle(&mut self, tie: Tie, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match tie {
            Tie::Link(other) => cx.link(&other),
            Tie::Monitor(other) => drop(cx.monitor(&other)),
        }
        Ok(())
    }
    async fn handle_info(&mut self, _: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn process_info_links_and_monitored_by() {
    let (stage, system) = (Stage::default(), System::new());
    let (hub, others) = (system.spawn(Networker), [(); 130].map(|()| system.spawn(stage.lone("a"))));
    for other in &others {
        hub.cast(Tie::Link(other.clone())).await.unwrap();
    }
    hub.cast(Tie::Monitor(others[0].clone())).await.unwrap();
    settle().await;
    let seen = info(&system, hub.id());
    assert!(seen.traps_exits);
    assert_eq!((seen.link_count, seen.links.len()), (130, 128));
    let seen = info(&system, others[0].id());
    assert_eq!((seen.links, seen.monitored_by), (vec![hub.id()], 1));
    assert!(!seen.traps_exits);
    hub.kill();
    settle().await;
    assert_eq!(system.actors().count(), 0, "the links have ended the others");
}

#[tokio::test(start_paused = true)]
async fn parents_and_restarts() {
    let (stage, system) = (Stage::default(), System::new());
    let inner = named("inner", OneForOne, [stage.child("b")]);
    let supervisor =
        system.start(top(OneForOne, [stage.child("a"), ChildSpec::supervisor(inner)])).await.unwrap();
    stage.crash("a").await;
    stage.crash("a").await;
    stage.crash("b").await;
    let a = info(&system, stage.player("a").id());
    assert_eq!((a.path.as_deref(), a.parent, a.restarts), (Some("top/a"), Some(supervisor.id()), 2));
    let b = info(&system, stage.player("b").id());
    assert_eq!((b.path.as_deref(), b.restarts), (Some("top/inner/b"), 1));
    let inner = info(&system, b.parent.unwrap());
    assert_eq!((inner.path.as_deref(), inner.parent), (Some("top/inner"), Some(supervisor.id())));
    assert_eq!(info(&system, supervisor.id()).path.as_deref(), Some("top"));
    let mut paths: Vec<_> = system.actors().map(|actor| actor.path.unwrap().to_string()).collect();
    paths.sort();
    assert_eq!(paths, ["top", "top/a", "top/inner", "top/inner/b"]);
}

#[tokio::test(start_paused = true)]
async fn parents_and_restarts_of_dynamic_children() {
    let (stage, system) = (Stage::default(), System::new());
    let crowd = DynamicSupervisor::new("crowd", move |_: u32| stage.lone("a")).restart(Permanent);
    let crowd = crowd.intensity(9, LONG);
    let children = crowd.dynamic_ref();
    let supervisor = system.start(top(OneForOne, [ChildSpec::dynamic(crowd)])).await.unwrap();
    let child = children.start_child(1).await.unwrap();
    child.cast(Do::Exit(crate::stage::crash())).await.unwrap();
    settle().await;
    let child = system.actors().find(|actor| actor.path.as_deref() == Some("top/crowd/*")).unwrap();
    assert_eq!(child.restarts, 1);
    let crowd = info(&system, child.parent.unwrap());
    assert_eq!((crowd.path.as_deref(), crowd.parent), (Some("top/crowd"), Some(supervisor.id())));
}

#[tokio::test(start_paused = true)]
async fn a_mailbox_between_two_incarnations_is_seen() {
    let (stage, system) = (Stage::default(), System::new());
    let mailbox = Mailbox::unbounded();
    assert_eq!(system.actor(mailbox.actor_ref().id()), None, "it belongs to no system yet");
    let actor = system.spawn_on(&mailbox, None, stage.lone("a")).unwrap();
    actor.cast(Do::Exit(ExitReason::Normal)).await.unwrap();
    actor.cast(Do::Note(1)).await.unwrap();
    settle().await;
    let seen = info(&system, actor.id());
    assert_eq!((seen.state, seen.depth, seen.handled), (ActorState::Down, 1, 1));
    system.spawn_on(&mailbox, None, stage.lone("a")).unwrap();
    settle().await;
    let seen = info(&system, actor.id());
    assert_eq!((seen.state, seen.depth, seen.handled), (ActorState::Idle, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn all_are_listed_once_over_many_pages() {
    let (stage, system) = (Stage::default(), System::new());
    let options = || SpawnOptions { mailbox: MailboxOptions::unbounded(), ..SpawnOptions::default() };
    let actors: Vec<_> = (0..3_000).map(|_| system.spawn_with(options(), stage.lone("a"))).collect();
    settle().await;
    let listed: Vec<ActorId> = system.actors().map(|actor| actor.id).collect();
    let distinct: HashSet<ActorId> = listed.iter().copied().collect();
    assert_eq!((listed.len(), distinct.len()), (3_000, 3_000));
    assert!(actors.iter().all(|actor| distinct.contains(&actor.id())));
    // It goes on over those that end and start meanwhile.
    let mut going = system.actors();
    assert!(going.next().is_some());
    actors.iter().for_each(|actor| actor.kill());
    settle().await;
    assert!(going.count() < 1_000, "only what was looked at before they ended");
}

#[tokio::test(start_paused = true)]
async fn suspend_and_resume() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    settle().await;
    assert!(system.suspend(actor.id()));
    for note in 0..2 {
        actor.cast(Do::Note(note)).await.unwrap();
    }
    actor.cast_urgent(Do::Note(9)).unwrap();
    settle().await;
    let seen = info(&system, actor.id());
    assert_eq!((seen.state, seen.depth), (ActorState::Suspended, 3));
    stage.saw(&["+a"]);
    assert!(system.resume(actor.id()));
    settle().await;
    stage.saw(&["a:9", "a:0", "a:1"]);
    assert_eq!(state(&system, actor.id()), ActorState::Idle);
}

#[tokio::test(start_paused = true)]
async fn suspended_after_what_it_has_in_hand() {
    let (stage, system) = (Stage::default(), System::new());
    let actor = system.spawn(stage.lone("a"));
    actor.cast(Do::Work(LONG)).await.unwrap();
    actor.cast(Do::Note(1)).await.unwrap();
    settle().await;
    system.suspend(actor.id());
    tokio::time::sleep(LONG * 2).await;
    stage.saw(&["+a"]);
    system.resume(actor.id());
    settle().await;
    stage.saw(&["a:1"]);
}

#[tokio::test(start_paused = true)]
async fn a_suspended_actor_can_be_stopped_killed_and_drained() {
    let (stage, system) = (Stage::default(), System::new());
    for name in ["stopped", "killed"] {
        let actor = system.spawn(stage.lone(name));
        settle().await;
        system.suspend(actor.id());
        settle().await;
        if name == "stopped" {
            actor.stop(ExitReason::Shutdown)
        } else {
            actor.kill()
        }
        actor.exited().await;
    }
    stage.saw(&["+stopped", "-stopped shutdown", "+killed"]);
    let drained = stage.child("drained").drain(true);
    let supervisor = system.start(top(OneForOne, [drained])).await.unwrap();
    system.suspend(stage.player("drained").id());
    stage.tell("drained", Do::Note(1)).await;
    supervisor.shutdown().await;
    stage.saw(&["+drained", "drained:1", "-drained shutdown"]);
}

#[tokio::test(start_paused = true)]
async fn the_next_incarnation_is_not_suspended() {
    let (stage, system) = (Stage::default(), System::new());
    let child = stage.child_with("a", Mailbox::unbounded());
    system.start(top(OneForOne, [child])).await.unwrap();
    let actor = stage.player("a");
    system.suspend(actor.id());
    actor.cast(Do::Note(1)).await.unwrap();
    settle().await;
    stage.saw(&["+a"]);
    actor.kill();
    settle().await;
    stage.saw(&["+a", "a:1"]);
}
