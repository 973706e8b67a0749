//! An actor that does whatever a test wants of an actor, and writes down what it hears.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::{Actor, ActorRef, Context, Down, Exit, ExitReason, Info, Init, Mailbox, Reply, System};

use crate::stage::{LONG, settle};

type Deed = Box<dyn FnOnce(&mut Context<Node>) -> Result<(), ExitReason> + Send>;

pub(crate) enum Act {
    Do(Deed),
    Note(&'static str),
    Hang,
    Work(Duration),
    Ping(Reply<()>),
}

#[derive(Clone, Default)]
pub(crate) struct Node {
    heard: Arc<Mutex<Vec<String>>>,
    /// Where it traps exits.
    traps: bool,
    /// Where its `init` or its `terminate` does not return.
    hangs_in_init: bool,
    hangs_in_terminate: bool,
}

impl Actor for Node {
    type Msg = Act;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        if self.traps {
            cx.trap_exit(true);
        }
        if self.hangs_in_init {
            tokio::time::sleep(LONG).await;
        }
        Ok(Init::Ready)
    }

    async fn handle(&mut self, act: Act, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match act {
            Act::Do(deed) => return deed(cx),
            Act::Note(note) => self.hear(note.to_owned()),
            Act::Work(time) => tokio::time::sleep(time).await,
            Act::Hang => std::future::pending().await,
            Act::Ping(reply) => reply.send(()),
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match info {
            Info::Exit(Exit { reason, linked: true, .. }) => self.hear(format!("link {reason}")),
            Info::Exit(Exit { reason, .. }) => self.hear(format!("exit {reason}")),
            Info::Down(Down { reason, .. }) => self.hear(format!("down {reason}")),
            other => self.hear(format!("{other:?}")),
        }
        Ok(())
    }

    async fn terminate(&mut self, reason: &ExitReason, _: &mut Context<Self>) {
        self.hear(format!("bye {reason}"));
        if self.hangs_in_terminate {
            tokio::time::sleep(LONG).await;
        }
    }
}

impl Node {
    pub(crate) fn trapping() -> Self {
        Self { traps: true, ..Self::default() }
    }

    pub(crate) fn slow_start() -> Self {
        Self { hangs_in_init: true, ..Self::default() }
    }

    pub(crate) fn slow_end() -> Self {
        Self { hangs_in_terminate: true, ..Self::default() }
    }

    fn hear(&self, what: String) {
        self.heard.lock().unwrap().push(what);
    }

    /// Starts it, and gives what is needed to look at it.
    pub(crate) fn start(self, system: &System) -> Seen {
        Seen { actor: system.spawn(self.clone()), node: self }
    }

    pub(crate) fn start_on(self, system: &System, mailbox: &Mailbox<Act>) -> Seen {
        Seen { actor: system.spawn_on(mailbox, None, self.clone()).unwrap(), node: self }
    }
}

/// A node that runs.
pub(crate) struct Seen {
    pub(crate) actor: ActorRef<Act>,
    node: Node,
}

impl Seen {
    /// Queues what it is to do.
    pub(crate) fn tell(
        &self,
        deed: impl FnOnce(&mut Context<Node>) -> Result<(), ExitReason> + Send + 'static,
    ) {
        self.actor.try_cast(Act::Do(Box::new(deed))).unwrap();
    }

    /// Has it do something, and waits until all that follows has happened.
    pub(crate) async fn run(&self, deed: impl FnOnce(&mut Context<Node>) + Send + 'static) {
        self.tell(|cx| {
            deed(cx);
            Ok(())
        });
        settle().await;
    }

    pub(crate) async fn end(&self, reason: ExitReason) {
        self.tell(|_| Err(reason));
        settle().await;
    }

    pub(crate) async fn link(&self, other: &Self) {
        let other = other.actor.clone();
        self.run(move |cx| cx.link(&other)).await;
    }

    pub(crate) async fn unlink(&self, other: &Self) {
        let other = other.actor.clone();
        self.run(move |cx| cx.unlink(&other)).await;
    }

    /// What it heard since the last look.
    #[track_caller]
    pub(crate) fn heard(&self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut *self.node.heard.lock().unwrap()), expected);
    }

    pub(crate) fn heard_any(&self) -> bool {
        !self.node.heard.lock().unwrap().is_empty()
    }

    #[track_caller]
    pub(crate) fn heard_one_of(&self, expected: &[&str]) {
        let heard = std::mem::take(&mut *self.node.heard.lock().unwrap());
        assert!(heard.len() == 1 && expected.contains(&heard[0].as_str()), "{heard:?}");
    }

    pub(crate) fn lives(&self) -> bool {
        self.actor.is_alive()
    }

    /// How it ended.
    pub(crate) async fn why(&self) -> String {
        self.actor.exited().await.to_string()
    }
}

pub(crate) fn two() -> (Seen, Seen) {
    let system = System::new();
    (Node::default().start(&system), Node::default().start(&system))
}

/// The second traps exits.
pub(crate) fn two_of_which_one_traps() -> (Seen, Seen) {
    let system = System::new();
    (Node::default().start(&system), Node::trapping().start(&system))
}
