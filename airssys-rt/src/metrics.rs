//! How a system does, in numbers.

use crate::cell;
use crate::counters::Count;
use crate::system::System;

/// How many actors are looked at at a time.
const PAGE: u32 = 1024;

/// Counts of a system since it was made, and what it has now.
///
/// There is no exporter in this crate: whoever has one asks for the numbers when it is asked for them.
///
/// ```
/// # use airssys_rt::{Metrics, System};
/// /// The text format of Prometheus.
/// fn exposition(metrics: &Metrics) -> String {
///     let rows = [
///         ("airssys_actors_started_total", metrics.started),
///         ("airssys_actors_crashed_total", metrics.crashed),
///         ("airssys_restarts_total", metrics.restarts),
///         ("airssys_messages_handled_total", metrics.handled),
///         ("airssys_dead_letters_total{cause=\"expired\"}", metrics.dead_letters.expired),
///         ("airssys_actors", metrics.live),
///         ("airssys_timers", metrics.timers as u64),
///     ];
///     rows.map(|(name, value)| format!("{name} {value}\n")).concat()
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert!(exposition(&System::new().metrics()).contains("airssys_actors 0\n"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Incarnations that were started: of actors, supervisors, tasks, and what the runtime has for itself.
    pub started: u64,
    /// Those that have ended, or failed to start.
    pub ended: u64,
    /// Those that have not.
    pub live: u64,
    /// Those that have ended abnormally; see [`ExitReason::is_abnormal`](crate::ExitReason::is_abnormal). A kill is one.
    pub crashed: u64,
    /// Restarts by supervisors.
    pub restarts: u64,
    /// Entries that were taken out of mailboxes: messages, timers, what the runtime says; not those that
    /// [overtook](crate::ActorRef::cast_urgent). Messages that had expired or made room for others are among them.
    pub handled: u64,
    /// Messages that nobody handled, by cause.
    pub dead_letters: DeadLetters,
    /// How often the [watchdog](crate::SystemBuilder::watchdog) has reported an actor.
    pub blocked: u64,
    /// The tasks that run the actors: one for each thread of the runtime. None once it has shut down.
    pub drainers: usize,
    /// Those of them that have nothing to do.
    pub parked: usize,
    /// Timers that are armed: of actors, and of calls that wait.
    pub timers: usize,
}

/// How many messages were not handled, by [cause](crate::DeadLetterCause).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeadLetters {
    /// In a mailbox that closed.
    pub closed: u64,
    /// Dropped at the bound of a mailbox.
    pub overflow: u64,
    /// Not handled within their time to live.
    pub expired: u64,
    /// After the end of the actor.
    pub late: u64,
}

impl System {
    /// Takes the numbers of this system.
    ///
    /// Actors count for themselves what they handle, so this looks once at each that lives: some milliseconds for a
    /// hundred thousand. The numbers are read one after the other, so while the system is at work they may not quite
    /// fit each other; none of the counts ever goes back.
    pub fn metrics(&self) -> Metrics {
        let counters = self.inner().counters();
        // In this order, lest more have ended than were started.
        let ended = counters.sum(Count::Ended);
        let started = counters.sum(Count::Started);
        let drainers = self.inner().scheduler().stats();
        Metrics {
            started,
            ended,
            live: started.saturating_sub(ended),
            crashed: counters.sum(Count::Crashed),
            restarts: counters.sum(Count::Restarts),
            handled: self.handled(),
            dead_letters: DeadLetters {
                closed: counters.sum(Count::Closed),
                overflow: counters.sum(Count::Overflow),
                expired: counters.sum(Count::Expired),
                late: counters.sum(Count::Late),
            },
            blocked: counters.sum(Count::Blocked),
            drainers: drainers.drainers,
            parked: drainers.parked,
            timers: self.inner().timers().armed(),
        }
    }

    fn handled(&self) -> u64 {
        let system = self.inner();
        let mut handled = system.counters().sum(Count::Handled);
        let mut from = Some(0);
        while let Some(start) = from {
            let (cells, next) = cell::page(start, PAGE, |other| system.is(other));
            handled = cells.iter().fold(handled, |sum, cell| sum.wrapping_add(cell.taken()));
            from = next;
        }
        // One that ended between the two may be missing.
        system.counters().highest(handled)
    }
}
