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

/// What is to be run in a project's folder to build it; nothing where what builds it is not here.
type Build = fn(&World) -> Option<Vec<Command>>;

#[test]
fn the_same_actor_counts_the_same_in_every_language() {
    let languages: [(&str, Build); 4] =
        [("rust", in_rust), ("c", in_c), ("js", in_javascript), ("python", in_python)];
    let mut counted = Vec::new();
    for (name, build) in languages {
        let world = World::new();
        let sdk = sdk();
        let more: &[&str] = if name == "rust" { &["--sdk", &sdk] } else { &[] };
        let made = world.run(&[&["new", "word-count", "--lang", name], more].concat());
        assert_eq!(made.code, Some(0), "{name}: {}", made.stderr);
        if let Some(commands) = build(&world)
            && commands.into_iter().all(|mut command| built(name, &world, &mut command))
        {
            counted.push((name, logged(name, &world)));
        }
    }
    let expected: Vec<_> = counted.iter().map(|(name, _)| (*name, COUNTS.to_owned())).collect();
    assert_eq!(counted, expected);
}

/// As the project's README.md says where rustup has the target, else with Debian's compiler and the standard library's source.
fn in_rust(world: &World) -> Option<Vec<Command>> {
    let has = |path: &str| Path::new(path).exists();
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8_lossy(&rustc.stdout).trim().to_owned();
    if has(&format!("{sysroot}/lib/rustlib/wasm32-wasip2/lib")) {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["build", "--release", "--offline", "--target", "wasm32-wasip2"])
            .env("CARGO_TARGET_DIR", "target");
        return Some(vec![cargo]);
    }
    let library = "/usr/lib/rustlib/src/rust/library/Cargo.lock";
    if !(has(library) && has("/usr/bin/wasm-ld-19") && has("/usr/bin/cargo")) {
        eprintln!(
            "SKIPPED: neither rustup's target wasm32-wasip2 is here nor Debian's rustc-web, rust-web-src and lld-19"
        );
        return None;
    }
    language("rust", "installed")?;
    let tools = language("c", "bin/wasm-tools")?;
    // What is built here serves the next run: the standard library takes minutes.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../languages/rust");
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo
        .args(["build", "--release", "--offline", "--target", "wasm32-unknown-unknown"])
        .args(["-Zbuild-std=std,panic_abort", "--target-dir"])
        .arg(&target)
        .env("RUSTC", "/usr/bin/rustc")
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", "wasm-ld-19");
    for leaked in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(leaked);
    }
    let mut component = Command::new(tools);
    component.args(["component", "new"]).arg(target.join("wasm32-unknown-unknown/release/word_count.wasm"));
    component.args(["-o", "target/wasm32-wasip2/release/word_count.wasm"]);
    world.write("word-count/target/wasm32-wasip2/release/word_count.wasm", "");
    Some(vec![cargo, component])
}

fn in_c(_: &World) -> Option<Vec<Command>> {
    let Some(clang) = ["clang", "clang-19"].into_iter().find(|clang| compiles(clang)) else {
        eprintln!(
            "SKIPPED: no clang for wasm32 is installed; the project's README.md says which packages have it"
        );
        return None;
    };
    let tools = language("c", "bin/wasm-tools")?;
    let mut compile = Command::new(clang);
    compile.args([
        "--target=wasm32",
        "-Os",
        "-mbulk-memory",
        "-nostdlib",
        "-Wall",
        "-Werror",
        "-Wl,--no-entry",
    ]);
    compile.args(["-Wl,--strip-all", "main.c", "-o", "core.wasm"]);
    let mut embed = Command::new(&tools);
    embed.args(["component", "embed", "--world", "component", "wit", "core.wasm", "-o", "core.wasm"]);
    let mut component = Command::new(&tools);
    component.args(["component", "new", "core.wasm", "-o", "word_count.wasm"]);
    Some(vec![compile, embed, component])
}

fn in_javascript(world: &World) -> Option<Vec<Command>> {
    let node = language("js", "node_modules")?;
    if !Command::new("npm").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: there is no npm to build with");
        return None;
    }
    std::os::unix::fs::symlink(node, world.path("word-count/node_modules")).unwrap();
    let mut build = Command::new("npm");
    // It does not look for a newer one of itself.
    build.args(["run", "build"]).env("npm_config_update_notifier", "false");
    Some(vec![build])
}

fn in_python(_: &World) -> Option<Vec<Command>> {
    let mut build = Command::new(language("python", "bin/componentize-py")?);
    build.args(["-d", "wit", "-w", "component", "componentize", "app", "-o", "word_count.wasm"]);
    Some(vec![build])
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

/// Does one step; false where it needs crates that nobody has downloaded.
fn built(name: &str, world: &World, build: &mut Command) -> bool {
    let output = build.current_dir(world.path("word-count")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let lacks_crates = !output.status.success() && said.contains("--offline was specified");
    if lacks_crates {
        eprintln!("SKIPPED: {name}: its crates are not here, and could not be downloaded: {said}");
        return false;
    }
    assert!(output.status.success(), "{name}: {said}");
    true
}

/// Has the project count the text that comes with it, and gives what it logs.
fn logged(name: &str, world: &World) -> String {
    // The program under test is a debug build: its compiler takes many times as long.
    let manifest = fs::read_to_string(world.path("word-count/airssys.toml")).unwrap();
    world.write("word-count/airssys.toml", patient(&manifest));
    let ended = world.run(&["run", "word-count", "--until-idle"]);
    assert_eq!(ended.code, Some(0), "{name}: {}", ended.stderr);
    let line = ended.stderr.lines().find_map(|line| line.split_once("INFO ")).unwrap_or_default().1;
    line.split(" component=").next().unwrap_or_default().to_owned()
}

/// Whether a compiler can make a module for the sandbox here.
fn compiles(clang: &str) -> bool {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.c"), "void f(void) {}\n").unwrap();
    let mut compile = Command::new(clang);
    compile
        .args(["--target=wasm32", "-nostdlib", "-Wl,--no-entry", "a.c", "-o", "a.wasm"])
        .current_dir(dir.path());
    compile.output().is_ok_and(|output| output.status.success())
}
