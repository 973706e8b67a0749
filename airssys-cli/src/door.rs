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
use airssys_wasm::{Cache, manifest::AuditSpec};

use crate::{
    config,
    report::{Failure, Terminal},
};

/// The principal of the program itself.
const PROGRAM: &str = "program";

/// The largest file with a key, in bytes.
const KEY_FILE_BYTES: u64 = 1024;

/// What everything goes through, and where it is recorded.
pub(crate) struct Door {
    pub(crate) os: Os,
    pub(crate) log: Log,
    pub(crate) log_dir: PathBuf,
    /// The program's own principal.
    pub(crate) program: Principal,
    /// What the program itself was granted: the same stands in every policy of it.
    grants: Vec<Grant>,
    cache_dir: Option<PathBuf>,
    would_deny: Arc<AtomicU64>,
}

impl Door {
    /// Opens the log in `log_dir` and puts a door before a system, whose denials are told at once. `grants` are the
    /// program's own.
    pub(crate) fn open(
        audit: &AuditSpec,
        origin: &str,
        policy: PolicyBuilder,
        grants: Vec<Grant>,
        terminal: &Arc<Terminal>,
    ) -> Result<Self, Failure> {
        let log_dir = audit.dir.clone();
        let log =
            Log::open(&log_dir, origin, log_options(audit)?).map_err(|error| log_failure(&log_dir, error))?;
        let would_deny = Arc::<AtomicU64>::default();
        let (terminal, counter) = (terminal.clone(), would_deny.clone());
        let hear = move |event: &audit::Event<'_>| match (event.verdict, event.phase) {
            (Verdict::Deny, _) => terminal.denied(event),
            (Verdict::WouldDeny, Phase::Done) => drop(counter.fetch_add(1, Ordering::Relaxed)),
            _ => {}
        };
        let sink = Heard { log: log.clone(), hear };
        let door = Self::with_log(log, sink, log_dir, policy, grants)?;
        Ok(Self { would_deny, ..door })
    }

    /// Opens the first log of this user that no other program writes: for what has no manifest that names one.
    /// Denials are on the record only; the streams belong to the command that runs.
    pub(crate) fn open_for_user(policy: PolicyBuilder, grants: Vec<Grant>) -> Result<Self, Failure> {
        Self::open_for_user_heard(policy, grants, |_| {})
    }

    /// As [`open_for_user`](Self::open_for_user); `hear` is told of every record.
    pub(crate) fn open_for_user_heard(
        policy: PolicyBuilder,
        grants: Vec<Grant>,
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
                    return Self::with_log(log, sink, log_dir, policy, grants);
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
            let rights = Rights::READ | Rights::WRITE | Rights::CREATE;
            grants.push(Grant::fs(dir, rights).rule("builtin.cache"));
        }
        let policy = compile(policy, &grants)?;
        let os = Os::new(policy, sink);
        let program =
            os.principal(PROGRAM).map_err(|error| Failure::failed("no principal").caused_by(error))?;
        Ok(Self { os, log, log_dir, program, grants, cache_dir, would_deny: Arc::default() })
    }

    /// Puts another policy in place, for what is open too, with a record that says from where it is.
    pub(crate) fn reload(&self, policy: PolicyBuilder, what: &str) -> Result<(), Failure> {
        let policy = compile(policy, &self.grants)?;
        let marked = self.os.mark(Milestone::Reload, what).and_then(|()| self.log.flush());
        marked.map_err(|error| Failure::failed("cannot record the change of policy").caused_by(error))?;
        self.os.reload(policy);
        Ok(())
    }

    /// How many operations were done that would have been denied, if denials were carried out.
    pub(crate) fn would_deny(&self) -> u64 {
        self.would_deny.load(Ordering::Relaxed)
    }

    /// The code cache, where there can be one. What is wrong with it is told once; a start without it is only slow.
    pub(crate) async fn cache(&self) -> Option<Arc<Cache>> {
        let dir = self.program.dir(self.cache_dir.as_ref()?).await;
        let cache = match dir {
            Ok(dir) => Cache::open(dir, &self.program).await.map_err(Into::into),
            Err(error) => Err(Box::<dyn std::error::Error + Send + Sync>::from(error)),
        };
        match cache {
            Ok(cache) => Some(Arc::new(cache)),
            Err(error) => {
                tracing::warn!(cause = %error, "no code cache: every start compiles");
                None
            }
        }
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

fn compile(policy: PolicyBuilder, grants: &[Grant]) -> Result<Policy, Failure> {
    let policy = policy.principal(PROGRAM, grants.to_vec()).build();
    policy.map_err(|error| Failure::invalid("cannot compile the policy").caused_by(error))
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
