//! What an actor takes part in, so that it leaves all of it at its end: names, groups, subscriptions.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::actor::{Actor, Context};
use crate::actor_ref::{ActorId, ActorRef};
use crate::cell::AnyCell;
use crate::link::{Hook, MonitorRef, Until};

/// Enough that two cores seldom meet; few enough that an idle system stays small.
pub(crate) const SHARDS: usize = 16;

/// Who can have a name, join a group or subscribe: an actor by its reference, or by its own [`Context`].
///
/// That decides how long it lasts. What is done by a *reference* lasts as long as the reference is good: until the
/// actor ends, or, where a [`Mailbox`](crate::Mailbox) outlives its incarnations, until that closes. What an actor
/// does by its *context* belongs to the incarnation, as in OTP: the next one does it again, in
/// [`init`](Actor::init).
pub trait Member<M>: sealed::Sealed<M> {}

impl<M: Send + 'static> Member<M> for ActorRef<M> {}
impl<A: Actor> Member<A::Msg> for Context<A> {}

pub(crate) mod sealed {
    use super::{ActorRef, Until};

    pub trait Sealed<M> {
        fn address(&self) -> ActorRef<M>;
        fn until(&self) -> Until;
    }
}

impl<M: Send + 'static> sealed::Sealed<M> for ActorRef<M> {
    fn address(&self) -> ActorRef<M> {
        self.clone()
    }

    fn until(&self) -> Until {
        Until::Close
    }
}

impl<A: Actor> sealed::Sealed<A::Msg> for Context<A> {
    fn address(&self) -> ActorRef<A::Msg> {
        self.actor_ref()
    }

    fn until(&self) -> Until {
        Until::Exit
    }
}

/// An actor, and for how long.
pub(crate) type Who = (ActorId, Until);

/// Which places (`K`) each actor has in one service, with a single hook at its end for all of them: an actor that
/// joins and leaves for ever does not grow.
///
/// The lock of a place is taken before the lock of a roll, and a hook holds neither while it waits for the other.
/// So an actor that ends while it enters either finds its end (`enter` refuses), or its hook finds the place.
pub(crate) struct Roll<K> {
    shards: [Mutex<HashMap<Who, Places<K>>>; SHARDS],
}

struct Places<K> {
    places: BTreeSet<K>,
    /// Whose end the hook waits for.
    actor: AnyCell,
    hook: MonitorRef,
}

impl<K: Ord> Roll<K> {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// Notes that the actor has a place; `hook` makes what runs at its end. False where it is dead.
    ///
    /// The caller holds the lock of that place.
    pub(crate) fn enter<M: Send + 'static>(
        &self,
        actor: &ActorRef<M>,
        until: Until,
        place: K,
        hook: impl FnOnce(Who) -> Hook,
    ) -> bool {
        let who = (actor.id(), until);
        match self.shard(who.0).entry(who) {
            Entry::Occupied(mut entry) => {
                entry.get_mut().places.insert(place);
            }
            Entry::Vacant(vacant) => {
                let Some(hook) = actor.at_end(until, hook(who)) else { return false };
                let actor = AnyCell::clone(actor.cell());
                vacant.insert(Places { places: BTreeSet::from([place]), actor, hook });
            }
        }
        true
    }

    /// Notes that the actor has left a place. The caller holds the lock of that place.
    pub(crate) fn leave(&self, who: Who, place: &K) {
        // An empty entry stays until the end: its hook does.
        if let Some(entry) = self.shard(who.0).get_mut(&who) {
            entry.places.remove(place);
        }
    }

    /// Takes all places of an actor that has ended.
    pub(crate) fn end(&self, who: Who) -> BTreeSet<K> {
        self.shard(who.0).remove(&who).map(|entry| entry.places).unwrap_or_default()
    }

    fn shard(&self, id: ActorId) -> MutexGuard<'_, HashMap<Who, Places<K>>> {
        // Slots are given out in ascending order, so neighbours get different shards.
        let [first, ..] = &self.shards;
        let shard = self.shards.get(id.slot() as usize % SHARDS).unwrap_or(first);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the hooks back: an actor may live longer than many a service.
impl<K> Drop for Roll<K> {
    fn drop(&mut self) {
        for shard in &mut self.shards {
            let shard = shard.get_mut().unwrap_or_else(PoisonError::into_inner);
            shard.values().for_each(|entry| entry.actor.unwatch(entry.hook));
        }
    }
}

/// The shard that a name belongs to. A quick mix of its two ends, not a hash: names that meet in a shard meet only at
/// its lock.
pub(crate) fn shard_of(name: &str) -> usize {
    const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
    let bytes = name.as_bytes();
    let first = bytes.first_chunk().map_or_else(|| word(bytes), |chunk| u64::from_le_bytes(*chunk));
    let last = bytes.last_chunk().map_or(0, |chunk| u64::from_le_bytes(*chunk));
    let mixed = (first ^ bytes.len() as u64).wrapping_mul(MIX);
    let mixed = (mixed ^ mixed >> 32 ^ last).wrapping_mul(MIX);
    ((mixed ^ mixed >> 32).wrapping_mul(MIX) >> 32) as usize % SHARDS
}

fn word(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mailbox::Mailbox;
    use std::sync::Arc;

    #[test]
    fn a_service_that_goes_takes_its_hooks_back() {
        let mailbox = Mailbox::<()>::default();
        let held = Arc::new(());
        for until in [Until::Exit, Until::Close] {
            let roll = Roll::new();
            for place in 0..3 {
                let held = Arc::clone(&held);
                assert!(roll.enter(&mailbox.actor_ref(), until, place, |_| Box::new(move |_| drop(held))));
            }
            assert_eq!(Arc::strong_count(&held), 2, "one hook for all places");
            drop(roll);
            assert_eq!(Arc::strong_count(&held), 1);
        }
    }

    #[test]
    fn who_is_closed_gets_no_place() {
        let mailbox = Mailbox::<()>::default();
        let actor = mailbox.actor_ref();
        let roll = Roll::new();
        assert!(roll.enter(&actor, Until::Close, 1, |_| Box::new(|_| {})));
        let who = (actor.id(), Until::Close);
        roll.leave(who, &1);
        assert!(roll.enter(&actor, Until::Close, 2, |_| Box::new(|_| {})));
        drop(mailbox);
        assert_eq!(roll.end(who), BTreeSet::from([2]));
        assert!(!roll.enter(&actor, Until::Close, 3, |_| Box::new(|_| {})));
        assert!(roll.end(who).is_empty());
    }

    #[test]
    fn names_are_spread_over_the_shards() {
        for prefix in ["", "w", "worker-", "a/rather/long/path/to/worker-"] {
            let mut hits = [0; SHARDS];
            (0..1_600).for_each(|n| hits[shard_of(&format!("{prefix}{n}"))] += 1);
            assert!(hits.iter().all(|hits| *hits > 30), "{prefix}: {hits:?}");
        }
    }
}
