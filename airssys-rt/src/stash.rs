//! Messages that an actor puts aside, and how they come back before the mailbox.

use std::collections::VecDeque;
use std::error::Error;
use std::fmt;

use crate::actor::{Actor, Context};
use crate::exit::{ExitReason, quietly};
use crate::observe::{DeadLetterCause, EventKind, Reporter};
use crate::timer::TimerRef;

/// Messages that an actor cannot handle yet, and keeps for later: what Erlang has selective receive for.
///
/// Part of the actor's state. It is filled and emptied by [`Context::stash`], [`Context::unstash_one`] and
/// [`Context::unstash_all`], and holds its messages in the order of their arrival. It has a limit, because what it
/// holds has left the mailbox and no longer slows the senders down. What is still in it when it is dropped (with its
/// incarnation, at the latest) becomes dead letters, also where the [`Mailbox`](crate::Mailbox) lives on: it has left it.
///
/// ```
/// use airssys_rt::{Actor, Context, ExitReason, Reply, Stash, System};
/// # use std::time::Duration;
///
/// /// Answers once it is open; whoever comes earlier waits.
/// #[derive(Default)]
/// struct Shop { open: bool, queue: Stash<Msg> }
/// enum Msg { Open, Buy(Reply<&'static str>) }
///
/// impl Actor for Shop {
///     type Msg = Msg;
///     async fn handle(&mut self, message: Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
///         match message {
///             Msg::Open => {
///                 self.open = true;
///                 cx.unstash_all(&mut self.queue);
///             }
///             early if !self.open => cx.stash(&mut self.queue, early)?,
///             Msg::Buy(reply) => reply.send("bread"),
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shop = System::new().spawn(Shop::default());
/// let (bought, _) = tokio::join!(shop.call(Msg::Buy, Duration::from_secs(60)), shop.cast(Msg::Open));
/// assert_eq!(bought?, "bread");
/// # Ok(())
/// # }
/// ```
pub struct Stash<M> {
    limit: usize,
    /// By ascending number of arrival.
    messages: VecDeque<(u64, M)>,
    /// Who hears of dead letters; known once there is a message.
    reporter: Option<Reporter>,
}

impl<M> Stash<M> {
    /// The limit of a stash where nobody chose one: as many messages as a mailbox holds by default.
    pub const DEFAULT_LIMIT: usize = 1024;

    /// Makes a stash of the default limit.
    pub fn new() -> Self {
        Self::bounded(Self::DEFAULT_LIMIT)
    }

    /// Makes a stash that holds at most `limit` messages, at least one.
    pub fn bounded(limit: usize) -> Self {
        Self { limit: limit.max(1), messages: VecDeque::new(), reporter: None }
    }

    /// How many messages it holds.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }
}

impl<M> Default for Stash<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M> fmt::Debug for Stash<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stash({} of {})", self.messages.len(), self.limit)
    }
}

impl<M> Drop for Stash<M> {
    fn drop(&mut self) {
        if let Some(reporter) = &self.reporter {
            bury(reporter, self.messages.len());
        }
        drop_each(self.messages.drain(..));
    }
}

/// The stash is full. Holds the message that was not put aside.
///
/// `?` drops the message (a caller hears of it at once) and ends the actor; whoever can do better takes it out.
pub struct StashFull<M> {
    /// The message.
    pub message: M,
    limit: usize,
}

impl<M> fmt::Debug for StashFull<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StashFull")
    }
}

impl<M> fmt::Display for StashFull<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LimitReached { what: "stashed messages", limit: self.limit }.fmt(f)
    }
}

// It is no `Error` itself: an exit reason would keep the message, and with it its caller, waiting.
impl<M> From<StashFull<M>> for ExitReason {
    fn from(full: StashFull<M>) -> Self {
        LimitReached { what: "stashed messages", limit: full.limit }.into()
    }
}

/// Why an actor ends that kept more than it may.
#[derive(Debug)]
pub(crate) struct LimitReached {
    pub(crate) what: &'static str,
    pub(crate) limit: usize,
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "more than {} {}", self.limit, self.what)
    }
}

impl Error for LimitReached {}

impl<A: Actor> Context<A> {
    /// Puts the message in hand aside. It is handled again after it has been unstashed, never by itself.
    ///
    /// # Errors
    ///
    /// The stash is full; the error holds the message.
    pub fn stash(&mut self, stash: &mut Stash<A::Msg>, message: A::Msg) -> Result<(), StashFull<A::Msg>> {
        if stash.messages.len() >= stash.limit {
            return Err(StashFull { message, limit: stash.limit });
        }
        let arrival = self.front().arrival();
        stash.reporter.get_or_insert_with(|| self.reporter());
        insert(&mut stash.messages, arrival, message);
        Ok(())
    }

    /// Has the oldest message of `stash` handled again, before all that waits in the mailbox. False where there is
    /// none.
    pub fn unstash_one(&mut self, stash: &mut Stash<A::Msg>) -> bool {
        let Some((arrival, message)) = stash.messages.pop_front() else { return false };
        insert(&mut self.front().messages, arrival, message);
        true
    }

    /// Has all messages of `stash` handled again, before all that waits in the mailbox. Says how many they are.
    ///
    /// What is unstashed is handled in the order of its first arrival, however it was stashed.
    pub fn unstash_all(&mut self, stash: &mut Stash<A::Msg>) -> usize {
        let count = stash.messages.len();
        let front = &mut self.front().messages;
        if front.is_empty() {
            std::mem::swap(front, &mut stash.messages);
        } else {
            stash.messages.drain(..).for_each(|(arrival, message)| insert(front, arrival, message));
        }
        count
    }
}

/// What an actor handles before it looks into its mailbox.
pub(crate) struct Front<M> {
    /// Unstashed messages, by ascending number of arrival.
    messages: VecDeque<(u64, M)>,
    /// Whether the actor put something off.
    continues: bool,
    /// The number of the message in hand, where it is one that had been stashed.
    in_hand: Option<u64>,
    /// The number of the next message that is stashed for the first time. Messages are handled in the order of their
    /// arrival, so it is also stashed later than all that have a number.
    next_arrival: u64,
    /// The timer whose message is in hand.
    pub(crate) due: Option<TimerRef>,
    reporter: Reporter,
}

/// What is handled before the mailbox.
pub(crate) enum Early<M> {
    Message(M),
    /// The actor has put something off.
    Continue,
}

impl<M> Front<M> {
    pub(crate) fn new(reporter: Reporter) -> Self {
        let messages = VecDeque::new();
        Self { messages, continues: false, in_hand: None, next_arrival: 0, due: None, reporter }
    }

    pub(crate) fn continue_next(&mut self) {
        self.continues = true;
    }

    /// Takes the next thing to handle; `None` sends the actor to its mailbox.
    pub(crate) fn take(&mut self) -> Option<Early<M>> {
        (self.in_hand, self.due) = (None, None);
        if std::mem::take(&mut self.continues) {
            return Some(Early::Continue);
        }
        let (arrival, message) = self.messages.pop_front()?;
        self.in_hand = Some(arrival);
        Some(Early::Message(message))
    }

    /// Whether a message may overtake all that is here. It is not one of them then.
    pub(crate) fn give_way(&mut self) -> bool {
        (self.in_hand, self.due) = (None, None);
        !self.continues
    }

    /// The number under which the message in hand is stashed.
    fn arrival(&mut self) -> u64 {
        self.in_hand.unwrap_or_else(|| {
            let arrival = self.next_arrival;
            self.next_arrival += 1;
            arrival
        })
    }
}

impl<M> Drop for Front<M> {
    fn drop(&mut self) {
        bury(&self.reporter, self.messages.len());
        drop_each(self.messages.drain(..));
    }
}

/// Tells of messages that the actor had in its care and nobody will handle.
pub(crate) fn bury(reporter: &Reporter, count: usize) {
    if count > 0 {
        reporter.tell(EventKind::DeadLetters { count, cause: DeadLetterCause::Closed });
    }
}

/// Drops messages one by one: their code may panic, the news of the actor's end must go out, and two panics at once are
/// the end of the process.
pub(crate) fn drop_each<T>(messages: impl IntoIterator<Item = T>) {
    messages.into_iter().for_each(|message| _ = quietly(|| drop(message)));
}

/// Inserts behind all that arrived earlier or at the same time; mostly that is the end.
fn insert<M>(messages: &mut VecDeque<(u64, M)>, arrival: u64, message: M) {
    let index = messages.partition_point(|(earlier, _)| *earlier <= arrival);
    messages.insert(index, (arrival, message));
}
