//! The log on its way elsewhere: what the manifest asks for, and what a user does by hand.

use std::{fs, os::unix::net::UnixDatagram, time::Duration};

use serde_json::Value;

use crate::program::{World, has_read};

/// The example with a short log, whose manifest has `more` in it.
fn world(more: &str) -> World {
    let world = World::with_example("logwatch");
    fs::remove_dir_all(world.path("logwatch/inbox")).unwrap();
    world.write("logwatch/inbox/access.log", "no log line\n");
    let manifest = fs::read_to_string(world.path("logwatch/airssys.toml")).unwrap();
    world.write("logwatch/airssys.toml", format!("{manifest}\n{more}"));
    world
}

fn run(world: &World) {
    let (code, events) = world.run_json(&["run", "logwatch", "--until-idle=300ms"]);
    assert_eq!(code, Some(0), "{events:#?}");
}

/// How often something is done again where the machine stood still for too long.
const ATTEMPTS: usize = 10;

/// Runs it until everything has arrived: what could not be sent in time, the next run sends.
fn run_and_send(world: &World) {
    for _ in 0..ATTEMPTS {
        let ended = world.run(&["run", "logwatch", "--until-idle=300ms"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let is_late = ["has not sent everything", "has not got the last checkpoint"];
        if !is_late.iter().any(|told| ended.stderr.contains(told)) {
            return;
        }
    }
    panic!("not everything was sent in {ATTEMPTS} runs");
}

/// The numbers of the records in lines of OCSF.
fn numbers(lines: &str) -> Vec<u64> {
    let number = |line: &str| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        record["metadata"]["sequence"].as_u64().unwrap()
    };
    lines.lines().map(number).collect()
}

#[test]
fn every_record_arrives_where_the_manifest_says_and_the_next_run_goes_on() {
    let world = world(
        "[audit.export.copy]\nto = \"jsonl\"\nfile = \"copy.jsonl\"\n\
         [audit.anchor.copy]\nto = \"file\"\nfile = \"anchors\"\n",
    );
    for _ in 0..2 {
        run_and_send(&world);
        let copied = numbers(&fs::read_to_string(world.path("logwatch/copy.jsonl")).unwrap());
        let last = world.run_json(&["audit", "query", "logwatch"]).1.last().unwrap()["seq"].as_u64().unwrap();
        assert_eq!(copied, (1..=last).collect::<Vec<_>>(), "each record once, in order");
    }
    let anchors = world.run_json(&["audit", "verify", "logwatch", "--anchor", "logwatch/anchors"]);
    assert_eq!(anchors.0, Some(0), "{:#?}", anchors.1);
}

#[test]
fn a_target_that_fails_costs_no_record() {
    let world = world("[audit.export.host]\nto = \"syslog\"\nsocket = \"log.socket\"\n");
    run(&world);
    let socket = UnixDatagram::bind(world.path("logwatch/log.socket")).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(600))).unwrap();
    let export = ["audit", "export", "logwatch", "--to", "syslog", "--socket", "logwatch/log.socket"];
    let cursor = ["--cursor", "logwatch/.airssys/audit/host.cursor"];
    let start = || world.command(&[&export[..], &cursor[..]].concat()).spawn().unwrap();
    let mut child = start();
    let mut buffer = vec![0; 16_384];
    let length = socket.recv(&mut buffer).unwrap();
    let first = String::from_utf8_lossy(&buffer[..length]).into_owned();
    assert!(first.starts_with('<') && first.contains("system.start"), "{first}");
    // The queue of the socket is short: it is read until the other side is done. That side waits ten seconds for room in it;
    // where this one stood still for longer, the next goes on behind what has arrived.
    socket.set_nonblocking(true).unwrap();
    for _ in 0..ATTEMPTS {
        while child.try_wait().unwrap().is_none() {
            while socket.recv(&mut buffer).is_ok() {}
            std::thread::yield_now();
        }
        if child.wait().unwrap().success() {
            return;
        }
        child = start();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    panic!("not everything was sent in {ATTEMPTS} attempts");
}

/// A cursor in the folder of the log holds retention back. One that was away meanwhile comes back to a gap.
#[test]
fn what_was_removed_before_it_was_sent_is_told() {
    let export = "[audit.export.copy]\nto = \"jsonl\"\nfile = \"copy.jsonl\"\n";
    let world = world(export);
    let with_export = fs::read_to_string(world.path("logwatch/airssys.toml")).unwrap();
    let forgets = "[audit]\nsegment = \"1KiB\"\nretention = { segments = 1 }\n";
    run_and_send(&world);
    let copied = || numbers(&fs::read_to_string(world.path("logwatch/copy.jsonl")).unwrap());
    let before = copied();
    let (cursor, away) = (world.path("logwatch/.airssys/audit/copy.cursor"), world.path("copy.cursor"));
    fs::rename(&cursor, &away).unwrap();
    world.write("logwatch/airssys.toml", with_export.replace(export, forgets));
    run(&world);
    fs::rename(&away, &cursor).unwrap();
    world.write("logwatch/airssys.toml", with_export);

    let ended = world.run(&["run", "logwatch", "--until-idle=300ms"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let after = copied().split_off(before.len());
    let lost = after.first().unwrap() - before.last().unwrap() - 1;
    assert!(lost > 0, "nothing was removed");
    let told = format!("the export `copy` lost {lost} records");
    assert_eq!(ended.stderr.matches(&told).count(), 1, "{}", ended.stderr);
    assert_eq!(
        after,
        (after[0]..after[0] + after.len() as u64).collect::<Vec<_>>(),
        "nothing else is missing"
    );

    // The next run goes on behind what has arrived, and has nothing to tell.
    let ended = world.run(&["run", "logwatch", "--until-idle=300ms"]);
    assert!(ended.code == Some(0) && !ended.stderr.contains("lost"), "{}", ended.stderr);
    assert_eq!(copied().last(), Some(&(copied().len() as u64 + lost)));
}

#[test]
fn an_export_by_hand_goes_on_where_the_last_one_ended() {
    let world = world("");
    run(&world);
    let export = ["audit", "export", "logwatch", "--cursor", "cursor"];
    let first = numbers(&world.run(&export).stdout);
    assert_eq!(first, (1..=first.len() as u64).collect::<Vec<_>>());
    assert!(world.run(&export).stdout.is_empty(), "all has arrived");
    run(&world);
    assert_eq!(numbers(&world.run(&export).stdout).first(), Some(&(first.len() as u64 + 1)));
    let ocsf = world.run(&["audit", "query", "logwatch", "--ocsf", "--action", "system.start"]);
    assert_eq!(numbers(&ocsf.stdout), [1, first.len() as u64 + 1]);
}

#[test]
fn a_checkpoint_that_was_published_proves_the_log() {
    let world = world("");
    run(&world);
    let anchor = world.run(&["audit", "anchor", "logwatch"]);
    assert_eq!(anchor.code, Some(0), "{}", anchor.stderr);
    world.write("anchor", anchor.stdout);
    assert_eq!(world.run_json(&["audit", "verify", "logwatch", "--anchor", "anchor"]).0, Some(0));
}

#[test]
fn flags_that_do_not_fit_are_told() {
    let world = world("");
    run(&world);
    for (flags, told) in [
        (&["--to", "otlp"][..], "needs the address of a collector"),
        (&["--address", "127.0.0.1:1"], "`--address` is not for `--to jsonl`"),
        (&["--to", "journald", "--file", "x"], "`--file` is not for"),
    ] {
        let export = [&["audit", "export", "logwatch", "--cursor", "cursor"], flags].concat();
        let ended = world.run(&export);
        assert_eq!(ended.code, Some(3));
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
    }
}

#[test]
fn what_is_redacted_is_not_in_the_log() {
    let world = world("[audit]\nredact = { names = \"access.log\", key = \"redact.key\" }\n");
    let missing = world.run(&["check", "logwatch"]);
    assert_eq!(missing.code, Some(3));
    assert!(missing.stderr.contains("cannot read the key of redacted parts"), "{}", missing.stderr);
    world.write("logwatch/redact.key", "07".repeat(32));
    let runs = |_| has_read(&world.run_json(&["run", "logwatch", "--until-idle=300ms"]).1);
    assert!((0..ATTEMPTS).any(runs), "the log was not read");
    let reads = world.run_json(&["audit", "query", "logwatch", "--principal", "component.reader"]).1;
    let text = format!("{reads:?}");
    assert!(text.contains("[redacted:") && !text.contains("access.log"), "{text}");
}
