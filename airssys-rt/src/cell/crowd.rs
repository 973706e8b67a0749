//! Senders on several threads that push into the same queue at the same time.
//!
//! Each push then waits for two lines of memory to come over from the other processor, which takes several times as
//! long as the push itself. So a thread that feels it looks away for a moment, then pushes many times in a row while
//! the others look away: they take turns, and the memory stays where it is.

use std::cell::Cell;
use std::time::Duration;

use super::arena::CHUNK_BYTES;

/// How long a sender looks away.
pub(super) const LOOK_AWAY: Duration = Duration::from_nanos(1000);

/// How often it pushes then without looking whether there is a crowd.
const IN_A_ROW: i32 = 32;

/// A push behind another thread's counts for so much, one behind an own takes one away,
const FOREIGN: i32 = 2;

/// and with so much there is a crowd.
const CROWD: i32 = 8;

thread_local! {
    /// The queue that this thread pushed into last,
    static LAST: Cell<usize> = const { Cell::new(0) };
    /// and what it has felt there; below zero, how often it may still push without looking.
    static FELT: Cell<i32> = const { Cell::new(0) };
}

/// Notes that the node at `own` was pushed into `queue` behind the one at `previous`; whether the sender should look
/// away now.
#[inline]
pub(super) fn is_felt(queue: usize, previous: usize, own: usize) -> bool {
    if LAST.get() != queue {
        LAST.set(queue);
        FELT.set(0);
        return false;
    }
    // A thread carves its nodes out of a chunk of its own, one after the other.
    let is_foreign = previous / CHUNK_BYTES != own / CHUNK_BYTES;
    let felt = FELT.get();
    if felt == 0 && !is_foreign {
        return false;
    }
    let (now, crowd) = match felt {
        ..0 => (felt + 1, false),
        _ if !is_foreign => (felt - 1, false),
        _ if felt + FOREIGN < CROWD => (felt + FOREIGN, false),
        _ => (-IN_A_ROW, true),
    };
    FELT.set(now);
    crowd
}
