//! `plug` in the manifest: components of several, checked, run and upgraded by the program.

use std::fs;

use crate::program::{World, repository};

const MANIFEST: &str =
    "[system]\nname = \"s\"\n[component.a]\nsource = \"editor.wasm\"\nplug = [\"words.wasm\"]\n";

fn world() -> World {
    let world = World::new();
    world.write("airssys.toml", MANIFEST);
    for name in ["editor.wasm", "words.wasm", "ledger.wasm"] {
        fs::copy(repository().join("airssys-wasm/tests/fixtures").join(name), world.path(name)).unwrap();
    }
    world
}

#[test]
fn a_component_with_a_plug_runs_and_is_upgraded_with_it() {
    let world = world();
    let mut running = world.start(&["run", "."]);
    running.events.wait_for("ready");

    let mut two = fs::read(world.path("editor.wasm")).unwrap();
    let mark = b"editor-version:";
    let at = two.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
    two[at..at + 3].copy_from_slice(b"two");
    world.write("two.wasm", two);
    let (code, told) = world.run_json(&["upgrade", "a", "two.wasm"]);
    assert_eq!(code, Some(0), "{told:#?}");
    assert_eq!(running.events.wait_for("upgrade")["to"], told[0]["to"]);

    let refused = world.run(&["upgrade", "a", "ledger.wasm"]);
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("`words.wasm` fits nowhere"), "{}", refused.stderr);

    running.signal("TERM");
    assert_eq!(running.end().0, Some(0));
    // Hostile parts are put together where they are compiled, and each such process is on record.
    let (_, compilers) = world.run_json(&["audit", "query", ".", "--principal", "compiler"]);
    assert!(compilers.len() >= 3, "{compilers:#?}");
}

#[test]
fn what_does_not_fit_is_told_by_check() {
    let world = world();
    let refuse = |plug: &str, expected: &str| {
        world.write("airssys.toml", MANIFEST.replace("\"words.wasm\"", plug));
        let refused = world.run(&["check", "."]);
        assert_eq!(refused.code, Some(3), "{plug}: {}", refused.stderr);
        assert!(refused.stderr.contains(expected), "{plug}: {}", refused.stderr);
    };
    refuse("\"airssys.toml\"", "`airssys.toml` is no component");
    refuse(
        "\"ledger.wasm\"",
        "`editor.wasm` imports `airssys-test:words/count@0.1.0`, which is exported by nothing",
    );
    refuse("\"words.wasm\", \"words.wasm\"", "`words.wasm` fits nowhere");
    refuse("\"nothing.wasm\"", "nothing.wasm");
    refuse("{ source = \"words.wasm\", digest = \"sha256:00\" }", "64 hexadecimal digits");
    let other = format!("{{ source = \"words.wasm\", digest = \"sha256:{}\" }}", "0".repeat(64));
    refuse(&other, "its digest is sha256:");
}
