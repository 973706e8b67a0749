//! An open socket: whether it still may, what went through it, and what is recorded when it closes.

use std::{
    fmt, io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use super::{
    account::{Recheck, Slot},
    subject::Subject,
};
use crate::{
    Action, Error, Principal,
    audit::Outcome,
    os::{Name, Opened, Operation},
    policy::Decision,
    sys::{self, Shut},
};

/// A socket and all that is known of it. The socket closes first, then its end is recorded.
pub(super) struct Socket<S: Shut> {
    pub(super) io: S,
    pub(super) held: Held,
}

pub(super) struct Held {
    principal: Principal,
    /// By what it was permitted, and is again.
    action: Action,
    subject: Subject,
    /// Its name in records, and that of its peer.
    resource: Arc<[u8]>,
    peer: Box<str>,
    /// The rule that permitted it.
    rule: Box<str>,
    epoch: AtomicU32,
    /// Whether its permission may end by itself.
    timed: AtomicBool,
    opened: Opened,
    received: AtomicU64,
    sent: AtomicU64,
    ended: OnceLock<End>,
    /// Until it is another's.
    slot: Option<Slot>,
}

/// What ended a socket before its owner closed it.
#[derive(Debug)]
enum End {
    Denied(Box<str>),
    TimedOut,
    Failed(i32),
}

/// What is needed to open a socket, once it was permitted.
pub(super) struct Opening<'a> {
    pub(super) principal: &'a Principal,
    pub(super) action: Action,
    pub(super) subject: Subject,
    pub(super) resource: Arc<[u8]>,
    pub(super) peer: Box<str>,
    pub(super) rule: Box<str>,
    pub(super) epoch: u32,
    pub(super) slot: Slot,
}

impl<S: Shut + Send + Sync + 'static> Socket<S> {
    /// Holds an open socket from here on. A new policy finds it.
    pub(super) fn hold(io: S, opening: Opening<'_>) -> Arc<Self> {
        Self::keep(io, Held::new(opening))
    }

    /// As [`hold`](Self::hold), of one that was open before and was something else.
    pub(super) fn keep(io: S, held: Held) -> Arc<Self> {
        let socket = Arc::new(Self { io, held });
        let weak = Arc::downgrade(&socket) as std::sync::Weak<dyn Recheck>;
        socket.held.principal.account().add(weak);
        socket
    }
}

impl<S: Shut> Socket<S> {
    /// Waits until its principal may have one more open.
    pub(super) async fn room(&self) -> io::Result<Slot> {
        let account = self.held.principal.account();
        loop {
            let freed = account.freed();
            self.check()?;
            if let Some(slot) = account.try_slot() {
                return Ok(slot);
            }
            freed.await;
        }
    }

    /// Whether it may still be used: two loads where nothing has changed, else a decision.
    pub(super) fn check(&self) -> io::Result<()> {
        if let Some(end) = self.held.ended.get() {
            return Err(self.held.error(end));
        }
        self.held.check().inspect_err(|_| self.io.shut())
    }

    /// Ends it because it took too long.
    pub(super) fn time_out(&self) -> io::Error {
        self.end(End::TimedOut)
    }

    /// What to say of a failed system call: a socket that was cut fails because of that.
    pub(super) fn failed(&self, error: io::Error) -> io::Error {
        match self.held.ended.get() {
            Some(end) => self.held.error(end),
            None => {
                let number = error.raw_os_error().unwrap_or(sys::errno::IO);
                let _ = self.held.ended.set(End::Failed(number));
                error
            }
        }
    }

    /// Ends it. The first reason stays.
    fn end(&self, end: End) -> io::Error {
        let error = self.held.error(self.held.ended.get_or_init(|| end));
        self.io.shut();
        error
    }
}

/// The error of this crate: the one within, or one about `what`.
pub(super) fn error(what: impl Into<Box<str>>, error: io::Error) -> Error {
    if !error.get_ref().is_some_and(|inner| inner.is::<Error>()) {
        return Error::io(what, error);
    }
    let inner = error.into_inner().and_then(|inner| inner.downcast::<Error>().ok());
    inner.map_or_else(|| Error::new(crate::ErrorKind::Bug, what), |inner| *inner)
}

impl Held {
    pub(super) fn new(opening: Opening<'_>) -> Self {
        let Opening { principal, action, subject, resource, peer, rule, epoch, slot } = opening;
        Self {
            principal: principal.clone(),
            action,
            subject,
            resource,
            peer,
            rule,
            epoch: AtomicU32::new(epoch),
            // The first use finds out.
            timed: AtomicBool::new(true),
            opened: Opened::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            ended: OnceLock::new(),
            slot: Some(slot),
        }
    }

    /// Whether what it holds may still be used. Where not, that is what ended it.
    pub(super) fn check(&self) -> io::Result<()> {
        if let Some(end) = self.ended.get() {
            return Err(self.error(end));
        }
        if self.principal.os().epoch() == self.epoch.load(Ordering::Relaxed)
            && !self.timed.load(Ordering::Relaxed)
            && !self.principal.is_revoked()
        {
            return Ok(());
        }
        let standing = self.principal.standing().for_open();
        self.timed.store(standing.is_timed(), Ordering::Relaxed);
        let decision = self.subject.decide(&standing, self.action);
        if decision.permits() {
            self.principal.account().configure(&standing.limits());
            self.epoch.store(standing.epoch, Ordering::Relaxed);
            return Ok(());
        }
        Err(self.error(self.ended.get_or_init(|| End::Denied(decision.rule.into()))))
    }

    /// Gives its place among all that is open to what comes of it.
    pub(super) fn take_slot(&mut self) -> Option<Slot> {
        self.slot.take()
    }

    pub(super) fn resource(&self) -> &Arc<[u8]> {
        &self.resource
    }

    pub(super) fn rule(&self) -> &str {
        &self.rule
    }

    pub(super) fn action(&self) -> Action {
        self.action
    }

    pub(super) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Its name, for sentences.
    pub(super) fn name(&self) -> String {
        Name::plain(&self.resource).escaped()
    }

    pub(super) fn principal(&self) -> &Principal {
        &self.principal
    }

    pub(super) fn count_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes that were received and sent.
    pub(super) fn bytes(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }

    fn error(&self, end: &End) -> io::Error {
        let what = || match &*self.peer {
            "" => format!("use `{}`", self.name()),
            peer => format!("use `{}` at `{peer}`", self.name()),
        };
        match end {
            End::Denied(rule) => {
                io::Error::new(io::ErrorKind::PermissionDenied, Error::denied(what(), rule.clone()))
            }
            End::TimedOut => io::Error::from_raw_os_error(sys::errno::TIMED_OUT),
            End::Failed(number) => io::Error::from_raw_os_error(*number),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (received, sent) = self.bytes();
        let other = if self.peer.is_empty() {
            format!("received {received} sent {sent}")
        } else {
            format!("{} received {received} sent {sent}", self.peer)
        };
        let (decision, outcome) = match self.ended.get() {
            None => (Decision::allow(&self.rule), Outcome::Success),
            Some(End::Denied(rule)) => (Decision::deny(rule), Outcome::Denied),
            Some(End::TimedOut) => (Decision::allow(&self.rule), Outcome::Failed(sys::errno::TIMED_OUT)),
            Some(End::Failed(number)) => (Decision::allow(&self.rule), Outcome::Failed(*number)),
        };
        let operation = Operation {
            other: Some(Name::plain(other.as_bytes())),
            ..self.principal.operation(Action::NetClose, &self.resource)
        };
        let epoch = match self.ended.get() {
            Some(End::Denied(_)) => self.principal.os().epoch(),
            _ => self.epoch.load(Ordering::Relaxed),
        };
        let bytes = received.saturating_add(sent);
        operation.record_end(decision, epoch, outcome, bytes, self.opened);
    }
}

impl<S: Shut + Send + Sync> Recheck for Socket<S> {
    fn recheck(&self) {
        let _ = self.check();
    }
}

impl<S: Shut> fmt::Debug for Socket<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.held.fmt(f)
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("resource", &String::from_utf8_lossy(&self.resource))
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}
