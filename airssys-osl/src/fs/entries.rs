//! Directories and trees, a batch of names at a time.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use super::{Dir, DirEntry, FileKind, verb};
use crate::{
    Error,
    os::{Done, Fault, Slot, pool},
    sys,
};

/// The names in a directory, one after the other: made by [`Dir::entries`].
#[derive(Debug)]
pub struct Entries(Batches<DirEntry>);

/// A directory and all beneath it, one name after the other: made by [`Dir::walk`].
#[derive(Debug)]
pub struct Walk(Batches<WalkEntry>);

/// One name in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WalkEntry {
    /// Its path, relative to where the walk began. In a deep tree it can be longer than any path that can be opened.
    pub path: PathBuf,
    /// What bears the name.
    pub kind: FileKind,
    /// The number of what bears it.
    pub inode: u64,
    /// Of a directory whether the walk went into it: not where it is too deep, a mount point, a carve-out of the
    /// grant, or could not be opened. True for all else.
    pub entered: bool,
}

impl Dir {
    /// Lists the directory, in the order in which the file system has the names, without `.` and `..`.
    ///
    /// It takes some hundred names at a time, however many there are; each time is one operation, with a record. What
    /// is made or removed meanwhile may or may not be among them.
    ///
    /// ```
    /// # async fn doc(dir: airssys_osl::fs::Dir) -> Result<(), airssys_osl::Error> {
    /// let mut entries = dir.entries().await?;
    /// while let Some(entry) = entries.next().await {
    ///     println!("{:?}", entry?.name);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`list`](Self::list), but for its limit.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn entries(&self) -> Result<Entries, Error> {
        let ground = self.ground();
        let start = move || {
            let mut listing = sys::Listing::start(ground.directory())?;
            Ok(Box::new(move || listing.next_batch()) as Next<DirEntry>)
        };
        Batches::start(self, start).await.map(Entries)
    }

    /// Walks the tree beneath this directory: a directory comes before what is in it, and at most `depth`
    /// directories beneath each other are gone into.
    ///
    /// Symbolic links are seen and not followed. One directory is open at a time. Where directories are moved away
    /// while the walk is in them it ends in an error ([`Busy`](crate::ErrorKind::Busy)); nothing leads it out of the
    /// tree. Records are made as by [`entries`](Self::entries).
    ///
    /// # Errors
    ///
    /// As [`entries`](Self::entries), and [`LimitExceeded`](crate::ErrorKind::LimitExceeded) for more than
    /// [`TREE_PENDING`](crate::limits::TREE_PENDING) directories that wait.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn walk(&self, depth: usize) -> Result<Walk, Error> {
        let ground = self.ground();
        let start = move || {
            let mut walk = sys::Walk::start(ground.directory(), depth)?;
            Ok(Box::new(move || walk.next_batch()) as Next<WalkEntry>)
        };
        Batches::start(self, start).await.map(Walk)
    }
}

impl Entries {
    /// The next name; `None` at the end, and after an error.
    ///
    /// # Cancel safety
    ///
    /// No name is lost.
    pub async fn next(&mut self) -> Option<Result<DirEntry, Error>> {
        self.0.next().await
    }
}

impl Walk {
    /// The next name; `None` at the end, and after an error.
    ///
    /// # Cancel safety
    ///
    /// No name is lost.
    pub async fn next(&mut self) -> Option<Result<WalkEntry, Error>> {
        self.0.next().await
    }
}

type Next<T> = Box<dyn FnMut() -> Result<Vec<T>, Fault> + Send>;

/// What comes in batches from the blocking pool.
struct Batches<T> {
    dir: Dir,
    source: Arc<Mutex<Source<T>>>,
    /// Those of the present batch that were not yet taken.
    batch: VecDeque<T>,
    done: bool,
    _slot: Slot,
}

struct Source<T> {
    next: Next<T>,
    /// A batch that was read for somebody who did not wait for it.
    left: Vec<T>,
}

impl<T: Send + 'static> Batches<T> {
    async fn start(
        dir: &Dir,
        start: impl FnOnce() -> Result<Next<T>, Fault> + Send + 'static,
    ) -> Result<Self, Error> {
        let execute = async {
            let slot = dir.access.slot()?;
            let (next, first) = pool(move || {
                let mut next = start()?;
                let first = next()?;
                Ok((next, first))
            })
            .await?;
            Ok(Done::new((next, first, slot)))
        };
        let (next, first, slot) = dir.access.run(verb::LIST, dir.named(Path::new("")), execute).await?;
        Ok(Self {
            dir: dir.clone(),
            done: first.is_empty(),
            batch: first.into(),
            source: Arc::new(Mutex::new(Source { next, left: Vec::new() })),
            _slot: slot,
        })
    }

    async fn next(&mut self) -> Option<Result<T, Error>> {
        if self.done {
            return None;
        }
        let result = match self.batch.is_empty() {
            true => self.refill().await,
            // What was read is handed out only as long as it may be read.
            false => self.dir.access.check(verb::LIST, self.dir.named(Path::new(""))),
        };
        match result {
            Ok(()) => {
                let next = self.batch.pop_front();
                self.done = next.is_none();
                next.map(Ok)
            }
            Err(error) => {
                self.done = true;
                Some(Err(error))
            }
        }
    }

    async fn refill(&mut self) -> Result<(), Error> {
        let execute = async {
            let source = Arc::clone(&self.source);
            let read = move || {
                let mut source = source.lock().unwrap_or_else(PoisonError::into_inner);
                if source.left.is_empty() {
                    source.left = (source.next)()?;
                }
                Ok(())
            };
            pool(read).await?;
            // Nothing waits from here on: what is taken is not lost.
            let mut source = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            Ok(Done::new(std::mem::take(&mut source.left)))
        };
        let batch = self.dir.access.run(verb::LIST, self.dir.named(Path::new("")), execute).await?;
        self.batch = batch.into();
        Ok(())
    }
}

impl<T> fmt::Debug for Batches<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batches").field("dir", &self.dir).field("done", &self.done).finish_non_exhaustive()
    }
}
