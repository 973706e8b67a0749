//! `wasi:clocks`: the two clocks of the door.

use std::time::Duration;

use airssys_osl::clock::Clock;
use wasmtime::{Result, component::Resource, error::Context as _};
use wasmtime_wasi_io::{
    async_trait,
    poll::{DynPollable, Pollable, subscribe},
};

use super::{
    Host,
    bindings::wasi::clocks::{monotonic_clock, timezone, wall_clock},
};

impl Host {
    /// The clock, opened at first use. WASI's clocks have no errors, so a denial ends the guest.
    pub(super) fn clock(&mut self) -> Result<&Clock> {
        let clock = match self.clock.take() {
            Some(clock) => clock,
            None => self.principal.clock().context("the clock is not granted")?,
        };
        Ok(self.clock.insert(clock))
    }

    fn sleep(&mut self, duration: Duration) -> Result<Resource<DynPollable>> {
        let sleep = self.table.push(Sleep::new(duration))?;
        subscribe(&mut self.table, sleep)
    }
}

impl monotonic_clock::Host for Host {
    fn now(&mut self) -> Result<u64> {
        Ok(nanoseconds(self.clock()?.monotonic_now()?))
    }

    fn resolution(&mut self) -> Result<u64> {
        Ok(nanoseconds(self.clock()?.monotonic_resolution()?))
    }

    fn subscribe_instant(&mut self, when: u64) -> Result<Resource<DynPollable>> {
        let now = monotonic_clock::Host::now(self)?;
        self.sleep(Duration::from_nanos(when.saturating_sub(now)))
    }

    fn subscribe_duration(&mut self, duration: u64) -> Result<Resource<DynPollable>> {
        self.sleep(Duration::from_nanos(duration))
    }
}

impl wall_clock::Host for Host {
    fn now(&mut self) -> Result<wall_clock::Datetime> {
        let now = self.clock()?.wall_now()?;
        // WASI counts from 1970 on; a clock that stands before it is as good as one that was never set.
        Ok(wall_clock::Datetime {
            seconds: u64::try_from(now.seconds).unwrap_or(0),
            nanoseconds: now.nanoseconds,
        })
    }

    fn resolution(&mut self) -> Result<wall_clock::Datetime> {
        let resolution = self.clock()?.wall_resolution()?;
        Ok(wall_clock::Datetime { seconds: resolution.as_secs(), nanoseconds: resolution.subsec_nanos() })
    }
}

/// The host keeps no time zone: everything is UTC.
impl timezone::Host for Host {
    fn display(&mut self, _when: wall_clock::Datetime) -> Result<timezone::TimezoneDisplay> {
        Ok(timezone::TimezoneDisplay {
            utc_offset: 0,
            name: "UTC".to_owned(),
            in_daylight_saving_time: false,
        })
    }

    fn utc_offset(&mut self, _when: wall_clock::Datetime) -> Result<i32> {
        Ok(0)
    }
}

pub(super) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) struct Sleep {
    deadline: Option<tokio::time::Instant>,
}

impl Sleep {
    /// A deadline beyond what the timer can hold is as good as never.
    pub(super) fn new(duration: Duration) -> Self {
        Self { deadline: tokio::time::Instant::now().checked_add(duration) }
    }
}

#[async_trait]
impl Pollable for Sleep {
    async fn ready(&mut self) {
        match self.deadline {
            // The timer's own steps are coarser than the clock's.
            Some(deadline) if deadline <= tokio::time::Instant::now() => {}
            Some(deadline) => tokio::time::sleep_until(deadline).await,
            None => std::future::pending().await,
        }
    }
}
