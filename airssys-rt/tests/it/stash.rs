//! Messages put aside (OTP has selective receive; `handle_continue` is that of `gen_server_SUITE`): the order in which they come back, the limit, and what becomes of them at the end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use airssys_rt::{
    Actor, ActorRef, Context, Event, EventKind, ExitReason, Info, Init, Observer, Reply, Stash, System,
};

use proptest::prelude::*;

use crate::stage::{LONG, settle};

enum Msg {
    /// Handled only while open, stashed otherwise.
    Item(u32),
    /// The same; and once more, at its turn, after `Balk`.
    Stubborn(u32),
    Balk,
    One,
    Two,
    All,
    Exit(ExitReason),
    Seen(Reply<Vec<u32>>),
}

struct Clerk {
    open: bool,
    stubborn: bool,
    seen: Vec<u32>,
    stash: Stash<Msg>,
}

impl Actor for Clerk {
    type Msg = Msg;

    async fn handle(&mut self, message: Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            message @ (Msg::Item(_) | Msg::Stubborn(_)) if !self.open => {
                cx.stash(&mut self.stash, message)?
            }
            message @ Msg::Stubborn(_) if self.stubborn => {
                cx.stash(&mut self.stash, message)?;
                cx.unstash_all(&mut self.stash);
                self.stubborn = false;
            }
            Msg::Item(item) | Msg::Stubborn(item) => self.seen.push(item),
            Msg::Balk => self.stubborn = true,
            Msg::One => assert!(cx.unstash_one(&mut self.stash)),
            Msg::Two => {
                self.open = true;
                cx.unstash_one(&mut self.stash);
                cx.unstash_one(&mut self.stash);
            }
            Msg::All => {
                self.open = true;
                cx.unstash_all(&mut self.stash);
            }
            Msg::Exit(reason) => return Err(reason),
            Msg::Seen(reply) => reply.send(self.seen.clone()),
        }
        Ok(())
    }
}

fn clerk(limit: usize) -> Clerk {
    Clerk { open: false, stubborn: false, seen: Vec::new(), stash: Stash::bounded(limit) }
}

async fn check(orders: impl IntoIterator<Item = Msg>, expected: &[u32]) {
    let clerk = System::new().spawn(clerk(10));
    for order in orders {
        clerk.try_cast(order).unwrap();
    }
    assert_eq!(clerk.call(Msg::Seen, LONG).await.unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_was_stashed_comes_before_newer_mail_in_order() {
    use Msg::{All, Item};
    check([Item(1), Item(2), All, Item(3)], &[1, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_not_unstashed_stays() {
    use Msg::{Item, Two};
    check([Item(1), Item(2), Item(3), Two, Item(4)], &[1, 2, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_is_still_too_early_is_stashed_again_in_its_place() {
    use Msg::{All, Item, One};
    check([Item(1), Item(2), One, One, Item(3), All, Item(4)], &[1, 2, 3, 4]).await;
}

#[tokio::test(start_paused = true)]
async fn the_order_is_that_of_arrival_however_it_was_stashed() {
    use Msg::{All, Balk, Item, Stubborn};
    // At its turn 1 is put aside once more, and still comes back before 2.
    check([Stubborn(1), Item(2), Balk, All, Item(3)], &[1, 2, 3]).await;
}

#[tokio::test(start_paused = true)]
async fn a_full_stash_gives_the_message_back() {
    struct Polite(Stash<Reply<&'static str>>);
    impl Actor for Polite {
        type Msg = Reply<&'static str>;
        async fn handle(&mut self, reply: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            if let Err(full) = cx.stash(&mut self.0, reply) {
                assert_eq!(full.to_string(), "more than 1 stashed messages");
                full.message.send("full");
            }
            Ok(())
        }
    }
    let actor = System::new().spawn(Polite(Stash::bounded(1)));
    let waiting = actor.call(|reply| reply, LONG);
    let refused = async {
        assert_eq!(actor.call(|reply| reply, LONG).await, Ok("full"));
        // The one that waits is dropped with its actor.
    };
    tokio::select! {
        biased;
        _ = waiting => panic!("it waits"),
        () = refused => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_stash_ends_an_actor_that_does_not_care() {
    let clerk = System::new().spawn(clerk(1));
    clerk.cast(Msg::Item(1)).await.unwrap();
    clerk.cast(Msg::Item(2)).await.unwrap();
    assert_eq!(clerk.exited().await.to_string(), "more than 1 stashed messages");
}

/// Counts dead letters.
#[derive(Default)]
struct Cemetery(Mutex<usize>);

impl Observer for Cemetery {
    fn event(&self, event: &Event) {
        if let EventKind::DeadLetters { count, .. } = event.kind {
            *self.0.lock().unwrap() += count;
        }
    }
}

async fn dead_letters(send: impl FnOnce(&ActorRef<Msg>)) -> usize {
    let cemetery = Arc::new(Cemetery::default());
    let system = System::builder().observer(Arc::clone(&cemetery) as _).build();
    let clerk = system.spawn(clerk(10));
    send(&clerk);
    clerk.exited().await;
    settle().await;
    *cemetery.0.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_stashed_at_the_end_becomes_dead_letters() {
    let count = dead_letters(|clerk| {
        clerk.try_cast(Msg::Item(1)).unwrap();
        clerk.try_cast(Msg::Item(2)).unwrap();
        clerk.try_cast(Msg::Exit(ExitReason::Normal)).unwrap();
        clerk.try_cast(Msg::Item(3)).unwrap();
    });
    assert_eq!(count.await, 3);
}

#[tokio::test(start_paused = true)]
async fn so_does_what_was_unstashed_and_not_reached() {
    struct Quitter(Stash<u32>);
    impl Actor for Quitter {
        type Msg = u32;
        async fn handle(&mut self, number: u32, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            cx.stash(&mut self.0, number)?;
            if number == 3 {
                cx.unstash_all(&mut self.0);
                return Err(ExitReason::Normal);
            }
            Ok(())
        }
    }
    let cemetery = Arc::new(Cemetery::default());
    let system = System::builder().observer(Arc::clone(&cemetery) as _).build();
    let actor = system.spawn(Quitter(Stash::new()));
    (1..=3).for_each(|number| actor.try_cast(number).unwrap());
    actor.exited().await;
    settle().await;
    assert_eq!(*cemetery.0.lock().unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn handle_continue_comes_before_the_first_message() {
    struct Late(Vec<&'static str>);
    impl Actor for Late {
        type Msg = Option<Reply<Vec<&'static str>>>;
        async fn init(&mut self, cx: &mut Context<Self>) -> Result<Init, ExitReason> {
            cx.continue_next();
            Ok(Init::Ready)
        }
        async fn handle(&mut self, ask: Self::Msg, cx: &mut Context<Self>) -> Result<(), ExitReason> {
            self.0.push("message");
            match ask {
                Some(reply) => reply.send(self.0.clone()),
                // Twice is once.
                None => [(); 2].into_iter().for_each(|()| cx.continue_next()),
            }
            Ok(())
        }
        async fn handle_info(&mut self, info: Info, _: &mut Context<Self>) -> Result<(), ExitReason> {
            assert!(matches!(info, Info::Continue));
            self.0.push("continue");
            Ok(())
        }
    }
    let late = System::new().spawn(Late(Vec::new()));
    late.try_cast(None).unwrap();
    let seen = late.call(Some, LONG).await.unwrap();
    assert_eq!(seen, ["continue", "message", "continue", "message"]);
}

/// What an actor does at one sight of a message, drawn at random.
#[derive(Clone, Copy, Debug)]
enum Move {
    Handle,
    Stash,
    StashAndUnstashAll,
    UnstashOne,
    UnstashAll,
}

/// The moves for each message, by how often it has been seen. After those it is handled.
type Moves = Vec<Vec<Move>>;

struct Mover {
    moves: Moves,
    sights: Vec<usize>,
    stash: Stash<usize>,
    seen: Arc<Mutex<Vec<usize>>>,
}

impl Actor for Mover {
    type Msg = usize;

    async fn handle(&mut self, number: usize, cx: &mut Context<Self>) -> Result<(), ExitReason> {
        self.seen.lock().unwrap().push(number);
        let next = self.moves[number].get(self.sights[number]);
        self.sights[number] += 1;
        match next {
            None | Some(Move::Handle) => {}
            Some(Move::Stash) => cx.stash(&mut self.stash, number)?,
            Some(Move::StashAndUnstashAll) => {
                cx.stash(&mut self.stash, number)?;
                cx.unstash_all(&mut self.stash);
            }
            Some(Move::UnstashOne) => drop(cx.unstash_one(&mut self.stash)),
            Some(Move::UnstashAll) => drop(cx.unstash_all(&mut self.stash)),
        }
        Ok(())
    }
}

/// The naive model: sets, whose least member is always next.
fn model(moves: &Moves) -> Vec<usize> {
    let (mut front, mut stash, mut mail) = (BTreeSet::new(), BTreeSet::new(), 0..moves.len());
    let (mut sights, mut seen) = (vec![0; moves.len()], Vec::new());
    while let Some(number) = front.pop_first().or_else(|| mail.next()) {
        seen.push(number);
        let next = moves[number].get(sights[number]);
        sights[number] += 1;
        if let Some(Move::Stash | Move::StashAndUnstashAll) = next {
            stash.insert(number);
        }
        match next {
            Some(Move::UnstashOne) => front.extend(stash.pop_first()),
            Some(Move::UnstashAll | Move::StashAndUnstashAll) => front.append(&mut stash),
            _ => {}
        }
    }
    seen
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_is_that_of_a_naive_model(
        moves in prop::collection::vec(
            prop::collection::vec(
                prop::sample::select(vec![
                    Move::Handle, Move::Stash, Move::StashAndUnstashAll, Move::UnstashOne, Move::UnstashAll,
                ]),
                0..5,
            ),
            0..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let seen = Arc::new(Mutex::new(Vec::new()));
        runtime.unwrap().block_on(async {
            let (sights, seen) = (vec![0; moves.len()], Arc::clone(&seen));
            let mover = Mover { moves: moves.clone(), sights, stash: Stash::new(), seen };
            let mover = System::new().spawn(mover);
            for number in 0..moves.len() {
                mover.try_cast(number).unwrap();
            }
            settle().await;
        });
        prop_assert_eq!(seen.lock().unwrap().clone(), model(&moves));
    }
}
