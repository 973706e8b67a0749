//! What the next program begins with, made while nobody waits for it; and taking away what the last one leaves.
//!
//! A network of its own, the beginnings of a root and a control group cost more than all else of a start, and are the same
//! for every program. A few of each are kept where programs are started one after the other, and only as long as that goes
//! on: docs/adr/0018-spares.md.
//!
//! INVARIANT: what was taken never comes back. No two programs have had the same one.

use std::{
    mem,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use rustix::process::{Pid, getpid};

use super::{cgroup::Group, keeper, maker::Maker, raw};
use crate::os::Fault;

/// How many of each are kept at most.
const READY: usize = 2;

/// How long ago the last program may have been started for another one to be expected.
const IDLE: Duration = Duration::from_secs(1);

/// Networks that nobody has been in yet.
pub(super) static NETWORKS: Shelf<OwnedFd> = Shelf::new(Maker::network);
/// Mounts that nobody has seen yet.
pub(super) static ROOTS: Shelf<OwnedFd> = Shelf::new(Maker::root);
/// Control groups without a limit and without a member.
pub(super) static GROUPS: Shelf<Group> = Shelf::new(|_| Group::spare().map_err(Fault::Os));

/// Some of one kind, and how to make another.
pub(super) struct Shelf<T> {
    make: fn(&Maker) -> Result<T, Fault>,
    state: Mutex<State<T>>,
}

struct State<T> {
    ready: Vec<T>,
    /// When somebody asked for one last.
    asked: Option<Instant>,
    /// Whether the one before was not long ago.
    often: bool,
    /// They cannot be made here.
    useless: bool,
}

impl<T> Shelf<T> {
    const fn new(make: fn(&Maker) -> Result<T, Fault>) -> Self {
        let state = State { ready: Vec::new(), asked: None, often: false, useless: false };
        Self { make, state: Mutex::new(state) }
    }

    /// Takes one, if one is ready: nobody waits for it to be made.
    pub(super) fn take(&self) -> Option<T> {
        ASKED.store(true, Ordering::Release);
        lock(&self.state).take(Instant::now())
    }

    /// Makes one where one is missing; whether it did.
    fn fill(&self, maker: &Maker) -> bool {
        if !lock(&self.state).is_missing(Instant::now()) {
            return false;
        }
        // Whoever takes one does not wait for this.
        let made = (self.make)(maker);
        let mut state = lock(&self.state);
        match made {
            Ok(made) => state.ready.push(made),
            Err(_) => state.useless = true,
        }
        true
    }

    /// Gives up what nobody is expected to need; whether any is left.
    fn expire(&self) -> bool {
        let mut state = lock(&self.state);
        let given_up = state.give_up(Instant::now());
        let left = !state.ready.is_empty();
        // It may take its time.
        drop(state);
        drop(given_up);
        left
    }
}

impl<T> State<T> {
    fn take(&mut self, now: Instant) -> Option<T> {
        self.often = self.is_expected(now);
        self.asked = Some(now);
        self.ready.pop()
    }

    fn is_missing(&self, now: Instant) -> bool {
        self.often && !self.useless && self.is_expected(now) && self.ready.len() < READY
    }

    fn give_up(&mut self, now: Instant) -> Vec<T> {
        if self.is_expected(now) { Vec::new() } else { mem::take(&mut self.ready) }
    }

    fn is_expected(&self, now: Instant) -> bool {
        self.asked.is_some_and(|asked| now.saturating_duration_since(asked) < IDLE)
    }
}

/// What a program leaves, which nobody waits for.
#[derive(Debug, Default)]
pub(super) struct Left {
    pub(super) group: Option<Group>,
    /// The mounts that it saw.
    pub(super) root: Option<OwnedFd>,
}

static LEFT: Mutex<Vec<Left>> = Mutex::new(Vec::new());
/// Held while something is made or taken away.
static WORK: Mutex<()> = Mutex::new(());
/// Somebody asked for one since it was last looked after.
static ASKED: AtomicBool = AtomicBool::new(false);
/// This process ends.
static CLOSED: AtomicBool = AtomicBool::new(false);

/// Has it taken away, soon: at the latest when this process ends in order.
pub(super) fn take_away(left: Left) {
    if left.group.is_none() && left.root.is_none() {
        return;
    }
    lock(&LEFT).push(left);
    wake();
}

/// Has what was taken replaced, where more programs are expected.
pub(super) fn refill() {
    if ASKED.swap(false, Ordering::AcqRel) {
        wake();
    }
}

fn wake() {
    static HELPER: OnceLock<Option<mpsc::Sender<()>>> = OnceLock::new();
    let helper = HELPER.get_or_init(|| {
        let (send, wakes) = mpsc::channel();
        OURS.get_or_init(getpid);
        raw::at_exit(close);
        keeper::start("airssys-spares", move || run(&wakes)).ok().map(|()| send)
    });
    let woken = helper.as_ref().is_some_and(|helper| helper.send(()).is_ok());
    if !woken {
        let left = mem::take(&mut *lock(&LEFT));
        drop(left);
    }
}

/// Who we are: a copy of this process has no right to what is on the shelves.
static OURS: OnceLock<Pid> = OnceLock::new();

fn run(wakes: &mpsc::Receiver<()>) {
    // Whoever starts and ends programs goes before.
    raw::go_last();
    let maker = Maker::new().ok();
    let mut kept = false;
    loop {
        let woken = match kept {
            true => wakes.recv_timeout(IDLE),
            false => wakes.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
        };
        if woken == Err(mpsc::RecvTimeoutError::Disconnected) {
            return;
        }
        // What was sent meanwhile is done now.
        while wakes.try_recv().is_ok() {}
        // INVARIANT: it ends, as whoever ends the process waits for it: at most as often as there is something to do.
        while catch_unwind(AssertUnwindSafe(|| work(maker.as_ref()))).unwrap_or(false) {}
        kept = expire();
        if maker.as_ref().is_some_and(Maker::is_lost) {
            // From elsewhere it could take nothing away: from here on, whoever leaves something does.
            return;
        }
    }
}

/// Does one thing; whether there was one to do.
fn work(maker: Option<&Maker>) -> bool {
    let _working = lock(&WORK);
    if CLOSED.load(Ordering::Acquire) {
        return false;
    }
    let left = lock(&LEFT).pop();
    if let Some(left) = left {
        // The mounts first: what is in its /tmp counts for its group.
        drop(left.root);
        drop(left.group);
        return true;
    }
    let Some(maker) = maker else { return false };
    let filled = [GROUPS.fill(maker), ROOTS.fill(maker), NETWORKS.fill(maker)];
    filled.contains(&true)
}

fn expire() -> bool {
    let _working = lock(&WORK);
    let networks = NETWORKS.expire();
    let roots = ROOTS.expire();
    let groups = GROUPS.expire();
    networks || roots || groups
}

/// Removes what outlives this process: control groups. The kernel takes all else away by itself.
extern "C" fn close() {
    if OURS.get() != Some(&getpid()) {
        return;
    }
    CLOSED.store(true, Ordering::Release);
    let _working = lock(&WORK);
    let left = mem::take(&mut *lock(&LEFT));
    let groups = mem::take(&mut lock(&GROUPS.state).ready);
    drop((left, groups));
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_for_who_starts_one_after_the_other() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut state = State { ready: Vec::new(), asked: None, often: false, useless: false };
        assert!(!state.is_missing(at(0)), "nothing was started");
        assert_eq!(state.take(at(0)), None);
        assert!(!state.is_missing(at(1)), "one alone");
        assert_eq!(state.take(at(900)), None);
        assert!(state.is_missing(at(901)));
        state.ready.push(1);
        assert!(state.is_missing(at(902)));
        state.ready.push(2);
        assert!(!state.is_missing(at(903)), "that is enough");
        assert_eq!(state.take(at(1000)), Some(2));
        assert!(state.is_missing(at(1001)));
        assert_eq!(state.give_up(at(1999)), []);
        assert!(!state.is_missing(at(2000)), "nobody came");
        assert_eq!(state.give_up(at(2000)), [1]);
        assert_eq!(state.take(at(3000)), None);
        assert!(!state.is_missing(at(3001)), "the one before was long ago");
    }
}
