//! `airssys new`: what it makes, what it refuses, and that what it makes can be built and run.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::program::{World, patient};

/// What the text that comes with each project has.
const COUNTS: &str = "2 lines, 7 words, 38 bytes";

fn sdk() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../airssys-guest").to_str().unwrap().to_owned()
}

#[test]
fn nothing_is_overwritten() {
    let world = World::new();
    let ended = world.run(&["new", "word-count", "--lang", "c"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("word-count/main.c"), "{}", ended.stdout);
    world.write("word-count/main.c", "mine");
    let again = world.run(&["new", "word-count", "--lang", "c"]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("nothing is overwritten"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(world.path("word-count/main.c")).unwrap(), "mine");
    world.write("file", "");
    assert_eq!(world.run(&["new", "file", "--lang", "c"]).code, Some(1), "neither is a file");
}

#[test]
fn a_wrong_name_or_language_is_told() {
    let world = World::new();
    for name in ["../up", "Upper", "a b", "-x"] {
        let ended = world.run(&["new", "--lang", "c", "--", name]);
        assert_eq!(ended.code, Some(2), "{name}");
        assert!(ended.stderr.contains("a name is 1 to 48"), "{name}: {}", ended.stderr);
    }
    assert_eq!(world.run(&["new", "a", "--lang", "cobol"]).code, Some(2));
    let ended = world.run(&["new", "a", "--lang", "rust"]);
    assert_eq!(ended.code, Some(3));
    assert!(ended.stderr.contains("--sdk PATH"), "{}", ended.stderr);
    let ended = world.run(&["new", "a", "--lang", "rust", "--sdk", "nowhere"]);
    assert!(ended.stderr.contains("`nowhere` is no SDK"), "{}", ended.stderr);
    assert!(!world.path("a").exists(), "what is refused leaves nothing behind");
}

#[test]
fn an_actor_in_rust_passes_its_own_test() {
    let world = World::new();
    let ended = world.run(&["new", "word-count", "--lang", "rust", "--sdk", &sdk()]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let folder = world.path("word-count");
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--offline", "--quiet"]).current_dir(&folder);
    // What cargo told this test about its own build must not leak into that one.
    cargo.env("CARGO_TARGET_DIR", folder.join("target")).env_remove("RUSTFLAGS");
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 passed"), "{told}");
    // All that its manifest lacks is the component.
    let ended = world.run(&["check", "word-count"]);
    assert_eq!(ended.code, Some(3));
    assert_eq!(ended.stderr.matches("error: ").count(), 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("word_count.wasm"), "{}", ended.stderr);
}

#[test]
fn a_program_in_c_is_built_and_run() {
    let Some(clang) = ["clang", "clang-19"].into_iter().find(|clang| compiles(clang)) else {
        eprintln!(
            "SKIPPED: no clang with wasi-libc is installed; the project's README.md says which packages have it"
        );
        return;
    };
    let world = World::new();
    assert_eq!(world.run(&["new", "word-count", "--lang", "c"]).code, Some(0));
    let folder = world.path("word-count");
    let mut build = Command::new(clang);
    build.args(["--target=wasm32-wasi", "-Os", "main.c", "-o", "word-count.wasm"]).current_dir(&folder);
    assert!(build.status().unwrap().success());
    let input = fs::File::open(folder.join("in/text.txt")).unwrap();
    let run = world.command(&["run", "word-count/word-count.wasm"]).stdin(input).output().unwrap();
    assert_eq!(String::from_utf8(run.stdout).unwrap().trim_end(), COUNTS);
}

#[test]
fn an_actor_in_javascript_counts_the_same() {
    let Some(node) = language("js", "node_modules") else { return };
    if !Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no npm to build with");
        return;
    }
    let world = World::new();
    assert_eq!(world.run(&["new", "word-count", "--lang", "js"]).code, Some(0));
    std::os::unix::fs::symlink(node, world.path("word-count/node_modules")).unwrap();
    let mut build = Command::new("npm");
    // It does not look for a newer one of itself.
    built_it_counts(&world, build.args(["run", "build"]).env("npm_config_update_notifier", "false"));
}

#[test]
fn an_actor_in_python_counts_the_same() {
    let Some(python) = language("python", "bin/componentize-py") else { return };
    let world = World::new();
    assert_eq!(world.run(&["new", "word-count", "--lang", "python"]).code, Some(0));
    let mut build = Command::new(python);
    build.args(["-d", "wit", "-w", "component", "componentize", "app", "-o", "word_count.wasm"]);
    built_it_counts(&world, &mut build);
}

/// What `cargo xtask languages` installed, to the end: it says so in a file beside it.
fn language(name: &str, path: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../languages").join(name);
    let found = folder.join(path).canonicalize().ok().filter(|_| folder.join("installed").exists());
    if found.is_none() {
        eprintln!(
            "SKIPPED: nothing was built from `{name}/{path}`: `cargo xtask languages` did not install it"
        );
    }
    found
}

/// Builds the project, and has it count what comes with it.
fn built_it_counts(world: &World, build: &mut Command) {
    let folder = world.path("word-count");
    let output = build.current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // The program under test is a debug build: its compiler takes many times as long.
    let manifest = fs::read_to_string(folder.join("airssys.toml")).unwrap();
    world.write("word-count/airssys.toml", patient(&manifest));
    let ended = world.run(&["run", "word-count", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(COUNTS), "{}", ended.stderr);
}

/// Whether a compiler can make a program for WASI here.
fn compiles(clang: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.c"), "#include <stdio.h>\nint main(void) { return puts(\"\"); }\n").unwrap();
    let mut compile = Command::new(clang);
    compile.args(["--target=wasm32-wasi", "a.c", "-o", "a.wasm"]).current_dir(dir.path());
    compile.output().is_ok_and(|output| output.status.success())
}
