//! The arguments of a program: words as they are, and with --placeholders files that are handed over open, and paths that lead
//! nowhere but beneath a directory.

use std::path::{Path, PathBuf};

use airssys_osl::{
    Principal,
    fs::OpenOptions,
    policy::{ExecTerms, Grant, Rights},
    process::Launch,
};

use super::place;
use crate::{args::Sandbox, report::Failure};

/// One argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Argument<'a> {
    Word(&'a str),
    /// A directory, and the name of a file in it.
    File(PathBuf, PathBuf),
    /// A directory, and what is called beneath it.
    Path(PathBuf, &'a str),
}

/// Reads what stands behind the program.
pub(super) fn read<'a>(sandbox: &Sandbox, words: &'a [String]) -> Result<Vec<Argument<'a>>, Failure> {
    let read =
        |word: &'a String| if sandbox.placeholders { placeholder(word) } else { Ok(Argument::Word(word)) };
    words.iter().map(read).collect()
}

fn placeholder(word: &str) -> Result<Argument<'_>, Failure> {
    let inside = |name: &str| word.strip_prefix(name)?.strip_suffix('}');
    if let Some(path) = inside("{file:") {
        let path = place(Path::new(path))?;
        let names = path.parent().zip(path.file_name());
        let named = names.map(|(dir, name)| Argument::File(dir.to_owned(), name.into()));
        return named.ok_or_else(|| Failure::invalid(format!("`{word}` names no file")));
    }
    match inside("{path:") {
        None => Ok(Argument::Word(word)),
        Some(path) => match path.split_once(':') {
            Some((dir, name)) => Ok(Argument::Path(place(Path::new(dir))?, name)),
            None => {
                Err(Failure::invalid(format!("`{word}` names no directory")).help("write `{path:DIR:NAME}`"))
            }
        },
    }
}

/// The schema of the arguments.
pub(super) fn schema(arguments: &[Argument<'_>], terms: ExecTerms) -> ExecTerms {
    arguments.iter().fold(terms, |terms, argument| match argument {
        Argument::Word(word) => terms.arg(*word),
        Argument::File(dir, _) => terms.file(dir),
        Argument::Path(dir, _) => terms.path(dir),
    })
}

/// What it takes to open the files: each directory once.
pub(super) fn grants(arguments: &[Argument<'_>]) -> Vec<Grant> {
    let mut dirs = Vec::new();
    for argument in arguments {
        if let Argument::File(dir, _) = argument
            && !dirs.contains(&dir)
        {
            dirs.push(dir);
        }
    }
    dirs.into_iter().map(|dir| Grant::fs(dir, Rights::READ).rule("{file}")).collect()
}

/// Opens the files, and says what the arguments are.
pub(super) async fn launch(arguments: &[Argument<'_>], principal: &Principal) -> Result<Launch, Failure> {
    let mut launch = Launch::new();
    for argument in arguments {
        launch = match argument {
            Argument::Word(_) => launch,
            Argument::Path(_, name) => launch.path(*name),
            Argument::File(dir, name) => {
                let not_opened = |error| {
                    let file = dir.join(name);
                    Failure::invalid(format!("cannot hand over `{}`", file.display())).caused_by(error)
                };
                let dir = principal.dir(dir).await.map_err(not_opened)?;
                launch.file(dir.open(name, &OpenOptions::new().read(true)).await.map_err(not_opened)?)
            }
        };
    }
    Ok(launch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_whole_words() {
        let check = |word: &str, expected: Option<Argument<'_>>| {
            assert_eq!(placeholder(word).ok(), expected, "{word}")
        };
        check("{file:/a/b c}", Some(Argument::File("/a".into(), "b c".into())));
        check("{path:/out:a:b}", Some(Argument::Path("/out".into(), "a:b")));
        check("{path:/out:}", Some(Argument::Path("/out".into(), "")));
        for word in ["", "{}", "{file}", "x{file:/a}", "{file:/a} ", "{files:/a}", "path:/out:a"] {
            check(word, Some(Argument::Word(word)));
        }
        for wrong in ["{path:/out}", "{file:/}"] {
            check(wrong, None);
        }
    }
}
