//! The unsafe part: a child that shares our memory until it becomes the program, as `vfork(2)` has it.
//!
//! A fork would copy the page tables of a heap of gigabytes, and stall every thread that writes to it meanwhile. This
//! child copies nothing. What it may do in turn is very little: it runs on a stack of its own, with every signal
//! blocked, and makes the system calls of a [`Script`], one after the other. It calls no other function, takes no lock
//! and allocates nothing. Our thread waits until it has ended or become the program.

#![expect(unsafe_code, reason = "it becomes another program; docs/adr/0008-spawning.md")]

use std::{
    cell::OnceCell,
    ffi::c_void,
    io, mem,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    ptr,
    sync::atomic::{AtomicI32, Ordering},
};

use libc::{c_int, c_long};

use super::script::{Arg, Call, Script};

/// How much of a stack a child has, beside the page below it that nobody may touch: it calls one function.
const STACK_BYTES: usize = 64 * 1024;
const GUARD_BYTES: usize = 64 * 1024;

/// A child that became its program.
#[derive(Debug)]
pub(super) struct Born {
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    /// What failed, where it did not become the program: it has ended then.
    pub(super) failed: Option<(&'static str, io::Error)>,
}

/// What a child and its children tell, in memory that they share with us.
#[derive(Debug, Default)]
struct Report {
    /// The error number of the step that failed; 0 where none did.
    errno: AtomicI32,
    /// Which one of its script it was.
    step: AtomicI32,
    /// Whether it was one of the script of the inner child.
    inner: AtomicI32,
}

/// What a child finds on its stack.
struct Task<'a> {
    script: &'a Script,
    report: &'a Report,
    /// The top of the stack of an inner child; null where this is one.
    inner_stack: *mut c_void,
}

/// The two stacks of the children that this thread starts: made once, for it starts one after the other.
struct Stacks {
    first: Stack,
    inner: Stack,
}

impl Stacks {
    fn with<T>(work: impl FnOnce(&Self) -> io::Result<T>) -> io::Result<T> {
        thread_local! {
            static STACKS: OnceCell<Stacks> = const { OnceCell::new() };
        }
        STACKS.with(|stacks| match stacks.get() {
            Some(stacks) => work(stacks),
            None => {
                let made = Self { first: Stack::new()?, inner: Stack::new()? };
                work(stacks.get_or_init(|| made))
            }
        })
    }
}

/// Memory for the stack of a child, with a page below that ends it where it would run over.
struct Stack(*mut c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
        // SAFETY: a new mapping touches nothing that is there.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), GUARD_BYTES + STACK_BYTES, libc::PROT_NONE, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self(base);
        // SAFETY: the range is the upper part of the mapping above, which nobody uses yet.
        let done = unsafe {
            libc::mprotect(base.byte_add(GUARD_BYTES), STACK_BYTES, libc::PROT_READ | libc::PROT_WRITE)
        };
        if done == 0 { Ok(stack) } else { Err(io::Error::last_os_error()) }
    }

    fn top(&self) -> *mut c_void {
        // SAFETY: one past the end of the mapping. A page's end is aligned as every ABI wants it.
        unsafe { self.0.byte_add(GUARD_BYTES + STACK_BYTES) }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and the child that ran on it is gone: it has ended, or has memory of its own.
        unsafe { libc::munmap(self.0, GUARD_BYTES + STACK_BYTES) };
    }
}

/// Starts a child that runs `script`, and waits until it is a program or has ended. `namespaces` are `CLONE_NEW…` flags.
pub(super) fn start(script: &Script, namespaces: c_int) -> io::Result<Born> {
    Stacks::with(|stacks| start_on(stacks, script, namespaces))
}

fn start_on(stacks: &Stacks, script: &Script, namespaces: c_int) -> io::Result<Born> {
    let report = Report::default();
    let task = Task { script, report: &report, inner_stack: stacks.inner.top() };
    let mut pidfd: c_int = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD | namespaces;
    let pid = with_signals_blocked(|| {
        // SAFETY: the child runs `run` with `task`. Both, and all that `task` leads to, outlive it: `CLONE_VFORK` holds
        // this call until the child no longer shares our memory. It has the signal handlers blocked, so that none of
        // ours runs in it; the stack is its own. `run` keeps to what such a child may do. The kernel writes the
        // descriptor through the fifth argument.
        let pid = unsafe {
            libc::clone(
                run,
                stacks.first.top(),
                flags,
                ptr::from_ref(&task).cast_mut().cast(),
                &raw mut pidfd,
            )
        };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    })?;
    // SAFETY: the kernel made the descriptor for this call; nobody else knows it.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    let pid = u32::try_from(pid).unwrap_or_default();
    Ok(Born { pid, pidfd, failed: report.failure(script) })
}

impl Report {
    fn failure(&self, script: &Script) -> Option<(&'static str, io::Error)> {
        let errno = self.errno.load(Ordering::Acquire);
        if errno == 0 {
            return None;
        }
        let step = usize::try_from(self.step.load(Ordering::Relaxed)).unwrap_or_default();
        let inner = script.steps.iter().find_map(|step| match &step.call {
            Call::Child(inner, _) => Some(&**inner),
            Call::Plain(..) => None,
        });
        let script = if self.inner.load(Ordering::Relaxed) == 1 { inner.unwrap_or(script) } else { script };
        let what = script.steps.get(step).map_or("start", |step| step.what);
        Some((what, io::Error::from_raw_os_error(errno)))
    }
}

/// The whole life of a child before its program: it never returns.
extern "C" fn run(task: *mut c_void) -> c_int {
    // SAFETY: `start` and `start_inner` give the address of a `Task` that lives until this child is gone.
    let task = unsafe { &*task.cast::<Task<'_>>() };
    for (index, step) in task.script.steps.iter().enumerate() {
        let result = match &step.call {
            Call::Plain(number, args) => {
                let [a, b, c, d, e, f] = args.map(|arg| word(task.script, arg));
                // SAFETY: the invariant of `script`: a call whose pointers lead to memory that the script owns, which
                // nobody else uses while our parent waits. The wrapper writes `errno` of the thread that waits for us,
                // and nothing else.
                unsafe { libc::syscall(*number, a, b, c, d, e, f) }
            }
            Call::Child(inner, kept) => {
                let result = start_inner(task, inner, task.script.cell(*kept));
                if task.report.errno.load(Ordering::Relaxed) != 0 {
                    end();
                }
                result
            }
        };
        if result < 0 {
            // SAFETY: `errno` of the thread that waits for us, as above.
            let errno = unsafe { *libc::__errno_location() };
            if errno != step.unless {
                task.report.inner.store(i32::from(task.inner_stack.is_null()), Ordering::Relaxed);
                task.report.step.store(index as i32, Ordering::Relaxed);
                task.report.errno.store(errno, Ordering::Release);
                end();
            }
        } else if let Some(kept) = step.into.and_then(|cell| task.script.cell(cell)) {
            kept.store(result as i32, Ordering::Relaxed);
        }
    }
    end()
}

fn word(script: &Script, arg: Arg) -> usize {
    match arg {
        Arg::Number(number) => number,
        Arg::Kept(cell) => script.cell(cell).map_or(usize::MAX, |cell| cell.load(Ordering::Relaxed) as usize),
    }
}

/// Starts the program's own process from a child that becomes its `init`.
fn start_inner(task: &Task<'_>, script: &Script, pidfd: Option<&AtomicI32>) -> c_long {
    let Some(pidfd) = pidfd.filter(|_| !task.inner_stack.is_null()) else { return -1 };
    let inner = Task { script, report: task.report, inner_stack: ptr::null_mut() };
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    // SAFETY: as in `start`: the inner child runs on the second stack, and this call returns when it does not share
    // memory any more.
    let pid = unsafe {
        libc::clone(run, task.inner_stack, flags, ptr::from_ref(&inner).cast_mut().cast(), pidfd.as_ptr())
    };
    c_long::from(pid)
}

/// Ends this process alone, without what a program does at its end: that is our parent's.
fn end() -> ! {
    // SAFETY: it ends the caller; it runs no handler and touches no memory.
    unsafe { libc::_exit(127) }
}

/// Does `work` while this thread takes no signal: neither does a child that it starts.
fn with_signals_blocked<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are this function's, and written before they are read; an all-zero set is a valid one.
    let before = unsafe {
        let mut all: libc::sigset_t = mem::zeroed();
        let mut before: libc::sigset_t = mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        before
    };
    let result = work();
    // SAFETY: the set is the one that the call above filled in.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, ptr::null_mut()) };
    result
}

/// Has `work` done when this process ends in order.
pub(super) fn at_exit(work: extern "C" fn()) {
    // SAFETY: it is a function of this program, which is called with nothing. Where it cannot be noted it is not called.
    unsafe { libc::atexit(work) };
}

/// Has this thread go after the others of this process, where those go before everybody.
pub(super) fn go_last() {
    // SAFETY: the calls are about this thread alone. The record is of plain numbers, and the kernel reads it.
    unsafe {
        let policy = libc::syscall(libc::SYS_sched_getscheduler, 0);
        let policy = c_int::try_from(policy).unwrap_or(libc::SCHED_OTHER);
        if [libc::SCHED_FIFO, libc::SCHED_RR].contains(&(policy & !libc::SCHED_RESET_ON_FORK)) {
            let lowest = libc::sched_param { sched_priority: 1 };
            libc::syscall(libc::SYS_sched_setscheduler, 0, policy, &raw const lowest);
        }
    }
}

/// Gives this thread namespaces of its own, or a root and working directory that are not those of the other threads.
pub(super) fn unshare(what: c_int) -> io::Result<()> {
    assert!(
        what & !(libc::CLONE_NEWNS | libc::CLONE_NEWNET | libc::CLONE_FS) == 0,
        "descriptors stay shared"
    );
    // SAFETY: with these flags descriptors and memory stay those of all threads, which is what everything else relies on.
    let done = unsafe { libc::unshare(what) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What the kernel tells of a child that ended: why, and what it used with all its children that were waited for.
#[derive(Debug)]
pub(super) struct Reaped {
    /// As `CLD_EXITED` and its like say.
    pub(super) code: c_int,
    pub(super) status: c_int,
    pub(super) usage: libc::rusage,
}

/// Takes away a child that ended; `None` while it runs. With `peek` it stays.
pub(super) fn reap(pidfd: c_int, peek: bool) -> io::Result<Option<Reaped>> {
    let options = libc::WEXITED | libc::WNOHANG | if peek { libc::WNOWAIT } else { 0 };
    // SAFETY: both records are plain numbers, for which zeros are values.
    let (mut info, mut usage): (libc::siginfo_t, libc::rusage) = unsafe { (mem::zeroed(), mem::zeroed()) };
    // SAFETY: the kernel writes to the two records, which are of the size that it expects.
    let done = unsafe {
        libc::syscall(libc::SYS_waitid, libc::P_PIDFD, pidfd, &raw mut info, options, &raw mut usage)
    };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `waitid` filled the record in as one of SIGCHLD, or left its zeros.
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    Ok((pid != 0).then_some(Reaped { code: info.si_code, status, usage }))
}

/// The version of Landlock that the kernel enforces; `None` where it has none, or does not use it.
pub(super) fn landlock_version() -> Option<u32> {
    // SAFETY: with this flag the call takes no attributes, and touches no memory.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0, 1) };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// A system call that waits for its watcher, as the kernel tells it.
#[derive(Debug)]
pub(super) struct Told {
    id: u64,
    /// Who makes it, by the number that we know the thread by.
    pub(super) thread: u32,
    pub(super) call: u32,
    pub(super) architecture: u32,
    pub(super) args: [u64; 6],
}

/// What becomes of a call that waits.
#[derive(Clone, Copy, Debug)]
pub(super) enum Verdict {
    /// It is made.
    GoOn,
    /// It is not, and fails with this number.
    Refuse(c_int),
}

/// Takes the next call that waits at a filter's listener, or waits for one.
pub(super) fn told(listener: &OwnedFd) -> io::Result<Told> {
    // SAFETY: the record is plain numbers, for which zeros are values; the kernel wants zeros.
    let mut told: libc::seccomp_notif = unsafe { mem::zeroed() };
    // SAFETY: the kernel writes a record of this type, whose size is in the command.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, &raw mut told) };
    if done < 0 {
        return Err(io::Error::last_os_error());
    }
    let libc::seccomp_notif { id, pid, data, .. } = told;
    Ok(Told { id, thread: pid, call: data.nr as u32, architecture: data.arch, args: data.args })
}

/// Whether a call waits still: as long as it does, its thread is there, and its number nobody else's.
pub(super) fn waits(listener: &OwnedFd, told: &Told) -> bool {
    // SAFETY: the kernel reads one number.
    let done =
        unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, &raw const told.id) };
    done == 0
}

/// Says what becomes of a call that waits; fails where nobody waits any more.
pub(super) fn answer(listener: &OwnedFd, told: &Told, verdict: Verdict) -> io::Result<()> {
    let (error, flags) = match verdict {
        Verdict::GoOn => (0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Verdict::Refuse(errno) => (-errno, 0),
    };
    let mut answer = libc::seccomp_notif_resp { id: told.id, val: 0, error, flags };
    // SAFETY: the kernel reads a record of this type, whose size is in the command.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &raw mut answer) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
