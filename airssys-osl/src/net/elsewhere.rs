//! UNIX sockets where none are opened: on every system but Linux, so far. Who asks for one is recorded, and refused.

use std::{
    convert::Infallible,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::subject::Subject;
use crate::{
    Action, Error,
    fs::Dir,
    os::{Fault, Name, Operation},
    policy::Rights,
};

/// An open UNIX connection: there is none on this system.
#[derive(Debug)]
pub struct UnixStream(Infallible);

/// A UNIX socket that others connect to: there is none on this system.
#[derive(Debug)]
pub struct UnixListener(Infallible);

impl Dir {
    /// Connects to a UNIX socket beneath this directory: not on this system.
    ///
    /// # Errors
    ///
    /// [`Denied`](crate::ErrorKind::Denied) where policy says no, else [`Unsupported`](crate::ErrorKind::Unsupported).
    ///
    /// # Cancel safety
    ///
    /// It never waits.
    pub async fn connect_unix(&self, path: impl AsRef<Path>) -> Result<UnixStream, Error> {
        self.refuse(Action::NetConnect, Rights::WRITE, path.as_ref()).map(UnixStream)
    }

    /// Makes a UNIX socket beneath this directory: not on this system.
    ///
    /// # Errors
    ///
    /// As [`connect_unix`](Self::connect_unix).
    ///
    /// # Cancel safety
    ///
    /// As [`connect_unix`](Self::connect_unix).
    pub async fn listen_unix(&self, path: impl AsRef<Path>) -> Result<UnixListener, Error> {
        self.refuse(Action::NetListen, Rights::CREATE, path.as_ref()).map(UnixListener)
    }

    fn refuse(&self, action: Action, needs: Rights, path: &Path) -> Result<Infallible, Error> {
        let anchor = self.anchor();
        let mut resource = b"unix:".to_vec();
        Name::beneath(anchor.name, path.as_os_str().as_encoded_bytes()).write(&mut resource);
        let standing = anchor.principal.standing();
        let subject = Subject::Beneath { grant: Arc::clone(anchor.grant), needs };
        let decision = subject.decide(&standing, action);
        let operation = Operation { mutates: true, ..anchor.principal.operation(action, &resource) };
        operation.begin(decision, standing.epoch)?.finish(Err(Fault::Unsupported))
    }
}

impl UnixStream {
    /// The user at the other end: there is none.
    ///
    /// # Errors
    ///
    /// There are none.
    pub fn peer_user(&self) -> Result<u32, Error> {
        match self.0 {}
    }
}

impl UnixListener {
    /// Waits for the next connection: there is none.
    ///
    /// # Errors
    ///
    /// There are none.
    ///
    /// # Cancel safety
    ///
    /// It never waits.
    pub async fn accept(&self) -> Result<UnixStream, Error> {
        match self.0 {}
    }
}

impl AsyncRead for UnixStream {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        ErrorKind, Os,
        policy::{Direction, FsTerms, Grant, HardLinks, Policy, Rights},
        testing::MemorySink,
    };

    #[tokio::test]
    async fn sockets_of_unix_are_refused_by_policy_or_by_the_system() {
        let folder = tempfile::tempdir().unwrap();
        let rights = Rights::WRITE | Rights::CREATE;
        // Nothing here tells how many names a file has.
        let terms = FsTerms::new().hard_links(HardLinks::Shared);
        let files = || Grant::fs_with(folder.path(), rights, terms.clone());
        let policy = Policy::builder()
            .principal("none", [files()])
            .principal("both", [files(), Grant::unix(Direction::Connect, folder.path())])
            .build()
            .unwrap();
        let os = Os::new(policy, MemorySink::new());
        for (name, kind) in [("none", ErrorKind::Denied), ("both", ErrorKind::Unsupported)] {
            let dir = os.principal(name).unwrap().dir(folder.path()).await.unwrap();
            assert_eq!(dir.connect_unix("socket").await.unwrap_err().kind(), kind, "{name}");
            assert_eq!(dir.listen_unix("socket").await.unwrap_err().kind(), ErrorKind::Denied, "{name}");
        }
    }
}
