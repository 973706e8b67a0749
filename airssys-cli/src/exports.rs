//! Records and checkpoints on their way elsewhere, while a system runs.

use std::time::Duration;

use airssys_osl::{
    Error, ErrorKind,
    audit::export::{Anchors, Exporter, Target},
};
use airssys_wasm::manifest::{self, AuditSpec, To};
use tokio::{sync::watch, task::JoinSet};

use crate::report::Failure;

/// How long apart the log is looked at for more.
const POLL: Duration = Duration::from_millis(200);

/// How long a target is left alone after it failed, at least and at most.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// How long what is left may take when the system has stopped. It is not lost: the next run sends it.
const LAST: Duration = Duration::from_secs(10);

/// Everything that is sent while a system runs.
pub(crate) struct Exports {
    tasks: JoinSet<()>,
    closed: watch::Sender<bool>,
}

impl Exports {
    /// Starts what a manifest asks for. Each goes on where it stood when the last run ended.
    pub(crate) fn start(audit: &AuditSpec) -> Result<Self, Failure> {
        let (closed, _) = watch::channel(false);
        let mut exports = Self { tasks: JoinSet::new(), closed };
        for manifest::Export { name, to } in &audit.exports {
            let cursor = audit.dir.join(format!("{name}.cursor"));
            let exporter = Exporter::open(&audit.dir, &cursor, target(to)).map_err(|error| {
                let failure = Failure::failed(format!("cannot start the export `{name}`")).caused_by(error);
                failure.help(format!("without `{}` it begins at the first record again", cursor.display()))
            })?;
            exports.tasks.spawn(export(name.clone(), exporter, exports.closed.subscribe()));
        }
        for manifest::Anchor { name, to, every } in &audit.anchors {
            let anchors = Anchors::new(&audit.dir, target(to));
            exports.tasks.spawn(anchor(name.clone(), anchors, *every, exports.closed.subscribe()));
        }
        Ok(exports)
    }

    /// Sends what is left of a log that was closed.
    pub(crate) async fn finish(mut self) {
        self.closed.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// What sends to the place that a manifest, or the command line, names.
pub(crate) fn target(to: &To) -> Target {
    match to {
        To::File(file) => Target::append(file),
        To::Syslog(socket) => Target::syslog(socket),
        To::SyslogTcp(address) => Target::syslog_tcp(*address),
        To::Journal(socket) => Target::journal(socket),
        To::Otlp(address, host, path) => Target::otlp(*address, host, path),
    }
}

/// Something to do again and again while a system runs.
trait Attempt: Send {
    fn attempt(&mut self) -> impl Future<Output = Result<(), Error>> + Send;
}

struct Export {
    name: String,
    exporter: Exporter,
    /// How many lost records were told.
    told: u64,
}

impl Attempt for Export {
    async fn attempt(&mut self) -> Result<(), Error> {
        let sent = self.exporter.run_once().await;
        tell_lost(&self.name, &self.exporter, &mut self.told);
        sent.map(drop)
    }
}

impl Attempt for Anchors {
    async fn attempt(&mut self) -> Result<(), Error> {
        self.publish().await.map(drop)
    }
}

async fn export(name: String, exporter: Exporter, closed: watch::Receiver<bool>) {
    let trouble = Trouble::new("export", &name, POLL);
    let export = Export { name: name.clone(), exporter, told: 0 };
    if !repeat(export, Duration::ZERO, trouble, closed).await {
        tracing::warn!("the export `{name}` has not sent everything; the next run goes on there");
    }
}

/// Tells of records that will never arrive, once for each time that more of them are missing.
pub(crate) fn tell_lost(name: &str, exporter: &Exporter, told: &mut u64) {
    let lost = exporter.lost();
    if lost > *told {
        tracing::warn!(
            "the export `{name}` lost {} records: they were removed before they were sent",
            lost - *told
        );
    }
    *told = lost;
}

async fn anchor(name: String, anchors: Anchors, every: Duration, closed: watch::Receiver<bool>) {
    let trouble = Trouble::new("anchor", &name, every);
    if !repeat(anchors, every, trouble, closed).await {
        tracing::warn!("the anchor `{name}` has not got the last checkpoint");
    }
}

/// Attempts something after a first pause and again and again until the log is closed, and once more then. Returns
/// whether that last attempt succeeded. None is broken off, which would send things twice, unless it takes too long
/// when the log is closed.
async fn repeat(
    mut what: impl Attempt,
    first: Duration,
    mut trouble: Trouble<'_>,
    mut closed: watch::Receiver<bool>,
) -> bool {
    let mut closing = closed.clone();
    let attempts = async {
        let mut pause = first;
        loop {
            let is_last = tokio::time::timeout(pause, closing.wait_for(|closed| *closed)).await.is_ok();
            let attempted = what.attempt().await;
            if is_last {
                return attempted.is_ok();
            }
            pause = trouble.pause(attempted);
        }
    };
    let too_long = async {
        let _ = closed.wait_for(|closed| *closed).await;
        tokio::time::sleep(LAST).await;
    };
    tokio::select! {
        is_done = attempts => is_done,
        () = too_long => false,
    }
}

/// Tells once of a target that fails, and once that it is back.
struct Trouble<'a> {
    what: &'static str,
    name: &'a str,
    /// How long apart attempts are that succeed.
    every: Duration,
    pause: Option<Duration>,
}

impl<'a> Trouble<'a> {
    fn new(what: &'static str, name: &'a str, every: Duration) -> Self {
        Self { what, name, every, pause: None }
    }

    /// How long to wait after an attempt.
    fn pause(&mut self, attempt: Result<(), Error>) -> Duration {
        let (what, name) = (self.what, self.name);
        let error = match attempt {
            Ok(()) if self.pause.take().is_some() => {
                tracing::warn!("the {what} `{name}` works again");
                return self.every;
            }
            Ok(()) => return self.every,
            Err(error) => error,
        };
        if self.pause.is_none() {
            let because =
                std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            tracing::warn!("the {what} `{name}` fails, and is tried again: {error}{because}");
        }
        // Nothing that could be read again will make a broken log whole.
        let most = if error.kind() == ErrorKind::Tampered {
            MAX_PAUSE
        } else {
            self.pause.map_or(MIN_PAUSE, |pause| 2 * pause)
        };
        *self.pause.insert(most.min(MAX_PAUSE))
    }
}
