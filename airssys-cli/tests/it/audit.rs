//! The log under attack, through the program.

use std::fs;

use serde_json::Value;

use crate::program::{World, has_read};

/// How often a world is made anew where its system stopped before it had read its log.
const ATTEMPTS: usize = 10;

/// A world whose system has run once, and read its log.
fn world_with_log() -> World {
    for _ in 0..ATTEMPTS {
        let world = World::with_example("logwatch");
        fs::remove_dir_all(world.path("logwatch/inbox")).unwrap();
        world.write("logwatch/inbox/access.log", "no log line\n");
        let (code, events) = world.run_json(&["run", "logwatch", "--until-idle=300ms"]);
        assert_eq!(code, Some(0), "{events:#?}");
        if has_read(&events) {
            return world;
        }
    }
    panic!("the log was not read in {ATTEMPTS} runs");
}

fn segment(world: &World) -> Vec<u8> {
    fs::read(world.path("logwatch/.airssys/audit/000000000000.log")).unwrap()
}

/// Changes the log, and expects `verify` to tell.
fn check(change: impl FnOnce(&mut Vec<u8>)) -> World {
    let world = world_with_log();
    let mut bytes = segment(&world);
    change(&mut bytes);
    world.write("logwatch/.airssys/audit/000000000000.log", bytes);
    let (code, told) = world.run_json(&["audit", "verify", "logwatch"]);
    assert_eq!(code, Some(4), "{told:#?}");
    assert!(told[0]["error"].as_str().unwrap().contains("is not what it was"), "{told:#?}");
    world
}

/// Where the frames of a segment begin: a length of four bytes, a kind, a body.
fn frames(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut frames = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let length = u32::from_le_bytes(bytes[start..start + 4].try_into().unwrap()) as usize;
        frames.push(start..start + 5 + length);
        start += 5 + length;
    }
    frames
}

#[test]
fn a_flipped_bit_is_found() {
    check(|bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    });
}

#[test]
fn a_dropped_record_is_found() {
    check(|bytes| {
        let frames = frames(bytes);
        bytes.drain(frames[3].clone());
    });
}

#[test]
fn swapped_records_are_found() {
    check(|bytes| {
        let frames = frames(bytes);
        let (second, third) = (bytes[frames[2].clone()].to_vec(), bytes[frames[3].clone()].to_vec());
        let swapped = [third, second].concat();
        bytes[frames[2].start..frames[3].end].copy_from_slice(&swapped);
    });
}

#[test]
fn an_inserted_record_is_found() {
    check(|bytes| {
        let frames = frames(bytes);
        let copy = bytes[frames[3].clone()].to_vec();
        let at = frames[4].start;
        bytes.splice(at..at, copy);
    });
}

#[test]
fn a_truncated_log_is_found_and_nothing_runs_on_it() {
    let world = check(|bytes| {
        let frames = frames(bytes);
        bytes.truncate(frames[frames.len() - 2].start);
    });
    let (code, told) = world.run_json(&["run", "logwatch", "--until-idle=300ms"]);
    assert_eq!(code, Some(4), "{told:#?}");
    assert!(told[0]["help"].as_str().unwrap().contains("keep it as evidence"), "{told:#?}");
}

#[test]
fn a_log_that_was_replaced_as_a_whole_is_found_by_an_anchor() {
    let (mine, other) = (world_with_log(), world_with_log());
    let (_, verified) = mine.run_json(&["audit", "verify", "logwatch"]);
    mine.write("anchor", verified[0]["checkpoint"].as_str().unwrap());
    assert_eq!(mine.run_json(&["audit", "verify", "logwatch", "--anchor", "anchor"]).0, Some(0));

    fs::remove_dir_all(mine.path("logwatch/.airssys/audit")).unwrap();
    fs::rename(other.path("logwatch/.airssys/audit"), mine.path("logwatch/.airssys/audit")).unwrap();
    assert_eq!(mine.run_json(&["audit", "verify", "logwatch"]).0, Some(0), "whole in itself");
    assert_eq!(mine.run_json(&["audit", "verify", "logwatch", "--anchor", "anchor"]).0, Some(4));
}

#[test]
fn a_second_program_on_the_same_log_is_refused() {
    let world = World::with_example("logwatch");
    let mut running = world.start(&["run", "logwatch"]);
    running.events.wait_for("first_message");
    let (code, told) = world.run_json(&["run", "logwatch"]);
    assert_eq!(code, Some(1));
    assert!(told[0]["help"].as_str().unwrap().contains("runs already"), "{told:#?}");
    let (code, verified) = world.run_json(&["audit", "verify", "logwatch"]);
    assert_eq!((code, &verified[0]["state"]), (Some(0), &Value::from("open")));
    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn the_first_record_says_with_what_the_system_was_started() {
    let world = world_with_log();
    let (_, records) = world.run_json(&["audit", "query", "logwatch"]);
    assert_eq!((records[0]["seq"].as_u64(), records[0]["action"].as_str()), (Some(1), Some("system.start")));
    let resource = records[0]["resource"].as_str().unwrap();
    assert!(resource.contains("logwatch/airssys.toml sha256:"), "{resource}");
    assert_eq!(records.last().unwrap()["action"], "system.stop");
}

#[test]
fn a_query_takes_all_that_is_given() {
    let world = world_with_log();
    let query = |args: &[&str]| world.run_json(&[&["audit", "query", "logwatch"], args].concat()).1;
    let all = query(&[]);
    let reads = query(&["--principal", "component.reader", "--action", "fs.read"]);
    assert!(!reads.is_empty() && reads.len() < all.len());
    assert!(
        reads.iter().all(|record| record["principal"] == "component.reader" && record["action"] == "fs.read")
    );
    assert!(query(&["--since", "2999-01-01T00:00:00Z"]).is_empty());
    assert_eq!(query(&["--until", "2999-01-01T00:00:00Z"]).len(), all.len());
    assert_eq!(query(&["--denied"]).len() + query(&["--allowed"]).len(), all.len());
    let inbox = world.dir.path().canonicalize().unwrap().join("logwatch/inbox");
    let inbox = inbox.to_str().unwrap();
    let there = query(&["--resource", inbox]);
    assert!(!there.is_empty() && there.len() < all.len());
    let is_there = |record: &&Value| record["resource"].as_str().unwrap().contains("logwatch/inbox");
    assert_eq!(there.len(), all.iter().filter(is_there).count(), "{all:#?}");
    let both = query(&["--resource", inbox, "--action", "fs.read", "--allowed"]);
    assert!(!both.is_empty() && both.iter().all(|record| reads.contains(record)), "{both:#?}");
    assert!(query(&["--resource", inbox, "--would-deny"]).is_empty());
    let tail = world.run_json(&["audit", "tail", "logwatch", "-n", "3"]).1;
    assert_eq!(tail, all[all.len() - 3..]);
}
