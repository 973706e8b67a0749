//! The room that is left in a mailbox with a bound, and those who wait for some.
//!
//! Most senders find some: that is one counter. Who finds none stands in line, and is given the first that is made;
//! nobody who sees a line takes any past it.

use std::collections::VecDeque;
use std::sync::PoisonError;

use tokio::sync::oneshot;

use crate::cell::{AtomicU32, Mutex, MutexGuard, Ordering, fence};

/// In `waiting`: there will be no more room, for ever.
const CLOSED: u32 = 1 << 31;

/// The largest share of the room that is given out at a time. One, where addresses leave no place for more in the word that
/// senders change.
const LARGEST_SHARE: u32 = if usize::BITS == 64 { 128 } else { 1 };

pub(super) struct Room {
    /// What is there for whoever comes.
    free: AtomicU32,
    /// So much a sender fetches at a time, for those who come after it; and so much has to be left before the reader wakes
    /// those who wait. Neither is worth it for one.
    share: u32,
    /// How many stand in line; only changed under its lock.
    waiting: AtomicU32,
    /// Those who wait. Most mailboxes never have one.
    line: Mutex<Option<Box<Line>>>,
}

/// Those who wait, the first one first.
#[derive(Default)]
struct Line(VecDeque<Place>);

/// Tells one who waits that there is room for it, which nobody else has.
type Place = oneshot::Sender<()>;

/// One who waits.
struct Waiter<'a> {
    room: &'a Room,
    given: oneshot::Receiver<()>,
}

impl Room {
    pub(super) fn new(free: u32) -> Self {
        Self {
            free: AtomicU32::new(free),
            share: (free / 8).clamp(1, LARGEST_SHARE),
            waiting: AtomicU32::new(0),
            line: Mutex::new(None),
        }
    }

    /// How much of it is given out at a time.
    pub(super) fn share(&self) -> u32 {
        self.share
    }

    /// How much is left.
    pub(super) fn left(&self) -> usize {
        self.free.load(Ordering::Relaxed) as usize
    }

    /// Takes a share, or what there is of one, unless somebody waits for it.
    pub(super) fn take(&self) -> u32 {
        if self.has_line() { 0 } else { self.take_up_to(self.share) }
    }

    fn take_up_to(&self, most: u32) -> u32 {
        let less = |free: u32| (free > 0).then(|| free.saturating_sub(most));
        let taken = self.free.fetch_update(Ordering::AcqRel, Ordering::Relaxed, less);
        taken.map_or(0, |free| free.min(most))
    }

    /// Waits for room for one, in line; false where there will not be any. Others may have taken some for messages to
    /// come: `back` gives it back, as far as it is not used, when they can see that there is a line.
    ///
    /// # Cancel safety
    ///
    /// Who gives up leaves to the others what it was given. Its place in line goes when that would grow.
    pub(super) async fn wait(&self, back: impl FnOnce() -> u32) -> bool {
        let Some(mut waiter) = self.stand_in_line() else { return false };
        self.free.fetch_add(back(), Ordering::AcqRel);
        // Some may have been made before anybody could see that there is a line.
        self.serve();
        (&mut waiter.given).await.is_ok()
    }

    fn stand_in_line(&self) -> Option<Waiter<'_>> {
        let mut line = self.line();
        if self.waiting.load(Ordering::Relaxed) & CLOSED != 0 {
            return None;
        }
        let (place, given) = oneshot::channel();
        let places = &mut line.get_or_insert_default().0;
        let gone = without_the_gone(places);
        places.push_back(place);
        // No more than fit into memory.
        self.waiting.store(places.len() as u32, Ordering::Release);
        drop(line);
        // Not under the lock: what is dropped with them is the user's.
        drop(gone);
        // Either who makes room sees that there is a line, or `serve` sees the room.
        fence(Ordering::SeqCst);
        Some(Waiter { room: self, given })
    }

    /// Gives out room for so many that the reader has taken out of the queue; `back` as in [`wait`](Self::wait).
    ///
    /// Those who wait have to wait on until there is enough. There will be: what is missing then is in the queue, or with
    /// somebody who is about to queue it or to give it back.
    pub(super) fn settle(&self, more: u32, back: impl FnOnce() -> u32) {
        let mut left = self.free.fetch_add(more, Ordering::AcqRel) + more;
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) & !CLOSED == 0 {
            return;
        }
        if left < self.share {
            let back = back();
            left = self.free.fetch_add(back, Ordering::AcqRel) + back;
        }
        if left >= self.share {
            self.serve();
        }
    }

    /// Gives back room for so many.
    pub(super) fn make(&self, more: u32) {
        self.free.fetch_add(more, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) & !CLOSED != 0 {
            self.serve();
        }
    }

    /// Gives what is left to those in line.
    fn serve(&self) {
        // Not under the lock: it wakes somebody.
        while let Some(place) = self.next() {
            if place.send(()).is_err() {
                // It has given up.
                self.free.fetch_add(1, Ordering::AcqRel);
            }
        }
    }

    /// Whether some stand in line.
    pub(super) fn has_line(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    /// The first in line, where there is room for it.
    fn next(&self) -> Option<Place> {
        let mut line = self.line();
        let line = line.as_mut().filter(|line| !line.0.is_empty())?;
        if self.take_up_to(1) == 0 {
            return None;
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        line.0.pop_front()
    }

    /// No more room, for ever: those who wait for some are told.
    pub(super) fn close(&self) {
        let mut line = self.line();
        self.waiting.store(CLOSED, Ordering::Release);
        let told = line.take();
        drop(line);
        drop(told);
    }

    fn line(&self) -> MutexGuard<'_, Option<Box<Line>>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes out of a line that would grow those who have given up.
fn without_the_gone(places: &mut VecDeque<Place>) -> VecDeque<Place> {
    let mut gone = VecDeque::new();
    if places.len() == places.capacity() {
        let (left, stay) = places.drain(..).partition(Place::is_closed);
        (gone, *places) = (left, stay);
        // As many again, lest this is done each time.
        places.reserve(places.len().max(4));
    }
    gone
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        // From now on nothing is given to it; what was, and was not taken, is the others'.
        self.given.close();
        if self.given.try_recv().is_ok() {
            self.room.make(1);
        }
    }
}

#[cfg(all(test, airssys_loom))]
mod models;

#[cfg(all(test, not(airssys_loom)))]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn who_waits_comes_before_who_comes_later() {
        let room = Arc::new(Room::new(1));
        assert!(room.take() == 1);
        assert!(room.take() == 0);
        let order = Arc::new(std::sync::Mutex::new(Vec::new()));
        let waiters: Vec<_> = (0..3)
            .map(|number| {
                let (room, order) = (Arc::clone(&room), Arc::clone(&order));
                tokio::spawn(async move {
                    assert!(room.wait(|| 0).await);
                    order.lock().unwrap().push(number);
                })
            })
            .collect();
        tokio::task::yield_now().await;
        room.make(2);
        assert!(room.take() == 0, "it is for those who wait");
        tokio::task::yield_now().await;
        assert_eq!(*order.lock().unwrap(), [0, 1]);
        room.make(2);
        for waiter in waiters {
            waiter.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), [0, 1, 2]);
        assert_eq!(room.left(), 1);
        assert!(room.take() == 1, "nobody waits any more");
        assert!(room.take() == 0);
    }

    #[tokio::test]
    async fn who_gives_up_leaves_its_room_to_the_others() {
        let room = Arc::new(Room::new(0));
        let wait = |room: Arc<Room>| tokio::spawn(async move { room.wait(|| 0).await });
        let (first, second) = (wait(Arc::clone(&room)), wait(Arc::clone(&room)));
        tokio::task::yield_now().await;
        // What it was given, it has not taken yet.
        room.make(1);
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled());
        assert!(second.await.unwrap());
        assert_eq!(room.left(), 0);
        let third = wait(Arc::clone(&room));
        tokio::task::yield_now().await;
        room.make(1);
        third.abort();
        assert!(third.await.unwrap_err().is_cancelled());
        assert!(room.take() == 1);
    }

    #[tokio::test]
    async fn those_who_give_up_take_no_memory() {
        let room = Room::new(0);
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        let mut stays = std::pin::pin!(room.wait(|| 0));
        assert!(stays.as_mut().poll(cx).is_pending());
        for _ in 0..10_000 {
            assert!(std::pin::pin!(room.wait(|| 0)).poll(cx).is_pending());
        }
        let places = room.line().as_ref().map_or(0, |line| line.0.len());
        assert!(places < 100, "{places} places for one who waits");
        room.make(1);
        assert!(stays.await);
        assert_eq!(room.left(), 0);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_closed_mailbox() {
        let room = Arc::new(Room::new(0));
        let waiter = tokio::spawn({
            let room = Arc::clone(&room);
            async move { room.wait(|| 0).await }
        });
        tokio::task::yield_now().await;
        room.close();
        assert!(!waiter.await.unwrap());
        assert!(!room.wait(|| 0).await);
        room.make(1);
        assert!(room.take() == 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_room_is_lost_or_made_up_between_threads() {
        const ROUNDS: u32 = 20_000;
        let (room, inside) = (Arc::new(Room::new(2)), Arc::new(AtomicUsize::new(0)));
        let senders: Vec<_> = (0..4)
            .map(|_| {
                let (room, inside) = (Arc::clone(&room), Arc::clone(&inside));
                tokio::spawn(async move {
                    for round in 0..ROUNDS {
                        if room.take() == 0 {
                            let waited = tokio::time::timeout(std::time::Duration::ZERO, room.wait(|| 0));
                            // Some give up at once, in the middle of being given some.
                            let entered =
                                if round % 3 == 0 { waited.await } else { Ok(room.wait(|| 0).await) };
                            if entered != Ok(true) {
                                continue;
                            }
                        }
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        room.make(1);
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        assert_eq!(room.left(), 2);
    }
}
