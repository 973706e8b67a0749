use std::time::Duration;

use tokio::{
    sync::oneshot,
    task::{JoinHandle, spawn_blocking},
};

use super::Fault;
use crate::sys;

/// Does work that may wait on a thread of its own.
///
/// Where the future is dropped before a thread took the work up, it is not done; once taken up, it goes to its end.
///
/// # Panics
///
/// Panics outside of a tokio runtime.
pub(crate) async fn pool<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    let mut task = AbortOnDrop(spawn_blocking(work));
    match (&mut task.0).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => Err(Fault::Bug),
        Err(_shut_down) => Err(Fault::errno(sys::errno::CANCELED)),
    }
}

/// As [`pool`], for work that leaves something to be dropped for which nobody has to wait: it is, on the same thread, after
/// the answer is out.
pub(crate) async fn pool_leaving<T: Send + 'static, L>(
    work: impl FnOnce() -> Result<(T, L), Fault> + Send + 'static,
) -> Result<T, Fault> {
    let (answer, answered) = oneshot::channel();
    let mut task = AbortOnDrop(spawn_blocking(move || {
        let (result, left) = match work() {
            Ok((value, left)) => (Ok(value), Some(left)),
            Err(fault) => (Err(fault), None),
        };
        // Where nobody waits for it any more, nobody is told.
        let _ = answer.send(result);
        drop(left);
    }));
    match answered.await {
        Ok(result) => result,
        Err(_never) => match (&mut task.0).await {
            Err(error) if !error.is_panic() => Err(Fault::errno(sys::errno::CANCELED)),
            _ => Err(Fault::Bug),
        },
    }
}

/// Does `work` for at most `deadline`; then it is dropped where it is.
pub(crate) async fn within<T>(
    deadline: Option<Duration>,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match deadline {
        None => work.await,
        Some(deadline) => match tokio::time::timeout(deadline, work).await {
            Ok(result) => result,
            Err(_elapsed) => Err(Fault::errno(sys::errno::TIMED_OUT)),
        },
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
