//! Actors that fail while they are linked, watched, called and written to, in thousands of orders. Whatever happens,
//! some things hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use airssys_rt::testing::{self, Chance};
use airssys_rt::{
    Actor, ActorId, ActorRef, CallError, ChildSpec, Context, Event, EventKind, ExitReason, Info, Init,
    Mailbox, MailboxOptions, MonitorRef, Observer, Overflow, Reply, SendError, Strategy, Supervisor, System,
};
use tokio::time::Instant;

use crate::stage::{LONG, crash, settle};

/// A source of chance that tasks share: each draws when its turn comes, and that the seed decides.
#[derive(Clone)]
struct Dice(Arc<Mutex<Chance>>);

impl Dice {
    fn of(system: &System) -> Self {
        Self(Arc::new(Mutex::new(Chance::new(system.seed().unwrap()))))
    }

    fn below(&self, bound: u64) -> u64 {
        self.0.lock().unwrap().below(bound)
    }

    fn pick<T: Clone>(&self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize].clone()
    }

    /// Nothing, or a while, or at least a chance for others.
    async fn pause(&self) {
        match self.below(4) {
            0 => tokio::time::sleep(Duration::from_millis(self.below(3))).await,
            1 => tokio::task::yield_now().await,
            _ => {}
        }
    }
}

/// What members of a crowd have done to each other, and heard of each other.
#[derive(Default)]
struct Ties {
    /// Each pair once, and whether the link was taken back.
    links: BTreeMap<(ActorId, ActorId), bool>,
    monitors: BTreeMap<MonitorRef, (ActorId, ActorId)>,
    exits: Vec<(ActorId, ActorId)>,
    downs: Vec<MonitorRef>,
}

struct Member {
    traps: bool,
    ties: Arc<Mutex<Ties>>,
}

enum Deed {
    Link(ActorRef<Deed>),
    Unlink(ActorRef<Deed>),
    Monitor(ActorRef<Deed>),
    Crash,
}

impl Actor for Member {
    type Msg = Deed;

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        cx.trap_exit(self.traps);
        Ok(Init::Ready)
    }

    async fn handle(&mut self, deed: Deed, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let mut ties = self.ties.lock().unwrap();
        let pair = |other: &ActorRef<Deed>| (cx.id().min(other.id()), cx.id().max(other.id()));
        match deed {
            Deed::Crash => return Err(crash()),
            Deed::Link(other) => {
                if other.id() != cx.id() && !ties.links.contains_key(&pair(&other)) {
                    ties.links.insert(pair(&other), false);
                    cx.link(&other);
                }
            }
            Deed::Unlink(other) => {
                if let Some(gone) = ties.links.get_mut(&pair(&other)) {
                    *gone = true;
                    cx.unlink(&other);
                }
            }
            Deed::Monitor(other) => {
                let monitor = cx.monitor(&other);
                ties.monitors.insert(monitor, (cx.id(), other.id()));
            }
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let mut ties = self.ties.lock().unwrap();
        match info {
            Info::Exit(exit) => {
                assert!(self.traps && exit.linked);
                ties.exits.push((cx.id(), exit.from.unwrap()));
            }
            Info::Down(down) => {
                assert_eq!(ties.monitors[&down.monitor], (cx.id(), down.id));
                ties.downs.push(down.monitor);
            }
            _ => {}
        }
        Ok(())
    }
}

async fn mischief(dice: Dice, crowd: Vec<ActorRef<Deed>>) {
    for _ in 0..8 {
        let (one, other) = (dice.pick(&crowd), dice.pick(&crowd));
        let deed = match dice.below(12) {
            0..=4 => Deed::Link(other),
            5 => Deed::Unlink(other),
            6..=9 => Deed::Monitor(other),
            10 => Deed::Crash,
            _ => {
                one.kill();
                continue;
            }
        };
        // Some are dead already.
        drop(one.cast(deed).await);
        dice.pause().await;
    }
}

/// What holds for each link and each monitor when all is quiet.
fn judge(ties: &Ties, crowd: &BTreeMap<ActorId, (ActorRef<Deed>, bool)>) {
    let is_alive = |id: &ActorId| crowd[id].0.is_alive();
    for (&(one, other), &unlinked) in &ties.links {
        for (dead, left) in [(one, other), (other, one)] {
            let heard = ties.exits.iter().filter(|heard| **heard == (left, dead)).count();
            let traps = crowd[&left].1;
            assert!(heard <= 1, "{left} heard {heard} times of {dead}");
            assert!(heard == 0 || !is_alive(&dead), "{left} heard of {dead}, which is alive");
            // No link leaves somebody behind: an actor dies with the other, or hears of it.
            if !unlinked && !is_alive(&dead) && is_alive(&left) {
                assert!(traps, "{left} outlives {dead}");
                assert_eq!(heard, 1, "{left} did not hear of {dead}");
            }
        }
    }
    for (monitor, (watcher, watched)) in &ties.monitors {
        let heard = ties.downs.iter().filter(|heard| *heard == monitor).count();
        if is_alive(watcher) {
            assert_eq!(heard, usize::from(!is_alive(watched)), "{watcher} of {watched}");
        } else {
            assert!(heard <= usize::from(!is_alive(watched)), "{watcher} of {watched}");
        }
    }
}

#[test]
fn links_and_monitors_in_a_storm() {
    testing::sim(0..2_000, |system| async move {
        let dice = Dice::of(&system);
        let ties = Arc::new(Mutex::new(Ties::default()));
        let crowd: BTreeMap<ActorId, (ActorRef<Deed>, bool)> = (0..8)
            .map(|_| {
                let traps = dice.below(3) == 0;
                let actor = system.spawn(Member { traps, ties: Arc::clone(&ties) });
                (actor.id(), (actor, traps))
            })
            .collect();
        let all: Vec<_> = crowd.values().map(|(actor, _)| actor.clone()).collect();
        let rascals: Vec<_> = (0..4).map(|_| system.task(mischief(dice.clone(), all.clone()))).collect();
        for rascal in rascals {
            rascal.await.unwrap();
        }
        settle().await;
        judge(&ties.lock().unwrap(), &crowd);
    });
}

/// Counts dead letters.
#[derive(Clone, Default)]
struct DeadLetters(Arc<Mutex<usize>>);

impl Observer for DeadLetters {
    fn event(&self, event: &Event) {
        if let EventKind::DeadLetters { count, .. } = event.kind {
            *self.0.lock().unwrap() += count;
        }
    }
}

/// The sender of a message, and its number.
type Letter = (u64, u64);

/// Reads letters, and fails at some of them, before or after a while.
struct Clerk {
    dice: Dice,
    read: Arc<Mutex<Vec<Letter>>>,
}

impl Actor for Clerk {
    type Msg = Letter;

    async fn init(&mut self, _: &mut Context<Self>) -> Result<Init, ExitReason> {
        self.dice.pause().await;
        if self.dice.below(6) == 0 { Err(crash()) } else { Ok(Init::Ready) }
    }

    async fn handle(&mut self, letter: Letter, _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.read.lock().unwrap().push(letter);
        self.dice.pause().await;
        if self.dice.below(10) == 0 { Err(crash()) } else { Ok(()) }
    }
}

/// Sends letters; says how many were taken.
async fn post(dice: Dice, sender: u64, clerk: ActorRef<Letter>) -> usize {
    let mut taken = 0;
    for number in 0..12 {
        let letter = (sender, number);
        let sent = match dice.below(3) {
            0 => clerk.try_cast(letter).is_ok(),
            1 => clerk.cast(letter).await.is_ok(),
            // Given up, it was not sent.
            _ => {
                matches!(tokio::time::timeout(Duration::from_millis(1), clerk.cast(letter)).await, Ok(Ok(())))
            }
        };
        taken += usize::from(sent);
        dice.pause().await;
    }
    taken
}

/// Terminates and restarts the clerk, and kills it.
async fn annoy(dice: Dice, clerk: ActorRef<Letter>, office: airssys_rt::SupervisorRef) {
    for _ in 0..6 {
        dice.pause().await;
        match dice.below(3) {
            0 => drop(office.terminate_child("clerk").await),
            1 => drop(office.restart_child("clerk").await),
            _ => clerk.kill(),
        }
    }
    // What was terminated, or could not be restarted, comes back in the end, or the office has given up.
    while let Err(airssys_rt::ChildError::Failed(_)) = office.restart_child("clerk").await {}
}

/// A mailbox outlives those who read it: each message that was taken is handled once, or becomes a dead letter, and
/// those of one sender are handled in the order of sending.
#[test]
fn a_retained_mailbox_in_a_storm() {
    testing::sim(0..2_000, |system| async move {
        let dice = Dice::of(&system);
        let letters = DeadLetters::default();
        let system = System::builder().observer(Arc::new(letters.clone())).build();
        let overflow =
            dice.pick(&[Overflow::Wait, Overflow::Reject, Overflow::DropNewest, Overflow::DropOldest]);
        let options = match dice.below(4) {
            0 => MailboxOptions::unbounded(),
            _ => MailboxOptions::bounded(1 + dice.below(5) as usize).overflow(overflow),
        };
        let mailbox = Mailbox::new(options);
        let clerk = mailbox.actor_ref();
        let read = Arc::new(Mutex::new(Vec::new()));
        let make = {
            let (dice, read) = (dice.clone(), Arc::clone(&read));
            move || Clerk { dice: dice.clone(), read: Arc::clone(&read) }
        };
        let office = Supervisor::new("office", Strategy::OneForOne)
            .intensity(8 + dice.below(50) as usize, LONG)
            .child(ChildSpec::actor_with_mailbox("clerk", mailbox, make));
        let Ok(office) = system.start(office).await else { return };
        let posts: Vec<_> =
            (0..3).map(|sender| system.task(post(dice.clone(), sender, clerk.clone()))).collect();
        system.task(annoy(dice.clone(), clerk.clone(), office.clone())).await.unwrap();
        let mut taken = 0;
        for post in posts {
            taken += post.await.unwrap();
        }
        if dice.below(2) == 0 {
            settle().await;
        }
        office.shutdown().await;
        assert!(!clerk.is_alive());
        assert!(matches!(clerk.try_cast((9, 9)), Err(SendError::NoProc(_))));

        let read = read.lock().unwrap();
        assert_eq!(read.len() + *letters.0.lock().unwrap(), taken);
        for sender in 0..3 {
            let own = read.iter().filter(|letter| letter.0 == sender);
            assert!(own.is_sorted_by(|one, next| one.1 < next.1), "{read:?}");
        }
    });
}

/// Has a name and is in a group as long as it runs.
struct Holder {
    name: String,
    dice: Dice,
}

impl Actor for Holder {
    type Msg = ();

    async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
        // Were the name of the one before not free yet, this would be a failed start.
        cx.register(&self.name)?;
        cx.join("holders")?;
        Ok(Init::Ready)
    }

    async fn handle(&mut self, (): (), _: &mut Context<Self>) -> Result<(), ExitReason> {
        self.dice.pause().await;
        if self.dice.below(3) == 0 { Err(crash()) } else { Ok(()) }
    }
}

/// Watches those who have a name, and looks who has it when it hears of their end.
struct Watcher {
    names: Vec<String>,
    watched: BTreeSet<ActorId>,
    heard: Arc<Mutex<usize>>,
}

impl Actor for Watcher {
    type Msg = ();

    async fn handle(&mut self, (): (), cx: &mut Context<Self>) -> Result<(), ExitReason> {
        for name in &self.names {
            if let Some(holder) = cx.system().whereis::<()>(name)
                && self.watched.insert(holder.id())
            {
                cx.monitor(&holder);
            }
        }
        Ok(())
    }

    async fn handle_info(&mut self, info: Info, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let Info::Down(down) = info else { return Ok(()) };
        *self.heard.lock().unwrap() += 1;
        let holders = self.names.iter().filter_map(|name| cx.system().whereis::<()>(name));
        let members = cx.system().group::<()>("holders").members();
        let still = holders.chain(members.iter().cloned()).any(|holder| holder.id() == down.id);
        assert!(!still, "{} ended and is known all the same", down.id);
        Ok(())
    }
}

async fn shake(dice: Dice, names: Vec<String>, watcher: ActorRef<()>, system: System) {
    for _ in 0..10 {
        watcher.cast(()).await.unwrap();
        if let Some(holder) = system.whereis::<()>(&dice.pick(&names)) {
            match dice.below(3) {
                0 => holder.kill(),
                1 => holder.stop(ExitReason::Shutdown),
                _ => drop(holder.try_cast(())),
            }
        }
        dice.pause().await;
    }
}

#[test]
fn names_and_groups_are_free_when_an_end_is_heard_of() {
    let heard = Arc::new(Mutex::new(0));
    testing::sim(0..1_000, |system| {
        let heard = Arc::clone(&heard);
        async move {
            let dice = Dice::of(&system);
            let names: Vec<String> = (0..3).map(|n| format!("holder {n}")).collect();
            let top = names.iter().fold(
                Supervisor::new("top", dice.pick(&[Strategy::OneForOne, Strategy::OneForAll]))
                    .intensity(1_000, LONG),
                |top, name| {
                    let (name, dice) = (name.clone(), dice.clone());
                    let make = move || Holder { name: name.clone(), dice: dice.clone() };
                    top.child(ChildSpec::actor(make().name, make))
                },
            );
            let top = system.start(top).await.unwrap();
            let watcher = Watcher { names: names.clone(), watched: BTreeSet::new(), heard };
            let watcher = system.spawn(watcher);
            let shakers: Vec<_> = (0..3)
                .map(|_| system.task(shake(dice.clone(), names.clone(), watcher.clone(), system.clone())))
                .collect();
            for shaker in shakers {
                shaker.await.unwrap();
            }
            // They may have a lot of messages left to fail at.
            tokio::time::sleep(LONG).await;
            assert_eq!(top.count_children().await.active, 3, "no start failed for a name that was not free");
            assert_eq!(system.group::<()>("holders").members().len(), 3);
            assert_eq!(system.registered().len(), 3);
            top.shutdown().await;
            assert_eq!((system.registered().len(), system.which_groups().len()), (0, 0));
            settle().await;
            assert!(watcher.is_alive(), "{}", watcher.exited().await);
        }
    });
    assert!(*heard.lock().unwrap() > 1_000);
}

/// Answers at once, later, from elsewhere, or not at all.
struct Oracle(Dice);

type Question = (u64, Reply<u64>);

impl Actor for Oracle {
    type Msg = Question;

    async fn handle(&mut self, (number, reply): Question, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        let dice = self.0.clone();
        match dice.below(8) {
            0 => drop(reply),
            1 => return Err(crash()),
            2 => drop(
                cx.system()
                    .task(async move {
                        tokio::time::sleep(Duration::from_millis(dice.below(6))).await;
                        reply.send(number);
                    })
                    .detach(),
            ),
            3 => {
                tokio::time::sleep(Duration::from_millis(dice.below(6))).await;
                reply.send(number);
            }
            _ => reply.send(number),
        }
        Ok(())
    }
}

async fn ask(dice: Dice, from: u64, oracle: ActorRef<Question>, seen: Arc<Mutex<BTreeSet<String>>>) {
    for number in 0..12 {
        let (question, timeout) = (from * 100 + number, Duration::from_millis(dice.below(5)));
        let asked = Instant::now();
        let answer = oracle.call(|reply| (question, reply), timeout).await;
        let took = asked.elapsed();
        // A late answer never answers the next call.
        let seen_now = match answer {
            Ok(answer) => {
                assert_eq!(answer, question);
                "an answer"
            }
            Err(CallError::Timeout) => {
                assert!(took >= timeout, "{took:?} of {timeout:?}");
                "a timeout"
            }
            Err(CallError::Dropped) => "no answer",
            Err(CallError::NoProc) => "nobody",
            Err(error) => panic!("{error}"),
        };
        assert!(took <= timeout + Duration::from_millis(2), "{took:?} of {timeout:?}");
        seen.lock().unwrap().insert(seen_now.to_owned());
        dice.pause().await;
    }
}

#[test]
fn calls_in_a_storm_have_their_own_answer_in_time() {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    testing::sim(0..1_000, |system| {
        let seen = Arc::clone(&seen);
        async move {
            let dice = Dice::of(&system);
            let mailbox = Mailbox::bounded(1 + dice.below(3) as usize);
            let oracle = mailbox.actor_ref();
            let of_oracle = dice.clone();
            let top = Supervisor::new("top", Strategy::OneForOne)
                .intensity(2, LONG)
                .child(ChildSpec::actor_with_mailbox("oracle", mailbox, move || Oracle(of_oracle.clone())));
            let top = system.start(top).await.unwrap();
            let askers: Vec<_> = (0..4)
                .map(|from| system.task(ask(dice.clone(), from, oracle.clone(), Arc::clone(&seen))))
                .collect();
            for asker in askers {
                asker.await.unwrap();
            }
            top.shutdown().await;
        }
    });
    let seen = seen.lock().unwrap();
    assert_eq!(seen.iter().collect::<Vec<_>>(), ["a timeout", "an answer", "no answer", "nobody"]);
}

/// Whatever becomes of senders and readers, the room of a mailbox is the same in the end.
#[test]
fn no_room_of_a_mailbox_is_lost_or_won() {
    testing::sim(0..1_000, |system| async move {
        let dice = Dice::of(&system);
        let capacity = dice.pick(&[1, 2, 3, 17, 40]);
        let overflow =
            dice.pick(&[Overflow::Wait, Overflow::Reject, Overflow::DropOldest, Overflow::DropNewest]);
        let mailbox = Mailbox::new(MailboxOptions::bounded(capacity).overflow(overflow));
        let actor = mailbox.actor_ref();
        let posts: Vec<_> =
            (0..4).map(|sender| system.task(post(dice.clone(), sender, actor.clone()))).collect();
        // One reader after the other; the last one has no mishap.
        for _ in 0..12 {
            let clerk = Clerk { dice: dice.clone(), read: Arc::default() };
            let clerk = system.spawn_on(&mailbox, None, clerk).unwrap();
            let ended = clerk.exited();
            if dice.below(3) == 0 {
                clerk.kill();
            }
            if tokio::time::timeout(Duration::from_millis(dice.below(20)), ended).await.is_err() {
                clerk.kill();
                clerk.exited().await;
            }
        }
        let last = system.spawn_on(&mailbox, None, Patient).unwrap();
        for post in posts {
            post.await.unwrap();
        }
        settle().await;
        assert_eq!(actor.depth(), 0);
        last.kill();
        last.exited().await;

        for number in 0..capacity as u64 {
            actor.try_cast((9, number)).unwrap();
        }
        let more = actor.try_cast((9, 99));
        let drops = matches!(overflow, Overflow::DropOldest | Overflow::DropNewest);
        assert_eq!(more.is_ok(), drops);
        assert_eq!(actor.depth(), capacity);
    });
}

struct Patient;

impl Actor for Patient {
    type Msg = Letter;

    async fn handle(&mut self, _: Letter, _: &mut Context<Self>) -> Result<(), ExitReason> {
        Ok(())
    }
}
