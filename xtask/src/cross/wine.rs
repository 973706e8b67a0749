//! Runs the tests of Windows programs under wine. That is no Windows: what it holds to is less, and what passes here may fail there.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it runs cargo, a C compiler and wine")]

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{debian, test::succeed};

/// Where wine may be. Debian's package of the 64-bit one alone puts it into no folder of programs.
const WINE: [&str; 4] = ["/usr/bin/wine64", "/usr/bin/wine", "/usr/lib/wine/wine64", "/usr/local/bin/wine"];

/// What draws random numbers for Rust's standard library, and is absent from Debian's wine.
const RANDOM: (&str, &str) = (
    "bcryptprimitives",
    "int __stdcall SystemFunction036(void *, unsigned long);\n\
     __declspec(dllexport) int __stdcall ProcessPrng(void *bytes, unsigned long long count) {\n\
     return SystemFunction036(bytes, (unsigned long)count);\n}\n",
);

/// Runs what `test` builds, which lies in `programs`; says loudly where there is nothing to run it with.
pub(super) fn run(
    test: &mut Command,
    target: &str,
    compiler: &str,
    folder: &Path,
    programs: &Path,
) -> Result<(), Box<dyn Error>> {
    if wine().is_none() {
        debian::install(&["wine64"]);
    }
    let Some(wine) = wine() else {
        eprintln!("SKIPPED: nothing was run: wine is not here, and cannot be installed (Debian: wine64)");
        return Ok(());
    };
    // Beside the programs is the one place where those find it that are started without variables.
    fs::create_dir_all(programs)?;
    let (name, text) = RANDOM;
    let source = folder.join(name).with_extension("c");
    fs::write(&source, text)?;
    let mut build = Command::new(compiler);
    build.arg("-shared").arg("-o").arg(programs.join(name).with_extension("dll"));
    succeed(build.arg(source).arg("-ladvapi32"))?;
    let runner = format!("CARGO_TARGET_{}_RUNNER", target.replace('-', "_").to_uppercase());
    test.env(runner, wine)
        .env("WINEPREFIX", folder.join("wine"))
        .env("WINEDEBUG", "-all")
        // It asks for more to be installed otherwise, in a window.
        .env("WINEDLLOVERRIDES", "mscoree,mshtml=");
    succeed(test)
}

fn wine() -> Option<PathBuf> {
    WINE.iter().map(PathBuf::from).find(|path| path.exists())
}
