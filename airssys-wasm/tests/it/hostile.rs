//! A hostile guest harms itself at most, and everyone learns how it ended.

use std::time::Instant;

use crate::world::{PATIENCE, World};

const TWO: &str = "[component.a]\nSOURCE\nlimits = { memory = \"8MiB\" }\n[component.b]\nSOURCE\n";

/// Lets the guest do it, and expects `ending` as the reason of each of its crashes. Its neighbour is not disturbed.
async fn check(subject: &str, ending: &str) {
    check_in(TWO, subject, ending).await;
}

async fn check_in(components: &str, subject: &str, ending: &str) {
    let world = World::start(components).await;
    beside(&world, subject, world.crash("a", subject)).await;
    assert_eq!(world.ask("a", "handled", "").await, "1", "a new instance, with nothing of the old one");
    let records = world.incidents();
    let (exits, letters): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record.starts_with("component.a actor.exit "));
    assert!(exits.len() == 3 && exits.iter().all(|record| record.contains(ending)), "{records:#?}");
    let letter = format!("component.a actor.dead_letter `{subject}` from host after 3: ");
    let is_told = |told: &&String| {
        told.starts_with(&letter) && told.contains(ending) && told.contains("; 0 bytes, sha256:e3b0c442")
    };
    assert!(letters.len() == 1 && letters.iter().all(is_told), "{records:#?}");
    let told = world.told();
    let crashes: Vec<_> = told.iter().filter(|line| line.starts_with("exited s/a")).collect();
    assert_eq!(crashes.len(), 3, "{told:#?}");
    assert!(crashes.iter().all(|line| line.contains(ending)), "{crashes:#?}");
    assert_eq!(told.iter().filter(|line| line.starts_with("dead a")).count(), 1, "{told:#?}");
    assert_eq!(world.ask("b", "echo", "still here").await, "still here");
    world.system.shutdown().await;
}

/// Asks the neighbour all the time while an attack goes on, once at least. It answers each time; how soon is told to who looks
/// at what the test prints.
async fn beside<T>(world: &World, attack: &str, done: impl Future<Output = T>) -> T {
    let mut done = std::pin::pin!(done);
    let mut latencies = Vec::new();
    loop {
        let asked = Instant::now();
        let text = latencies.len().to_string();
        let mut answer = std::pin::pin!(world.ask("b", "echo", &text));
        let attacked = tokio::select! {
            answer = &mut answer => {
                assert_eq!(answer, text, "{attack}");
                None
            }
            attacked = &mut done => Some(attacked),
        };
        if attacked.is_some() {
            assert_eq!(answer.await, text, "{attack}");
        }
        latencies.push(asked.elapsed());
        if let Some(attacked) = attacked {
            latencies.sort_unstable();
            let last = latencies.len() - 1;
            let at = |part: usize| latencies.get(last * part / 100).copied().unwrap_or_default();
            println!(
                "{attack}: {} answers of the neighbour, half within {:?}, 99% within {:?}, all within {:?}",
                latencies.len(),
                at(50),
                at(99),
                at(100)
            );
            assert!(at(100) < PATIENCE, "{attack}");
            return attacked;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_a_crash() {
    check("trap", "the guest panicked or aborted").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_is_stopped_at_its_deadline() {
    // Long enough for a guest that does little, however often it is interrupted.
    let components = TWO.replace("8MiB\"", "8MiB\", deadline = \"500ms\"");
    check_in(&components, "spin", "the guest ran past its deadline").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_memory_bomb_is_stopped_at_its_limit() {
    check("grow", "more memory than its limit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_recursion_is_stopped_at_its_stack() {
    check("recurse", "the guest's stack overflowed").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_is_an_exit() {
    check("fail", "the guest failed: told to fail").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_timers_than_allowed_are_a_crash() {
    check("timers:65", "a host function ended the guest").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_to_the_host_are_bounded_for_each_message() {
    let world = World::start("[component.a]\nSOURCE\nmax_deliver = 1\nlimits = { host_calls = 40 }\n").await;
    for _ in 0..5 {
        assert_eq!(world.ask("a", "timers:30", "").await, "set", "the budget is a message's own");
    }
    world.crash("a", "timers:60").await;
    let told = world.told();
    assert!(told[0].contains("called its host more often than its limit (limits.host_calls)"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_computed_is_bounded_for_each_message() {
    let limits = "limits = { fuel = 1000000, deadline = \"1h\" }";
    let world = World::start(&format!("[component.a]\nSOURCE\nmax_deliver = 1\n{limits}\n")).await;
    for _ in 0..50 {
        assert_eq!(world.ask("a", "log:30000", "").await, "logged", "the budget is a message's own");
    }
    world.crash("a", "spin").await;
    let told = world.told();
    assert!(told[0].contains("computed more than its limit (limits.fuel)"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_used_its_share_of_a_processor_is_held_back() {
    let component = |name: &str, more: &str| {
        format!("[component.{name}]\nSOURCE\nmax_deliver = 1\nlimits = {{ deadline = \"100ms\"{more} }}\n")
    };
    let components = [component("a", ", cpu_percent = 5"), component("b", "")].concat();
    let world = World::start(&components).await;
    let held_back = |name: &str| {
        let status = world.system.status();
        status.iter().find(|status| &*status.name == name).unwrap().held_back
    };
    // Where the machine stands still between its turns, nobody has used anything.
    for _ in 0..10 {
        world.crash("a", "spin").await;
        world.crash("b", "spin").await;
        if held_back("a") > 0 {
            break;
        }
    }
    assert!(held_back("a") > 0, "twenty times its share");
    assert_eq!(held_back("b"), 0, "its neighbour has no bound");
    assert_eq!(world.ask("a", "echo", "x").await, "x", "and it goes on");
    world.system.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_are_bounded_for_each_component() {
    let components = "[component.a]\nSOURCE\nlimits = { tables = 1 }\n";
    let started = World::try_start(tempfile::tempdir().unwrap(), components, None).await;
    let why = crate::versions::told(&started.err().unwrap());
    assert!(why.contains("elements of tables") && why.contains("limits.tables"), "{why}");
    World::start(&components.replace("= 1 ", "= 1000 ")).await.system.shutdown().await;
}

#[tokio::test]
async fn an_endless_loop_leaves_others_their_turn_on_the_same_thread() {
    let components =
        "[component.a]\nSOURCE\nmax_deliver = 1\nlimits = { deadline = \"2h\" }\n[component.b]\nSOURCE\n";
    let world = World::start(components).await;
    let spin = world.system.call("a", "spin", Vec::new(), PATIENCE * 2);
    tokio::select! {
        biased;
        _ = spin => panic!("the loop ended before its neighbour was asked"),
        answer = async {
            tokio::task::yield_now().await;
            world.ask("b", "echo", "my turn").await
        } => assert_eq!(answer, "my turn"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crashes_beyond_the_intensity_end_the_system() {
    // However slowly it crashes, it is within the period. It is called as the system is.
    let tree = "period = \"1h\"\n[supervisor.x]\nintensity = 2\nperiod = \"1h\"\nchildren = [\"s\"]\n";
    let world = World::start(&format!("{tree}[component.s]\nSOURCE\n")).await;
    // The root starts its supervisor again until its own patience is at its end, too.
    while world.system.call("s", "trap", Vec::new(), PATIENCE).await.is_err() {
        if world.told().iter().any(|line| line == "gave up s") {
            break;
        }
    }
    let reason = world.system.exited().await;
    assert!(matches!(reason, airssys_rt::ExitReason::GaveUp), "{reason}");
    let records = world.incidents();
    let gave_up = "host actor.exit the supervisor s gave up: too many restarts";
    assert_eq!(records.iter().filter(|record| *record == gave_up).count(), 1, "{records:#?}");
    let is_own = |record: &&String| record.starts_with("component.s actor.exit ");
    assert!(records.iter().filter(is_own).all(|record| record.contains("panicked")), "{records:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_the_door_may_do_is_denied_and_recorded() {
    let world = World::start(TWO).await;
    for (subject, rule) in [
        ("net:169.254.169.254:80", "component.a net.connect non-global: metadata"),
        ("run:/bin/sh", "component.a process.spawn default-deny"),
    ] {
        let answer = world.ask("a", subject, "").await;
        assert!(answer.starts_with("Denied"), "{subject}: {answer}");
        assert_eq!(world.denied(), [rule], "{subject}");
    }
    assert_eq!(world.ask("a", "env:HOME", "").await, "absent");
    assert_eq!(world.denied(), ["component.a env.read default-deny"]);
    assert!(world.ask("a", "clock", "").await.len() > 10, "clocks are granted to everyone");
    assert!(world.denied().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_files_ends_at_its_quota() {
    let rights = "rights = [\"read\", \"list\", \"write\", \"create\", \"delete\"]";
    let terms = "quota = \"256KiB\", quota_files = 12, max_file = \"64KiB\"";
    let grants = format!("grants = {{ fs = [{{ path = \"data\", guest = \"/data\", {rights}, {terms} }}] }}");
    let components = format!("[component.a]\nSOURCE\n{grants}\n[component.b]\nSOURCE\n");
    for verb in ["fs-write", "file-write"] {
        check_flood_of_files(&World::start(&components).await, verb).await;
    }
}

async fn check_flood_of_files(world: &World, verb: &str) {
    let held = || {
        let files = std::fs::read_dir(world.dir.path().join("data")).unwrap();
        let sizes: Vec<_> = files.map(|file| file.unwrap().metadata().unwrap().len()).collect();
        (sizes.len(), sizes.iter().sum::<u64>())
    };
    // By size, by length, and by number.
    let flood = async |name: &str, bytes: usize, tries: usize| {
        let mut written = 0;
        for number in 0..tries {
            let answer = world.ask("a", &format!("{verb}:{name}{number}"), &"x".repeat(bytes)).await;
            written += usize::from(answer == "ok: written");
        }
        written
    };
    assert_eq!(flood("long", (64 << 10) + 1, 3).await, 0, "no file is longer than `max_file`");
    let large = flood("large", 60 << 10, 20).await;
    assert!((3..=4).contains(&large), "{verb}: {large} of 60 KiB in 256");
    let small = flood("small", 1, 40).await;
    assert!(small < 12, "{verb}: {small} more files, where 12 may be there");
    let (files, bytes) = held();
    assert!(files <= 12 && bytes <= 256 << 10, "{verb}: {files} files with {bytes} bytes");
    assert!(world.ask("a", "fs:a", "").await.starts_with("ok"), "what is there is still read");
    assert_eq!(world.ask("b", "echo", "still here").await, "still here");
}

/// What does not end the guest, and leaves its neighbour alone, too.
async fn check_survives(components: &str, subject: &str, answer: &str) {
    let world = World::start(components).await;
    let answered = beside(&world, subject, world.ask("a", subject, "x")).await;
    assert!(answered.starts_with(answer), "{subject}: {answered}");
    assert_eq!(world.ask("a", "handled", "").await, "2", "{subject}: the same instance");
    assert!(world.told().is_empty() && world.incidents().is_empty(), "{subject}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_disturb_nobody_else() {
    let granted = "[component.c]\nSOURCE\nmailbox = 2\n[component.b]\nSOURCE\n\
                   [component.a]\nSOURCE\ngrants = { send = [\"c\", \"b\"] }\n";
    for (subject, answer) in [
        ("logs:20000", "logged"),
        ("log:4000000", "logged"),
        ("flood:c", "ok: flooded"),
        ("send-huge:c/20000000", "LimitExceeded"),
        ("huge:20000000", "xxx"),
    ] {
        check_survives(granted, subject, answer).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_its_neighbours_mailbox_delays_others_and_loses_nothing() {
    let world = World::start(
        "[component.b]\nSOURCE\nmailbox = 8\n[component.a]\nSOURCE\ngrants = { send = [\"b\"] }\n",
    )
    .await;
    let flooded = beside(&world, "flood:b", world.ask("a", "flood:b", "x")).await;
    assert_eq!(flooded, "ok: flooded");
    let handled: u64 = world.ask("b", "handled", "").await.parse().unwrap();
    assert!(handled > 10_000, "{handled}");
    assert!(world.told().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timers_that_fire_without_end_leave_room_for_messages() {
    let world = World::start(TWO).await;
    assert_eq!(world.ask("a", "ticks", "").await, "set");
    let asked = async {
        for _ in 0..100 {
            assert_eq!(world.ask("a", "echo", "x").await, "x", "it reads its messages all the same");
        }
    };
    beside(&world, "ticks", asked).await;
    assert!(world.told().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_instances_together_have_no_more_memory_than_the_system() {
    // An instance of it takes somewhat more than one mebibyte.
    let system = "memory = \"24MiB\"\n";
    let components = "[component.a]\nSOURCE\nmax_deliver = 1\n[component.b]\nSOURCE\n";
    let world = World::start(&format!("{system}{components}")).await;
    beside(&world, "grow", world.crash("a", "grow")).await;
    let told = world.told();
    let ending = "more memory than is left to the system (system.memory)";
    assert!(told[0].contains(ending), "{told:#?}");
    assert!(world.incidents()[0].contains(ending));
    assert_eq!(world.ask("a", "huge:8000000", "").await.len(), 8_000_000, "what it had is there again");
}
