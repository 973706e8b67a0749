//! UNIX sockets beneath a directory, and in the abstract namespace where a grant names them.

use std::{ffi::OsString, fmt, io, os::unix::ffi::OsStringExt as _, path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    account::{Debt, Slot},
    held::{Opening, Socket, error},
    stream::Stream,
    subject::Subject,
};
use crate::{
    Action, Error, ErrorKind, Principal,
    fs::Dir,
    limits::ABSTRACT_NAME_BYTES,
    os::{Done, Fault, Name, Operation, Standing, within},
    policy::{Decision, Rights, rule},
    sys::{self, Shut},
};

/// An open UNIX connection. It is a [`TcpStream`](super::TcpStream) in all but its address.
pub struct UnixStream {
    pub(super) stream: Stream<tokio::net::UnixStream>,
}

/// A UNIX socket that others connect to. Its name stays when it is closed; [`Dir::remove_file`] takes it away.
pub struct UnixListener {
    socket: Arc<Socket<tokio::net::UnixListener>>,
}

/// A UNIX datagram socket: either bound to a name, or connected to one.
pub struct UnixDatagram {
    socket: Arc<Socket<tokio::net::UnixDatagram>>,
    /// Bytes that came and that the rate has not been charged for.
    owed: Debt,
    send_timeout: Duration,
    /// It has no name, and so nobody sends to it.
    connected: bool,
}

/// What is about to be opened, and for whom.
struct Plan<'a> {
    principal: &'a Principal,
    action: Action,
    subject: Subject,
    resource: Arc<[u8]>,
    /// The handle itself permits no more than this, whatever policy says.
    narrowed: bool,
    /// How long opening it may take, where the handle says it.
    deadline: Option<Duration>,
}

impl Dir {
    /// Connects to a UNIX socket that listens beneath this directory.
    ///
    /// The path is resolved as every path; a symbolic link that leaves is denied, and what is connected to is the socket
    /// that was found, whatever is renamed meanwhile. It needs the right WRITE and a grant of UNIX sockets beneath this
    /// root ([`Grant::unix`](crate::policy::Grant::unix)). `/proc` must be mounted.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no, the path leaves this directory, or the directory's terms
    ///   ([`FsTerms`](crate::policy::FsTerms)) take the socket out or do not permit its other names.
    /// * [`NotFound`](crate::ErrorKind::NotFound), [`Invalid`](crate::ErrorKind::Invalid): a malformed path.
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): the principal has as many open as it may.
    /// * [`TimedOut`](crate::ErrorKind::TimedOut): nobody took the connection in time.
    /// * [`Io`](crate::ErrorKind::Io): it is no socket, or nobody listens.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn connect_unix(&self, path: impl AsRef<Path>) -> Result<UnixStream, Error> {
        let path = path.as_ref();
        let plan = self.plan(Action::NetConnect, path);
        let standing = plan.principal.standing();
        let limits = standing.limits();
        let execute = async {
            let (place, address) = self.find_socket(path, sys::unix_socket).await?;
            let connected = timeout(limits.connect_timeout, sys::connect_unix(&address)).await;
            drop(place);
            connected.map_err(|_| Fault::errno(sys::errno::TIMED_OUT))?.map_err(Fault::Os)
        };
        let socket = plan.open(&standing, execute).await?;
        Ok(UnixStream { stream: Stream::new(socket, &limits) })
    }

    /// Makes a UNIX socket beneath this directory, which its owner alone may connect to (mode `0600`), and listens on it.
    /// Needs the right CREATE and a grant to listen.
    ///
    /// # Errors
    ///
    /// As [`connect_unix`](Self::connect_unix), and [`Io`](crate::ErrorKind::Io) where the name is taken, or
    /// [`LimitExceeded`](crate::ErrorKind::LimitExceeded) where the directory's quota of names is used up.
    ///
    /// # Cancel safety
    ///
    /// The name may be made all the same; the record then says `cancelled`.
    pub async fn listen_unix(&self, path: impl AsRef<Path>) -> Result<UnixListener, Error> {
        let path = path.as_ref();
        let plan = self.plan(Action::NetListen, path);
        let standing = plan.principal.standing();
        let execute = async {
            let listener = self.make_socket(path, sys::listen_unix).await?;
            tokio::net::UnixListener::from_std(listener).map_err(Fault::Os)
        };
        Ok(UnixListener { socket: plan.open(&standing, execute).await? })
    }

    /// Makes a UNIX datagram socket beneath this directory, which its owner alone may send to (mode `0600`), and receives.
    /// Needs the right CREATE and a grant to listen.
    ///
    /// # Errors
    ///
    /// As [`listen_unix`](Self::listen_unix).
    ///
    /// # Cancel safety
    ///
    /// As [`listen_unix`](Self::listen_unix).
    pub async fn bind_unix_datagram(&self, path: impl AsRef<Path>) -> Result<UnixDatagram, Error> {
        let path = path.as_ref();
        let plan = self.plan(Action::NetListen, path);
        let standing = plan.principal.standing();
        let execute = async {
            let socket = self.make_socket(path, sys::bind_unix_datagram).await?;
            tokio::net::UnixDatagram::from_std(socket).map_err(Fault::Os)
        };
        let send_timeout = standing.limits().idle_timeout;
        let socket = plan.open(&standing, execute).await?;
        Ok(UnixDatagram { socket, owed: Debt::default(), send_timeout, connected: false })
    }

    /// Makes a UNIX datagram socket that sends to one beneath this directory. Needs what
    /// [`connect_unix`](Self::connect_unix) needs.
    ///
    /// # Errors
    ///
    /// As [`connect_unix`](Self::connect_unix).
    ///
    /// # Cancel safety
    ///
    /// As [`connect_unix`](Self::connect_unix).
    pub async fn connect_unix_datagram(&self, path: impl AsRef<Path>) -> Result<UnixDatagram, Error> {
        let path = path.as_ref();
        let plan = self.plan(Action::NetConnect, path);
        let standing = plan.principal.standing();
        let execute = async {
            let (place, address) = self.find_socket(path, sys::unix_socket).await?;
            let socket = sys::connect_unix_datagram(&address).map_err(Fault::Os);
            drop(place);
            socket
        };
        let send_timeout = standing.limits().idle_timeout;
        let socket = plan.open(&standing, execute).await?;
        Ok(UnixDatagram { socket, owed: Debt::default(), send_timeout, connected: true })
    }

    fn plan(&self, action: Action, path: &Path) -> Plan<'_> {
        let anchor = self.anchor();
        let needs = if action == Action::NetConnect { Rights::WRITE } else { Rights::CREATE };
        let mut resource = b"unix:".to_vec();
        Name::beneath(anchor.name, path.as_os_str().as_encoded_bytes()).write(&mut resource);
        Plan {
            principal: anchor.principal,
            action,
            subject: Subject::Beneath { grant: Arc::clone(anchor.grant), needs },
            resource: resource.into(),
            narrowed: !self.rights().contains(needs),
            deadline: anchor.deadline,
        }
    }
}

impl Principal {
    /// Connects to a UNIX socket in Linux' abstract namespace; `name` is without the leading NUL.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): no grant names it ([`Grant::abstract_unix`]).
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded), [`Io`](crate::ErrorKind::Io): as
    ///   [`Dir::connect_unix`].
    ///
    /// [`Grant::abstract_unix`]: crate::policy::Grant::abstract_unix
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn connect_abstract(&self, name: &[u8]) -> Result<UnixStream, Error> {
        let plan = self.abstract_plan(Action::NetConnect, name);
        let standing = self.standing();
        let limits = standing.limits();
        let address = abstract_address(name);
        let execute = async {
            let connected = timeout(limits.connect_timeout, sys::connect_unix(Path::new(&address))).await;
            connected.map_err(|_| Fault::errno(sys::errno::TIMED_OUT))?.map_err(Fault::Os)
        };
        let socket = plan.open(&standing, execute).await?;
        Ok(UnixStream { stream: Stream::new(socket, &limits) })
    }

    /// Listens in Linux' abstract namespace; `name` is without the leading NUL.
    ///
    /// # Errors
    ///
    /// As [`connect_abstract`](Self::connect_abstract).
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn listen_abstract(&self, name: &[u8]) -> Result<UnixListener, Error> {
        let plan = self.abstract_plan(Action::NetListen, name);
        let standing = self.standing();
        let address = abstract_address(name);
        let execute = async { sys::listen_abstract(Path::new(&address)).map_err(Fault::Os) };
        Ok(UnixListener { socket: plan.open(&standing, execute).await? })
    }

    fn abstract_plan(&self, action: Action, name: &[u8]) -> Plan<'_> {
        // A longer name is granted to nobody, and none fills the log.
        let name = name.get(..=ABSTRACT_NAME_BYTES).unwrap_or(name);
        let resource = [b"unix:@", name].concat().into();
        let subject = Subject::Abstract(name.into());
        Plan { principal: self, action, subject, resource, narrowed: false, deadline: None }
    }
}

impl Plan<'_> {
    /// Takes the opening of a socket through the pipeline.
    async fn open<S: Shut + Send + Sync + 'static>(
        self,
        standing: &Standing,
        execute: impl Future<Output = Result<S, Fault>>,
    ) -> Result<Arc<Socket<S>>, Error> {
        let Self { principal, action, subject, resource, narrowed, deadline } = self;
        principal.account().configure(&standing.limits());
        let mut decision = subject.decide(standing, action);
        if decision.permits() && narrowed {
            decision = Decision::deny(rule::NARROWED_HANDLE);
        }
        let operation = Operation { mutates: true, ..principal.operation(action, &resource) };
        let execute = async {
            let slot = principal.account().try_slot().ok_or(Fault::TooMany)?;
            Ok(Done::new((execute.await?, slot)))
        };
        let (io, slot): (S, Slot) =
            operation.run(decision, standing.epoch, within(deadline, execute)).await?;
        let opening = Opening {
            principal,
            action,
            subject,
            resource,
            peer: "".into(),
            rule: decision.rule.into(),
            epoch: standing.epoch,
            slot,
        };
        Ok(Socket::hold(io, opening))
    }
}

impl UnixStream {
    /// Bytes that were received and sent so far.
    pub fn bytes(&self) -> (u64, u64) {
        self.stream.socket.held.bytes()
    }

    /// The user that the program at the other end ran as when it connected, or began to listen: the kernel says so.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the operating system refused.
    pub fn peer_user(&self) -> Result<u32, Error> {
        let peer = self.stream.socket.io.peer_cred();
        peer.map(|peer| peer.uid())
            .map_err(|failed| error("tell the peer of a connection".to_owned(), failed))
    }
}

impl UnixListener {
    /// Waits for the next connection. Its record names the user and the process of the peer.
    ///
    /// # Errors
    ///
    /// As [`Listener::accept`](super::Listener::accept).
    ///
    /// # Cancel safety
    ///
    /// As [`Listener::accept`](super::Listener::accept).
    pub async fn accept(&self) -> Result<UnixStream, Error> {
        let accepting = || format!("accept a connection on `{}`", self.socket.held.name());
        let slot = self.socket.room().await.map_err(|failed| error(accepting(), failed))?;
        let io = match self.socket.io.accept().await {
            Ok((io, _)) => io,
            Err(failed) => return Err(error(accepting(), self.socket.check().err().unwrap_or(failed))),
        };
        self.socket.check().map_err(|failed| error(accepting(), failed))?;
        let held = &self.socket.held;
        let principal = held.principal();
        let standing = principal.standing().for_open();
        let decision = held.subject().decide(&standing, held.action());
        let peer = peer_of(&io);
        let operation = Operation {
            other: Some(Name::plain(peer.as_bytes())),
            ..principal.operation(Action::NetAccept, held.resource())
        };
        operation.begin(decision, standing.epoch)?.finish(Ok(Done::new(())))?;
        let opening = Opening {
            principal,
            action: held.action(),
            subject: held.subject().clone(),
            resource: held.resource().clone(),
            peer: peer.into(),
            rule: decision.rule.into(),
            epoch: standing.epoch,
            slot,
        };
        Ok(UnixStream { stream: Stream::new(Socket::hold(io, opening), &standing.limits()) })
    }
}

impl UnixDatagram {
    /// Sends one datagram to the socket that it is connected to.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): the principal was revoked, or a new policy does not permit it. The socket
    ///   is closed.
    /// * [`Io`](crate::ErrorKind::Io): the operating system refused, for instance because it is not connected.
    /// * [`TimedOut`](crate::ErrorKind::TimedOut): the receiver did not read for as long as a connection may be silent.
    ///
    /// # Cancel safety
    ///
    /// It is sent or not.
    pub async fn send(&self, datagram: &[u8]) -> Result<(), Error> {
        let name = || format!("send a datagram to `{}`", self.socket.held.name());
        self.socket.check().map_err(|failed| error(name(), failed))?;
        self.socket.held.principal().account().sent.pay(datagram.len()).await;
        let sent = timeout(self.send_timeout, self.socket.io.send(datagram)).await;
        let sent = sent.unwrap_or_else(|_| Err(io::Error::from_raw_os_error(sys::errno::TIMED_OUT)));
        let sent = sent.map_err(|failed| error(name(), self.socket.check().err().unwrap_or(failed)))?;
        self.socket.held.count_sent(sent);
        Ok(())
    }

    /// Waits for a datagram as long as it takes, and returns its length. What is longer than the buffer is cut.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send), and [`Invalid`](crate::ErrorKind::Invalid) where it is connected: it has no name, so nothing
    /// would ever come.
    ///
    /// # Cancel safety
    ///
    /// No datagram is lost.
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let name = || format!("receive a datagram on `{}`", self.socket.held.name());
        if self.connected {
            return Err(Error::new(ErrorKind::Invalid, name()));
        }
        self.socket.check().map_err(|failed| error(name(), failed))?;
        // What came is charged before the next comes: waiting with it in the hand could lose it.
        self.owed.pay(&self.socket.held.principal().account().received).await;
        let len = loop {
            self.socket.io.readable().await.map_err(|failed| error(name(), failed))?;
            // A socket that was cut is readable for ever, and has nothing.
            self.socket.check().map_err(|failed| error(name(), failed))?;
            match self.socket.io.try_recv(buffer) {
                Ok(len) => break len,
                Err(failed) if failed.kind() == io::ErrorKind::WouldBlock => {}
                Err(failed) => return Err(error(name(), failed)),
            }
        };
        self.owed.add(len);
        self.socket.held.count_received(len);
        Ok(len)
    }
}

fn peer_of(io: &tokio::net::UnixStream) -> String {
    match io.peer_cred() {
        Ok(peer) => match peer.pid() {
            Some(pid) => format!("uid {} pid {pid}", peer.uid()),
            None => format!("uid {}", peer.uid()),
        },
        Err(_) => "unknown".to_owned(),
    }
}

/// The spelling of an abstract name as a path, which begins with a NUL.
fn abstract_address(name: &[u8]) -> OsString {
    OsString::from_vec([b"\0", name].concat())
}

macro_rules! debug {
    ($($socket:ty),*) => {
        $(impl fmt::Debug for $socket {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.socket.fmt(f)
            }
        })*
    };
}

debug!(UnixListener, UnixDatagram);
