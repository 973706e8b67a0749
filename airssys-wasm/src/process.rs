//! A program of the machine in a system: it starts and stops with the tree, and is spoken to by messages.

use std::sync::{Arc, atomic::Ordering};

use airssys_osl::{
    Os, Principal,
    fs::OpenOptions,
    process::{Exec, Launch},
};
use airssys_rt::{
    ActorRef, Backoff, ChildSpec, Mailbox, Shutdown,
    port::{Framing as Frames, Port, PortMsg, PrefixBytes},
};

use crate::{
    actor::{Counters, Delivery, Envelope, Receiver, Route, Routes, trace},
    error::Error,
    grant::process_principal_name,
    host::printable,
    load::LoadError,
    manifest::{Argument, Framing, Manifest, ProcessSpec, folder},
    watch::{Event, Watch},
};

/// In how many parts the time of a stop is divided: the program reads what waits for it, sees the end of its input, gets
/// `TERM`, is killed, and its last words are delivered.
const STOP_STEPS: u32 = 5;

/// A program on its way into the tree.
pub(crate) struct Program {
    spec: Arc<ProcessSpec>,
    principal: Principal,
    exec: Exec,
    launch: Launch,
    mailbox: Mailbox<PortMsg>,
    pub(crate) counters: Arc<Counters>,
}

impl Program {
    /// Opens the program, as its principal.
    pub(crate) async fn open(spec: &ProcessSpec, os: &Os) -> Result<Self, Error> {
        let failed = |error| Error::door(format!("start the process `{}`", spec.name), error);
        let principal = os.principal(&process_principal_name(&spec.name)).map_err(failed)?;
        let exec = principal.exec(&spec.program.value).await.map_err(failed)?;
        let launch = launch(spec, &principal).await.map_err(failed)?;
        let (mailbox, counters) = (Mailbox::bounded(spec.mailbox), Arc::default());
        Ok(Self { spec: Arc::new(spec.clone()), principal, exec, launch, mailbox, counters })
    }

    pub(crate) fn name(&self) -> &str {
        &self.spec.name
    }

    pub(crate) fn actor(&self) -> ActorRef<PortMsg> {
        self.mailbox.actor_ref()
    }

    /// The way to it.
    pub(crate) fn route(&self) -> Route {
        let most = match self.spec.framing {
            Framing::Packet1 => usize::from(u8::MAX),
            Framing::Packet2 => usize::from(u16::MAX),
            _ => usize::MAX,
        };
        let to = Receiver::Process(self.actor(), frames(self.spec.framing));
        Route { to, payload_bytes: self.spec.frame_bytes.min(most) }
    }

    /// Describes it to its supervisor. All of its incarnations are told what is in one mailbox; what one had taken and not
    /// handled when it died is lost with it.
    pub(crate) fn child(&self, routes: &Routes, watch: &Arc<dyn Watch>) -> ChildSpec {
        let receiver = self.spec.send_to.as_ref().and_then(|to| routes.get(&to.value));
        let owner = receiver.and_then(|route| match &route.to {
            Receiver::Component(actor) => Some((actor.clone(), route.payload_bytes)),
            Receiver::Process(..) => None,
        });
        let (spec, principal) = (self.spec.clone(), self.principal.clone());
        let started = (self.exec.clone(), self.launch.clone());
        let (counters, watch) = (self.counters.clone(), watch.clone());
        let make = move || match &owner {
            Some((owner, most_bytes)) => {
                let port = told(&spec, &principal, &started, owner, *most_bytes, &counters);
                unclaimed(port, &spec, &counters, &watch)
            }
            None => logged(&spec, &started, &counters),
        };
        let child = ChildSpec::actor_with_mailbox(self.spec.name.as_str(), self.mailbox.clone(), make)
            .restart(self.spec.restart)
            .shutdown(Shutdown::Timeout(self.spec.shutdown))
            .drain(true);
        match self.spec.backoff {
            Some((min, max)) => child.backoff(Backoff::exponential(min, max)),
            None => child,
        }
    }
}

/// Opens the files of its arguments: each restart is called with those.
async fn launch(spec: &ProcessSpec, principal: &Principal) -> Result<Launch, airssys_osl::Error> {
    let mut launch = Launch::new();
    for argument in &spec.arguments {
        launch = match argument {
            Argument::Word(_) => launch,
            Argument::Path(_, name) => launch.path(name.as_str()),
            Argument::File(file) => {
                let dir = principal.dir(folder(&file.value)).await?;
                let name = file.value.file_name().unwrap_or_default();
                launch.file(dir.open(name, &OpenOptions::new().read(true)).await?)
            }
        };
    }
    Ok(launch)
}

/// An incarnation whose output is messages to a component.
fn told(
    spec: &Arc<ProcessSpec>,
    principal: &Principal,
    (exec, launch): &(Exec, Launch),
    owner: &ActorRef<Delivery>,
    most_bytes: usize,
    counters: &Arc<Counters>,
) -> Port<Delivery> {
    let (sender, spec_of, principal, counters) =
        (Arc::<str>::from(spec.name.as_str()), spec.clone(), principal.clone(), counters.clone());
    let on_frame = move |payload: &[u8]| {
        count(&counters);
        let receiver = spec_of.send_to.as_ref().map(|to| to.value.as_str()).unwrap_or_default();
        if principal.may_send(receiver).is_err() {
            // The denial is on record; there is nobody to tell.
            return Delivery::Resume;
        }
        let (sender, subject, trace) = (sender.clone(), spec_of.subject.clone(), trace::new());
        Delivery::Message(Box::new(Envelope::new(Some(sender), subject, payload.to_vec(), trace)))
    };
    let port = Port::new(exec.clone(), launch.clone(), frames(spec.framing), owner.clone(), on_frame);
    with(port.frame_limit(spec.frame_bytes.min(most_bytes)), spec)
}

/// Has what a port's program says to a component that was stopped for good become dead letters: that it was stopped is not the
/// program's fault.
fn unclaimed(
    port: Port<Delivery>,
    spec: &Arc<ProcessSpec>,
    counters: &Arc<Counters>,
    watch: &Arc<dyn Watch>,
) -> Port<Delivery> {
    let (spec, counters, watch) = (spec.clone(), counters.clone(), watch.clone());
    port.unclaimed(move |delivery| {
        let (Delivery::Message(envelope), Some(to)) = (delivery, &spec.send_to) else { return };
        counters.dead.fetch_add(1, Ordering::Relaxed);
        let reason = &"its receiver was stopped";
        watch.event(&Event::DeadLetter(&envelope.dead_letter(&to.value, &envelope.payload, reason)));
    })
}

/// An incarnation whose output is lines of the log.
fn logged(spec: &ProcessSpec, (exec, launch): &(Exec, Launch), counters: &Arc<Counters>) -> Port<Delivery> {
    let (process, counters) = (spec.name.clone(), counters.clone());
    let on_frame = move |frame: &[u8]| {
        count(&counters);
        let line = printable(&String::from_utf8_lossy(frame));
        tracing::info!(target: "guest", process, "{line}");
    };
    let port = Port::without_owner(exec.clone(), launch.clone(), frames(spec.framing), on_frame);
    with(port.frame_limit(spec.frame_bytes), spec)
}

fn with(port: Port<Delivery>, spec: &ProcessSpec) -> Port<Delivery> {
    let process = spec.name.clone();
    port.grace(spec.shutdown / STOP_STEPS).errors(move |line| {
        let line = printable(&String::from_utf8_lossy(&line));
        tracing::warn!(target: "guest", process, "{line}");
    })
}

fn count(counters: &Counters) {
    counters.sent.fetch_add(1, Ordering::Relaxed);
    counters.handled.fetch_add(1, Ordering::Relaxed);
}

fn frames(framing: Framing) -> Frames {
    match framing {
        Framing::Lines => Frames::Lines,
        Framing::JsonLines => Frames::JsonLines,
        Framing::Netstring => Frames::Netstring,
        Framing::Packet1 => Frames::LengthPrefix(PrefixBytes::One),
        Framing::Packet2 => Frames::LengthPrefix(PrefixBytes::Two),
        Framing::Packet4 => Frames::LengthPrefix(PrefixBytes::Four),
    }
}

/// Opens each program as its principal, to see that it can be: what cannot is a problem of the manifest.
pub(crate) async fn check(manifest: &Manifest, os: &Os) -> Vec<LoadError> {
    let mut errors = Vec::new();
    for spec in &manifest.processes {
        if let Err(error) = Program::open(spec, os).await {
            errors.push(LoadError { component: spec.name.clone(), span: spec.program.span.clone(), error });
        }
    }
    errors
}
