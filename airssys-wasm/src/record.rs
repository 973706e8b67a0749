//! What becomes of a system's actors, on the record: how each ended before its time, and which messages were given up.

use std::{collections::HashMap, sync::Arc};

use airssys_osl::{Incident, Os, trace};
use airssys_rt::EventKind;

use crate::{
    actor::HOST,
    component::Digest,
    grant::{principal_name, process_principal_name},
    manifest::Manifest,
    watch::{DeadLetter, Event, Watch},
};

/// The longest text of such a record, in bytes.
const TEXT_BYTES: usize = 1024;

/// Leaves records of what it tells on.
pub(crate) struct Recording {
    watch: Arc<dyn Watch>,
    os: Os,
    /// The principal of each component and process, by name.
    principals: HashMap<String, String>,
}

impl Recording {
    pub(crate) fn around(watch: Arc<dyn Watch>, manifest: &Manifest, os: &Os) -> Arc<dyn Watch> {
        let components = manifest.components.iter().map(|spec| (&spec.name, principal_name(&spec.name)));
        let processes =
            manifest.processes.iter().map(|spec| (&spec.name, process_principal_name(&spec.name)));
        let principals = components.chain(processes).map(|(name, principal)| (name.clone(), principal));
        Arc::new(Self { watch, os: os.clone(), principals: principals.collect() })
    }

    fn life(&self, event: &airssys_rt::Event) {
        // Above all is a supervisor, whatever it is called.
        let below = event.path.rsplit_once('/');
        match (&event.kind, below.and_then(|(_, name)| self.principals.get(name))) {
            (EventKind::Exited { reason } | EventKind::InitFailed { reason }, Some(principal))
                if reason.is_abnormal() =>
            {
                leave(&self.os, principal, Incident::Exit, &reason.to_string());
            }
            (EventKind::GaveUp, None) => {
                let what = format!("the supervisor {} gave up: too many restarts", event.path);
                leave(&self.os, HOST, Incident::Exit, &what);
            }
            _ => {}
        }
    }

    fn dead_letter(&self, letter: &DeadLetter<'_>) {
        let DeadLetter { component, sender, subject, payload, deliveries, trace, reason, .. } = *letter;
        let tried = match deliveries {
            0 => String::new(),
            tries => format!(" after {tries}"),
        };
        let (bytes, digest) = (payload.len(), Digest::of(payload));
        let subject = crate::host::printable(subject);
        let what = format!("`{subject}` from {sender}{tried}: {reason}; {bytes} bytes, {digest}");
        let principal = self.principals.get(component).map_or(HOST, String::as_str);
        trace::sync_scope(trace, || leave(&self.os, principal, Incident::DeadLetter, &what));
    }
}

impl Watch for Recording {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::DeadLetter(letter) => self.dead_letter(letter),
            Event::Life(life) => self.life(life),
            _ => {}
        }
        self.watch.event(event);
    }
}

/// Leaves a record of how a component ended that nobody restarts: its actor goes on, or it was one request's.
pub(crate) fn exit(os: &Os, component: &str, reason: &dyn std::fmt::Display) {
    leave(os, &principal_name(component), Incident::Exit, &reason.to_string());
}

/// What has happened has happened, be it on the record or not.
fn leave(os: &Os, principal: &str, incident: Incident, what: &str) {
    let text = what.get(..what.floor_char_boundary(TEXT_BYTES)).unwrap_or(what);
    if let Err(error) = os.note(principal, incident, text) {
        tracing::error!(principal, cause = %error, "what became of it is not on the record: {text}");
    }
}
