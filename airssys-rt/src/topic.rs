//! Publish and subscribe, by subject.
//!
//! `subject` is what a message is about and who wants it; `trie` finds the subscribers.

mod subject;
mod trie;

use std::cmp::Ordering as Order;
use std::error::Error;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};

pub use subject::{Pattern, Subject, SubjectError};

use crate::exit::quietly;
use crate::fanout::Fanout;
use crate::link::Hook;
use crate::membership::{Member, Roll, Who};
use trie::Trie;

/// Where payloads of type `P` are published under a [`Subject`], and actors subscribe to a [`Pattern`].
///
/// Cheap to clone; every clone is the same. It belongs to no system: share it as any other value. Subscribers that end
/// leave by themselves.
///
/// A subscriber is never waited for: where its mailbox is full, it misses the message, and that is counted
/// ([`Subscription::dropped`], [`Topics::stats`]). A subscriber that must miss nothing has a mailbox that is
/// large enough. Subscribers get the messages of one publisher in the order in which it published them.
///
/// ```
/// use airssys_rt::{Actor, Context, ExitReason, Pattern, Subject, System, Topics};
///
/// struct Auditor;
/// impl Actor for Auditor {
///     type Msg = (Subject, u64);
///     async fn handle(&mut self, (subject, cents): (Subject, u64), _: &mut Context<Self>) -> Result<(), ExitReason> {
///         println!("{subject}: {cents}");
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let topics = Topics::<u64>::new();
/// let auditor = System::new().spawn(Auditor);
/// let large_payments = |subject: &Subject, cents: &u64| (*cents > 10_000).then(|| (subject.clone(), *cents));
/// topics.subscribe_with(&"payments.>".parse()?, &auditor, large_payments)?;
///
/// assert_eq!(topics.publish(&"payments.eu.card".parse()?, &25_000).sent, 1);
/// assert_eq!(topics.publish(&"payments.eu.card".parse()?, &5).sent, 0);
/// # Ok(())
/// # }
/// ```
pub struct Topics<P: 'static> {
    inner: Arc<Inner<P>>,
}

struct Inner<P: 'static> {
    trie: RwLock<Trie<Arc<Subscriber<P>>>>,
    roll: Roll<Place>,
    next: AtomicU64,
    published: AtomicU64,
    counts: Counts,
}

struct Subscriber<P> {
    place: Place,
    who: Who,
    /// Sends the payload to the actor, if it wants it.
    deliver: Deliver<P>,
    /// Falls when it unsubscribes, for publishers that have found it already.
    active: AtomicBool,
    counts: Counts,
}

type Deliver<P> = Box<dyn Fn(&Subject, &P, &mut Fanout) + Send + Sync>;

/// A subscription, as the roll knows it.
#[derive(Clone)]
struct Place {
    number: u64,
    pattern: Pattern,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    dropped: AtomicU64,
    panicked: AtomicU64,
}

/// What [`Topics`] have done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicStats {
    /// How many payloads were published.
    pub published: u64,
    /// How many messages subscribers got.
    pub sent: u64,
    /// How many messages subscribers missed because their mailbox was full.
    pub dropped: u64,
    /// How many messages were not made because a subscriber's function panicked.
    pub panicked: u64,
}

impl<P: 'static> Topics<P> {
    /// Makes topics without subscribers.
    pub fn new() -> Self {
        Self {
            inner: Arc::new(Inner {
                trie: RwLock::new(Trie::new()),
                roll: Roll::new(),
                next: AtomicU64::new(0),
                published: AtomicU64::new(0),
                counts: Counts::default(),
            }),
        }
    }

    /// Has an actor sent each payload whose subject the pattern selects. [`Member`] says for how long.
    ///
    /// Each subscription counts: with two that select the same subject, the actor gets the message twice.
    ///
    /// # Errors
    ///
    /// The actor is dead.
    pub fn subscribe<M>(
        &self,
        pattern: &Pattern,
        actor: &impl Member<M>,
    ) -> Result<Subscription<P>, SubscribeError>
    where
        P: Clone,
        M: From<P> + Send + 'static,
    {
        self.subscribe_with(pattern, actor, |_, payload| Some(payload.clone().into()))
    }

    /// As [`subscribe`](Self::subscribe), with a function that makes the message, or `None` where the actor does not
    /// want it.
    ///
    /// The function runs where the payload is published, with no lock held, so it must be quick. Should it panic, this
    /// actor misses this message and that is counted; publisher and subscription go on.
    ///
    /// # Errors
    ///
    /// The actor is dead.
    pub fn subscribe_with<M: Send + 'static>(
        &self,
        pattern: &Pattern,
        actor: &impl Member<M>,
        message: impl Fn(&Subject, &P) -> Option<M> + Send + Sync + 'static,
    ) -> Result<Subscription<P>, SubscribeError> {
        let (actor, until) = (actor.address(), actor.until());
        let place =
            Place { number: self.inner.next.fetch_add(1, Ordering::Relaxed), pattern: pattern.clone() };
        let target = actor.clone();
        let subscriber = Arc::new(Subscriber {
            place: place.clone(),
            who: (actor.id(), until),
            deliver: Box::new(move |subject, payload, fanout| {
                if let Some(message) = message(subject, payload) {
                    fanout.send(&target, message);
                }
            }),
            active: AtomicBool::new(true),
            counts: Counts::default(),
        });
        let mut trie = self.inner.trie.write().unwrap_or_else(PoisonError::into_inner);
        if !self.inner.roll.enter(&actor, until, place, |who| self.hook(who)) {
            return Err(SubscribeError::NoProc);
        }
        trie.insert(pattern, subscriber.place.number, Arc::clone(&subscriber));
        drop(trie);
        Ok(Subscription { topics: self.clone(), subscriber })
    }

    /// Sends a payload to all whose pattern selects the subject, in the order in which they subscribed, and waits for
    /// none.
    pub fn publish(&self, subject: &Subject, payload: &P) -> Fanout {
        let (mut fanout, mut panicked) = (Fanout::default(), 0);
        for subscriber in self.subscribers(subject) {
            if !subscriber.active.load(Ordering::Acquire) {
                continue;
            }
            let mut one = Fanout::default();
            let panics = u64::from(quietly(|| (subscriber.deliver)(subject, payload, &mut one)).is_none());
            subscriber.counts.add(&one, panics);
            fanout.add(&one);
            panicked += panics;
            // It may have ended meanwhile, and then this drops what the user gave.
            quietly(|| drop(subscriber));
        }
        self.inner.counts.add(&fanout, panicked);
        self.inner.published.fetch_add(1, Ordering::Relaxed);
        fanout
    }

    /// What was done so far.
    pub fn stats(&self) -> TopicStats {
        let published = self.inner.published.load(Ordering::Relaxed);
        let Counts { sent, dropped, panicked } = &self.inner.counts;
        let [sent, dropped, panicked] = [sent, dropped, panicked].map(|count| count.load(Ordering::Relaxed));
        TopicStats { published, sent, dropped, panicked }
    }

    fn subscribers(&self, subject: &Subject) -> Vec<Arc<Subscriber<P>>> {
        let trie = self.inner.trie.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        trie.find(subject, &mut found);
        found.sort_unstable_by_key(|(number, _)| *number);
        found.into_iter().map(|(_, subscriber)| Arc::clone(subscriber)).collect()
    }

    /// What ends the subscriptions of an actor that ends. It does not keep the topics alive.
    fn hook(&self, who: Who) -> Hook {
        let inner: Weak<Inner<P>> = Arc::downgrade(&self.inner);
        Box::new(move |_| {
            let Some(inner) = inner.upgrade() else { return };
            for place in inner.roll.end(who) {
                // It drops what the user gave: should that panic, the other subscriptions must end too.
                quietly(|| inner.remove(&place, false));
            }
        })
    }
}

impl<P: 'static> Inner<P> {
    /// Takes a subscription out; one that was in the roll too leaves it. False where it was out already.
    fn remove(&self, place: &Place, leave: bool) -> bool {
        let mut trie = self.trie.write().unwrap_or_else(PoisonError::into_inner);
        let Some(subscriber) = trie.remove(&place.pattern, place.number) else { return false };
        if leave {
            self.roll.leave(subscriber.who, place);
        }
        drop(trie);
        subscriber.active.store(false, Ordering::Release);
        // Here, with no lock held, goes what the user gave: its drop is the user's code.
        true
    }
}

impl Counts {
    fn add(&self, fanout: &Fanout, panicked: u64) {
        let (sent, dropped) = (fanout.sent as u64, fanout.full as u64);
        for (count, more) in [(&self.sent, sent), (&self.dropped, dropped), (&self.panicked, panicked)] {
            // Mostly nothing, and an atomic addition costs as much as sending.
            if more > 0 {
                count.fetch_add(more, Ordering::Relaxed);
            }
        }
    }
}

/// One subscription of an actor.
///
/// Cheap to clone. Dropping it ends nothing: the subscription is the actor's.
pub struct Subscription<P: 'static> {
    topics: Topics<P>,
    subscriber: Arc<Subscriber<P>>,
}

impl<P: 'static> Subscription<P> {
    /// Ends the subscription. False where it has ended already.
    ///
    /// What is in the mailbox stays there; a publisher that is just sending may add one more.
    pub fn unsubscribe(&self) -> bool {
        self.topics.inner.remove(&self.subscriber.place, true)
    }

    /// What it subscribes to.
    pub fn pattern(&self) -> &Pattern {
        &self.subscriber.place.pattern
    }

    /// How many messages the actor got.
    pub fn sent(&self) -> u64 {
        self.subscriber.counts.sent.load(Ordering::Relaxed)
    }

    /// How many messages the actor missed because its mailbox was full.
    pub fn dropped(&self) -> u64 {
        self.subscriber.counts.dropped.load(Ordering::Relaxed)
    }

    /// How many messages were not made because the subscription's function panicked.
    pub fn panicked(&self) -> u64 {
        self.subscriber.counts.panicked.load(Ordering::Relaxed)
    }
}

impl<P: 'static> Default for Topics<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: 'static> Clone for Topics<P> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<P: 'static> Clone for Subscription<P> {
    fn clone(&self) -> Self {
        Self { topics: self.topics.clone(), subscriber: Arc::clone(&self.subscriber) }
    }
}

impl<P: 'static> fmt::Debug for Topics<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Topics({:?})", self.stats())
    }
}

impl<P: 'static> fmt::Debug for Subscription<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscription({:?})", self.pattern().as_str())
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Place {}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Order> {
        Some(self.cmp(other))
    }
}

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Order {
        self.number.cmp(&other.number)
    }
}

/// Why an actor cannot subscribe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SubscribeError {
    /// It is dead.
    NoProc,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoProc => f.write_str("a dead actor subscribes to nothing"),
        }
    }
}

impl Error for SubscribeError {}
