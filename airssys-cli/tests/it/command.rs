//! `airssys run FILE.wasm`: a program, and what the command line gives it.

use std::{fs, io::Write as _, process::Stdio};

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

/// A module that exits with 13, adds, traps and spins.
const MODULE: &str = r#"(module
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const 13)))
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "trap") unreachable)
  (func (export "grow") (drop (memory.grow (i32.const 64))))
  (func (export "spin") (loop (br 0))))"#;

fn with_module() -> World {
    let world = World::new();
    world.write("module.wat", MODULE);
    world
}

#[test]
fn the_status_of_a_module_passes_through() {
    assert_eq!(with_module().run(&["run", "module.wat"]).code, Some(13));
}

#[test]
fn a_function_is_called_by_its_name() {
    let world = with_module();
    let ended = world.run(&["run", "--invoke", "add", "module.wat", "1", "-5"]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "-4\n"));
    let ended = world.run(&["run", "--invoke", "add", "module.wat", "1"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("takes 2 values, and 1 are given"), "{}", ended.stderr);
    let ended = world.run(&["run", "--invoke", "nothing", "module.wat"]);
    assert!(ended.stderr.contains("exports no function `nothing`"), "{}", ended.stderr);
}

#[test]
fn a_function_of_a_component_is_called_with_its_values() {
    let world = World::new();
    let component = r#"(component
      (core module $m (func (export "f") (param i32) (result i32) (i32.mul (local.get 0) (i32.const 3))))
      (core instance $i (instantiate $m))
      (func (export "thrice") (param "n" u32) (result u32) (canon lift (core func $i "f"))))"#;
    world.write("component.wat", component);
    let ended = world.run(&["run", "--invoke", "thrice(14)", "component.wat"]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "42\n"), "{}", ended.stderr);
    let ended = world.run(&["run", "--invoke", "thrice(-1)", "component.wat"]);
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
}

#[test]
fn what_is_ended_has_a_status_of_its_own() {
    let world = with_module();
    for (options, why) in [
        (&["--invoke", "trap"][..], "panicked or aborted"),
        (&["--invoke", "grow", "--max-memory", "1MiB"], "--max-memory"),
        (&["--invoke", "spin", "--timeout", "200ms"], "--timeout"),
        (&["--invoke", "spin", "-W", "timeout=200ms"], "--timeout"),
    ] {
        let ended = world.run(&[&["run"], options, &["module.wat"]].concat());
        assert_eq!(ended.code, Some(134), "{options:?}");
        assert!(ended.stderr.contains(why), "{options:?}: {}", ended.stderr);
    }
}

#[test]
fn an_unknown_setting_is_told() {
    let ended = with_module().run(&["run", "-S", "threads", "module.wat"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("`-S threads`: there is no such setting here"), "{}", ended.stderr);
}

#[test]
fn directories_and_variables_are_given() {
    let world = World::new();
    world.write("data/secret.txt", "");
    let hello = fixture("hello.wasm");
    let arguments =
        ["run", "--dir", "data::/d", "--dir", "data", "--env", "A=b", "--env", "HOME", &hello, "--flag"];
    let ended = world.run(&arguments);
    assert!(ended.stdout.contains("arguments: --flag\nvariables: 2\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("/d/secret.txt opened"), "{}", ended.stdout);
    assert!(ended.stdout.contains("data/secret.txt opened"), "{}", ended.stdout);
    let ended = world.run(&["run", "--dir", "missing", &hello]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("missing"), "{}", ended.stderr);
}

#[test]
fn options_of_a_program_are_not_for_a_system() {
    let world = World::with_example("logwatch");
    for option in [["--dir", "."], ["--max-memory", "1GiB"]] {
        let ended = world.run(&[&["run", "logwatch"], &option[..]].concat());
        assert_eq!(ended.code, Some(3), "{option:?}");
        assert!(ended.stderr.contains("for a program without a manifest"), "{}", ended.stderr);
    }
}

#[test]
fn components_within_one_component_call_each_other() {
    let world = World::new();
    let text = r#"(component
      (component $inner
        (core module $m
          (memory (export "memory") 1)
          (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
          (func (export "len") (param i32 i32) (result i32) (local.get 1)))
        (core instance $i (instantiate $m))
        (func (export "len") (param "text" string) (result u32)
          (canon lift (core func $i "len") (memory $i "memory") (realloc (func $i "realloc")))))
      (component $outer
        (import "len" (func $len (param "text" string) (result u32)))
        (core module $memory (memory (export "memory") 1))
        (core instance $memory (instantiate $memory))
        (core func $len (canon lower (func $len) (memory $memory "memory")))
        (core module $m
          (import "inner" "len" (func $len (param i32 i32) (result i32)))
          (func (export "run") (result i32) (call $len (i32.const 0) (i32.const 5))))
        (core instance $i (instantiate $m (with "inner" (instance (export "len" (func $len))))))
        (func (export "run") (result u32) (canon lift (core func $i "run"))))
      (instance $a (instantiate $inner))
      (instance $b (instantiate $outer (with "len" (func $a "len"))))
      (export "run" (func $b "run")))"#;
    world.write("composed.wat", text);
    let ended = world.run(&["run", "--invoke", "run()", "composed.wat"]);
    assert_eq!(ended.stdout, "5\n", "{}", ended.stderr);
}

#[test]
fn a_module_is_found_whatever_its_name_is_and_wherever_that_leads() {
    let world = with_module();
    fs::create_dir_all(world.path("links/deep")).unwrap();
    fs::copy(world.path("module.wat"), world.path("tool")).unwrap();
    fs::copy(world.path("module.wat"), world.path("-an odd ü.wat")).unwrap();
    std::os::unix::fs::symlink("../module.wat", world.path("links/linked.wat")).unwrap();
    for module in ["tool", "./module.wat", "links/../module.wat", "links/linked.wat", "links/deep/../../tool"]
    {
        let ended = world.run(&["run", module]);
        assert_eq!(ended.code, Some(13), "{module}: {}", ended.stderr);
    }
    let ended = world.run(&["run", "--", "-an odd ü.wat"]);
    assert_eq!(ended.code, Some(13), "{}", ended.stderr);
    let mut from_below = world.command(&["run", "--dir", "..::/", "../module.wat"]);
    from_below.current_dir(world.path("links"));
    assert_eq!(from_below.output().unwrap().status.code(), Some(13));
}

#[test]
fn what_adapters_of_test_suites_pass_is_taken() {
    let world = with_module();
    // As wasi-testsuite's adapter for Wasmtime does for each version of WASI.
    for options in [
        &["--env", "A=b", "--dir", ".::/"][..],
        &["-Wcomponent-model-async", "-Sp3,http,inherit-network"],
        &["--wasm", "component-model=y,simd", "--wasi=cli,tcp,udp"],
    ] {
        let ended = world.run(&[&["run"], options, &["module.wat", "--version", "-x"]].concat());
        // What stands behind the module is its own: no version is told.
        assert_eq!(ended.code, Some(13), "{options:?}: {}", ended.stderr);
    }
    for version in ["--version", "-V"] {
        let said = world.run(&[version]).stdout;
        assert_eq!(said.split(' ').nth(1).map(str::trim), Some(env!("CARGO_PKG_VERSION")), "{said}");
    }
}

#[test]
fn what_is_not_there_of_wasi_0_3_is_refused_by_its_name() {
    let world = World::new();
    let refuse = |component: &str, name: &str| {
        world.write("new.wat", component);
        let ended = world.run(&["run", "-S", "p3", "new.wat"]);
        assert_eq!(ended.code, Some(3));
        let said = format!("it names `{name}`: of WASI 0.3,");
        assert!(ended.stderr.contains(&said), "{}", ended.stderr);
    };
    // Drafts of it are others.
    for name in ["wasi:keyvalue/store@0.3.0", "wasi:cli/environment@0.3.0-rc-2026-01-06"] {
        let exit = r#"(import "wasi:cli/exit@0.3.0" (instance (export "exit-with-code" (func (param "status-code" u8)))))"#;
        for function in ["(export \"x\" (func))", "(export \"x\" (func async))"] {
            refuse(&format!("(component {exit} (import \"{name}\" (instance {function})))"), name);
        }
    }
    let export = |name: &str| {
        format!(
            r#"(component
              (core module $m (func (export "f")))
              (core instance $i (instantiate $m))
              (func $f (canon lift (core func $i "f")))
              (instance $x (export "run" (func $f)))
              (export "{name}" (instance $x)))"#
        )
    };
    for name in ["wasi:keyvalue/store@0.3.0", "wasi:http/handler@0.3.0-rc-2026-01-06"] {
        refuse(&export(name), name);
    }
    for name in ["wasi:cli/run@0.2.6", "wasi:cli/run@0.3.0"] {
        world.write("other.wat", export(name));
        let ended = world.run(&["run", "other.wat"]);
        // It is called, and answers with what `run` does not.
        assert!(ended.stderr.contains(&format!("`{name}` has no `run`")), "{}", ended.stderr);
    }
}

#[test]
fn what_is_not_there_is_refused_by_its_name() {
    let world = World::new();
    let name = "wasi:messaging/producer@0.2.0-draft";
    let function = r#"(export "is-there" (func (param "name" string) (result bool)))"#;
    world.write("sender.wat", format!("(component (import \"{name}\" (instance {function})))"));
    let ended = world.run(&["run", "sender.wat"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains(name), "{}", ended.stderr);
}
