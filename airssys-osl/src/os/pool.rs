use std::time::Duration;

use tokio::task::{JoinHandle, spawn_blocking};

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
