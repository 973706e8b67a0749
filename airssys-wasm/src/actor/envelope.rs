//! What travels in a component's mailbox.

use std::{fmt, sync::Arc};

use airssys_rt::{ActorRef, Reply};
use tokio::time::Instant;

use crate::watch::DeadLetter;

/// What the program and the system are called as senders. No component and no process may be.
pub(crate) const HOST: &str = "host";

/// The longest subject of a message, in bytes: it is a word, not a document.
pub(crate) const SUBJECT_BYTES: usize = 256;

/// The longest content type of a message, in bytes. `wit/actor.wit` promises it.
pub(crate) const CONTENT_TYPE_BYTES: usize = 256;

/// A message of the runtime to a component's actor.
pub(crate) enum Delivery {
    /// A message for the guest. Boxed, for it passes through many hands.
    Message(Box<Envelope>),
    /// A timer fired, which was set through this port.
    Timer { name: Arc<str>, port: u64 },
    /// Go on with what the last incarnation left.
    Resume,
    /// Whether it is well: an answer says so, and there is none where it is not.
    Health(Reply<()>),
}

/// One message for a guest, and what the host knows about it.
pub(crate) struct Envelope {
    /// None: the program itself, or the system. Its name would be counted by all threads in one place.
    pub(crate) sender: Option<Arc<str>>,
    pub(crate) subject: String,
    /// What the payload is, as its sender said; empty where it said nothing.
    pub(crate) content_type: Box<str>,
    pub(crate) payload: Vec<u8>,
    /// Where the answer goes, if somebody waits for it. No bytes: the guest had no answer.
    pub(crate) reply: Option<Reply<Option<Vec<u8>>>>,
    /// Until when the caller waits for that: as the runtime says when it comes.
    pub(crate) until: Option<Instant>,
    /// Whether it was published, and its subject is a topic.
    pub(crate) is_published: bool,
    /// How often it was given to the guest.
    pub(crate) deliveries: u32,
    /// The trace that it belongs to: all that its receiver does for it does, too.
    pub(crate) trace: [u8; 16],
}

impl Envelope {
    /// A message that nobody has been given yet, and nobody waits for.
    pub(crate) fn new(sender: Option<Arc<str>>, subject: String, payload: Vec<u8>, trace: [u8; 16]) -> Self {
        Self {
            sender,
            subject,
            content_type: Box::default(),
            payload,
            reply: None,
            until: None,
            is_published: false,
            deliveries: 0,
            trace,
        }
    }

    /// The same as it is given up. Of one that was too large to be put in here, the payload is elsewhere.
    pub(crate) fn dead_letter<'a>(
        &'a self,
        component: &'a str,
        payload: &'a [u8],
        reason: &'a dyn fmt::Display,
    ) -> DeadLetter<'a> {
        DeadLetter {
            component,
            sender: self.sender(),
            subject: &self.subject,
            content_type: &self.content_type,
            is_published: self.is_published,
            payload,
            deliveries: self.deliveries,
            trace: self.trace,
            reason,
        }
    }

    /// Who sent it, by name.
    pub(super) fn sender(&self) -> &str {
        self.sender.as_deref().unwrap_or(HOST)
    }

    /// How many bytes of a guest's it holds.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + self.subject.len() + self.content_type.len()
    }
}

/// Wakes its actor when it is dropped, be it by a panic: the actor then looks what became of its task.
pub(crate) struct Bell(pub(crate) ActorRef<Delivery>);

impl Drop for Bell {
    fn drop(&mut self) {
        // Where the mailbox is too full for this, another message is there to wake it.
        let _ = self.0.try_cast(Delivery::Resume);
    }
}
