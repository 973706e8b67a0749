//! Another version takes over a component that runs: whole, or not at all, and no message learns of it.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use airssys_wasm::{Change, ErrorKind, Handover};

use crate::{
    text,
    versions::{told, version},
    world::{PATIENCE, World},
};

/// How often the version changes under load.
const UPGRADES: usize = 200;

/// From the source through the one that is upgraded to the witness, by small mailboxes, so that there is always
/// something in them.
const CHAIN: &str = "[component.witness]\nLEDGER\nmailbox = 16\n\
    [component.a]\nLEDGER\nmailbox = 16\nconfig = { to = \"witness\" }\ngrants = { send = [\"witness\"] }\n\
    limits = { deadline = \"500ms\", snapshot = \"1KiB\" }\n\
    [component.source]\nLEDGER\nconfig = { to = \"a\" }\ngrants = { send = [\"a\"] }\n";

const ALONE: &str = "[component.a]\nLEDGER\nlimits = { snapshot = \"1KiB\" }\n";

/// Changes the version of `a` under load, by what `change` does with it, and gives what `a` knows at the end.
async fn under_load(world: &World, change: impl Future<Output = ()>) -> String {
    let done = AtomicBool::new(false);
    let pour = async {
        while !done.load(Ordering::Relaxed) {
            world.ask("source", "pour", "200").await;
        }
    };
    let change = async {
        change.await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(pour, change);
    // Each answers when it has handled what the one before it had sent, and has sent that on.
    let source = world.ask("source", "report", "").await;
    let known = world.ask("a", "report", "").await;
    let poured: u64 = source.split(' ').nth(2).unwrap().parse().unwrap();
    // On a busy machine one pour can last as long as all changes.
    assert!(poured >= 200, "{source}");
    assert_eq!(world.ask("witness", "report", "").await, format!("{poured} 0 0 0"), "each once, in order");
    known.replace(&poured.to_string(), "all")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn upgrades_under_load_lose_double_and_reorder_nothing() {
    let world = World::start(CHAIN).await;
    let (mut switched, mut refused) = (0, 0);
    let change = async {
        for round in 0..UPGRADES {
            let mode =
                ["fine", "trap", "good", "late", "fine", "init", "good", "trap", "late", "hang"][round % 10];
            match (mode, world.upgrade("a", mode).await) {
                ("good" | "fine" | "late", Ok(_)) => switched += 1,
                ("trap" | "hang" | "init", Err(error)) if error.kind() == ErrorKind::Guest => refused += 1,
                (mode, end) => panic!("{mode}: {end:?}"),
            }
        }
    };
    assert_eq!(under_load(&world, change).await, "all 0 0 0", "the state went along");
    assert_eq!(switched + refused, UPGRADES);
    let told = world.told();
    assert!(told.iter().any(|line| line.starts_with("taken back a: the guest panicked")), "{told:#?}");
    assert!(told.iter().all(|line| !line.starts_with("dead") && !line.starts_with("exited")), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_lie_about_their_state_lose_no_message() {
    let world = World::start(CHAIN).await;
    let change = async {
        for round in 0..12 {
            // Each takes the state, and then gives one that is none, or too much of one, or does not want to, or dies.
            let mode = ["none", "huge", "deny", "dead"][round % 4];
            world.upgrade("a", mode).await.unwrap();
            let refused = told(&world.upgrade("a", "good").await.unwrap_err());
            let expected =
                ["no state of mine", "1048576 bytes, 1024 are allowed", "told to fail", "panicked"];
            assert!(refused.contains(expected[round % 4]), "{mode}: {refused}");
            world.system.rollback("a", Handover::Fresh, PATIENCE).await.unwrap();
        }
    };
    under_load(&world, change).await;
    let told = world.told();
    assert_eq!(
        told.iter().filter(|line| line.starts_with("exited")).count(),
        3,
        "of `dead` alone: {told:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_goes_along_and_back_and_each_side_is_told_the_other() {
    let world = World::start(ALONE).await;
    world.ask("a", "add", "0").await;
    let switched = world.upgrade("a", "fine").await.unwrap();
    assert_eq!((switched.to, switched.state_bytes), (version("fine").await.digest(), Some(32)));
    assert_eq!(world.ask("a", "who", "").await, switched.from.to_string());
    assert_eq!(world.ask("a", "add", "1").await, "2 0 0 0");
    let back = world.system.rollback("a", Handover::State, PATIENCE).await.unwrap();
    assert_eq!((back.from, back.to), (switched.to, switched.from));
    assert_eq!(world.ask("a", "report", "").await, "2 0 0 0", "what came after the upgrade is not lost");
    let history = world.system.history("a").unwrap();
    let changes: Vec<_> = history.iter().map(|version| version.change).collect();
    assert_eq!(changes, [Change::Started, Change::Upgraded, Change::RolledBack]);
    let error = world.system.rollback("a", Handover::State, PATIENCE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "there is nothing before the first");
    world.system.upgrade("a", &version("fine").await, Handover::Fresh, PATIENCE).await.unwrap();
    assert_eq!(world.ask("a", "report", "").await, "0 0 0 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_crashes_of_its_first_message_is_taken_back_with_that_message() {
    let world = World::start(&format!("{ALONE}max_deliver = 1\n")).await;
    world.ask("a", "add", "0").await;
    world.upgrade("a", "late").await.unwrap();
    assert_eq!(world.ask("a", "add", "1").await, "2 0 0 0", "the old one answers it");
    let changes: Vec<_> = world.system.history("a").unwrap().iter().map(|version| version.change).collect();
    assert_eq!(changes, [Change::Started, Change::Upgraded, Change::TakenBack]);
    assert!(world.system.rollback("a", Handover::State, PATIENCE).await.is_err(), "it is the first again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_go_along_and_back() {
    let world = World::start(ALONE).await;
    world.ask("a", "arm", "50").await;
    world.upgrade("a", "fine").await.unwrap();
    while world.ask("a", "report", "").await != "0 0 0 1" {}
    // It must not run out while the next version is compiled.
    version("late").await;
    let mut fired = 1;
    let mut delay_ms = 500;
    loop {
        let began = Instant::now();
        world.ask("a", "arm", &delay_ms.to_string()).await;
        world.upgrade("a", "late").await.unwrap();
        fired += 1;
        if began.elapsed() < Duration::from_millis(delay_ms) {
            break;
        }
        delay_ms *= 2;
        // The machine stood still, and the timer may have been the old one's: once more, from there.
        let reported = async || world.ask("a", "report", "").await;
        while reported().await != format!("0 0 0 {fired}") {}
    }
    // The timer is the first that it handles; the one before it does so, too.
    let changes = || world.system.history("a").unwrap();
    while changes().last().unwrap().change != Change::TakenBack {
        tokio::task::yield_now().await;
    }
    while world.ask("a", "report", "").await != format!("0 0 0 {fired}") {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timer_that_a_version_replaced_is_there_again_when_that_is_taken_back() {
    let replaces = text::component(text::actor(text::ARM, text::TRAP, "")).await;
    let mut delay_ms = 1000;
    loop {
        delay_ms *= 2;
        let world = World::start(ALONE).await;
        let armed = Instant::now();
        world.ask("a", "arm", &delay_ms.to_string()).await;
        world.system.upgrade("a", &replaces, Handover::Fresh, PATIENCE).await.unwrap();
        let reported = world.ask("a", "report", "").await;
        if armed.elapsed() >= Duration::from_millis(delay_ms) {
            // The machine stood still until the timer had run out.
            continue;
        }
        assert_eq!(reported, "0 0 0 0", "the old one answers it");
        let began = Instant::now();
        while world.ask("a", "report", "").await != "0 0 0 1" {
            assert!(began.elapsed() < PATIENCE, "its timer is gone");
        }
        return;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_version_sends_when_it_gives_its_state_leaves() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("teller.wasm"), text::actor("", "", text::TELL)).unwrap();
    let manifest = "[component.witness]\nLEDGER\n[component.a]\nsource = \"teller.wasm\"\n\
                    grants = { send = [\"witness\"] }\n";
    let world = World::start_in(dir, manifest).await;
    let next = text::component(text::actor("(nop)", "", text::TELL)).await;
    world.system.upgrade("a", &next, Handover::State, PATIENCE).await.unwrap();
    assert_eq!(world.ask("witness", "report", "").await, "1 0 0 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_does_not_wait_for_ever_for_who_does_not_read_what_the_old_version_sends() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("teller.wasm"), text::actor("", "", text::TELL)).unwrap();
    let manifest = "[component.witness]\nSOURCE\nmailbox = 1\nlimits = { deadline = \"2h\" }\n\
                    [component.a]\nsource = \"teller.wasm\"\ngrants = { send = [\"witness\"] }\n";
    let world = World::start_in(dir, manifest).await;
    let next = text::component(text::actor("(nop)", "", text::TELL)).await;
    // One that it has in hand, and what fills its mailbox.
    let spins = || world.system.call("witness", "spin", Vec::new(), PATIENCE * 4);
    let busy = async { tokio::join!(spins(), spins(), spins()) };
    let upgrade = async {
        let witness = || world.system.status().into_iter().find(|status| &*status.name == "witness").unwrap();
        while !witness().busy {
            tokio::task::yield_now().await;
        }
        // It has the first in hand for good, so that what waits from now on is another one.
        while witness().waiting == 0 {
            tokio::task::yield_now().await;
        }
        world.system.upgrade("a", &next, Handover::State, PATIENCE * 2).await
    };
    tokio::select! {
        _ = busy => panic!("the loop ended"),
        end = upgrade => assert!(told(&end.unwrap_err()).contains("found no room")),
    }
    assert_eq!(world.system.history("a").unwrap().len(), 1, "the old one goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_version_of_it_is_refused() {
    let world = World::start(&format!("{ALONE}on_restart = \"snapshot\"\n[component.b]\nSOURCE\n")).await;
    let unknown = world.upgrade("nobody", "fine").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    let hostile = crate::versions::hostile().await;
    let stateless = world.system.upgrade("a", &hostile, Handover::Fresh, PATIENCE).await.unwrap_err();
    assert_eq!(stateless.kind(), ErrorKind::InvalidComponent, "its manifest wants its state kept");
    world.system.upgrade("b", &version("fine").await, Handover::State, PATIENCE).await.unwrap();
    let error = world.system.upgrade("b", &hostile, Handover::State, PATIENCE).await.unwrap_err();
    assert!(told(&error).contains("it takes no state"), "{}", told(&error));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_waits_for_the_message_in_hand_and_no_longer_than_it_may() {
    let world =
        World::start(&format!("{ALONE}[component.b]\nSOURCE\nlimits = {{ deadline = \"2h\" }}\n")).await;
    let spin = world.system.call("b", "spin", Vec::new(), PATIENCE * 4);
    let fine = version("fine").await;
    let upgrade = async {
        while !world.system.status().iter().any(|status| &*status.name == "b" && status.busy) {
            tokio::task::yield_now().await;
        }
        loop {
            let before = world.system.history("b").unwrap().len();
            let Err(refused) =
                world.system.upgrade("b", &fine, Handover::State, Duration::from_millis(20)).await
            else {
                // It was busy, and not yet with the message. Of that the new one crashes, and the old one has it back.
                while world.system.history("b").unwrap().last().unwrap().change != Change::TakenBack {
                    tokio::task::yield_now().await;
                }
                continue;
            };
            assert_eq!(world.system.history("b").unwrap().len(), before);
            return refused;
        }
    };
    tokio::select! {
        _ = spin => panic!("the loop ended"),
        refused = upgrade => assert_eq!(refused.kind(), ErrorKind::Unavailable),
    }
}

const KEPT: &str = "on_restart = \"snapshot\"\nmax_deliver = 1\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_costs_no_state_where_it_is_kept() {
    let world = World::start(&format!("{ALONE}{KEPT}")).await;
    world.ask("a", "add", "0").await;
    world.ask("a", "add", "1").await;
    world.crash("a", "trap").await;
    assert_eq!(world.ask("a", "add", "2").await, "3 0 0 0");
    world.upgrade("a", "fine").await.unwrap();
    world.crash("a", "trap").await;
    assert_eq!(world.ask("a", "add", "3").await, "4 0 0 0", "in the new version, too");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_costs_what_was_handled_since_the_last_snapshot() {
    let world = World::start(&format!("{ALONE}{KEPT}snapshot_every = 2\n")).await;
    for number in ["0", "1", "2"] {
        world.ask("a", "add", number).await;
    }
    world.crash("a", "trap").await;
    assert_eq!(world.ask("a", "report", "").await, "2 0 0 0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_is_not_taken_is_an_exit_and_the_next_instance_starts_anew() {
    let world = World::start(&format!("{ALONE}{KEPT}")).await;
    world.upgrade("a", "none").await.unwrap();
    world.ask("a", "add", "0").await;
    world.crash("a", "trap").await;
    assert_eq!(world.ask("a", "report", "").await, "0 0 0 0");
    let told = world.told();
    let refused = told.iter().filter(|line| line.contains("no state of mine when it was given a state"));
    assert_eq!(refused.count(), 1, "{told:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_cannot_be_kept_is_an_exit_and_its_message_was_handled() {
    for (mode, expected) in
        [("huge", "1048576 bytes, 1024 are allowed"), ("dead", "panicked"), ("deny", "told to fail")]
    {
        let world = World::start(&format!("{ALONE}{KEPT}")).await;
        world.ask("a", "add", "0").await;
        world.upgrade("a", mode).await.unwrap();
        assert_eq!(world.ask("a", "add", "1").await, "2 0 0 0");
        assert_eq!(
            world.ask("a", "report", "").await,
            "1 0 0 0",
            "{mode}: it goes on with what it was handed"
        );
        let told = world.told();
        assert!(told.iter().any(|line| line.starts_with("exited") && line.contains(expected)), "{told:#?}");
        assert!(told.iter().all(|line| !line.starts_with("dead")), "{told:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_supervisor_that_gives_up_gives_the_state_up_too() {
    let tree = "[supervisor.x]\nintensity = 1\nperiod = \"1h\"\nchildren = [\"a\"]\n";
    let world = World::start(&format!("{tree}{ALONE}{KEPT}")).await;
    world.ask("a", "add", "0").await;
    world.crash("a", "trap").await;
    assert_eq!(world.ask("a", "report", "").await, "1 0 0 0");
    world.crash("a", "trap").await;
    assert_eq!(world.ask("a", "report", "").await, "0 0 0 0");
    assert!(world.told().iter().any(|line| line == "gave up s/x"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_state_is_not_taken_and_anothers_component_gets_none() {
    let world = World::start(&ALONE.replace("1KiB", "8MiB")).await;
    world.ask("a", "add", "0").await;
    // What another component is not told to take it does not get.
    let hostile = crate::versions::hostile().await;
    let error = world.system.upgrade("a", &hostile, Handover::State, PATIENCE).await.unwrap_err();
    assert!(told(&error).contains("it takes no state"), "{}", told(&error));
    assert_eq!(world.ask("a", "report", "").await, "1 0 0 0", "it goes on with what it knew");
    // Each of these takes the state, and gives one that nobody made.
    for mode in ["none", "huge"] {
        world.upgrade("a", mode).await.unwrap();
        let forged = world.upgrade("a", "good").await.unwrap_err();
        assert!(told(&forged).contains("no state of mine"), "{mode}: {}", told(&forged));
        assert_eq!(world.ask("a", "report", "").await, "1 0 0 0", "{mode}");
        world.system.rollback("a", Handover::Fresh, PATIENCE).await.unwrap();
        world.ask("a", "add", "0").await;
    }
    assert!(world.told().is_empty(), "nobody has crashed of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_was_tampered_with_is_taken_whole_or_not_at_all() {
    let world = World::start(&format!("{}{KEPT}", ALONE.replace("1KiB", "8MiB"))).await;
    let state: Vec<u8> = [7_u64, 0, 1, 2].iter().flat_map(|number| number.to_le_bytes()).collect();
    let mut flipped = state.clone();
    flipped[8] ^= 1;
    let forged = [
        (state.clone(), "7 0 1 2"),
        (flipped, "7 1 1 2"),
        (state[..31].to_vec(), "0 0 0 0"),
        (Vec::new(), "0 0 0 0"),
        (vec![0xff; 1 << 20], "0 0 0 0"),
    ];
    for (bytes, expected) in forged {
        let length = bytes.len();
        world.system.call("a", "forge", bytes, PATIENCE).await.unwrap();
        world.crash("a", "trap").await;
        assert_eq!(world.ask("a", "report", "").await, expected, "{length} bytes");
    }
}
