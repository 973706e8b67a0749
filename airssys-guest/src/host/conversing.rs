//! What a component publishes, subscribes to, answers later, and knows of itself, by its host's imports.

use super::Failure;
use crate::{
    ErrorKind,
    bindings::conversing::airssys::actor::{
        context, replies, topics,
        types::{ReplyError, TopicError},
    },
};

pub(crate) use context::{content_type, name, remaining_ms, trace};
pub(crate) use topics::unsubscribe;

pub(crate) fn publish(topic: &str, content_type: &str, payload: &[u8]) -> Result<(), Failure> {
    topics::publish(topic, content_type, payload).map_err(topic_failure)
}

pub(crate) fn subscribe(pattern: &str) -> Result<(), Failure> {
    topics::subscribe(pattern).map_err(topic_failure)
}

pub(crate) fn later() -> Result<u64, Failure> {
    replies::later().map_err(reply_failure)
}

pub(crate) fn answer(number: u64, payload: Option<&[u8]>) -> Result<(), Failure> {
    replies::answer(number, payload).map_err(reply_failure)
}

fn topic_failure(error: TopicError) -> Failure {
    match error {
        TopicError::Invalid => Failure(ErrorKind::Invalid, "no topic, or no pattern"),
        TopicError::NotPermitted => Failure(ErrorKind::Denied, "not permitted"),
        TopicError::TooLarge => Failure(ErrorKind::LimitExceeded, "its content type is too long"),
        TopicError::TooMany => {
            Failure(ErrorKind::LimitExceeded, "it subscribes to too many patterns already")
        }
    }
}

fn reply_failure(error: ReplyError) -> Failure {
    match error {
        ReplyError::NobodyWaits => Failure(ErrorKind::Invalid, "nobody waits for an answer"),
        ReplyError::TooMany => Failure(ErrorKind::LimitExceeded, "too many callers wait already"),
        ReplyError::Unknown => Failure(ErrorKind::NotFound, "nobody waits by this number"),
    }
}
