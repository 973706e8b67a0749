//! `airssys run FILE.wasm`: a WASI command that is granted nothing.

use std::{io::Write as _, process::Stdio};

use crate::program::{World, fixture};

#[test]
fn arguments_streams_and_exit_status_pass_through() {
    let world = World::new();
    let hello = fixture("hello.wasm");
    let mut command = world.command(&["run", &hello, "--", "--flag", "two words"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a line\nanother\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(
        stdout.contains("--flag") && stdout.contains("two words") && stdout.contains("a line"),
        "{stdout}"
    );
    assert!(!stdout.contains("another"), "{stdout}");
}

#[test]
fn what_is_no_component_is_told() {
    let world = World::new();
    world.write("bad.wasm", "no component");
    let ended = world.run(&["run", "bad.wasm"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("cannot run `bad.wasm`"), "{}", ended.stderr);
}

#[test]
fn an_actor_is_no_command() {
    let world = World::with_example("logwatch");
    let ended = world.run(&["run", "logwatch/components/parser.wasm"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("does not export `wasi:cli/run`"), "{}", ended.stderr);
    assert!(ended.stderr.contains("an actor needs a manifest"), "{}", ended.stderr);
}

#[test]
fn several_commands_run_at_a_time_each_with_its_log() {
    let world = World::new();
    let hello = fixture("hello.wasm");
    let start =
        || world.command(&["run", &hello]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut children = [start(), start(), start()];
    for child in &mut children {
        drop(child.stdin.take());
        assert!(child.wait().unwrap().code().is_some());
    }
}
