use std::{num::NonZeroU64, time::Duration};

use crate::limits::{
    NET_CONNECT_TIMEOUT, NET_IDLE_TIMEOUT, NET_OPEN_DEFAULT, NET_RESOLVE_TIMEOUT, NET_TOTAL_TIMEOUT,
};

/// How much of the network one principal may use at a time.
///
/// A policy gives them with [`Grant::net_limits`](crate::policy::Grant::net_limits); without that they are those of
/// [`new`](Self::new). The count of what is open and the rates hold from the next use on where a new policy changes
/// them; the timeouts hold for what is opened from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Limits {
    pub(crate) open: usize,
    pub(crate) received_per_second: Option<NonZeroU64>,
    pub(crate) sent_per_second: Option<NonZeroU64>,
    pub(crate) resolve_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) idle_timeout: Duration,
    pub(crate) total_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

impl Limits {
    /// Starts with [`NET_OPEN_DEFAULT`] open at a time, no bound on the rates, and the timeouts in
    /// [`limits`](crate::limits).
    pub const fn new() -> Self {
        Self {
            open: NET_OPEN_DEFAULT,
            received_per_second: None,
            sent_per_second: None,
            resolve_timeout: NET_RESOLVE_TIMEOUT,
            connect_timeout: NET_CONNECT_TIMEOUT,
            idle_timeout: NET_IDLE_TIMEOUT,
            total_timeout: NET_TOTAL_TIMEOUT,
        }
    }

    /// Connections, listeners and datagram sockets that are open at a time, together. Connecting beyond it fails;
    /// accepting waits.
    pub const fn open(mut self, open: usize) -> Self {
        self.open = open;
        self
    }

    /// Bytes that all its sockets together receive in a second; a second's worth may come at once. `None` is no bound.
    pub const fn received_per_second(mut self, bytes: Option<NonZeroU64>) -> Self {
        self.received_per_second = bytes;
        self
    }

    /// As [`received_per_second`](Self::received_per_second), of what is sent.
    pub const fn sent_per_second(mut self, bytes: Option<NonZeroU64>) -> Self {
        self.sent_per_second = bytes;
        self
    }

    /// How long the lookup of a host may take.
    pub const fn resolve_timeout(mut self, timeout: Duration) -> Self {
        self.resolve_timeout = timeout;
        self
    }

    /// How long connecting may take, over all the addresses of a host; also, a TLS handshake.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long a connection may stay open with nothing going in or out while someone waits for it: from the last bytes, or
    /// from when someone first began to wait since the last bytes of that direction, where that was later. A wait that was
    /// given up counts.
    ///
    /// It holds for a datagram, too, that a socket waits to send, or to get from its one peer; there each wait counts from
    /// its own beginning, and ends alone. Listeners, and datagram sockets that are bound to an address, wait for whoever comes
    /// as long as it takes.
    pub const fn idle_timeout(mut self, timeout: Duration) -> Self {
        self.idle_timeout = timeout;
        self
    }

    /// How long a connection may stay open; datagram sockets and listeners are none. It is looked at when the connection is used, and under whoever waits for it.
    pub const fn total_timeout(mut self, timeout: Duration) -> Self {
        self.total_timeout = timeout;
        self
    }
}

/// When the system asks the peer of a silent connection whether it is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// After how much silence, in whole seconds, at least one.
    pub idle: Duration,
    /// How long after one question comes the next, in whole seconds, at least one.
    pub interval: Duration,
    /// After how many unanswered questions the connection is given up.
    pub probes: u32,
}
