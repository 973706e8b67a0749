//! The events of actors as events of `tracing`, for those who debug.

use tracing::level_filters::LevelFilter;
use tracing::span::EnteredSpan;
use tracing::{Level, debug, error, trace, trace_span, warn};

use super::{Event, EventKind};
use crate::cell::AnyCell;

/// Whether anybody listens.
pub(crate) fn is_on() -> bool {
    LevelFilter::current() != LevelFilter::OFF
}

pub(super) fn write(event: &Event) {
    let (actor, id) = (&*event.path, event.id);
    match &event.kind {
        EventKind::Started => debug!(target: "airssys_rt", actor, %id, "started"),
        EventKind::Ignored => debug!(target: "airssys_rt", actor, %id, "ignored"),
        EventKind::Stopped => debug!(target: "airssys_rt", actor, %id, "stopped"),
        EventKind::InitFailed { reason } => warn!(target: "airssys_rt", actor, %id, %reason, "init failed"),
        EventKind::Exited { reason } if reason.is_abnormal() => {
            warn!(target: "airssys_rt", actor, %id, %reason, "exited");
        }
        EventKind::Exited { reason } => debug!(target: "airssys_rt", actor, %id, %reason, "exited"),
        EventKind::Restarting { attempt } => warn!(target: "airssys_rt", actor, %id, attempt, "restarting"),
        EventKind::GaveUp => error!(target: "airssys_rt", actor, %id, "gave up"),
        EventKind::DeadLetters { count, cause } => {
            warn!(target: "airssys_rt", actor, %id, count, ?cause, "dead letters");
        }
        EventKind::Blocked { elapsed } => warn!(target: "airssys_rt", actor, %id, ?elapsed, "blocked"),
        EventKind::Received { input, message_type, depth } => {
            trace!(target: "airssys_rt", actor, %id, ?input, message_type, depth, "received");
        }
        EventKind::Handled { input, message_type, depth, elapsed } => {
            trace!(target: "airssys_rt", actor, %id, ?input, message_type, depth, ?elapsed, "handled");
        }
    }
}

/// What a traced actor itself says in its turn is said within this span.
pub(crate) fn turn(cell: &AnyCell) -> Option<EnteredSpan> {
    let span = || {
        let path = cell.path().unwrap_or_default();
        trace_span!(target: "airssys_rt", "actor", path = &*path, id = %cell.id())
    };
    (LevelFilter::current() >= Level::TRACE).then(|| span().entered())
}
