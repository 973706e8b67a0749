//! An actor that a test looks into.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use crate::actor::{Actor, Context};
use crate::actor_ref::ActorRef;
use crate::exit::ExitReason;
use crate::system::{SpawnOptions, System};

/// How many messages a probe keeps that the test has not looked at. Then its mailbox fills, and its senders wait.
const KEPT: usize = 1024;

/// An actor that keeps what it is sent, for a test to look at, in order.
///
/// A request is answered by the test, with the [`Reply`](crate::Reply) in it. Dropped, it is killed.
pub struct Probe<M: Send + 'static> {
    actor: ActorRef<M>,
    received: mpsc::Receiver<M>,
}

/// Why a probe did not see what a test expects.
#[non_exhaustive]
pub enum ProbeError<M> {
    /// No (fitting) message came within this time.
    Nothing(Duration),
    /// This message came instead.
    Other(M),
}

impl<M: Send + 'static> Probe<M> {
    /// Starts a probe.
    pub fn new(system: &System) -> Self {
        let (tell, received) = mpsc::channel(KEPT);
        let options = SpawnOptions { name: Some("probe".to_owned()), ..SpawnOptions::default() };
        Self { actor: system.spawn_with(options, Recorder(tell)), received }
    }

    /// Where to send what the probe is to see.
    pub fn actor_ref(&self) -> ActorRef<M> {
        self.actor.clone()
    }

    /// Takes the next message, whatever it is.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Nothing`]: none came within `timeout`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no message.
    pub async fn expect(&mut self, timeout: Duration) -> Result<M, ProbeError<M>> {
        self.next(Instant::now() + timeout).await.ok_or(ProbeError::Nothing(timeout))
    }

    /// Takes the next message, and looks whether it is what was expected.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Nothing`]: none came within `timeout`. [`ProbeError::Other`]: it is not; holds it.
    ///
    /// # Cancel safety
    ///
    /// As in [`expect`](Self::expect).
    pub async fn expect_where(
        &mut self,
        timeout: Duration,
        fits: impl FnOnce(&M) -> bool,
    ) -> Result<M, ProbeError<M>> {
        let message = self.expect(timeout).await?;
        if fits(&message) { Ok(message) } else { Err(ProbeError::Other(message)) }
    }

    /// Sees that no message comes for `time`.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Other`]: one did; holds it.
    ///
    /// # Cancel safety
    ///
    /// As in [`expect`](Self::expect).
    pub async fn expect_none(&mut self, time: Duration) -> Result<(), ProbeError<M>> {
        match self.next(Instant::now() + time).await {
            Some(message) => Err(ProbeError::Other(message)),
            None => Ok(()),
        }
    }

    /// Takes messages until one fits, and drops those before it.
    ///
    /// # Errors
    ///
    /// [`ProbeError::Nothing`]: none that fits came within `timeout`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the messages that did not fit.
    pub async fn fish(
        &mut self,
        timeout: Duration,
        mut fits: impl FnMut(&M) -> bool,
    ) -> Result<M, ProbeError<M>> {
        let deadline = Instant::now() + timeout;
        while let Some(message) = self.next(deadline).await {
            if fits(&message) {
                return Ok(message);
            }
        }
        Err(ProbeError::Nothing(timeout))
    }

    /// Kills the probe, for those that watch it. What it has seen can still be looked at.
    pub fn kill(&self) {
        self.actor.kill();
    }

    /// The next message that comes before `deadline`. A probe that was killed gets none, and waits no shorter.
    async fn next(&mut self, deadline: Instant) -> Option<M> {
        let next = async {
            match self.received.recv().await {
                Some(message) => message,
                None => std::future::pending().await,
            }
        };
        timeout_at(deadline, next).await.ok()
    }
}

impl<M: Send + 'static> Drop for Probe<M> {
    fn drop(&mut self) {
        self.actor.kill();
    }
}

struct Recorder<M>(mpsc::Sender<M>);

impl<M: Send + 'static> Actor for Recorder<M> {
    type Msg = M;

    async fn handle(&mut self, message: M, _: &mut Context<Self>) -> Result<(), ExitReason> {
        // Nobody looks any more: the probe is being killed.
        self.0.send(message).await.map_err(|_| ExitReason::Normal)
    }
}

impl<M> fmt::Debug for ProbeError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<M> fmt::Display for ProbeError<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(time) => write!(f, "no message that fits in {time:?}"),
            Self::Other(_) => f.write_str("another message than the one expected"),
        }
    }
}

impl<M> Error for ProbeError<M> {}
