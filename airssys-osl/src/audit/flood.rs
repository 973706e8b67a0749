//! Keeps denials from filling the disk: beyond a rate, those of a principal are counted instead of recorded.
//!
//! Pure: time comes in as an argument.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// How many principals are told apart. Beyond that, new ones share one count: as many names are an attack themselves.
const PRINCIPALS: usize = 4096;
const OTHERS: &str = "(others)";
/// How long denials are counted before a record says how many.
const SUMMARY_NS: u64 = 1_000_000_000;

/// How many denials of a principal are recorded one by one. The others are counted, and each second a record
/// `audit.suppressed` says how many there were, and which of them was the last that was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DenialLimit {
    /// So many at once.
    pub burst: u32,
    /// And so many a second.
    pub per_second: u32,
}

impl Default for DenialLimit {
    /// A thousand at once and a hundred a second: a program that fails in a loop shows; a guest that wants to fill the
    /// disk with denials of what changes nothing gets some 20 KB a second of it.
    fn default() -> Self {
        Self { burst: 1000, per_second: 100 }
    }
}

/// What is known of the denials of each principal.
#[derive(Debug)]
pub(super) struct Flood {
    limit: DenialLimit,
    principals: Mutex<HashMap<Box<str>, Count>>,
}

#[derive(Debug)]
struct Count {
    /// How many more may be recorded, in nanoseconds of the time that it takes to earn them.
    credit_ns: u64,
    at_ns: u64,
    /// The last one that was recorded.
    recorded: u64,
    suppressed: u64,
    suppressed_ns: u64,
}

/// How many denials of a principal were not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) principal: Box<str>,
    pub(super) count: u64,
    /// The last one that was.
    pub(super) like: u64,
}

impl Summary {
    /// What the record says.
    pub(super) fn text(&self) -> String {
        let Self { principal, count, like } = self;
        let who = match &**principal {
            OTHERS => format!(", of principals beyond the {PRINCIPALS} that are told apart"),
            _ => String::new(),
        };
        format!("{count} more denials like record {like}{who}")
    }
}

impl Flood {
    pub(super) fn new(limit: DenialLimit) -> Self {
        Self { limit, principals: Mutex::default() }
    }

    /// Asks whether a denial of this principal is to be recorded. If not, it is counted, and the number of one that was
    /// recorded is returned.
    pub(super) fn count(&self, principal: &str, now_ns: u64) -> Result<(), u64> {
        let mut principals = self.lock();
        let Some(count) = self.entry(&mut principals, principal, now_ns) else { return Ok(()) };
        let cost_ns = self.cost_ns();
        let earned_ns = now_ns.saturating_sub(count.at_ns);
        count.credit_ns = count.credit_ns.saturating_add(earned_ns).min(self.burst_ns());
        count.at_ns = count.at_ns.max(now_ns);
        if count.credit_ns >= cost_ns {
            count.credit_ns -= cost_ns;
            return Ok(());
        }
        if count.suppressed == 0 {
            count.suppressed_ns = now_ns;
        }
        count.suppressed += 1;
        Err(count.recorded)
    }

    /// Remembers which denial of a principal was recorded last.
    pub(super) fn recorded(&self, principal: &str, sequence: u64) {
        let mut principals = self.lock();
        let name = if principals.contains_key(principal) { principal } else { OTHERS };
        if let Some(count) = principals.get_mut(name) {
            count.recorded = sequence;
        }
    }

    /// Takes out what was counted for long enough, or at all where it `must` be told.
    pub(super) fn summaries(&self, now_ns: u64, must: bool) -> Vec<Summary> {
        let mut principals = self.lock();
        let due = principals.iter_mut().filter(|(_, count)| {
            count.suppressed > 0 && (must || now_ns.saturating_sub(count.suppressed_ns) >= SUMMARY_NS)
        });
        due.map(|(principal, count)| Summary {
            principal: principal.clone(),
            count: std::mem::take(&mut count.suppressed),
            like: count.recorded,
        })
        .collect()
    }

    /// Puts back what could not be told.
    pub(super) fn put_back(&self, summary: &Summary) {
        if let Some(count) = self.lock().get_mut(&summary.principal) {
            count.suppressed += summary.count;
        }
    }

    fn entry<'p>(
        &self,
        principals: &'p mut HashMap<Box<str>, Count>,
        principal: &str,
        now_ns: u64,
    ) -> Option<&'p mut Count> {
        if principals.len() >= PRINCIPALS && !principals.contains_key(principal) {
            // Whoever has nothing to be told and all credit back is as good as forgotten.
            let burst_ns = self.burst_ns();
            principals.retain(|_, count| {
                count.suppressed > 0
                    || count.credit_ns.saturating_add(now_ns.saturating_sub(count.at_ns)) < burst_ns
            });
        }
        let is_known = principals.contains_key(principal);
        let name = if is_known || principals.len() < PRINCIPALS { principal } else { OTHERS };
        if !is_known && !principals.contains_key(name) {
            let fresh = Count {
                credit_ns: self.burst_ns(),
                at_ns: now_ns,
                recorded: 0,
                suppressed: 0,
                suppressed_ns: 0,
            };
            principals.insert(name.into(), fresh);
        }
        principals.get_mut(name)
    }

    fn cost_ns(&self) -> u64 {
        // Where none is earned, a burst is all there ever is: no time pays for another.
        1_000_000_000_u64.checked_div(self.limit.per_second.into()).unwrap_or(u64::MAX / 2).max(1)
    }

    fn burst_ns(&self) -> u64 {
        self.cost_ns().saturating_mul(self.limit.burst.into())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Count>> {
        self.principals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn beyond_a_rate_denials_are_counted_and_the_count_is_told() {
        let flood = Flood::new(DenialLimit { burst: 3, per_second: 2 });
        let recorded = (0..10).filter(|_| flood.count("guest", SECOND_NS).is_ok()).count();
        assert_eq!(recorded, 3);
        flood.recorded("guest", 42);
        assert_eq!(flood.count("guest", SECOND_NS), Err(42));
        // Others have their own count.
        assert_eq!(flood.count("other", SECOND_NS), Ok(()));

        assert_eq!(flood.summaries(SECOND_NS, false), []);
        let told = Summary { principal: "guest".into(), count: 8, like: 42 };
        assert_eq!(flood.summaries(2 * SECOND_NS, false), std::slice::from_ref(&told));
        assert_eq!(flood.summaries(2 * SECOND_NS, true), []);
        flood.put_back(&told);
        assert_eq!(flood.summaries(2 * SECOND_NS, true), [told]);

        // Half a second pays for one, and no time for more than a burst.
        assert_eq!(flood.count("guest", SECOND_NS + SECOND_NS / 2), Ok(()));
        assert_eq!(flood.count("guest", SECOND_NS + SECOND_NS / 2), Err(42));
        let later = 1_000 * SECOND_NS;
        assert_eq!((0..10).filter(|_| flood.count("guest", later).is_ok()).count(), 3);
        // A clock that goes backwards pays nothing.
        assert_eq!(flood.count("guest", 0), Err(42));
    }

    #[test]
    fn the_number_of_principals_is_bounded() {
        let flood = Flood::new(DenialLimit { burst: 1, per_second: 1 });
        for number in 0..2 * PRINCIPALS {
            let _ = flood.count(&number.to_string(), 0);
        }
        assert!(flood.lock().len() <= PRINCIPALS + 1);
        // Whoever of them was recorded is who the others are like.
        flood.recorded("4096", 99);
        assert_eq!(flood.count("one more", 0), Err(99));
        let told = flood.summaries(SECOND_NS, true);
        let others = told.iter().find(|summary| &*summary.principal == OTHERS).unwrap();
        assert_eq!(
            others.text(),
            "4096 more denials like record 99, of principals beyond the 4096 that are told apart"
        );
    }

    #[test]
    fn where_nothing_is_earned_a_burst_is_all() {
        let flood = Flood::new(DenialLimit { burst: 1, per_second: 0 });
        assert_eq!(flood.count("guest", 0), Ok(()));
        assert!(flood.count("guest", SECOND_NS * 1_000_000).is_err());
    }
}
