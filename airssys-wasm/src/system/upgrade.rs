//! Changing the code of a component that runs.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use super::{Member, Running, Runs, System};
use crate::{
    actor::{Code, Delivery, Handover, Order, Versions},
    cache::Cache,
    component::{Component, Digest},
    compose::Part,
    engine::Engine,
    error::{Error, ErrorKind},
    lineage::{Change, Switched, Version, Versioned as _},
    releases::Canary,
    service::Release,
    watch::Event,
};

impl System {
    /// Puts another version in the place of a component, between two messages. No message is lost, doubled or reordered.
    ///
    /// The new version is started beside the old one and takes its state over, as `handover` says; both have ten seconds
    /// for it, and no message is handled meanwhile. Where any of that fails, the old version goes on as if nothing had
    /// been asked; only one that breaks when it is asked for its state crashes of it. The old version stays beside the
    /// new one until that has handled something: should it crash of the first, the old one takes its place again, with
    /// the same message ([`Event::TakenBack`](crate::Event::TakenBack)).
    ///
    /// What answers requests over HTTP has no state, and workers have none: from the next request or message on it is the new
    /// version, where an instance of that can be made; what is in hand ends with the old one. [`canary`](Self::canary) goes there more slowly.
    ///
    /// It waits for its turn, behind the message in hand, for at most `patience`. The change lasts as long as the system.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`Unsupported`](ErrorKind::Unsupported): the component is a job.
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): it is not what that is, was loaded by another engine than
    ///   [`engine`](Self::engine) or without its plugs ([`load`](Self::load) has both), or has no state to keep where the manifest says `on_restart = "snapshot"`.
    /// * [`Guest`](ErrorKind::Guest): the new version did not start, is not well (`health` in the manifest; it is asked
    ///   once) or did not take the state; or the old one gave none, or what it sent meanwhile found no room within ten seconds.
    /// * [`Unavailable`](ErrorKind::Unavailable): its turn did not come, another change waits already, or the component
    ///   was stopped meanwhile.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future takes the order back, unless the component has begun with it.
    pub async fn upgrade(
        &self,
        name: &str,
        component: &Component,
        handover: Handover,
        patience: Duration,
    ) -> Result<Switched, Error> {
        let running = self.running(name)?;
        running.fits(component)?;
        match &running.runs {
            Runs::Service(service) => {
                let release = Release::new(&running.engine, component)?;
                service.stage().change(release.clone(), Change::Upgraded, service.starts(&release)).await
            }
            Runs::Workers { workers, .. } => {
                let (workers, code) = (running.here(workers)?, stateless(component)?);
                workers
                    .blueprint
                    .stage()
                    .change(code.clone(), Change::Upgraded, workers.blueprint.starts(&code))
                    .await
            }
            Runs::Actor { keeps_state: true, .. } if !component.is_stateful() => {
                let what = "keep its state: the component does not export `airssys:actor/state@0.1.0`";
                Err(Error::new(ErrorKind::InvalidComponent, what))
            }
            Runs::Actor { versions, .. } => {
                let code = Arc::new(Code::new(component)?);
                running.change(versions, code, Change::Upgraded, handover, patience).await
            }
            Runs::Job(_) => Err(running.is_job()),
        }
    }

    /// Has another version of what exports no `state` have a share of the requests or messages, until it has done as many as
    /// `canary` says; then it has all of them. The first that it breaks is the end of that, and the old version goes on: it
    /// crashes. A service breaks a request also after the head of its answer, where it is too late with that, gives no
    /// answer, or one of its own with an error or a status of 500 or more; a message is handled by the old version then. So it does where `patience` is over first, or [`withdraw`](Self::withdraw) is called.
    ///
    /// What may be the doing of a client that is slow or breaks off, or for want of room for an instance, counts neither way.
    /// What it subscribes to holds from when it has taken over.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): it is not what that is, or was loaded by another engine than
    ///   [`engine`](Self::engine) or without its plugs ([`load`](Self::load) has both).
    /// * [`Guest`](ErrorKind::Guest): it did not start, is not well, or broke at a request; the cause says how.
    /// * [`Unavailable`](ErrorKind::Unavailable): too few requests came in time, or another version is on trial.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): a share is 1 to 100 of a hundred, of at least one request.
    /// * [`Unsupported`](ErrorKind::Unsupported): the component is a job, or an actor of which a version exports `state`: what its
    ///   messages led to is in one of two instances.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the trial, and the old version goes on.
    pub async fn canary(
        &self,
        name: &str,
        component: &Component,
        canary: Canary,
        patience: Duration,
    ) -> Result<Switched, Error> {
        let running = self.running(name)?;
        running.fits(component)?;
        if !(1..=100).contains(&canary.percent) || canary.requests == 0 {
            let what = "try a version: its share is 1 to 100 of a hundred, of at least one request";
            return Err(Error::new(ErrorKind::LimitExceeded, what));
        }
        let within = (canary, patience);
        match &running.runs {
            Runs::Service(service) => {
                let release = Release::new(&running.engine, component)?;
                service.stage().try_out(release.clone(), within, service.starts(&release)).await
            }
            Runs::Workers { workers, .. } => {
                let (workers, code) = (running.here(workers)?, stateless(component)?);
                workers.blueprint.stage().try_out(code.clone(), within, workers.blueprint.starts(&code)).await
            }
            Runs::Actor { versions, blueprint, .. } => {
                if component.is_stateful() || versions.releases.settled().is_stateful() {
                    let what = format!(
                        "try a version of `{name}` beside the old one: it has a state (`airssys:actor/state@0.1.0`)"
                    );
                    return Err(Error::new(ErrorKind::Unsupported, what));
                }
                let (blueprint, code) = (running.here(blueprint)?, Arc::new(Code::new(component)?));
                blueprint.stage().try_out(code.clone(), within, blueprint.starts(&code)).await
            }
            Runs::Job(_) => Err(running.is_job()),
        }
    }

    /// Puts the version that ran before in the place of a component's version, as [`upgrade`](Self::upgrade) does. Up to
    /// four versions back are there. Where a version is on trial, that one is taken out again instead, as
    /// [`withdraw`](Self::withdraw) does.
    ///
    /// # Errors
    ///
    /// As [`upgrade`](Self::upgrade); [`NotFound`](ErrorKind::NotFound) where no version ran before, too.
    ///
    /// # Cancel safety
    ///
    /// As [`upgrade`](Self::upgrade).
    pub async fn rollback(
        &self,
        name: &str,
        handover: Handover,
        patience: Duration,
    ) -> Result<Switched, Error> {
        let running = self.running(name)?;
        let none = || Error::new(ErrorKind::NotFound, format!("roll `{name}` back: no version ran before"));
        if let Some(withdrawn) = self.withdraw(name)? {
            return Ok(withdrawn);
        }
        match &running.runs {
            Runs::Service(service) => {
                let release = service.releases.previous().ok_or_else(none)?;
                service.stage().change(release.clone(), Change::RolledBack, service.starts(&release)).await
            }
            Runs::Workers { versions, workers } => {
                let workers = running.here(workers)?;
                let code = versions.releases.previous().ok_or_else(none)?;
                workers
                    .blueprint
                    .stage()
                    .change(code.clone(), Change::RolledBack, workers.blueprint.starts(&code))
                    .await
            }
            Runs::Actor { versions, .. } => {
                let code = versions.releases.previous().ok_or_else(none)?;
                running.change(versions, code, Change::RolledBack, handover, patience).await
            }
            Runs::Job(_) => Err(running.is_job()),
        }
    }

    /// Ends the trial of a version, where there is one: the old version answers all requests again, from the next on. Who
    /// waits for [`canary`](Self::canary) is told [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the system has no such component.
    pub fn withdraw(&self, name: &str) -> Result<Option<Switched>, Error> {
        let withdrawn = match &self.running(name)?.runs {
            Runs::Service(service) => service.releases.withdraw(),
            Runs::Actor { versions, .. } | Runs::Workers { versions, .. } => versions.releases.withdraw(),
            Runs::Job(_) => None,
        };
        Ok(withdrawn.map(|(from, to)| Switched { from, to, state_bytes: None, held: Duration::ZERO }))
    }

    /// The versions that ran as a component, the one that runs now last; the latest 64.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the system has no such component.
    pub fn history(&self, name: &str) -> Result<Vec<Version>, Error> {
        Ok(match &self.running(name)?.runs {
            Runs::Service(service) => service.releases.history(),
            Runs::Actor { versions, .. } | Runs::Workers { versions, .. } => versions.releases.history(),
            Runs::Job(job) => vec![job.version],
        })
    }

    /// Loads another version of a component from its bytes: for the engine that its limits call for, and composed with what
    /// the manifest plugs into it, as that was when the system started. Otherwise as [`Component::load`].
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): what is plugged in does not fit this version; the cause says
    ///   where.
    /// * As [`Component::load`].
    ///
    /// # Cancel safety
    ///
    /// As [`Component::load`].
    pub async fn load(&self, name: &str, bytes: Vec<u8>, cache: Option<&Cache>) -> Result<Component, Error> {
        let running = self.running(name)?;
        let socket = Part { name: name.to_owned(), bytes };
        let (plugs, started) = (running.plugs.clone(), Instant::now());
        let compiling = || self.watch.event(&Event::Compiling { component: name });
        let loading = Component::load_plugged(&running.engine, socket, plugs, cache, compiling);
        let (component, origin) = loading.await?;
        self.watch.event(&Event::Loaded { component: name, origin, elapsed: started.elapsed() });
        Ok(component)
    }

    /// The engine that another version of a component has to be loaded with: its limits decide that.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the system has no such component.
    pub fn engine(&self, name: &str) -> Result<&Engine, Error> {
        Ok(&self.running(name)?.engine)
    }

    fn running(&self, name: &str) -> Result<&Running, Error> {
        let found = self.members.iter().filter_map(Member::component).find(|running| &*running.name == name);
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("find the component `{name}`")))
    }
}

impl Running {
    /// The version that runs, or that the next request goes to, but for trials.
    pub(super) fn version(&self) -> Digest {
        match &self.runs {
            Runs::Service(service) => service.releases.settled().digest(),
            Runs::Actor { versions, .. } | Runs::Workers { versions, .. } => {
                versions.releases.settled().digest()
            }
            Runs::Job(job) => job.version.digest,
        }
    }

    /// What it runs by, unless that was stopped for good.
    fn here<T>(&self, found: &Weak<T>) -> Result<Arc<T>, Error> {
        let gone = || {
            let what = format!("change the version of `{}`: it was stopped for good", self.name);
            Error::new(ErrorKind::Unavailable, what)
        };
        found.upgrade().ok_or_else(gone)
    }

    fn is_job(&self) -> Error {
        let what = format!(
            "change the version of `{}`: it is a job; name the file in the manifest and start the system again",
            self.name
        );
        Error::new(ErrorKind::Unsupported, what)
    }

    /// Whether its engine can run it, and what is plugged into it is what belongs to this one.
    fn fits(&self, component: &Component) -> Result<(), Error> {
        let unfit = |what| Err(Error::new(ErrorKind::InvalidComponent, what));
        if !wasmtime::Engine::same(component.pre().engine(), component.engine(&self.engine)?.inner()) {
            return unfit("use a component of another engine");
        }
        let plugs = component.plugs();
        if !(Arc::ptr_eq(plugs, &self.plugs) || plugs.is_empty() && self.plugs.is_empty()) {
            return unfit("use a component without what the manifest plugs into it (`System::load`)");
        }
        Ok(())
    }

    async fn change(
        &self,
        versions: &Versions,
        code: Arc<Code>,
        change: Change,
        handover: Handover,
        patience: Duration,
    ) -> Result<Switched, Error> {
        let unavailable = |why: &str| {
            Error::new(ErrorKind::Unavailable, format!("change the version of `{}`: {why}", self.name))
        };
        if versions.releases.is_on_trial() {
            return Err(unavailable("another one is on trial"));
        }
        let (answer, mut answered) = oneshot::channel();
        let number = versions.order(Order { code, change, handover, answer })?;
        // Where the mailbox is too full for this, another message is there to wake the actor.
        let _ = self.actor.try_cast(Delivery::Resume);
        if let Ok(answer) = tokio::time::timeout(patience, &mut answered).await {
            return answer.unwrap_or_else(|_| Err(unavailable("it was stopped meanwhile")));
        }
        if versions.withdraw(number) {
            return Err(unavailable("its turn did not come in time"));
        }
        // It has begun, which is soon over.
        answered.await.unwrap_or_else(|_| Err(unavailable("it was stopped meanwhile")))
    }
}

/// Another version of workers.
fn stateless(component: &Component) -> Result<Arc<Code>, Error> {
    if component.is_stateful() {
        let what = "use the component as workers: it exports `airssys:actor/state@0.1.0`";
        return Err(Error::new(ErrorKind::InvalidComponent, what));
    }
    Ok(Arc::new(Code::new(component)?))
}
