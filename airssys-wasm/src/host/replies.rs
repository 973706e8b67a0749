//! `airssys:actor/replies`: answers that are given when the handler of the question has returned long since.

use wasmtime::{Result, bail};

use super::{
    Host,
    bindings::airssys::actor::{replies, types::ReplyError},
};

impl replies::Host for Host {
    fn later(&mut self) -> Result<Result<u64, ReplyError>> {
        match &mut self.port {
            Some(port) => {
                port.check_that_it_goes_on("replies.later")?;
                Ok(port.talk.later())
            }
            None => bail!("replies.later: a command has no callers"),
        }
    }

    fn answer(&mut self, number: u64, payload: Option<Vec<u8>>) -> Result<Result<(), ReplyError>> {
        match &mut self.port {
            Some(port) => Ok(port.talk.answer(number, payload)),
            None => bail!("replies.answer: a command has no callers"),
        }
    }
}
