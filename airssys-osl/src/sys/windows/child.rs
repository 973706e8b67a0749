//! A program that runs: a thread waits for its end, and ends its job.

use std::{
    os::windows::io::OwnedHandle,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::raw::{self, Born, Job};
use crate::{
    os::Fault,
    process::{Cause, Exit, Limits, Status},
    sys::{
        child::{self, Keep},
        plan::OnEnd,
    },
};

/// What a process ends with that computed for longer than its job lets it (`ERROR_NOT_ENOUGH_QUOTA`).
const OUT_OF_TIME: i32 = 1816;

/// A program that runs, or ran: it is killed with its job when this is dropped.
pub(crate) type Child = child::Child<Kept>;

/// Kills a program, if it is still there.
pub(crate) type Killer = child::Killer<Kept>;

/// What is kept of a program until it is gone.
pub(crate) struct Kept {
    process: OwnedHandle,
    id: u32,
    job: Job,
    started: Instant,
    deadline: Option<Instant>,
    cpu_time: Option<Duration>,
    state: Mutex<State>,
    ended: watch::Sender<Option<Exit>>,
}

#[derive(Default)]
struct State {
    gone: bool,
    cause: Option<Cause>,
}

impl Child {
    /// Takes over a program that was started.
    pub(super) fn keep(born: Born, job: Job, limits: &Limits, on_end: OnEnd) -> Result<Self, Fault> {
        let started = Instant::now();
        let kept = Arc::new(Kept {
            process: born.process,
            id: born.id,
            job,
            started,
            deadline: limits.wall_time.and_then(|time| started.checked_add(time)),
            cpu_time: limits.cpu_time,
            state: Mutex::default(),
            ended: watch::Sender::new(None),
        });
        let child = Self::of(Arc::clone(&kept));
        // Where there is no thread for it, it is killed as this is dropped.
        let waits = move || kept.wait(on_end);
        thread::Builder::new().name("airssys-keeper".to_owned()).spawn(waits).map_err(Fault::Os)?;
        Ok(child)
    }
}

impl Keep for Kept {
    /// Kills it with its job.
    fn kill(&self, cause: Cause) {
        let mut state = self.state();
        if !state.gone {
            state.cause.get_or_insert(cause);
            self.job.terminate();
        }
    }

    /// There are no signals.
    fn signal(&self, _number: i32) -> Result<bool, Fault> {
        if self.state().gone { Ok(false) } else { Err(Fault::Unsupported) }
    }

    fn ended(&self) -> &watch::Sender<Option<Exit>> {
        &self.ended
    }

    fn id(&self) -> u32 {
        self.id
    }
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end, ends what is left, and tells.
    fn wait(&self, on_end: OnEnd) {
        let left = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let mut ended = raw::wait(&self.process, left);
        if let Ok(None) = ended {
            self.kill(Cause::WallTime);
            ended = raw::wait(&self.process, None);
        }
        let mut state = self.state();
        self.job.terminate();
        state.gone = true;
        let status = Status::Code(ended.ok().flatten().map_or(-1, u32::cast_signed));
        let mut usage = self.job.usage();
        usage.wall_time = self.started.elapsed();
        let computed_too_long = status == Status::Code(OUT_OF_TIME) && self.cpu_time.is_some();
        let cause = state.cause.unwrap_or(if computed_too_long { Cause::CpuTime } else { Cause::Itself });
        drop(state);
        let exit = Exit { status, cause, usage };
        // It is our caller's sink that is in there: it may panic, and may take its time to take a record.
        drop(catch_unwind(AssertUnwindSafe(|| on_end(&exit))));
        self.ended.send_replace(Some(exit));
    }
}
