//! A program as an actor, as Erlang's ports are (`open_port/2`, `{spawn_executable, _}` with `exit_status`): messages are its
//! input, its output comes as messages.
//!
//! A [`Port`] starts its program by a door's [`Exec`], so that policy decides, layers hold it and records tell of it; it
//! ends with it, and so a supervisor restarts the program by restarting the port.
//!
//! | the program | the port ends with |
//! |---|---|
//! | ends with code 0 | [`Normal`](ExitReason::Normal) |
//! | ends with another code, by a signal, or at a limit | [`Error`](ExitReason::Error): a [`PortError::Exited`] with its [`Exit`] |
//! | says what is no frame | another [`PortError`]; the program is asked to end |
//! | has an owner that ended, and nobody for what is [`unclaimed`](Port::unclaimed) | [`ShutdownFor`](ExitReason::ShutdownFor); the program is asked to end |
//!
//! # Back pressure
//!
//! A frame waits for room in its owner's mailbox; meanwhile the port reads no more, and the program waits when its pipe is
//! full. A message to the port waits for the program to read: some 256 KiB are taken ahead of it, then the port's mailbox
//! fills, and then senders wait; who writes to its [`input`](Port::input) waits at once. An owner that waits for its port while its port waits for it waits for ever: it gives its
//! calls a time limit, or has a mailbox without a bound.
//!
//! # The end
//!
//! Where the port is stopped, the program sees the end of its input; if it is still there after [`grace`](Port::grace), it
//! gets `TERM`, and after as long again it is killed, with all its children. One that does not read is not waited for: what
//! it has no room for is dropped, at once, or [`grace`](Port::grace) after a supervisor has begun to drain the port. A
//! supervisor's [`Shutdown`](crate::Shutdown) has to last for all of that, or it kills the port, and the program with it. What
//! the program says meanwhile still comes.

mod framing;
mod json;
mod pump;

use std::{error::Error, fmt, future::poll_fn, sync::Arc, task::Poll, time::Duration};

use airssys_osl::process::{Exec, Exit, Launch, Process, Signal, Stdio};
use tokio::{
    sync::oneshot,
    task::{AbortHandle, JoinHandle},
    time::{Instant, sleep},
};

use self::{
    framing::Decoder,
    pump::{Ended, Feed, Frames, Outgoing},
};
pub use self::{
    framing::{Framing, PrefixBytes},
    pump::ERROR_LINE_BYTES,
};
use crate::{Actor, ActorRef, Context, ExitReason, Init, Reply};

/// The longest frame, where nothing else was said, in bytes.
const FRAME_BYTES: usize = 1024 * 1024;

/// How long a program has to end by itself, where nothing else was said.
const GRACE: Duration = Duration::from_secs(1);

/// A program as an actor. `M` is what its owner, who gets the frames, understands.
pub struct Port<M> {
    exec: Exec,
    launch: Option<Launch>,
    framing: Framing,
    limit: usize,
    grace: Duration,
    frames: Option<Frames<M>>,
    on_error: Option<Box<dyn FnMut(Vec<u8>) + Send>>,
    outgoing: Feed,
    /// Since when the port is known to be drained.
    drained_since: Option<Instant>,
    running: Option<Running>,
}

/// The input of a port's program; see [`Port::input`]. Clones lead to the same.
#[derive(Clone)]
pub struct PortInput {
    outgoing: Arc<Outgoing>,
    framing: Framing,
    limit: usize,
}

/// What belongs to a program that runs. It is killed when this is dropped.
struct Running {
    process: Process,
    reader: JoinHandle<()>,
    writer: JoinHandle<()>,
    errors: Option<AbortHandle>,
    ended: oneshot::Receiver<Ended>,
}

/// What a port understands.
#[derive(Debug)]
#[non_exhaustive]
pub enum PortMsg {
    /// Writes a frame. One that cannot be framed, or comes when the program has closed its input, ends the port.
    Write(Vec<u8>),
    /// As `Write`, and answers when the frame has its place among those that the program reads next.
    WriteThen(Vec<u8>, Reply<()>),
    /// Ends the program's input.
    CloseInput,
    /// Sends the program a signal.
    Signal(Signal),
    /// The reader's word that the program has ended or is to be ended. From anybody else it does nothing.
    Ended,
}

/// Why a port ended that was not asked to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortError {
    /// The program ended with something else than code 0.
    Exited(Box<Exit>),
    /// A frame, from the program or to it, is longer than it may be.
    TooLong {
        /// What it may be.
        limit_bytes: usize,
    },
    /// This is not what the framing says.
    Malformed(&'static str),
    /// The program ended within a frame.
    Truncated,
    /// The program has closed its input, and goes on.
    InputClosed,
    /// What makes messages of frames panicked.
    Panicked,
    /// The port has nothing to start its program with, or got no pipes to it. A broken invariant: please report it.
    NotStarted(&'static str),
}

impl<M: Send + 'static> Port<M> {
    /// A port to a program that `exec` starts. Each frame that it says becomes a message to `owner`.
    ///
    /// Its input and output are the port's, whatever `launch` says; its errors are as `launch` says, except that a pipe of
    /// them is read by [`errors`](Self::errors) alone.
    pub fn new(
        exec: Exec,
        launch: Launch,
        framing: Framing,
        owner: ActorRef<M>,
        on_frame: impl FnMut(&[u8]) -> M + Send + 'static,
    ) -> Self {
        let frames = Frames::Owner { owner, on_frame: Box::new(on_frame), unclaimed: None };
        Self::with(exec, launch, framing, frames)
    }

    /// As [`new`](Self::new), without an owner: `on_frame` takes each frame, and must not block.
    pub fn without_owner(
        exec: Exec,
        launch: Launch,
        framing: Framing,
        on_frame: impl FnMut(&[u8]) + Send + 'static,
    ) -> Self {
        Self::with(exec, launch, framing, Frames::Nobody(Box::new(on_frame)))
    }

    fn with(exec: Exec, launch: Launch, framing: Framing, frames: Frames<M>) -> Self {
        Self {
            exec,
            launch: Some(launch.stdin(Stdio::Pipe).stdout(Stdio::Pipe)),
            framing,
            limit: FRAME_BYTES,
            grace: GRACE,
            frames: Some(frames),
            on_error: None,
            outgoing: Feed::new(),
            drained_since: None,
            running: None,
        }
    }

    /// Has `on_line` take each line that the program says as errors, without its end, and a longer one than
    /// [`ERROR_LINE_BYTES`] in pieces. It must not block.
    #[must_use]
    pub fn errors(mut self, on_line: impl FnMut(Vec<u8>) + Send + 'static) -> Self {
        self.launch = self.launch.map(|launch| launch.stderr(Stdio::Pipe));
        self.on_error = Some(Box::new(on_line));
        self
    }

    /// Has `unclaimed` take each message that the owner does not take any more, because it has ended. The port then goes on;
    /// without this it ends. It must not block.
    #[must_use]
    pub fn unclaimed(mut self, unclaimed: impl FnMut(M) + Send + 'static) -> Self {
        if let Some(Frames::Owner { unclaimed: takes, .. }) = &mut self.frames {
            *takes = Some(Box::new(unclaimed));
        }
        self
    }

    /// Bounds frames in both directions to `bytes` bytes, in place of a mebibyte.
    #[must_use]
    pub fn frame_limit(mut self, bytes: usize) -> Self {
        self.limit = bytes;
        self
    }

    /// Says how long the program has to end by itself when its input ends, and again after `TERM`: a second, unless set.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// A way to the program's input that does not go through the port's mailbox, as Erlang's `port_command/2` is one. For
    /// many small frames it costs a fraction of messages. It takes the frame limit with it that was said so far.
    pub fn input(&self) -> PortInput {
        PortInput { outgoing: self.outgoing.outgoing(), framing: self.framing, limit: self.limit }
    }

    /// Writes a frame. False where the port is to stop and the program takes no more.
    async fn write(&mut self, frame: &[u8], cx: &Context<Self>) -> Result<bool, ExitReason> {
        let (framing, limit, grace) = (self.framing, self.limit, self.grace);
        let added = tokio::select! {
            biased;
            added = self.outgoing.add(|out| framing::encode(framing, limit, frame, out)) => added,
            () = give_up(cx, &mut self.drained_since, grace) => return Ok(false),
        };
        match added {
            Ok(()) => Ok(true),
            // A program that ends closes its input too; how it ended tells more.
            Err(PortError::InputClosed) => Err(self.end_within(self.grace).await),
            Err(error) => Err(error.into()),
        }
    }

    /// The reason of a program that is about to end, if it does.
    async fn end_within(&mut self, time: Duration) -> ExitReason {
        let Some(running) = &mut self.running else { return PortError::InputClosed.into() };
        match tokio::time::timeout(time, &mut running.ended).await {
            Ok(Ok(ended)) => ended.reason(),
            _ => PortError::InputClosed.into(),
        }
    }
}

impl PortInput {
    /// Writes a frame, and waits until it has its place among those that the program reads next: behind all frames that were
    /// written by this way before, and in no order to messages. That is no delivery: what waits when the port ends is gone. Of
    /// several that wait for room, any may get it.
    ///
    /// # Errors
    ///
    /// * [`PortError::TooLong`], [`PortError::Malformed`]: it cannot be framed. That ends nothing.
    /// * [`PortError::InputClosed`]: the program takes no more, the port was told to close its input or to stop, or has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready writes nothing.
    pub async fn write(&self, frame: &[u8]) -> Result<(), PortError> {
        self.outgoing.add(|out| framing::encode(self.framing, self.limit, frame, out)).await
    }
}

impl<M: Send + 'static> Actor for Port<M> {
    type Msg = PortMsg;

    // It waits for a program.
    const RUNS_ON_CALLERS: bool = false;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let (Some(launch), Some(frames)) = (self.launch.take(), self.frames.take()) else {
            return Err(PortError::NotStarted("a port starts its program once").into());
        };
        let mut process = self.exec.spawn(launch).await?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(PortError::NotStarted("the program has no pipes").into());
        };
        let runtime = cx.system().runtime();
        // Without a reader of its errors the program must not wait for one.
        let errors = process.stderr.take().zip(self.on_error.take());
        let errors = errors.map(|(errors, on_line)| runtime.spawn(pump::errors(errors, on_line)));
        let errors_end = errors.as_ref().map(JoinHandle::abort_handle);
        let writer = runtime.spawn(pump::write(self.outgoing.outgoing(), input));
        let (tell, ended) = oneshot::channel();
        let (port, exited, grace) = (cx.actor_ref(), process.exited(), self.grace);
        let (decoder, outgoing) = (Decoder::new(self.framing, self.limit), self.outgoing.outgoing());
        let reader = runtime.spawn(async move {
            let end = pump::read(output, decoder, frames, exited).await;
            if let (Ended::Exited(_), Some(errors)) = (&end, errors) {
                // Why it ended is what it said last. A child that it left may hold the pipe open.
                let _ = tokio::time::timeout(grace, errors).await;
            }
            // Where nobody is there to hear it, the port ended first.
            let _ = tell.send(end);
            outgoing.refuse();
            let _ = port.cast_urgent(PortMsg::Ended);
        });
        self.running = Some(Running { process, reader, writer, errors: errors_end, ended });
        Ok(Init::Ready)
    }

    async fn handle(&mut self, message: PortMsg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            PortMsg::Write(frame) => drop(self.write(&frame, cx).await?),
            PortMsg::WriteThen(frame, reply) => {
                if self.write(&frame, cx).await? {
                    reply.send(());
                }
            }
            PortMsg::CloseInput => self.outgoing.end(),
            PortMsg::Signal(signal) => {
                if let Some(running) = &self.running {
                    running.process.signal(signal)?;
                }
            }
            PortMsg::Ended => {
                let ended = self.running.as_mut().and_then(|running| running.ended.try_recv().ok());
                if let Some(ended) = ended {
                    return Err(ended.reason());
                }
            }
        }
        Ok(())
    }

    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        let Some(mut running) = self.running.take() else { return };
        self.outgoing.end();
        if tokio::time::timeout(self.grace, running.process.wait()).await.is_err() {
            // Where it may not be signalled any more, dropping it kills it.
            let _ = running.process.stop(self.grace).await;
        }
        // What it said last is on its way to the owner, who may be slow or waiting for us.
        let _ = tokio::time::timeout(self.grace, &mut running.reader).await;
    }
}

/// Waits until a port that is to stop has waited for its program for long enough.
async fn give_up<M: Send + 'static>(cx: &Context<Port<M>>, since: &mut Option<Instant>, grace: Duration) {
    let when = |is: fn(&Context<Port<M>>) -> bool| {
        poll_fn(move |_| if is(cx) { Poll::Ready(()) } else { Poll::Pending })
    };
    when(Context::is_draining).await;
    let since = since.get_or_insert_with(Instant::now);
    tokio::select! {
        () = when(Context::is_told_to_stop) => {}
        () = sleep(grace.saturating_sub(since.elapsed())) => {}
    }
}

impl Ended {
    fn reason(self) -> ExitReason {
        match self {
            Self::Exited(exit) if exit.is_success() => ExitReason::Normal,
            Self::Exited(exit) => PortError::Exited(Box::new(exit)).into(),
            Self::Failed(error) => error.into(),
            Self::OwnerGone => ExitReason::ShutdownFor("its owner is gone".into()),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.reader.abort();
        self.writer.abort();
        if let Some(errors) = &self.errors {
            errors.abort();
        }
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(exit) => write!(f, "the program ended with {exit}"),
            Self::TooLong { limit_bytes } => write!(f, "a frame is longer than {limit_bytes} bytes"),
            Self::Malformed(what) => write!(f, "{what} is malformed"),
            Self::Truncated => f.write_str("a frame is cut off"),
            Self::InputClosed => f.write_str("the program has closed its input"),
            Self::NotStarted(why) => f.write_str(why),
            Self::Panicked => f.write_str("what makes messages of frames panicked"),
        }
    }
}

impl Error for PortError {}

impl fmt::Debug for PortInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PortInput").field("framing", &self.framing).finish_non_exhaustive()
    }
}

impl<M> fmt::Debug for Port<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Port")
            .field("exec", &self.exec)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}
