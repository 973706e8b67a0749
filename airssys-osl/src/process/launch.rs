//! What a caller adds when it starts a program: as much of it as the grant leaves open.

use std::path::{Component, Path, PathBuf, is_separator};

use crate::{
    fs::File,
    limits::{ARGUMENT_BYTES, EGRESS_PORT, PATH_BYTES},
    policy::{Argument, ExecTerms},
};

/// By which programs find their proxy: some look for one spelling, some for the other.
const PROXY_VARIABLES: [&str; 6] =
    ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// What a program is started with, beyond what its grant says.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Launch {
    pub(super) given: Vec<Given>,
    pub(super) env: Vec<(String, String)>,
    pub(super) stdin: Stdio,
    pub(super) stdout: Stdio,
    pub(super) stderr: Stdio,
}

/// Where input comes from, or output goes to.
#[derive(Clone, Debug, Default)]
pub enum Stdio {
    /// Nowhere: input is at its end at once, output is thrown away.
    #[default]
    Null,
    /// Where ours goes to.
    Inherit,
    /// A pipe, whose other end the [`Process`](super::Process) has.
    Pipe,
    /// An open file, from its start on. What is written there counts in no quota, so a directory with one lends none to be
    /// written.
    File(File),
}

/// What a caller gives for a place in the schema of a grant.
#[derive(Clone, Debug)]
pub(super) enum Given {
    File(File),
    Text(String),
    Path(String),
}

impl Launch {
    /// Starts with nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a file for the next argument that the grant leaves open.
    pub fn file(mut self, file: File) -> Self {
        self.given.push(Given::File(file));
        self
    }

    /// Gives a text for the next argument that the grant leaves open.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.given.push(Given::Text(text.into()));
        self
    }

    /// Gives the name beneath its directory of the next argument that the grant leaves open: see
    /// [`ExecTerms::path`].
    pub fn path(mut self, name: impl Into<String>) -> Self {
        self.given.push(Given::Path(name.into()));
        self
    }

    /// Sets a variable that the grant leaves open.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Says where input comes from.
    pub fn stdin(mut self, stdin: Stdio) -> Self {
        self.stdin = stdin;
        self
    }

    /// Says where output goes to.
    pub fn stdout(mut self, stdout: Stdio) -> Self {
        self.stdout = stdout;
        self
    }

    /// Says where errors go to.
    pub fn stderr(mut self, stderr: Stdio) -> Self {
        self.stderr = stderr;
        self
    }

    /// The arguments and variables, and the files and paths among the arguments with the directories that they must be of; `None`
    /// where they are not what `terms` describe.
    pub(super) fn fit<'a>(&'a self, program: &str, terms: &'a ExecTerms) -> Option<Fitted<'a>> {
        let mut given = self.given.iter();
        let mut fitted = Fitted::of(program);
        for argument in &terms.arguments {
            let word = match argument {
                Argument::Word(word) => (**word).to_owned(),
                Argument::Text => match given.next()? {
                    Given::Text(text) if is_plain(text) && !text.starts_with('-') => text.clone(),
                    _ => return None,
                },
                Argument::File(root) => match given.next()? {
                    Given::File(file) => {
                        fitted.files.push((file, root));
                        format!("/proc/self/fd/{}", 2 + fitted.files.len())
                    }
                    _ => return None,
                },
                Argument::Path(root) => match given.next()? {
                    Given::Path(name) if is_plain(name) && is_beneath(name) => {
                        fitted.paths.push((root, Path::new(name)));
                        format!("{}/{name}", root.to_str()?.trim_end_matches('/'))
                    }
                    _ => return None,
                },
            };
            fitted.args.push(word);
        }
        if given.next().is_some() {
            return None;
        }
        fitted.env.extend(terms.env.iter().map(|(name, value)| format!("{name}={value}")));
        for (index, (name, value)) in self.env.iter().enumerate() {
            let open = terms.caller_env.iter().any(|known| **known == **name);
            let twice = self.env.iter().take(index).any(|(before, _)| before == name);
            if !open || twice || !is_plain(value) {
                return None;
            }
            fitted.env.push(format!("{name}={value}"));
        }
        if terms.egress {
            let set = |name: &str| fitted.env.iter().any(|known| known.split('=').next() == Some(name));
            let unset = PROXY_VARIABLES.iter().filter(|name| !set(name));
            let proxy: Vec<_> = unset.map(|name| format!("{name}=http://127.0.0.1:{EGRESS_PORT}")).collect();
            fitted.env.extend(proxy);
        }
        Some(fitted)
    }
}

/// A launch that is what its grant describes.
#[derive(Debug)]
pub(super) struct Fitted<'a> {
    pub(super) args: Vec<String>,
    pub(super) files: Vec<(&'a File, &'a PathBuf)>,
    pub(super) paths: Vec<(&'a Path, &'a Path)>,
    pub(super) env: Vec<String>,
}

impl Fitted<'_> {
    /// The program, with nothing else.
    pub(super) fn of(program: &str) -> Self {
        Self { args: vec![program.to_owned()], files: Vec::new(), paths: Vec::new(), env: Vec::new() }
    }
}

fn is_plain(text: &str) -> bool {
    text.len() <= ARGUMENT_BYTES && !text.contains(char::is_control)
}

/// Whether a name says by its form that it is beneath a directory. Where it leads, the system knows, which is asked about no
/// other name than the program gets: a `/` or a `/.` at the end, of which `components` says nothing, follows a link.
fn is_beneath(name: &str) -> bool {
    let is_name = |component| matches!(component, Component::Normal(_));
    let is_whole = !name.split(is_separator).any(|part| part.is_empty() || part == ".");
    is_whole && name.len() <= PATH_BYTES && Path::new(name).components().all(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(launch: Launch, terms: ExecTerms, expected: Option<(&[&str], &[&str])>) {
        let fitted = launch.fit("/bin/x", &terms);
        let lists = fitted.as_ref().map(|fitted| (&fitted.args[..], &fitted.env[..]));
        let expected = expected.map(|(args, env)| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            (owned(args), owned(env))
        });
        assert_eq!(lists, expected.as_ref().map(|(args, env)| (&args[..], &env[..])));
    }

    #[test]
    fn what_is_described_fits() {
        check(Launch::new(), ExecTerms::new(), Some((&["/bin/x"], &[])));
        let terms = ExecTerms::new().arg("-a").text().arg("z").env("A", "b").caller_env("C").caller_env("D");
        let launch = Launch::new().text("t").env("C", "d");
        check(launch, terms, Some((&["/bin/x", "-a", "t", "z"], &["A=b", "C=d"])));
        check(Launch::new().text(""), ExecTerms::new().text(), Some((&["/bin/x", ""], &[])));
    }

    #[test]
    fn a_program_with_a_way_out_is_told_of_it() {
        let terms = ExecTerms::new().env("http_proxy", "mine").caller_env("ALL_PROXY").egress();
        let launch = Launch::new().env("ALL_PROXY", "theirs");
        let proxy = "http://127.0.0.1:3128";
        let told =
            ["https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"].map(|name| format!("{name}={proxy}"));
        let mut env = vec!["http_proxy=mine", "ALL_PROXY=theirs"];
        env.extend(told.iter().map(String::as_str));
        check(launch, terms, Some((&["/bin/x"], &env)));
    }

    #[test]
    fn what_is_not_does_not() {
        let text = || ExecTerms::new().text();
        check(Launch::new(), text(), None);
        check(Launch::new().text("a").text("b"), text(), None);
        check(Launch::new().text("a"), ExecTerms::new(), None);
        check(Launch::new().text("a"), ExecTerms::new().file("/srv"), None);
        for hostile in ["-rf", "--", "a\nb", "a\0b", "\u{1b}[2J"] {
            check(Launch::new().text(hostile), text(), None);
        }
        check(Launch::new().text("a".repeat(ARGUMENT_BYTES + 1)), text(), None);
        check(Launch::new().text("a".repeat(2 << 20)), text(), None);
    }

    #[test]
    fn a_path_is_beneath_its_directory() {
        let terms = || ExecTerms::new().arg("-o").see("/srv").path("/srv/out");
        for name in ["b.png", "a/b.png", "-rf", "--", "a b", "..b"] {
            let word = format!("/srv/out/{name}");
            check(Launch::new().path(name), terms(), Some((&["/bin/x", "-o", &word], &[])));
        }
        for hostile in ["", ".", "..", "../x", "a/../../x", "a/..", "/etc/passwd", "//x", "a\0b", "a\nb"] {
            check(Launch::new().path(hostile), terms(), None);
        }
        for other in ["a/", "a//", "a/.", "a/./", "./a", "a//b", "a/./b"] {
            check(Launch::new().path(other), terms(), None);
        }
        check(Launch::new().path("a".repeat(PATH_BYTES + 1)), terms(), None);
        check(Launch::new().text("b.png"), terms(), None);
        check(Launch::new(), terms(), None);
        check(Launch::new().path("b.png"), ExecTerms::new().text(), None);
    }

    #[test]
    fn variables_are_those_that_are_left_open() {
        let terms = || ExecTerms::new().env("A", "b").caller_env("C");
        check(Launch::new().env("A", "c"), terms(), None);
        check(Launch::new().env("X", "c"), terms(), None);
        check(Launch::new().env("C", "1").env("C", "2"), terms(), None);
        check(Launch::new().env("C", "1\0X=2"), terms(), None);
        check(Launch::new().env("C", "-1"), terms(), Some((&["/bin/x"], &["A=b", "C=-1"])));
    }
}
