//! `wasi:clocks`.

use std::time::Duration;

use wasmtime::{
    Result,
    component::{Accessor, HasSelf},
};
use wasmtime_wasi_io::poll::Pollable as _;

use super::{
    super::{
        Host,
        clocks::{Sleep, nanoseconds},
    },
    bindings::wasi::clocks::{monotonic_clock, system_clock, types},
};
use crate::instance::State;

impl types::Host for Host {}

impl monotonic_clock::Host for Host {
    fn now(&mut self) -> Result<monotonic_clock::Mark> {
        Ok(nanoseconds(self.clock()?.monotonic_now()?))
    }

    fn get_resolution(&mut self) -> Result<types::Duration> {
        Ok(nanoseconds(self.clock()?.monotonic_resolution()?))
    }
}

impl monotonic_clock::HostWithStore<State> for HasSelf<Host> {
    async fn wait_until(store: &Accessor<State, Self>, when: monotonic_clock::Mark) -> Result<()> {
        let now = store.with(|mut access| monotonic_clock::Host::now(access.get()))?;
        wait(when.saturating_sub(now)).await
    }

    async fn wait_for(_: &Accessor<State, Self>, how_long: types::Duration) -> Result<()> {
        wait(how_long).await
    }
}

async fn wait(nanoseconds: u64) -> Result<()> {
    Sleep::new(Duration::from_nanos(nanoseconds)).ready().await;
    Ok(())
}

impl system_clock::Host for Host {
    fn now(&mut self) -> Result<system_clock::Instant> {
        let now = self.clock()?.wall_now()?;
        Ok(system_clock::Instant { seconds: now.seconds, nanoseconds: now.nanoseconds })
    }

    fn get_resolution(&mut self) -> Result<types::Duration> {
        Ok(nanoseconds(self.clock()?.wall_resolution()?))
    }
}
