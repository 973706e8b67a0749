//! The two tasks between a program's pipes and the actors: each waits for one side, so neither holds up the other.

use std::{
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use airssys_osl::process::{Exit, Input, Output};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::Notify,
};

use super::{PortError, framing::Decoder};
use crate::{ActorRef, exit::quietly};

/// How many bytes may wait for a program to read them, beside what a pipe holds. Whoever comes then, waits too.
const WAITING_BYTES: usize = 256 * 1024;

/// How many bytes are read at a time.
const READ_BYTES: usize = 64 * 1024;

/// The longest line of errors that comes whole, in bytes.
pub const ERROR_LINE_BYTES: usize = 8 * 1024;

/// Makes something of a frame, where that lies in the buffer.
type OnFrame<M> = Box<dyn FnMut(&[u8]) -> M + Send>;

/// Who takes what the program says.
pub(super) enum Frames<M> {
    /// An actor, as messages; it may keep them waiting.
    Owner {
        owner: ActorRef<M>,
        on_frame: OnFrame<M>,
        /// Takes what the owner does not, because it has ended.
        unclaimed: Option<Box<dyn FnMut(M) + Send>>,
    },
    /// A function.
    Nobody(OnFrame<()>),
}

impl<M: Send + 'static> Frames<M> {
    async fn deliver(&mut self, frame: &[u8]) -> Result<(), Ended> {
        const PANICKED: Ended = Ended::Failed(PortError::Panicked);
        match self {
            Self::Owner { owner, on_frame, unclaimed } => {
                let message = quietly(|| on_frame(frame)).ok_or(PANICKED)?;
                let Err(refused) = owner.cast(message).await else { return Ok(()) };
                let unclaimed = unclaimed.as_mut().ok_or(Ended::OwnerGone)?;
                quietly(|| unclaimed(refused.into_message())).ok_or(PANICKED)
            }
            Self::Nobody(on_frame) => quietly(|| on_frame(frame)).ok_or(PANICKED),
        }
    }
}

/// What waits to be read by the program: as it comes out in one write, many small frames cost little more than one.
pub(super) struct Outgoing {
    state: Mutex<Waiting>,
    filled: Notify,
    room: Notify,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Nothing is added any more: the program is to see the end of its input.
    ended: bool,
    /// The program has closed its input.
    refused: bool,
}

impl Outgoing {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), filled: Notify::new(), room: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room and adds what `encode` appends.
    pub(super) async fn add(
        &self,
        mut encode: impl FnMut(&mut Vec<u8>) -> Result<(), PortError>,
    ) -> Result<(), PortError> {
        if let Some(added) = self.try_add(&mut encode) {
            return added;
        }
        loop {
            // It hears of room that there is from here on.
            let room = self.room.notified();
            if let Some(added) = self.try_add(&mut encode) {
                return added;
            }
            room.await;
        }
    }

    /// As [`add`](Self::add); `None` where there is no room.
    fn try_add(
        &self,
        encode: &mut impl FnMut(&mut Vec<u8>) -> Result<(), PortError>,
    ) -> Option<Result<(), PortError>> {
        let mut state = self.state();
        if state.refused || state.ended {
            return Some(Err(PortError::InputClosed));
        }
        let before = state.bytes.len();
        if before >= WAITING_BYTES {
            return None;
        }
        let encoded = encode(&mut state.bytes);
        if encoded.is_err() {
            state.bytes.truncate(before);
        }
        let filled = before == 0 && !state.bytes.is_empty();
        drop(state);
        if filled {
            // Where there was something already, the writer is at it.
            self.filled.notify_one();
        }
        Some(encoded)
    }

    /// Ends the program's input behind what waits.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.filled.notify_one();
        self.room.notify_waiters();
    }

    /// Waits for something to write; `None` at the end. `written` is an empty buffer to go on with.
    async fn next(&self, written: Vec<u8>) -> Option<Vec<u8>> {
        let mut spare = Some(written);
        loop {
            {
                let mut state = self.state();
                if !state.bytes.is_empty() {
                    let spare = spare.take().unwrap_or_default();
                    let bytes = std::mem::replace(&mut state.bytes, spare);
                    drop(state);
                    self.room.notify_waiters();
                    return Some(bytes);
                }
                if state.ended {
                    return None;
                }
            }
            self.filled.notified().await;
        }
    }

    /// Takes nothing any more, and lets go of who waits for room.
    pub(super) fn refuse(&self) {
        let mut state = self.state();
        state.refused = true;
        state.bytes = Vec::new();
        drop(state);
        self.room.notify_waiters();
    }
}

/// The port's own end of what waits: nobody waits for room when it is gone.
pub(super) struct Feed(Arc<Outgoing>);

impl Feed {
    pub(super) fn new() -> Self {
        Self(Outgoing::new())
    }

    pub(super) fn outgoing(&self) -> Arc<Outgoing> {
        Arc::clone(&self.0)
    }
}

impl Deref for Feed {
    type Target = Outgoing;

    fn deref(&self) -> &Outgoing {
        &self.0
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.refuse();
    }
}

/// Writes all that comes, until the end or until the program reads no more.
pub(super) async fn write(outgoing: Arc<Outgoing>, mut input: Input) {
    let mut written = Vec::new();
    while let Some(mut bytes) = outgoing.next(written).await {
        if input.write_all(&bytes).await.is_err() {
            outgoing.refuse();
            return;
        }
        bytes.clear();
        written = bytes;
    }
}

/// Why no more frames come.
pub(super) enum Ended {
    Exited(Exit),
    /// What the program said is no frame.
    Failed(PortError),
    /// Nobody takes frames any more.
    OwnerGone,
}

/// Reads all frames and hands them on; then waits for the program's end.
pub(super) async fn read<M: Send + 'static>(
    mut output: Output,
    mut decoder: Decoder,
    mut frames: Frames<M>,
    exited: impl Future<Output = Exit>,
) -> Ended {
    let result: Result<(), Ended> = async {
        loop {
            let buffer = decoder.buffer();
            buffer.reserve(READ_BYTES);
            match output.read_buf(buffer).await {
                Ok(0) => break,
                Ok(_) => {}
                // The limit of its output: how it ended says so.
                Err(_) => return Ok(()),
            }
            while let Some(frame) = decoder.next().map_err(Ended::Failed)? {
                frames.deliver(frame).await?;
            }
        }
        match decoder.finish().map_err(Ended::Failed)? {
            Some(frame) => frames.deliver(&frame).await,
            None => Ok(()),
        }
    }
    .await;
    match result {
        Ok(()) => Ended::Exited(exited.await),
        // What is cut off was cut off by its end, which tells more.
        Err(Ended::Failed(PortError::Truncated)) => match exited.await {
            exit if exit.is_success() => Ended::Failed(PortError::Truncated),
            exit => Ended::Exited(exit),
        },
        Err(ended) => ended,
    }
}

/// Reads what the program says as errors to its end, and hands on each line.
pub(super) async fn errors(mut errors: Output, mut on_line: impl FnMut(Vec<u8>)) {
    let mut buffer = Vec::new();
    loop {
        buffer.reserve(ERROR_LINE_BYTES);
        // The limit of its output ends it: how it ended says so.
        let more = matches!(errors.read_buf(&mut buffer).await, Ok(bytes) if bytes > 0);
        if !hand_on(&mut buffer, !more, &mut on_line) || !more {
            return;
        }
    }
}

/// Takes each line out of `buffer`, a longer one in pieces, and what is left too where that is `all`. False where nobody
/// takes them any more.
fn hand_on(buffer: &mut Vec<u8>, all: bool, on_line: &mut impl FnMut(Vec<u8>)) -> bool {
    let mut start = 0;
    while let Some(rest) = buffer.get(start..).filter(|rest| !rest.is_empty()) {
        let end = rest.iter().take(ERROR_LINE_BYTES + 1).position(|byte| *byte == b'\n');
        let (length, taken) = match end {
            Some(at) => (at, at + 1),
            None if rest.len() > ERROR_LINE_BYTES => (ERROR_LINE_BYTES, ERROR_LINE_BYTES),
            None if all => (rest.len(), rest.len()),
            None => break,
        };
        let line = rest.get(..length).unwrap_or_default().to_vec();
        if quietly(|| on_line(line)).is_none() {
            return false;
        }
        start += taken;
    }
    buffer.drain(..start);
    true
}
