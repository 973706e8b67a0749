//! Mistakes that the compiler is to find, and the words in which it says so. A case of `tests/compile_fail` is compiled
//! against the library that these tests were built with; what comes out is compared with the file beside it.

#![expect(clippy::disallowed_methods, reason = "it runs the compiler on the cases")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The compiler that built this program, as far as cargo tells.
fn rustc() -> PathBuf {
    let beside_cargo = std::env::var_os("CARGO").map(|cargo| Path::new(&cargo).with_file_name("rustc"));
    beside_cargo.filter(|path| path.exists()).unwrap_or_else(|| "rustc".into())
}

/// The library, and the folder with all that it needs. Builds with other features may lie beside it: it is the newest.
fn library() -> (PathBuf, PathBuf) {
    let program = std::env::current_exe().unwrap();
    let folder = program.parent().unwrap().to_owned();
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let libraries = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.starts_with("libairssys_rt-") && name.ends_with(".rlib")
    });
    let newest = libraries.max_by_key(|path| fs::metadata(path).unwrap().modified().unwrap());
    (newest.unwrap(), folder)
}

/// What the compiler says of a case: a line for each error, with its place in the file.
fn errors(case: &Path) -> String {
    let (library, folder) = library();
    let output = Command::new(rustc())
        .args(["--edition", "2024", "--crate-type", "lib", "--emit", "metadata", "--error-format", "short"])
        .args(["--cap-lints", "allow", "--color", "never", "--out-dir", env!("CARGO_TARGET_TMPDIR")])
        .arg("--extern")
        .arg(format!("airssys_rt={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", folder.display()))
        .arg(case)
        .output()
        .unwrap();
    let file = case.file_name().unwrap().to_string_lossy().into_owned();
    let prefix = format!("{}:", case.display());
    let lines = String::from_utf8(output.stderr).unwrap();
    let errors: Vec<String> = lines
        .lines()
        .filter(|line| line.contains("error"))
        .filter_map(|line| Some(format!("{file}:{}\n", line.strip_prefix(&prefix)?)))
        .collect();
    assert_eq!(output.status.success(), errors.is_empty(), "the compiler failed otherwise:\n{lines}");
    errors.concat()
}

#[test]
fn mistakes_are_found_and_named() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut cases: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "rs")).collect();
    cases.sort();
    assert_eq!(cases.len(), 8);
    let mut wrong = String::new();
    for case in cases {
        let expected = fs::read_to_string(case.with_extension("stderr")).unwrap_or_default();
        let errors = errors(&case);
        if errors.is_empty() {
            wrong += &format!("{} compiles\n", case.display());
        } else if errors != expected {
            wrong += &format!("{}\nexpected:\n{expected}\nfound:\n{errors}\n", case.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
