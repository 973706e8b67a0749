//! Every interleaving of those who make room and those who wait for some. That one is told of its room, and that it
//! gives up, are tokio's, and each happens at once.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::thread;

use super::Room;
use crate::cell::explore;

/// Looks once whether `waiter` has its room.
fn look(waiter: &mut Pin<Box<impl Future<Output = bool>>>) -> Poll<bool> {
    waiter.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// One more thread, which makes room once.
fn maker(room: &Arc<Room>) -> thread::JoinHandle<()> {
    let room = Arc::clone(room);
    thread::spawn(move || room.make(1))
}

#[test]
fn models_who_waits_hears_of_room() {
    explore(3, || {
        let room = Arc::new(Room::new(0));
        let maker = maker(&room);
        let has_entered = room.take() == 1;
        let mut waiter = Box::pin(room.wait(|| 0));
        let early = if has_entered { Poll::Ready(true) } else { look(&mut waiter) };
        maker.join().unwrap();
        if early.is_pending() {
            assert_eq!(look(&mut waiter), Poll::Ready(true));
        }
        drop(waiter);
        assert_eq!(room.left(), 0);
    });
}

#[test]
fn models_each_of_two_who_wait_has_room_of_its_own() {
    explore(3, || {
        let room = Arc::new(Room::new(0));
        let makers = [maker(&room), maker(&room)];
        let mut waiters = [(); 2].map(|()| Box::pin(room.wait(|| 0)));
        let early: Vec<_> = waiters.iter_mut().map(look).collect();
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        for (waiter, early) in waiters.iter_mut().zip(early) {
            assert!(early == Poll::Ready(true) || look(waiter) == Poll::Ready(true));
        }
        drop(waiters);
        assert_eq!(room.left(), 0);
        assert!(room.take() == 0);
    });
}

#[test]
fn models_who_gives_up_takes_no_room_along() {
    explore(3, || {
        let room = Arc::new(Room::new(0));
        let maker = maker(&room);
        let mut waiter = Box::pin(room.wait(|| 0));
        let has_room = look(&mut waiter).is_ready();
        drop(waiter);
        maker.join().unwrap();
        assert_eq!(room.left(), usize::from(!has_room));
        assert_eq!(room.take() == 1, !has_room, "no line is left behind");
    });
}

#[test]
fn models_nobody_waits_for_a_mailbox_that_closes() {
    explore(3, || {
        let room = Arc::new(Room::new(0));
        let closer = thread::spawn({
            let room = Arc::clone(&room);
            move || room.close()
        });
        let mut waiter = Box::pin(room.wait(|| 0));
        let early = look(&mut waiter);
        closer.join().unwrap();
        assert!(early == Poll::Ready(false) || look(&mut waiter) == Poll::Ready(false));
    });
}

#[test]
fn models_credit_that_nobody_uses_is_for_those_who_wait() {
    explore(3, || {
        // Given out two at a time, and all taken; one of it a sender has fetched and does not use.
        let room = Arc::new(Room::new(16));
        while room.take() > 0 {}
        let reader = thread::spawn({
            let room = Arc::clone(&room);
            move || room.settle(1, || 1)
        });
        let mut waiter = Box::pin(room.wait(|| 0));
        let early = look(&mut waiter);
        reader.join().unwrap();
        assert!(early == Poll::Ready(true) || look(&mut waiter) == Poll::Ready(true));
    });
}
