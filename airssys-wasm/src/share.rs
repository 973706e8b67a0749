//! The share of a processor that all instances of a component have together.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;
use wasmtime::CallHook;

use crate::engine::TICK;

/// Over how long a share is measured: who used nothing for so long may use all of it at once.
const WINDOW: Duration = Duration::from_secs(1);

/// What a component may use, and has used lately. Shared by all that is called in it.
#[derive(Debug)]
pub(crate) struct CpuShare {
    percent: u32,
    account: Mutex<Account>,
    held_back: AtomicU64,
}

/// What is left in an account, in nanoseconds: less than nothing where more was used.
#[derive(Debug, PartialEq, Eq)]
struct Account {
    balance: i128,
    at: Instant,
}

impl Account {
    fn full(percent: u32, at: Instant) -> Self {
        Self { balance: share_of(percent, WINDOW), at }
    }

    /// Takes what was used; says for how long nobody may use any more.
    fn take(&mut self, percent: u32, used: Duration, now: Instant) -> Option<Duration> {
        let earned = share_of(percent, now.saturating_duration_since(self.at));
        // Others have counted meanwhile: no time is earned twice.
        self.at = self.at.max(now);
        self.balance = (self.balance + earned).min(share_of(percent, WINDOW)) - used.as_nanos() as i128;
        let owed = (-self.balance).max(0) * 100;
        let wait = owed.checked_div(percent.into()).unwrap_or_default();
        (wait > 0).then(|| Duration::from_nanos(u64::try_from(wait).unwrap_or(u64::MAX)))
    }
}

/// The part of a time that a share gives.
fn share_of(percent: u32, time: Duration) -> i128 {
    time.as_nanos() as i128 * i128::from(percent) / 100
}

impl CpuShare {
    pub(crate) fn new(percent: u32) -> Self {
        let account = Mutex::new(Account::full(percent, Instant::now()));
        Self { percent, account, held_back: AtomicU64::new(0) }
    }

    /// How often one of its instances was held back.
    pub(crate) fn held_back(&self) -> u64 {
        self.held_back.load(Ordering::Relaxed)
    }

    /// Waits until what was used is earned, at once where nothing is owed.
    ///
    /// Cancel safety: nothing is taken.
    pub(crate) async fn earned(self: Arc<Self>, component: Arc<str>) {
        if let Some(wait) = self.take(Duration::ZERO, Instant::now()) {
            self.hold_back(&component);
            self.wait(wait).await;
        }
    }

    /// Waits for so long, and on while others have used meanwhile what it waits for: what was left owing by one that is gone
    /// is paid by all.
    async fn wait(&self, first: Duration) {
        let mut wait = Some(first);
        while let Some(time) = wait {
            tokio::time::sleep(time).await;
            wait = self.take(Duration::ZERO, Instant::now());
        }
    }

    fn hold_back(&self, component: &str) {
        if self.held_back.fetch_add(1, Ordering::Relaxed) == 0 {
            let percent = self.percent;
            tracing::warn!(component, percent, "held back: it has used its share (`limits.cpu_percent`)");
        }
    }

    fn take(&self, used: Duration, now: Instant) -> Option<Duration> {
        let mut account = self.account.lock().unwrap_or_else(PoisonError::into_inner);
        account.take(self.percent, used, now)
    }
}

/// How one instance uses the share of its component.
pub(crate) struct Usage {
    share: Arc<CpuShare>,
    /// Since when its guest runs and was not counted.
    since: Option<Instant>,
    /// Whether it is counted but not held back: others pay for it afterwards.
    pub(crate) on_credit: bool,
}

impl Usage {
    pub(crate) fn new(share: Arc<CpuShare>, on_credit: bool) -> Self {
        Self { share, since: None, on_credit }
    }

    /// Counts while the guest itself runs, and not while its host works or waits for it.
    pub(crate) fn hook(&mut self, hook: CallHook) {
        match hook {
            CallHook::CallingWasm | CallHook::ReturningFromHost => self.since = Some(Instant::now()),
            CallHook::ReturningFromWasm | CallHook::CallingHost => {
                if let Some(since) = self.since.take() {
                    let now = Instant::now();
                    self.share.take(counted(since, now), now);
                }
            }
        }
    }

    /// Counts a tick in which the guest ran. It is held back for so long where the share is used up.
    pub(crate) fn tick(&mut self, component: &str) -> Option<impl Future<Output = ()> + Send + use<>> {
        let now = Instant::now();
        let used = self.since.map_or(Duration::ZERO, |since| counted(since, now));
        let wait = self.share.take(used, now).filter(|_| !self.on_credit);
        // What it waits is not what it uses.
        self.since = Some(now + wait.unwrap_or_default());
        let wait = wait?;
        self.share.hold_back(component);
        let share = self.share.clone();
        Some(async move { share.wait(wait).await })
    }

    /// What to wait for before its guest is called, so that no call begins on what others owe.
    pub(crate) fn earned(&self, component: &Arc<str>) -> Option<impl Future<Output = ()> + Send + use<>> {
        (!self.on_credit).then(|| self.share.clone().earned(component.clone()))
    }
}

/// What counts as used between two moments. A guest that runs is seen each tick: what is longer is others' time on its
/// processor.
fn counted(since: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(since).min(TICK)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn what_was_not_used_is_kept_for_a_second() {
        let began = Instant::now();
        let mut account = Account::full(10, began);
        assert_eq!(account.take(10, 100 * MS, began), None, "all of a second's share at once");
        assert_eq!(
            account.take(10, MS, began),
            Some(10 * MS),
            "a hundredth of it takes a hundredth of a second"
        );
        assert_eq!(account.take(10, Duration::ZERO, began + 10 * MS), None);
        assert_eq!(account.take(10, 2 * MS, began + 20 * MS), Some(10 * MS));
        assert_eq!(
            account.take(10, 100 * MS, began + Duration::from_secs(3600)),
            None,
            "an hour keeps no more"
        );
        assert_eq!(
            account.take(10, 100 * MS, began + Duration::from_secs(3600)),
            Some(Duration::from_secs(1))
        );
    }

    #[test]
    fn a_share_may_be_of_several_processors() {
        let began = Instant::now();
        let mut account = Account::full(250, began);
        assert_eq!(account.take(250, Duration::from_millis(2500), began), None);
        assert_eq!(account.take(250, Duration::from_millis(5), began), Some(2 * MS));
    }

    #[test]
    fn a_time_is_earned_once_in_whatever_order_it_is_counted() {
        let began = Instant::now();
        let mut account = Account::full(10, began);
        assert_eq!(account.take(10, 200 * MS, began + 500 * MS), Some(Duration::from_secs(1)));
        account.take(10, Duration::ZERO, began);
        assert_eq!(account.take(10, Duration::ZERO, began + 500 * MS), Some(Duration::from_secs(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_begins_on_what_others_owe_but_on_credit() {
        let share = Arc::new(CpuShare::new(1));
        share.take(Duration::from_millis(30), Instant::now());
        let (next, component) = (Usage::new(share.clone(), false), Arc::from("c"));
        let mut urgent = Usage::new(share.clone(), true);
        assert!(urgent.earned(&component).is_none() && urgent.tick("c").is_none());
        assert_eq!(share.held_back(), 0);
        let began = Instant::now();
        next.earned(&component).expect("it has no credit").await;
        assert!(began.elapsed() >= Duration::from_secs(2), "of the clock that stands still");
        assert_eq!((share.held_back(), share.take(Duration::ZERO, Instant::now())), (1, None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_guest_waits_is_not_what_it_uses() {
        let share = Arc::new(CpuShare::new(1));
        let mut usage = Usage::new(share.clone(), false);
        usage.hook(CallHook::CallingWasm);
        tokio::time::advance(5 * MS).await;
        usage.hook(CallHook::CallingHost);
        tokio::time::advance(Duration::from_millis(500)).await;
        usage.hook(CallHook::ReturningFromHost);
        tokio::time::advance(5 * MS).await;
        assert!(usage.tick("c").is_none(), "what it used was earned again while its host waited");
        tokio::time::advance(TICK).await;
        let (wait, began) = (usage.tick("c").expect("a hundredth of a processor is used up"), Instant::now());
        wait.await;
        // It had five milliseconds left, and used ten.
        assert!(began.elapsed() > Duration::from_millis(400), "of the clock that stands still");
        assert_eq!(share.take(Duration::ZERO, Instant::now()), None, "it was held back for long enough");
        tokio::time::advance(Duration::from_secs(60)).await;
        usage.hook(CallHook::ReturningFromWasm);
        assert_eq!(share.held_back(), 1);
        assert_eq!(share.take(Duration::ZERO, Instant::now()), None, "of a long time one tick counts");
    }
}
