//! Connections that wait to be used again.

use std::{
    collections::VecDeque,
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Host, TcpConnector, TcpStream};
use crate::Error;

/// Keeps idle connections of one principal, for clients that ask the same hosts again and again.
///
/// Each connection counts among what its principal has open, and each is decided again before it is handed out. It keeps
/// no task: what has waited too long is closed when the pool is used the next time, or by the limits of its principal.
/// Clones are the same pool.
#[derive(Clone, Debug)]
pub struct Pool {
    connector: TcpConnector,
    shared: Arc<Shared>,
}

/// How much a [`Pool`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolOptions {
    /// Idle connections to one host and port, at most.
    pub per_host: usize,
    /// Idle connections, at most.
    pub total: usize,
    /// How long a connection may wait.
    pub keep: Duration,
}

impl Default for PoolOptions {
    /// Four to a host, 32 in all, for a minute: servers commonly close after that.
    fn default() -> Self {
        Self { per_host: 4, total: 32, keep: Duration::from_secs(60) }
    }
}

#[derive(Debug)]
struct Shared {
    options: PoolOptions,
    /// The one that has waited longest is the first.
    idle: Mutex<VecDeque<Idle>>,
}

#[derive(Debug)]
struct Idle {
    host: Host,
    port: u16,
    since: Instant,
    stream: TcpStream,
}

/// A connection from a [`Pool`]. It is a [`TcpStream`], and closed when it is dropped.
pub struct Pooled {
    stream: TcpStream,
    host: Host,
    port: u16,
    reused: bool,
    shared: Arc<Shared>,
}

impl Pool {
    /// Makes an empty pool.
    pub fn new(connector: TcpConnector, options: PoolOptions) -> Self {
        Self { connector, shared: Arc::new(Shared { options, idle: Mutex::default() }) }
    }

    /// Takes a connection that waits, else connects.
    ///
    /// One that its peer closed, or that something came on which nobody asked for, is not handed out.
    ///
    /// # Errors
    ///
    /// As [`TcpConnector::connect`].
    ///
    /// # Cancel safety
    ///
    /// As [`TcpConnector::connect`].
    pub async fn take(&self, host: &str, port: u16) -> Result<Pooled, Error> {
        let pooled = |stream, host, reused| {
            let shared = Arc::clone(&self.shared);
            Pooled { stream, host, port, reused, shared }
        };
        if let Ok(host) = Host::parse(host) {
            while let Some(stream) = self.shared.find(&host, port, Instant::now()) {
                if stream.is_quiet() {
                    return Ok(pooled(stream, host, true));
                }
            }
        }
        let checked = self.connector.check(host, port).await?;
        let stream = self.connector.connect_checked(&checked).await?;
        Ok(pooled(stream, checked.host().clone(), false))
    }

    /// How many connections wait.
    pub fn idle(&self) -> usize {
        self.shared.idle().len()
    }
}

impl Pooled {
    /// Gives the connection back, for the next who asks for the same host and port. Whoever gives it back has read all
    /// that was answered.
    pub fn give_back(self) {
        let Self { stream, host, port, shared, .. } = self;
        shared.keep(Idle { host, port, since: Instant::now(), stream });
    }

    /// Whether it was used before. A first request on it may fail because its peer closed it just now.
    pub fn is_reused(&self) -> bool {
        self.reused
    }
}

impl Shared {
    /// Takes out the connection to a host that came last.
    fn find(&self, host: &Host, port: u16, now: Instant) -> Option<TcpStream> {
        let old = self.expire(now);
        let mut idle = self.idle();
        let at = idle.iter().rposition(|idle| idle.host == *host && idle.port == port);
        let found = at.and_then(|at| idle.remove(at)).map(|idle| idle.stream);
        // Closing leaves a record: not while others wait for the lock.
        drop(idle);
        drop(old);
        found
    }

    fn keep(&self, new: Idle) {
        let old = self.expire(new.since);
        let mut out = Vec::new();
        let mut idle = self.idle();
        let same = |one: &Idle| one.host == new.host && one.port == new.port;
        while idle.iter().filter(|one| same(one)).count() >= self.options.per_host.max(1) {
            let Some(first) = idle.iter().position(same) else { break };
            out.extend(idle.remove(first));
        }
        while idle.len() >= self.options.total.max(1) {
            out.extend(idle.pop_front());
        }
        if self.options.per_host > 0 && self.options.total > 0 {
            idle.push_back(new);
        }
        drop(idle);
        drop((old, out));
    }

    fn expire(&self, now: Instant) -> Vec<Idle> {
        let mut idle = self.idle();
        let is_old = |idle: &Idle| now.saturating_duration_since(idle.since) >= self.options.keep;
        let old = idle.iter().take_while(|idle| is_old(idle)).count();
        idle.drain(..old).collect()
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Deref for Pooled {
    type Target = TcpStream;

    fn deref(&self) -> &TcpStream {
        &self.stream
    }
}

impl DerefMut for Pooled {
    fn deref_mut(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

impl fmt::Debug for Pooled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stream.fmt(f)
    }
}
