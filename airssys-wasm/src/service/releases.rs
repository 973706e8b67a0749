//! Which code answers requests: one version, or for a while an old one and a new one side by side. No request is asked of
//! two.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::verdict::Verdict;
use crate::{
    component::{Component, Digest},
    error::{Error, ErrorKind},
    instance::State,
    lineage::{Change, Lineage, Version, Versioned},
};

/// How a new version of what answers requests is tried before all of them go to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Canary {
    /// How many of a hundred requests it gets: 1 to 100.
    pub percent: u8,
    /// After how many requests that it answered well it takes over: a status below 500, and no crash after it.
    pub requests: u32,
}

/// One version of a service's code, ready to be instantiated.
pub(crate) struct Release {
    pub(super) digest: Digest,
    pub(super) pre: ProxyPre<State>,
}

impl Release {
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export the handler of `wasi:http`.
    pub(crate) fn new(component: &Component) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self { digest: component.digest(), pre: component.service()? }))
    }
}

impl Versioned for Release {
    fn digest(&self) -> Digest {
        self.digest
    }
}

/// What a trial came to: the version that was replaced, or why none was.
type Told = Result<Digest, Error>;

/// The versions of one service.
pub(crate) struct Releases(Mutex<Inner>);

struct Inner {
    lineage: Lineage<Release>,
    trial: Option<Trial>,
}

/// A new version beside the current one.
struct Trial {
    release: Arc<Release>,
    canary: Canary,
    /// The requests of both versions since it began.
    asked: u64,
    /// Those that the new version answered well.
    good: u32,
    tell: oneshot::Sender<Told>,
}

impl Releases {
    pub(crate) fn new(release: Arc<Release>) -> Self {
        Self(Mutex::new(Inner { lineage: Lineage::new(release), trial: None }))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The version that answers the next request.
    pub(super) fn next(&self) -> Arc<Release> {
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

    /// Notes how a request ended with the version that had it. The first that breaks ends its trial; enough that do not
    /// have it take over. Of a version that is not on trial (any more) this says nothing.
    pub(super) fn ended(&self, release: &Arc<Release>, verdict: Verdict) {
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
        let Some(Trial { good, tell, .. }) = inner.trial.take() else { return };
        let told = match verdict {
            Verdict::Broke(why) => {
                let what =
                    format!("take the new version: it broke after {good} good requests; the old one goes on");
                Err(Error::new(ErrorKind::Guest, what).caused_by(why))
            }
            _ => Ok(inner.lineage.switch(release.clone(), Change::Upgraded).digest),
        };
        // Who asked for it and went away took the trial with them.
        let _ = tell.send(told);
    }

    /// Puts a version in the place of the current one, for all requests from the next on. It goes back only to the version
    /// that ran before: another change may have come first.
    pub(super) fn switch(&self, release: Arc<Release>, change: Change) -> Result<Digest, Error> {
        let mut inner = self.lock();
        if inner.trial.is_some() {
            return Err(busy());
        }
        let is_last = || inner.lineage.previous().last().is_some_and(|last| Arc::ptr_eq(last, &release));
        if change == Change::RolledBack && !is_last() {
            return Err(Error::new(ErrorKind::Unavailable, "roll back: another change came first"));
        }
        Ok(inner.lineage.switch(release, change).digest)
    }

    /// Begins a trial.
    pub(super) fn begin(self: &Arc<Self>, release: Arc<Release>, canary: Canary) -> Result<OnTrial, Error> {
        let (tell, told) = oneshot::channel();
        let mut inner = self.lock();
        if inner.trial.is_some() {
            return Err(busy());
        }
        inner.trial = Some(Trial { release: release.clone(), canary, asked: 0, good: 0, tell });
        Ok(OnTrial { releases: self.clone(), release, told })
    }

    /// Ends the trial, where there is one: the version that was on trial, and the one that goes on.
    pub(crate) fn withdraw(&self) -> Option<(Digest, Digest)> {
        let mut inner = self.lock();
        let Trial { release, good, tell, .. } = inner.trial.take()?;
        let what = format!(
            "take the new version: its trial was ended after {good} good requests; the old one goes on"
        );
        // Who asked for it may have gone away in this very moment.
        let _ = tell.send(Err(Error::new(ErrorKind::Unavailable, what)));
        Some((release.digest, inner.lineage.current().digest))
    }

    /// The version that answers, but for trials.
    pub(crate) fn current(&self) -> Digest {
        self.settled().digest
    }

    /// The same, to be asked.
    pub(super) fn settled(&self) -> Arc<Release> {
        self.lock().lineage.current().clone()
    }

    /// The version that a rollback goes to.
    pub(crate) fn previous(&self) -> Option<Arc<Release>> {
        self.lock().lineage.previous().last().cloned()
    }

    pub(crate) fn history(&self) -> Vec<Version> {
        self.lock().lineage.history()
    }
}

fn busy() -> Error {
    Error::new(ErrorKind::Unavailable, "change the version: another one is on trial")
}

/// Whether the request after `asked` others is one of so many of a hundred, as evenly as can be.
fn is_due(asked: u64, percent: u8) -> bool {
    let nth = asked % 100;
    let percent = u64::from(percent);
    (nth + 1) * percent / 100 > nth * percent / 100
}

/// A version on trial. Dropped, the trial is over, and the old version goes on.
pub(super) struct OnTrial {
    releases: Arc<Releases>,
    release: Arc<Release>,
    told: oneshot::Receiver<Told>,
}

impl OnTrial {
    /// What the trial comes to.
    pub(super) async fn verdict(&mut self) -> Told {
        let gone = || Err(Error::new(ErrorKind::Unavailable, "try the new version: the service was stopped"));
        (&mut self.told).await.unwrap_or_else(|_| gone())
    }

    /// Ends the trial; the verdict, where there was one already.
    pub(super) fn withdraw(mut self) -> Option<Told> {
        self.end();
        self.told.try_recv().ok()
    }

    fn end(&self) {
        let mut inner = self.releases.lock();
        if inner.trial.as_ref().is_some_and(|trial| Arc::ptr_eq(&trial.release, &self.release)) {
            inner.trial = None;
        }
    }

    /// How many requests it has answered.
    pub(super) fn good(&self) -> u32 {
        let inner = self.releases.lock();
        let trial = inner.trial.as_ref().filter(|trial| Arc::ptr_eq(&trial.release, &self.release));
        trial.map_or(0, |trial| trial.good)
    }
}

impl Drop for OnTrial {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Engine;

    #[track_caller]
    fn check(percent: u8, first: &[u64]) {
        let due: Vec<u64> = (0..300).filter(|asked| is_due(*asked, percent)).collect();
        assert_eq!(due.len(), usize::from(percent) * 3, "{percent} of each hundred");
        assert_eq!(due.get(..first.len()), Some(first), "{percent}");
    }

    async fn two() -> (Arc<Release>, Arc<Release>) {
        let bytes = include_bytes!("../../tests/fixtures/web.wasm").to_vec();
        let engine = Engine::new().unwrap();
        let component = Component::load(&engine, bytes, None, || ()).await.unwrap().0;
        (Release::new(&component).unwrap(), Release::new(&component).unwrap())
    }

    #[tokio::test]
    async fn a_rollback_that_an_upgrade_overtakes_is_none() {
        let (first, second) = two().await;
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
        let (old, new) = two().await;
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
