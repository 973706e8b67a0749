//! A job: a component that exports `wasi:cli/run`, run from its start to its end below its supervisor.
//!
//! A status of zero is a normal end, any other an error, and a trap what it is everywhere: whether it is started again is the
//! supervisor's to know. It is asked nothing and nobody sends it messages; what it sends leaves when it has ended well, as
//! what a handler sends.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use airssys_osl::{Os, Principal, trace as osl_trace};
use airssys_rt::{Actor, Context, ExitReason, Init};
use tokio::{task::JoinSet, time::timeout};

use crate::{
    actor::{Bell, Counters, Delivery, Health, Life, Port, Routes, Working, trace},
    command::{Ended, Stopped, run_component},
    component::Component,
    engine::Engine,
    error::{Error, ErrorKind},
    grant::Preopen,
    host::{Config, Exit, LogRate, Stdio},
    instance::{OutOfTime, Setup, State},
    lineage::{Change, Version},
    manifest::{ComponentSpec, JobReady, JobSpec},
    trap::Trap,
    watch::Watch,
};

/// How often a job that others wait for is looked at, whether it is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// What all runs of one job share.
pub(crate) struct Job {
    pub(crate) name: Arc<str>,
    pub(crate) spec: ComponentSpec,
    job: JobSpec,
    engine: Engine,
    component: Component,
    /// The one that it has.
    pub(crate) version: Version,
    os: Os,
    preopens: Arc<Mutex<Vec<Preopen>>>,
    config: Config,
    routes: Arc<Routes>,
    watch: Arc<dyn Watch>,
    pub(crate) counters: Arc<Counters>,
    log: Arc<LogRate>,
}

impl Job {
    #[expect(clippy::too_many_arguments, reason = "each is one thing that runs share; called once")]
    pub(crate) fn new(
        spec: ComponentSpec,
        job: JobSpec,
        engine: Engine,
        component: Component,
        os: Os,
        preopens: Arc<Mutex<Vec<Preopen>>>,
        routes: Arc<Routes>,
        watch: Arc<dyn Watch>,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            name: spec.name.as_str().into(),
            config: spec.config.as_slice().into(),
            version: Version { digest: component.digest(), change: Change::Started },
            spec,
            job,
            engine,
            component,
            os,
            preopens,
            routes,
            watch,
            counters,
            log: Arc::default(),
        }
    }

    /// Runs it to its end.
    async fn run(&self, principal: &Principal) -> Result<(), ExitReason> {
        let preopens = self.preopens.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own_name = std::iter::once(self.name.to_string());
        let setup = Setup {
            name: self.name.clone(),
            principal,
            preopens: &preopens,
            arguments: own_name.chain(self.job.arguments.iter().cloned()).collect(),
            variables: self.job.variables.clone(),
            config: self.config.clone(),
            stdio: Stdio::Log,
            log: self.log.clone(),
            limits: &self.spec.limits,
            share: self.counters.share.clone(),
            on_credit: false,
            trust: &self.spec.trust,
            port: Some(Port::without_mailbox(&self.spec, &self.routes, &self.watch, &self.counters)),
        };
        let mut store = State::store(&self.component.engine(&self.engine)?, setup).await?;
        let _alarm = store.data().host.http.alarm();
        match run_component(&mut store, &self.component).await {
            Ok(Ended::Exit(0) | Ended::Returned(_)) => {}
            Ok(Ended::Exit(status)) => return Err(Trap::new(Exit(status).into()).into()),
            Err(Stopped::Invalid(error)) => return Err(error.into()),
            Err(Stopped::Guest(error)) if error.downcast_ref::<Exit>().is_some_and(|exit| exit.0 == 0) => {}
            Err(Stopped::Guest(error)) => return Err(Trap::new(error).into()),
        }
        if let Some(port) = store.data_mut().port() {
            port.outbox.flush().await;
            port.talk.leave();
        }
        self.counters.handled.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn run_in_time(&self, principal: &Principal) -> Result<(), ExitReason> {
        match self.job.timeout {
            None => self.run(principal).await,
            Some(time) => match timeout(time, self.run(principal)).await {
                Ok(ended) => ended,
                Err(_elapsed) => Err(Trap::new(OutOfTime.into()).during(JOB).into()),
            },
        }
    }
}

const JOB: &str = "as a job (job.timeout)";

/// One run.
pub(crate) struct JobActor {
    job: Arc<Job>,
    /// One task, until it has ended.
    running: JoinSet<Result<(), ExitReason>>,
    /// Whether it ended well before it was ready.
    is_done: bool,
    life: Option<Life>,
}

impl JobActor {
    pub(crate) fn new(job: Arc<Job>) -> Self {
        Self { job, running: JoinSet::new(), is_done: false, life: None }
    }

    /// Waits for its end. None where that is known already.
    async fn ended(&mut self) -> Option<Result<(), ExitReason>> {
        let ended = self.running.join_next().await?;
        let broken = |panic| Error::new(ErrorKind::Bug, "run a job").caused_by(panic);
        Some(ended.unwrap_or_else(|panic| Err(broken(panic).into())))
    }
}

impl Actor for JobActor {
    type Msg = Delivery;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        let job = self.job.clone();
        job.counters.set_health(Health::Starting);
        let life = Life::begin(&job.os, &job.name)?;
        let (running, principal, bell) = (job.clone(), life.principal.clone(), Bell(cx.actor_ref()));
        let working = Working::begin(&job.counters);
        let run = async move {
            let _working = working;
            let ended = running.run_in_time(&principal).await;
            drop(bell);
            ended
        };
        // Each run begins something of its own.
        self.running.spawn(osl_trace::scope(trace::new(), run));
        self.life = Some(life);
        let is_waited_for = job.job.ready == JobReady::Done;
        while is_waited_for && !self.is_done {
            match timeout(LOOK, self.ended()).await {
                Ok(Some(Err(reason))) => return Err(reason),
                // The bell has rung: that is for when it is known to be ready.
                Ok(_) => self.is_done = true,
                // It has its time to stop, as one that nobody waits for.
                Err(_elapsed) if cx.is_stopping() => break,
                Err(_elapsed) => {}
            }
        }
        job.counters.set_health(Health::Ready);
        Ok(Init::Ready)
    }

    // Nobody can send it messages; it is told that the run is at its end.
    async fn handle(&mut self, _: Delivery, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match self.ended().await {
            Some(Ok(())) => Err(ExitReason::Normal),
            Some(Err(reason)) => Err(reason),
            None if self.is_done => Err(ExitReason::Normal),
            None => Ok(()),
        }
    }

    /// It cannot be told to stop: it has the time until it is killed to come to its end.
    async fn terminate(&mut self, _: &ExitReason, _: &mut Context<Self>) {
        if let Some(Err(reason)) = self.ended().await {
            tracing::warn!(component = &*self.job.name, cause = %reason, "failed while stopping");
        }
    }
}

impl Drop for JobActor {
    fn drop(&mut self) {
        self.job.counters.set_health(Health::Stopped);
    }
}
