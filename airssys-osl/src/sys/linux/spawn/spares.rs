//! What the next program begins with, made while nobody waits for it; and taking away what the last one leaves.
//!
//! A network of its own, the beginnings of a root and a control group cost more than all else of a start, and are the same
//! for every program. A few of each are kept where programs are started one after the other, and only as long as that goes
//! on: docs/adr/0018-spares.md.
//!
//! INVARIANT: what was taken never comes back. No two programs have had the same one.

use std::{
    collections::VecDeque,
    mem,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError, TryLockError,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, getpid};

use super::{
    cgroup::{self, Group},
    keeper,
    maker::Maker,
    raw,
};
use crate::os::Fault;

/// How many of each are kept at most.
const READY: usize = 2;

/// How long ago the last program may have been started for another one to be expected.
const IDLE: Duration = Duration::from_secs(1);

/// How long none are made of a kind of which one could not be made.
const PAUSE: Duration = Duration::from_secs(60);

/// How many programs may have left something before who starts the next takes one away himself.
const MOST_LEFT: usize = 32;

/// How often, and after which pauses, the end of this process asks for what is at work to be done.
const LAST_TRIES: usize = 100;
const LAST_PAUSE: Duration = Duration::from_millis(10);

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
    /// The first that was made is the first to be taken, so none becomes old where programs are started.
    ready: VecDeque<T>,
    /// When somebody asked for one last.
    asked: Option<Instant>,
    /// Whether the one before was not long ago.
    often: bool,
    /// When one could not be made: here they cannot, or there was something too few.
    failed: Option<Instant>,
}

impl<T> Shelf<T> {
    const fn new(make: fn(&Maker) -> Result<T, Fault>) -> Self {
        let state = State { ready: VecDeque::new(), asked: None, often: false, failed: None };
        Self { make, state: Mutex::new(state) }
    }

    /// Takes one, if one is ready: nobody waits for it to be made.
    pub(super) fn take(&self) -> Option<T> {
        ASKED.store(true, Ordering::Release);
        lock(&self.state).take(Instant::now())
    }

    fn is_missing(&self, now: Instant) -> bool {
        lock(&self.state).is_missing(now)
    }

    /// Makes one where one is missing; whether it did.
    fn fill(&self, maker: &Maker) -> bool {
        if !self.is_missing(Instant::now()) {
            return false;
        }
        // Whoever takes one does not wait for this.
        let made = (self.make)(maker);
        let mut state = lock(&self.state);
        match made {
            Ok(made) => state.ready.push_back(made),
            Err(_) => state.failed = Some(Instant::now()),
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
        self.ready.pop_front()
    }

    fn is_missing(&self, now: Instant) -> bool {
        let pauses = self.failed.is_some_and(|failed| now.saturating_duration_since(failed) < PAUSE);
        self.often && !pauses && self.is_expected(now) && self.ready.len() < READY
    }

    fn give_up(&mut self, now: Instant) -> VecDeque<T> {
        if self.is_expected(now) { VecDeque::new() } else { mem::take(&mut self.ready) }
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

static LEFT: Mutex<VecDeque<Left>> = Mutex::new(VecDeque::new());
/// Held while control groups are made or removed: they outlive us, where nobody does that. It is done soon.
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
    lock(&LEFT).push_back(left);
    wake();
}

/// Takes away what the first of them left; false where there is none.
fn take_first_away() -> bool {
    // The mounts first: what is in its /tmp counts for its group. That may take its time, and who ends this process finds
    // the group all the same.
    let Some(root) = lock(&LEFT).front_mut().map(|left| left.root.take()) else { return false };
    drop(root);
    let _working = lock(&WORK);
    let gone = lock(&LEFT).pop_front_if(|left| left.root.is_none());
    drop(gone);
    true
}

/// Takes away what there is too much of, while who starts programs waits for that.
pub(super) fn relieve() {
    let too_many = || lock(&LEFT).len() > MOST_LEFT;
    while too_many() && take_first_away() {}
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
        while take_first_away() {}
    }
}

/// Who we are: a copy of this process has no right to what is on the shelves.
static OURS: OnceLock<Pid> = OnceLock::new();

fn run(wakes: &mpsc::Receiver<()>) {
    // Whoever starts and ends programs goes before. A handler that ends the process would wait for this thread.
    raw::go_last();
    raw::block_signals();
    let mut maker = Making::NotYet;
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
        // It ends: at most as often as there is something to do.
        while catch_unwind(AssertUnwindSafe(|| work(&mut maker))).unwrap_or(false) {}
        if maker.is_lost() {
            // From elsewhere it could take nothing away: from here on, whoever leaves something does.
            return;
        }
        kept = expire();
    }
}

/// What makes them: it costs as much as some of them, and who starts one program alone needs none.
enum Making {
    NotYet,
    By(Maker),
    /// Here they cannot be made.
    Never,
}

impl Making {
    fn is_lost(&self) -> bool {
        matches!(self, Self::By(maker) if maker.is_lost())
    }

    /// What makes them, if there are any to be made.
    fn needed(&mut self) -> Option<&Maker> {
        let now = Instant::now();
        if matches!(self, Self::NotYet)
            && (GROUPS.is_missing(now) || ROOTS.is_missing(now) || NETWORKS.is_missing(now))
        {
            *self = Maker::new().map_or(Self::Never, Self::By);
        }
        match self {
            Self::By(maker) => Some(maker),
            Self::NotYet | Self::Never => None,
        }
    }
}

/// Does one thing of each kind; whether there was any to do.
fn work(maker: &mut Making) -> bool {
    if CLOSED.load(Ordering::Acquire) || maker.is_lost() {
        return false;
    }
    let had_left = take_first_away();
    let Some(maker) = maker.needed() else { return had_left };
    let grouped = {
        let _working = lock(&WORK);
        !CLOSED.load(Ordering::Acquire) && GROUPS.fill(maker)
    };
    // One that does not find back makes nothing more.
    let rooted = ROOTS.fill(maker);
    let networked = !maker.is_lost() && NETWORKS.fill(maker);
    had_left || grouped || rooted || networked
}

fn expire() -> bool {
    let networks = NETWORKS.expire();
    let roots = ROOTS.expire();
    let _working = lock(&WORK);
    let groups = GROUPS.expire();
    networks || roots || groups
}

/// Removes what outlives this process: control groups. The kernel takes all else away by itself.
extern "C" fn close() {
    if OURS.get() != Some(&getpid()) {
        return;
    }
    CLOSED.store(true, Ordering::Release);
    // A group is made and removed in no time. Where the machine needs longer, the next of us sweeps away what stays.
    let working = (0..LAST_TRIES).find_map(|_| {
        let working = match WORK.try_lock() {
            Err(TryLockError::WouldBlock) => None,
            Err(TryLockError::Poisoned(working)) => Some(working.into_inner()),
            Ok(working) => Some(working),
        };
        if working.is_none() {
            thread::sleep(LAST_PAUSE);
        }
        working
    });
    let left = mem::take(&mut *lock(&LEFT));
    let groups = mem::take(&mut lock(&GROUPS.state).ready);
    // What saw the mounts goes with us.
    let left: Vec<_> = left.into_iter().filter_map(|left| left.group).collect();
    drop((left, groups));
    cgroup::remove_last();
    drop(working);
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
        let mut state = State { ready: VecDeque::new(), asked: None, often: false, failed: None };
        assert!(!state.is_missing(at(0)), "nothing was started");
        assert_eq!(state.take(at(0)), None);
        assert!(!state.is_missing(at(1)), "one alone");
        assert_eq!(state.take(at(900)), None);
        assert!(state.is_missing(at(901)));
        state.ready.push_back(1);
        assert!(state.is_missing(at(902)));
        state.ready.push_back(2);
        assert!(!state.is_missing(at(903)), "that is enough");
        assert_eq!(state.take(at(1000)), Some(1));
        assert!(state.is_missing(at(1001)));
        assert!(state.give_up(at(1999)).is_empty());
        assert!(!state.is_missing(at(2000)), "nobody came");
        assert_eq!(state.give_up(at(2000)), [2]);
        assert_eq!(state.take(at(3000)), None);
        assert!(!state.is_missing(at(3001)), "the one before was long ago");
        assert_eq!(state.take(at(3002)), None);
        state.failed = Some(at(3003));
        assert!(!state.is_missing(at(3004)), "it failed just now");
        assert_eq!(state.take(at(62_900)), None);
        assert_eq!(state.take(at(63_100)), None);
        assert!(state.is_missing(at(63_101)), "that was long ago");
    }
}
