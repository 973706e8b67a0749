//! A program that runs.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::pin,
    sync::{Arc, Mutex, PoisonError, Weak},
    task::Poll,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, sync::watch};

use super::{Asked, Cause, Enforcement, Exit, Input, Output, Signal};
use crate::{
    Action, Error, Principal,
    audit::Outcome,
    os::{Done, Name, Opened, Operation, Slot, add_weak},
    policy::{Decision, ExecGrant, Resource},
    sys::{self, Child, Killer, Notes},
};

/// A program that was started. It is killed with all its children when this is dropped.
pub struct Process {
    held: Arc<Held>,
    /// Closed when its proxy has ended too.
    egress: Option<watch::Receiver<()>>,
    enforcement: Enforcement,
    exit: watch::Receiver<Option<Exit>>,
    /// Its input, where that is a pipe.
    pub stdin: Option<Input>,
    /// Its output, where that is a pipe.
    pub stdout: Option<Output>,
    /// Its errors, where they are a pipe.
    pub stderr: Option<Output>,
}

/// What a program said, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Collected {
    /// How it ended.
    pub exit: Exit,
    /// What it wrote to its output, where that was a pipe.
    pub stdout: Vec<u8>,
    /// What it wrote as errors, where they were a pipe.
    pub stderr: Vec<u8>,
}

impl Process {
    pub(super) fn new(
        held: Arc<Held>,
        egress: Option<watch::Receiver<()>>,
        enforcement: Enforcement,
        stdin: Option<Input>,
        stdout: Option<Output>,
        stderr: Option<Output>,
    ) -> Self {
        let exit = held.child.watch();
        Self { held, egress, enforcement, exit, stdin, stdout, stderr }
    }

    /// What holds it.
    pub fn enforcement(&self) -> &Enforcement {
        &self.enforcement
    }

    /// What it asked for until now; `None` where it is not watched, or cannot be
    /// ([`ExecTerms::watch`](crate::policy::ExecTerms::watch)).
    /// When it has ended, that is all.
    pub fn asked(&self) -> Option<Asked> {
        let notes = self.held.notes.as_ref()?;
        Some(notes.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// The number by which people find it on the machine, as long as it runs. Nothing here takes one: a number may be
    /// another process's by the time that it is used. Where the program sees only its own processes, this is the
    /// number of the one that waits for it.
    pub fn id(&self) -> u32 {
        self.held.child.id()
    }

    /// Waits until it has ended, with all its children where these are its own to see. Whatever it left is gone then, and
    /// what went through its proxy is on record: for that, the runtime that started it has to run.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the next call waits on.
    pub async fn wait(&mut self) -> Exit {
        loop {
            let ended = self.exit.borrow_and_update().clone();
            if let Some(exit) = ended {
                closed(self.egress.clone()).await;
                return exit;
            }
            // What sends lives as long as the handle.
            if self.exit.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until it has ended, as [`wait`](Self::wait) does, without holding the handle: where that is dropped first, the
    /// program is killed, and this tells of that.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost, and the program goes on.
    pub fn exited(&self) -> impl Future<Output = Exit> + Send + use<> {
        let (mut exit, egress) = (self.held.child.watch(), self.egress.clone());
        async move {
            let ended = exit.wait_for(Option::is_some).await.map(|exit| exit.clone());
            closed(egress).await;
            match ended.ok().flatten() {
                Some(exit) => exit,
                // What sends tells of the end before it ends.
                None => std::future::pending().await,
            }
        }
    }

    /// Kills it with all its children. It may still be seen for a moment: [`wait`](Self::wait) tells when it is gone. The
    /// record of its end says that it was killed.
    pub fn kill(&self) {
        self.held.child.kill(Cause::Killed);
    }

    /// Sends it a signal; false where it has ended. Its children are not sent one.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): the principal was revoked, or a new policy does not permit the program.
    /// * [`AuditUnavailable`](crate::ErrorKind::AuditUnavailable): it cannot be recorded, so it was not sent.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported): this is Windows.
    pub fn signal(&self, signal: Signal) -> Result<bool, Error> {
        let held = &self.held;
        let standing = held.principal.standing().for_open();
        let program = Resource::Program(&held.grant.program);
        let decision = standing.decide(Action::ProcessSignal, program).uncounted();
        let (program, name) = (held.grant.program.as_os_str().as_encoded_bytes(), signal.to_string());
        let operation = Operation {
            mutates: true,
            other: Some(Name::plain(name.as_bytes())),
            ..held.principal.operation(Action::ProcessSignal, program)
        };
        let running = operation.begin(decision, standing.epoch)?;
        running.finish(held.child.signal(sys::signal_number(signal)).map(Done::new))
    }

    /// Asks it to end by `TERM`, and kills it with all its children where it has not after `grace`. Needs a runtime with
    /// time. On Windows, where there are no signals, it is killed at once.
    ///
    /// # Errors
    ///
    /// As [`signal`](Self::signal); it goes on to run then, as long as the handle is there.
    ///
    /// # Cancel safety
    ///
    /// It was asked, and is not killed.
    pub async fn stop(&mut self, grace: Duration) -> Result<Exit, Error> {
        if cfg!(windows) {
            self.kill();
            return Ok(self.wait().await);
        }
        self.signal(Signal::Terminate)?;
        match tokio::time::timeout(grace, self.wait()).await {
            Ok(exit) => Ok(exit),
            Err(_elapsed) => {
                self.kill();
                Ok(self.wait().await)
            }
        }
    }

    /// Ends its input, takes all that it writes, and waits for its end.
    ///
    /// # Errors
    ///
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): it wrote more than is taken from it, and was killed.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused.
    ///
    /// # Cancel safety
    ///
    /// The program is killed, and what was read is lost.
    pub async fn collect(mut self) -> Result<Collected, Error> {
        self.stdin = None;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let (out, err) = (self.stdout.take(), self.stderr.take());
        let both = both(read_all(out, &mut stdout), read_all(err, &mut stderr)).await;
        if let Err(error) = both {
            self.kill();
            self.wait().await;
            return Err(match error.downcast::<Error>() {
                Ok(error) => error,
                Err(error) => Error::io("read the output of a program", error),
            });
        }
        let exit = self.wait().await;
        Ok(Collected { exit, stdout, stderr })
    }
}

/// Waits until a proxy has ended, which sees the end of its program too.
async fn closed(egress: Option<watch::Receiver<()>>) {
    if let Some(mut egress) = egress {
        while egress.changed().await.is_ok() {}
    }
}

async fn read_all(output: Option<Output>, into: &mut Vec<u8>) -> io::Result<()> {
    match output {
        Some(mut output) => output.read_to_end(into).await.map(drop),
        None => Ok(()),
    }
}

/// Does both at once, and ends with the first error.
async fn both(
    one: impl Future<Output = io::Result<()>>,
    other: impl Future<Output = io::Result<()>>,
) -> io::Result<()> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    let (mut one_done, mut other_done) = (false, false);
    poll_fn(|cx| {
        if !one_done && let Poll::Ready(result) = one.as_mut().poll(cx) {
            result?;
            one_done = true;
        }
        if !other_done && let Poll::Ready(result) = other.as_mut().poll(cx) {
            result?;
            other_done = true;
        }
        if one_done && other_done { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// What a handle holds of a program that runs, and what a new policy looks for.
pub(crate) struct Held {
    child: Child,
    notes: Option<Notes>,
    principal: Principal,
    grant: Arc<ExecGrant>,
    _slot: Slot,
}

impl Held {
    pub(super) fn new(
        child: Child,
        notes: Option<Notes>,
        principal: Principal,
        grant: Arc<ExecGrant>,
        slot: Slot,
    ) -> Arc<Self> {
        let held = Arc::new(Self { child, notes, principal, grant, _slot: slot });
        held.principal.os().programs().add(&held);
        // The policy may have changed before it was known.
        held.recheck();
        held
    }

    pub(super) fn killer(&self) -> Killer {
        self.child.killer()
    }

    /// Decides again, and kills what is not permitted any more.
    fn recheck(&self) {
        let standing = self.principal.standing().for_open();
        let program = Resource::Program(&self.grant.program);
        if !standing.decide(Action::ProcessSpawn, program).permits() {
            self.child.kill(Cause::Revoked);
        }
    }
}

/// All programs of one door that run.
#[derive(Debug, Default)]
pub(crate) struct Programs(Mutex<Vec<Weak<Held>>>);

impl Programs {
    fn add(&self, held: &Arc<Held>) {
        let mut programs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        add_weak(&mut programs, Arc::downgrade(held));
    }

    /// Decides all again that runs.
    pub(crate) fn recheck(&self) {
        let programs = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        programs.iter().filter_map(Weak::upgrade).for_each(|held| held.recheck());
    }
}

/// Records how a program ended.
pub(super) fn record_exit(
    principal: &Principal,
    grant: &ExecGrant,
    resource: &[u8],
    held_by: &str,
    epoch: u32,
    opened: Opened,
    exit: &Exit,
) {
    let outcome = match exit.cause {
        Cause::Itself => Outcome::Success,
        Cause::Killed | Cause::Dropped | Cause::Revoked => Outcome::Cancelled,
        Cause::WallTime | Cause::CpuTime => Outcome::Failed(sys::errno::TIMED_OUT),
        Cause::OutputLimit | Cause::FileSize => Outcome::Failed(sys::errno::TOO_LARGE),
        Cause::OutOfMemory => Outcome::Failed(sys::errno::QUOTA),
    };
    let told = format!("{exit}; {held_by}");
    let operation = Operation {
        mutates: true,
        other: Some(Name::plain(told.as_bytes())),
        ..principal.operation(Action::ProcessExit, resource)
    };
    operation.record_end(Decision::allow(grant.rule()), epoch, outcome, 0, opened);
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("program", &self.held.grant.program)
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("program", &self.grant.program).finish_non_exhaustive()
    }
}
