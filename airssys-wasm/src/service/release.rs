//! One version of what answers requests.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{Service, ask, request};
use crate::{
    actor::{Life, health::Unwell},
    component::{Component, Digest, Handler},
    engine::Engine,
    error::{Error, ErrorKind},
    lineage::Versioned,
    releases::Stage,
    trap::Trap,
};

/// How long a new version may take to be instantiated.
const START: Duration = Duration::from_secs(10);

/// One version of a service's code, ready to be instantiated.
pub(crate) struct Release {
    digest: Digest,
    /// The one that it was compiled for.
    pub(super) engine: Engine,
    pub(super) handler: Handler,
}

impl Release {
    /// # Errors
    ///
    /// [`InvalidComponent`](ErrorKind::InvalidComponent): it does not export a handler of `wasi:http`.
    pub(crate) fn new(engine: &Engine, component: &Component) -> Result<Arc<Self>, Error> {
        let (engine, handler) = (component.engine(engine)?, component.service()?);
        Ok(Arc::new(Self { digest: component.digest(), engine, handler }))
    }
}

impl Versioned for Release {
    const HANDLES: &str = "requests";

    fn digest(&self) -> Digest {
        self.digest
    }
}

impl Service {
    /// Where its versions change.
    pub(crate) fn stage(&self) -> Stage<'_, Release> {
        Stage { name: &self.name, os: &self.os, watch: &*self.watch, releases: &self.releases }
    }

    /// Whether there can be an instance of a version, and that is well.
    pub(crate) async fn starts(&self, release: &Release) -> Result<(), Error> {
        let failed = || Error::new(ErrorKind::Guest, "start the new version; the old one goes on");
        let life = Life::begin(&self.os, &self.name)?;
        match timeout(START, request::instance(self, release, &life.principal, true)).await {
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
