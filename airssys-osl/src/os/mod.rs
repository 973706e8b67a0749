//! The door itself: `Os`, the principals that it mints, and the one pipeline that every operation goes through.

mod builder;
mod known;
mod lease;
mod pipeline;
mod pool;
mod principal;
mod rooms;
mod slot;

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
};

use tokio::sync::watch;

pub use self::{builder::OsBuilder, principal::Principal};
pub(crate) use self::{
    known::add_weak,
    lease::Lease,
    pipeline::{Done, Fault, Name, Opened, Operation},
    pool::{pool, pool_leaving, within},
    principal::Standing,
    rooms::Rooms,
    slot::Slot,
};
use crate::{
    Action, Error, ErrorKind,
    audit::Sink,
    keyvalue::Buckets,
    net::{Accounts, Resolve},
    policy::{Decision, Moment, Policy, rule},
    process::Programs,
    random::Generator,
    sys::{self, Resolution},
};

/// The operating system, as one policy lets it be seen.
///
/// Clones are the same door.
#[derive(Clone)]
pub struct Os(Arc<Shared>);

/// What the program itself leaves on record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Milestone {
    /// The system starts.
    Start,
    /// The system stopped in order.
    Stop,
    /// Another policy was put in place.
    Reload,
    /// Other code is put in the place of a part of the system.
    Upgrade,
    /// A message that was given up is sent again, or thrown away.
    DeadLetter,
}

/// What the program leaves on record of somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Incident {
    /// The actor ended before its time.
    Exit,
    /// A message to the actor was given up.
    DeadLetter,
}

struct Shared {
    current: RwLock<Current>,
    /// A copy of `current.epoch`, so that a handle can see without the lock that nothing has changed.
    epoch: AtomicU32,
    sink: Box<dyn Sink>,
    resolution: Resolution,
    /// Wakes those who wait and would not see by themselves that they may not any more.
    changed: watch::Sender<()>,
    rooms: Rooms,
    resolver: Box<dyn Resolve>,
    /// Who has something open on the network.
    accounts: Accounts,
    /// What programs run.
    programs: Programs,
    /// The keys and values that principals share.
    buckets: Buckets,
    /// The latest second of the wall clock that was looked at.
    latest: AtomicI64,
    /// The zero of [`Clock::monotonic_now`](crate::clock::Clock::monotonic_now).
    started_ns: u64,
    /// Where random bytes come from.
    generator: Generator,
}

pub(crate) struct Current {
    pub(crate) epoch: u32,
    pub(crate) policy: Policy,
}

impl Os {
    /// Puts a door in front of the operating system: `policy` decides, `sink` takes the records.
    pub fn new(policy: Policy, sink: impl Sink) -> Self {
        Self::builder(policy, sink).build()
    }

    /// As [`new`](Self::new), with more to say.
    pub fn builder(policy: Policy, sink: impl Sink) -> OsBuilder {
        OsBuilder::new(policy, sink)
    }

    /// Mints a principal of the policy.
    ///
    /// Each call begins another life: revoking one does not touch the others of the same name. Rates, the limits of the
    /// network and what is remembered of hosts hold for all of them together.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the policy has no principal of this name.
    pub fn principal(&self, name: &str) -> Result<Principal, Error> {
        let current = self.current();
        let grants = current.policy.grants(name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, format!("find a principal `{name}` in the policy"))
        })?;
        Ok(Principal::new(self.clone(), name, current.epoch, Arc::clone(grants)))
    }

    /// Puts another policy in place. From here on every use of every handle is decided by it; nothing has to be
    /// opened again. An operation that was permitted before goes on to its end; connections and sockets that it does
    /// not permit are cut at once, and programs killed.
    pub fn reload(&self, policy: Policy) {
        let mut current = self.0.current.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = current.epoch + 1;
        policy.continue_from(&current.policy);
        *current = Current { epoch, policy };
        self.0.epoch.store(epoch, Ordering::Release);
        drop(current);
        self.0.changed.send_replace(());
        let known = |name: &str| self.current().policy.grants(name).is_some();
        self.0.accounts.recheck(known);
        self.0.programs.recheck();
    }

    /// Ends the life of a principal: whatever it does from here on, with any of its handles, is denied by the rule
    /// `revoked`, its connections are cut, and its programs killed. Call it when the actor dies that the principal was minted for.
    pub fn revoke(&self, principal: &Principal) {
        principal.revoke();
        self.0.changed.send_replace(());
        self.0.programs.recheck();
    }

    /// How many policies were in place so far, this one included. It stands in each record.
    pub fn epoch(&self) -> u32 {
        self.0.epoch.load(Ordering::Acquire)
    }

    /// Leaves a record of the program itself, under the principal `host`: what it started with, with which policy it
    /// goes on, why it stopped.
    ///
    /// # Errors
    ///
    /// [`AuditUnavailable`](ErrorKind::AuditUnavailable): the record could not be queued.
    pub fn mark(&self, milestone: Milestone, what: &str) -> Result<(), Error> {
        let action = match milestone {
            Milestone::Start => Action::SystemStart,
            Milestone::Stop => Action::SystemStop,
            Milestone::Reload => Action::SystemReload,
            Milestone::Upgrade => Action::SystemUpgrade,
            Milestone::DeadLetter => Action::SystemDeadLetter,
        };
        self.leave(rule::HOST, action, what)
    }

    /// Leaves a record of what became of a principal, under its name: how its actor ended, which message to it was given up.
    ///
    /// # Errors
    ///
    /// As those of [`mark`](Self::mark).
    pub fn note(&self, principal: &str, incident: Incident, what: &str) -> Result<(), Error> {
        let action = match incident {
            Incident::Exit => Action::ActorExit,
            Incident::DeadLetter => Action::ActorDeadLetter,
        };
        self.leave(principal, action, what)
    }

    fn leave(&self, principal: &str, action: Action, what: &str) -> Result<(), Error> {
        Operation {
            os: self,
            principal,
            action,
            resource: Name::plain(what.as_bytes()),
            other: None,
            mutates: false,
        }
        .begin(Decision::allow(rule::HOST), self.epoch())?
        .finish(Ok(Done::new(())))
    }

    pub(crate) fn current(&self) -> RwLockReadGuard<'_, Current> {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sink(&self) -> &dyn Sink {
        &*self.0.sink
    }

    pub(crate) fn resolution(&self) -> Resolution {
        self.0.resolution
    }

    /// Tells of every reload and every revocation from here on.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// What is counted beneath granted directories.
    pub(crate) fn rooms(&self) -> &Rooms {
        &self.0.rooms
    }

    pub(crate) fn resolver(&self) -> &dyn Resolve {
        &*self.0.resolver
    }

    pub(crate) fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux starts programs"))]
    pub(crate) fn programs(&self) -> &Programs {
        &self.0.programs
    }

    /// Looks at both clocks.
    pub(crate) fn now(&self) -> Moment {
        let wall = sys::wall_now().seconds;
        let latest = self.0.latest.fetch_max(wall, Ordering::Relaxed).max(wall);
        Moment::seen(wall, latest, sys::monotonic_ns())
    }

    pub(crate) fn generator(&self) -> &Generator {
        &self.0.generator
    }

    pub(crate) fn buckets(&self) -> &Buckets {
        &self.0.buckets
    }

    pub(crate) fn started_ns(&self) -> u64 {
        self.0.started_ns
    }
}

impl fmt::Debug for Os {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Os").field("epoch", &self.epoch()).finish_non_exhaustive()
    }
}
