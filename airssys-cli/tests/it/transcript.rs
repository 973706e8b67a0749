//! What the program says about itself.

use insta::assert_snapshot;

use crate::program::World;

#[test]
fn help() {
    assert_snapshot!(World::new().run(&["--help"]).stdout);
}

#[test]
fn help_of_run() {
    assert_snapshot!(World::new().run(&["run", "--help"]).stdout);
}

#[test]
fn help_of_audit_query() {
    assert_snapshot!(World::new().run(&["audit", "query", "--help"]).stdout);
}

#[test]
fn help_of_dead() {
    let world = World::new();
    let help = ["list", "show", "retry"].map(|verb| world.run(&["dead", verb, "--help"]).stdout);
    assert_snapshot!(format!("{}\n{}", world.run(&["dead", "--help"]).stdout, help.join("\n")));
}

#[test]
fn a_wrong_word_is_answered_with_the_right_one() {
    let ended = World::new().run(&["rnu"]);
    assert_eq!(ended.code, Some(2));
    assert_snapshot!(ended.stderr);
}

#[test]
fn check_shows_the_tree() {
    let world = World::with_example("logwatch");
    let ended = world.run(&["check", "logwatch"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_snapshot!(ended.stderr);
}

#[test]
fn inspect_shows_what_a_component_is() {
    let world = World::with_example("logwatch");
    let ended = world.run(&["inspect", "logwatch/components/stats.wasm"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // Its size and digest change with its sources.
    let stable: Vec<_> = ended.stdout.lines().filter(|line| !line.contains("sha256:")).collect();
    assert_snapshot!(stable.join("\n"));
}

#[test]
fn inspect_takes_modules_and_text() {
    let world = World::new();
    let check = |text: &str, kind: &str| {
        world.write("tool.wat", text);
        let ended = world.run(&["inspect", "tool.wat"]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        assert!(ended.stdout.contains(kind), "{}", ended.stdout);
        ended.stdout
    };
    let module = r#"(module
        (import "wasi_snapshot_preview1" "sched_yield" (func (result i32)))
        (func (export "NAME")))"#;
    let started =
        check(&module.replace("NAME", "_start"), "a core module with a start: `airssys run` runs it");
    let lists = "  exports\n    _start\n  imports\n    wasi_snapshot_preview1::sched_yield\n";
    assert!(started.ends_with(lists), "{started}");
    check(&module.replace("NAME", "add"), "a core module without a start");
    check(&module.replace("NAME", r"\1b[2J"), r"\u{1b}[2J");
    check("(component)", "neither an actor nor a WASI command");
}

#[test]
fn a_log_that_is_not_there_is_told() {
    let world = World::with_example("logwatch");
    let ended = world.run(&["audit", "verify", "logwatch"]);
    assert_eq!(ended.code, Some(1));
    assert_snapshot!(ended.stderr);
}
