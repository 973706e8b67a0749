//! The operations of a directory that change something beneath it. All of them run on the blocking pool.

use std::{path::Path, sync::Arc};

use super::{
    Dir, Flush, SetTime,
    dir::parse,
    verb::{self, Verb},
};
use crate::{
    Error,
    os::{Done, Fault, Name},
    path::Beneath,
    sys,
};

impl Dir {
    /// Puts `bytes` in the place of the file `path`, or makes it, as a whole: a reader sees the old content or the
    /// new one, never a part.
    ///
    /// The bytes go to a temporary file in the same directory, which is then renamed. An existing file keeps its
    /// permission bits, and nothing else: its other names keep the old content, and a symbolic link is replaced
    /// itself. After a crash a file called `.airssys-….tmp` may be left.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); the old content is then still in place, unless it was only the flush of the directory
    /// ([`Flush::Now`]) that failed.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old content or the new one; the record then says `cancelled`.
    pub async fn replace<B>(&self, path: impl AsRef<Path>, bytes: B, flush: Flush) -> Result<(), Error>
    where
        B: AsRef<[u8]> + Send + 'static,
    {
        let path = path.as_ref();
        let execute = async {
            let len = bytes.as_ref().len();
            self.on_pool(path, move |dir, path| sys::replace(dir, path, bytes.as_ref(), flush)).await?;
            Ok(Done::with_bytes((), len))
        };
        self.access.run(verb::REPLACE, self.named(path), execute).await
    }

    /// Creates a directory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// It may be created all the same; the record then says `cancelled`. So it is with everything below.
    pub async fn create_dir(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.change(verb::CREATE_DIR, path.as_ref(), sys::create_dir).await
    }

    /// Removes a file or a symbolic link.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// It may be removed all the same; the record then says `cancelled`.
    pub async fn remove_file(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.change(verb::REMOVE_FILE, path.as_ref(), sys::remove_file).await
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// It may be removed all the same; the record then says `cancelled`.
    pub async fn remove_dir(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.change(verb::REMOVE_DIR, path.as_ref(), sys::remove_dir).await
    }

    /// Sets when the object was last read and last changed: of the link itself where it is one and `follow` is
    /// false.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Invalid`](crate::ErrorKind::Invalid) for a time whose nanoseconds are a second
    /// or more.
    ///
    /// # Cancel safety
    ///
    /// They may be set all the same; the record then says `cancelled`.
    pub async fn set_times(
        &self,
        path: impl AsRef<Path>,
        follow: bool,
        accessed: SetTime,
        modified: SetTime,
    ) -> Result<(), Error> {
        let path = path.as_ref();
        self.change(verb::SET_TIMES, path, move |dir, path| {
            sys::set_times(dir, path, follow, accessed, modified)
        })
        .await
    }

    /// Renames `from` in this directory to `to_path` in the directory `to`, which may be this one. What had that
    /// name is replaced.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Denied`](crate::ErrorKind::Denied) where `to` belongs to another principal or
    /// has a right that this directory lacks.
    ///
    /// # Cancel safety
    ///
    /// It may be renamed all the same; the record then says `cancelled`.
    pub async fn rename(
        &self,
        from: impl AsRef<Path>,
        to: &Self,
        to_path: impl AsRef<Path>,
    ) -> Result<(), Error> {
        self.across(verb::RENAME, from.as_ref(), to, to_path.as_ref(), sys::rename).await
    }

    /// Gives the file `existing` another name: `new_path` in the directory `to`. A symbolic link is not followed.
    ///
    /// # Errors
    ///
    /// As [`rename`](Self::rename).
    ///
    /// # Cancel safety
    ///
    /// It may be linked all the same; the record then says `cancelled`.
    pub async fn hard_link(
        &self,
        existing: impl AsRef<Path>,
        to: &Self,
        new_path: impl AsRef<Path>,
    ) -> Result<(), Error> {
        self.across(verb::HARD_LINK, existing.as_ref(), to, new_path.as_ref(), sys::hard_link).await
    }

    /// Creates the symbolic link `path` that points to `target`, a path relative to the link's own directory.
    ///
    /// The target need not exist, and whether it stays inside is decided when someone follows it. An absolute one is
    /// denied: it can only mean something outside.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// It may be created all the same; the record then says `cancelled`.
    pub async fn symlink(&self, target: impl AsRef<Path>, path: impl AsRef<Path>) -> Result<(), Error> {
        let (target, path) = (target.as_ref(), path.as_ref());
        let execute = async {
            let target = parse(target)?.as_path().to_owned();
            self.on_pool(path, move |dir, path| sys::symlink(&target, dir, path)).await.map(Done::new)
        };
        let other = Name::plain(target.as_os_str().as_encoded_bytes());
        self.access.run_two(verb::SYMLINK, self.named(path), Some(other), execute).await
    }

    async fn change(
        &self,
        verb: Verb,
        path: &Path,
        work: impl FnOnce(&sys::Handle, Beneath<'_>) -> Result<(), Fault> + Send + 'static,
    ) -> Result<(), Error> {
        let execute = async { self.on_pool(path, work).await.map(Done::new) };
        self.access.run(verb, self.named(path), execute).await
    }

    /// Does an operation that takes an object here and gives it a name there.
    async fn across(
        &self,
        verb: Verb,
        from: &Path,
        to: &Self,
        to_path: &Path,
        work: fn(&sys::Handle, Beneath<'_>, &sys::Handle, Beneath<'_>) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let execute = async {
            let (there, new) = (Arc::clone(&to.handle), parse(to_path)?.as_path().to_owned());
            self.on_pool(from, move |here, old| work(here, old, &there, parse(&new)?)).await.map(Done::new)
        };
        self.access.run_across(&to.access, verb, to.named(to_path), self.named(from), execute).await
    }
}
