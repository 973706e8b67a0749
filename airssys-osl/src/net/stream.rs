//! Connections that are read and written.

use std::{
    fmt,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::{
    KeepAlive, Limits,
    account::Flow,
    held::{Opening, Socket},
};
use crate::{
    Error,
    sys::{self, Shut},
};

/// An open TCP connection.
///
/// It is read and written by tokio's traits. Before each use it is looked at whether the connection still may; where it
/// may not, because its principal was revoked or a new policy does not permit it, it is cut at once, also under someone
/// who waits for it, and the use fails with [`PermissionDenied`](io::ErrorKind::PermissionDenied). A silence that
/// outlasts the limits of its principal ends it with [`TimedOut`](io::ErrorKind::TimedOut). When it is dropped, it is
/// closed and leaves one record with the bytes that went through.
///
/// # Cancel safety
///
/// As tokio's own stream: a read or a write that was dropped moved nothing.
pub struct TcpStream {
    stream: Stream<tokio::net::TcpStream>,
    peer: SocketAddr,
}

impl TcpStream {
    pub(super) fn new(
        io: tokio::net::TcpStream,
        peer: SocketAddr,
        limits: &Limits,
        opening: Opening<'_>,
    ) -> Self {
        Self { stream: Stream::new(Socket::hold(io, opening), limits), peer }
    }

    /// The address of this end.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the operating system refused.
    pub fn local_addr(&self) -> Result<SocketAddr, Error> {
        self.stream.socket.io.local_addr().map_err(|error| self.error("tell the address of", error))
    }

    /// The address of the other end: the one that was decided.
    pub fn peer_addr(&self) -> SocketAddr {
        self.peer
    }

    /// Bytes that were received and sent so far.
    pub fn bytes(&self) -> (u64, u64) {
        self.stream.socket.held.bytes()
    }

    pub(super) fn principal(&self) -> &crate::Principal {
        self.stream.socket.held.principal()
    }

    pub(super) fn rule(&self) -> &str {
        self.stream.socket.held.rule()
    }

    /// Whether it may be used, and nothing has come: neither bytes nor the end.
    pub(super) fn is_quiet(&self) -> bool {
        self.stream.socket.check().is_ok() && sys::is_quiet(&self.stream.socket.io)
    }

    /// Sends small pieces at once instead of waiting for more.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the operating system refused.
    pub fn set_nodelay(&self, on: bool) -> Result<(), Error> {
        sys::set_nodelay(&self.stream.socket.io, on).map_err(|error| self.error("set the options of", error))
    }

    /// Lets the system ask a silent peer whether it is still there, or not any more.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the operating system refused.
    pub fn set_keep_alive(&self, keep_alive: Option<KeepAlive>) -> Result<(), Error> {
        let set = sys::set_keep_alive(&self.stream.socket.io, keep_alive);
        set.map_err(|error| self.error("set the options of", error))
    }

    /// Sets through how many routers what is sent may go: the time to live of IPv4, the hop limit of IPv6.
    ///
    /// # Errors
    ///
    /// [`Io`](crate::ErrorKind::Io): the operating system refused; Linux does for 0.
    pub fn set_hop_limit(&self, hops: u8) -> Result<(), Error> {
        let set = sys::set_hop_limit(&self.stream.socket.io, self.peer, hops);
        set.map_err(|error| self.error("set the options of", error))
    }

    fn error(&self, what: &str, error: io::Error) -> Error {
        Error::io(format!("{what} the connection to `{}`", self.peer), error)
    }
}

/// A socket of which bytes are read, without waiting.
pub(super) trait Bytes: Shut + Send + Sync + 'static {
    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    fn read_into(&self, buffer: &mut ReadBuf<'_>) -> io::Result<usize>;
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize>;
    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize>;
    /// As [`write`](Self::write), of one buffer, without knowing whether the socket is writable.
    fn write_now(&self, buffer: &[u8]) -> io::Result<usize>;
}

macro_rules! bytes {
    ($($stream:ty),*) => {
        $(impl Bytes for $stream {
            fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_read_ready(cx)
            }

            fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                self.poll_write_ready(cx)
            }

            fn read_into(&self, buffer: &mut ReadBuf<'_>) -> io::Result<usize> {
                self.try_read_buf(buffer)
            }

            fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
                self.try_read(buffer)
            }

            fn write_now(&self, buffer: &[u8]) -> io::Result<usize> {
                sys::send_now(self, buffer)
            }

            fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
                match buffers {
                    [one] => self.try_write(one),
                    several => self.try_write_vectored(several),
                }
            }
        })*
    };
}

bytes!(tokio::net::TcpStream);
#[cfg(target_os = "linux")]
bytes!(tokio::net::UnixStream);

/// A connection of either kind: what both do.
pub(super) struct Stream<S: Bytes> {
    pub(super) socket: Arc<Socket<S>>,
    idle: Duration,
    /// Whether nothing was written yet.
    fresh: bool,
    /// When it was used last, and when it ends whatever happens.
    used: Instant,
    until: Instant,
    /// When someone first began to wait since the last bytes of that direction.
    read_since: Option<Instant>,
    write_since: Option<Instant>,
    /// Made when someone waits for the first time. Each direction has its own: two tasks may share a connection, and a
    /// timer wakes only the one that looked last.
    read_timer: Option<Pin<Box<Sleep>>>,
    write_timer: Option<Pin<Box<Sleep>>>,
    /// Wait for the rate of the principal to permit more.
    read_wait: Option<Pin<Box<Sleep>>>,
    write_wait: Option<Pin<Box<Sleep>>>,
}

impl<S: Bytes> Stream<S> {
    pub(super) fn new(socket: Arc<Socket<S>>, limits: &Limits) -> Self {
        let now = Instant::now();
        Self {
            socket,
            idle: limits.idle_timeout,
            fresh: true,
            used: now,
            read_since: None,
            write_since: None,
            until: after(now, limits.total_timeout),
            read_timer: None,
            write_timer: None,
            read_wait: None,
            write_wait: None,
        }
    }

    pub(super) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        let want = buffer.remaining();
        if want == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if self.socket.io.poll_readable(cx)?.is_pending() {
                let since = *self.read_since.get_or_insert_with(Instant::now);
                let deadline = self.deadline(since);
                ready!(poll_timer(&mut self.read_timer, deadline, cx));
                return Poll::Ready(Err(self.socket.time_out()));
            }
            let flow = &self.socket.held.principal().account().received;
            let may = ready!(poll_flow(flow, want, &mut self.read_wait, cx));
            let read = if may == want {
                self.socket.io.read_into(buffer)
            } else {
                let read = self.socket.io.read(buffer.initialize_unfilled_to(may));
                read.inspect(|read| buffer.advance(*read))
            };
            flow.put_back(may - read.as_ref().map_or(0, |read| *read));
            match read {
                // The end, or the cut: both look alike.
                Ok(0) => return Poll::Ready(self.check()),
                Ok(read) => {
                    self.socket.held.count_received(read);
                    self.read_since = None;
                    self.used = Instant::now();
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(self.socket.failed(error))),
            }
        }
    }

    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        let want = buffers.iter().map(|buffer| buffer.len()).sum();
        if want == 0 {
            return Poll::Ready(Ok(0));
        }
        loop {
            let fresh = std::mem::take(&mut self.fresh);
            if !fresh && self.socket.io.poll_writable(cx)?.is_pending() {
                let since = *self.write_since.get_or_insert_with(Instant::now);
                let deadline = self.deadline(since);
                ready!(poll_timer(&mut self.write_timer, deadline, cx));
                return Poll::Ready(Err(self.socket.time_out()));
            }
            let flow = &self.socket.held.principal().account().sent;
            let may = ready!(poll_flow(flow, want, &mut self.write_wait, cx));
            let first = || {
                let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| buffer);
                first.get(..may).unwrap_or(first)
            };
            let written = if fresh {
                self.socket.io.write_now(first())
            } else if may == want {
                self.socket.io.write(buffers)
            } else {
                self.socket.io.write(&[IoSlice::new(first())])
            };
            flow.put_back(may - written.as_ref().map_or(0, |written| *written));
            match written {
                Ok(written) => {
                    self.socket.held.count_sent(written);
                    self.write_since = None;
                    self.used = Instant::now();
                    return Poll::Ready(Ok(written));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(self.socket.failed(error))),
            }
        }
    }

    fn check(&self) -> io::Result<()> {
        if Instant::now() >= self.until {
            return Err(self.socket.time_out());
        }
        self.socket.check()
    }

    /// When it ends by itself under someone who waits, which began `since` the last bytes, as far as is known now.
    fn deadline(&self, since: Instant) -> Instant {
        after(self.used.max(since), self.idle).min(self.until)
    }
}

/// Waits for the limits of time, beside someone who waits for bytes.
fn poll_timer(timer: &mut Option<Pin<Box<Sleep>>>, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
    let timer = timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
    // It was set for what was known then; since, something may have gone through.
    while Instant::now() < deadline {
        ready!(timer.as_mut().poll(cx));
        if Instant::now() < deadline {
            timer.as_mut().reset(deadline);
        }
    }
    Poll::Ready(())
}

/// Waits until some bytes may go.
fn poll_flow(
    flow: &Flow,
    want: usize,
    wait: &mut Option<Pin<Box<Sleep>>>,
    cx: &mut Context<'_>,
) -> Poll<usize> {
    loop {
        match flow.take(want) {
            Ok(may) => return Poll::Ready(may),
            Err(long) => {
                let sleep = wait.get_or_insert_with(|| Box::pin(sleep_until(after(Instant::now(), long))));
                ready!(sleep.as_mut().poll(cx));
                *wait = None;
            }
        }
    }
}

/// The moment after some time, however long.
pub(super) fn after(now: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365 * 30);
    now.checked_add(time.min(FAR)).unwrap_or(now)
}

macro_rules! streams {
    ($($stream:ty),*) => {
        $(impl AsyncRead for $stream {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                self.get_mut().stream.poll_read(cx, buffer)
            }
        }

        impl AsyncWrite for $stream {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffer: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().stream.poll_write(cx, &[IoSlice::new(buffer)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buffers: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.get_mut().stream.poll_write(cx, buffers)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Tells the peer that nothing more comes.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(self.stream.socket.io.finish())
            }
        }

        impl fmt::Debug for $stream {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.stream.socket.fmt(f)
            }
        })*
    };
}

streams!(TcpStream);
#[cfg(target_os = "linux")]
streams!(super::UnixStream);
