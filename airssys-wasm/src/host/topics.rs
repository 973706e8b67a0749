//! `airssys:actor/topics`: messages to whoever subscribes to what they are about.

use airssys_rt::{Pattern, Subject};
use wasmtime::{Result, bail};

use super::{
    Host,
    bindings::airssys::actor::{topics, types::TopicError},
};
use crate::actor::{CONTENT_TYPE_BYTES, Published, trace};

impl topics::Host for Host {
    async fn publish(
        &mut self,
        topic: String,
        content_type: String,
        payload: Vec<u8>,
    ) -> Result<Result<(), TopicError>> {
        let Some(port) = &mut self.port else { bail!("topics.publish: a command publishes nothing") };
        let Ok(subject) = topic.parse::<Subject>() else { return Ok(Err(TopicError::Invalid)) };
        if self.principal.may_publish(&topic).is_err() {
            return Ok(Err(TopicError::NotPermitted));
        }
        if content_type.len() > CONTENT_TYPE_BYTES {
            return Ok(Err(TopicError::TooLarge));
        }
        let (sender, content_type) = (self.name.clone(), content_type.into());
        port.talk
            .publish(subject, Published { sender, content_type, payload, trace: trace::current_or_new() });
        if port.talk.is_full() {
            // What was sent before leaves before.
            port.outbox.flush().await;
            port.talk.leave();
        }
        Ok(Ok(()))
    }

    fn subscribe(&mut self, pattern: String) -> Result<Result<(), TopicError>> {
        let Some(port) = &mut self.port else { bail!("topics.subscribe: a command has no mailbox") };
        let Ok(parsed) = pattern.parse::<Pattern>() else { return Ok(Err(TopicError::Invalid)) };
        if self.principal.may_subscribe(&pattern).is_err() {
            return Ok(Err(TopicError::NotPermitted));
        }
        if !port.talk.has_mailbox() {
            bail!("topics.subscribe: a job has no mailbox");
        }
        Ok(port.talk.subscribe(parsed))
    }

    fn unsubscribe(&mut self, pattern: String) -> Result<bool> {
        match &mut self.port {
            Some(port) => Ok(pattern.parse().is_ok_and(|pattern| port.talk.unsubscribe(&pattern))),
            None => bail!("topics.unsubscribe: a command has no mailbox"),
        }
    }
}
