//! What the program hears from outside: that it is to stop, and that its policy is to be read again.

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, CtrlClose, ctrl_c, ctrl_close};

use crate::report::Failure;

/// How somebody asked it to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// What `kill` and service managers send; on Windows, that its window is closed.
    Terminate,
}

/// Hears of each wish to stop from here on: before it does, one would end the program.
pub(super) struct Stops {
    #[cfg(unix)]
    interrupt: Signal,
    #[cfg(unix)]
    terminate: Signal,
    #[cfg(windows)]
    interrupt: CtrlC,
    #[cfg(windows)]
    terminate: CtrlClose,
}

impl Stops {
    pub(super) fn new() -> Result<Self, Failure> {
        #[cfg(unix)]
        let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        #[cfg(windows)]
        let (interrupt, terminate) = (ctrl_c(), ctrl_close());
        let failed = |error| Failure::failed("cannot listen for Ctrl-C").caused_by(error);
        Ok(Self { interrupt: interrupt.map_err(failed)?, terminate: terminate.map_err(failed)? })
    }

    pub(super) async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.interrupt.recv() => Stop::Interrupt,
            _ = self.terminate.recv() => Stop::Terminate,
        }
    }
}

/// Hears of each SIGHUP from here on. On Windows there is none.
pub(super) struct Hangups {
    #[cfg(unix)]
    heard: Signal,
}

impl Hangups {
    #[cfg(unix)]
    pub(super) fn new() -> Result<Self, Failure> {
        let heard = signal(SignalKind::hangup());
        heard
            .map(|heard| Self { heard })
            .map_err(|error| Failure::failed("cannot listen for SIGHUP").caused_by(error))
    }

    #[cfg(windows)]
    pub(super) fn new() -> Result<Self, Failure> {
        Ok(Self {})
    }

    #[cfg(unix)]
    pub(super) async fn next(&mut self) -> Option<()> {
        self.heard.recv().await
    }

    #[cfg(windows)]
    pub(super) async fn next(&mut self) -> Option<()> {
        std::future::pending().await
    }
}
