//! Everything at once, from many threads: no message is lost or doubled, each reply comes, and nothing is left.

use std::future::poll_fn;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use airssys_rt::{
    ActorRef, CallError, ChildSpec, DynamicSupervisor, ExitReason, Mailbox, MailboxOptions, Overflow,
    Restart, SpawnOptions, Strategy, Supervisor, System,
};
use tokio::runtime::Builder;

use crate::cell::{Bomb, Puppet, Say, all_freed, deed, watched};
use crate::stage::{LONG, crash};

/// How many actors can be reached at a time, and how many mailboxes outlive theirs.
const SLOTS: usize = 6;
const MAILBOXES: usize = 2;

/// How much each thread and each task does.
const STEPS: usize = 20_000;

#[derive(Default)]
struct Count {
    made: AtomicUsize,
    dropped: AtomicUsize,
}

/// One of those that must be dropped once.
struct Token(Arc<Count>);

impl Drop for Token {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
    }
}

struct World {
    system: System,
    slots: [Mutex<Option<ActorRef<Say>>>; SLOTS],
    mailboxes: [Mutex<Option<Mailbox<Say>>>; MAILBOXES],
    wakers: Mutex<Vec<Waker>>,
    count: Arc<Count>,
    unanswered: AtomicUsize,
}

/// The same numbers each time (Knuth's generator).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }
}

impl World {
    fn token(&self) -> Token {
        self.count.made.fetch_add(1, Ordering::Relaxed);
        Token(self.count.clone())
    }

    fn cargo(&self) -> Say {
        Say::Drop(Box::new(self.token()))
    }

    fn actor(&self, dice: &mut Dice) -> Option<ActorRef<Say>> {
        match dice.roll(SLOTS + MAILBOXES) {
            slot if slot < SLOTS => self.slots[slot].lock().unwrap().clone(),
            slot => self.mailboxes[slot - SLOTS].lock().unwrap().as_ref().map(Mailbox::actor_ref),
        }
    }

    /// Starts an actor in place of another, which ends in one of many ways.
    fn replace(&self, dice: &mut Dice) {
        let mailbox = match dice.roll(4) {
            0 => MailboxOptions::unbounded(),
            1 => MailboxOptions::bounded(1 + dice.roll(3)).overflow(Overflow::DropOldest),
            2 => MailboxOptions::bounded(1 + dice.roll(3)).overflow(Overflow::Reject),
            _ => MailboxOptions::bounded(1 + dice.roll(9)),
        };
        let name = (dice.roll(3) == 0).then(|| "named".to_owned());
        let puppet = Puppet { holds: Some(Box::new(self.token())), start: None };
        let actor = self.system.spawn_with(SpawnOptions { mailbox, name }, puppet);
        let former = self.slots[dice.roll(SLOTS)].lock().unwrap().replace(actor);
        former.iter().for_each(|former| retire(former, dice));
    }

    fn restart(self: &Arc<Self>, dice: &mut Dice) {
        let slot = self.mailboxes[dice.roll(MAILBOXES)].lock().unwrap();
        let Some(mailbox) = &*slot else { return };
        let puppet = Puppet { holds: Some(Box::new(self.token())), start: None };
        if self.system.spawn_on(mailbox, None, puppet).is_err() {
            mailbox.actor_ref().kill();
        }
    }

    /// A message after which the actor waits for whoever wakes it.
    fn nap(self: &Arc<Self>) -> Say {
        let (world, token, mut slept) = (self.clone(), self.token(), false);
        Say::Wait(Box::pin(poll_fn(move |cx| {
            let _ = &token;
            if std::mem::replace(&mut slept, true) {
                return Poll::Ready(());
            }
            world.wakers.lock().unwrap().push(cx.waker().clone());
            Poll::Pending
        })))
    }

    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap());
        for waker in wakers {
            let twin = waker.clone();
            waker.wake();
            twin.wake_by_ref();
        }
    }

    fn step(self: &Arc<Self>, dice: &mut Dice) {
        let Some(actor) = self.actor(dice) else { return self.replace(dice) };
        let say = match dice.roll(20) {
            0..=5 => self.cargo(),
            6 => return self.replace(dice),
            7 => return self.restart(dice),
            8 => return self.wake(),
            9 => self.nap(),
            10 => return drop(actor.cast_urgent(self.cargo())),
            11 => return retire(&actor, dice),
            12 => return actor.exit(ExitReason::GaveUp),
            14 => deed(|_| resume_unwind(Box::new("on purpose"))),
            15 => deed(|_| Err(Bomb(0).into())),
            other => {
                let (peer, cargo) = (self.actor(dice), self.cargo());
                deed(move |cx| {
                    let Some(peer) = peer else { return Ok(()) };
                    match other {
                        13 => cx.trap_exit(true),
                        16 => cx.link(&peer),
                        17 => cx.unlink(&peer),
                        18 => drop(cx.monitor(&peer)),
                        _ => drop(peer.try_cast(cargo)),
                    }
                    Ok(())
                })
            }
        };
        drop(actor.try_cast(say));
    }

    async fn ask(self: &Arc<Self>, dice: &mut Dice) {
        let Some(actor) = self.actor(dice) else { return };
        if dice.roll(3) == 0 {
            drop(actor.cast(self.cargo()).await);
            return;
        }
        self.unanswered.fetch_add(1, Ordering::Relaxed);
        assert_ne!(actor.call(Say::Ask, LONG).await, Err(CallError::Timeout));
        self.unanswered.fetch_sub(1, Ordering::Relaxed);
    }
}

fn retire(actor: &ActorRef<Say>, dice: &mut Dice) {
    match dice.roll(3) {
        0 => actor.kill(),
        1 => actor.stop(ExitReason::Shutdown),
        _ if actor.cast_urgent(deed(|_| Err(ExitReason::Normal))).is_err() => actor.kill(),
        _ => {}
    }
}

#[test]
fn nothing_is_lost_doubled_or_left() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (system, watchman) = runtime.block_on(async { watched() });
    let world = Arc::new(World {
        system,
        slots: Default::default(),
        mailboxes: [(); MAILBOXES].map(|()| Mutex::new(Some(Mailbox::bounded(4)))),
        wakers: Mutex::default(),
        count: Arc::default(),
        unanswered: AtomicUsize::new(0),
    });
    let tasks: Vec<_> = (0..3)
        .map(|task| {
            let (world, mut dice) = (world.clone(), Dice(100 + task));
            runtime.spawn(async move {
                for _ in 0..STEPS {
                    world.ask(&mut dice).await;
                }
            })
        })
        .collect();
    let threads: Vec<_> = (0..3)
        .map(|thread| {
            let (world, mut dice) = (world.clone(), Dice(thread));
            thread::spawn(move || (0..STEPS).for_each(|_| world.step(&mut dice)))
        })
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let waking = {
        let (world, over) = (world.clone(), over.clone());
        thread::spawn(move || {
            let mut dice = Dice(1_000);
            while !over.load(Ordering::Relaxed) {
                world.wake();
                world.restart(&mut dice);
                thread::yield_now();
            }
        })
    };
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    runtime.block_on(async {
        for task in tasks {
            task.await.unwrap();
        }
        over.store(true, Ordering::Relaxed);
        waking.join().unwrap();
        for mailbox in world.mailboxes.iter().filter_map(|mailbox| mailbox.lock().unwrap().take()) {
            let actor = mailbox.actor_ref();
            drop(mailbox);
            actor.kill();
        }
        world.slots.iter().filter_map(|slot| slot.lock().unwrap().take()).for_each(|actor| actor.kill());
        // Naps hold the world.
        while Arc::strong_count(&world) > 1 {
            world.wake();
            tokio::task::yield_now().await;
        }
        assert_eq!(world.unanswered.load(Ordering::Relaxed), 0);
        let count = world.count.clone();
        drop(world);
        all_freed(&watchman).await;
        assert_eq!(count.made.load(Ordering::Relaxed), count.dropped.load(Ordering::Relaxed));
    });
}

/// Children that panic, fail and are killed, below a supervisor with names and below one of many.
#[tokio::test]
async fn supervised_crashes_leave_nothing() {
    const CRASHES: usize = 300;
    let (system, watchman) = watched();
    let mailbox = Mailbox::default();
    let child = mailbox.actor_ref();
    let many = DynamicSupervisor::new("many", |()| Puppet::default()).restart(Restart::Temporary);
    let each = many.dynamic_ref();
    let tree = Supervisor::new("top", Strategy::OneForOne)
        .intensity(CRASHES, LONG)
        .child(ChildSpec::actor_with_mailbox("one", mailbox, Puppet::default))
        .child(ChildSpec::dynamic(many));
    let tree = system.start(tree).await.unwrap();
    for round in 0..CRASHES {
        let other = each.start_child(()).await.unwrap();
        for actor in [&child, &other] {
            match round % 3 {
                0 => actor.cast(deed(|_| std::panic::panic_any(Bomb(0)))).await.unwrap(),
                1 => actor.cast(deed(|_| Err(crash()))).await.unwrap(),
                _ => actor.kill(),
            }
        }
        other.exited().await;
        child.call(Say::Ask, LONG).await.unwrap();
    }
    let restarts: u32 = tree.which_children().await.iter().map(|child| child.restarts).sum();
    assert_eq!(restarts as usize, CRASHES);
    tree.shutdown().await;
    drop((system, tree, child, each));
    all_freed(&watchman).await;
}
