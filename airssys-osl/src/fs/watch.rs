//! Changes in a directory, as they come.

use std::{
    collections::VecDeque, ffi::OsString, fmt, future::poll_fn, path::Path, pin::pin, task::Poll,
    time::Duration,
};

use tokio::sync;

use super::{Dir, verb};
use crate::{
    Error,
    limits::WATCH_EVENTS,
    os::{Done, Fault, Name, Operation, Slot},
    sys,
};

/// The changes in a directory, one after the other: made by [`Dir::watch`].
pub struct Watch {
    dir: Dir,
    watch: sys::Watch,
    queue: Queue,
    /// How long to wait for more of the same before the first of them is told.
    window: Duration,
    changes: sync::watch::Receiver<()>,
    done: bool,
    _slot: Slot,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WatchEvent {
    /// What happened.
    pub kind: WatchKind,
    /// To which name in the directory; empty where it happened to the directory itself.
    pub name: OsString,
}

/// What happened in a watched directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WatchKind {
    /// Something has the name that had not: made, linked, or moved here.
    Appeared,
    /// Nothing has the name any more: removed, or moved away.
    Vanished,
    /// The content changed.
    Changed,
    /// Permissions, times or the number of names changed.
    Metadata,
    /// More happened than was taken: look at the directory anew. What was not yet taken is gone.
    Overflow,
    /// The directory itself was removed or moved. It is the last event.
    Gone,
}

/// What waits to be taken.
#[derive(Debug, Default)]
struct Queue(VecDeque<WatchEvent>);

impl Dir {
    /// Watches the names in this directory; not what is in directories beneath it.
    ///
    /// A change that is like the last one of the same name, and not yet taken, is not told again; so are changes of
    /// something that just appeared. `window` is how long to wait for such, after the first. At most [`WATCH_EVENTS`]
    /// wait: more of them become one [`Overflow`](WatchKind::Overflow).
    ///
    /// Needs the right LIST. Leaves one record for the beginning, and one for the denial that ends it, if one does.
    ///
    /// # Errors
    ///
    /// * [`Denied`](crate::ErrorKind::Denied): policy said no.
    /// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): too much is open, or watched by this user.
    /// * [`Unsupported`](crate::ErrorKind::Unsupported): not on Linux, or without procfs.
    ///
    /// # Panics
    ///
    /// Panics in a runtime without input and output.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future watches nothing; the record then says `cancelled`.
    pub async fn watch(&self, window: Duration) -> Result<Watch, Error> {
        // It is asked for changes from before the decision on, so that none falls in between.
        let changes = self.access.principal().os().changes();
        let execute = async {
            let slot = self.access.slot()?;
            Ok(Done::new((sys::Watch::start(&self.place.directory)?, slot)))
        };
        let (watch, slot) = self.access.run(verb::WATCH, self.named(Path::new("")), execute).await?;
        Ok(Watch {
            dir: self.clone(),
            watch,
            queue: Queue::default(),
            window,
            changes,
            done: false,
            _slot: slot,
        })
    }
}

impl Watch {
    /// The next change. It ends with an error where the principal is revoked, or the policy does not let it list the
    /// directory any more, also while this waits; after that there is `None`.
    ///
    /// # Cancel safety
    ///
    /// No change is lost.
    pub async fn next(&mut self) -> Option<Result<WatchEvent, Error>> {
        if self.done {
            return None;
        }
        let next = self.wait().await;
        self.done = !next.as_ref().is_ok_and(|event| event.kind != WatchKind::Gone);
        Some(next)
    }

    async fn wait(&mut self) -> Result<WatchEvent, Error> {
        loop {
            self.dir.access.check(verb::WATCH, self.dir.named(Path::new("")))?;
            if let Some(event) = self.queue.0.pop_front() {
                return Ok(event);
            }
            let Self { watch, queue, changes, .. } = self;
            let Some(result) = either(watch.next(|event| queue.add(event)), changes.changed()).await else {
                // What holds may be something else now: it is decided again.
                continue;
            };
            result.map_err(|fault| self.error(fault))?;
            if !self.window.is_zero() {
                // Dropped here, what came is in the queue already.
                tokio::time::sleep(self.window).await;
            }
            while self.watch.drain(&mut |event| self.queue.add(event)).is_ok() {}
        }
    }

    fn error(&self, fault: Fault) -> Error {
        let principal = self.dir.access.principal();
        let operation = Operation {
            os: principal.os(),
            principal: principal.name(),
            action: verb::WATCH.action,
            resource: Name::beneath(&self.dir.name, b""),
            other: None,
            mutates: false,
        };
        operation.error(fault)
    }
}

impl Queue {
    /// Adds an event, unless it says nothing new.
    fn add(&mut self, event: WatchEvent) {
        let last = self.0.iter().rev().find(|queued| queued.name == event.name);
        let known = last.is_some_and(|last| {
            last.kind == event.kind
                || (last.kind == WatchKind::Appeared
                    && matches!(event.kind, WatchKind::Changed | WatchKind::Metadata))
        });
        if known || self.0.front().is_some_and(|first| first.kind == WatchKind::Overflow) {
            return;
        }
        if event.kind == WatchKind::Overflow || self.0.len() >= WATCH_EVENTS {
            self.0.clear();
            self.0.push_back(WatchEvent { kind: WatchKind::Overflow, name: OsString::new() });
        } else {
            self.0.push_back(event);
        }
    }
}

/// Waits for the first of two; `None` where that is the second. The door's changes cannot end before its handles do,
/// so that how they end says nothing.
async fn either<T, U>(one: impl Future<Output = T>, other: impl Future<Output = U>) -> Option<T> {
    let (mut one, mut other) = (pin!(one), pin!(other));
    poll_fn(|cx| match other.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(None),
        Poll::Pending => one.as_mut().poll(cx).map(Some),
    })
    .await
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("dir", &self.dir).field("queue", &self.queue).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(events: &[(WatchKind, &str)], expected: &[(WatchKind, &str)]) {
        let mut queue = Queue::default();
        for (kind, name) in events {
            queue.add(WatchEvent { kind: *kind, name: name.into() });
        }
        let queued: Vec<_> = queue.0.iter().map(|event| (event.kind, event.name.to_str().unwrap())).collect();
        assert_eq!(queued, expected);
    }

    #[test]
    fn what_says_nothing_new_is_not_told() {
        use WatchKind::{Appeared, Changed, Metadata, Vanished};
        check(&[(Changed, "a"), (Changed, "a")], &[(Changed, "a")]);
        check(&[(Changed, "a"), (Changed, "b"), (Changed, "a")], &[(Changed, "a"), (Changed, "b")]);
        check(&[(Appeared, "a"), (Changed, "a"), (Metadata, "a")], &[(Appeared, "a")]);
        let again = [(Appeared, "a"), (Vanished, "a"), (Appeared, "a")];
        check(&again, &again);
    }

    #[test]
    fn too_much_is_one_event() {
        let mut queue = Queue::default();
        for number in 0..WATCH_EVENTS + 10 {
            queue.add(WatchEvent { kind: WatchKind::Changed, name: number.to_string().into() });
        }
        assert_eq!(queue.0, [WatchEvent { kind: WatchKind::Overflow, name: OsString::new() }]);
    }
}
