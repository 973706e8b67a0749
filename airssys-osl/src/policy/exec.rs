//! Grants of programs: with what a program may be started, and what it finds around it.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Decision, Grant, Moment, check_root, clause::Clause, fixed::Paths, grant};
use crate::{
    limits::{ARGUMENT_BYTES, PROGRAM_ARGUMENTS, PROGRAM_FILES, PROGRAM_PLACES, VARIABLE_BYTES},
    process::{Calls, Layers, Limits, Profile, environment},
};

/// How a granted program is started: its arguments, its variables, what it sees and what holds it.
///
/// Without any of it, a program is started without arguments and variables in the profile
/// [`Strict`](Profile::Strict), and sees the system's programs and libraries, but no other file.
///
/// ```
/// use airssys_osl::{policy::{ExecTerms, Grant}, process::Limits};
///
/// let terms = ExecTerms::new()
///     .arg("-layout")
///     .file("/srv/inbox")
///     .arg("-")
///     .env("LANG", "C.UTF-8")
///     .limits(Limits::new().memory_bytes(256 << 20));
/// let grant = Grant::exec("/usr/bin/pdftotext", terms);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ExecTerms {
    pub(crate) sha256: Option<[u8; 32]>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) env: Vec<(Box<str>, Box<str>)>,
    pub(crate) caller_env: Vec<Box<str>>,
    pub(crate) places: Vec<(PathBuf, bool)>,
    pub(crate) system: bool,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) profile: Profile,
    pub(crate) left_out: Layers,
    pub(crate) required: Layers,
    pub(crate) landlock: Option<u32>,
    pub(crate) limits: Limits,
    pub(crate) run_as: Option<(u32, u32)>,
    pub(crate) dynamic_user: bool,
    pub(crate) loopback: bool,
    pub(crate) egress: bool,
    pub(crate) calls: Calls,
    pub(crate) watched: bool,
    pub(crate) learns: bool,
}

/// One argument in the schema of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Argument {
    Word(Box<str>),
    /// A file that the caller opened beneath this granted directory.
    File(PathBuf),
    /// The path of what the caller names beneath this directory, which the program sees.
    Path(PathBuf),
    /// A text of the caller's.
    Text,
}

/// The grant of one program.
#[derive(Debug)]
pub(crate) struct ExecGrant {
    pub(crate) program: PathBuf,
    pub(crate) terms: ExecTerms,
    clause: Clause,
}

impl ExecGrant {
    pub(crate) fn rule(&self) -> &str {
        &self.clause.rule
    }
}

/// What is ruled about programs.
#[derive(Debug, Default)]
pub(super) struct Programs(Paths<Vec<Arc<ExecGrant>>>);

impl Programs {
    /// Adds a permission, and says whether the same list gave one before.
    pub(super) fn permit(
        &mut self,
        program: PathBuf,
        terms: ExecTerms,
        clause: Clause,
    ) -> Result<bool, &'static str> {
        terms.check()?;
        self.add(program, terms, clause)
    }

    /// Adds a prohibition, which has no terms.
    pub(super) fn forbid(
        &mut self,
        program: PathBuf,
        terms: ExecTerms,
        clause: Clause,
    ) -> Result<bool, &'static str> {
        if terms != ExecTerms::new() {
            return Err("what is forbidden has no terms");
        }
        self.add(program, terms, clause)
    }

    fn add(&mut self, program: PathBuf, terms: ExecTerms, clause: Clause) -> Result<bool, &'static str> {
        check_root(&program)?;
        let known = self.0.entry(&program).or_default();
        // By the name of its rule the terms of a decision are found.
        if known.iter().any(|known| known.rule() == &*clause.rule && known.terms != terms) {
            return Err("another grant of the program has this rule");
        }
        let twice = known.iter().any(|known| known.clause.repeats(&clause));
        known.push(Arc::new(ExecGrant { program, terms, clause }));
        Ok(twice)
    }

    /// Makes everything that was added findable.
    pub(super) fn fix(&mut self) {
        self.0.fix();
    }

    /// The first that permits, or what is in the way of the first.
    pub(super) fn decide(&self, program: &Path, now: Moment) -> Decision<'_> {
        let Some(grants) = self.0.get(program) else { return Decision::DEFAULT };
        let mut decisions = grants.iter().map(|grant| grant.clause.permit(now));
        let first = decisions.next().unwrap_or(Decision::DEFAULT);
        if first.permits() { first } else { decisions.find(Decision::permits).unwrap_or(first) }
    }

    pub(super) fn forbids(&self, program: &Path, now: Moment) -> Option<&Clause> {
        self.0.get(program)?.iter().map(|grant| &grant.clause).find(|clause| clause.forbids(now))
    }

    /// The grant of a program by the rule that a decision named, or the first one where the rule was not a grant's.
    pub(super) fn find(&self, program: &Path, rule: &str) -> Option<&Arc<ExecGrant>> {
        let grants = self.0.get(program)?;
        grants.iter().find(|grant| grant.rule() == rule).or_else(|| grants.first())
    }
}

impl Grant {
    /// Permits to start `program`, an absolute path, as `terms` say.
    ///
    /// Where several lists grant the same program, the terms are those of the first that permits it: a principal's own come
    /// before those of its roles. Each start is a use of a rate; a program that runs goes on when the conditions of its
    /// grant end, until the policy is replaced. Forbidden, it has no terms, and means this path alone.
    pub fn exec(program: impl Into<PathBuf>, terms: ExecTerms) -> Self {
        Self::of(grant::Form::Exec { program: program.into(), terms: Box::new(terms) })
    }
}

impl ExecTerms {
    /// Starts with no arguments, no variables, and the strictest profile.
    pub fn new() -> Self {
        Self {
            sha256: None,
            arguments: Vec::new(),
            env: Vec::new(),
            caller_env: Vec::new(),
            places: Vec::new(),
            system: true,
            directory: None,
            profile: Profile::default(),
            left_out: Layers::empty(),
            required: Layers::empty(),
            landlock: None,
            limits: Limits::new(),
            run_as: None,
            dynamic_user: false,
            loopback: false,
            egress: false,
            calls: Calls::default(),
            watched: false,
            learns: false,
        }
    }

    /// Starts the program only where the SHA-256 of its file is this one. What is then executed is a copy in memory, made
    /// when the program was opened, so that nobody can change it after it was looked at. On Windows the file itself is kept from being changed; on macOS nothing
    /// does, so there a program with a hash is not opened ([`Unsupported`](crate::ErrorKind::Unsupported)).
    pub fn sha256(mut self, digest: [u8; 32]) -> Self {
        self.sha256 = Some(digest);
        self
    }

    /// Adds an argument that is always the same.
    pub fn arg(mut self, word: impl Into<Box<str>>) -> Self {
        self.arguments.push(Argument::Word(word.into()));
        self
    }

    /// Adds an argument for a file, which whoever starts the program opened beneath the granted directory `root`.
    ///
    /// The program gets the open file, and as argument the path under which it finds it: `/proc/self/fd/3`. Opening it there
    /// begins at its start, and asks for the rights of the program's user. That it is not opened for more than it was is
    /// [`Layers::LANDLOCK`]'s work.
    pub fn file(mut self, root: impl Into<PathBuf>) -> Self {
        self.arguments.push(Argument::File(root.into()));
        self
    }

    /// Adds an argument for a path beneath `root`, a directory that the program sees or changes. Whoever starts the program
    /// chooses the name there, which nothing need have yet; the program gets the whole path, so that no name is an option.
    ///
    /// A name with a `..` or a `.` in it does not fit, nor one with two `/` in a row or a `/` at its end. One that leads out of `root` when the program is started, by a symbolic link or
    /// over a mount point, is denied, as it is in a [`Dir`](crate::fs::Dir); so is what is no file and no directory. What others
    /// make of it later leads the program to nothing but what its grant lets it see. Under [`Profile::None`], or without what holds
    /// a program to its files, there is no such bound: then only what `root` held when the program was started was looked at.
    pub fn path(mut self, root: impl Into<PathBuf>) -> Self {
        self.arguments.push(Argument::Path(root.into()));
        self
    }

    /// Adds an argument that whoever starts the program chooses: a text that does not begin with `-`, so that it is no
    /// option, without control characters, of at most [`ARGUMENT_BYTES`].
    pub fn text(mut self) -> Self {
        self.arguments.push(Argument::Text);
        self
    }

    /// Gives the program a variable. Those by which code gets into other programs (`LD_PRELOAD`, `BASH_ENV`,
    /// `NODE_OPTIONS` and their like) are refused.
    pub fn env(mut self, name: impl Into<Box<str>>, value: impl Into<Box<str>>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Lets whoever starts the program set this variable, to a text as in [`text`](Self::text) that may begin with `-`.
    pub fn caller_env(mut self, name: impl Into<Box<str>>) -> Self {
        self.caller_env.push(name.into());
        self
    }

    /// Lets the program see a directory or a file under its own path, to read and to execute it. Links on the way to it
    /// are followed, as for every root.
    pub fn see(mut self, path: impl Into<PathBuf>) -> Self {
        self.places.push((path.into(), false));
        self
    }

    /// Lets the program see a directory or a file under its own path, and change it.
    pub fn change(mut self, path: impl Into<PathBuf>) -> Self {
        self.places.push((path.into(), true));
        self
    }

    /// Hides the system's programs, libraries and the little configuration that these need. A program that is linked
    /// statically needs none of it.
    pub fn without_system(mut self) -> Self {
        self.system = false;
        self
    }

    /// Starts the program in `path`, which lies in one that it sees, or above one. Without it that is `/tmp`, its own, or `/` where it
    /// has no root of its own.
    pub fn directory(mut self, path: impl Into<PathBuf>) -> Self {
        self.directory = Some(path.into());
        self
    }

    /// Chooses another profile than [`Strict`](Profile::Strict).
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Does without some layers of the profile.
    pub fn without(mut self, layers: Layers) -> Self {
        self.left_out |= layers;
        self
    }

    /// Has the program not started where one of these layers cannot be had. Each profile but `None` requires seccomp and
    /// Landlock by itself, on macOS Seatbelt.
    pub fn require(mut self, layers: Layers) -> Self {
        self.required |= layers;
        self
    }

    /// Has the program not started where Landlock is older than this version of its interface.
    pub fn require_landlock(mut self, version: u32) -> Self {
        self.landlock = Some(version);
        self
    }

    /// Bounds what the program uses.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs the program as this user and group. Without it, it is who we are, or nobody (65534) where we are root.
    pub fn run_as(mut self, user: u32, group: u32) -> Self {
        self.run_as = Some((user, group));
        self
    }

    /// Where we are root, runs each start of the program as a user and a group of its own, that nobody else has: not even a
    /// program that the door started as nobody can signal it or look into its memory. They are from `0xFFFF0000` on, or from
    /// 61184 on where a container has no higher ones; where it has neither, the program is nobody. [`run_as`](Self::run_as)
    /// goes before it.
    pub fn dynamic_user(mut self) -> Self {
        self.dynamic_user = true;
        self
    }

    /// Chooses which system calls it can make. Where it has no [`Layers::SECCOMP`], it can make all.
    pub fn calls(mut self, calls: Calls) -> Self {
        self.calls = calls;
        self
    }

    /// Gives the program a network that it shares with its children alone: the addresses `127.0.0.1` and `::1`, as
    /// servers want that are started to be tested. It needs [`Layers::NETWORK`], which it then requires.
    pub fn loopback(mut self) -> Self {
        self.loopback = true;
        self.require(Layers::NETWORK)
    }

    /// Lets the program reach the hosts that its principal may connect to ([`Grant::connect`]), each by its name: its network
    /// is one as with [`loopback`](Self::loopback), and on that, at [`EGRESS_PORT`](crate::limits::EGRESS_PORT) of
    /// `127.0.0.1`, is a proxy. The variables by which programs find theirs name it (`http_proxy` and its like), where the
    /// grant does not set them. See [`process`](crate::process#the-way-out).
    pub fn egress(mut self) -> Self {
        self.egress = true;
        self.loopback()
    }

    /// Watches what the program asks for: [`Process::asked`](crate::process::Process::asked) tells the names of files, with
    /// what it wanted of them, and the system calls that it was refused. It needs [`Layers::SECCOMP`], which it then
    /// requires. Each call with a path waits until it was noted, which takes some tens of microseconds; what holds the program
    /// is the same. It is not watched where the kernel cannot do that, or where we are watched in this way ourselves, as within
    /// containers that have their system calls answered: it is started all the same, and nothing is told.
    pub fn watch(mut self) -> Self {
        self.watched = true;
        self.require(Layers::SECCOMP)
    }

    /// Has the program find every file of the machine that its user may use, and watches it, to learn which of them its
    /// grant must name. Whatever that user may change, it may change: this is for programs that one would run without a
    /// sandbox for once. All else is as in its profile, but that what it writes it can execute. Where it cannot be watched, its
    /// start fails: [`Unsupported`](crate::ErrorKind::Unsupported).
    pub fn learn(mut self) -> Self {
        self.learns = true;
        self.watch()
    }

    pub(super) fn check(&self) -> Result<(), &'static str> {
        let files = self.arguments.iter().filter(|argument| matches!(argument, Argument::File(_))).count();
        if self.arguments.len() > PROGRAM_ARGUMENTS || files > PROGRAM_FILES {
            return Err("it has too many arguments");
        }
        if self.places.len() > PROGRAM_PLACES || self.env.len() + self.caller_env.len() > PROGRAM_PLACES {
            return Err("it has too many directories or variables");
        }
        for argument in &self.arguments {
            match argument {
                Argument::Word(word) if word.contains('\0') => return Err("an argument has a NUL in it"),
                Argument::Word(word) if word.len() > ARGUMENT_BYTES => return Err("an argument is too long"),
                Argument::File(root) => check_root(root)?,
                Argument::Path(root) => self.check_path(root)?,
                _ => {}
            }
        }
        let names = self.env.iter().map(|(name, _)| name).chain(&self.caller_env);
        for (index, name) in names.clone().enumerate() {
            check_variable(name)?;
            if names.clone().take(index).any(|before| before == name) {
                return Err("a variable is given twice");
            }
        }
        if self.env.iter().any(|(_, value)| value.contains('\0') || value.len() > ARGUMENT_BYTES) {
            return Err("a variable has a NUL in it, or is too long");
        }
        self.check_places()
    }

    fn check_path(&self, root: &Path) -> Result<(), &'static str> {
        check_root(root)?;
        if root.to_str().is_none_or(|root| root.contains(char::is_control)) {
            return Err("the directory of a path argument is no text");
        }
        match self.places.iter().any(|(place, _)| root.starts_with(place)) {
            true => Ok(()),
            false => Err("the directory of a path argument is in none that the program sees"),
        }
    }

    fn check_places(&self) -> Result<(), &'static str> {
        for (index, (path, _)) in self.places.iter().enumerate() {
            check_root(path)?;
            if path.parent().is_none() {
                return Err("a program cannot be given the root directory: name what it needs of it");
            }
            if ["/proc", "/sys", "/dev"].iter().any(|made| path.starts_with(made)) {
                return Err("the program has its own `/proc` and `/dev`, and no `/sys`");
            }
            if self.places.iter().take(index).any(|(before, _)| before == path) {
                return Err("a directory is given twice");
            }
            // What is there may be a link by the time that the program starts: another run may have made it one.
            let holds = |(outer, write): &(PathBuf, bool)| *write && outer != path && path.starts_with(outer);
            if self.places.iter().any(holds) {
                return Err("a directory lies in another one that the program changes");
            }
        }
        match &self.directory {
            Some(directory) => {
                check_root(directory)?;
                let seen = |place: &Path| directory.starts_with(place);
                // What lies above a directory that it sees is there, with nothing else in it.
                let own = self.places.iter().any(|(place, _)| seen(place) || place.starts_with(directory));
                if own || seen(Path::new("/tmp")) || self.learns {
                    Ok(())
                } else {
                    Err("the working directory is in none that the program sees")
                }
            }
            None => Ok(()),
        }
    }
}

impl Default for ExecTerms {
    fn default() -> Self {
        Self::new()
    }
}

fn check_variable(name: &str) -> Result<(), &'static str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || name.len() > VARIABLE_BYTES || !name.bytes().all(plain) {
        Err("a variable's name is not plain")
    } else if environment::is_refused(name) {
        Err("by this variable, code gets into other programs")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn build(terms: ExecTerms) -> Result<(), String> {
        let grant = Grant::exec("/bin/true", terms);
        Policy::builder().principal("p", [grant]).build().map(drop).map_err(|error| error.to_string())
    }

    #[track_caller]
    fn check(terms: ExecTerms, problem: &str) {
        let error = build(terms).expect_err(problem);
        assert!(error.ends_with(problem), "{error}");
    }

    #[test]
    fn ordinary_terms_hold() {
        build(ExecTerms::new()).unwrap();
        build(ExecTerms::new().see("/srv").see("/srv/a").change("/srv/a/b").directory("/srv/a/c")).unwrap();
        build(ExecTerms::new().see("/srv/a/b").directory("/srv/a")).unwrap();
        build(ExecTerms::new().learn().directory("/srv")).unwrap();
        build(ExecTerms::new().env("LANG", "C").caller_env("TZ").text().file("/srv")).unwrap();
        build(ExecTerms::new().see("/srv").path("/srv").path("/srv/a")).unwrap();
    }

    #[test]
    fn malformed_terms_do_not() {
        check(ExecTerms::new().arg("a\0b"), "an argument has a NUL in it");
        check(ExecTerms::new().arg("a".repeat(ARGUMENT_BYTES + 1)), "an argument is too long");
        check(
            (0..=PROGRAM_ARGUMENTS).fold(ExecTerms::new(), |terms, _| terms.arg("a")),
            "too many arguments",
        );
        check(ExecTerms::new().file("relative"), "not an absolute path");
        check(ExecTerms::new().path("relative"), "not an absolute path");
        check(ExecTerms::new().see("/srv/a").path("/srv"), "is in none that the program sees");
        check(ExecTerms::new().see("/srv").path("/srv/a\nb"), "a path argument is no text");
        check(ExecTerms::new().env("A=B", "c"), "name is not plain");
        check(ExecTerms::new().env("A", "b").caller_env("A"), "given twice");
        check(ExecTerms::new().see("/"), "name what it needs of it");
        check(ExecTerms::new().see("/proc/self"), "no `/sys`");
        check(ExecTerms::new().see("/srv").change("/srv"), "given twice");
        check(ExecTerms::new().change("/srv").see("/srv/secret"), "another one that the program changes");
        check(ExecTerms::new().see("/srv").directory("/home"), "in none that the program sees");
    }

    #[test]
    fn variables_that_carry_code_are_refused() {
        for name in ["LD_PRELOAD", "LD_AUDIT", "GLIBC_TUNABLES", "BASH_ENV", "NODE_OPTIONS", "PYTHONPATH"] {
            check(ExecTerms::new().env(name, "x"), "code gets into other programs");
            check(ExecTerms::new().caller_env(name), "code gets into other programs");
        }
    }
}
