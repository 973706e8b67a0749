//! The two threads that look after programs: one starts them, one waits for their ends.
//!
//! The kernel ends a program with the thread that started it, if that is asked for: so that thread must not end before
//! the whole of us does. And who starts may have to wait, for a file system that does not answer; so whoever watches over
//! the time of those that run is another.

use std::{
    mem,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    process::{Pid, Signal, kill_process_group, pidfd_send_signal},
    thread::{CapabilitySet, remove_capability_from_bounding_set},
};
use tokio::sync::{oneshot, watch};

use super::{
    cgroup::Group,
    raw::{self, Reaped},
    spares::{self, Left},
};
use crate::{
    os::Fault,
    process::{Cause, Exit, Limits, Status, Usage},
    sys::{
        child::{self, Keep},
        plan::OnEnd,
    },
};

/// How long the keeper waits at most, so that it looks at the clock again after one of its own has gone wrong.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

type Job = Box<dyn FnOnce() + Send>;

/// Does `work` on the thread that starts programs. Work whose caller went away before it began is not done.
pub(super) async fn on_spawner<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = match SPAWNER.get() {
        Some(spawner) => spawner,
        None => {
            let (send, jobs) = mpsc::channel::<Job>();
            start("airssys-spawn", move || {
                bound_children();
                for job in jobs {
                    // Whoever waits for the answer sees that there is none.
                    drop(catch_unwind(AssertUnwindSafe(job)));
                }
            })?;
            // Where two came at once, the thread of the other ends with its channel.
            SPAWNER.get_or_init(|| send)
        }
    };
    let (answer, answered) = oneshot::channel();
    let job = move || {
        if !answer.is_closed() {
            // What nobody takes is dropped, and what was started ends with that.
            drop(answer.send(work()));
        }
    };
    spawner.send(Box::new(job)).map_err(|_| Fault::Bug)?;
    answered.await.map_err(|_| Fault::Bug)?
}

/// Takes all capabilities out of what children of this thread can ever have, where it may. It keeps its own.
fn bound_children() {
    for capability in CapabilitySet::all().iter() {
        // One that the kernel does not know is not had either.
        let _ = remove_capability_from_bounding_set(capability);
    }
}

pub(super) fn start(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Fault> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Fault::Os)?;
    Ok(())
}

/// Takes away a child that has ended or is about to.
pub(super) fn take_away(pidfd: &OwnedFd) {
    while matches!(raw::reap(pidfd.as_raw_fd(), false), Ok(None)) {
        let _ = poll(&mut [PollFd::new(pidfd, PollFlags::IN)], None);
    }
}

/// A program that runs, or ran: it is killed with all its children when this is dropped.
pub(crate) type Child = child::Child<Kept>;

/// Kills a program, if it is still there.
pub(crate) type Killer = child::Killer<Kept>;

/// What is kept of a program until it is gone.
pub(crate) struct Kept {
    /// The process that we are the parent of: the program, or its `init`.
    pidfd: OwnedFd,
    pid: u32,
    /// The program, where that is another one.
    program: Option<OwnedFd>,
    /// Where `init` tells how the program ended.
    socket: Option<OwnedFd>,
    started: Instant,
    deadline: Option<Instant>,
    /// What the kernel's limits end a process for.
    cpu_time: Option<Duration>,
    file_bytes: Option<u64>,
    state: Mutex<State>,
    ended: watch::Sender<Option<Exit>>,
}

struct State {
    /// It was taken away: its number may be somebody else's.
    gone: bool,
    cause: Option<Cause>,
    on_end: Option<OnEnd>,
    /// What it has that is taken away when it is gone.
    left: Left,
}

/// What a program was started as.
pub(super) struct Started {
    pub(super) pidfd: OwnedFd,
    pub(super) pid: u32,
    pub(super) program: Option<OwnedFd>,
    pub(super) socket: Option<OwnedFd>,
    pub(super) left: Left,
}

impl Child {
    /// Takes over a program that was started.
    pub(super) fn keep(started: Started, limits: &Limits, on_end: OnEnd) -> Result<Self, Fault> {
        let now = Instant::now();
        let Started { pidfd, pid, program, socket, left } = started;
        let state = State { gone: false, cause: None, on_end: Some(on_end), left };
        let kept = Arc::new(Kept {
            pidfd,
            pid,
            program,
            socket,
            started: now,
            deadline: limits.wall_time.and_then(|time| now.checked_add(time)),
            cpu_time: limits.cpu_time,
            file_bytes: limits.file_bytes,
            state: Mutex::new(state),
            ended: watch::Sender::new(None),
        });
        match Keeper::running() {
            Ok(keeper) => {
                keeper.add(&kept);
                Ok(Self::of(kept))
            }
            Err(fault) => {
                // Nobody would take it away: it is done here, where there is a thread that may wait.
                kept.kill(Cause::Killed);
                kept.wait_here();
                Err(fault)
            }
        }
    }
}

impl Keep for Kept {
    /// Kills it with all its children.
    fn kill(&self, cause: Cause) {
        let mut state = self.state();
        if !state.gone {
            state.cause.get_or_insert(cause);
            self.kill_all(&state);
        }
    }

    fn signal(&self, number: i32) -> Result<bool, Fault> {
        let signal = Signal::from_named_raw(number).ok_or(rustix::io::Errno::INVAL)?;
        let state = self.state();
        if state.gone {
            return Ok(false);
        }
        let program = self.program.as_ref().unwrap_or(&self.pidfd);
        match pidfd_send_signal(program, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn ended(&self) -> &watch::Sender<Option<Exit>> {
        &self.ended
    }

    fn id(&self) -> u32 {
        self.pid
    }
}

impl Kept {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Kills whatever is there. The lock on the state is held, and it is not gone: its number is its own.
    fn kill_all(&self, state: &State) {
        // Each may be gone already, and that is all that can go wrong.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        // With an `init` the kernel ends them all.
        if self.socket.is_some() {
            return;
        }
        if let Some(group) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if let Some(group) = &state.left.group {
            group.kill();
        }
    }

    /// Looks whether it has ended; takes it away then, and what it left.
    fn look(&self) -> bool {
        let mut state = self.state();
        if state.gone {
            return true;
        }
        let ended = match raw::reap(self.pidfd.as_raw_fd(), true) {
            Ok(None) => return false,
            Ok(Some(_)) => {
                self.kill_all(&state);
                raw::reap(self.pidfd.as_raw_fd(), false)
            }
            Err(error) => Err(error),
        };
        state.gone = true;
        let left = mem::take(&mut state.left);
        let exit = self.exit(ended.ok().flatten(), state.cause, left.group.as_ref());
        let on_end = state.on_end.take();
        drop(state);
        if let Some(on_end) = on_end {
            // It is our caller's sink that is in there: it may panic, and may take its time to take a record.
            drop(catch_unwind(AssertUnwindSafe(|| on_end(&exit))));
        }
        // Nobody waits for that. But who hears of the end may end all of us, in order, and it is done before.
        spares::take_away(left);
        self.ended.send_replace(Some(exit));
        true
    }

    fn wait_here(&self) {
        while !self.look() {
            let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
            let _ = poll(&mut fds, None);
        }
    }

    /// Which of the kernel's limits ended it, as far as its signal tells.
    fn limit(&self, status: Status, usage: &Usage) -> Cause {
        let computed = usage.user_time + usage.system_time;
        match (status, self.cpu_time) {
            (Status::Signal(libc::SIGXCPU), Some(_)) => Cause::CpuTime,
            // It took no notice of the first signal. The limit counts by ticks, by which a busy machine counts too many.
            (Status::Signal(libc::SIGKILL), Some(most)) if computed >= most / 4 => Cause::CpuTime,
            (Status::Signal(libc::SIGXFSZ), _) if self.file_bytes.is_some() => Cause::FileSize,
            _ => Cause::Itself,
        }
    }

    fn exit(&self, reaped: Option<Reaped>, cause: Option<Cause>, group: Option<&Group>) -> Exit {
        let told = self.socket.as_ref().and_then(|socket| {
            let mut status = [0; 4];
            let received = rustix::net::recv(socket, &mut status, rustix::net::RecvFlags::DONTWAIT);
            matches!(received, Ok((4, _))).then(|| i32::from_ne_bytes(status))
        });
        let status = match (told, &reaped) {
            (Some(status), _) if libc::WIFSIGNALED(status) => Status::Signal(libc::WTERMSIG(status)),
            (Some(status), _) => Status::Code(libc::WEXITSTATUS(status)),
            // An `init` that says nothing was killed.
            (None, Some(reaped)) if self.socket.is_none() && reaped.code == libc::CLD_EXITED => {
                Status::Code(reaped.status)
            }
            (None, Some(reaped)) if self.socket.is_none() => Status::Signal(reaped.status),
            _ => Status::Signal(libc::SIGKILL),
        };
        let mut usage = reaped.map(|reaped| usage(&reaped.usage)).unwrap_or_default();
        usage.wall_time = self.started.elapsed();
        let mut cause = cause.unwrap_or(Cause::Itself);
        if let Some(group) = group {
            group.finish(&mut usage, &mut cause);
        }
        if cause == Cause::Itself {
            cause = self.limit(status, &usage);
        }
        Exit { status, cause, usage }
    }
}

fn usage(usage: &libc::rusage) -> Usage {
    let time = |time: libc::timeval| {
        let seconds = Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or_default());
        seconds + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
    };
    // Whatever the disks have, the kernel tells of blocks of this size.
    let blocks = |count: libc::c_long| u64::try_from(count).ok()?.checked_mul(512);
    Usage {
        user_time: time(usage.ru_utime),
        system_time: time(usage.ru_stime),
        // The kernel's number counts what we had when the child shared our memory.
        peak_memory_bytes: None,
        wall_time: Duration::ZERO,
        read_bytes: blocks(usage.ru_inblock),
        written_bytes: blocks(usage.ru_oublock),
        refused_processes: None,
    }
}

/// The thread that waits for the ends of all programs.
struct Keeper {
    inbox: Mutex<Vec<Arc<Kept>>>,
    wake: OwnedFd,
}

impl Keeper {
    fn running() -> Result<&'static Self, Fault> {
        static KEEPER: OnceLock<Keeper> = OnceLock::new();
        static STARTED: Mutex<bool> = Mutex::new(false);
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        let keeper = match KEEPER.get() {
            Some(keeper) => keeper,
            None => {
                let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
                KEEPER.get_or_init(|| Self { inbox: Mutex::default(), wake })
            }
        };
        if !*started {
            start("airssys-keeper", || keeper.run())?;
            *started = true;
        }
        Ok(keeper)
    }

    fn add(&self, kept: &Arc<Kept>) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(kept));
        // It cannot be full: that takes 2^64 additions.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    fn run(&self) {
        let mut children: Vec<Arc<Kept>> = Vec::new();
        let mut now = Instant::now();
        loop {
            self.wait(&children, now);
            let _ = rustix::io::read(&self.wake, &mut [0; 8]);
            children.append(&mut self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
            // Before the time is looked at: one that has ended in time did so, however late this thread hears of it.
            children.retain(|child| !child.look());
            now = Instant::now();
            for child in &children {
                if child.deadline.is_some_and(|deadline| deadline <= now) {
                    child.kill(Cause::WallTime);
                }
            }
        }
    }

    /// Waits until one has ended, one has come, or the time of one is over that was not at `looked`.
    fn wait(&self, children: &[Arc<Kept>], looked: Instant) {
        // One whose time was over then was killed, and is awaited as the others are.
        let deadlines = children.iter().filter_map(|child| child.deadline.filter(|at| *at > looked));
        let wait = deadlines.min().map(|at| at.saturating_duration_since(Instant::now()));
        let wait = wait.map_or(LONGEST_WAIT, |wait| wait.min(LONGEST_WAIT));
        let timeout = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: wait.subsec_nanos().into() };
        let mut fds = vec![PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)];
        fds.extend(children.iter().map(|child| PollFd::new(&child.pidfd, PollFlags::IN)));
        let _ = poll(&mut fds, Some(&timeout));
    }
}
