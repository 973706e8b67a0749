//! Files as streams: tokio's traits, each read and write one operation of the door.

use std::{
    io::{self, SeekFrom},
    pin::Pin,
    sync::{Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncSeek, AsyncWrite, ReadBuf};

use super::{File, verb};
use crate::{
    Error,
    limits::{INLINE_READ_BYTES, STREAM_BYTES},
    os::Done,
};

/// The position of a file, and what is under way there.
#[derive(Default)]
pub(super) struct Cursor {
    position: u64,
    // The lock makes it `Sync`; it is never contended, for all that polls has it alone.
    job: Mutex<Job>,
}

type Work<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// What the stream waits for.
#[derive(Default)]
enum Job {
    #[default]
    Idle,
    /// Bytes from the present position on.
    Read(Work<Vec<u8>>),
    /// They were taken over; that they are written is told to whoever comes next.
    Write(Work<()>),
    /// A position from the end, which has to be found.
    Seek(i64, Work<u64>),
}

impl File {
    /// Goes on with what is under way; ready with what was read where it was a read.
    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let job = self.cursor.job.get_mut().unwrap_or_else(PoisonError::into_inner);
        let result = match job {
            Job::Idle => return Poll::Ready(Ok(Vec::new())),
            Job::Read(work) => work.as_mut().poll(cx),
            Job::Write(work) => work.as_mut().poll(cx).map_ok(|()| Vec::new()),
            Job::Seek(offset, work) => match work.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(end)) => {
                    let target = end.checked_add_signed(*offset);
                    *job = Job::Idle;
                    self.cursor.position = target.ok_or(io::ErrorKind::InvalidInput)?;
                    return Poll::Ready(Ok(Vec::new()));
                }
            },
        };
        if result.is_ready() {
            *job = Job::Idle;
        }
        result.map_err(io::Error::from)
    }

    /// Begins what will be waited for.
    fn begin(&mut self, job: Job) {
        *self.cursor.job.get_mut().unwrap_or_else(PoisonError::into_inner) = job;
    }

    /// Whether a read is under way. Anything else that is begun makes it void.
    fn is_reading(&mut self) -> bool {
        matches!(self.cursor.job.get_mut().unwrap_or_else(PoisonError::into_inner), Job::Read(_))
    }

    /// Waits for what was written before, and gives up a read that nobody waits for any more.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.is_reading() {
            self.begin(Job::Idle);
        }
        self.poll_job(cx).map_ok(drop)
    }

    /// Reads at the position where that need not wait; `None` where it would.
    fn read_inline(&self, buffer: &mut [u8]) -> Option<Result<usize, Error>> {
        let offset = self.cursor.position;
        self.access.run_now(verb::READ, self.named(), || {
            let read = self.read_now(buffer, offset)?;
            Ok(Done::with_bytes(read, read))
        })
    }
}

impl AsyncRead for File {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let file = &mut *self;
        let wanted = buffer.remaining().min(STREAM_BYTES);
        if wanted == 0 {
            return Poll::Ready(Ok(()));
        }
        if !file.is_reading() {
            std::task::ready!(file.poll_job(cx))?;
            let part = buffer.initialize_unfilled_to(wanted.min(INLINE_READ_BYTES));
            match file.read_inline(part) {
                Some(Ok(read)) => {
                    buffer.advance(read);
                    file.cursor.position += read as u64;
                    return Poll::Ready(Ok(()));
                }
                Some(Err(error)) => {
                    part.fill(0);
                    return Poll::Ready(Err(error.into()));
                }
                None => {
                    let (same, offset) = (file.clone(), file.cursor.position);
                    file.begin(Job::Read(Box::pin(async move { same.read_some(wanted, offset).await })));
                }
            }
        }
        let mut bytes = std::task::ready!(file.poll_job(cx))?;
        // It may be another, smaller buffer by now; what does not fit is read again.
        bytes.truncate(buffer.remaining());
        buffer.put_slice(&bytes);
        file.cursor.position += bytes.len() as u64;
        Poll::Ready(Ok(()))
    }
}

/// What is written is taken over at once and written behind the caller's back, up to [`STREAM_BYTES`] at a time; an
/// error comes with the next write, flush or shutdown. So flush before you drop: what is dropped may not be written.
impl AsyncWrite for File {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let file = &mut *self;
        std::task::ready!(file.poll_quiet(cx))?;
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let part = bytes.get(..STREAM_BYTES).unwrap_or(bytes).to_vec();
        let (same, offset, len) = (file.clone(), file.cursor.position, part.len());
        file.begin(Job::Write(Box::pin(async move {
            match same.append {
                true => same.append(part).await,
                false => same.write_at(part, offset).await,
            }
        })));
        // From here on it is under way, whether or not it is asked for.
        if let Poll::Ready(result) = file.poll_job(cx) {
            result?;
        }
        file.cursor.position += len as u64;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_quiet(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_quiet(cx)
    }
}

/// From the end, it asks how long the file is: an operation that is recorded.
impl AsyncSeek for File {
    fn start_seek(mut self: Pin<&mut Self>, target: SeekFrom) -> io::Result<()> {
        let file = &mut *self;
        if file.is_reading() {
            file.begin(Job::Idle);
        }
        let job = file.cursor.job.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !matches!(job, Job::Idle) {
            return Err(io::Error::other("another operation is under way: wait for its end first"));
        }
        match target {
            SeekFrom::Start(position) => file.cursor.position = position,
            SeekFrom::Current(offset) => {
                let target = file.cursor.position.checked_add_signed(offset);
                file.cursor.position = target.ok_or(io::ErrorKind::InvalidInput)?;
            }
            SeekFrom::End(offset) => {
                let same = file.clone();
                let end = async move { same.metadata().await.map(|metadata| metadata.len) };
                file.begin(Job::Seek(offset, Box::pin(end)));
            }
        }
        Ok(())
    }

    fn poll_complete(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<u64>> {
        std::task::ready!(self.poll_quiet(cx))?;
        Poll::Ready(Ok(self.cursor.position))
    }
}

impl From<Error> for io::Error {
    /// Wraps it, under the kind that comes nearest.
    fn from(error: Error) -> Self {
        use crate::ErrorKind;
        let kind = match error.kind() {
            ErrorKind::Denied => io::ErrorKind::PermissionDenied,
            ErrorKind::NotFound => io::ErrorKind::NotFound,
            ErrorKind::AlreadyExists => io::ErrorKind::AlreadyExists,
            ErrorKind::Invalid => io::ErrorKind::InvalidInput,
            ErrorKind::LimitExceeded => io::ErrorKind::QuotaExceeded,
            ErrorKind::Busy => io::ErrorKind::ResourceBusy,
            ErrorKind::TimedOut => io::ErrorKind::TimedOut,
            ErrorKind::Unsupported => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}
