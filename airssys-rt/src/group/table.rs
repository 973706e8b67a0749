//! Who is in which group.

use std::any::{Any, type_name};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};
use std::task::Waker;

use super::GroupError;
use super::monitor::{GroupEvent, Queue};
use crate::actor_ref::{ActorId, ActorRef};
use crate::link::{Hook, Until};
use crate::membership::{Roll, SHARDS, Who, shard_of};
use crate::registry::check_name;

/// The groups of one system.
pub(crate) struct Groups {
    shards: [RwLock<Shard>; SHARDS],
    roll: Roll<Arc<str>>,
}

type Shard = HashMap<Arc<str>, Box<dyn AnyTable>>;

/// One group: exists while it has members or monitors.
pub(super) struct Table<M> {
    /// In the order of ids, so that what is done to all is done in the same order each time.
    members: BTreeMap<Who, Joined<M>>,
    /// The members, until somebody comes or goes.
    snapshot: Option<Arc<[ActorRef<M>]>>,
    queues: Vec<Arc<Queue<M>>>,
}

struct Joined<M> {
    actor: ActorRef<M>,
    times: usize,
}

/// A table of whatever message type. What the methods return is to be woken when the lock is free again.
trait AnyTable: Any + Send + Sync {
    fn remove(&mut self, who: Who) -> Vec<Waker>;
    fn has_members(&self) -> bool;
    fn is_idle(&self) -> bool;
    fn message(&self) -> &'static str;
}

impl<M: Send + 'static> AnyTable for Table<M> {
    fn remove(&mut self, who: Who) -> Vec<Waker> {
        let Some(joined) = self.members.remove(&who) else { return Vec::new() };
        self.snapshot = None;
        (0..joined.times).flat_map(|_| self.tell(&GroupEvent::Left(joined.actor.clone()))).collect()
    }

    fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    fn is_idle(&self) -> bool {
        self.members.is_empty() && self.queues.is_empty()
    }

    fn message(&self) -> &'static str {
        type_name::<M>()
    }
}

impl<M: Send + 'static> Table<M> {
    fn new() -> Self {
        Self { members: BTreeMap::new(), snapshot: None, queues: Vec::new() }
    }

    fn add(&mut self, who: Who, actor: ActorRef<M>) -> Vec<Waker> {
        self.snapshot = None;
        let event = GroupEvent::Joined(actor.clone());
        self.members.entry(who).or_insert(Joined { actor, times: 0 }).times += 1;
        self.tell(&event)
    }

    /// Takes a member out once; the flag says that it was the last time.
    fn subtract(&mut self, who: Who) -> Option<(bool, Vec<Waker>)> {
        let joined = self.members.get_mut(&who)?;
        if joined.times == 1 {
            return Some((true, self.remove(who)));
        }
        joined.times -= 1;
        let event = GroupEvent::Left(joined.actor.clone());
        self.snapshot = None;
        Some((false, self.tell(&event)))
    }

    pub(super) fn snapshot(&mut self) -> Arc<[ActorRef<M>]> {
        let members = &self.members;
        let list = || members.values().flat_map(|joined| std::iter::repeat_n(&joined.actor, joined.times));
        Arc::clone(self.snapshot.get_or_insert_with(|| list().cloned().collect()))
    }

    pub(super) fn watch(&mut self, queue: Arc<Queue<M>>) {
        self.queues.push(queue);
    }

    pub(super) fn unwatch(&mut self, queue: &Arc<Queue<M>>) {
        self.queues.retain(|other| !Arc::ptr_eq(other, queue));
    }

    fn tell(&self, event: &GroupEvent<M>) -> Vec<Waker> {
        self.queues.iter().filter_map(|queue| queue.push(event)).collect()
    }
}

impl Groups {
    pub(crate) fn new() -> Self {
        Self { shards: std::array::from_fn(|_| RwLock::default()), roll: Roll::new() }
    }

    pub(super) fn join<M: Send + 'static>(
        self: &Arc<Self>,
        group: &Arc<str>,
        actor: ActorRef<M>,
        until: Until,
    ) -> Result<(), GroupError> {
        let mut shard = self.write(group);
        let table = table_of::<M>(&mut shard, group)?;
        let wakers = if self.roll.enter(&actor, until, Arc::clone(group), |who| self.hook(who)) {
            Ok(table.add((actor.id(), until), actor))
        } else {
            Err(GroupError::NoProc)
        };
        prune(&mut shard, group);
        drop(shard);
        wakers?.into_iter().for_each(Waker::wake);
        Ok(())
    }

    pub(super) fn leave<M: Send + 'static>(&self, group: &Arc<str>, id: ActorId, until: Until) -> bool {
        let other = match until {
            Until::Exit => Until::Close,
            Until::Close => Until::Exit,
        };
        let mut shard = self.write(group);
        let Some(table) = existing::<M>(&mut shard, group) else { return false };
        let left = [(id, until), (id, other)]
            .into_iter()
            .find_map(|who| table.subtract(who).map(|(last, wakers)| (who, last, wakers)));
        let Some((who, last, wakers)) = left else { return false };
        if last {
            self.roll.leave(who, group);
        }
        prune(&mut shard, group);
        drop(shard);
        wakers.into_iter().for_each(Waker::wake);
        true
    }

    pub(super) fn members<M: Send + 'static>(&self, group: &str) -> Arc<[ActorRef<M>]> {
        {
            let shard = self.shard(group).read().unwrap_or_else(PoisonError::into_inner);
            let table = shard.get(group).map(|table| &**table as &dyn Any);
            match table.and_then(<dyn Any>::downcast_ref::<Table<M>>) {
                Some(Table { snapshot: Some(snapshot), .. }) => return Arc::clone(snapshot),
                Some(_) => {}
                None => return Arc::default(),
            }
        }
        existing::<M>(&mut self.write(group), group).map(Table::snapshot).unwrap_or_default()
    }

    pub(super) fn which(&self) -> Vec<Arc<str>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            let groups = shard.iter().filter(|(_, table)| table.has_members());
            all.extend(groups.map(|(name, _)| Arc::clone(name)));
        }
        all.sort_unstable();
        all
    }

    /// Lets `act` work on a group under its lock, which is made for it and goes again where it is still idle.
    pub(super) fn with<M: Send + 'static, T>(
        &self,
        group: &Arc<str>,
        act: impl FnOnce(&mut Table<M>) -> T,
    ) -> Result<T, GroupError> {
        let mut shard = self.write(group);
        let result = act(table_of(&mut shard, group)?);
        prune(&mut shard, group);
        Ok(result)
    }

    /// What takes an actor that ends out of its groups. It does not keep the system alive.
    fn hook(self: &Arc<Self>, who: Who) -> Hook {
        let groups: Weak<Self> = Arc::downgrade(self);
        Box::new(move |_| {
            let Some(groups) = groups.upgrade() else { return };
            for group in groups.roll.end(who) {
                let mut shard = groups.write(&group);
                let Some(table) = shard.get_mut(&group) else { continue };
                let wakers = table.remove(who);
                prune(&mut shard, &group);
                drop(shard);
                wakers.into_iter().for_each(Waker::wake);
            }
        })
    }

    fn write(&self, group: &str) -> RwLockWriteGuard<'_, Shard> {
        self.shard(group).write().unwrap_or_else(PoisonError::into_inner)
    }

    fn shard(&self, group: &str) -> &RwLock<Shard> {
        let [first, ..] = &self.shards;
        self.shards.get(shard_of(group)).unwrap_or(first)
    }
}

/// The table of a group, made where there is none.
fn table_of<'s, M: Send + 'static>(
    shard: &'s mut Shard,
    group: &Arc<str>,
) -> Result<&'s mut Table<M>, GroupError> {
    check_name(group).map_err(GroupError::BadName)?;
    let table = shard.entry(Arc::clone(group)).or_insert_with(|| Box::new(Table::<M>::new()));
    let message = table.message();
    let any: &mut dyn Any = &mut **table;
    any.downcast_mut().ok_or_else(|| GroupError::OtherType { group: Arc::clone(group), message })
}

fn existing<'s, M: Send + 'static>(shard: &'s mut Shard, group: &str) -> Option<&'s mut Table<M>> {
    let any: &mut dyn Any = &mut **shard.get_mut(group)?;
    any.downcast_mut()
}

fn prune(shard: &mut Shard, group: &str) {
    if shard.get(group).is_some_and(|table| table.is_idle()) {
        shard.remove(group);
    }
}
