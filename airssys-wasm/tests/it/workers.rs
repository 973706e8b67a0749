//! `workers`: a fresh instance for each message, so many messages at a time.

use airssys_wasm::{Canary, Change, Component, ErrorKind, Handover};

use crate::{
    text::{self, component},
    versions::{hostile, told, version},
    world::{ENGINE, PATIENCE, World},
};

const TWO: &str =
    "[component.w]\nSOURCE\nworkers = 2\ngrants = { send = [\"w\", \"b\"] }\n[component.b]\nSOURCE\n";

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
    assert_eq!(world.system.status().iter().map(|status| status.handled).sum::<u64>(), 6);
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
    let peer = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = peer.local_addr().unwrap();
    let components = format!(
        "[supervisor.x]\nstrategy = \"one_for_all\"\nchildren = [\"w\", \"b\"]\n\
         [component.w]\nSOCKETS\nworkers = 2\nmax_deliver = 2\nshutdown = \"brutal_kill\"\n\
         grants = {{ connect = [\"tcp://{address}\"] }}\n\
         [component.b]\nSOURCE\nmax_deliver = 1\n"
    );
    let world = World::start(&components).await;
    // It waits for what its peer says, which is nothing, and is killed with its sibling.
    let kill = async {
        let mut silent = Vec::new();
        for _ in 0..2 {
            silent.push(peer.accept().await.unwrap());
            world.crash("b", "trap").await;
        }
        silent
    };
    let subject = format!("connect:{address}");
    tokio::join!(world.crash("w", &subject), kill);
    let given_up = format!("dead w {subject} after 2: its receiver was killed at it");
    let told = world.told();
    assert!(told.contains(&given_up), "{told:#?}");
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
