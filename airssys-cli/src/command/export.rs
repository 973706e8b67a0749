//! `airssys audit export` and `airssys audit anchor`: the log, sent elsewhere by hand.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    pin::Pin,
    process::ExitCode,
    task::{Context, Poll},
};

use airssys_osl::{
    Error,
    audit::export::{Anchors, Exporter, Target},
};
use airssys_wasm::manifest::To;
use serde_json::json;

use super::{audit::log_dir, runtime};
use crate::{
    args::{self, TargetKind},
    exports,
    report::{Failure, Terminal},
};

/// `EPIPE`: whoever read stdout is gone.
const BROKEN_PIPE: i32 = 32;

pub(super) fn export(args: &args::Export, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.log)?;
    let target = target(&args.target)?;
    let failed = |error| {
        let failure = Failure::failed("cannot export everything").caused_by(error);
        failure.help("what has arrived stands in the cursor; the next export goes on behind it")
    };
    let name = args.cursor.display().to_string();
    let mut exporter = Exporter::open(&dir, &args.cursor, target).map_err(failed)?;
    let mut told = 0;
    let sent: Result<u64, Error> = runtime()?.block_on(async {
        let sent = exporter.run_once().await?;
        exports::tell_lost(&name, &exporter, &mut told);
        if args.follow {
            tokio::select! {
                ended = exporter.follow() => ended?,
                _ = tokio::signal::ctrl_c() => {}
            }
        }
        Ok(sent)
    });
    let sent = match sent {
        // A reader that has seen enough is no error.
        Err(error) if error.raw_os_error() == Some(BROKEN_PIPE) => return Ok(ExitCode::SUCCESS),
        sent => sent.map_err(failed)?,
    };
    exports::tell_lost(&name, &exporter, &mut told);
    let (at, lost) = (exporter.position(), exporter.lost());
    // On stdout are the records themselves.
    if args.target.to != TargetKind::Jsonl || args.target.file.is_some() {
        let value = || json!({"sent": sent, "lost": lost, "segment": at.segment(), "offset": at.offset()});
        terminal.tell(&format!("{sent} records sent"), value);
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn anchor(args: &args::Anchor, terminal: &Terminal) -> Result<ExitCode, Failure> {
    let dir = log_dir(&args.log)?;
    let mut anchors = Anchors::new(&dir, target(&args.target)?);
    let published = runtime()?.block_on(anchors.publish());
    published.map_err(|error| Failure::failed("cannot publish the newest checkpoint").caused_by(error))?;
    if args.target.to != TargetKind::Jsonl || args.target.file.is_some() {
        terminal.tell(&"the newest checkpoint is published", || json!({"published": true}));
    }
    Ok(ExitCode::SUCCESS)
}

fn target(args: &args::Target) -> Result<Target, Failure> {
    let misfit = |flag: &str, kind: &str| Failure::invalid(format!("`{flag}` is not for `--to {kind}`"));
    let socket = |default: &str| args.socket.clone().unwrap_or_else(|| PathBuf::from(default));
    let to = match (args.to, args.address) {
        (TargetKind::Jsonl, Some(_)) => return Err(misfit("--address", "jsonl")),
        (TargetKind::Journald, Some(_)) => return Err(misfit("--address", "journald")),
        (kind, _) if args.file.is_some() && kind != TargetKind::Jsonl => {
            return Err(misfit("--file", "anything but jsonl"));
        }
        (TargetKind::Jsonl, None) if args.socket.is_some() => return Err(misfit("--socket", "jsonl")),
        (TargetKind::Jsonl, None) => match &args.file {
            Some(file) => To::File(file.clone()),
            None => return Ok(Target::lines(Stdout)),
        },
        (TargetKind::Syslog, Some(address)) => To::SyslogTcp(address),
        (TargetKind::Syslog, None) => To::Syslog(socket("/dev/log")),
        (TargetKind::Journald, None) => To::Journal(socket("/run/systemd/journal/socket")),
        (TargetKind::Otlp, Some(address)) => To::Otlp(address, address.to_string(), "/v1/logs".to_owned()),
        (TargetKind::Otlp, None) => {
            let failure = Failure::invalid("`--to otlp` needs the address of a collector");
            return Err(failure.help("such as `--address 127.0.0.1:4318`"));
        }
    };
    Ok(exports::target(&to))
}

/// This program's own output. It blocks its thread, which has nothing else to do.
struct Stdout;

impl tokio::io::AsyncWrite for Stdout {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(io::stdout().write(bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(io::stdout().flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}
