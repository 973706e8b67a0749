//! Records and checkpoints on their way elsewhere, while a system runs.

use std::time::Duration;

use airssys_osl::{
    Error, ErrorKind,
    audit::export::{Anchors, Exporter, Target},
};
use airssys_wasm::manifest::{Anchor, AuditSpec, Export, To};
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
        for Export { name, to } in &audit.exports {
            let cursor = audit.dir.join(format!("{name}.cursor"));
            let exporter = Exporter::open(&audit.dir, &cursor, target(to)).map_err(|error| {
                let failure = Failure::failed(format!("cannot start the export `{name}`")).caused_by(error);
                failure.help(format!("without `{}` it begins at the first record again", cursor.display()))
            })?;
            exports.tasks.spawn(export(name.clone(), exporter, exports.closed.subscribe()));
        }
        for Anchor { name, to, every } in &audit.anchors {
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

async fn export(name: String, mut exporter: Exporter, mut closed: watch::Receiver<bool>) {
    let mut trouble = Trouble::new("export", &name);
    let mut told = 0;
    let follow = async {
        loop {
            let sent = exporter.run_once().await.map(drop);
            tell_lost(&name, &exporter, &mut told);
            tokio::time::sleep(trouble.pause(sent)).await;
        }
    };
    tokio::select! {
        () = follow => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
    let last = tokio::time::timeout(LAST, exporter.run_once()).await;
    tell_lost(&name, &exporter, &mut told);
    if !matches!(last, Ok(Ok(_))) {
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

async fn anchor(name: String, mut anchors: Anchors, every: Duration, mut closed: watch::Receiver<bool>) {
    let mut trouble = Trouble::new("anchor", &name);
    let publish = async {
        loop {
            tokio::time::sleep(every).await;
            while let Err(error) = anchors.publish().await {
                tokio::time::sleep(trouble.pause(Err(error))).await;
            }
            trouble.pause(Ok(()));
        }
    };
    tokio::select! {
        () = publish => {}
        _ = closed.wait_for(|closed| *closed) => {}
    }
    let last = tokio::time::timeout(LAST, anchors.publish()).await;
    if !matches!(last, Ok(Ok(_))) {
        tracing::warn!("the anchor `{name}` has not got the last checkpoint");
    }
}

/// Tells once of a target that fails, and once that it is back.
struct Trouble<'a> {
    what: &'static str,
    name: &'a str,
    pause: Option<Duration>,
}

impl<'a> Trouble<'a> {
    fn new(what: &'static str, name: &'a str) -> Self {
        Self { what, name, pause: None }
    }

    /// How long to wait after an attempt.
    fn pause(&mut self, attempt: Result<(), Error>) -> Duration {
        let (what, name) = (self.what, self.name);
        let error = match attempt {
            Ok(()) if self.pause.take().is_some() => {
                tracing::warn!("the {what} `{name}` works again");
                return POLL;
            }
            Ok(()) => return POLL,
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
