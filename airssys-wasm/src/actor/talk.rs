//! What an actor says beside its messages: what it publishes and subscribes to, and the answers that it gives later.

use std::{
    collections::BTreeMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering},
};

use airssys_rt::{Pattern, Subject};
use tokio::time::Instant;

use super::{
    Counters, Envelope, Published, Receiver, Routes,
    callers::Callers,
    outbox::{BYTES, MESSAGES},
    topics::{Changes, Subscriber, Subscriptions},
};
use crate::{
    host::bindings::airssys::actor::types::{ReplyError, TopicError},
    watch::Watch,
};

/// What belongs to the component, and not to one incarnation of it.
pub(crate) struct Lasting {
    pub(super) subscriptions: Subscriptions,
    callers: Mutex<Callers>,
    counters: Arc<Counters>,
}

impl Lasting {
    pub(super) fn new(
        name: &Arc<str>,
        routes: &Routes,
        watch: &Arc<dyn Watch>,
        counters: &Arc<Counters>,
    ) -> Self {
        let subscriber = routes.get(name).and_then(|route| match &route.to {
            Receiver::Component(mailbox) => Some(Subscriber {
                name: name.clone(),
                mailbox: mailbox.clone(),
                payload_bytes: route.payload_bytes,
                watch: watch.clone(),
                counters: counters.clone(),
            }),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Receiver::Process(..) => None,
        });
        let subscriptions = Subscriptions::new(routes.topics.clone(), subscriber);
        Self { subscriptions, callers: Mutex::default(), counters: counters.clone() }
    }

    /// Keeps the caller of a message waiting that is answered later.
    pub(super) fn keep_waiting(&self, number: u64, envelope: &mut Envelope) {
        self.callers().keep(number, envelope);
    }

    /// Who waits now.
    pub(super) fn waiting(&self) -> Vec<u64> {
        self.callers().numbers()
    }

    /// Tells these callers that there will be no answer.
    pub(super) fn forget(&self, numbers: &[u64]) {
        for number in numbers {
            let reply = self.callers().take(*number);
            drop(reply);
        }
    }

    /// Tells every caller that there will be no answer: who knows their numbers is gone.
    pub(super) fn forget_all(&self) {
        let replies = self.callers().take_all();
        drop(replies);
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Belongs to one incarnation: what its handler asked for, until that has returned.
pub(crate) struct Talk {
    lasting: Arc<Lasting>,
    in_hand: Option<InHand>,
    /// What changes about what its component subscribes to.
    changes: Changes,
    /// Whether its version is on trial, and what it subscribes to waits until that has taken over.
    is_on_trial: bool,
    published: Vec<(Subject, Published)>,
    published_bytes: usize,
    answers: BTreeMap<u64, Option<Vec<u8>>>,
    answer_bytes: usize,
}

/// What is known of the message in hand.
struct InHand {
    content_type: Box<str>,
    until: Option<Instant>,
    is_awaited: bool,
    /// By which number its caller is answered later.
    later: Option<u64>,
}

impl Talk {
    pub(super) fn new(lasting: Arc<Lasting>) -> Self {
        Self {
            lasting,
            in_hand: None,
            changes: Changes::default(),
            is_on_trial: false,
            published: Vec::new(),
            published_bytes: 0,
            answers: BTreeMap::new(),
            answer_bytes: 0,
        }
    }

    pub(super) fn take_up(&mut self, envelope: &Envelope) {
        self.in_hand = Some(InHand {
            content_type: envelope.content_type.clone(),
            until: envelope.until,
            is_awaited: envelope.reply.is_some(),
            later: None,
        });
    }

    /// The message is handled; gives the number by which it is answered later.
    pub(super) fn put_down(&mut self) -> Option<u64> {
        self.in_hand.take().and_then(|in_hand| in_hand.later)
    }

    pub(crate) fn content_type(&self) -> &str {
        self.in_hand.as_ref().map_or("", |in_hand| &in_hand.content_type)
    }

    /// Until when the caller of the message in hand waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.in_hand.as_ref().filter(|in_hand| in_hand.is_awaited)?.until
    }

    pub(crate) fn later(&mut self) -> Result<u64, ReplyError> {
        let in_hand = self.in_hand.as_mut().filter(|in_hand| in_hand.is_awaited && in_hand.later.is_none());
        let in_hand = in_hand.ok_or(ReplyError::NobodyWaits)?;
        let number = self.lasting.callers().number(Instant::now()).ok_or(ReplyError::TooMany)?;
        in_hand.later = Some(number);
        Ok(number)
    }

    pub(crate) fn answer(&mut self, number: u64, payload: Option<Vec<u8>>) -> Result<(), ReplyError> {
        let is_in_hand = self.in_hand.as_ref().is_some_and(|in_hand| in_hand.later == Some(number));
        let is_known = is_in_hand || self.lasting.callers().is_waiting(number);
        if !is_known || self.answers.contains_key(&number) {
            return Err(ReplyError::Unknown);
        }
        self.answer_bytes += payload.as_ref().map_or(0, Vec::len);
        self.answers.insert(number, payload);
        if self.answer_bytes >= BYTES {
            self.give_answers();
        }
        Ok(())
    }

    pub(crate) fn publish(&mut self, subject: Subject, message: Published) {
        self.published_bytes += message.payload.len() + subject.as_str().len() + message.content_type.len();
        self.published.push((subject, message));
    }

    /// Whether it holds so much that it must leave before the handler returns.
    pub(crate) fn is_full(&self) -> bool {
        self.published.len() >= MESSAGES || self.published_bytes >= BYTES
    }

    /// Whether there is somebody to hear what is published.
    pub(crate) fn has_mailbox(&self) -> bool {
        self.lasting.subscriptions.has_subscriber()
    }

    pub(crate) fn subscribe(&mut self, pattern: Pattern) -> Result<(), TopicError> {
        match self.lasting.subscriptions.add(pattern, &mut self.changes) {
            true => Ok(()),
            false => Err(TopicError::TooMany),
        }
    }

    pub(crate) fn unsubscribe(&mut self, pattern: &Pattern) -> bool {
        self.lasting.subscriptions.end(pattern, &mut self.changes)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.changes.is_empty() && self.published.is_empty() && self.answers.is_empty()
    }

    pub(super) fn begin_trial(&mut self) {
        self.is_on_trial = true;
    }

    pub(super) fn end_trial(&mut self) {
        self.is_on_trial = false;
        self.resubscribe();
    }

    /// Begins and ends the subscriptions that the handler asked for: first, as what it published may be for itself.
    pub(super) fn resubscribe(&mut self) {
        // After most messages there is nothing, and a lock would be one too many.
        if !self.is_on_trial && !self.changes.is_empty() {
            self.lasting.subscriptions.change(&mem::take(&mut self.changes));
        }
    }

    /// Publishes what waits for that.
    pub(crate) fn leave(&mut self) {
        self.published_bytes = 0;
        for (subject, message) in self.published.drain(..) {
            self.lasting.counters.sent.fetch_add(1, Ordering::Relaxed);
            self.lasting.subscriptions.publish(&subject, &message);
        }
    }

    /// Gives the answers whose callers wait. That of the message in hand stays until it is put down.
    pub(super) fn give_answers(&mut self) {
        self.answer_bytes = 0;
        for (number, payload) in mem::take(&mut self.answers) {
            let reply = self.lasting.callers().take(number);
            match reply {
                Some(reply) => reply.send(payload),
                None => drop(self.answers.insert(number, payload)),
            }
        }
    }
}
