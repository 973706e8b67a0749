//! WASI 0.2, function by function, by a component that calls them through the program: clocks, polling and what a program
//! has. The sentences are those of the specification (the `.wit` files of WASI 0.2.12), or of POSIX, which it refers to.

use std::collections::BTreeSet;

use crate::{
    calls::check,
    program::{World, fixture, repository},
};

pub(crate) fn with_nothing(world: &World) {
    world.write("data/.keep", "");
}

#[test]
fn clocks_and_polling() {
    check(
        with_nothing,
        "
        # now: 'successive calls to now will never produce a value less than an earlier one'
        clocks.monotonic-now >a = ok
        clocks.monotonic-now >b = ok
        is-less $b $a = false
        # resolution: 'the duration of a clock tick': more than nothing, less than a second
        clocks.monotonic-resolution >step = ok
        is-less 0 $step = true
        is-less $step 1000000000 = true
        clocks.wall-resolution >step = ok
        is-less 0 $step = true
        is-less $step 1000000000 = true
        # wall-clock: 'seconds and nanoseconds since 1970'; this was written in 2026
        clocks.wall-now >now = ok
        is-less 1767225600000000000 $now = true
        # subscribe-duration: 'resolve once the given duration has elapsed'
        clocks.subscribe-duration 20000000 >p = ok
        poll.block p = ok
        clocks.monotonic-now >c = ok
        is-less $c $b+20000000 = false
        poll.ready p = true
        # subscribe-instant: 'resolve once the specified instant has occurred'; what is past has
        clocks.subscribe-instant 0 >past = ok
        poll.block past = ok
        clocks.subscribe-instant $c+3600000000000 >future = ok
        poll.ready future = false
        clocks.subscribe-duration 18446744073709551615 >never = ok
        # poll: 'one or more of the indices of handles … that is ready'
        poll.poll never past future = 1
        poll.poll past never p = 0 2
        clocks.subscribe-duration 20000000 >soon = ok
        poll.poll never soon future = 1
        # the same one twice
        poll.poll past past = 0 1
        ",
    );
}

#[test]
fn polling_nothing_is_a_trap() {
    // 'This function traps if … the list is empty'
    check(with_nothing, "poll.poll = trap");
}

#[test]
fn what_a_program_has() {
    check(
        with_nothing,
        "
        # 'Get the POSIX-style arguments to the program'
        cli.get-arguments = 'one' 'two words'
        cli.get-environment = A=b=c
        # 'Return a path that programs should use as their initial current working directory'
        cli.initial-cwd = none
        # 'If … not connected to a terminal, none'
        cli.get-terminal-stdin = none
        cli.get-terminal-stdout = none
        cli.get-terminal-stderr = none
        # no input: it ends at once
        cli.get-stdin >in = ok
        input.blocking-read in 10 = closed
        cli.get-stdout >out = ok
        output.check-write out = some
        cli.get-stderr >err = ok
        output.blocking-write-and-flush err 'said to stderr' = ok
        # 'cryptographically-secure random': that two of 64 bits are the same happens once in the life of suns
        random.get-random-bytes 0 = 0
        random.get-random-bytes 70000 = 70000
        random.get-insecure-random-bytes 33 = 33
        random.get-random-u64 >a = ok
        random.get-random-u64 >b = ok
        is-same $a $b = false
        random.get-insecure-random-u64 >a = ok
        random.get-insecure-random-u64 >b = ok
        is-same $a $b = false
        # insecure-seed: 'a constant function within a component instance' is what most hosts are
        random.insecure-seed >a = ok
        ",
    );
}

#[test]
fn a_program_ends_with_its_status() {
    // exit: 'exit the current instance and any linked instances'; what comes behind is not done.
    let (world, caller) = (World::new(), fixture("caller.wasm"));
    for (script, status, said) in [
        ("cli.exit ok\ncli.get-terminal-stdin", 0, ""),
        ("cli.exit err\ncli.get-terminal-stdin", 1, ""),
        ("cli.get-terminal-stdin", 0, "none\n"),
    ] {
        let ended = world.run(&["run", &caller, script]);
        assert_eq!((ended.code, &*ended.stdout), (Some(status), said), "{script}");
    }
}

/// A component whose start does this, with the functions of the time zone and of `exit`.
fn by_text(run: &str) -> String {
    include_str!("text/unstable.wat").replace("(; run ;)", run)
}

#[test]
fn a_program_ends_with_a_code() {
    // exit-with-code: 'Exit the current instance and any linked instances, reporting the specified status code to the host'
    let world = World::new();
    for code in [0, 1, 7, 255] {
        world.write("code.wat", by_text(&format!("(call $exit (i32.const {code})) (unreachable)")));
        let ended = world.run(&["run", "code.wat"]);
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
    }
}

#[test]
fn the_time_zone_is_utc() {
    // utc-offset, display: 'In implementations that do not expose an actual time zone, this should return 0', 'be the string
    // `UTC`', 'return false'.
    let world = World::new();
    let (when, place) = ("(i64.const 1767225600) (i32.const 0)", "(i32.const 64)");
    for (run, code) in [
        (format!("(call $exit (i32.add (i32.const 40) (call $offset {when})))"), 40),
        // The record: the offset, the place and the length of the name, whether it is summer.
        (format!("(call $display {when} {place}) (call $exit (i32.load (i32.const 64)))"), 0),
        (
            format!("(call $display {when} {place}) (call $exit (i32.load8_u (i32.load (i32.const 68))))"),
            'U' as i32,
        ),
        (format!("(call $display {when} {place}) (call $exit (i32.load (i32.const 72)))"), 3),
        (format!("(call $display {when} {place}) (call $exit (i32.load8_u (i32.const 76)))"), 0),
    ] {
        world.write("zone.wat", by_text(&format!("{run} (unreachable)")));
        let ended = world.run(&["run", "zone.wat"]);
        assert_eq!(ended.code, Some(code), "{run}: {}", ended.stderr);
    }
}

#[test]
fn no_function_is_forgotten() {
    let scripts = [
        include_str!("preview2.rs"),
        include_str!("preview2_files.rs"),
        include_str!("preview2_http.rs"),
        include_str!("preview2_sockets.rs"),
        include_str!("preview2_stores.rs"),
    ]
    .concat();
    let words = scripts.lines().filter_map(|line| line.split_whitespace().next());
    let called: BTreeSet<_> = words.filter(|word| word.contains('.')).collect();
    let mut forgotten = Vec::new();
    for package in PACKAGES {
        let path = repository().join("wit/deps").join(package).with_extension("wit");
        for (place, function) in functions(&std::fs::read_to_string(path).unwrap()) {
            let is_called = called_by(package, &place, &function).is_some_and(|name| called.contains(&*name));
            let name = format!("{place}.{function}");
            if !is_called && !ELSEWHERE.contains(&&*name) {
                forgotten.push(format!("{package}: {name}"));
            }
        }
    }
    assert!(forgotten.is_empty(), "{forgotten:?}");
}

/// The files below `wit/deps` of what is implemented.
const PACKAGES: &[&str] = &[
    "blobstore",
    "cli",
    "clocks",
    "config",
    "filesystem",
    "http",
    "io",
    "keyvalue",
    "keyvalue-draft2",
    "logging",
    "random",
    "sockets",
];

/// The functions of a file of interfaces, each with its resource, or its interface.
fn functions(text: &str) -> Vec<(String, String)> {
    let (mut interface, mut resource, mut functions) = (String::new(), None, Vec::new());
    for line in text.lines().map(str::trim_end) {
        let depth = line.len() - line.trim_start().len();
        let named = |word: &str| {
            let name = line.trim_start().strip_prefix(word)?.strip_suffix(" {")?;
            Some(name.trim_start_matches('%').to_owned())
        };
        if let Some(name) = named("interface ") {
            (interface, resource) = (name, None);
        } else if let Some(name) = named("resource ") {
            resource = Some((depth, name));
        } else if line.trim_start() == "}" {
            resource = resource.filter(|(began, _)| *began < depth);
        } else if let Some(name) = function(line) {
            let place = resource.as_ref().map_or(&interface, |(_, resource)| resource);
            functions.push((place.clone(), name.trim().trim_start_matches('%').to_owned()));
        }
    }
    functions
}

/// The name of the function that a line begins with.
fn function(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let (name, _) = line
        .split_once(": func(")
        .or_else(|| line.split_once(": static func("))
        .or_else(|| line.starts_with("constructor(").then_some(("constructor", "")))?;
    Some(name)
}

/// What scripts call a function by.
fn called_by(package: &str, place: &str, function: &str) -> Option<String> {
    match package {
        "config" | "logging" => return Some(format!("{package}.{function}")),
        "keyvalue-draft2" if place != "cas" && function != "swap" => {
            return Some(format!("{place}2.{function}"));
        }
        "keyvalue-draft2" => return Some(format!("cas.{function}")),
        "blobstore" | "http" | "keyvalue" => return Some(format!("{place}.{function}")),
        _ => {}
    }
    let interface = match place {
        "environment" | "exit" | "stdin" | "stdout" | "stderr" => "cli",
        "terminal-stdin" | "terminal-stdout" | "terminal-stderr" => "cli",
        "monotonic-clock" if function == "now" || function == "resolution" => {
            return Some(format!("clocks.monotonic-{function}"));
        }
        "wall-clock" => return Some(format!("clocks.wall-{function}")),
        "monotonic-clock" => "clocks",
        "descriptor" | "preopens" | "poll" => place,
        "directory-entry-stream" => "entries",
        "pollable" => "poll",
        "input-stream" => "input",
        "output-stream" => "output",
        "random" | "insecure" | "insecure-seed" => "random",
        "resolve-address-stream" | "ip-name-lookup" => "names",
        "tcp-socket" | "tcp-create-socket" => "tcp",
        "udp-socket" | "udp-create-socket" => "udp",
        "incoming-datagram-stream" => "incoming",
        "outgoing-datagram-stream" => "outgoing",
        _ => return None,
    };
    Some(format!("{interface}.{function}"))
}

/// What no script calls by its name: `run` and `handle` are called by the host, those of errors by the guest where a stream
/// fails, the network is what it gives to all that wants one, and `exit` ends a script: the test above has it. The rest is
/// unstable in the specification, and Wasmtime has it only when it is asked for: the tests above call it from a text, and
/// `send-informational` is in neither.
const ELSEWHERE: &[&str] = &[
    "run.run",
    "instance-network.instance-network",
    "types.filesystem-error-code",
    "types.http-error-code",
    "error.to-debug-string",
    "incoming-handler.handle",
    "response-outparam.send-informational",
    "network.network-error-code",
    "exit.exit",
    "exit.exit-with-code",
    "timezone.display",
    "timezone.utc-offset",
];
