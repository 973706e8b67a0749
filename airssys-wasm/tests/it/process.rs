//! Programs of the machine among components.

use std::{
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use airssys_wasm::ErrorKind;

use crate::world::{PATIENCE, World};

/// From `a` through a program to `b`, through another one to `c`, which writes it down.
const CHAIN: &str = r#"
[component.a]
SOURCE
grants = { send = ["one"] }

[process.one]
program = "/bin/cat"
send_to = "b"
subject = "send:two"
limits = { frame = "1KiB" }

[component.b]
SOURCE
grants = { send = ["two"] }

[process.two]
program = "/bin/cat"
framing = "packet_1"
send_to = "c"
subject = "fs-write:new"

[component.c]
SOURCE
grants = { fs = [{ path = "data", guest = "/data", rights = ["read", "write", "create", "delete"] }] }
"#;

async fn start(manifest: &str) -> World {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("data")).unwrap();
    for path in [dir.path(), &dir.path().join("data")] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    World::start_in(dir, manifest).await
}

/// Waits until a member of the system has handled so many messages.
async fn handled(world: &World, name: &str, count: u64) {
    let waits = async {
        let status = || world.system.status().into_iter().find(|member| &*member.name == name).unwrap();
        while status().handled < count {
            world.system.idle(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waits).await.unwrap_or_else(|_| panic!("{:?}", world.told()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_go_into_programs_and_come_out_of_them() {
    let world = start(CHAIN).await;
    assert_eq!(world.ask("a", "send:one", "through two programs").await, "ok: sent");
    handled(&world, "c", 1).await;
    let written = std::fs::read_to_string(world.dir.path().join("data/new")).unwrap();
    assert_eq!(written, "through two programs");
    assert!(world.denied().is_empty());
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_is_sent_to_where_that_is_granted_and_no_more_than_it_takes() {
    let world = start(CHAIN).await;
    assert!(world.ask("c", "send:one", "x").await.starts_with("Denied"));
    assert_eq!(world.denied(), ["component.c actor.send default-deny"]);
    let call = |payload: Vec<u8>| world.system.call("one", "", payload, PATIENCE);
    assert_eq!(call(vec![b'x'; 1025]).await.unwrap_err().kind(), ErrorKind::LimitExceeded);
    assert_eq!(call(b"taken".to_vec()).await.unwrap(), None, "a program has no answers");
    let long = world.system.call("two", "", vec![b'x'; 256], PATIENCE).await;
    assert_eq!(long.unwrap_err().kind(), ErrorKind::LimitExceeded, "a length of one byte");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_program_would_not_read_as_one_message_is_not_said_to_it() {
    let world = start(&CHAIN.replace("limits = { frame = \"1KiB\" }", "framing = \"json_lines\"")).await;
    for framed in [world, start(CHAIN).await] {
        assert_eq!(framed.ask("a", "send:one", "x\nquit").await, "ok: sent");
        let call = framed.system.call("one", "", b"x\ny".to_vec(), PATIENCE).await;
        assert_eq!(call.unwrap_err().kind(), ErrorKind::Unavailable);
        framed.system.idle(Duration::from_millis(20)).await;
        let told = framed.told();
        let dead = told.iter().filter(|line| line.contains("would not read it as one message")).count();
        assert_eq!(dead, 1, "{told:#?}");
        assert!(!told.iter().any(|line| line.contains("exited")), "it goes on: {told:#?}");
        framed.system.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_is_told_while_it_is_started_again_waits_for_it() {
    // Each line is another life.
    let manifest = "[component.a]\nSOURCE\ngrants = { send = [\"p\"] }\n[component.b]\nSOURCE\n\
                    [process.p]\nprogram = \"/bin/sh\"\nargs = [\"-c\", \"echo up; read line; exit 3\"]\n\
                    send_to = \"b\"\nsubject = \"echo\"\n";
    let world = start(manifest).await;
    for life in 1..4 {
        handled(&world, "b", life).await;
        assert_eq!(world.ask("a", "send:p", "x").await, "ok: sent");
    }
    handled(&world, "b", 4).await;
    let told = world.told();
    let crashes = told.iter().filter(|line| line.contains("exited s/p")).count();
    assert_eq!(crashes, 3, "{told:#?}");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_policy_may_take_its_receiver_away() {
    let manifest = "[component.b]\nSOURCE\n[component.c]\nSOURCE\n[process.p]\nprogram = \"/bin/cat\"\n\
                    subject = \"echo\"\n";
    let world = start(&format!("{manifest}send_to = \"b\"\n")).await;
    world.reload(&format!("{manifest}send_to = \"c\"\n"));
    world.system.call("p", "", b"x".to_vec(), PATIENCE).await.unwrap();
    handled(&world, "p", 1).await;
    // Who asks now comes after what the program said.
    assert_eq!(world.ask("b", "handled", "").await, "1", "only this question arrived");
    // It is counted before it is decided.
    let began = Instant::now();
    let mut denied = world.denied();
    while denied.is_empty() && began.elapsed() < PATIENCE {
        tokio::task::yield_now().await;
        denied = world.denied();
    }
    assert_eq!(denied, ["process.p actor.send default-deny"]);
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_it_says_to_one_that_was_stopped_for_good_is_a_dead_letter() {
    let manifest = "[component.b]\nSOURCE\nrestart = \"temporary\"\nmax_deliver = 1\n\
                    [process.p]\nprogram = \"/bin/cat\"\nsend_to = \"b\"\nsubject = \"trap\"\n";
    let world = start(manifest).await;
    let mut told = Vec::new();
    // The first crashes it, and nothing starts it again.
    for (word, expected) in
        [("one", "exited s/b"), ("two", "dead b trap after 0"), ("three", "dead b trap after 0")]
    {
        world.system.call("p", "", word.into(), PATIENCE).await.unwrap();
        let began = Instant::now();
        loop {
            let more = world.told();
            let is_there = more.iter().any(|line| line.starts_with(expected));
            told.extend(more);
            if is_there {
                break;
            }
            assert!(began.elapsed() < PATIENCE, "{word}: {told:#?}");
            tokio::task::yield_now().await;
        }
        // Its supervisor learns later than we that it has ended, and until then there is room for the next in its
        // mailbox. What waits there ends with it.
        let gone = world.system.call("b", "echo", Vec::new(), PATIENCE).await;
        assert_eq!(gone.unwrap_err().kind(), ErrorKind::Unavailable);
    }
    assert!(told.iter().all(|line| !line.starts_with("exited s/p")), "{told:#?}");
    world.system.shutdown().await;
}
