//! From the actors, whose letters come at any time, to the file, which is written by one task.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use airssys_osl::{
    Principal,
    clock::{Clock, Timestamp},
};
use airssys_wasm::DeadLetter;
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinHandle,
    time::{Duration, timeout},
};

use super::{Letter, Shared, Shelf};
use crate::report::{Failure, Terminal, timestamp};

/// How much may wait to be written, in kibibytes: memory, where they come faster than a disk takes them.
const WAITING_KIB: u32 = 16 << 10;

/// How long the last letters may take to be written, at the end.
const LAST: Duration = Duration::from_secs(5);

/// Takes letters. What it has no room for is counted.
pub(crate) struct Post {
    next: AtomicU64,
    /// Each letter in it holds some of the room.
    letters: mpsc::UnboundedSender<(Letter, OwnedSemaphorePermit)>,
    room: Arc<Semaphore>,
    lost: Arc<AtomicU64>,
}

impl Post {
    /// Has a letter kept, and gives its number. It never waits.
    pub(crate) fn post(&self, dead: &DeadLetter<'_>) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let letter = Letter::draft(number, dead);
        let size = u32::try_from(letter.size().div_ceil(1024)).unwrap_or(WAITING_KIB);
        let sent = self
            .room
            .clone()
            .try_acquire_many_owned(size)
            .is_ok_and(|room| self.letters.send((letter, room)).is_ok());
        if !sent {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        number
    }
}

/// Keeps letters until nobody can post one any more.
pub(crate) struct Keeper {
    pub(crate) shelf: Shared,
    task: JoinHandle<()>,
}

impl Keeper {
    pub(crate) fn start(
        shelf: Shelf,
        program: &Principal,
        terminal: Arc<Terminal>,
    ) -> Result<(Post, Self), Failure> {
        let clock = program.clock();
        let clock = clock.map_err(|error| Failure::failed("cannot read the clock").caused_by(error))?;
        let (letters, posted) = mpsc::unbounded_channel();
        let lost = Arc::<AtomicU64>::default();
        let post = Post {
            next: AtomicU64::new(shelf.next()),
            letters,
            room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
            lost: lost.clone(),
        };
        let shelf = Shared::new(shelf);
        let task = tokio::spawn(keep(posted, shelf.clone(), clock, lost, terminal));
        Ok((post, Self { shelf, task }))
    }

    /// Waits until the last letters are written. The system is gone, and with it every sender but those of actors that
    /// were killed and never ran again.
    pub(crate) async fn finish(self) {
        if timeout(LAST, self.task).await.is_err() {
            tracing::warn!("dead letters are still being written; not waiting for them any longer");
        }
    }
}

async fn keep(
    mut posted: mpsc::UnboundedReceiver<(Letter, OwnedSemaphorePermit)>,
    shelf: Shared,
    clock: Clock,
    lost: Arc<AtomicU64>,
    terminal: Arc<Terminal>,
) {
    let mut is_failing = false;
    while let Some((mut letter, _room)) = posted.recv().await {
        letter.complete(clock.wall_now().map_or_else(|_| "unknown".to_owned(), timestamp_of));
        let number = letter.number;
        match shelf.keep(letter).await {
            Ok(0) => is_failing = false,
            Ok(given_up) => {
                is_failing = false;
                let line = format!(
                    "  dead letters  the {given_up} oldest were thrown away: there was no room for more"
                );
                terminal.tell(&line, || json!({"event": "dead_letters_dropped", "count": given_up}));
            }
            Err(error) => {
                lost.fetch_add(1, Ordering::Relaxed);
                // Once is enough where a disk is full.
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(cause = %error, letter = number, "cannot keep a dead letter");
                }
            }
        }
        tell_lost(&lost, &terminal);
    }
    tell_lost(&lost, &terminal);
}

/// Tells what was lost since it was told last.
fn tell_lost(lost: &AtomicU64, terminal: &Terminal) {
    let count = lost.swap(0, Ordering::Relaxed);
    if count > 0 {
        let line =
            format!("  dead letters  {count} were not kept: they came too fast, or could not be written");
        terminal.tell(&line, || json!({"event": "dead_letters_lost", "count": count}));
    }
}

fn timestamp_of(time: Timestamp) -> String {
    let nanoseconds = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanoseconds);
    timestamp(u64::try_from(nanoseconds).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_there_is_no_room_for_is_counted_and_what_is_written_makes_room() {
        let (letters, mut posted) = mpsc::unbounded_channel();
        let post = Post {
            next: AtomicU64::new(5),
            letters,
            room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
            lost: Arc::default(),
        };
        let (payload, reason) = (vec![b'x'; 1 << 20], "it crashed");
        let dead = DeadLetter {
            component: "b",
            sender: "a",
            subject: "s",
            content_type: "",
            is_published: false,
            payload: &payload,
            deliveries: 3,
            trace: [7; 16],
            reason: &reason,
        };
        let numbers: Vec<u64> = (0..17).map(|_| post.post(&dead)).collect();
        assert_eq!(numbers, (5..22).collect::<Vec<_>>());
        assert_eq!(post.lost.load(Ordering::Relaxed), 2, "sixteen mebibytes, less what an envelope takes");
        drop(posted.try_recv().unwrap());
        post.post(&dead);
        assert_eq!(post.lost.load(Ordering::Relaxed), 2);
    }
}
