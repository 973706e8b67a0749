//! Where the system is neither Linux nor macOS nor Windows: nothing holds a program, so none is started.

use std::{convert::Infallible, path::Path};

use crate::{Action, Error, Principal, os::Fault, policy::Resource};

impl Principal {
    /// Opens a granted program: not on this system.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied) where no grant names it, else
    /// [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Cancel safety
    ///
    /// It never waits.
    pub async fn exec(&self, program: impl AsRef<Path>) -> Result<Infallible, Error> {
        let program = program.as_ref();
        let standing = self.standing();
        let decision = standing.decide(Action::ProcessOpen, Resource::Program(program));
        let operation = self.operation(Action::ProcessOpen, program.as_os_str().as_encoded_bytes());
        operation.begin(decision, standing.epoch)?.finish(Err(Fault::Unsupported))
    }
}

/// All programs of one door that run: none.
#[derive(Debug, Default)]
pub(crate) struct Programs;

impl Programs {
    pub(crate) fn recheck(&self) {}
}
