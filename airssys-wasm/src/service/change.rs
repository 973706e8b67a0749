//! Other code answers requests: from one request to the next, or after a trial on a share of them.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    Service, ask,
    releases::{Canary, Release},
    request,
};
use crate::{
    actor::{Life, health::Unwell},
    component::Digest,
    error::{Error, ErrorKind},
    lineage::{self, Change, Switched},
    trap::Trap,
    watch::Event,
};

/// How long a new version may take to be instantiated.
const START: Duration = Duration::from_secs(10);

impl Service {
    /// Has another version answer from the next request on. What is being answered goes on with the old one.
    pub(crate) async fn change(&self, release: Arc<Release>, change: Change) -> Result<Switched, Error> {
        let (from, to) = (self.releases.current(), release.digest);
        let begun = Begun::on_record(self, from, to, "begun")?;
        let changed = match self.starts(&release).await {
            Ok(()) => self.releases.switch(release, change),
            Err(error) => Err(error),
        };
        begun.told(change, changed)
    }

    /// Has another version answer a share of the requests, until it has answered enough to take over, or breaks, or
    /// `patience` is over. Dropped, the trial is over too.
    pub(crate) async fn try_out(
        &self,
        release: Arc<Release>,
        canary: Canary,
        patience: Duration,
    ) -> Result<Switched, Error> {
        let (from, to) = (self.releases.current(), release.digest);
        let begun = Begun::on_record(self, from, to, "on trial")?;
        let tried = match self.starts(&release).await {
            Ok(()) => self.attend(release, canary, patience).await,
            Err(error) => Err(error),
        };
        begun.told(Change::Upgraded, tried)
    }

    async fn attend(
        &self,
        release: Arc<Release>,
        canary: Canary,
        patience: Duration,
    ) -> Result<Digest, Error> {
        let mut trial = self.releases.begin(release, canary)?;
        match timeout(patience, trial.verdict()).await {
            Ok(verdict) => verdict,
            Err(_elapsed) => {
                // It may have been decided in this very moment.
                let (good, wanted) = (trial.good(), canary.requests);
                match trial.withdraw() {
                    Some(verdict) => verdict,
                    None => {
                        let what =
                            format!("take the new version: it answered {good} of {wanted} requests in time");
                        Err(Error::new(ErrorKind::Unavailable, what))
                    }
                }
            }
        }
    }

    /// Whether there can be an instance of it, and that is well.
    async fn starts(&self, release: &Release) -> Result<(), Error> {
        let failed = || Error::new(ErrorKind::Guest, "start the new version; the old one goes on");
        let life = Life::begin(&self.os, &self.name)?;
        match timeout(START, request::instance(self, release, &life.principal)).await {
            Ok(Ok(_)) => {}
            Ok(Err(request::Failure::Instance(error))) => return Err(failed().caused_by(error)),
            Ok(Err(request::Failure::Trap(trap))) => return Err(failed().caused_by(trap)),
            Ok(Err(_)) | Err(_) => return Err(failed().caused_by(Trap::overdue())),
        }
        let Some(health) = &self.spec.health else { return Ok(()) };
        match ask(self, release, health, &life.principal).await {
            Ok(None) => Ok(()),
            Ok(Some(why)) => Err(failed().caused_by(Unwell(why))),
            Err(no_room) => Err(failed().caused_by(no_room)),
        }
    }
}

/// A change whose begin is on the record. Its end will be, too: where it is dropped, as given up.
struct Begun<'a> {
    service: &'a Service,
    from: Digest,
    to: Digest,
    end: &'static str,
}

impl<'a> Begun<'a> {
    fn on_record(service: &'a Service, from: Digest, to: Digest, what: &str) -> Result<Self, Error> {
        lineage::record(&service.os, &service.name, from, to, what)?;
        Ok(Self { service, from, to, end: "given up" })
    }

    /// Puts its end on the record, and tells of the change.
    fn told(mut self, change: Change, changed: Result<Digest, Error>) -> Result<Switched, Error> {
        self.end = if changed.is_ok() { "done" } else { "refused" };
        let (service, to) = (self.service, self.to);
        drop(self);
        let switched = Switched { from: changed?, to, state_bytes: None, held: Duration::ZERO };
        service.watch.event(&Event::Switched { component: &service.name, change, switched });
        Ok(switched)
    }
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        lineage::record_end(&self.service.os, &self.service.name, self.from, self.to, self.end);
    }
}
