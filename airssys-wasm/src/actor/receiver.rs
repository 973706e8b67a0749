//! Who a message can be for: a component, or a program of the machine.

use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "macos", windows))]
use airssys_rt::port::{Framing, PortMsg};
use airssys_rt::{ActorId, ActorRef, CallError, SendError};

use super::{Delivery, Envelope};

/// The mailbox of a name.
#[derive(Clone)]
pub(crate) enum Receiver {
    Component(ActorRef<Delivery>),
    /// It is told the payload alone, as one frame.
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    Process(ActorRef<PortMsg>, Framing),
}

impl Receiver {
    /// Whether it would read this as one message.
    pub(crate) fn takes(&self, payload: &[u8]) -> bool {
        match self {
            Self::Component(_) => true,
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Self::Process(_, framing) => framing.takes(payload),
        }
    }

    pub(super) fn id(&self) -> ActorId {
        match self {
            Self::Component(actor) => actor.id(),
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Self::Process(port, _) => port.id(),
        }
    }

    /// Sends without waiting for room. What was not sent comes back.
    pub(crate) fn try_send(&self, envelope: Box<Envelope>) -> Result<(), SendError<Option<Box<Envelope>>>> {
        match self {
            Self::Component(actor) => {
                actor.try_cast(Delivery::Message(envelope)).map_err(|error| with(error, undelivered))
            }
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Self::Process(port, _) => {
                let (message, envelope) = write(envelope);
                port.try_cast(message).map_err(|error| with(error, |message| unwritten(message, envelope)))
            }
        }
    }

    /// Sends, and waits for room, for `time` at most where there is one. What was not sent comes back.
    pub(super) async fn send(
        &self,
        envelope: Box<Envelope>,
        time: Option<Duration>,
    ) -> Result<(), SendError<Option<Box<Envelope>>>> {
        match self {
            Self::Component(actor) => {
                cast(actor, Delivery::Message(envelope), time).await.map_err(|error| with(error, undelivered))
            }
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Self::Process(port, _) => {
                let (message, envelope) = write(envelope);
                let sent = cast(port, message, time).await;
                sent.map_err(|error| with(error, |message| unwritten(message, envelope)))
            }
        }
    }

    /// Sends, and waits for the answer. A program has none: then it has a place among what the program reads next.
    pub(crate) async fn call(
        &self,
        mut envelope: Box<Envelope>,
        timeout: Duration,
    ) -> Result<Option<Vec<u8>>, CallError> {
        if !self.takes(&envelope.payload) {
            return Err(CallError::NoProc);
        }
        match self {
            Self::Component(actor) => {
                let ask = |reply| {
                    envelope.reply = Some(reply);
                    Delivery::Message(envelope)
                };
                actor.call(ask, timeout).await
            }
            #[cfg(any(target_os = "linux", target_os = "macos", windows))]
            Self::Process(port, _) => {
                let taken = port.call(|reply| PortMsg::WriteThen(envelope.payload, reply), timeout);
                taken.await.map(|()| None)
            }
        }
    }
}

async fn cast<M: Send + 'static>(
    to: &ActorRef<M>,
    message: M,
    time: Option<Duration>,
) -> Result<(), SendError<M>> {
    match time {
        Some(time) => to.cast_within(message, time).await,
        None => to.cast(message).await,
    }
}

fn with<M, N>(error: SendError<M>, map: impl FnOnce(M) -> N) -> SendError<N> {
    match error {
        SendError::Full(message) => SendError::Full(map(message)),
        SendError::NoProc(message) => SendError::NoProc(map(message)),
    }
}

fn undelivered(delivery: Delivery) -> Option<Box<Envelope>> {
    match delivery {
        Delivery::Message(envelope) => Some(envelope),
        Delivery::Timer { .. } | Delivery::Resume | Delivery::Health(_) => None,
    }
}

/// The payload on its way, and the envelope without it.
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
fn write(mut envelope: Box<Envelope>) -> (PortMsg, Box<Envelope>) {
    (PortMsg::Write(std::mem::take(&mut envelope.payload)), envelope)
}

/// The envelope with its payload again.
#[cfg(any(target_os = "linux", target_os = "macos", windows))]
fn unwritten(message: PortMsg, mut envelope: Box<Envelope>) -> Option<Box<Envelope>> {
    let PortMsg::Write(payload) = message else { return None };
    envelope.payload = payload;
    Some(envelope)
}
