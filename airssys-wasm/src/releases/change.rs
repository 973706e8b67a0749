//! Other code takes over what has no state: from one request or message to the next, or after a trial on a share of them.

use std::{sync::Arc, time::Duration};

use airssys_osl::Os;
use tokio::time::timeout;

use super::{Canary, Releases};
use crate::{
    component::Digest,
    error::{Error, ErrorKind},
    lineage::{self, Change, Switched, Versioned},
    watch::{Event, Watch},
};

/// Where versions change: a component, its records and who is told.
pub(crate) struct Stage<'a, C> {
    pub(crate) name: &'a str,
    pub(crate) os: &'a Os,
    pub(crate) watch: &'a dyn Watch,
    pub(crate) releases: &'a Arc<Releases<C>>,
}

impl<C: Versioned> Stage<'_, C> {
    /// Has another version have what comes from the next on, where it starts. What is in hand goes on with the old one.
    pub(crate) async fn change(
        &self,
        release: Arc<C>,
        change: Change,
        starts: impl Future<Output = Result<(), Error>>,
    ) -> Result<Switched, Error> {
        let (from, to) = (self.releases.settled().digest(), release.digest());
        let begun = Begun::on_record(self, from, to, "begun")?;
        let changed = match starts.await {
            Ok(()) => self.releases.switch(release, change),
            Err(error) => Err(error),
        };
        begun.told(change, changed)
    }

    /// Has another version have a share of what comes, until it has done enough to take over, or breaks, or `patience` is
    /// over. Dropped, the trial is over too.
    pub(crate) async fn try_out(
        &self,
        release: Arc<C>,
        (canary, patience): (Canary, Duration),
        starts: impl Future<Output = Result<(), Error>>,
    ) -> Result<Switched, Error> {
        let (from, to) = (self.releases.settled().digest(), release.digest());
        let begun = Begun::on_record(self, from, to, "on trial")?;
        let tried = match starts.await {
            Ok(()) => self.attend(release, canary, patience).await,
            Err(error) => Err(error),
        };
        begun.told(Change::Upgraded, tried)
    }

    async fn attend(&self, release: Arc<C>, canary: Canary, patience: Duration) -> Result<Digest, Error> {
        let mut trial = self.releases.begin(release, canary)?;
        match timeout(patience, trial.verdict()).await {
            Ok(verdict) => verdict,
            Err(_elapsed) => {
                // It may have been decided in this very moment.
                let (good, wanted) = (trial.good(), canary.requests);
                match trial.withdraw() {
                    Some(verdict) => verdict,
                    None => {
                        let what = format!(
                            "take the new version: it answered {good} of {wanted} {} in time",
                            C::HANDLES
                        );
                        Err(Error::new(ErrorKind::Unavailable, what))
                    }
                }
            }
        }
    }
}

/// A change whose begin is on the record. Its end will be, too: where it is dropped, as given up.
struct Begun<'a> {
    name: &'a str,
    os: &'a Os,
    watch: &'a dyn Watch,
    from: Digest,
    to: Digest,
    end: &'static str,
}

impl<'a> Begun<'a> {
    fn on_record<C>(stage: &Stage<'a, C>, from: Digest, to: Digest, what: &str) -> Result<Self, Error> {
        let Stage { name, os, watch, .. } = *stage;
        lineage::record(os, name, from, to, what)?;
        Ok(Self { name, os, watch, from, to, end: "given up" })
    }

    /// Puts its end on the record, and tells of the change.
    fn told(mut self, change: Change, changed: Result<Digest, Error>) -> Result<Switched, Error> {
        self.end = if changed.is_ok() { "done" } else { "refused" };
        let (component, watch, to) = (self.name, self.watch, self.to);
        drop(self);
        let switched = Switched { from: changed?, to, state_bytes: None, held: Duration::ZERO };
        watch.event(&Event::Switched { component, change, switched });
        Ok(switched)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        lineage::record_end(self.os, self.name, self.from, self.to, self.end);
    }
}
