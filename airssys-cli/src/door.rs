//! The door of this program: its log, its policy, and what it may do itself.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use airssys_osl::{
    Error, ErrorKind, Milestone, Os, Principal, Verdict,
    audit::{self, Log, LogOptions, Phase, Sink},
    bootstrap,
    policy::{Grant, Policy, PolicyBuilder, Rights},
};
#[cfg(target_os = "linux")]
use airssys_wasm::Compiler;
use airssys_wasm::{
    Cache, Engine,
    manifest::{AuditSpec, CompileLimits, Manifest},
};

#[cfg(target_os = "linux")]
use crate::args::PRECOMPILE;
use crate::{
    config,
    report::{Failure, Terminal},
};

/// The principal of the program itself.
const PROGRAM: &str = "program";

/// The principal of the processes that compile.
const COMPILER: &str = "compiler";

/// The largest file with a key, in bytes.
const KEY_FILE_BYTES: u64 = 1024;

/// What everything goes through, and where it is recorded.
pub(crate) struct Door {
    pub(crate) os: Os,
    pub(crate) log: Log,
    pub(crate) log_dir: PathBuf,
    /// The program's own principal.
    pub(crate) program: Principal,
    /// What the program itself was granted, and its compiler's bounds: the same stand in every policy of it.
    grants: Vec<Grant>,
    compiling: Compiling,
    cache_dir: Option<PathBuf>,
    would_deny: Arc<AtomicU64>,
}

/// What compiling may take: of time and memory for one component, of the disk for all.
#[derive(Clone)]
pub(crate) struct Compiling {
    pub(crate) limits: CompileLimits,
    pub(crate) cache_bytes: u64,
}

impl Compiling {
    /// As a manifest says.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        Self { limits: manifest.compile.clone(), cache_bytes: manifest.cache_bytes }
    }
}

impl Default for Compiling {
    fn default() -> Self {
        Self { limits: CompileLimits::default(), cache_bytes: Cache::DEFAULT_BYTES }
    }
}

impl Door {
    /// Opens the log of a system and puts a door before it. Denials are told at once. `grants` are the program's own.
    pub(crate) fn open(
        manifest: &Manifest,
        origin: &str,
        policy: PolicyBuilder,
        grants: Vec<Grant>,
        terminal: &Arc<Terminal>,
    ) -> Result<Self, Failure> {
        let log_dir = manifest.audit.dir.clone();
        let log = Log::open(&log_dir, origin, log_options(&manifest.audit)?)
            .map_err(|error| log_failure(&log_dir, error))?;
        let would_deny = Arc::<AtomicU64>::default();
        let (terminal, counter) = (terminal.clone(), would_deny.clone());
        let hear = move |event: &audit::Event<'_>| match (event.verdict, event.phase) {
            (Verdict::Deny, _) => terminal.denied(event),
            (Verdict::WouldDeny, Phase::Done) => drop(counter.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        };
        let sink = Heard { log: log.clone(), hear };
        let door = Self::with_log(log, sink, log_dir, policy, grants, Compiling::of(manifest))?;
        Ok(Self { would_deny, ..door })
    }

    /// Opens the first log of this user that no other program writes: for what has no manifest that names one.
    /// Denials are on the record only; the streams belong to the command that runs.
    pub(crate) fn open_for_user(policy: PolicyBuilder, grants: Vec<Grant>) -> Result<Self, Failure> {
        Self::open_to_compile(policy, grants, Compiling::default())
    }

    /// As [`open_for_user`](Self::open_for_user), with other bounds of what is compiled.
    pub(crate) fn open_to_compile(
        policy: PolicyBuilder,
        grants: Vec<Grant>,
        compiling: Compiling,
    ) -> Result<Self, Failure> {
        Self::open_for_user_heard(policy, grants, compiling, |_| {})
    }

    /// As [`open_to_compile`](Self::open_to_compile); `hear` is told of every record.
    pub(crate) fn open_for_user_heard(
        policy: PolicyBuilder,
        grants: Vec<Grant>,
        compiling: Compiling,
        hear: impl Fn(&audit::Event<'_>) + Send + Sync + 'static,
    ) -> Result<Self, Failure> {
        let Some(state) = config::state_dir() else {
            let failure = Failure::failed("cannot tell where to keep the audit log");
            return Err(failure.help("set HOME or XDG_STATE_HOME to an absolute path"));
        };
        let mut last = None;
        for number in 0..config::LOGS {
            let log_dir = state.join(format!("audit-{number}"));
            match Log::open(&log_dir, &format!("airssys/user-{number}"), LogOptions::default()) {
                Ok(log) => {
                    let sink = Heard { log: log.clone(), hear };
                    return Self::with_log(log, sink, log_dir, policy, grants, compiling);
                }
                Err(error) if error.kind() == ErrorKind::Busy => last = Some(error),
                Err(error) => return Err(log_failure(&log_dir, error)),
            }
        }
        let failure =
            Failure::failed(format!("all {} logs in `{}` are in use", config::LOGS, state.display()));
        Err(match last {
            Some(error) => failure.caused_by(error),
            None => failure,
        })
    }

    fn with_log(
        log: Log,
        sink: impl Sink,
        log_dir: PathBuf,
        policy: PolicyBuilder,
        mut grants: Vec<Grant>,
        compiling: Compiling,
    ) -> Result<Self, Failure> {
        let cache_dir = config::cache_dir().filter(|dir| match bootstrap::create_dir(dir) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(dir = %dir.display(), cause = %error, "no code cache: every start compiles");
                false
            }
        });
        grants.push(Grant::random().rule("builtin.random"));
        if let Some(dir) = &cache_dir {
            grants.push(Grant::fs(dir, Rights::all()).rule("builtin.cache"));
        }
        let policy = compile(policy, &grants, &compiling)?;
        let os = Os::new(policy, sink);
        let program =
            os.principal(PROGRAM).map_err(|error| Failure::failed("no principal").caused_by(error))?;
        Ok(Self { os, log, log_dir, program, grants, compiling, cache_dir, would_deny: Arc::default() })
    }

    /// Puts another policy in place, for what is open too, with a record that says from where it is.
    pub(crate) fn reload(&self, policy: PolicyBuilder, what: &str) -> Result<(), Failure> {
        let policy = compile(policy, &self.grants, &self.compiling)?;
        let marked = self.os.mark(Milestone::Reload, what).and_then(|()| self.log.flush());
        marked.map_err(|error| Failure::failed("cannot record the change of policy").caused_by(error))?;
        self.os.reload(policy);
        Ok(())
    }

    /// How many operations were done that would have been denied, if denials were carried out.
    pub(crate) fn would_deny(&self) -> u64 {
        self.would_deny.load(Ordering::Relaxed)
    }

    /// What compiles and runs components: compiled by processes of their own where there can be any.
    pub(crate) fn engine(&self) -> Result<Engine, Failure> {
        self.engine_holding(0)
    }

    /// As [`engine`](Self::engine), for so many actors.
    pub(crate) fn engine_holding(&self, actors: usize) -> Result<Engine, Failure> {
        let failed = |error| Failure::failed("cannot compile or run anything").caused_by(error);
        let engine = Engine::holding(actors).map_err(failed)?;
        #[cfg(target_os = "linux")]
        let engine = {
            let principal = self.os.principal(COMPILER);
            let principal = principal.map_err(|error| Failure::failed("no principal").caused_by(error))?;
            engine.compiling_with(Compiler::new(principal, self.compiling.limits.clone()))
        };
        Ok(engine)
    }

    /// The code cache, where there can be one. What is wrong with it is told once; a start without it is only slow.
    pub(crate) async fn cache(&self) -> Option<Arc<Cache>> {
        self.cache_dir.as_ref()?;
        match self.open_cache().await {
            Ok(cache) => Some(Arc::new(cache)),
            Err(failure) => {
                tracing::warn!(cause = failure.told(), "no code cache: every start compiles");
                None
            }
        }
    }

    /// The code cache, or why there is none.
    pub(crate) async fn open_cache(&self) -> Result<Cache, Failure> {
        let Some(dir) = &self.cache_dir else {
            let failure = Failure::failed("there is no place for a code cache");
            return Err(failure.help("set HOME or XDG_CACHE_HOME to an absolute path that can be written"));
        };
        let failed = || Failure::failed(format!("cannot open the code cache in `{}`", dir.display()));
        let opened = self.program.dir(dir).await.map_err(|error| failed().caused_by(error))?;
        let cache = Cache::open(opened, &self.program).await.map_err(|error| failed().caused_by(error))?;
        Ok(cache.limited(self.compiling.cache_bytes))
    }

    /// Where the code cache is.
    pub(crate) fn cache_dir(&self) -> Option<&Path> {
        self.cache_dir.as_deref()
    }

    /// Leaves the first record: with what the program was started. It is on the disk before anything is done.
    pub(crate) fn started(&self, what: &str) -> Result<(), Failure> {
        let marked = self.os.mark(Milestone::Start, what).and_then(|()| self.log.flush());
        marked.map_err(|error| Failure::failed("cannot record the start").caused_by(error))
    }

    /// Leaves the last record and closes the log.
    pub(crate) fn close(self, why: &str) -> Result<(), Failure> {
        let Self { os, log, program, .. } = self;
        let marked = os.mark(Milestone::Stop, why);
        drop((os, program));
        let closed = marked.and_then(|()| log.close());
        closed.map_err(|error| Failure::failed("cannot close the audit log").caused_by(error))
    }
}

/// The log, with somebody who hears what goes into it.
struct Heard<F> {
    log: Log,
    hear: F,
}

impl<F: Fn(&audit::Event<'_>) + Send + Sync + 'static> Sink for Heard<F> {
    fn record(&self, event: &audit::Event<'_>) -> Result<u64, Error> {
        (self.hear)(event);
        self.log.record(event)
    }
}

fn compile(policy: PolicyBuilder, grants: &[Grant], compiling: &Compiling) -> Result<Policy, Failure> {
    let policy = policy.principal(PROGRAM, grants.to_vec()).principal(COMPILER, compiler_grants(compiling));
    let policy = policy.build();
    policy.map_err(|error| Failure::invalid("cannot compile the policy").caused_by(error))
}

#[cfg(target_os = "linux")]
fn compiler_grants(compiling: &Compiling) -> Option<Grant> {
    Some(Compiler::grant(&[PRECOMPILE], &compiling.limits).rule("builtin.compiler"))
}

/// Programs are held, and so started, on Linux alone.
#[cfg(not(target_os = "linux"))]
fn compiler_grants(_: &Compiling) -> Option<Grant> {
    None
}

/// How the log is written, with the key of what is redacted.
pub(crate) fn log_options(audit: &AuditSpec) -> Result<LogOptions, Failure> {
    let mut options = audit.options.clone();
    if let Some(file) = &audit.redact_key {
        let shown = file.value.display();
        let unusable = || Failure::invalid(format!("cannot read the key of redacted parts, `{shown}`"));
        let read =
            bootstrap::read(&file.value, KEY_FILE_BYTES).map_err(|error| unusable().caused_by(error))?;
        let key = parse_key(&read.bytes).ok_or_else(|| {
            unusable().help("make one: head -c32 /dev/urandom | xxd -p -c64 > FILE; chmod 600 FILE")
        })?;
        options.redaction = options.redaction.key(key);
    }
    Ok(options)
}

/// Reads 64 hexadecimal digits, and space around them.
fn parse_key(bytes: &[u8]) -> Option<[u8; 32]> {
    let digits = bytes.trim_ascii();
    let mut key = [0; 32];
    if digits.len() != 2 * key.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(key)
}

fn log_failure(log_dir: &Path, error: Error) -> Failure {
    if error.kind() == ErrorKind::Tampered {
        let failure =
            Failure::tampered(format!("the audit log in `{}` is not what it was", log_dir.display()));
        let help = "keep it as evidence (move the folder away); the next start begins a new log";
        return failure.caused_by(error).help(help);
    }
    let failure = Failure::failed(format!("cannot write the audit log in `{}`", log_dir.display()));
    if error.kind() == ErrorKind::Busy {
        return failure
            .caused_by(error)
            .help("the system runs already: stop it first, or give this one another `state`");
    }
    failure.caused_by(error).help("nothing runs without its audit log")
}
