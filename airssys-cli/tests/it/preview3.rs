//! Programs of WASI 0.3: the component `newer` does what its arguments say, and answers each with a line.

use std::{ffi::OsStr, fs, io::Write as _, os::unix::ffi::OsStrExt as _, process::Stdio};

use crate::program::{Ended, World, fixture, repository};

/// Runs the program with the folder `data`, which it has as `/`, and no input.
fn run(world: &World, options: &[&str], arguments: &[&str]) -> Ended {
    let newer = fixture("newer.wasm");
    world.run(&[&["run"], options, &[newer.as_str()], arguments].concat())
}

/// Expects these answers to these words about files.
fn check(world: &World, script: &[(&str, &str)]) {
    let (words, expected): (Vec<_>, Vec<_>) = script.iter().copied().unzip();
    let ended = run(world, &["--dir", "data::/"], &words);
    let answers: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(answers, expected, "{words:?}: {}", ended.stderr);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn with_data() -> World {
    let world = World::new();
    fs::create_dir(world.path("data")).unwrap();
    world
}

#[test]
fn a_program_has_its_arguments_streams_clocks_and_random_bytes() {
    let world = World::new();
    let newer = fixture("newer.wasm");
    let words = [
        "say:two words",
        "variables",
        "terminal",
        "error:told",
        "input",
        "clocks",
        "together",
        "random",
        "places",
    ];
    let mut command = world.command(&[&["run", "--env", "A=b", &newer][..], &words].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"a line\nanother\n").unwrap();
    let ended = world.ended(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let expected = "two words\n[(\"A\", \"b\")] None\nfalse\nOk(())\na line\nanother Ok(())\nclocks true\nsecond \
                    first\nrandom true true\n\n";
    assert_eq!(ended.stdout, expected);
    assert!(ended.stderr.contains("told\n"), "{}", ended.stderr);
}

#[test]
fn a_program_ends_with_its_status() {
    let world = World::new();
    for (word, status) in [("exit:7", 7), ("ended", 0), ("fail", 1)] {
        let ended = run(&world, &[], &["say:once", word, "say:never"]);
        assert_eq!((ended.code, &*ended.stdout), (Some(status), "once\n"), "{word}: {}", ended.stderr);
    }
}

#[test]
fn what_a_program_leaves_behind_goes_on_to_its_end() {
    // `run` has returned when its task goes on, and exits.
    let text = r#"(component
      (import "wasi:cli/exit@0.3.0" (instance $exit
        (export "exit-with-code" (func (param "status-code" u8)))))
      (core module $m
        (import "" "exit" (func $exit (param i32)))
        (import "" "return" (func $return (param i32)))
        (func (export "run") (result i32) (call $return (i32.const 0)) (i32.const 1))
        (func (export "after") (param i32 i32 i32) (result i32) (call $exit (i32.const 9)) (i32.const 0)))
      (core func $exit (canon lower (func $exit "exit-with-code")))
      (core func $return (canon task.return (result (result))))
      (core instance $i (instantiate $m
        (with "" (instance (export "exit" (func $exit)) (export "return" (func $return))))))
      (func $run async (result (result)) (canon lift (core func $i "run") async (callback (func $i "after"))))
      (instance $x (export "run" (func $run)))
      (export "wasi:cli/run@0.3.0" (instance $x)))"#;
    let world = World::new();
    world.write("after.wat", text);
    // What is called by its name leaves things behind as well.
    world.write("named.wat", text.replace("(instance $x (", "(export \"run\" (func $run)) (instance $x ("));
    for arguments in [&["run", "after.wat"][..], &["run", "--invoke", "run()", "named.wat"]] {
        let ended = world.run(arguments);
        assert_eq!(ended.code, Some(9), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn files_are_read_and_written_through_streams() {
    let world = with_data();
    world.write("data/sub/b.txt", "0123456789");
    check(
        &world,
        &[
            ("places", "/"),
            ("write:a.txt:some text", "0 left"),
            ("append:a.txt:, and more", "0 left"),
            ("read:a.txt", "some text, and more"),
            ("read:sub/b.txt:4", "456789"),
            ("read:sub/b.txt:40", ""),
            // Many chunks.
            ("write:large:abcd*100000", "0 left"),
            ("read:large", "400000 bytes"),
            ("misuse:a.txt", "3 bad-descriptor 0 bad-descriptor 0 not-directory"),
            ("read:absent", "no-entry"),
            ("read:sub", "bad-descriptor"),
            ("shape:a.txt", "file true 3"),
        ],
    );
    assert_eq!(fs::read(world.path("data/large")).unwrap(), b"abcd".repeat(100_000));
    assert_eq!(fs::read_to_string(world.path("data/a.txt")).unwrap(), "som");
}

#[test]
fn a_file_goes_to_the_output_without_passing_through_the_program() {
    let world = with_data();
    world.write("data/a.txt", "line\n".repeat(100_000));
    let ended = run(&world, &["--dir", "data::/"], &["show:a.txt"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "line\n".repeat(100_000) + "Ok(())\n");
}

#[test]
fn directories_and_links() {
    let world = with_data();
    check(
        &world,
        &[
            ("mkdir:d", "done"),
            ("mkdir:d", "exist"),
            ("write:d/one:1", "0 left"),
            ("symlink:one:d/link", "done"),
            ("readlink:d/link", "one"),
            ("mkdir:d/e", "done"),
            ("list:d", "e directory, link link, one file"),
            ("same:d/one:d/link", "true true"),
            ("same:d/one:d/e", "false true"),
            ("link:d/one:d/two", "done, following: invalid"),
            ("same:d/one:d/two", "true true"),
            ("rename:d/two:d/three", "done"),
            ("unlink:d/three", "done"),
            ("rmdir:d/e", "done"),
            ("rmdir:d", "not-empty"),
            ("list:d", "link link, one file"),
            ("list:d/one", "not-directory"),
            ("stat:d/one", "file 1 1 true -7.5 7.0"),
        ],
    );
}

#[test]
fn a_directory_of_many_names_is_listed_to_its_end() {
    let world = with_data();
    for number in 0..300 {
        world.write(&format!("data/{number}"), "");
    }
    check(&world, &[("list:.", "300 names")]);
}

#[test]
fn a_listing_that_breaks_off_says_so_behind_the_names_before_it() {
    let world = with_data();
    // Some have to be listed before it, in whatever order the file system has them.
    for number in 0..20 {
        world.write(&format!("data/{number}"), "");
    }
    fs::write(world.path("data").join(OsStr::from_bytes(b"\xff")), "").unwrap();
    for number in 20..40 {
        world.write(&format!("data/{number}"), "");
    }
    check(&world, &[("list:.", "illegal-byte-sequence")]);
}

#[test]
fn what_was_not_given_is_not_there() {
    let world = with_data();
    world.write("secret", "s");
    std::os::unix::fs::symlink("../secret", world.path("data/up")).unwrap();
    check(
        &world,
        &[
            ("read:../secret", "not-permitted"),
            ("read:/etc/passwd", "not-permitted"),
            ("read:up", "not-permitted"),
            ("write:../new:x", "not-permitted"),
            ("rename:up:../new", "not-permitted"),
            ("list:..", "not-permitted"),
        ],
    );
    let none = run(&world, &[], &["read:secret", "places"]);
    assert_eq!(none.stdout, "no-entry\n\n", "{}", none.stderr);
    let read_only = run(&world, &["--dir", "data::/:ro"], &["write:new:x", "mkdir:d"]);
    assert_eq!(read_only.stdout, "not-permitted\nnot-permitted\n", "{}", read_only.stderr);
    assert!(!world.path("data/new").exists());
}

/// Expects that an attack was ended, and why.
fn stopped(word: &str, options: &[&str], why: &str) {
    let world = World::new();
    let newer = fixture("newer.wasm");
    let mut command = world.command(&[&["run"], options, &[newer.as_str(), word]].concat());
    // Input without an end, too.
    let output = command.stdin(fs::File::open("/dev/zero").unwrap()).stdout(Stdio::null()).output().unwrap();
    let ended = world.ended(&output);
    assert_eq!(ended.code, Some(134), "{word}: {}", ended.stderr);
    assert!(ended.stderr.contains(why), "{word}: {why}: {}", ended.stderr);
}

#[test]
fn a_program_that_never_ends_is_stopped_at_its_time() {
    for word in ["spin", "yield", "sleep", "flood", "drink"] {
        stopped(word, &["--timeout", "300ms"], "--timeout");
    }
}

#[test]
fn streams_and_calls_under_way_are_bounded() {
    for word in ["streams", "calls"] {
        stopped(word, &[], "held more handles open than its limit");
    }
}

#[test]
fn memory_is_bounded() {
    stopped("grow", &["--max-memory", "8MiB"], "--max-memory");
}

#[test]
fn a_program_that_waits_for_itself_ends() {
    stopped("deadlock", &[], "deadlock");
}

/// A system with the program as a job.
fn with_job(arguments: &str, limits: &str) -> World {
    let world = with_data();
    fs::copy(fixture("newer.wasm"), world.path("newer.wasm")).unwrap();
    world.write("data/a.txt", "content");
    let grants = "fs = [{ path = \"data\", guest = \"/\", rights = [\"read\", \"list\"] }]";
    world.write(
        "airssys.toml",
        format!(
            "[system]\nname = \"s\"\ncompile = {{ time = \"30m\" }}\n[component.job]\nsource = \"newer.wasm\"\n\
             restart = \"temporary\"\nlimits = {{ {limits} }}\njob = {{ args = [{arguments}] }}\n\
             [component.job.grants]\n{grants}\n"
        ),
    );
    world
}

#[test]
fn a_job_of_wasi_0_3_runs_and_what_it_does_is_on_record() {
    let world = with_job("\"say:begun\", \"read:a.txt\", \"read:../x\", \"input\"", "deadline = \"10m\"");
    let ended = world.run(&["run", ".", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for line in ["begun", "content", "not-permitted", "Ok(())"] {
        assert!(ended.stderr.contains(line), "{line}: {}", ended.stderr);
    }
    let query = |args: &[&str]| {
        world.run_json(&[&["audit", "query", ".", "--principal", "component.job"], args].concat()).1
    };
    assert!(!query(&["--action", "fs.read", "--allowed"]).is_empty(), "{:#?}", query(&[]));
    let denied = query(&["--denied"]);
    assert!(denied.iter().any(|record| record["rule"] == "beneath-root"), "{denied:#?}");
}

#[test]
fn the_limits_of_a_manifest_hold_in_wasi_0_3() {
    for (word, limits, why) in [
        ("spin", "deadline = \"10m\", fuel = 1000000", "computed more than its limit"),
        ("spin", "deadline = \"300ms\"", "ran past its deadline"),
        ("flood", "deadline = \"10m\", host_calls = 50", "called its host more often"),
        ("calls", "deadline = \"10m\", handles = 100", "held more handles open"),
    ] {
        let ended = with_job(&format!("\"{word}\""), limits).run(&["run", ".", "--until-idle"]);
        assert!(ended.stderr.contains(why), "{word}: {why}: {}", ended.stderr);
    }
}

#[test]
fn what_goes_from_stream_to_stream_of_the_host_counts_as_its_calls() {
    for word in ["show", "echo"] {
        let world = with_job(&format!("\"{word}:a.txt\""), "deadline = \"10m\", host_calls = 100");
        world.write("data/a.txt", "x".repeat(50 * 65_536));
        // Were it not counted, the one would come to its end and the other to its quota.
        let manifest = fs::read_to_string(world.path("airssys.toml")).unwrap();
        let manifest = manifest.replace("\"list\"]", "\"write\", \"list\"], quota = \"64MiB\"");
        world.write("airssys.toml", manifest);
        let ended = world.run(&["run", ".", "--until-idle"]);
        assert!(ended.stderr.contains("called its host more often"), "{word}: {}", ended.stderr);
    }
}

#[test]
fn inspect_tells_the_version_of_wasi() {
    let world = World::new();
    let inspect = |file: &str| world.run(&["inspect", &fixture(file)]).stdout;
    let newer = inspect("newer.wasm");
    assert!(newer.contains("WASI 0.3\n") && newer.contains("`airssys run` runs it"), "{newer}");
    assert!(inspect("hello.wasm").contains("WASI 0.2\n"));
    let porter = repository().join("airssys-wasm/tests/fixtures/porter.wasm");
    let porter = world.run(&["inspect", porter.to_str().unwrap()]).stdout;
    assert!(porter.contains("WASI 0.3\n") && porter.contains("a service over HTTP"), "{porter}");
    let newer = fixture("newer.wasm");
    let (_, told) = world.run_json(&["inspect", &newer]);
    assert_eq!(told[0]["wasi"], serde_json::json!(["0.3"]));
}
