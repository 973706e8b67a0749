//! `airssys:actor/timers`: what a handler asks for here is armed when the handler has returned.

use std::time::Duration;

use wasmtime::{Result, bail};

use super::{Host, bindings::airssys::actor::timers};

impl timers::Host for Host {
    fn set(&mut self, name: String, delay_ms: u64) -> Result<()> {
        match &mut self.port {
            Some(port) => port.set_timer(name, Duration::from_millis(delay_ms)),
            None => bail!("timers.set: a command has no timers"),
        }
    }

    fn cancel(&mut self, name: String) -> Result<bool> {
        match &mut self.port {
            Some(port) => Ok(port.cancel_timer(&name)),
            None => bail!("timers.cancel: a command has no timers"),
        }
    }
}
