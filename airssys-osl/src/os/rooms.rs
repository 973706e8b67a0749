//! Who counts what beneath which directory: one room for all handles of a principal.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::Fault;
use crate::fs::Room;

/// A principal's name, and a directory that is granted to it.
type Key = (Box<str>, Box<Path>);

/// What is counted beneath granted directories, by principal and directory, as long as there is a handle.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Mutex<HashMap<Key, Arc<Mutex<Weak<Room>>>>>);

impl Rooms {
    /// What is held for `principal` beneath `root`: what `make` makes, where nothing is held yet or where it is not
    /// counted and should be.
    ///
    /// Two who open the same at once count in one place: the second waits until the first has measured it. Nobody else
    /// does.
    pub(crate) fn get(
        &self,
        principal: &str,
        root: &Path,
        counted: bool,
        make: impl FnOnce() -> Result<Room, Fault>,
    ) -> Result<Arc<Room>, Fault> {
        let place = self.place(principal, root);
        let mut held = lock(&place);
        if let Some(room) = held.upgrade().filter(|room| room.is_counted() || !counted) {
            return Ok(room);
        }
        let room = Arc::new(make()?);
        *held = Arc::downgrade(&room);
        Ok(room)
    }

    fn place(&self, principal: &str, root: &Path) -> Arc<Mutex<Weak<Room>>> {
        let mut places = lock(&self.0);
        // Where there is no other handle to a place, nobody holds its lock.
        places.retain(|_, place| Arc::strong_count(place) > 1 || lock(place).strong_count() > 0);
        Arc::clone(places.entry((principal.into(), root.into())).or_default())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc::channel, thread};

    use super::*;

    #[test]
    fn measuring_holds_up_nobody_else() {
        let rooms = Rooms::default();
        let get = |principal: &str| rooms.get(principal, Path::new("/big"), true, || Ok(Room::counted(1, 1)));
        thread::scope(|scope| {
            let (began, begun) = channel();
            let (go_on, wait) = channel::<()>();
            let slow = scope.spawn(|| {
                rooms.get("slow", Path::new("/big"), true, move || {
                    began.send(()).unwrap();
                    wait.recv().unwrap();
                    Ok(Room::counted(7, 7))
                })
            });
            begun.recv().unwrap();
            drop(get("other").unwrap());
            let twin = scope.spawn(|| get("slow").unwrap());
            go_on.send(()).unwrap();
            let slow = slow.join().unwrap().unwrap();
            assert!(Arc::ptr_eq(&slow, &twin.join().unwrap()), "both count in one place");
        });
        drop(get("third"));
        assert_eq!(lock(&rooms.0).len(), 1, "what nobody holds is forgotten");
    }

    #[test]
    fn what_was_not_counted_is_counted_from_now_on() {
        let rooms = Rooms::default();
        let root = Path::new("/");
        let loose = rooms.get("p", root, false, || Ok(Room::default())).unwrap();
        let counted = rooms.get("p", root, true, || Ok(Room::counted(1, 1))).unwrap();
        assert!(!Arc::ptr_eq(&loose, &counted));
        assert!(Arc::ptr_eq(&counted, &rooms.get("p", root, false, || Err(Fault::Bug)).unwrap()));
    }
}
