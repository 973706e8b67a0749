//! What a component hears of: messages that are published under topics, whoever publishes them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use airssys_rt::{ActorRef, Pattern, SendError, Subject, Subscription, Topics};

use super::{Counters, Delivery, Envelope};
use crate::watch::{Event, Watch};

/// The most patterns of one component. `wit/actor.wit` promises it.
const SUBSCRIPTIONS: usize = 64;

/// A message to whoever subscribes to its topic.
pub(crate) struct Published {
    pub(crate) sender: Arc<str>,
    pub(crate) content_type: Box<str>,
    pub(crate) payload: Vec<u8>,
    pub(crate) trace: [u8; 16],
}

/// The patterns that one component subscribes to, from its first incarnation to its last.
pub(super) struct Subscriptions {
    topics: Topics<Published>,
    subscriber: Option<Subscriber>,
    current: Mutex<BTreeMap<Pattern, Subscription<Published>>>,
}

/// What an instance changes about what its component subscribes to. Only that is kept, and not what comes of it: another
/// instance may change it meanwhile.
#[derive(Default)]
pub(super) struct Changes {
    added: BTreeSet<Pattern>,
    ended: BTreeSet<Pattern>,
}

impl Changes {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.ended.is_empty()
    }
}

/// Where copies for one component go.
#[derive(Clone)]
pub(super) struct Subscriber {
    pub(super) name: Arc<str>,
    pub(super) mailbox: ActorRef<Delivery>,
    /// The largest payload that it takes.
    pub(super) payload_bytes: usize,
    pub(super) watch: Arc<dyn Watch>,
    pub(super) counters: Arc<Counters>,
}

impl Subscriptions {
    pub(super) fn new(topics: Topics<Published>, subscriber: Option<Subscriber>) -> Self {
        Self { topics, subscriber, current: Mutex::default() }
    }

    pub(super) fn has_subscriber(&self) -> bool {
        self.subscriber.is_some()
    }

    pub(super) fn publish(&self, subject: &Subject, message: &Published) {
        self.topics.publish(subject, message);
    }

    pub(super) fn patterns(&self) -> BTreeSet<Pattern> {
        self.current().keys().cloned().collect()
    }

    /// Has it subscribe to these patterns and no others. Those that it had go on.
    pub(super) fn set(&self, wanted: &BTreeSet<Pattern>) {
        let Some(subscriber) = &self.subscriber else { return };
        let mut current = self.current();
        for (_, ended) in current.extract_if(.., |pattern, _| !wanted.contains(pattern)) {
            ended.unsubscribe();
        }
        for pattern in wanted {
            self.begin(&mut current, subscriber, pattern);
        }
    }

    /// Notes that a pattern is to be added. False where that would be too many.
    pub(super) fn add(&self, pattern: Pattern, changes: &mut Changes) -> bool {
        let current = self.current();
        let go_on = current.keys().filter(|pattern| !changes.ended.contains(*pattern));
        let then: BTreeSet<&Pattern> = go_on.chain(&changes.added).collect();
        if then.len() >= SUBSCRIPTIONS && !then.contains(&pattern) {
            return false;
        }
        changes.ended.remove(&pattern);
        changes.added.insert(pattern);
        true
    }

    /// Notes that a pattern is to end. False where there is none.
    pub(super) fn end(&self, pattern: &Pattern, changes: &mut Changes) -> bool {
        let current = self.current();
        let is_added = changes.added.remove(pattern);
        let goes_on = current.contains_key(pattern) && !changes.ended.contains(pattern);
        if goes_on {
            // What others have ended meanwhile is not kept, so there are never more than there may be patterns.
            changes.ended.retain(|ended| current.contains_key(ended));
            changes.ended.insert(pattern.clone());
        }
        is_added || goes_on
    }

    /// Has it subscribe to what was added, and no more to what was ended.
    pub(super) fn change(&self, changes: &Changes) {
        let Some(subscriber) = &self.subscriber else { return };
        let mut current = self.current();
        for pattern in &changes.ended {
            if let Some(ended) = current.remove(pattern) {
                ended.unsubscribe();
            }
        }
        for pattern in &changes.added {
            if current.len() >= SUBSCRIPTIONS && !current.contains_key(pattern) {
                // There was room when its guest was told so.
                tracing::warn!(component = &*subscriber.name, %pattern, "its other instances subscribe to as much as it may");
                continue;
            }
            self.begin(&mut current, subscriber, pattern);
        }
    }

    fn begin(
        &self,
        current: &mut BTreeMap<Pattern, Subscription<Published>>,
        subscriber: &Subscriber,
        pattern: &Pattern,
    ) {
        if current.contains_key(pattern) {
            return;
        }
        let to = subscriber.clone();
        let deliver = move |subject: &Subject, message: &Published| {
            to.deliver(subject, message);
            // It is delivered here, so that what finds no room is not lost.
            None
        };
        // One that was stopped for good hears nothing any more.
        if let Ok(subscription) = self.topics.subscribe_with(pattern, &subscriber.mailbox, deliver) {
            current.insert(pattern.clone(), subscription);
        }
    }

    fn current(&self) -> MutexGuard<'_, BTreeMap<Pattern, Subscription<Published>>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Subscriber {
    fn deliver(&self, subject: &Subject, message: &Published) {
        if message.payload.len() > self.payload_bytes {
            return self.bury(&message.envelope(subject, Vec::new()), &message.payload, TOO_LARGE);
        }
        let envelope = Box::new(message.envelope(subject, message.payload.clone()));
        let (returned, reason) = match self.mailbox.try_cast(Delivery::Message(envelope)) {
            Ok(()) => return,
            Err(SendError::Full(returned)) => (returned, FULL),
            Err(SendError::NoProc(returned)) => (returned, GONE),
        };
        if let Delivery::Message(envelope) = returned {
            self.bury(&envelope, &envelope.payload, reason);
        }
    }

    fn bury(&self, envelope: &Envelope, payload: &[u8], reason: &str) {
        self.counters.dead.fetch_add(1, Ordering::Relaxed);
        self.watch.event(&Event::DeadLetter(&envelope.dead_letter(&self.name, payload, &reason)));
    }
}

impl Published {
    fn envelope(&self, subject: &Subject, payload: Vec<u8>) -> Envelope {
        Envelope {
            content_type: self.content_type.clone(),
            is_published: true,
            ..Envelope::new(Some(self.sender.clone()), subject.as_str().to_owned(), payload, self.trace)
        }
    }
}

const FULL: &str = "its subscriber's mailbox is full, and nobody waits for who subscribes";
const TOO_LARGE: &str = "it is larger than its subscriber takes";
const GONE: &str = "its subscriber was stopped";
