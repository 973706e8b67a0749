//! Who waits for room in whose mailbox.
//!
//! A sender does not read its own mailbox while it waits. So where some wait for each other in a ring, nobody makes room for
//! anybody: the last of them to come sees the ring, and one message has to be given up.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use airssys_rt::ActorId;

/// The waits of a system: who waits, for whom, and which of its waits that is.
#[derive(Default)]
pub(super) struct Waits(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    waits: HashMap<ActorId, (ActorId, u64)>,
    begun: u64,
}

/// A ring in which somebody waits for itself: the waits of the others in it. As long as it is the same, none of them has
/// gone on.
#[derive(PartialEq, Eq)]
pub(super) struct Ring(Vec<u64>);

/// One that waits, as long as this lives.
pub(super) struct Wait {
    waits: Arc<Waits>,
    who: ActorId,
}

impl Waits {
    pub(super) fn begin(self: &Arc<Self>, who: ActorId, for_whom: ActorId) -> Wait {
        let mut inner = self.lock();
        inner.begun += 1;
        let number = inner.begun;
        inner.waits.insert(who, (for_whom, number));
        Wait { waits: self.clone(), who }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wait {
    /// The ring that it is part of.
    pub(super) fn ring(&self) -> Option<Ring> {
        let inner = self.waits.lock();
        let (mut next, _) = *inner.waits.get(&self.who)?;
        let mut ring = Vec::new();
        while next != self.who {
            let (after, number) = *inner.waits.get(&next)?;
            // Others may be in a ring that this one only leads to.
            if ring.contains(&number) {
                return None;
            }
            ring.push(number);
            next = after;
        }
        Some(Ring(ring))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.waits.lock().waits.remove(&self.who);
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
        let (a_waits, b_waits) = (waits.begin(a, b), waits.begin(b, c));
        assert!(a_waits.ring().is_none() && b_waits.ring().is_none(), "c does not wait");
        let c_waits = waits.begin(c, a);
        assert!([&a_waits, &b_waits, &c_waits].iter().all(|wait| wait.ring().is_some()));
        assert!(waits.begin(d, a).ring().is_none(), "it leads to a ring and is not in it");
        let before = c_waits.ring();
        assert!(before == c_waits.ring(), "nobody has gone on");
        drop(a_waits);
        assert!(c_waits.ring().is_none());
        let _a_waits_again = waits.begin(a, b);
        assert!(c_waits.ring().is_some_and(|ring| before != Some(ring)), "another wait, another ring");
    }
}
