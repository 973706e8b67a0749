//! The door of this program: its log, its policy, and what it may do itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use airssys_osl::{
    Error, ErrorKind, Milestone, Os, Principal, Verdict,
    audit::{self, Log, LogOptions, Sink},
    bootstrap,
    policy::{Grant, PolicyBuilder, Rights},
};
use airssys_wasm::Cache;

use crate::{
    config,
    report::{Failure, Terminal},
};

/// The principal of the program itself.
const PROGRAM: &str = "program";

/// What everything goes through, and where it is recorded.
pub(crate) struct Door {
    pub(crate) os: Os,
    pub(crate) log: Log,
    pub(crate) log_dir: PathBuf,
    /// The program's own principal.
    pub(crate) program: Principal,
    cache_dir: Option<PathBuf>,
}

impl Door {
    /// Opens the log in `log_dir` and puts a door before a system, whose denials are told at once. `grants` are the
    /// program's own.
    pub(crate) fn open(
        log_dir: PathBuf,
        origin: &str,
        policy: PolicyBuilder,
        grants: Vec<Grant>,
        terminal: &Arc<Terminal>,
    ) -> Result<Self, Failure> {
        let log = Log::open(&log_dir, origin, LogOptions::default())
            .map_err(|error| log_failure(&log_dir, error))?;
        let sink = Heard { log: log.clone(), terminal: terminal.clone() };
        Self::with_log(log, sink, log_dir, policy, grants)
    }

    /// Opens the first log of this user that no other program writes: for what has no manifest that names one.
    /// Denials are on the record only; the streams belong to the command that runs.
    pub(crate) fn open_for_user(policy: PolicyBuilder, grants: Vec<Grant>) -> Result<Self, Failure> {
        let Some(state) = config::state_dir() else {
            let failure = Failure::failed("cannot tell where to keep the audit log");
            return Err(failure.help("set HOME or XDG_STATE_HOME to an absolute path"));
        };
        let mut last = None;
        for number in 0..config::LOGS {
            let log_dir = state.join(format!("audit-{number}"));
            match Log::open(&log_dir, &format!("airssys/user-{number}"), LogOptions::default()) {
                Ok(log) => return Self::with_log(log.clone(), log, log_dir, policy, grants),
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
        let policy = policy.principal(PROGRAM, grants).build();
        let policy =
            policy.map_err(|error| Failure::invalid("cannot compile the policy").caused_by(error))?;
        let os = Os::new(policy, sink);
        let program =
            os.principal(PROGRAM).map_err(|error| Failure::failed("no principal").caused_by(error))?;
        Ok(Self { os, log, log_dir, program, cache_dir })
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

/// The log, with somebody who hears what was denied.
struct Heard {
    log: Log,
    terminal: Arc<Terminal>,
}

impl Sink for Heard {
    fn record(&self, event: &audit::Event<'_>) -> Result<u64, Error> {
        if event.verdict == Verdict::Deny {
            self.terminal.denied(event);
        }
        self.log.record(event)
    }
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
