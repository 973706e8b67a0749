//! `airssys:actor/context`: what an instance may know of itself and of the message in hand.

use airssys_osl::trace;
use tokio::time::Instant;
use wasmtime::{Result, bail};

use super::{Host, bindings::airssys::actor::context};

impl context::Host for Host {
    fn name(&mut self) -> Result<String> {
        Ok(self.name.to_string())
    }

    fn content_type(&mut self) -> Result<String> {
        let Some(port) = &self.port else { bail!("context.content-type: a command has no messages") };
        Ok(port.talk.content_type().to_owned())
    }

    fn remaining_ms(&mut self) -> Result<Option<u64>> {
        let Some(port) = &self.port else { bail!("context.remaining-ms: a command has no messages") };
        let left = port.talk.deadline().map(|end| end.saturating_duration_since(Instant::now()));
        Ok(left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Empty where nobody asked for what is done: in `init`.
    fn trace(&mut self) -> Result<String> {
        Ok(match trace::current() {
            trace::NONE => String::new(),
            current => current.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }
}
