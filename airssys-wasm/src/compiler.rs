//! Untrusted bytes are compiled in a process of their own: what they cost there costs nobody else.
//!
//! docs/adr/0017-compiling-elsewhere.md says what that protects from, and what not.

use std::{fmt, str::FromStr, thread};

use airssys_osl::{
    ErrorKind as DoorErrorKind, Principal,
    policy::{ExecTerms, Grant},
    process::{Calls, Cause, Collected, Exec, Launch, Limits, Profile, Status, Stdio, THIS_PROGRAM},
};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{OnceCell, Semaphore},
};
use wasmtime::InstanceAllocationStrategy;

use crate::{
    cache::ENTRY_BYTES,
    component::{explain, newer_interface},
    engine::Settings,
    error::{Error, ErrorKind},
    manifest::CompileLimits,
};

/// The status of a compiler that refused the bytes. Any other but 0 is a compiler that failed.
const REFUSED: u8 = 3;

/// How Rust says that there is no memory left, before it aborts.
const NO_MEMORY: &[u8] = b"memory allocation of";

/// `SIGABRT`.
const ABORTED: i32 = 6;

/// The most bytes of a compiler's last words that become part of an error: a component can have a say in them.
const REASON_BYTES: usize = 4096;

/// Compiles components and modules, each in a process of its own: the program that runs, started once more.
///
/// The process is held by every layer of [`Profile::Strict`] that the machine has. It has no file but the system's
/// libraries, no network, no variable, and of the caller nothing but three pipes; its time and its memory are bounded.
/// As many run at once as the machine has processors; more wait, and their time does not begin before they do.
///
/// Such a program, asked to compile by the arguments that [`grant`](Self::grant) was given and one more, hands that and
/// its input to [`precompile`], prints what comes back as it is, and exits with
/// [`Refusal::status`] where that is an error, with its text on stderr.
pub struct Compiler {
    principal: Principal,
    limits: CompileLimits,
    /// Opened for the first compilation: a start from the cache needs none.
    exec: OnceCell<Exec>,
    turns: Semaphore,
}

impl Compiler {
    /// What the principal of a compiler is granted: to start this program with `arguments`, within `limits`.
    pub fn grant(arguments: &[&str], limits: &CompileLimits) -> Grant {
        let limits =
            Limits::new().wall_time(limits.time).memory_bytes(limits.memory_bytes).output_bytes(ENTRY_BYTES);
        let terms = ExecTerms::new().profile(Profile::Strict).calls(Calls::Usual).limits(limits);
        let terms = arguments.iter().fold(terms, |terms, argument| terms.arg(*argument));
        Grant::exec(THIS_PROGRAM, terms.text())
    }

    /// Makes a compiler that starts processes as `principal`, which has the [`grant`](Self::grant) with these limits.
    pub fn new(principal: Principal, limits: CompileLimits) -> Self {
        let turns = thread::available_parallelism().map_or(1, usize::from);
        Self { principal, limits, exec: OnceCell::new(), turns: Semaphore::new(turns) }
    }

    /// Compiles in a process of its own. The error of the door is one about the process, not about the bytes.
    pub(crate) async fn compile(&self, recipe: Recipe, bytes: &[u8]) -> Result<Vec<u8>, Failed> {
        // It is never closed.
        let _turn = self.turns.acquire().await;
        let exec = self.exec.get_or_try_init(|| self.principal.exec(THIS_PROGRAM)).await?;
        let pipes = Launch::new().stdin(Stdio::Pipe).stdout(Stdio::Pipe).stderr(Stdio::Pipe);
        let mut process = exec.spawn(pipes.text(recipe.to_string())).await?;
        let input = process.stdin.take();
        let feed = async move {
            if let Some(mut input) = input {
                // Who does not read to the end has ended, and that tells why.
                let _ = input.write_all(bytes).await;
            }
        };
        let (collected, ()) = tokio::join!(process.collect(), feed);
        match collected {
            Ok(collected) => judge(collected, &self.limits).map_err(Failed::Bytes),
            Err(error) if error.kind() == DoorErrorKind::LimitExceeded => {
                let what = format!("compile the component: its code is larger than {ENTRY_BYTES} bytes");
                Err(Failed::Bytes(Error::new(ErrorKind::LimitExceeded, what)))
            }
            Err(error) => Err(Failed::Door(error)),
        }
    }
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Why nothing was compiled.
pub(crate) enum Failed {
    /// The process could not be started or heard.
    Door(airssys_osl::Error),
    /// The bytes were refused, or were too much.
    Bytes(Error),
}

impl From<airssys_osl::Error> for Failed {
    fn from(error: airssys_osl::Error) -> Self {
        Self::Door(error)
    }
}

/// What a compiler said by its end.
fn judge(ended: Collected, limits: &CompileLimits) -> Result<Vec<u8>, Error> {
    let exceeded = |what: String| Err(Error::new(ErrorKind::LimitExceeded, what));
    let is_out_of_memory = || ended.stderr.windows(NO_MEMORY.len()).any(|window| window == NO_MEMORY);
    let exit = &ended.exit;
    match (exit.cause, exit.status) {
        (Cause::WallTime, _) => exceeded(format!(
            "compile the component within {:?}, its limit (system.compile.time, --compile-time)",
            limits.time
        )),
        (Cause::OutOfMemory, _) => exceeded(out_of_memory(limits)),
        (_, Status::Signal(ABORTED)) if is_out_of_memory() => exceeded(out_of_memory(limits)),
        (Cause::Itself, Status::Code(0)) => Ok(ended.stdout),
        (Cause::Itself, Status::Code(code)) if code == i32::from(REFUSED) => {
            Err(Error::new(ErrorKind::InvalidComponent, "load the component")
                .caused_by(reason(&ended.stderr)))
        }
        _ => {
            let cause = format!("the compiler ended with {exit}: {}", reason(&ended.stderr));
            Err(Error::new(ErrorKind::InvalidComponent, "compile the component").caused_by(cause))
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
fn reason(stderr: &[u8]) -> String {
    let first = stderr.get(..REASON_BYTES).unwrap_or(stderr);
    String::from_utf8_lossy(first).trim_end().to_owned()
}

/// What is to be compiled, and how: all that an engine's code depends on.
///
/// Its text is an argument of the compiler's process, such as `module+metered`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    pub(crate) is_module: bool,
    pub(crate) settings: Settings,
}

const METERED: &str = "metered";
const UNRESERVED: &str = "unreserved";

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_module { "module" } else { "component" })?;
        for (is_set, word) in [(self.settings.metered, METERED), (!self.settings.reserved, UNRESERVED)] {
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
        let is_module = match kind {
            "module" => true,
            "component" => false,
            _ => return Err(()),
        };
        let mut settings = Settings { metered: false, reserved: true };
        for word in more.split('+').filter(|word| !word.is_empty()) {
            match word {
                METERED => settings.metered = true,
                UNRESERVED => settings.reserved = false,
                _ => return Err(()),
            }
        }
        Ok(Self { is_module, settings })
    }
}

/// Why [`precompile`] gave nothing. Its text is for the stderr of a compiler's process.
#[derive(Debug)]
pub struct Refusal(String);

impl Refusal {
    /// The status with which a compiler's process ends.
    pub fn status(&self) -> u8 {
        REFUSED
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// What the process of a [`Compiler`] does: makes machine code of `bytes`, as the last of its arguments says.
///
/// # Errors
///
/// The bytes are not what they are taken for, or the argument is not a compiler's.
pub fn precompile(recipe: &str, bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let recipe: Recipe =
        recipe.parse().map_err(|()| Refusal("it is not asked for by a compiler".to_owned()))?;
    let told = |error: wasmtime::Error| {
        let causes: Vec<_> = error.chain().map(ToString::to_string).collect();
        Refusal(causes.join(": "))
    };
    let engine = recipe.settings.engine(InstanceAllocationStrategy::OnDemand).map_err(told)?;
    let code = match recipe.is_module {
        true => engine.precompile_module(bytes),
        false => engine.precompile_component(bytes),
    };
    code.map_err(|error| told(explain(error, newer_interface(bytes))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_read_as_it_is_written() {
        for is_module in [false, true] {
            for metered in [false, true] {
                for reserved in [false, true] {
                    let recipe = Recipe { is_module, settings: Settings { metered, reserved } };
                    assert_eq!(recipe.to_string().parse(), Ok(recipe));
                }
            }
        }
        for text in ["", "modules", "module+fast", "+metered"] {
            assert_eq!(text.parse::<Recipe>(), Err(()), "{text:?}");
            assert!(precompile(text, b"(module)").is_err());
        }
    }

    #[test]
    fn code_made_elsewhere_is_that_of_the_engine() {
        for (settings, allocation) in [
            (Settings { metered: false, reserved: true }, InstanceAllocationStrategy::pooling()),
            (Settings { metered: true, reserved: false }, InstanceAllocationStrategy::OnDemand),
        ] {
            let engine = settings.engine(allocation).expect("it is one");
            let recipe = Recipe { is_module: true, settings };
            let elsewhere = precompile(&recipe.to_string(), b"\0asm\x01\0\0\0").expect("it is a module");
            assert!(elsewhere == engine.precompile_module(b"\0asm\x01\0\0\0").expect("it is a module"));
        }
    }
}
