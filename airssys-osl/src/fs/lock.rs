use std::{sync::Arc, time::Duration};

use super::{File, place::Opened, verb};
use crate::{
    Error,
    limits::LOCK_RETRY,
    os::{Done, Fault, pool},
    sys,
};

/// Who else may hold the lock of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// Others who lock it shared. Needs the right READ.
    Shared,
    /// Nobody. Needs the right WRITE.
    Exclusive,
}

/// A locked file; unlocked when it is dropped.
#[derive(Debug)]
pub struct Lock {
    opened: Arc<Opened>,
}

impl File {
    /// Locks the whole file, and waits for at most `patience` for others to unlock it.
    ///
    /// The lock is advisory: it holds off those who lock, not those who read or write. It belongs to what was opened
    /// once (Linux: `flock(2)`), not to the process: clones of this file are the same locker, and locking again
    /// changes the kind of the one lock there is. A program that dies unlocks.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, or it was opened for something else.
    /// * [`Busy`](crate::ErrorKind::Busy): somebody else held it all the time.
    ///
    /// # Panics
    ///
    /// Panics in a runtime without time, where it has to wait.
    ///
    /// # Cancel safety
    ///
    /// Nothing is locked; the record then says `cancelled`.
    pub async fn lock(&self, kind: LockKind, patience: Duration) -> Result<Lock, Error> {
        let verb = match kind {
            LockKind::Shared => verb::LOCK_SHARED,
            LockKind::Exclusive => verb::LOCK_ALONE,
        };
        let execute = async {
            let mut waited = Duration::ZERO;
            loop {
                let opened = Arc::clone(&self.opened);
                // The guard is made where the lock is taken: where nobody waits for it any more, it unlocks.
                let attempt = pool(move || {
                    sys::try_lock(&opened.handle, kind == LockKind::Exclusive)?;
                    Ok(Lock { opened })
                });
                match attempt.await {
                    Err(Fault::Os(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        if waited >= patience {
                            return Err(Fault::Os(error));
                        }
                        let pause = LOCK_RETRY.min(patience - waited);
                        tokio::time::sleep(pause).await;
                        waited += pause;
                    }
                    result => return result.map(Done::new),
                }
            }
        };
        self.access.run(verb, self.named(), execute).await
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // It can only fail for a bad descriptor, and this one is open.
        let _ = sys::unlock(&self.opened.handle);
    }
}
