//! Hostile programs: each is stopped by a limit, says so, and costs nothing else.

use std::fs;

use crate::program::{World, repository};

/// Runs a text and expects that it was ended, and why.
fn check(text: &str, options: &[&str], why: &str) {
    let world = World::new();
    world.write("hostile.wat", text);
    let ended = world.run(&[&["run"], options, &["hostile.wat"]].concat());
    assert_eq!(ended.code, Some(134), "{}", ended.stderr);
    assert!(ended.stderr.contains(why), "{why}: {}", ended.stderr);
}

#[test]
fn an_endless_loop_ends_at_its_time() {
    check("(module (func (export \"_start\") (loop (br 0))))", &["--timeout", "100ms"], "--timeout");
}

#[test]
fn a_guest_that_only_waits_ends_at_its_time() {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start")
        (i64.store (i32.const 24) (i64.const 9223372036854775807))
        (drop (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)))))"#;
    check(text, &["--timeout", "100ms"], "--timeout");
}

#[test]
fn endless_recursion_ends_at_its_stack() {
    check("(module (func $f (export \"_start\") (call $f)))", &[], "stack overflowed");
}

#[test]
fn memory_ends_at_its_limit_from_the_beginning_on() {
    let grows =
        r#"(module (memory 1) (func (export "_start") (loop (drop (memory.grow (i32.const 16))) (br 0))))"#;
    check(grows, &["--max-memory", "2MiB"], "--max-memory");
    check(r#"(module (memory 64) (func (export "_start")))"#, &["--max-memory", "2MiB"], "--max-memory");
}

#[test]
fn tables_end_at_their_limit() {
    let bomb = r#"(module (table $t 1 funcref)
      (func (export "_start") (loop (drop (table.grow $t (ref.null func) (i32.const 4096))) (br 0))))"#;
    check(bomb, &[], "more elements of tables");
    let two = r#"(module (table 15000 funcref) (table 15000 funcref) (func (export "_start")))"#;
    check(two, &[], "more elements of tables");
}

#[test]
fn a_host_function_takes_no_more_than_it_can_hold() {
    let world = World::new();
    // A thousand buffers of all memory: a write of 64 MiB, of which the first mebibyte is taken.
    let text = r#"(module
      (import "wasi_snapshot_preview1" "path_open"
        (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "big")
      (func (export "written") (result i32) (local $at i32)
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 3) (i32.const 1) (i64.const 64)
          (i64.const 0) (i32.const 0) (i32.const 16)))
        (local.set $at (i32.const 1024))
        (loop
          (i32.store (i32.add (local.get $at) (i32.const 4)) (i32.const 65536))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (br_if 0 (i32.lt_u (local.get $at) (i32.const 9216))))
        (drop (call $write (i32.load (i32.const 16)) (i32.const 1024) (i32.const 1024) (i32.const 32)))
        (i32.load (i32.const 32))))"#;
    world.write("hostile.wat", text);
    world.write("data/x", "");
    let ended = world.run(&["run", "--dir", "data", "--invoke", "written", "hostile.wat"]);
    assert_eq!(ended.stdout, "1048576\n", "{}", ended.stderr);
}

#[test]
fn what_cannot_be_run_is_refused_before_it_runs() {
    let world = World::new();
    for (name, content, why) in [
        ("cut.wasm", &b"\0asm\x01\0\0\0\x01\xff"[..], "unexpected end"),
        ("unknown.wat", b"(module (import \"env\" \"launch\" (func)))", "env::launch"),
        ("wrong.wat", b"(module (import \"wasi_snapshot_preview1\" \"fd_close\" (func)))", "fd_close"),
        ("memory64.wat", b"(module (memory i64 1))", "memory64"),
        ("threads.wat", b"(module (memory 1 1 shared))", "threads"),
        ("memories.wat", b"(module (memory 1) (memory 1))", "memories"),
        ("gc.wat", b"(module (type (struct (field i32))))", "gc"),
        ("references.wat", b"(module (type $f (func)) (func (param (ref $f))))", "function"),
        ("exceptions.wat", b"(module (tag))", "exceptions"),
        (
            "relaxed.wat",
            b"(module (func (param v128 v128 v128) (result v128)
                (f32x4.relaxed_madd (local.get 0) (local.get 1) (local.get 2))))",
            "relaxed",
        ),
        (
            "async.wat",
            b"(component (core module $m (func (export \"f\"))) (core instance $i (instantiate $m))
            (func (export \"f\") async (canon lift (core func $i \"f\") async)))",
            "async",
        ),
        ("empty.wasm", b"", "expected"),
    ] {
        world.write(name, content);
        let ended = world.run(&["run", name]);
        assert_eq!(ended.code, Some(3), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(why), "{name}: {}", ended.stderr);
    }
}

/// The pool reserves terabytes of addresses, of which an account may have less.
#[test]
fn without_room_for_the_pool_instances_are_allocated_on_demand_and_the_log_says_so() {
    let world = World::new();
    let text = r#"(module (memory 1) (func (export "answer") (result i32) (i32.const 42)))"#;
    world.write("answer.wat", text);
    let program = env!("CARGO_BIN_EXE_airssys");
    let script = format!("ulimit -v 8000000 && exec '{program}' run --invoke answer answer.wat");
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", &script]).current_dir(world.dir.path()).env_clear();
    command.env("HOME", world.path("home")).env("XDG_CACHE_HOME", world.path("cache"));
    let ended = world.ended(&command.output().unwrap());
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "42\n"), "{}", ended.stderr);
    assert!(ended.stderr.contains("instances are allocated on demand"), "{}", ended.stderr);
}

#[test]
fn a_flood_of_lines_is_cut_off_and_counted() {
    let world = World::new();
    let hostile = repository().join("airssys-wasm/tests/fixtures/hostile.wasm");
    world.write("a.wasm", fs::read(hostile).unwrap());
    // It logs 50,000 lines when it starts, and others write as many as they may.
    let component = "source = \"a.wasm\"\nconfig = { init = \"log\" }\nlimits = { deadline = \"1h\" }\n";
    world.write("airssys.toml", format!("[system]\nname = \"s\"\n[component.a]\n{component}"));
    let ended = world.run(&["run", ".", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines = ended.stderr.lines().filter(|line| line.contains("line ")).count();
    // However slow the machine: what is logged a second is far less than what it does in one.
    assert!((1_000..50_000).contains(&lines), "{lines}");
    assert!(ended.stderr.contains("more than 200 lines a second"), "{}", ended.stderr);
}
