//! One version of what answers requests.

use std::{sync::Arc, time::Duration};

use tokio::time::timeout;
use wasmtime_wasi_http::p2::bindings::ProxyPre;

use super::{Service, ask, request};
use crate::{
    actor::{Life, health::Unwell},
    component::{Component, Digest},
    error::{Error, ErrorKind},
    instance::State,
    lineage::Versioned,
    releases::Stage,
    trap::Trap,
};

/// How long a new version may take to be instantiated.
const START: Duration = Duration::from_secs(10);

/// One version of a service's code, ready to be instantiated.
pub(crate) struct Release {
    digest: Digest,
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
