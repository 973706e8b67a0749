//! Whether a component is well, by its own account.
//!
//! It is asked before its supervisor starts the next child, and then from time to time for as long as it runs. What leaves too
//! many questions in a row without a good answer is killed by the runtime's prober, which is a crash as any other.

use std::{error, fmt, sync::Arc, time::Duration};

use airssys_osl::trace as osl_trace;
use airssys_rt::{ChildOptions, Context, ExitReason, Mailbox, Probe, Reply};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{ComponentActor, Counters, Delivery, Envelope, guest::Instance, trace};
use crate::{
    host::printable,
    manifest::HealthSpec,
    trap::Trap,
    watch::{Event, Watch},
};

/// How often one that is starting is asked, unless it is asked more often later.
const STARTING: Duration = Duration::from_millis(500);

/// The answer that means the same as none.
const WELL: &[u8] = b"ok";

/// Where a component is in its life, as [`System::status`](crate::System::status) tells it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It does not run: it was not started yet, or has ended.
    #[default]
    Stopped,
    /// Its instance is being made, or has not said yet that it is well.
    Starting,
    /// It runs; where its manifest asks, it said so the last time, and no answer is late.
    Ready,
    /// It runs, and said that it is not well, or its answer is late (`health.timeout`).
    Unhealthy,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stopped => "stopped",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
        })
    }
}

/// A component did not become well within `health.start`.
#[derive(Debug)]
pub(crate) struct NotReady {
    within: Duration,
    /// What it said last.
    why: String,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not ready within {:?} (health.start): {}", self.within, self.why)
    }
}

impl error::Error for NotReady {}

/// Workers were asked whether they are well, and left too many questions in a row without a good answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) misses: u32,
}

impl fmt::Display for Unanswered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed: no answer to {} health probes in a row", self.misses)
    }
}

impl error::Error for Unanswered {}

/// A new version said that it is not well.
#[derive(Debug)]
pub(crate) struct Unwell(pub(crate) String);

impl fmt::Display for Unwell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it is not well: {}", self.0)
    }
}

impl error::Error for Unwell {}

/// What it says of itself: nothing where it is well, else what ails it.
pub(crate) type Ailment = Option<String>;

/// How the runtime keeps a component and asks after it.
pub(crate) fn options(
    mailbox: Mailbox<Delivery>,
    health: Option<&HealthSpec>,
    counters: &Arc<Counters>,
) -> ChildOptions<Delivery> {
    let probe = health.map(|health| {
        let (counters, timeout) = (counters.clone(), health.timeout);
        let ask = move |reply| {
            counters.asked(timeout);
            Delivery::Health(reply)
        };
        Probe::new(health.every, ask).timeout(health.timeout).threshold(health.failures)
    });
    ChildOptions { mailbox: Some(mailbox), probe }
}

/// What a component has to pass before it is ready.
pub(crate) struct Gate<'a> {
    health: &'a HealthSpec,
    component: &'a str,
    watch: &'a dyn Watch,
    until: Instant,
    /// What it said last.
    last: Ailment,
}

impl<'a> Gate<'a> {
    pub(crate) fn new(health: &'a HealthSpec, component: &'a str, watch: &'a dyn Watch) -> Self {
        Self { health, component, watch, until: Instant::now() + health.start, last: None }
    }

    /// Waits for one answer, and where that is bad for the time to ask again; tells of each new reason. True where it is good.
    ///
    /// # Errors
    ///
    /// [`NotReady`]: `health.start` is over.
    pub(crate) async fn pass<E: From<NotReady>>(
        &mut self,
        answer: impl Future<Output = Result<Ailment, E>>,
    ) -> Result<bool, E> {
        let Ok(answer) = timeout_at(self.until, answer).await else { return Err(self.late().into()) };
        let Some(why) = answer? else { return Ok(true) };
        if self.last.as_ref() != Some(&why) {
            self.watch.event(&Event::Unwell { component: self.component, why: &why });
            self.last = Some(why);
        }
        sleep_until(self.until.min(Instant::now() + self.health.every.min(STARTING))).await;
        if Instant::now() >= self.until { Err(self.late().into()) } else { Ok(false) }
    }

    fn late(&mut self) -> NotReady {
        let why = self.last.take().unwrap_or_else(|| "it has not answered yet".to_owned());
        NotReady { within: self.health.start, why }
    }
}

impl ComponentActor {
    /// Waits until the guest says that it is well, where its manifest asks for that, or it is to stop. It handles nothing else
    /// meanwhile.
    pub(super) async fn become_ready(&mut self, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let blueprint = self.blueprint.clone();
        if let Some(health) = &blueprint.spec.health {
            let mut gate = Gate::new(health, &blueprint.name, &*blueprint.watch);
            while !gate.pass(async { self.ask(health, cx).await.map_err(Unready::Trap) }).await? {
                // It stops in order, and what is in its mailbox is handled before.
                if cx.is_stopping() || blueprint.routes.is_stopping() {
                    return Ok(());
                }
            }
        }
        blueprint.counters.set_health(Health::Ready);
        Ok(())
    }

    /// Answers a question of the prober's, where the guest is well.
    pub(super) async fn answer(
        &mut self,
        reply: Reply<()>,
        cx: &mut Context<Self>,
    ) -> Result<(), ExitReason> {
        let blueprint = self.blueprint.clone();
        let Some(health) = &blueprint.spec.health else { return Ok(()) };
        match self.ask(health, cx).await {
            // No work: a version has not proven itself by it, and nobody's state is kept for it.
            Ok(ailment) => {
                if told(ailment, &blueprint.counters, (&blueprint.name, &*blueprint.watch)) {
                    // Whether it comes in time is the prober's to judge.
                    reply.send(());
                }
                Ok(())
            }
            // The version before was asked nothing.
            Err(trap) if self.take_back(&trap, cx) => {
                blueprint.counters.forgive();
                Ok(())
            }
            Err(trap) => self.crash(trap, cx).await,
        }
    }

    /// Hands the guest the question. What it sends and arms meanwhile leaves when it has returned, as ever.
    async fn ask(&mut self, health: &HealthSpec, cx: &mut Context<Self>) -> Result<Ailment, Trap> {
        let Some(instance) = self.instance.as_mut() else { return Ok(Some("it does not run".to_owned())) };
        let ailment = instance.ask(health).await?;
        instance.settle(cx).await;
        Ok(ailment)
    }
}

/// Notes what one that runs said of itself: true where it is well.
pub(crate) fn told(ailment: Ailment, counters: &Counters, (component, watch): (&str, &dyn Watch)) -> bool {
    let Some(why) = ailment else {
        counters.set_health(Health::Ready);
        return true;
    };
    if counters.set_health(Health::Unhealthy) != Health::Unhealthy {
        watch.event(&Event::Unwell { component, why: &why });
    }
    false
}

impl Instance {
    /// Hands it the question.
    pub(super) async fn ask(&mut self, health: &HealthSpec) -> Result<Ailment, Trap> {
        let trace = trace::new();
        let subject = health.question.clone();
        let question = Envelope { deliveries: 1, ..Envelope::new(None, subject, Vec::new(), trace) };
        let answer = osl_trace::scope(trace, self.handle(&question)).await?;
        Ok(answer.filter(|answer| !answer.is_empty() && answer != WELL).map(|answer| {
            let text = String::from_utf8_lossy(&answer);
            printable(&text)
        }))
    }
}

/// Why an instance did not become ready.
enum Unready {
    Trap(Trap),
    Late(NotReady),
}

impl From<NotReady> for Unready {
    fn from(late: NotReady) -> Self {
        Self::Late(late)
    }
}

impl From<Unready> for ExitReason {
    fn from(unready: Unready) -> Self {
        match unready {
            Unready::Trap(trap) => trap.into(),
            Unready::Late(late) => late.into(),
        }
    }
}
