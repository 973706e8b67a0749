//! Streams into actors and out of them, each with backpressure.
//!
//! * [`Context::add_stream`]: the items of a stream as messages of this actor.
//! * [`ActorRef::sink`](crate::ActorRef::sink): an actor as the sink of somebody else's items.
//! * [`source`]: a stream that an actor fills.
//!
//! ```
//! use airssys_rt::stream::{self, Outlet, StreamEnd};
//! use airssys_rt::{Actor, Context, ExitReason, Init, System};
//!
//! /// Doubles what comes in, and ends with its input.
//! struct Doubler { input: Option<stream::Source<u32>>, output: Outlet<u32> }
//! enum Msg { Number(u32), End(StreamEnd) }
//!
//! impl Actor for Doubler {
//!     type Msg = Msg;
//!     async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
//!         if let Some(input) = self.input.take() {
//!             cx.add_stream_with_end(input, Msg::Number, Msg::End);
//!         }
//!         Ok(Init::Ready)
//!     }
//!     async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
//!         match message {
//!             Msg::Number(n) => Ok(self.output.emit(n * 2).await?),
//!             Msg::End(_) => Err(ExitReason::Normal),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (numbers, input) = stream::source(8);
//! let (output, mut doubled) = stream::source(8);
//! System::new().spawn(Doubler { input: Some(input), output });
//! numbers.emit(21).await?;
//! drop(numbers);
//! assert_eq!(doubled.next().await, Some(42));
//! assert_eq!(doubled.next().await, None);
//! # Ok(())
//! # }
//! ```

mod feed;
mod sink;
mod source;

use std::sync::Arc;

pub use sink::ActorSink;
pub use source::{EmitError, Outlet, Source, source};
use tokio::task::AbortHandle;

use futures_core::Stream;

use crate::actor::{Actor, Context};

/// A stream that feeds an actor. Dropping it changes nothing; the stream goes on.
#[derive(Clone, Debug)]
pub struct StreamRef(AbortHandle);

/// How a stream that fed an actor ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamEnd {
    /// It had no more items.
    Finished,
    /// It panicked (or what makes messages of its items did), with this text.
    Panicked(Arc<str>),
}

impl<A: Actor> Context<A> {
    /// Sends the items of `stream` to this actor, as the messages that `on_item` makes of them.
    ///
    /// They wait for room in the mailbox in line with all other senders, and the stream is not polled for the next
    /// before the last one has found it: so a bounded mailbox holds the stream back. (An unbounded one does not.)
    /// Items that are errors are items; `on_item` chooses the message for them too.
    ///
    /// The stream is dropped when this incarnation ends. Its items that are in the mailbox by then are messages like
    /// any other.
    pub fn add_stream<S>(
        &self,
        stream: S,
        on_item: impl FnMut(S::Item) -> A::Msg + Send + 'static,
    ) -> StreamRef
    where
        S: Stream + Send + 'static,
    {
        StreamRef(feed::start(self, stream, on_item, |_| None))
    }

    /// As [`add_stream`](Self::add_stream); after the last item comes the message that `on_end` makes of the end. None
    /// comes after a cancel.
    pub fn add_stream_with_end<S>(
        &self,
        stream: S,
        on_item: impl FnMut(S::Item) -> A::Msg + Send + 'static,
        on_end: impl FnOnce(StreamEnd) -> A::Msg + Send + 'static,
    ) -> StreamRef
    where
        S: Stream + Send + 'static,
    {
        StreamRef(feed::start(self, stream, on_item, |end| Some(on_end(end))))
    }
}

impl StreamRef {
    /// Stops the stream and drops it. Items that were on their way may still arrive.
    pub fn cancel(&self) {
        self.0.abort();
    }

    /// Whether the stream has been dropped: it has ended, was cancelled, or its actor is gone.
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}
