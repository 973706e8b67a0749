//! `cargo xtask tidy`: the rules of CONTRIBUTING.md that a program can check.

#![expect(clippy::disallowed_methods, reason = "a tool of the project: it reads the sources")]

mod dependencies;
mod links;
mod source;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::place;

type Failure = Box<dyn Error>;

/// A rule that does not hold, and where.
struct Finding {
    /// Relative to the root of the workspace.
    file: String,
    line: usize,
    message: String,
}

/// A file of the project.
struct Source {
    /// Relative to the root of the workspace.
    name: String,
    text: String,
}

/// Checks every rule, and tells all that is wrong.
pub(crate) fn run() -> Result<(), Failure> {
    let root = place::root()?;
    let sources = sources(&root)?;
    let mut findings = dependencies::check(&root)?;
    for source in &sources {
        if source.name.ends_with(".rs") {
            findings.extend(source::check(source, &sources));
        }
        findings.extend(links::check(source, &root));
    }
    for finding in &findings {
        eprintln!("{}:{}: {}", finding.file, finding.line, finding.message);
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(format!("{count} findings; CONTRIBUTING.md says why each rule is one").into()),
    }
}

/// Every text file that git knows or would add.
fn sources(root: &Path) -> Result<Vec<Source>, Failure> {
    let args = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let listed = Command::new("git").args(args).current_dir(root).output()?;
    if !listed.status.success() {
        return Err(format!("git ls-files: {}", String::from_utf8_lossy(&listed.stderr)).into());
    }
    let mut sources = Vec::new();
    for name in String::from_utf8(listed.stdout)?.split_terminator('\0') {
        let path: PathBuf = root.join(name);
        let is_text = [".rs", ".md", ".toml", ".wit"].iter().any(|ending| name.ends_with(ending));
        // A file may be deleted and not yet committed so.
        if is_text && path.is_file() {
            sources.push(Source { name: name.to_owned(), text: fs::read_to_string(path)? });
        }
    }
    Ok(sources)
}
