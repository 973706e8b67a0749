//! A program that runs, or ran, whatever system it runs on.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use tokio::sync::watch;

use crate::{
    os::Fault,
    process::{Cause, Exit},
};

/// What a system keeps of a program until it has taken it away.
pub(crate) trait Keep: Send + Sync {
    /// Kills the program with all that the system ends with it, where it has not ended.
    fn kill(&self, cause: Cause);
    /// Sends the program a signal; false where it has ended.
    fn signal(&self, number: i32) -> Result<bool, Fault>;
    /// Where the end is told.
    fn ended(&self) -> &watch::Sender<Option<Exit>>;
    /// The number of the process that we are the parent of, for those who look at the machine from outside.
    fn id(&self) -> u32;
}

/// A program that runs, or ran: it is killed when this is dropped.
pub(crate) struct Child<K: Keep>(Arc<K>);

impl<K: Keep> Child<K> {
    /// Takes over what somebody looks after.
    pub(super) fn of(kept: Arc<K>) -> Self {
        Self(kept)
    }

    /// Kills it.
    pub(crate) fn kill(&self, cause: Cause) {
        self.0.kill(cause);
    }

    /// Sends it a signal; false where it has ended.
    pub(crate) fn signal(&self, number: i32) -> Result<bool, Fault> {
        self.0.signal(number)
    }

    /// Tells of the end.
    pub(crate) fn watch(&self) -> watch::Receiver<Option<Exit>> {
        self.0.ended().subscribe()
    }

    /// See [`Keep::id`].
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    /// A handle that keeps nothing alive, to kill it by.
    pub(crate) fn killer(&self) -> Killer<K> {
        Killer(Arc::downgrade(&self.0))
    }
}

impl<K: Keep> Drop for Child<K> {
    fn drop(&mut self) {
        self.0.kill(Cause::Dropped);
    }
}

impl<K: Keep> fmt::Debug for Child<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Child").field(&self.0.id()).finish()
    }
}

/// Kills a program, if it is still there.
pub(crate) struct Killer<K: Keep>(Weak<K>);

impl<K: Keep> Killer<K> {
    pub(crate) fn kill(&self, cause: Cause) {
        if let Some(kept) = self.0.upgrade() {
            kept.kill(cause);
        }
    }
}

impl<K: Keep> Clone for Killer<K> {
    fn clone(&self) -> Self {
        Self(Weak::clone(&self.0))
    }
}

impl<K: Keep> fmt::Debug for Killer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Killer")
    }
}
