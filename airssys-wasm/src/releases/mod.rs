//! Which code of a component has what comes next: one version, or for a while an old one and a new one side by side. No
//! request and no message goes to two, but for one at which a version on trial breaks.

mod change;

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::oneshot;

pub(crate) use self::change::Stage;
use crate::{
    component::Digest,
    error::{Error, ErrorKind},
    lineage::{Change, Lineage, Version, Versioned},
};

/// How a new version of what answers requests, or handles messages without a state, is tried before all of them go to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// How many of a hundred requests or messages it gets: 1 to 100.
    pub percent: u8,
    /// After how many that it did well it takes over: answered with a status below 500, or handled, and no crash after it.
    pub requests: u32,
}

/// What a request or a message says about the version that had it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did it, and returned.
    Good,
    /// It broke; this is how.
    Broke(String),
    /// Nothing: somebody else may be to blame.
    Open,
}

/// What a trial came to: the version that was replaced, or why none was.
type Told = Result<Digest, Error>;

/// The versions of one component.
pub(crate) struct Releases<C> {
    inner: Mutex<Inner<C>>,
    /// Whether a version is on trial: looked at for each message of an actor, where a lock would be one too many.
    is_on_trial: AtomicBool,
}

struct Inner<C> {
    lineage: Lineage<C>,
    trial: Option<Trial<C>>,
}

/// A new version beside the current one.
struct Trial<C> {
    release: Arc<C>,
    canary: Canary,
    /// What both versions got since it began.
    asked: u64,
    /// What the new version did well.
    good: u32,
    tell: oneshot::Sender<Told>,
}

impl<C: Versioned> Releases<C> {
    pub(crate) fn new(release: Arc<C>) -> Self {
        let inner = Inner { lineage: Lineage::new(release), trial: None };
        Self { inner: Mutex::new(inner), is_on_trial: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<C>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is on trial off it.
    fn end_trial(&self, inner: &mut Inner<C>) -> Option<Trial<C>> {
        self.is_on_trial.store(false, Ordering::Release);
        inner.trial.take()
    }

    /// Whether a version is on trial.
    pub(crate) fn is_on_trial(&self) -> bool {
        self.is_on_trial.load(Ordering::Acquire)
    }

    /// The version that has the next request or message.
    pub(crate) fn next(&self) -> Arc<C> {
        let mut inner = self.lock();
        if let Some(trial) = &mut inner.trial {
            let is_its = is_due(trial.asked, trial.canary.percent);
            trial.asked = trial.asked.wrapping_add(1);
            if is_its {
                return trial.release.clone();
            }
        }
        inner.lineage.current().clone()
    }

    /// Notes how a request or a message ended with the version that had it. The first that breaks ends its trial; enough that
    /// do not have it take over. Of a version that is not on trial (any more) this says nothing.
    pub(crate) fn ended(&self, release: &Arc<C>, verdict: Verdict) {
        if verdict == Verdict::Open {
            return;
        }
        let mut inner = self.lock();
        let Some(trial) = inner.trial.as_mut().filter(|trial| Arc::ptr_eq(&trial.release, release)) else {
            return;
        };
        if verdict == Verdict::Good {
            trial.good += 1;
            if trial.good < trial.canary.requests {
                return;
            }
        }
        let Some(Trial { good, tell, .. }) = self.end_trial(&mut inner) else { return };
        let told = match verdict {
            Verdict::Broke(why) => {
                let what = format!(
                    "take the new version: it broke after {good} good {}; the old one goes on",
                    C::HANDLES
                );
                Err(Error::new(ErrorKind::Guest, what).caused_by(why))
            }
            _ => Ok(inner.lineage.switch(release.clone(), Change::Upgraded).digest()),
        };
        // Who asked for it and went away took the trial with them.
        let _ = tell.send(told);
    }

    /// Puts a version in the place of the current one, for all that comes from the next on. It goes back only to the version
    /// that ran before: another change may have come first.
    fn switch(&self, release: Arc<C>, change: Change) -> Result<Digest, Error> {
        let mut inner = self.lock();
        if inner.trial.is_some() {
            return Err(busy());
        }
        let is_last = || inner.lineage.previous().last().is_some_and(|last| Arc::ptr_eq(last, &release));
        if change == Change::RolledBack && !is_last() {
            return Err(Error::new(ErrorKind::Unavailable, "roll back: another change came first"));
        }
        Ok(inner.lineage.switch(release, change).digest())
    }

    /// The same for an actor, which is about to run it: gives the versions that could be rolled back to so far. A trial that
    /// began meanwhile is over.
    pub(crate) fn put(&self, release: Arc<C>, change: Change) -> Vec<Arc<C>> {
        let mut inner = self.lock();
        if let Some(Trial { tell, .. }) = self.end_trial(&mut inner) {
            let what = "try the new version: another change came first";
            // Who asked for it may have gone away.
            let _ = tell.send(Err(Error::new(ErrorKind::Unavailable, what)));
        }
        let before = inner.lineage.previous().to_vec();
        inner.lineage.switch(release, change);
        before
    }

    /// Notes that a switch was undone. `previous` is what [`put`](Self::put) gave.
    pub(crate) fn take_back(&self, release: Arc<C>, previous: Vec<Arc<C>>) {
        self.lock().lineage.take_back(release, previous);
    }

    /// Begins a trial.
    fn begin(self: &Arc<Self>, release: Arc<C>, canary: Canary) -> Result<OnTrial<C>, Error> {
        let (tell, told) = oneshot::channel();
        let mut inner = self.lock();
        if inner.trial.is_some() {
            return Err(busy());
        }
        inner.trial = Some(Trial { release: release.clone(), canary, asked: 0, good: 0, tell });
        self.is_on_trial.store(true, Ordering::Release);
        Ok(OnTrial { releases: self.clone(), release, told })
    }

    /// Ends the trial, where there is one: the version that was on trial, and the one that goes on.
    pub(crate) fn withdraw(&self) -> Option<(Digest, Digest)> {
        let mut inner = self.lock();
        let Trial { release, good, tell, .. } = self.end_trial(&mut inner)?;
        let what = format!(
            "take the new version: its trial was ended after {good} good {}; the old one goes on",
            C::HANDLES
        );
        // Who asked for it may have gone away in this very moment.
        let _ = tell.send(Err(Error::new(ErrorKind::Unavailable, what)));
        Some((release.digest(), inner.lineage.current().digest()))
    }

    /// The version that runs, but for trials.
    pub(crate) fn settled(&self) -> Arc<C> {
        self.lock().lineage.current().clone()
    }

    /// The version that a rollback goes to.
    pub(crate) fn previous(&self) -> Option<Arc<C>> {
        self.lock().lineage.previous().last().cloned()
    }

    pub(crate) fn history(&self) -> Vec<Version> {
        self.lock().lineage.history()
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "change the version: another one is on trial")
}

/// Whether what comes after `asked` others is one of so many of a hundred, as evenly as can be.
fn is_due(asked: u64, percent: u8) -> bool {
    let nth = asked % 100;
    let percent = u64::from(percent);
    (nth + 1) * percent / 100 > nth * percent / 100
}

/// A version on trial. Dropped, the trial is over, and the old version goes on.
struct OnTrial<C: Versioned> {
    releases: Arc<Releases<C>>,
    release: Arc<C>,
    told: oneshot::Receiver<Told>,
}

impl<C: Versioned> OnTrial<C> {
    /// What the trial comes to.
    async fn verdict(&mut self) -> Told {
        let gone =
            || Err(Error::new(ErrorKind::Unavailable, "try the new version: the component was stopped"));
        (&mut self.told).await.unwrap_or_else(|_| gone())
    }

    /// Ends the trial; the verdict, where there was one already.
    fn withdraw(mut self) -> Option<Told> {
        self.end();
        self.told.try_recv().ok()
    }

    fn end(&self) {
        let mut inner = self.releases.lock();
        if inner.trial.as_ref().is_some_and(|trial| Arc::ptr_eq(&trial.release, &self.release)) {
            self.releases.end_trial(&mut inner);
        }
    }

    /// How many it has done well.
    fn good(&self) -> u32 {
        let inner = self.releases.lock();
        let trial = inner.trial.as_ref().filter(|trial| Arc::ptr_eq(&trial.release, &self.release));
        trial.map_or(0, |trial| trial.good)
    }
}

impl<C: Versioned> Drop for OnTrial<C> {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A version that is not run.
    struct Named;

    impl Versioned for Named {
        const HANDLES: &str = "requests";

        fn digest(&self) -> Digest {
            Digest::of(b"")
        }
    }

    #[track_caller]
    fn check(percent: u8, first: &[u64]) {
        let due: Vec<u64> = (0..300).filter(|asked| is_due(*asked, percent)).collect();
        assert_eq!(due.len(), usize::from(percent) * 3, "{percent} of each hundred");
        assert_eq!(due.get(..first.len()), Some(first), "{percent}");
    }

    fn two() -> (Arc<Named>, Arc<Named>) {
        (Arc::new(Named), Arc::new(Named))
    }

    #[test]
    fn a_rollback_that_an_upgrade_overtakes_is_none() {
        let (first, second) = two();
        let releases = Releases::new(first.clone());
        releases.switch(second.clone(), Change::Upgraded).unwrap();
        let back = releases.previous().unwrap();
        assert!(Arc::ptr_eq(&back, &first));
        releases.switch(first.clone(), Change::Upgraded).unwrap();
        let error = releases.switch(back, Change::RolledBack).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        releases.switch(second, Change::RolledBack).unwrap();
    }

    #[tokio::test]
    async fn a_trial_counts_what_is_good_and_can_be_withdrawn() {
        let (old, new) = two();
        let releases = Arc::new(Releases::new(old));
        let mut trial = releases.begin(new.clone(), Canary { percent: 100, requests: 2 }).unwrap();
        releases.ended(&new, Verdict::Open);
        releases.ended(&new, Verdict::Good);
        releases.ended(&new, Verdict::Open);
        assert_eq!(trial.good(), 1);
        assert!(releases.withdraw().is_some());
        assert!(releases.withdraw().is_none());
        let error = trial.verdict().await.unwrap_err();
        assert!(error.to_string().contains("ended after 1 good"), "{error}");
        assert!(!Arc::ptr_eq(&releases.next(), &new));
    }

    #[test]
    fn a_share_is_spread_evenly() {
        check(1, &[99, 199, 299]);
        check(10, &[9, 19, 29]);
        check(50, &[1, 3, 5]);
        check(100, &[0, 1, 2]);
        check(99, &[1, 2, 3]);
    }
}
