//! `airssys dead`: from the crash to the fixed version.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    program::{Running, World},
    upgrade::ledger,
};

const FILE: &str = ".airssys/dead-letters.jsonl";

/// `p` says what the script prints, each line a message to `b`, which crashes of any.
fn manifest(script: &str) -> String {
    format!(
        "[system]\nname = \"s\"\nintensity = 100\n\
         [process.p]\nprogram = \"/bin/sh\"\nargs = [\"-c\", '''{script}; exec cat''']\n\
         send_to = \"b\"\nsubject = \"add\"\n\
         [component.b]\nsource = \"b.wasm\"\nmax_deliver = 2\n"
    )
}

/// A system of which so many letters are dead.
fn start(script: &str, dead: u64) -> (World, Running) {
    let world = World::new();
    world.write("airssys.toml", manifest(script));
    world.write("b.wasm", ledger("late"));
    world.write("good.wasm", ledger("good"));
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let numbers: Vec<u64> = (1..=dead).collect();
    wait_for(&world, &numbers);
    (world, running)
}

fn listed(world: &World) -> Vec<u64> {
    let (code, letters) = world.run_json(&["dead", "list"]);
    assert_eq!(code, Some(0), "{letters:#?}");
    letters.iter().map(|letter| letter["letter"].as_u64().unwrap()).collect()
}

/// Waits until these letters, and no others, are kept: they are told before.
fn wait_for(world: &World, numbers: &[u64]) {
    let started = Instant::now();
    while listed(world) != numbers {
        assert!(started.elapsed() < Duration::from_secs(600), "{:?}", listed(world));
        // The other program has no way to tell this one.
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn stop(running: Running) {
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_letter_is_looked_at_and_handled_by_a_fixed_version() {
    let (world, mut running) = start("echo 0; echo 1", 2);
    let mode = fs::metadata(world.path(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = world.run(&["dead", "list"]);
    let lines: Vec<_> = list.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", list.stdout);
    assert!(lines[0].contains("p → b"), "{}", list.stdout);
    assert!(lines[1].contains("1 bytes, 2 tries: the guest panicked or aborted"), "{}", list.stdout);
    assert_eq!(world.run(&["dead", "list", "--to", "p"]).stdout, "");
    assert_eq!(world.run(&["dead", "list", "--from", "p", "--to", "b", "."]).stdout.lines().count(), 2);

    let (code, shown) = world.run_json(&["dead", "show", "2"]);
    assert_eq!((code, &shown[0]["payload"], &shown[0]["subject"]), (Some(0), &"1".into(), &"add".into()));
    let digest = "sha256:6b86b273ff34fce19d6b804eff5a3f5747ada4eaa22f1d49c01e52ddb7875b4b";
    assert_eq!(shown[0]["digest"], digest);

    let broken_still = world.run_json(&["dead", "retry", "1"]);
    assert_eq!(broken_still.0, Some(0), "{broken_still:#?}");
    wait_for(&world, &[2, 3]);

    assert_eq!(world.run(&["upgrade", "b", "good.wasm"]).code, Some(0));
    let ended = world.run(&["dead", "retry", "--all"]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "2 letters sent again\n"), "{}", ended.stderr);
    running.events.wait_for("first_message");
    assert_eq!(listed(&world), [0; 0]);
    assert!(!fs::read_to_string(world.path(FILE)).unwrap().contains("payload"), "nothing of them is left");
    let gone = world.run(&["dead", "retry", "2"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.stderr.contains("there is no dead letter 2"), "{}", gone.stderr);
    stop(running);

    let (_, records) = world.run_json(&["audit", "query", ".", "--action", "system.dead_letter"]);
    let told: Vec<_> = records.iter().map(|record| record["resource"].as_str().unwrap()).collect();
    let expected = [
        "1 from p to b: begun",
        "1 from p to b: sent again",
        "2 from p to b: begun",
        "2 from p to b: sent again",
        "3 from p to b: begun",
        "3 from p to b: sent again",
    ];
    assert_eq!(told, expected);
}

#[test]
fn what_a_letter_holds_cannot_steer_the_terminal() {
    let (world, running) = start(r"printf '\033[2J\377\n'; printf 'zwei\t\303\274\n'", 2);
    stop(running);
    let shown = world.run(&["dead", "show", "1"]);
    assert!(!shown.stdout.contains('\u{1b}'), "{}", shown.stdout);
    assert!(shown.stdout.contains("1b5b324aff"), "{}", shown.stdout);
    let output = world.command(&["dead", "show", "1", "--raw"]).output().unwrap();
    assert_eq!(output.stdout, b"\x1b[2J\xff");
    assert!(world.run(&["dead", "show", "2"]).stdout.ends_with("\nzwei\\tü\n"));
    assert_eq!(world.run_json(&["dead", "show", "1"]).1[0]["payload_base64"], "G1sySv8=");
    assert_eq!(world.run(&["dead", "show", "7"]).code, Some(1));
    assert_eq!(world.run(&["dead", "show", "1", "--raw", "--json"]).code, Some(2));
}

#[test]
fn letters_are_thrown_away_with_and_without_their_system() {
    let (world, running) = start("echo a; echo b; echo c; echo d", 4);
    let dropped = world.run(&["dead", "drop", "2", "9", "."]);
    assert_eq!((dropped.code, &*dropped.stdout), (Some(1), "1 letter thrown away\n"));
    assert!(dropped.stderr.contains("1 of 2 letters were not thrown away"), "{}", dropped.stderr);
    assert_eq!(listed(&world), [1, 3, 4]);
    stop(running);

    let no_system = world.run(&["dead", "retry", "1"]);
    assert_eq!(no_system.code, Some(1));
    assert!(no_system.stderr.contains("does not run"), "{}", no_system.stderr);
    assert!(no_system.stderr.contains("start the system with `airssys run`"), "{}", no_system.stderr);
    assert_eq!(world.run_json(&["dead", "drop", "1"]).0, Some(0));
    assert_eq!(listed(&world), [3, 4]);
    assert_eq!(world.run_json(&["dead", "drop", "--all"]).0, Some(0));
    assert_eq!(listed(&world), [0; 0]);
    let (_, records) = world.run_json(&["audit", "query", ".", "--action", "system.dead_letter"]);
    let told: Vec<_> = records.iter().map(|record| record["resource"].as_str().unwrap()).collect();
    assert_eq!(told, ["2: thrown away", "1: thrown away", "3: thrown away", "4: thrown away"]);
    let unclear = world.run(&["dead", "drop", "x", "1"]);
    assert_eq!(unclear.code, Some(3));
    assert!(unclear.stderr.contains("a letter is named by its number"), "{}", unclear.stderr);
    assert_eq!(world.run(&["dead", "drop"]).code, Some(2));
}

#[test]
fn a_torn_line_is_told_and_costs_no_other() {
    let (world, running) = start("echo a; echo b", 2);
    running.signal("KILL");
    running.end();
    let whole = fs::read(world.path(FILE)).unwrap();
    fs::write(world.path(FILE), &whole[..whole.len() - 20]).unwrap();
    let list = world.run(&["dead", "list"]);
    assert_eq!((list.code, list.stdout.lines().count()), (Some(0), 1), "{}", list.stdout);
    assert!(list.stderr.contains("not every line of the dead letters is whole"), "{}", list.stderr);

    let running = world.start(&["run", "."]);
    wait_for(&world, &[1, 2, 3]);
    stop(running);
}

#[test]
fn a_letter_that_may_not_be_sent_any_more_stays() {
    let (world, mut running) = start("echo a; echo b; echo c", 3);
    let (_, letters) = world.run_json(&["dead", "show", "1"]);
    stop(running);
    // Letters of other names, and one whose payload was not kept.
    let mut file = OpenOptions::new().append(true).open(world.path(FILE)).unwrap();
    for (number, key, value) in
        [(11, "to", "nobody".into()), (12, "from", "nobody".into()), (13, "payload", Value::Null)]
    {
        let mut letter = letters[0].clone();
        (letter["letter"], letter[key]) = (number.into(), value);
        writeln!(file, "{letter}").unwrap();
    }
    world.write("airssys.toml", manifest("true").replace("send_to = \"b\"\n", ""));
    running = world.start(&["run", "."]);
    running.events.wait_for("ready");
    let check = |letter: &str, expected: &str, help: &str| {
        let ended = world.run(&["dead", "retry", letter]);
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        for told in [expected, help] {
            assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
        }
    };
    check("1", "cannot send to `b` as `p`", "grant it in the manifest: `send = [\"b\"]` for `p`");
    check("11", "cannot send it to `nobody` again: the system has nobody of that name", "the letter stays");
    check("12", "cannot send as `nobody`: the system has nobody of that name", "the letter stays");
    check("13", "the payload of letter 13 was not kept", "airssys dead drop 13");
    let all = world.run(&["dead", "retry", "--all"]);
    assert!(all.stderr.contains("6 of 6 letters were not sent again"), "{}", all.stderr);
    assert_eq!(listed(&world), [1, 2, 3, 11, 12, 13]);
    stop(running);
}
