//! `workers`: a fresh instance for each message, so many messages at a time.

use std::time::Duration;

use airssys_wasm::{Canary, Change, Component, ErrorKind, Handover, Status};
use tokio::net::TcpListener;

use crate::{
    messages::is_given_up_when_killed_twice,
    text::{self, component},
    versions::{self, hostile, told, version},
    world::{ENGINE, PATIENCE, World},
};

const TWO: &str =
    "[component.w]\nSOURCE\nworkers = 2\ngrants = { send = [\"w\", \"b\"] }\n[component.b]\nSOURCE\n";

/// A peer that says nothing, and with it what is busy until it lets go: `c` may connect to it.
async fn peer() -> (TcpListener, String, String) {
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    let component =
        format!("[component.c]\nSOCKETS\nworkers = 8\ngrants = {{ connect = [\"tcp://{address}\"] }}\n");
    (peer, format!("ask:c/connect:{address}"), component)
}

/// Waits until `condition` holds for a component.
async fn until(world: &World, name: &str, condition: impl Fn(&Status) -> bool) {
    let holds = async {
        while !condition(world.system.status().iter().find(|status| &*status.name == name).unwrap()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("{name}: {:#?}", world.told()));
}

/// The component without a state, as another version.
async fn other() -> Component {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile.wasm");
    // A custom section.
    let bytes = [std::fs::read(path).unwrap(), vec![0, 2, 1, b'2']].concat();
    Component::load(&ENGINE, bytes, None, || ()).await.unwrap().0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_message_has_an_instance_of_its_own() {
    let world = World::start(TWO).await;
    for _ in 0..3 {
        assert_eq!(world.ask("w", "handled", "").await, "1");
    }
    assert_eq!(world.ask("w", "send:b", "x").await, "ok: sent");
    assert_eq!(world.ask("b", "handled", "").await, "2", "what it sent has left before its answer");
    // An answer goes out before it is counted.
    until(&world, "w", |status| status.handled == 4).await;
    until(&world, "b", |status| status.handled == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_messages_are_handled_at_a_time_and_no_more() {
    let world = World::start(TWO).await;
    loop {
        // Answered by another worker while this one waits.
        let answer = world.ask("w", "call:w", "hello").await;
        if answer == "ok: hello" {
            break;
        }
        // The guest waits for half a second, in which a busy machine may get nowhere.
        assert!(answer.contains("TimedOut"), "{answer}");
    }
    let world = World::start(&TWO.replace("workers = 2", "workers = 1")).await;
    assert!(world.ask("w", "call:w", "hello").await.contains("TimedOut"), "the only place is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_breaks_workers_becomes_a_dead_letter_and_nobody_is_started_again() {
    let world = World::start(TWO).await;
    world.crash("w", "trap").await;
    let told = world.told();
    let [dead] = &told[..] else { panic!("{told:#?}") };
    assert!(dead.starts_with("dead w trap after 3: the guest panicked or aborted"), "{dead}");
    world.crash("w", "timer:later/1").await;
    assert!(world.told()[0].contains("a host function ended the guest"), "they have no timers");
    world.crash("w", "send-then-trap:b").await;
    assert_eq!(world.ask("b", "handled", "").await, "1", "who crashed has sent nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_in_hand_when_they_are_killed_is_tried_again() {
    is_given_up_when_killed_twice("workers = 2\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_when_they_stop_is_handled_first() {
    let grants = "[component.b]\nSOURCE\ngrants = { send = [\"w\"] }\n";
    let components = TWO.replace("workers = 2", "workers = 2\nshutdown = \"infinity\"");
    let world = World::start(&components.replace("[component.b]\nSOURCE\n", grants)).await;
    for _ in 0..20 {
        assert_eq!(world.ask("b", "send:w", "x").await, "ok: sent");
    }
    world.system.shutdown().await;
    assert!(world.told().iter().all(|line| line.starts_with("exited")), "nothing is left over");
    let status = world.system.status();
    assert_eq!(
        status.iter().map(|status| (&*status.name, status.handled)).collect::<Vec<_>>(),
        [("w", 20), ("b", 20)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_whose_instance_cannot_be_made_do_not_start() {
    let dir = tempfile::tempdir().unwrap();
    let components = "[component.w]\nSOURCE\nworkers = 2\nconfig = { init = \"trap\" }\n";
    let error = World::try_start(dir, components, None).await.map(drop).unwrap_err();
    assert!(told(&error).contains("the guest panicked or aborted"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_version_takes_over_from_one_message_to_the_next() {
    let world = World::start(TWO).await;
    let new = other().await;
    let switched = world.system.upgrade("w", &new, Handover::State, PATIENCE).await.unwrap();
    assert_eq!((switched.to, switched.state_bytes), (new.digest(), None));
    assert_eq!(world.ask("w", "handled", "").await, "1");
    let back = world.system.rollback("w", Handover::State, PATIENCE).await.unwrap();
    assert_eq!(back.to, hostile().await.digest());
    let changes: Vec<_> =
        world.system.history("w").unwrap().into_iter().map(|version| version.change).collect();
    assert_eq!(changes, [Change::Started, Change::Upgraded, Change::RolledBack]);
    let stateful = version("good").await;
    let error = world.system.upgrade("w", &stateful, Handover::State, PATIENCE).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidComponent && error.to_string().contains("state"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_has_its_share_of_the_messages() {
    let world = World::start(TWO).await;
    let new = other().await;
    // Of workers, and of an actor without a state.
    for name in ["w", "b"] {
        let canary = world.system.canary(name, &new, Canary { percent: 50, requests: 3 }, PATIENCE);
        let ask = async {
            while world.system.history(name).unwrap().len() < 2 {
                assert_eq!(world.ask(name, "echo", "x").await, "x");
            }
        };
        let (switched, ()) = tokio::join!(canary, ask);
        assert_eq!(switched.unwrap().to, new.digest());
        assert_eq!(world.ask(name, "echo", "x").await, "x");
    }
    assert_ne!(world.ask("b", "handled", "").await, "1", "it goes on with the instance of its trial");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_canary_that_breaks_costs_no_message() {
    let world = World::start(TWO).await;
    let broken = component(text::stateless(text::TRAP)).await;
    for name in ["w", "b"] {
        let canary = world.system.canary(name, &broken, Canary { percent: 50, requests: 1000 }, PATIENCE);
        let mut canary = std::pin::pin!(canary);
        let error = loop {
            tokio::select! {
                tried = &mut canary => break tried.unwrap_err(),
                answer = world.ask(name, "echo", "x") => assert_eq!(answer, "x"),
            }
        };
        let is_told = error.to_string().contains("it broke after 0 good messages");
        assert!(error.kind() == ErrorKind::Guest && is_told, "{error}");
        assert!(told(&error).contains("panicked or aborted"), "{}", told(&error));
        assert!(world.told().is_empty(), "no dead letter, no crash");
        assert_eq!(world.system.history(name).unwrap().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_on_trial_is_its_own() {
    let world = World::start(TWO).await;
    let new = other().await;
    assert_eq!(world.ask("b", "handled", "").await, "1");
    let canary = world.system.canary("b", &new, Canary { percent: 100, requests: 1_000_000 }, PATIENCE);
    let mut canary = std::pin::pin!(canary);
    let error = loop {
        let handled = tokio::select! {
            tried = &mut canary => break tried.unwrap_err(),
            answer = world.ask("b", "handled", "") => answer,
        };
        // One that begins to count is on trial. The timer breaks it, and not the one that runs.
        if handled == "1" {
            assert_eq!(world.ask("b", "timer:trap/0", "").await, "ok: set");
        }
    };
    assert!(told(&error).contains("panicked or aborted"), "{}", told(&error));
    assert!(world.told().is_empty(), "nobody crashed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_a_state_has_no_canary() {
    let world = World::start("[component.a]\nLEDGER\n[component.b]\nSOURCE\n").await;
    for name in ["a", "b"] {
        let canary = Canary { percent: 50, requests: 1 };
        let error = world.system.canary(name, &version("good").await, canary, PATIENCE).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("it has a state"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_and_another_that_flood_each_other_do_not_wait_for_ever() {
    for workers in [1, 2] {
        let world = World::start(&format!(
            "[component.w]\nSOURCE\nworkers = {workers}\nmailbox = 3\ngrants = {{ send = [\"b\"] }}\n\
             health = {{ subject = \"silent\", every = \"10ms\", timeout = \"1h\", start = \"1m\" }}\n\
             [component.b]\nSOURCE\nmailbox = 3\ngrants = {{ send = [\"w\"] }}\n"
        ))
        .await;
        let flood = async |from: &str, to: &str| world.ask(from, &format!("flood:{to}"), "x").await;
        // All places of one, and the other.
        let more = async { if workers == 2 { flood("w", "b").await } else { "ok: flooded".to_owned() } };
        let flooded = tokio::join!(flood("w", "b"), more, flood("b", "w"));
        assert_eq!(flooded, ("ok: flooded".into(), "ok: flooded".into(), "ok: flooded".into()));
        let dead = world.given_up_of((workers + 1) * (1 + 10_000)).await;
        let told = world.told();
        assert!(told.iter().all(|line| line.contains("its receiver waits for room")), "{:?}", told.last());
        assert_eq!(told.len() as u64, dead);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_are_busy_for_long_are_asked_whether_they_are_well() {
    let (peer, wait, c) = peer().await;
    // Each instance opens its directory, which is on record.
    let world = World::start(&format!(
        "[component.w]\nSOURCE\nworkers = 2\nmailbox = 1\n\
         grants = {{ send = [\"c\"], fs = [{{ path = \"data\", guest = \"/data\", rights = [\"read\"] }}] }}\n\
         health = {{ subject = \"silent\", every = \"10ms\", timeout = \"1h\", failures = 1, start = \"1m\" }}\n{c}"
    ))
    .await;
    let waits = async || world.ask("w", &wait, "").await;
    let asked = async {
        let (one, other) = (peer.accept().await.unwrap(), peer.accept().await.unwrap());
        // A third is read and has no place, and behind it the mailbox is full.
        until(&world, "w", |status| status.waiting >= 1).await;
        for _ in 0..10 {
            world.traces();
            let is_asked = async {
                while world.traces().is_empty() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(PATIENCE, is_asked).await.expect("it is asked beside what works");
        }
        drop((one, other));
        for _ in 0..2 {
            drop(peer.accept().await.unwrap());
        }
    };
    tokio::join!(waits(), waits(), waits(), waits(), asked);
    assert!(world.told().is_empty(), "nobody was killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_on_trial_leaves_no_subscriptions_behind() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain.wasm"), versions::stateless_talker_bytes("good")).unwrap();
    let hears = "config = { subscribe = \"orders.>\" }\ngrants = { subscribe = [\"orders.>\"] }\n";
    let components = format!(
        "[component.a]\nTALKER\ngrants = {{ publish = [\"orders.>\"] }}\n\
         [component.b]\nsource = \"plain.wasm\"\n{hears}[component.w]\nSOURCE\nworkers = 1\n{hears}"
    );
    let world = World::start_in(dir, &components).await;
    assert_eq!(world.ask("b", "unsubscribe:orders.>", "").await, "true");
    let publish = async || assert_eq!(world.ask("a", "publish:orders.eu", "x").await, "published");

    // It subscribes when it starts, and crashes of its first message.
    let late = versions::stateless_talker("late").await;
    let canary = world.system.canary("b", &late, Canary { percent: 100, requests: 9 }, PATIENCE);
    let mut canary = std::pin::pin!(canary);
    let error = loop {
        tokio::select! {
            tried = &mut canary => break tried.unwrap_err(),
            answer = world.ask("b", "waiting:", "") => assert_eq!(answer, "[]"),
        }
    };
    assert!(told(&error).contains("panicked or aborted"), "{}", told(&error));
    publish().await;
    assert_eq!(world.ask("b", "heard:", "").await, "");

    // This one is well, and is taken off its trial. What is a topic means nothing to the other, which would break.
    let fine = versions::stateless_talker("fine").await;
    let canary = world.system.canary("w", &fine, Canary { percent: 50, requests: 1_000_000 }, PATIENCE);
    let mut canary = std::pin::pin!(canary);
    let answered = loop {
        tokio::select! {
            tried = &mut canary => panic!("{tried:?}"),
            answer = world.system.call("w", "echo", b"x".to_vec(), PATIENCE) => match answer.unwrap() {
                Some(answer) => assert_eq!(answer, b"x"),
                None => break true,
            },
        }
    };
    assert!(answered && world.system.withdraw("w").unwrap().is_some());
    publish().await;
    assert_eq!(world.ask("w", "echo", "x").await, "x");
    assert!(world.told().is_empty(), "it heard nothing");

    // One that takes over keeps what it subscribed to.
    for (name, request) in [("b", "waiting:"), ("w", "echo")] {
        let canary = world.system.canary(name, &fine, Canary { percent: 100, requests: 1 }, PATIENCE);
        let mut canary = std::pin::pin!(canary);
        let _switched = loop {
            tokio::select! {
                tried = &mut canary => break tried.unwrap(),
                answer = world.system.call(name, request, b"x".to_vec(), PATIENCE) => drop(answer.unwrap()),
            }
        };
    }
    let handled = |name| {
        let status = world.system.status();
        status.iter().find(|status| &*status.name == name).unwrap().handled
    };
    let before = handled("w");
    publish().await;
    assert_eq!(world.ask("b", "heard:", "").await, "a orders.eu x");
    until(&world, "w", |status| status.handled > before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_subscribe_at_a_time_do_not_undo_what_the_others_did() {
    let peer = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("plain.wasm"), versions::stateless_talker_bytes("good")).unwrap();
    let components = format!(
        "[component.a]\nTALKER\ngrants = {{ publish = [\"orders.>\"] }}\n\
         [component.w]\nsource = \"plain.wasm\"\nworkers = 2\nconfig = {{ subscribe = \"orders.eu\" }}\n\
         grants = {{ subscribe = [\"orders.>\"], send = [\"c\"] }}\n\
         [component.c]\nSOCKETS\nmax_deliver = 1\ngrants = {{ connect = [\"tcp://{address}\"] }}\n"
    );
    let world = World::start_in(dir, &components).await;
    let busy = format!("connect:{address}");
    let subscribe = async {
        let held = peer.accept().await.unwrap();
        // One has subscribed at its start, and waits for an answer.
        until(&world, "c", |status| status.waiting == 1).await;
        assert_eq!(world.ask("w", "subscribe:orders.us", "").await, "subscribed");
        drop(held);
    };
    let question = async {
        until(&world, "c", |status| status.busy).await;
        world.ask("w", "ask-context:c", "").await
    };
    let (_, answer, ()) = tokio::join!(world.ask("c", &busy, ""), question, subscribe);
    assert!(answer.starts_with("Unavailable"), "{answer}");
    let of_w = |status: &[Status]| status.iter().find(|status| &*status.name == "w").unwrap().handled;
    let before = of_w(&world.system.status());
    assert_eq!(world.ask("a", "publish:orders.us", "x").await, "published");
    until(&world, "w", |status| status.handled > before).await;
}

/// The system's memory has room for two instances and somewhat more, and `b` can take that.
const SHORT: &str = "memory = \"4MiB\"\n[component.w]\nSOURCE\nworkers = 1\n\
    [component.b]\nSOURCE\nmax_deliver = 1\n";
const HOARD: &str = "huge:2500000";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_wait_for_room_for_an_instance() {
    let world = World::start(SHORT).await;
    world.ask("b", HOARD, "").await;
    let give_back = async {
        until(&world, "w", |status| status.busy).await;
        // Long enough to have found no room. Where it was not, this test says nothing.
        tokio::time::sleep(Duration::from_millis(300)).await;
        world.crash("b", "trap").await;
    };
    let (answer, ()) = tokio::join!(world.ask("w", "handled", ""), give_back);
    assert_eq!(answer, "1");
    assert!(world.told().iter().all(|line| !line.contains("s/w")), "it was not started again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn want_of_room_says_nothing_of_a_version_of_workers_on_trial() {
    let world = World::start(SHORT).await;
    let fine = versions::stateless_talker("fine").await;
    let canary = world.system.canary("w", &fine, Canary { percent: 50, requests: 1_000_000 }, PATIENCE);
    let mut canary = std::pin::pin!(canary);
    // It answers nothing, and so tells that its trial has begun.
    let mut ask = async || {
        tokio::select! {
            tried = &mut canary => panic!("{tried:?}"),
            answer = world.system.call("w", "echo", Vec::new(), PATIENCE) => answer.unwrap(),
        }
    };
    while ask().await.is_some() {}
    for _ in 0..2 {
        // Who answered has its memory until it has ended.
        until(&world, "w", |status| !status.busy).await;
        world.ask("b", HOARD, "").await;
        let give_back = async {
            until(&world, "w", |status| status.busy).await;
            // As above.
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.crash("b", "trap").await;
        };
        tokio::join!(ask(), give_back);
    }
    assert!(world.system.withdraw("w").unwrap().is_some(), "it is on trial still");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn want_of_room_says_nothing_of_an_actor_on_trial() {
    let system = "memory = \"6MiB\"\n";
    let world =
        World::start(&format!("{system}[component.x]\nSOURCE\n[component.b]\nSOURCE\nmax_deliver = 1\n"))
            .await;
    let new = other().await;
    let canary = || world.system.canary("x", &new, Canary { percent: 100, requests: 2 }, PATIENCE);
    // One of two is refused: then the other is on trial, and no instance has been made for a message.
    let (mut one, mut another) = (std::pin::pin!(canary()), std::pin::pin!(canary()));
    let (refused, mut on_trial) = tokio::select! {
        tried = &mut one => (tried, another),
        tried = &mut another => (tried, one),
    };
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unavailable);
    world.ask("b", "huge:3300000", "").await;
    assert_eq!(world.ask("x", "handled", "").await, "1", "the old one handles it");
    world.crash("b", "trap").await;
    let switched = loop {
        tokio::select! {
            tried = &mut on_trial => break tried.unwrap(),
            answer = world.ask("x", "echo", "x") => assert_eq!(answer, "x"),
        }
    };
    assert_eq!(switched.to, new.digest());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_instance_can_be_made_for_when_they_stop_becomes_dead_letters() {
    let (peer, wait, c) = peer().await;
    let components = format!(
        "{c}[component.w]\nSOURCE\nworkers = 1\nshutdown = \"infinity\"\n\
         grants = {{ send = [\"c\"], fs = [{{ path = \"data\", guest = \"/data\", rights = [\"read\"] }}] }}\n"
    );
    let world = World::start(&components).await;
    let first = world.system.call("w", &wait, Vec::new(), PATIENCE);
    let more = async || {
        until(&world, "w", |status| status.busy).await;
        world.system.call("w", "handled", Vec::new(), PATIENCE).await.unwrap_err()
    };
    let stop = async {
        let held = peer.accept().await.unwrap();
        // One was read and has no place.
        until(&world, "w", |status| status.waiting == 2).await;
        std::fs::remove_dir_all(world.dir.path().join("data")).unwrap();
        let release = async { drop(held) };
        // The order to stop is given before.
        tokio::join!(world.system.shutdown(), release);
    };
    let (first, one, two, three, ()) = tokio::join!(first, more(), more(), more(), stop);
    assert!(first.unwrap().unwrap().starts_with(b"ok"));
    assert_eq!([one.kind(), two.kind(), three.kind()], [ErrorKind::Unavailable; 3]);
    let told = world.told();
    let dead = told.iter().filter(|line| line.starts_with("dead w handled after 0: cannot start `w`"));
    assert_eq!(dead.count(), 3, "{told:#?}");
}
