//! Who waits for room in whose mailbox.
//!
//! A sender does not read its own mailbox while it waits. So where some wait for each other in a ring, nobody makes room for
//! anybody: the last of them to come sees the ring, and one message has to be given up.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use airssys_rt::ActorId;

/// The waits of a system: who waits, for whom, and which of its waits that is.
#[derive(Default)]
pub(super) struct Waits(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// Of each that waits, by their numbers: one, or as many as work at a time.
    waits: HashMap<ActorId, BTreeMap<u64, Waiting>>,
    begun: u64,
}

struct Waiting {
    for_whom: ActorId,
    /// How many of its kind have to wait until nobody reads the mailbox of who waits.
    places: usize,
}

/// A ring in which somebody waits for itself: the waits of the others in it. As long as it is the same, none of them has
/// gone on.
#[derive(PartialEq, Eq)]
pub(super) struct Ring(Vec<u64>);

/// One that waits, as long as this lives.
pub(super) struct Wait {
    waits: Arc<Waits>,
    who: ActorId,
    number: u64,
}

impl Waits {
    pub(super) fn begin(self: &Arc<Self>, who: ActorId, places: usize, for_whom: ActorId) -> Wait {
        let mut inner = self.lock();
        inner.begun += 1;
        let number = inner.begun;
        inner.waits.entry(who).or_default().insert(number, Waiting { for_whom, places });
        Wait { waits: self.clone(), who, number }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// The ring that it is part of. Where several of one component wait, that is all that wait for each other: as long as one
    /// of them can go on, there is none.
    pub(super) fn ring(&self) -> Option<Ring> {
        let inner = self.waits.lock();
        let first = inner.waits.get(&self.who)?.get(&self.number)?.for_whom;
        let (mut next, mut reached) = (vec![first], HashSet::from([first]));
        let mut ring = Vec::new();
        while let Some(one) = next.pop() {
            let waits = inner.waits.get(&one)?;
            if waits.values().all(|waiting| waits.len() < waiting.places) {
                return None;
            }
            for (number, waiting) in waits {
                ring.extend(Some(*number).filter(|number| *number != self.number));
                if reached.insert(waiting.for_whom) {
                    next.push(waiting.for_whom);
                }
            }
        }
        ring.sort_unstable();
        // Others may be in a ring that this one only leads to.
        reached.contains(&self.who).then_some(Ring(ring))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut inner = self.waits.lock();
        if let Some(waits) = inner.waits.get_mut(&self.who) {
            waits.remove(&self.number);
            if waits.is_empty() {
                inner.waits.remove(&self.who);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use airssys_rt::Mailbox;

    use super::*;

    #[test]
    fn a_ring_is_seen_by_whoever_is_part_of_it() {
        let mailboxes: Vec<_> = (0..4).map(|_| Mailbox::<()>::bounded(1)).collect();
        let [a, b, c, d] = [0, 1, 2, 3].map(|at: usize| mailboxes[at].actor_ref().id());
        let waits = Arc::<Waits>::default();
        let (a_waits, b_waits) = (waits.begin(a, 1, b), waits.begin(b, 1, c));
        assert!(a_waits.ring().is_none() && b_waits.ring().is_none(), "c does not wait");
        let c_waits = waits.begin(c, 1, a);
        assert!([&a_waits, &b_waits, &c_waits].iter().all(|wait| wait.ring().is_some()));
        assert!(waits.begin(d, 1, a).ring().is_none(), "it leads to a ring and is not in it");
        let before = c_waits.ring();
        assert!(before == c_waits.ring(), "nobody has gone on");
        drop(a_waits);
        assert!(c_waits.ring().is_none());
        let _a_waits_again = waits.begin(a, 1, b);
        assert!(c_waits.ring().is_some_and(|ring| before != Some(ring)), "another wait, another ring");
    }

    #[test]
    fn who_has_several_places_waits_when_all_of_them_do() {
        let mailboxes: Vec<_> = (0..3).map(|_| Mailbox::<()>::bounded(1)).collect();
        let [a, b, c] = [0, 1, 2].map(|at: usize| mailboxes[at].actor_ref().id());
        let waits = Arc::<Waits>::default();
        let (one, b_waits) = (waits.begin(a, 2, b), waits.begin(b, 1, a));
        assert!(one.ring().is_none() && b_waits.ring().is_none(), "its other place reads");
        let other = waits.begin(a, 2, c);
        assert!(one.ring().is_none() && b_waits.ring().is_none(), "c goes on, and so will the other place");
        let c_waits = waits.begin(c, 1, a);
        assert!([&one, &other, &b_waits, &c_waits].iter().all(|wait| wait.ring().is_some()));
        drop(one);
        assert!(
            other.ring().is_none() && b_waits.ring().is_none(),
            "what one gives up leaves the other's wait"
        );
        let _whole = waits.begin(a, 1, b);
        assert!(b_waits.ring().is_some(), "where all of it waits, its places do not count");
    }
}
