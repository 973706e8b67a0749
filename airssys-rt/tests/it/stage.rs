//! Actors that do what a test tells them, and a journal of what they went through.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::{
    Actor, ActorRef, ChildOptions, ChildSpec, Context, ExitReason, Init, Mailbox, Probe, Reply, StartError,
    Strategy, Supervisor, SupervisorRef, System,
};

/// Longer than anything in a test takes.
pub(crate) const LONG: Duration = Duration::from_secs(3_600);

/// What a player is told to do.
pub(crate) enum Do {
    Exit(ExitReason),
    Panic,
    Hang,
    Work(Duration),
    Note(u32),
    Echo(u32, Reply<u32>),
    Ping(Reply<()>),
}

/// What a player does at one of its starts. Without a plan it is ready.
pub(crate) enum Plan {
    Ignore,
    Fail,
    FailWith(ExitReason),
    Panic,
    Hang,
    Wait(Duration),
}

#[derive(Clone, Default)]
pub(crate) struct Stage(Arc<Inner>);

#[derive(Default)]
struct Inner {
    journal: Mutex<Vec<String>>,
    players: Mutex<HashMap<String, ActorRef<Do>>>,
    plans: Mutex<HashMap<String, VecDeque<Plan>>>,
    farewells: Mutex<HashMap<String, Duration>>,
}

impl Stage {
    /// The player that runs, or ran last, under this name.
    pub(crate) fn player(&self, name: &str) -> ActorRef<Do> {
        self.0.players.lock().unwrap()[name].clone()
    }

    /// The names of all that ever ran.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.players.lock().unwrap().keys().cloned().collect();
        names.sort();
        names
    }

    pub(crate) fn child(&self, name: &str) -> ChildSpec {
        let (stage, player) = (self.clone(), name.to_owned());
        ChildSpec::actor(name, move || Player { name: player.clone(), stage: stage.clone() })
    }

    pub(crate) fn child_with(&self, name: &str, mailbox: Mailbox<Do>) -> ChildSpec {
        let (stage, player) = (self.clone(), name.to_owned());
        ChildSpec::actor_with_mailbox(name, mailbox, move || Player {
            name: player.clone(),
            stage: stage.clone(),
        })
    }

    pub(crate) fn probed(&self, name: &str, probe: Probe<Do>) -> ChildSpec {
        let (stage, player) = (self.clone(), name.to_owned());
        let options = ChildOptions { probe: Some(probe), ..ChildOptions::default() };
        ChildSpec::actor_with(name, options, move || Player { name: player.clone(), stage: stage.clone() })
    }

    /// A player outside of any tree.
    pub(crate) fn lone(&self, name: &str) -> Player {
        Player { name: name.to_owned(), stage: self.clone() }
    }

    /// Sets what `name` does at its next starts.
    pub(crate) fn plan(&self, name: &str, plans: impl IntoIterator<Item = Plan>) {
        self.0.plans.lock().unwrap().entry(name.to_owned()).or_default().extend(plans);
    }

    /// Makes the last words of `name` take this long.
    pub(crate) fn slow_farewell(&self, name: &str, time: Duration) {
        self.0.farewells.lock().unwrap().insert(name.to_owned(), time);
    }

    pub(crate) async fn tell(&self, name: &str, order: Do) {
        self.player(name).cast(order).await.unwrap();
        settle().await;
    }

    pub(crate) async fn exit(&self, name: &str, reason: ExitReason) {
        self.tell(name, Do::Exit(reason)).await;
    }

    pub(crate) async fn crash(&self, name: &str) {
        self.exit(name, crash()).await;
    }

    /// What happened since the last look.
    pub(crate) fn journal(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.journal.lock().unwrap())
    }

    #[track_caller]
    pub(crate) fn saw(&self, expected: &[&str]) {
        assert_eq!(self.journal(), expected);
    }

    fn write(&self, line: String) {
        self.0.journal.lock().unwrap().push(line);
    }
}

pub(crate) struct Player {
    name: String,
    stage: Stage,
}

impl Actor for Player {
    type Msg = Do;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.stage.write(format!("+{}", self.name));
        self.stage.0.players.lock().unwrap().insert(self.name.clone(), cx.actor_ref());
        let plan = self.stage.0.plans.lock().unwrap().get_mut(&self.name).and_then(VecDeque::pop_front);
        match plan {
            None => Ok(Init::Ready),
            Some(Plan::Ignore) => Ok(Init::Ignore),
            Some(Plan::Fail) => Err(crash()),
            Some(Plan::FailWith(reason)) => Err(reason),
            Some(Plan::Panic) => panic!("no start"),
            Some(Plan::Hang) => std::future::pending().await,
            Some(Plan::Wait(time)) => {
                tokio::time::sleep(time).await;
                Ok(Init::Ready)
            }
        }
    }

    async fn handle(&mut self, order: Do, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match order {
            Do::Exit(reason) => return Err(reason),
            Do::Panic => panic!("told to"),
            Do::Hang => std::future::pending().await,
            Do::Work(time) => tokio::time::sleep(time).await,
            Do::Note(note) => self.stage.write(format!("{}:{note}", self.name)),
            Do::Echo(value, reply) => reply.send(value),
            Do::Ping(reply) => reply.send(()),
        }
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        let farewell = self.stage.0.farewells.lock().unwrap().get(&self.name).copied();
        if let Some(time) = farewell {
            tokio::time::sleep(time).await;
        }
        self.stage.write(format!("-{} {reason}", self.name));
    }
}

/// Lets everything happen that can happen without time passing. (A millisecond of virtual time passes when nothing
/// else is left to do.)
pub(crate) async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

pub(crate) fn crash() -> ExitReason {
    std::io::Error::other("crash").into()
}

/// A supervisor named `top` that allows three restarts in ten seconds.
pub(crate) fn top(strategy: Strategy, children: impl IntoIterator<Item = ChildSpec>) -> Supervisor {
    named("top", strategy, children)
}

pub(crate) fn named(
    name: &str,
    strategy: Strategy,
    children: impl IntoIterator<Item = ChildSpec>,
) -> Supervisor {
    children
        .into_iter()
        .fold(Supervisor::new(name, strategy).intensity(3, Duration::from_secs(10)), Supervisor::child)
}

pub(crate) async fn start(supervisor: Supervisor) -> SupervisorRef {
    System::new().start(supervisor).await.unwrap()
}

pub(crate) async fn fail_to_start(supervisor: Supervisor) -> StartError {
    System::new().start(supervisor).await.unwrap_err()
}
