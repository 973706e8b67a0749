//! The ends of a program's pipes: ours are waited for by the runtime, which on Windows takes pipes with names.

use std::{
    fs::File,
    io,
    os::windows::io::OwnedHandle,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, ReadBuf},
    net::windows::named_pipe::{NamedPipeServer, PipeMode, ServerOptions},
};

use crate::os::Fault;

/// Our end of what a program reads.
pub(crate) type PipeWriter = NamedPipeServer;

/// Our end of what a program writes.
#[derive(Debug)]
pub(crate) struct PipeReader(NamedPipeServer);

impl AsyncRead for PipeReader {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.get_mut().0).poll_read(cx, buffer) {
            // Nobody has the other end any more.
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

/// Makes a pipe for the input of a program: its end, and ours.
pub(crate) fn input_pipe() -> Result<(OwnedHandle, PipeWriter), Fault> {
    pair(false).map_err(Fault::Os)
}

/// Makes a pipe for what a program writes: its end, and ours.
pub(crate) fn output_pipe() -> Result<(OwnedHandle, PipeReader), Fault> {
    pair(true).map(|(theirs, ours)| (theirs, PipeReader(ours))).map_err(Fault::Os)
}

/// Nobody else can be at the other end: the name is drawn, ours is its first and only end to serve it, and theirs takes the one
/// place there is. That it was taken has to be heard by ours: until then the runtime asks nothing of it, and nothing arrives.
fn pair(read: bool) -> io::Result<(OwnedHandle, NamedPipeServer)> {
    let mut drawn = [0; 16];
    super::super::random(&mut drawn)?;
    let name = format!(r"\\.\pipe\airssys-{:032x}", u128::from_ne_bytes(drawn));
    let ours = ServerOptions::new()
        .pipe_mode(PipeMode::Byte)
        .access_inbound(read)
        .access_outbound(!read)
        .first_pipe_instance(true)
        .reject_remote_clients(true)
        .max_instances(1)
        .create(&name)?;
    let theirs = File::options().read(!read).write(read).open(&name)?;
    match pin!(ours.connect()).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(heard) => heard?,
        // They are at the other end since above: there is nothing to wait for.
        Poll::Pending => return Err(io::ErrorKind::NotConnected.into()),
    }
    Ok((theirs.into(), ours))
}
