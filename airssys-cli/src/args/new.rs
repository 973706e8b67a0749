//! The flags of `airssys new`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, ValueEnum};

/// Begin a component: a folder with its source, and how to build and run it.
///
/// It is an actor with a manifest, which counts the words of a text.
/// Nothing is overwritten.
#[derive(Debug, ClapArgs)]
pub(crate) struct New {
    /// Its name and its folder's: 1 to 48 of a-z, 0-9 and `-`, a letter first
    #[arg(value_parser = name)]
    pub(crate) name: String,

    /// The language of its source
    #[arg(long, value_enum)]
    pub(crate) lang: Language,

    /// The folder of the SDK for Rust, `airssys-guest` in a checkout of AirsSys: it is in no registry yet
    #[arg(long, value_name = "PATH")]
    pub(crate) sdk: Option<PathBuf>,
}

/// What a component is written in.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Language {
    Rust,
    C,
    Js,
    Python,
}

/// A name that is one of a component, of a crate and of a folder alike.
fn name(text: &str) -> Result<String, String> {
    let starts = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    let rest = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if starts && rest && text.len() <= 48 && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("a name is 1 to 48 of a-z, 0-9 and `-`, a letter first and no `-` last".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "word-count", "v2"] {
            assert_eq!(name(good).as_deref(), Ok(good));
        }
        for bad in ["", "-a", "a-", "2a", "A", "a_b", "a/b", "..", "a b", "ü", &"a".repeat(49)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }
}
