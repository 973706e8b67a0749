//! `cargo xtask cross [TARGET…]`: whether the workspace compiles for the systems that are not Linux.
//!
//! A compiler for them is rustup's, where a target is installed there, else Debian's: that one comes with the sources of the
//! standard library, which are compiled first. What is built lies in a folder of its own. Nothing is linked for macOS, as
//! there is nothing to link it with. For Windows the tests of the door's own code are built too, and run under wine.

#![expect(
    clippy::disallowed_methods,
    reason = "a tool of the project: it runs apt-get and cargo, and writes headers"
)]

mod wine;

use std::{
    error::Error,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    debian,
    guests::{REFERENCE_PACKAGES, output, sysroot},
    place,
    test::{step, succeed},
};

/// What is compiled: all that users get.
const PACKAGES: [&str; 5] = ["airssys-osl", "airssys-rt", "airssys-guest", "airssys-wasm", "airssys-cli"];

/// How what we depend on is compiled where it is only checked.
const UNOPTIMISED: &str = r#"profile.dev.package."*".opt-level=0"#;

/// The tests that run for Windows: of what is its own. Some of the others are written for paths of Linux.
const TESTS: [&str; 3] = ["sys::windows::", "sys::log_file::", "net::elsewhere::"];

const USAGE: &str = "usage: cargo xtask cross [x86_64-pc-windows-gnu] [aarch64-apple-darwin]";

/// A system to compile for, with what compiles the C and the assembly in what we depend on.
struct System {
    target: &'static str,
    /// The names that the C compiler may have, and what it is told.
    compilers: &'static [&'static str],
    flags: &'static str,
    archivers: &'static [&'static str],
    package: &'static str,
    /// Whether wine runs what is built for it.
    wine: bool,
}

const SYSTEMS: [System; 2] = [
    System {
        target: "x86_64-pc-windows-gnu",
        compilers: &["x86_64-w64-mingw32-gcc"],
        flags: "",
        archivers: &["x86_64-w64-mingw32-ar"],
        package: "gcc-mingw-w64-x86-64",
        wine: true,
    },
    System {
        target: "aarch64-apple-darwin",
        compilers: &["clang", "clang-19", "clang-14"],
        flags: "--target=arm64-apple-macosx11 -ffreestanding -nostdlibinc",
        archivers: &["llvm-ar", "llvm-ar-19", "llvm-ar-14"],
        package: "clang",
        wine: false,
    },
];

/// What stands in for the headers of macOS, of which there are none here: as much as the C in what we depend on asks for.
/// It is compiled, and never linked.
const HEADERS: [(&str, &str); 4] = [
    (
        "TargetConditionals.h",
        "#define TARGET_OS_MAC 1\n#define TARGET_OS_OSX 1\n#define TARGET_OS_IPHONE 0\n",
    ),
    ("assert.h", "#define assert(x) ((void)0)\n#define static_assert _Static_assert\n"),
    ("stdlib.h", "#include <stddef.h>\n"),
    (
        "string.h",
        "#include <stddef.h>\nvoid *memcpy(void *, const void *, size_t);\nvoid *memmove(void *, const void *, size_t);\n\
         void *memset(void *, int, size_t);\nint memcmp(const void *, const void *, size_t);\n",
    ),
];

/// Checks all systems, or those that are named, and says loudly which could not be.
pub(crate) fn run(args: &[&str]) -> Result<(), Box<dyn Error>> {
    if args.iter().any(|arg| SYSTEMS.iter().all(|system| system.target != *arg)) {
        return Err(USAGE.into());
    }
    for system in SYSTEMS.iter().filter(|system| args.is_empty() || args.contains(&system.target)) {
        step(system.target, || system.check())?;
    }
    Ok(())
}

impl System {
    fn check(&self) -> Result<(), Box<dyn Error>> {
        let Some(compiler) = self.compiler() else {
            return self.skipped(
                "there is no Rust for it (rustup target add, or Debian's rustc-web with its sources)",
            );
        };
        let Some((c, ar)) = self.c_compiler() else {
            return self.skipped(&format!("there is no C compiler for it (Debian: {})", self.package));
        };
        let root = place::root()?;
        let target_dir = place::target(&root).join("cross");
        let mut flags = self.flags.to_owned();
        if self.target.ends_with("-darwin") {
            let headers = target_dir.join("headers");
            fs::create_dir_all(&headers)?;
            HEADERS.iter().try_for_each(|(name, text)| fs::write(headers.join(name), text))?;
            write!(flags, " -isystem {}", headers.display())?;
        }
        let cargo = |command: &str| {
            let mut cargo = compiler.cargo();
            let variable = |name: &str| format!("{name}_{}", self.target.replace('-', "_"));
            cargo
                .args([command, "--locked", "--target", self.target, "--target-dir"])
                .arg(&target_dir)
                .env(variable("CC"), c)
                .env(variable("CFLAGS"), &flags)
                .env(variable("AR"), ar)
                .current_dir(&root);
            cargo
        };
        let mut check = cargo("check");
        // Nothing of it runs but what makes code of ours, which is not worth a compiler's care.
        check
            .args(["--config", UNOPTIMISED, "--keep-going"])
            .args(PACKAGES.map(|package| format!("--package={package}")));
        succeed(&mut check)?;
        if self.wine {
            let programs = target_dir.join(self.target).join("debug/deps");
            let mut test = cargo("test");
            test.args(["--package=airssys-osl", "--features=tls", "--lib", "--"]).args(TESTS);
            step("tests under wine", || wine::run(&mut test, self.target, c, &target_dir, &programs))?;
        }
        Ok(())
    }

    fn compiler(&self) -> Option<Compiler> {
        let find = || Compiler::rustup(self.target).or_else(Compiler::debian);
        find().or_else(|| {
            debian::install(REFERENCE_PACKAGES);
            find()
        })
    }

    /// What compiles C, and what makes a library of that.
    fn c_compiler(&self) -> Option<(&'static str, &'static str)> {
        let find = || {
            let first = |names: &[&'static str]| names.iter().copied().find(|name| debian::has(name));
            Some((first(self.compilers)?, first(self.archivers)?))
        };
        find().or_else(|| {
            debian::install(&[self.package]);
            find()
        })
    }

    fn skipped(&self, why: &str) -> Result<(), Box<dyn Error>> {
        eprintln!("SKIPPED: nothing was compiled for {}: {why}", self.target);
        Ok(())
    }
}

/// What compiles Rust.
struct Compiler {
    cargo: PathBuf,
    rustc: PathBuf,
    /// Whether the standard library has to be compiled first.
    std: bool,
}

impl Compiler {
    fn rustup(target: &str) -> Option<Self> {
        let rustc = PathBuf::from("rustc");
        let installed = sysroot(&rustc)?.join("lib/rustlib").join(target).join("lib").exists();
        installed.then(|| Self { cargo: PathBuf::from("cargo"), rustc, std: false })
    }

    fn debian() -> Option<Self> {
        let (cargo, rustc) = (PathBuf::from("/usr/bin/cargo"), PathBuf::from("/usr/bin/rustc"));
        output(Command::new(&rustc).arg("--version"))?;
        let sources = sysroot(&rustc)?.join("lib/rustlib/src/rust/library/Cargo.lock");
        (sources.exists() && Path::new(&cargo).exists()).then_some(Self { cargo, rustc, std: true })
    }

    fn cargo(&self) -> Command {
        let mut cargo = Command::new(&self.cargo);
        // What cargo told this program about its own build must not leak into this one.
        for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTFLAGS"] {
            cargo.env_remove(variable);
        }
        cargo.env("RUSTC", &self.rustc);
        if self.std {
            cargo.arg("-Zbuild-std=std,panic_abort").env("RUSTC_BOOTSTRAP", "1");
        }
        cargo
    }
}
