//! Changing the code of a component that runs.

use std::{sync::Arc, time::Duration};

use tokio::sync::oneshot;

use super::{Member, Running, System};
use crate::{
    actor::{Change, Code, Delivery, Handover, Order, Switched, Version, Versions},
    component::Component,
    engine::Engine,
    error::{Error, ErrorKind},
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
    /// It waits for its turn, behind the message in hand, for at most `patience`. The change lasts as long as the system.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`InvalidComponent`](ErrorKind::InvalidComponent): it is no actor, was loaded by another engine than
    ///   [`engine`](Self::engine), or has no state to keep where the manifest says `on_restart = "snapshot"`.
    /// * [`Guest`](ErrorKind::Guest): the new version did not start, or did not take the state; or the old one gave none.
    /// * [`Unavailable`](ErrorKind::Unavailable): its turn did not come, another change waits already, or the component
    ///   was stopped meanwhile.
    /// * [`Unsupported`](ErrorKind::Unsupported): it answers requests over HTTP.
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
        running.versions()?;
        let unusable = |what: &str| Err(Error::new(ErrorKind::InvalidComponent, what));
        if !wasmtime::Engine::same(component.pre().engine(), running.engine.inner()) {
            return unusable("use a component of another engine");
        }
        if running.keeps_state && !component.is_stateful() {
            return unusable("keep its state: the component does not export `airssys:actor/state@0.1.0`");
        }
        running.change(Arc::new(Code::new(component)?), Change::Upgraded, handover, patience).await
    }

    /// Puts the version that ran before in the place of a component's version, as [`upgrade`](Self::upgrade) does. Up to
    /// four versions back are there.
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
        let Some(code) = running.versions()?.previous() else {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("roll `{name}` back: no version ran before"),
            ));
        };
        running.change(code, Change::RolledBack, handover, patience).await
    }

    /// The versions that ran as a component, the one that runs now last; the latest 64.
    ///
    /// # Errors
    ///
    /// * [`NotFound`](ErrorKind::NotFound): the system has no such component.
    /// * [`Unsupported`](ErrorKind::Unsupported): it answers requests over HTTP.
    pub fn history(&self, name: &str) -> Result<Vec<Version>, Error> {
        Ok(self.running(name)?.versions()?.history())
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
    fn versions(&self) -> Result<&Versions, Error> {
        self.versions.as_deref().ok_or_else(|| {
            let what = format!("change the version of `{}`: it answers requests over HTTP", self.name);
            Error::new(ErrorKind::Unsupported, what)
        })
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
