//! Untrusted bytes are compiled in a process of their own: what they cost there costs nobody else.
//!
//! docs/adr/0017-compiling-elsewhere.md says what that protects from, and what not.

use std::{
    error, fmt, iter,
    str::FromStr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use airssys_osl::{
    ErrorKind as DoorErrorKind, Principal, bootstrap,
    policy::{ExecTerms, Grant},
    process::{Calls, Cause, Collected, Exec, Launch, Limits, Process, Profile, Status, Stdio, THIS_PROGRAM},
};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{OnceCell, Semaphore},
};
use wasmtime::InstanceAllocationStrategy;

use crate::{
    cache::ENTRY_BYTES,
    compose,
    engine::Settings,
    error::{Error, ErrorKind},
    manifest::CompileLimits,
    wasi::{explain, missing_in},
};

/// The status of a compiler that refused the bytes. Any other but 0 is a compiler that failed.
const REFUSED: u8 = 3;

/// The status of one that the system gave no more memory.
const EXHAUSTED: u8 = 4;

/// The status of one that can do nothing with any bytes.
const UNABLE: u8 = 5;

/// What the process of a [`Compiler`] says on stderr before it reads the first byte of its input: from here on the bytes may
/// be the reason for what becomes of it.
pub const COMPILING: &str = "compiling";

/// How Rust, the C library and the loader of programs say that there is no memory left.
const NO_MEMORY: [&str; 3] = ["memory allocation of", "annot allocate memory", "failed to map segment"];

/// How the system's error for the same ends, as text.
const NO_MEMORY_CODE: &str = "(os error 12)";

/// By this variable a compiler learns with how many threads it works.
const THREADS: &str = "RAYON_NUM_THREADS";

/// The most threads of one: as many of them work at once as there are processors.
const MAX_THREADS: usize = 2;

/// The most characters of a compiler's last words that become part of an error: a component can have a say in them.
const REASON_CHARS: usize = 4096;

/// Compiles components and modules, each in a process of its own: the program that runs, started once more.
///
/// The process is held by every layer of [`Profile::Strict`] that the machine has. It has no file but the system's
/// libraries, no network, no variable but one that says how many threads it has, and of the caller nothing but three pipes;
/// its time and its memory are bounded. Where we are root it has a user that nobody else has: who can write to its memory
/// chooses what machine code we load. As many run at once as the machine has processors, and as have room in its memory
/// with all that they may use; more wait, and their time does not begin before they do.
///
/// Such a program, asked to compile by the arguments that [`grant`](Self::grant) was given and one more, calls
/// [`bootstrap::forbid_tracing`] and says [`COMPILING`] in a line on stderr before anything else. Then it hands that argument
/// and its input to [`precompile`], prints what comes back as it is, and exits with [`Refusal::status`] where that is an
/// error, with its text on stderr.
pub struct Compiler {
    principal: Principal,
    limits: CompileLimits,
    /// Opened for the first compilation: a start from the cache needs none.
    exec: OnceCell<Exec>,
    turns: Semaphore,
    /// Whether it was said that none can be started.
    warned: AtomicBool,
}

impl Compiler {
    /// What the principal of a compiler is granted: to start this program with `arguments`, within `limits`.
    pub fn grant(arguments: &[&str], limits: &CompileLimits) -> Grant {
        let limits = Limits::new()
            .wall_time(limits.time)
            .output_bytes(ENTRY_BYTES)
            .memory_bytes_or_each(limits.memory_bytes);
        let terms = ExecTerms::new().profile(Profile::Strict).calls(Calls::Usual).limits(limits);
        let terms = terms.dynamic_user().env(THREADS, processors().min(MAX_THREADS).to_string());
        let terms = arguments.iter().fold(terms, |terms, argument| terms.arg(*argument));
        Grant::exec(THIS_PROGRAM, terms.text())
    }

    /// Makes a compiler that starts processes as `principal`, which has the [`grant`](Self::grant) with these limits.
    pub fn new(principal: Principal, limits: CompileLimits) -> Self {
        let turns = turns(processors(), bootstrap::available_memory(), limits.memory_bytes);
        let (exec, turns) = (OnceCell::new(), Semaphore::new(turns));
        Self { principal, limits, exec, turns, warned: AtomicBool::new(false) }
    }

    /// Says, the first time, that bytes are compiled without bounds since no process for that can be started.
    pub(crate) fn warn(&self, cause: &str) {
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(cause, "nothing holds a compiler here; compiling without bounds");
        }
    }

    /// Compiles in a process of its own.
    pub(crate) async fn compile(&self, recipe: Recipe, bytes: &[u8]) -> Result<Vec<u8>, Failed> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let mut process = self.start(recipe).await.map_err(Failed::not_started)?;
        let input = process.stdin.take();
        let feed = async move {
            if let Some(mut input) = input {
                // Who does not read to the end has ended, and that tells why.
                let _ = input.write_all(bytes).await;
            }
        };
        let (collected, ()) = tokio::join!(process.collect(), feed);
        match collected {
            Ok(collected) => judge(collected, &self.limits),
            Err(error) if error.kind() == DoorErrorKind::LimitExceeded => {
                let what = format!("compile the component: its code is larger than {ENTRY_BYTES} bytes");
                Err(Failed::Bytes(Error::new(ErrorKind::LimitExceeded, what)))
            }
            Err(error) => Err(Failed::Door(error)),
        }
    }

    async fn start(&self, recipe: Recipe) -> Result<Process, airssys_osl::Error> {
        let exec = self.exec.get_or_try_init(|| self.principal.exec(THIS_PROGRAM)).await?;
        let pipes = Launch::new().stdin(Stdio::Pipe).stdout(Stdio::Pipe).stderr(Stdio::Pipe);
        exec.spawn(pipes.text(recipe.to_string())).await
    }
}

fn processors() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// How many compilers run at once that may have `each_bytes` of memory, where so much is available.
fn turns(processors: usize, available_bytes: Option<u64>, each_bytes: u64) -> usize {
    let fit = available_bytes.map_or(u64::MAX, |bytes| bytes / each_bytes.max(1));
    processors.min(usize::try_from(fit).unwrap_or(usize::MAX)).max(1)
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// `ENOMEM`, `EAGAIN`, `ENFILE` and `EMFILE`: there is no more of something now.
const SHORT: [i32; 4] = [12, 11, 23, 24];

/// Why nothing was compiled.
pub(crate) enum Failed {
    /// No process came so far that it had a byte: this says why, and nothing about the bytes.
    Start(String),
    /// None may be started, or it could not be heard.
    Door(airssys_osl::Error),
    /// The bytes were refused, or were too much, or nobody can tell.
    Bytes(Error),
}

impl Failed {
    /// What the machine never has can be done without; but not what policy or the audit log refuse, nor what it only lacks
    /// now: else a machine that is pressed would compile without a bound.
    fn not_started(error: airssys_osl::Error) -> Self {
        use DoorErrorKind::{AuditUnavailable, Busy, Denied, LimitExceeded, TimedOut};
        let is_short = error.raw_os_error().is_some_and(|code| SHORT.contains(&code));
        match error.kind() {
            Denied | AuditUnavailable | Busy | LimitExceeded | TimedOut => Self::Door(error),
            _ if is_short => Self::Door(error),
            _ => {
                let causes = iter::successors(Some(&error as &dyn error::Error), |cause| cause.source());
                Self::Start(causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
            }
        }
    }
}

/// What a compiler said by its end.
fn judge(ended: Collected, limits: &CompileLimits) -> Result<Vec<u8>, Failed> {
    let said = String::from_utf8_lossy(&ended.stderr);
    let end = (ended.exit.cause, ended.exit.status);
    verdict(end, &said, &ended.exit.to_string(), limits).map(|()| ended.stdout)
}

fn verdict(
    (cause, status): (Cause, Status),
    said: &str,
    exit: &str,
    limits: &CompileLimits,
) -> Result<(), Failed> {
    let exceeded = |what: String| Err(Failed::Bytes(Error::new(ErrorKind::LimitExceeded, what)));
    let begun = said.split_once(COMPILING).map(|(_, words)| words.trim());
    let has_failed = !matches!(status, Status::Code(code) if code == 0 || code == i32::from(REFUSED));
    match (cause, status, begun) {
        (Cause::WallTime, ..) => exceeded(format!(
            "compile the component within {:?}, its limit (system.compile.time, --compile-time)",
            limits.time
        )),
        (Cause::OutOfMemory, ..) => exceeded(out_of_memory(limits)),
        (_, Status::Code(code), _) if code == i32::from(EXHAUSTED) => exceeded(out_of_memory(limits)),
        _ if has_failed && NO_MEMORY.iter().any(|words| said.contains(words)) => {
            exceeded(out_of_memory(limits))
        }
        (Cause::Itself, Status::Code(_), None) => {
            Err(Failed::Start(format!("the compiler ended with {exit}: {}", reason(said))))
        }
        (Cause::Itself, Status::Code(0), _) => Ok(()),
        (Cause::Itself, Status::Code(code), Some(words)) if code == i32::from(REFUSED) => {
            let error = Error::new(ErrorKind::InvalidComponent, "load the component");
            Err(Failed::Bytes(error.caused_by(reason(words))))
        }
        _ => {
            // A panic of the compiler's, or somebody's signal: it says nothing about the bytes that anybody could rely on.
            let cause = format!("the compiler ended with {exit}: {}", reason(begun.unwrap_or(said)));
            let error = Error::new(ErrorKind::Unavailable, "compile the component");
            Err(Failed::Bytes(error.caused_by(cause)))
        }
    }
}

fn out_of_memory(limits: &CompileLimits) -> String {
    format!(
        "compile the component with {} bytes of memory, its limit (system.compile.memory, --compile-memory)",
        limits.memory_bytes
    )
}

/// The first of a compiler's last words.
fn reason(words: &str) -> String {
    words.trim().chars().take(REASON_CHARS).collect()
}

/// What is to be made of bytes, and how: all that an engine's code depends on.
///
/// Its text is an argument of the compiler's process, such as `module+metered`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recipe {
    /// Machine code of a component.
    Component(Settings),
    /// Machine code of a module.
    Module(Settings),
    /// One component of several, whose code depends on nothing else.
    Composition,
}

const METERED: &str = "metered";
const UNRESERVED: &str = "unreserved";
const CONCURRENT: &str = "concurrent";
const COMPOSITION: &str = "composition";

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, settings) = match self {
            Self::Component(settings) => ("component", settings),
            Self::Module(settings) => ("module", settings),
            Self::Composition => return f.write_str(COMPOSITION),
        };
        f.write_str(kind)?;
        for (is_set, word) in
            [(settings.metered, METERED), (!settings.reserved, UNRESERVED), (settings.concurrent, CONCURRENT)]
        {
            if is_set {
                write!(f, "+{word}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for Recipe {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (kind, more) = text.split_once('+').unwrap_or((text, ""));
        let make = match kind {
            "module" => Self::Module,
            "component" => Self::Component,
            COMPOSITION if more.is_empty() => return Ok(Self::Composition),
            _ => return Err(()),
        };
        let mut settings = Settings { metered: false, reserved: true, concurrent: false };
        for word in more.split('+').filter(|word| !word.is_empty()) {
            match word {
                METERED => settings.metered = true,
                UNRESERVED => settings.reserved = false,
                CONCURRENT => settings.concurrent = true,
                _ => return Err(()),
            }
        }
        Ok(make(settings))
    }
}

/// Why [`precompile`] gave nothing. Its text is for the stderr of a compiler's process.
#[derive(Debug)]
pub struct Refusal {
    status: u8,
    text: String,
}

impl Refusal {
    /// The status with which a compiler's process ends.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}

/// What the process of a [`Compiler`] does: makes machine code of `bytes`, or one component of several, as the last of its
/// arguments says.
///
/// # Errors
///
/// The bytes are not what they are taken for, there is no memory left, or the argument is not a compiler's.
pub fn precompile(recipe: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let recipe: Recipe = recipe
        .parse()
        .map_err(|()| Refusal { status: UNABLE, text: "it is not asked for by a compiler".to_owned() })?;
    let refused = |error: wasmtime::Error, status| {
        let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        let text = causes.join(": ");
        Refusal { status: if text.contains(NO_MEMORY_CODE) { EXHAUSTED } else { status }, text }
    };
    let engine = |settings: Settings| {
        let engine = settings.engine(InstanceAllocationStrategy::OnDemand);
        engine.map_err(|error| refused(error, UNABLE))
    };
    let code = match recipe {
        Recipe::Module(settings) => engine(settings)?.precompile_module(bytes),
        Recipe::Component(settings) => engine(settings)?.precompile_component(bytes),
        Recipe::Composition => compose::framed(bytes).map_err(wasmtime::Error::msg),
    };
    code.map_err(|error| refused(explain(error, missing_in(bytes)), REFUSED))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of an end of which `stderr` tells: `start`, or the kind of the error.
    #[track_caller]
    fn check(cause: Cause, status: Status, stderr: &str, expected: Result<(), Option<ErrorKind>>) {
        let judged = verdict((cause, status), stderr, "so", &CompileLimits::default());
        let judged = judged.map_err(|failed| match failed {
            Failed::Start(_) => None,
            Failed::Door(error) => panic!("{error}"),
            Failed::Bytes(error) => Some(error.kind()),
        });
        assert_eq!(judged, expected, "{cause} {status:?} {stderr:?}");
    }

    #[test]
    fn the_bytes_are_blamed_for_nothing_but_what_they_did() {
        let refused = Err(Some(ErrorKind::InvalidComponent));
        let (exceeded, unknown) = (Err(Some(ErrorKind::LimitExceeded)), Err(Some(ErrorKind::Unavailable)));
        let own = |code, stderr, expected| check(Cause::Itself, Status::Code(code), stderr, expected);
        own(0, "compiling\n", Ok(()));
        own(3, "compiling\nunknown import", refused);
        own(4, "compiling\nmmap: Cannot allocate memory (os error 12)", exceeded);
        own(5, "compiling\nno such machine", unknown);
        own(101, "compiling\nthread panicked", unknown);
        own(127, "error while loading shared libraries: libm.so.6: no such file", Err(None));
        own(127, "libm.so.6: failed to map segment from shared object", exceeded);
        check(Cause::Itself, Status::Signal(6), "compiling\nmemory allocation of 8 bytes failed", exceeded);
        check(Cause::Itself, Status::Signal(9), "compiling\n", unknown);
        check(Cause::WallTime, Status::Signal(9), "", exceeded);
        check(Cause::OutOfMemory, Status::Signal(9), "compiling\n", exceeded);
        check(Cause::Revoked, Status::Signal(9), "compiling\n", unknown);
    }

    #[test]
    fn no_more_work_at_once_than_there_is_memory_for() {
        assert_eq!(turns(8, None, 2 << 30), 8);
        assert_eq!(turns(8, Some(7 << 30), 2 << 30), 3);
        assert_eq!(turns(8, Some(1 << 30), 2 << 30), 1);
        assert_eq!(turns(2, Some(64 << 30), 0), 2);
    }

    #[test]
    fn a_recipe_is_read_as_it_is_written() {
        let check = |recipe: Recipe| assert_eq!(recipe.to_string().parse(), Ok(recipe));
        check(Recipe::Composition);
        for make in [Recipe::Component, Recipe::Module] {
            for metered in [false, true] {
                for reserved in [false, true] {
                    for concurrent in [false, true] {
                        check(make(Settings { metered, reserved, concurrent }));
                    }
                }
            }
        }
        for text in ["", "modules", "module+fast", "+metered", "composition+metered"] {
            assert_eq!(text.parse::<Recipe>(), Err(()), "{text:?}");
            assert!(precompile(text, b"(module)").is_err());
        }
    }

    #[test]
    fn code_made_elsewhere_is_that_of_the_engine() {
        for (settings, allocation) in [
            ((false, true, false), InstanceAllocationStrategy::pooling()),
            ((true, false, false), InstanceAllocationStrategy::OnDemand),
            ((false, true, true), InstanceAllocationStrategy::pooling()),
        ] {
            let (metered, reserved, concurrent) = settings;
            let settings = Settings { metered, reserved, concurrent };
            let engine = settings.engine(allocation).expect("it is one");
            let recipe = Recipe::Module(settings);
            let elsewhere = precompile(&recipe.to_string(), b"\0asm\x01\0\0\0").expect("it is a module");
            assert!(elsewhere == engine.precompile_module(b"\0asm\x01\0\0\0").expect("it is a module"));
        }
    }
}
