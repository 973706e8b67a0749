//! A program that runs: waits for its end, and kills it with its group of processes. What makes a group of its own lives on.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process, kill_process_group},
};
use tokio::sync::watch;

use super::raw;
use crate::{
    os::Fault,
    process::{Cause, Exit, Limits, Status, Usage},
    sys::{
        child::{self, Keep},
        plan::OnEnd,
    },
};

/// A program that runs, or ran: it is killed with its group of processes when this is dropped.
pub(crate) type Child = child::Child<Kept>;

/// Kills a program, if it is still there.
pub(crate) type Killer = child::Killer<Kept>;

/// What is kept of a program until it is gone.
pub(crate) struct Kept {
    pid: Pid,
    started: Instant,
    cpu_time: Option<Duration>,
    state: Mutex<State>,
    /// Told when it is gone.
    gone: Condvar,
    ended: watch::Sender<Option<Exit>>,
}

#[derive(Default)]
struct State {
    /// It was taken away: its number may be somebody else's.
    gone: bool,
    cause: Option<Cause>,
}

impl Child {
    /// Takes over a program that was started: a thread waits for its end, and another one for the end of its time.
    pub(super) fn keep(pid: i32, limits: &Limits, on_end: OnEnd) -> Result<Self, Fault> {
        let kept = Arc::new(Kept {
            pid: Pid::from_raw(pid).ok_or(Fault::Bug)?,
            started: Instant::now(),
            cpu_time: limits.cpu_time,
            state: Mutex::default(),
            gone: Condvar::new(),
            ended: watch::Sender::new(None),
        });
        let child = Self::of(Arc::clone(&kept));
        let waiter = Arc::clone(&kept);
        let waits = move || waiter.wait(on_end);
        if let Err(error) = thread::Builder::new().name("airssys-keeper".to_owned()).spawn(waits) {
            child.kill(Cause::Killed);
            // Nobody else takes it away.
            let _ = raw::reap(pid);
            kept.state().gone = true;
            return Err(Fault::Os(error));
        }
        if let Some(deadline) = limits.wall_time.and_then(|time| kept.started.checked_add(time)) {
            let watches = move || kept.watch(deadline);
            // Where there is no thread for it, it is killed as this is dropped.
            thread::Builder::new().name("airssys-time".to_owned()).spawn(watches).map_err(Fault::Os)?;
        }
        Ok(child)
    }
}

impl Keep for Kept {
    /// Kills it with its group of processes.
    fn kill(&self, cause: Cause) {
        let mut state = self.state();
        if !state.gone {
            state.cause.get_or_insert(cause);
            // The number is its own as long as it was not taken away. There may be nobody left, and that is all that can go
            // wrong.
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
    }

    fn signal(&self, number: i32) -> Result<bool, Fault> {
        let signal =
            Signal::from_named_raw(number).ok_or_else(|| Fault::errno(crate::sys::errno::INVALID))?;
        let state = self.state();
        if state.gone {
            return Ok(false);
        }
        match kill_process(self.pid, signal) {
            // It has ended, and was not taken away yet.
            Err(Errno::SRCH) => Ok(false),
            sent => sent.map(|()| true).map_err(|error| Fault::Os(error.into())),
        }
    }

    fn ended(&self) -> &watch::Sender<Option<Exit>> {
        &self.ended
    }

    fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end, takes away what is left, and tells.
    fn wait(&self, on_end: OnEnd) {
        let pid = self.pid.as_raw_nonzero().get();
        let waited = raw::wait(pid);
        let mut state = self.state();
        let _ = kill_process_group(self.pid, Signal::KILL);
        let reaped = waited.and_then(|()| raw::reap(pid)).ok();
        state.gone = true;
        let exit = self.exit(reaped, state.cause);
        drop(state);
        self.gone.notify_all();
        // It is our caller's sink that is in there: it may panic, and may take its time to take a record.
        drop(catch_unwind(AssertUnwindSafe(|| on_end(&exit))));
        self.ended.send_replace(Some(exit));
    }

    /// Kills it where it has not ended at `deadline`.
    fn watch(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let runs = |state: &mut State| !state.gone;
        let waited = self.gone.wait_timeout_while(self.state(), left, runs);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        self.kill(Cause::WallTime);
    }

    fn exit(&self, reaped: Option<(i32, libc::rusage)>, cause: Option<Cause>) -> Exit {
        let (status, mut usage) = match reaped {
            Some((status, usage)) if libc::WIFSIGNALED(status) => {
                (Status::Signal(libc::WTERMSIG(status)), used(&usage))
            }
            Some((status, usage)) => (Status::Code(libc::WEXITSTATUS(status)), used(&usage)),
            None => (Status::Signal(libc::SIGKILL), Usage::default()),
        };
        usage.wall_time = self.started.elapsed();
        let computed_too_long = status == Status::Signal(libc::SIGXCPU) && self.cpu_time.is_some();
        let cause = cause.unwrap_or(if computed_too_long { Cause::CpuTime } else { Cause::Itself });
        Exit { status, cause, usage }
    }
}

fn used(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
    };
    Usage {
        user_time: time(usage.ru_utime),
        system_time: time(usage.ru_stime),
        // Nothing counts the whole tree.
        peak_memory_bytes: None,
        read_bytes: None,
        written_bytes: None,
        wall_time: Duration::ZERO,
        refused_processes: None,
    }
}
