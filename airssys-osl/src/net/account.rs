//! What one principal uses of the network at this moment.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    num::NonZeroU64,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, Semaphore, futures::Notified},
    time::{Instant, sleep},
};

use super::{HostName, Limits, bucket::Bucket, resolve::Memory};
use crate::{limits::LOOKUPS_AT_A_TIME, os::add_weak};

/// What a principal has open, remembers and may still send: all its lives together, so that whoever is started anew does
/// not begin anew.
#[derive(Debug)]
pub(crate) struct Account {
    open: AtomicUsize,
    /// Rung when something closes, or when the limits change.
    freed: Notify,
    open_limit: AtomicUsize,
    sockets: Mutex<Vec<Weak<dyn Recheck>>>,
    pub(super) lookups: Arc<Semaphore>,
    memory: Mutex<Memory>,
    pub(super) received: Flow,
    pub(super) sent: Flow,
}

/// The accounts of one door, by the names of principals.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<Box<str>, Arc<Account>>>);

/// Something open that a new policy may end.
pub(super) trait Recheck: fmt::Debug + Send + Sync {
    /// Decides again, and ends it where it is not permitted any more.
    fn recheck(&self);
}

/// One direction of all bytes of a principal.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Bytes in a second; 0 where there is no bound.
    rate: AtomicU64,
    bucket: Mutex<Bucket>,
}

/// Bytes that went before they were paid for. What nobody waits for any more stays owed.
#[derive(Debug, Default)]
pub(super) struct Debt(AtomicUsize);

/// The part of a debt that is being paid: what is left of it goes back.
struct Payment<'a> {
    left: usize,
    of: &'a Debt,
}

/// One of the open things that a principal may have. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Slot(Arc<Account>);

impl Accounts {
    /// The account of a principal that the policy has.
    pub(crate) fn of(&self, principal: &str) -> Arc<Account> {
        let mut accounts = self.lock();
        if let Some(account) = accounts.get(principal) {
            return Arc::clone(account);
        }
        Arc::clone(accounts.entry(principal.into()).or_insert_with(|| Arc::new(Account::new())))
    }

    /// Decides all again that is open, and forgets whom the policy does not have any more.
    pub(crate) fn recheck(&self, has: impl Fn(&str) -> bool) {
        let accounts: Vec<_> = {
            let mut accounts = self.lock();
            accounts.retain(|principal, account| has(principal) || Arc::strong_count(account) > 1);
            accounts.values().cloned().collect()
        };
        accounts.iter().for_each(|account| account.recheck());
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Account>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn new() -> Self {
        Self {
            open: AtomicUsize::new(0),
            freed: Notify::new(),
            open_limit: AtomicUsize::new(0),
            sockets: Mutex::default(),
            lookups: Arc::new(Semaphore::new(LOOKUPS_AT_A_TIME)),
            memory: Mutex::default(),
            received: Flow::default(),
            sent: Flow::default(),
        }
    }

    /// Takes over what a policy says now.
    pub(super) fn configure(&self, limits: &Limits) {
        self.received.set(limits.received_per_second);
        self.sent.set(limits.sent_per_second);
        if self.open_limit.swap(limits.open, Ordering::Relaxed) < limits.open {
            self.freed.notify_waiters();
        }
    }

    /// Takes a slot, where one is free.
    pub(super) fn try_slot(self: &Arc<Self>) -> Option<Slot> {
        let limit = self.open_limit.load(Ordering::Relaxed);
        let more = |open| Some(open).filter(|open| *open < limit).map(|open| open + 1);
        let taken = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Slot(Arc::clone(self)))
    }

    /// The hosts that were looked up a short while ago and have this address.
    pub(super) fn hosts_of(&self, address: IpAddr) -> Box<[HostName]> {
        self.memory().hosts_of(address, Instant::now())
    }

    /// What is remembered of hosts.
    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something closes, or a new policy comes. Nothing that happens after the call is missed.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Remembers something open, so that a new policy finds it.
    pub(super) fn add(&self, socket: Weak<dyn Recheck>) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        add_weak(&mut sockets, socket);
    }

    /// Decides all again that is open.
    pub(crate) fn recheck(&self) {
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for socket in sockets.iter().filter_map(Weak::upgrade) {
            socket.recheck();
        }
        // Whoever waits for a slot looks whether it may still.
        self.freed.notify_waiters();
    }
}

impl Flow {
    fn set(&self, per_second: Option<NonZeroU64>) {
        self.rate.store(per_second.map_or(0, NonZeroU64::get), Ordering::Relaxed);
    }

    /// Takes what may go now of `want` bytes, or says how long to wait.
    pub(super) fn take(&self, want: usize) -> Result<usize, Duration> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return Ok(want);
        }
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = bucket.take(Instant::now(), rate, want as u64)?;
        Ok(usize::try_from(taken).unwrap_or(want))
    }

    /// Waits until so many bytes may go. Where nobody waits for that any more, those that were taken are.
    pub(super) async fn pay(&self, bytes: usize) {
        let debt = Debt::default();
        debt.add(bytes);
        debt.pay(self).await;
    }

    /// Gives back what was taken and did not go.
    pub(super) fn put_back(&self, bytes: usize) {
        if bytes > 0 && self.rate.load(Ordering::Relaxed) > 0 {
            self.bucket.lock().unwrap_or_else(PoisonError::into_inner).put_back(bytes as u64);
        }
    }
}

impl Debt {
    pub(super) fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Waits until all of it is paid.
    pub(super) async fn pay(&self, flow: &Flow) {
        let mut payment = Payment { left: self.0.swap(0, Ordering::Relaxed), of: self };
        while payment.left > 0 {
            match flow.take(payment.left) {
                Ok(paid) => payment.left -= paid,
                Err(wait) => sleep(wait).await,
            }
        }
    }
}

impl Drop for Payment<'_> {
    fn drop(&mut self) {
        self.of.add(self.left);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_waiters();
    }
}
