//! Changing the code of a component that runs.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{Member, Running, System};
use crate::{
    actor::{Code, Delivery, Handover, Order, Versions},
    cache::Cache,
    component::{Component, Digest},
    compose::Part,
    engine::Engine,
    error::{Error, ErrorKind},
    lineage::{Change, Switched, Version},
    service::{Canary, Release},
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
    /// What answers requests over HTTP has no state: from the next request on it is the new version, where an instance of
    /// that can be made; requests in hand end with the old one. [`canary`](Self::canary) goes there more slowly.
    ///
    /// It waits for its turn, behind the message in hand, for at most `patience`. The change lasts as long as the system.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): it is no actor, was loaded by another engine than
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
        if let Some(service) = &running.service {
            return service.change(Release::new(component)?, Change::Upgraded).await;
        }
        if running.keeps_state && !component.is_stateful() {
            let what = "keep its state: the component does not export `airssys:actor/state@0.1.0`";
            return Err(Error::new(ErrorKind::InvalidComponent, what));
        }
        running.change(Arc::new(Code::new(component)?), Change::Upgraded, handover, patience).await
    }

    /// Has another version answer a share of the requests over HTTP, until it has answered as many as `canary` says; then it
    /// answers all of them. The first request that it breaks is the end of that, and the old version goes on: it crashes,
    /// before or after the head of its answer, is too late with that, gives no answer, or one of its own with an error or a
    /// status of 500 or more. So it does where `patience` is over first, or [`withdraw`](Self::withdraw) is called.
    ///
    /// What may be the doing of a client that is slow or breaks off, or for want of room for an instance, counts neither way.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): it answers no requests, or was loaded by another engine than
    ///   [`engine`](Self::engine) or without its plugs ([`load`](Self::load) has both).
    /// * [`Guest`](ErrorKind::Guest): it did not start, is not well, or broke at a request; the cause says how.
    /// * [`Unavailable`](ErrorKind::Unavailable): too few requests came in time, or another version is on trial.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): a share is 1 to 100 of a hundred, of at least one request.
    /// * [`Unsupported`](ErrorKind::Unsupported): the component is an actor, whose messages cannot go to two versions.
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
        let Some(service) = &running.service else {
            let what =
                format!("try a version of `{name}` beside the old one: it is an actor, and has a state");
            return Err(Error::new(ErrorKind::Unsupported, what));
        };
        if !(1..=100).contains(&canary.percent) || canary.requests == 0 {
            let what = "try a version: its share is 1 to 100 of a hundred, of at least one request";
            return Err(Error::new(ErrorKind::LimitExceeded, what));
        }
        service.try_out(Release::new(component)?, canary, patience).await
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
        if let Some(service) = &running.service {
            if let Some(withdrawn) = self.withdraw(name)? {
                return Ok(withdrawn);
            }
            let release = service.releases.previous().ok_or_else(none)?;
            return service.change(release, Change::RolledBack).await;
        }
        let code = running.versions()?.previous().ok_or_else(none)?;
        running.change(code, Change::RolledBack, handover, patience).await
    }

    /// Ends the trial of a version, where there is one: the old version answers all requests again, from the next on. Who
    /// waits for [`canary`](Self::canary) is told [`Unavailable`](ErrorKind::Unavailable).
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the system has no such component.
    pub fn withdraw(&self, name: &str) -> Result<Option<Switched>, Error> {
        let Some(service) = &self.running(name)?.service else { return Ok(None) };
        let switched = |(from, to)| Switched { from, to, state_bytes: None, held: Duration::ZERO };
        Ok(service.releases.withdraw().map(switched))
    }

    /// The versions that ran as a component, the one that runs now last; the latest 64.
    ///
    /// # Errors
    ///
    /// [`NotFound`](ErrorKind::NotFound): the system has no such component.
    pub fn history(&self, name: &str) -> Result<Vec<Version>, Error> {
        let running = self.running(name)?;
        match &running.service {
            Some(service) => Ok(service.releases.history()),
            None => Ok(running.versions()?.history()),
        }
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
        let plugs = running.plugs.clone();
        Ok(Component::load_plugged(&running.engine, socket, plugs, cache, || ()).await?.0)
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
    pub(super) fn version(&self) -> Option<Digest> {
        let of_service = self.service.as_ref().map(|service| service.releases.current());
        of_service.or_else(|| self.versions.as_ref().map(|versions| versions.current().digest))
    }

    fn versions(&self) -> Result<&Versions, Error> {
        let bug = || Error::new(ErrorKind::Bug, format!("find the versions of `{}`", self.name));
        self.versions.as_deref().ok_or_else(bug)
    }

    /// Whether its engine can run it, and what is plugged into it is what belongs to this one.
    fn fits(&self, component: &Component) -> Result<(), Error> {
        let unfit = |what| Err(Error::new(ErrorKind::InvalidComponent, what));
        if !wasmtime::Engine::same(component.pre().engine(), self.engine.inner()) {
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
        code: Arc<Code>,
        change: Change,
        handover: Handover,
        patience: Duration,
    ) -> Result<Switched, Error> {
        let unavailable = |why: &str| {
            Error::new(ErrorKind::Unavailable, format!("change the version of `{}`: {why}", self.name))
        };
        let (answer, mut answered) = oneshot::channel();
        let versions = self.versions()?;
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
