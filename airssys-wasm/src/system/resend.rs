//! Sending a message again that was given up.

use airssys_rt::SendError;

use super::{Kind, Member, Runs, System};
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
use crate::grant::process_principal_name;
use crate::{
    actor::{CONTENT_TYPE_BYTES, Envelope, HOST, SUBJECT_BYTES},
    error::{Error, ErrorKind},
    grant::principal_name,
};

/// A message that was given up ([`DeadLetter`](crate::DeadLetter)), to be sent again.
#[derive(Clone, Debug)]
pub struct Resend<'a> {
    /// Who sent it.
    pub sender: &'a str,
    /// Whom it is for.
    pub receiver: &'a str,
    /// What it is about.
    pub subject: &'a str,
    /// What its content is, as its sender said; empty where it said nothing.
    pub content_type: &'a str,
    /// Whether it was published: it goes to its receiver alone, and its sender needs the grant to publish.
    pub is_published: bool,
    /// Its content.
    pub payload: Vec<u8>,
    /// The trace that it belongs to.
    pub trace: [u8; 16],
}

impl System {
    /// Sends a message again, as its sender: to its receiver it looks as it did the first time, and has all of its tries
    /// before it. Its sender needs the grant now as it did then; a denial is on record. Where the message was a call,
    /// nobody waits for its answer any more.
    ///
    /// # Errors
    ///
    /// The message went nowhere.
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such receiver, or no such sender.
    /// * [`Denied`](ErrorKind::Denied): policy does not let the sender send to the receiver any more.
    /// * [`Unsupported`](ErrorKind::Unsupported): the receiver answers requests over HTTP or is a job, or would not read the
    ///   payload as one message.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): the payload is larger than the receiver takes, or the subject longer
    ///   than 256 bytes.
    /// * [`Unavailable`](ErrorKind::Unavailable): its mailbox is full, it was stopped for good, or the system stops.
    pub fn resend(&self, message: Resend<'_>) -> Result<(), Error> {
        let Resend { sender, receiver, subject, content_type, is_published, payload, trace } = message;
        let failed = |kind, why: &str| Err(Error::new(kind, format!("send it to `{receiver}` again: {why}")));
        let Some(route) = self.routes.get(receiver) else {
            let member = self.members.iter().find(|member| &*member.name == receiver);
            return match member.and_then(Member::component).map(|running| &running.runs) {
                Some(Runs::Job(_)) => failed(ErrorKind::Unsupported, "it is a job and takes no messages"),
                Some(_) => {
                    failed(ErrorKind::Unsupported, "it answers requests over HTTP and takes no messages")
                }
                None => failed(ErrorKind::NotFound, "the system has nobody of that name"),
            };
        };
        if self.routes.is_stopping() {
            return failed(ErrorKind::Unavailable, "the system stops");
        }
        let is_too_long = subject.len() > SUBJECT_BYTES || content_type.len() > CONTENT_TYPE_BYTES;
        if is_too_long || payload.len() > route.payload_bytes {
            return failed(ErrorKind::LimitExceeded, "it is larger than that takes");
        }
        if !route.to.takes(&payload) {
            return failed(ErrorKind::Unsupported, "it would not read it as one message");
        }
        self.check_sender(sender, receiver, is_published.then_some(subject))?;
        let (sender, subject) = (Some(sender.into()), subject.to_owned());
        let envelope = Envelope {
            content_type: content_type.into(),
            is_published,
            ..Envelope::new(sender, subject, payload, trace)
        };
        match route.to.try_send(Box::new(envelope)) {
            Ok(()) => Ok(()),
            Err(SendError::Full(_)) => failed(ErrorKind::Unavailable, "its mailbox is full"),
            Err(SendError::NoProc(_)) => failed(ErrorKind::Unavailable, "it was stopped for good"),
        }
    }

    /// Whether policy lets `sender` send to `receiver`, or publish under `topic`, now. The program itself needs no grant.
    fn check_sender(&self, sender: &str, receiver: &str, topic: Option<&str>) -> Result<(), Error> {
        let principal = match self.members.iter().find(|member| &*member.name == sender) {
            Some(member) => match &member.is {
                Kind::Component(_) => principal_name(sender),
                #[cfg(any(target_os = "linux", target_os = "macos", windows))]
                Kind::Process(_) => process_principal_name(sender),
            },
            None if sender == HOST => return Ok(()),
            None => {
                let what = format!("send as `{sender}`: the system has nobody of that name");
                return Err(Error::new(ErrorKind::NotFound, what));
            }
        };
        let denied = |error| Error::door(format!("send to `{receiver}` as `{sender}`"), error);
        let principal = self.os.principal(&principal).map_err(denied)?;
        let sent = match topic {
            Some(topic) => principal.may_publish(topic),
            None => principal.may_send(receiver),
        };
        let sent = sent.map_err(denied);
        self.os.revoke(&principal);
        sent
    }
}
