//! `airssys:actor/messaging`: messages to other actors.

use std::time::Duration;

use wasmtime::{Result, bail};

use super::{
    Host,
    bindings::airssys::actor::{messaging, types, types::SendError},
};
use crate::actor::{CONTENT_TYPE_BYTES, Envelope, Port, Receiver, SUBJECT_BYTES, trace};

impl types::Host for Host {}

impl messaging::Host for Host {
    async fn send(&mut self, to: String, subject: String, payload: Vec<u8>) -> Result<Result<(), SendError>> {
        self.send_typed(to, subject, String::new(), payload).await
    }

    async fn call(
        &mut self,
        to: String,
        subject: String,
        payload: Vec<u8>,
        timeout_ms: u32,
    ) -> Result<Result<Vec<u8>, SendError>> {
        self.call_typed(to, subject, String::new(), payload, timeout_ms).await
    }

    async fn send_typed(
        &mut self,
        to: String,
        subject: String,
        content_type: String,
        payload: Vec<u8>,
    ) -> Result<Result<(), SendError>> {
        let (port, receiver, envelope) = match self.address(&to, subject, content_type, payload)? {
            Ok(addressed) => addressed,
            Err(refused) => return Ok(Err(refused)),
        };
        port.outbox.push(to, receiver, envelope);
        if port.outbox.is_full() {
            port.outbox.flush().await;
        }
        Ok(Ok(()))
    }

    async fn call_typed(
        &mut self,
        to: String,
        subject: String,
        content_type: String,
        payload: Vec<u8>,
        timeout_ms: u32,
    ) -> Result<Result<Vec<u8>, SendError>> {
        let (port, receiver, envelope) = match self.address(&to, subject, content_type, payload)? {
            Ok(addressed) => addressed,
            Err(refused) => return Ok(Err(refused)),
        };
        Ok(port.call(&receiver, envelope, Duration::from_millis(timeout_ms.into())).await)
    }
}

type Addressed<'a> = (&'a mut Port, Receiver, Box<Envelope>);

impl Host {
    /// Puts a message into an envelope, if policy lets this component send to that one.
    fn address(
        &mut self,
        to: &str,
        subject: String,
        content_type: String,
        payload: Vec<u8>,
    ) -> Result<Result<Addressed<'_>, SendError>> {
        let Some(port) = &mut self.port else { bail!("messaging: a command sends no messages") };
        if self.principal.may_send(to).is_err() {
            return Ok(Err(SendError::NotPermitted));
        }
        let Some(route) = port.routes.get(to) else { return Ok(Err(SendError::NoSuchActor)) };
        let is_too_large = subject.len() > SUBJECT_BYTES || content_type.len() > CONTENT_TYPE_BYTES;
        if is_too_large || payload.len() > route.payload_bytes {
            return Ok(Err(SendError::TooLarge));
        }
        let receiver = route.to.clone();
        let envelope = Envelope {
            content_type: content_type.into(),
            ..Envelope::new(Some(self.name.clone()), subject, payload, trace::current_or_new())
        };
        Ok(Ok((port, receiver, Box::new(envelope))))
    }
}
