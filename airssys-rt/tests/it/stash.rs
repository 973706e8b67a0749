//! Messages put aside: the order in which they come back, the limit, and what becomes of them at the end.

use std::sync::{Arc, Mutex};

use airssys_rt::{
    Actor, ActorRef, Context, Event, EventKind, ExitReason, Info, Init, Observer, Reply, Stash, System,
};

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
        if let EventKind::DeadLetters { count } = event.kind {
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
