//! The streams of TCP: what comes, what goes, and who connects.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use airssys_osl::{Error, ErrorKind, net::TcpStream};
use bytes::Bytes;
use wasmtime::{
    AsContextMut as _, Result, StoreContextMut,
    component::{Destination, Resource, Source, StreamConsumer, StreamProducer, StreamResult},
};

use super::{
    super::{bindings::wasi::sockets::types::ErrorCode, stream::Outcome},
    tcp::Tcp,
};
use crate::{
    host::{
        sockets::{Acceptor, Connection, of_io, socket_error},
        stream::CHUNK_BYTES,
    },
    instance::State,
};

/// What a stream says of an error.
pub(super) fn code(error: wasmtime::Error) -> Result<ErrorCode> {
    match error.downcast::<io::Error>() {
        // Which 0.2 has no word of its own for.
        Ok(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ErrorCode::ConnectionBroken),
        Ok(error) => Ok(of_io(&error).into()),
        Err(error) => Ok(error.downcast::<ErrorCode>()?),
    }
}

/// What comes over a connection. It is read straight into the guest, when the guest wants it.
pub(super) struct Receiving {
    connection: Connection,
    /// Until it is told.
    outcome: Option<Outcome<ErrorCode>>,
    /// Whether the read that the guest waits for is among its calls already.
    is_counted: bool,
}

impl Receiving {
    pub(super) fn new(connection: Connection, outcome: Outcome<ErrorCode>) -> Self {
        Self { connection, outcome: Some(outcome), is_counted: false }
    }
}

impl StreamProducer<State> for Receiving {
    type Item = u8;
    type Buffer = Bytes;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        destination: Destination<'a, u8, Bytes>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let Some(outcome) = &mut this.outcome else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        if !std::mem::replace(&mut this.is_counted, true) {
            store.data_mut().count_call()?;
        }
        let read = if destination.remaining(&mut store) == Some(0) {
            // Who reads nothing asks whether there is something.
            this.connection.poll_readable(cx).map(|()| None)
        } else {
            let mut into = destination.as_direct(store, CHUNK_BYTES);
            let room = into.remaining();
            let most = room.len().min(CHUNK_BYTES);
            let read = this.connection.poll_read(cx, room.get_mut(..most).unwrap_or_default());
            if let Poll::Ready(Ok(length)) = read {
                into.mark_written(length);
            }
            read.map(Some)
        };
        let read = match read {
            Poll::Ready(read) => read,
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        this.is_counted = false;
        match read {
            None | Some(Ok(1..)) => return Poll::Ready(Ok(StreamResult::Completed)),
            Some(Ok(0)) => {}
            Some(Err(error)) => outcome.fail(error.into())?,
        }
        this.outcome = None;
        Poll::Ready(Ok(StreamResult::Dropped))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.connection.close_input();
    }
}

/// What goes over a connection. A write of the guest is complete when the system has some of it.
pub(super) struct Sending {
    connection: Connection,
    /// Until it is told.
    outcome: Option<Outcome<ErrorCode>>,
    /// Whether the write that is under way is among the guest's calls already.
    is_counted: bool,
}

impl Sending {
    pub(super) fn new(connection: Connection, outcome: Outcome<ErrorCode>) -> Self {
        Self { connection, outcome: Some(outcome), is_counted: false }
    }
}

impl StreamConsumer<State> for Sending {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'_, State>,
        source: Source<'_, u8>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        let Some(outcome) = &mut this.outcome else { return Poll::Ready(Ok(StreamResult::Dropped)) };
        if source.remaining(&mut store) == 0 {
            // Who writes nothing asks whether it may write: it may, and waits then.
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        if !std::mem::replace(&mut this.is_counted, true) {
            store.data_mut().count_call()?;
        }
        let mut from = source.as_direct(store.as_context_mut());
        let bytes = from.remaining();
        let sent = match this.connection.poll_write(cx, bytes.get(..CHUNK_BYTES).unwrap_or(bytes)) {
            Poll::Ready(sent) => sent,
            Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
            Poll::Pending => return Poll::Pending,
        };
        this.is_counted = false;
        match sent {
            Ok(length) => {
                from.mark_read(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(error) => {
                outcome.fail(error.into())?;
                this.outcome = None;
                Poll::Ready(Ok(StreamResult::Dropped))
            }
        }
    }
}

/// The peer learns that nothing more comes, behind what was written; then the guest learns that this is so.
impl Drop for Sending {
    fn drop(&mut self) {
        self.connection.close_output();
        self.outcome = None;
    }
}

type Accepted = std::result::Result<TcpStream, Error>;

/// Who connects to a socket that listens. It is taken when the guest wants it, and waits in the system's queue until then.
pub(super) struct Accepting {
    acceptor: Acceptor,
    next: Next,
}

enum Next {
    Idle,
    Waiting(Pin<Box<dyn Future<Output = Accepted> + Send>>),
    There(Accepted),
    /// Nobody comes any more.
    Ended,
}

impl Accepting {
    pub(super) fn new(acceptor: Acceptor) -> Self {
        Self { acceptor, next: Next::Idle }
    }
}

impl StreamProducer<State> for Accepting {
    type Item = Resource<Tcp>;
    type Buffer = Option<Resource<Tcp>>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut store: StoreContextMut<'a, State>,
        mut destination: Destination<'a, Resource<Tcp>, Option<Resource<Tcp>>>,
        finish: bool,
    ) -> Poll<Result<StreamResult>> {
        let this = self.get_mut();
        if let Next::Idle = this.next {
            store.data_mut().count_call()?;
            this.next = Next::Waiting(Box::pin(this.acceptor.accept()));
        }
        if let Next::Waiting(waiting) = &mut this.next {
            match waiting.as_mut().poll(cx) {
                Poll::Ready(accepted) => this.next = Next::There(accepted),
                Poll::Pending if finish => return Poll::Ready(Ok(StreamResult::Cancelled)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if destination.remaining(&mut store) == Some(0) {
            return Poll::Ready(Ok(StreamResult::Completed));
        }
        let accepted = match std::mem::replace(&mut this.next, Next::Idle) {
            // The listener was closed: it may not be any more.
            Next::There(Err(error)) if error.kind() == ErrorKind::Denied => None,
            Next::There(accepted) => Some(accepted),
            Next::Idle | Next::Waiting(_) | Next::Ended => None,
        };
        let Some(accepted) = accepted else {
            this.next = Next::Ended;
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        // One that failed before it was taken is a socket that says so; the next one may be well.
        let socket = this.acceptor.accepted(accepted.map_err(|error| socket_error(&error)));
        let socket = store.data_mut().host.table.push(Tcp::new(socket))?;
        destination.set_buffer(Some(socket));
        Poll::Ready(Ok(StreamResult::Completed))
    }
}
