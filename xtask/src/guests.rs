//! `cargo xtask guests [--check | NAME …]`: builds the components below `guests/` and puts them where they are committed.
//!
//! The same sources give the same bytes, wherever the checkout is, as long as the compiler is [`REFERENCE`]. That is
//! what `--check` relies on: it builds, and compares with what is committed.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it runs compilers and writes what they made"
)]

use std::{
    env, error, fs,
    path::{Path, PathBuf},
    process::Command,
};

use wit_component::ComponentEncoder;

use crate::place;

type Failure = Box<dyn error::Error>;

/// The compiler whose output is committed: Debian's, which comes with the sources of the standard library.
const REFERENCE: &str = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)";

/// The packages of Debian that it comes with, and what it needs beside it.
pub(crate) const REFERENCE_PACKAGES: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

const TARGET: &str = "wasm32-unknown-unknown";

/// Each component and the folder that it is committed in.
const COMPONENTS: &[(&str, &str)] = &[
    ("reader", "examples/logwatch/components"),
    ("parser", "examples/logwatch/components"),
    ("stats", "examples/logwatch/components"),
    ("report", "examples/logwatch/components"),
    ("rogue", "examples/logwatch/components"),
    ("caller", "airssys-cli/tests/fixtures"),
    ("hello", "airssys-cli/tests/fixtures"),
    ("courier", "airssys-wasm/tests/fixtures"),
    ("porter", "airssys-wasm/tests/fixtures"),
    ("newer", "airssys-cli/tests/fixtures"),
    ("blobs", "airssys-wasm/tests/fixtures"),
    ("editor", "airssys-wasm/tests/fixtures"),
    ("hostile", "airssys-wasm/tests/fixtures"),
    ("keyvalue", "airssys-wasm/tests/fixtures"),
    ("ledger", "airssys-wasm/tests/fixtures"),
    ("sockets", "airssys-wasm/tests/fixtures"),
    ("talker", "airssys-wasm/tests/fixtures"),
    ("web", "airssys-wasm/tests/fixtures"),
    ("words", "airssys-wasm/tests/fixtures"),
    ("pace", "bench/wasm/fixtures"),
    ("greet", "bench/wasm/fixtures"),
];

/// Those whose dependencies have features that the others' must not get, and those with the same: features are one for all
/// that is built at once, and the bytes of the others depend on them.
const APART: &[&[&str]] = &[&["courier", "newer"], &["porter"]];

/// Builds every component, or those that are named. With `check` it changes nothing, and fails where one is not what is
/// committed.
pub(crate) fn build(check: bool, names: &[&str]) -> Result<(), Failure> {
    if let Some(unknown) = names.iter().find(|name| !COMPONENTS.iter().any(|(known, _)| known == *name)) {
        return Err(format!("no component is called `{unknown}`").into());
    }
    let root = place::root()?;
    let toolchain = Toolchain::find().ok_or_else(no_toolchain)?;
    if check && !toolchain.is_reference() {
        return Err(
            format!("only {REFERENCE} gives the committed bytes, and this is {}", toolchain.version).into()
        );
    }
    let is_wanted = |name: &&str| names.is_empty() || names.contains(name);
    let wanted = || COMPONENTS.iter().map(|(name, _)| *name).filter(is_wanted);
    let together: Vec<_> = wanted().filter(|name| !APART.iter().any(|group| group.contains(name))).collect();
    let apart = APART.iter().map(|group| wanted().filter(|name| group.contains(name)).collect::<Vec<_>>());
    for group in std::iter::once(together).chain(apart).filter(|group| !group.is_empty()) {
        toolchain.compile(&root, &group)?;
    }
    let modules = modules(&root);
    let mut differing = Vec::new();
    for (name, folder) in COMPONENTS.iter().filter(|(name, _)| is_wanted(name)) {
        let component = component(&fs::read(modules.join(name).with_extension("wasm"))?)
            .map_err(|error| format!("{name} is not a component: {error:#}"))?;
        let path = root.join(folder).join(name).with_extension("wasm");
        let is_same = fs::read(&path).is_ok_and(|committed| committed == component);
        println!("{name:8} {:7} bytes{}", component.len(), if is_same { "" } else { ", changed" });
        if check && !is_same {
            differing.push(*name);
        } else if !is_same {
            fs::create_dir_all(root.join(folder))?;
            fs::write(&path, &component)?;
        }
    }
    if !toolchain.is_reference() {
        println!(
            "note: built by {}; the bytes that are to be committed are those of {REFERENCE}",
            toolchain.version
        );
    }
    if differing.is_empty() {
        return Ok(());
    }
    Err(format!("not what is committed: {}. Run `cargo xtask guests`", differing.join(", ")).into())
}

/// Where the modules are that were compiled.
fn modules(root: &Path) -> PathBuf {
    place::target(root).join("guests").join(TARGET).join("release")
}

/// Whether the compiler whose output is committed is installed.
pub(crate) fn has_reference() -> bool {
    Toolchain::debian().is_some_and(|toolchain| toolchain.is_reference())
}

/// What to install where no compiler was found.
fn no_toolchain() -> String {
    format!(
        "no compiler for {TARGET} was found. Install one of:
  apt-get install {}   (Debian; {REFERENCE} gives the committed bytes)
  rustup target add {TARGET}   (works as well, and gives other bytes)",
        REFERENCE_PACKAGES.join(" ")
    )
}

/// Makes a component of a module that carries the description of its world.
fn component(module: &[u8]) -> Result<Vec<u8>, Failure> {
    Ok(ComponentEncoder::default().module(module)?.validate(true).encode()?)
}

/// What compiles for the sandbox.
struct Toolchain {
    cargo: PathBuf,
    rustc: PathBuf,
    version: String,
    /// The linker, where the standard library has to be built first because none is installed for the target.
    linker_for_std: Option<&'static str>,
}

impl Toolchain {
    /// The reference where it is installed, else whatever rustup has.
    fn find() -> Option<Self> {
        Self::debian().or_else(Self::rustup)
    }

    fn debian() -> Option<Self> {
        let rustc = PathBuf::from("/usr/bin/rustc");
        let version = output(Command::new(&rustc).arg("--version"))?;
        let sources = sysroot(&rustc)?.join("lib/rustlib/src/rust/library/Cargo.lock");
        let linker = ["wasm-ld-19", "wasm-ld"]
            .into_iter()
            .find(|linker| output(Command::new(linker).arg("--version")).is_some())?;
        let cargo = PathBuf::from("/usr/bin/cargo");
        (sources.exists() && cargo.exists()).then_some(Self {
            cargo,
            rustc,
            version,
            linker_for_std: Some(linker),
        })
    }

    fn rustup() -> Option<Self> {
        let rustc = PathBuf::from("rustc");
        let version = output(Command::new(&rustc).arg("--version"))?;
        let library = sysroot(&rustc)?.join("lib/rustlib").join(TARGET).join("lib");
        library.exists().then_some(Self {
            cargo: PathBuf::from("cargo"),
            rustc,
            version,
            linker_for_std: None,
        })
    }

    fn is_reference(&self) -> bool {
        self.version == REFERENCE
    }

    /// Compiles the modules that are named.
    fn compile(&self, root: &Path, names: &[&str]) -> Result<(), Failure> {
        let target_dir = place::target(root).join("guests");
        let mut build = Command::new(&self.cargo);
        build
            .args(["build", "--release", "--locked", "--target", TARGET, "--manifest-path"])
            .arg(root.join("guests/Cargo.toml"))
            .args(names.iter().flat_map(|name| ["--package", *name]))
            .arg("--target-dir")
            .arg(&target_dir)
            .env("RUSTC", &self.rustc)
            .env("CARGO_ENCODED_RUSTFLAGS", self.remappings(root)?)
            // What cargo told this program about its own build must not leak into that of the guests.
            .env_remove("CARGO")
            .env_remove("RUSTUP_TOOLCHAIN")
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTFLAGS");
        if let Some(linker) = self.linker_for_std {
            build
                .args(["-Zbuild-std=std,panic_abort"])
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
        if !build.status()?.success() {
            return Err("the guests do not compile".into());
        }
        Ok(())
    }

    /// What keeps the folders of this machine out of the components: panics name the files that they come from.
    fn remappings(&self, root: &Path) -> Result<String, Failure> {
        let home = env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
        let sources =
            sysroot(&self.rustc).ok_or("the compiler does not say where it is")?.join("lib/rustlib/src/rust");
        let mut flags = vec![
            format!("--remap-path-prefix={}=/airssys", root.display()),
            format!("--remap-path-prefix={}=/rust", sources.display()),
        ];
        // The registry's folder carries the name of its index, which a mirror has another one for.
        for registry in fs::read_dir(home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/src"))?
        {
            flags.push(format!("--remap-path-prefix={}=/registry", registry?.path().display()));
        }
        Ok(flags.join("\u{1f}"))
    }
}

pub(crate) fn sysroot(rustc: &Path) -> Option<PathBuf> {
    output(Command::new(rustc).args(["--print", "sysroot"])).map(PathBuf::from)
}

/// The first line of what a program prints, where there is such a program and it succeeds.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()?.lines().next().map(str::to_owned)
}
