//! How much is beneath a granted directory, and how much may be: the counting behind a quota.
//!
//! What changes a size or a name runs under the room's lock, so that two tasks can not both take the last byte. Where
//! nothing is counted, nothing is locked.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    os::Fault,
    policy::FsTerms,
    sys::{self, Freed, Identity, Install, Renamed, Size},
};

/// What is counted beneath one granted directory of one principal.
#[derive(Debug, Default)]
pub(crate) struct Room {
    counted: bool,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    bytes: u64,
    files: u64,
    /// Where nothing else is counted, those that may be written: they could grow here what counts elsewhere.
    open: HashMap<Identity, Open>,
    /// How many went to another room, or got a name there.
    departed: u64,
}

/// A file that is open.
#[derive(Debug, Default)]
struct Open {
    handles: usize,
    /// It has no name any more, or has none yet: its bytes are freed with its last handle.
    nameless: bool,
    /// Those bytes.
    bytes: u64,
}

/// Space that is taken before it is used; given back where it is not.
pub(super) struct Reserved<'a> {
    room: &'a Room,
    files: u64,
    bytes: u64,
}

impl Room {
    /// A room in which everything counts, beginning with what is there.
    pub(crate) fn counted(bytes: u64, files: u64) -> Self {
        Self { counted: true, ledger: Mutex::new(Ledger { bytes, files, ..Ledger::default() }) }
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.counted
    }

    /// Does `work`, which may move the end of `file` from where it is to `reach` of that.
    pub(super) fn resize(
        &self,
        terms: &FsTerms,
        file: &sys::Handle,
        reach: impl FnOnce(u64) -> u64,
        work: impl FnOnce() -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if !self.counted && terms.max_file_bytes.is_none() {
            return work();
        }
        let mut ledger = self.ledger();
        let before = sys::size(file)?;
        let target = reach(before.bytes);
        let growth = target.saturating_sub(before.bytes);
        if growth > 0 && terms.max_file_bytes.is_some_and(|max| target > max) {
            return Err(Fault::TooLarge);
        }
        if !self.counted {
            return work();
        }
        ledger.check(terms, 0, growth)?;
        let result = work();
        // A part may have been written before it failed.
        let after = sys::size(file).map_or(target, |size| size.bytes);
        let (grown, mut shrunk) = (after.saturating_sub(before.bytes), before.bytes.saturating_sub(after));
        if let Some(open) = ledger.open.get_mut(&before.identity).filter(|open| open.nameless) {
            // What it grew by elsewhere was never counted here.
            shrunk = shrunk.min(open.bytes);
            open.bytes = open.bytes + grown - shrunk;
        }
        ledger.bytes = (ledger.bytes + grown).saturating_sub(shrunk);
        result
    }

    /// Takes space for `files` names and `bytes` bytes.
    pub(super) fn reserve(&self, terms: &FsTerms, files: u64, bytes: u64) -> Result<Reserved<'_>, Fault> {
        if terms.max_file_bytes.is_some_and(|max| bytes > max) {
            return Err(Fault::TooLarge);
        }
        if !self.counted {
            return Ok(Reserved { room: self, files: 0, bytes: 0 });
        }
        let mut ledger = self.ledger();
        ledger.check(terms, files, bytes)?;
        ledger.files += files;
        ledger.bytes += bytes;
        Ok(Reserved { room: self, files, bytes })
    }

    /// Does `work`, which takes a name away, and counts what that freed.
    pub(super) fn free(&self, work: impl FnOnce(bool) -> Result<Option<Freed>, Fault>) -> Result<(), Fault> {
        if !self.counted {
            return work(false).map(drop);
        }
        let mut ledger = self.ledger();
        if let Some(freed) = work(true)? {
            ledger.free(freed);
        }
        Ok(())
    }

    /// Whether a file that is open, to be written or not, has to be known here.
    pub(super) fn tracks(&self, writes: bool) -> bool {
        self.counted || (writes && cfg!(target_os = "linux"))
    }

    /// How many files went to another room, to compare when one that is about to be opened [is](Self::open).
    pub(super) fn departed(&self) -> u64 {
        self.ledger().departed
    }

    /// Counts a file as open: until [`close`](Self::close), what it loses is not free. Fails where one went to another room
    /// since `departed`, for that may be this one; a file without a name yet has none.
    pub(super) fn open(&self, file: Identity, departed: Option<u64>) -> Result<(), Fault> {
        let mut ledger = self.ledger();
        if departed.is_some_and(|departed| departed != ledger.departed) {
            return Err(Fault::errno(sys::errno::BUSY));
        }
        let open = ledger.open.entry(file).or_default();
        open.handles += 1;
        open.nameless |= departed.is_none();
        Ok(())
    }

    pub(super) fn close(&self, file: Identity) {
        let mut ledger = self.ledger();
        let Some(open) = ledger.open.get_mut(&file) else { return };
        open.handles -= 1;
        if open.handles == 0
            && let Some(open) = ledger.open.remove(&file)
        {
            ledger.bytes = ledger.bytes.saturating_sub(open.bytes);
        }
    }

    /// Counts that an open file without a name got one. Its bytes are counted already.
    pub(super) fn named(&self, file: Identity) {
        if let Some(open) = self.ledger().open.get_mut(&file) {
            (open.nameless, open.bytes) = (false, 0);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn check(&self, terms: &FsTerms, files: u64, bytes: u64) -> Result<(), Fault> {
        let over = |used: u64, more: u64, quota: Option<u64>| {
            more > 0 && quota.is_some_and(|quota| used.saturating_add(more) > quota)
        };
        if over(self.bytes, bytes, terms.quota_bytes) || over(self.files, files, terms.quota_files) {
            return Err(Fault::Quota);
        }
        Ok(())
    }

    fn free(&mut self, freed: Freed) {
        self.files = self.files.saturating_sub(1);
        if !freed.nameless {
            return;
        }
        match self.open.get_mut(&freed.identity) {
            Some(open) if !open.nameless => (open.nameless, open.bytes) = (true, freed.bytes),
            Some(_) => {}
            None => self.bytes = self.bytes.saturating_sub(freed.bytes),
        }
    }
}

impl Reserved<'_> {
    /// Does `work`, which uses the space, and counts what it freed.
    pub(super) fn fill(
        mut self,
        work: impl FnOnce(bool) -> Result<Option<Freed>, Fault>,
    ) -> Result<(), Fault> {
        self.room.free(work)?;
        (self.files, self.bytes) = (0, 0);
        Ok(())
    }

    /// Does `work`, which takes the name of `moved` away from the room `from`, or leaves it, and gives it one that uses the
    /// space, and counts what it did of that. What is open in `from` would go on to be counted there: it is refused.
    pub(super) fn fill_from(
        mut self,
        from: &Room,
        moved: Size,
        work: impl FnOnce() -> Result<Renamed, Fault>,
    ) -> Result<(), Fault> {
        let (mut here, mut there);
        // Two who move files to and fro take both locks in one order.
        if std::ptr::from_ref(from) < std::ptr::from_ref(self.room) {
            (here, there) = (from.ledger(), self.room.ledger());
        } else {
            there = self.room.ledger();
            here = from.ledger();
        }
        if here.open.contains_key(&moved.identity) {
            // Whoever gives space back takes the lock for that.
            drop((here, there));
            return Err(Fault::errno(sys::errno::CROSSES_DEVICES));
        }
        let done = work().map(|renamed| {
            here.departed += 1;
            if from.counted && renamed.left {
                let Size { identity, bytes, links, .. } = moved;
                here.free(Freed { identity, bytes, nameless: links == 1 });
            }
            if let Some(freed) = renamed.freed.filter(|_| self.room.counted) {
                there.free(freed);
            }
            if renamed.came {
                (self.files, self.bytes) = (0, 0);
            }
        });
        drop((here, there));
        done
    }

    /// Gives a file its name that holds the space in bytes. `install` asks for a place among the names, where there
    /// is none of this name yet.
    pub(super) fn install(mut self, terms: &FsTerms, install: Install<'_>) -> Result<(), Fault> {
        if !self.room.counted {
            return install(None).map(drop);
        }
        let mut ledger = self.room.ledger();
        let mut added = 0;
        let mut admit = |exists: bool| {
            added = u64::from(!exists);
            ledger.check(terms, added, 0)
        };
        let freed = install(Some(&mut admit))?;
        ledger.files += added;
        if let Some(freed) = freed {
            // Its name went on to the new file.
            ledger.files += 1;
            ledger.free(freed);
        }
        drop(ledger);
        (self.files, self.bytes) = (0, 0);
        Ok(())
    }

    /// Gives back bytes that were taken for nothing.
    pub(super) fn give_back(&mut self, bytes: u64) {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        let mut ledger = self.room.ledger();
        ledger.bytes = ledger.bytes.saturating_sub(bytes);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if self.files > 0 || self.bytes > 0 {
            let mut ledger = self.room.ledger();
            ledger.files = ledger.files.saturating_sub(self.files);
            ledger.bytes = ledger.bytes.saturating_sub(self.bytes);
        }
    }
}
