//! The operations of a directory that change something beneath it. All of them run on the blocking pool.

use std::path::Path;

use super::{
    Dir, Flush, SetTime,
    dir::parse,
    ground::Ground,
    verb::{self, Verb},
};
use crate::{
    Error,
    os::{Done, Fault, Name, pool_leaving},
    path::Beneath,
    sys::{self, StopOnDrop},
};

impl Dir {
    /// Puts `bytes` in the place of the file `path`, or makes it, as a whole: a reader sees the old content or the
    /// new one, never a part.
    ///
    /// The bytes go to a file without a name (Linux: `O_TMPFILE`), which then takes the name over. An existing file
    /// keeps its permission bits, and nothing else: its other names keep the old content, and a symbolic link is
    /// replaced itself. A short content that replaces something is written under a name of its own, and so is all where
    /// the file system has no files without names: a crash in that moment may leave a file called `.airssys-….tmp`. A small
    /// file that was replaced gives its space back a moment after this returns.
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
            let (ground, path) = (self.ground(), parse(path)?.as_path().to_owned());
            pool_leaving(move || Ok(((), ground.replace(parse(&path)?, bytes.as_ref(), flush)?))).await?;
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
        self.change(verb::CREATE_DIR, path.as_ref(), |ground, path| {
            ground.add_name(|| sys::create_dir(ground.directory(), path))
        })
        .await
    }

    /// Creates a directory and all that is missing on the way to it. It is no error where it exists.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). What was created before the error stays.
    ///
    /// # Cancel safety
    ///
    /// All, a part or nothing may be created; the record then says `cancelled`.
    pub async fn create_dir_all(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        self.change(verb::CREATE_DIR, path.as_ref(), Ground::create_dir_all).await
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
        self.change(verb::REMOVE_FILE, path.as_ref(), |ground, path| {
            ground.place.room.free(|count| sys::remove_file(ground.directory(), path, count))
        })
        .await
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
        self.change(verb::REMOVE_DIR, path.as_ref(), |ground, path| {
            ground.place.room.free(|count| sys::remove_dir(ground.directory(), path, count))
        })
        .await
    }

    /// Removes a directory and all beneath it, and returns how many names that were.
    ///
    /// Symbolic links are removed, not followed. Nothing is removed where a carve-out of the grant is beneath it; another
    /// name of one ends it there. Leaves one record for the whole.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`LimitExceeded`](crate::ErrorKind::LimitExceeded) for a tree deeper than
    /// [`TREE_DEPTH`](crate::limits::TREE_DEPTH). What was removed before the error is gone.
    ///
    /// # Cancel safety
    ///
    /// It stops where it is; the record then says `cancelled`.
    pub async fn remove_tree(&self, path: impl AsRef<Path>) -> Result<u64, Error> {
        let path = path.as_ref();
        let execute = async {
            let stop = StopOnDrop::default();
            let seen = stop.0.clone();
            self.on_pool(path, move |ground, path| ground.remove_tree(path, &seen)).await.map(Done::new)
        };
        self.access.run(verb::REMOVE_TREE, self.named(path), execute).await
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
        self.change(verb::SET_TIMES, path, move |ground, path| {
            sys::set_times(ground.directory(), path, follow, accessed, modified)
        })
        .await
    }

    /// Sets the permission bits of a file or a directory: `mode` is at most `0o777`, so that nobody can make a
    /// program that runs as somebody else. A symbolic link is followed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Invalid`](crate::ErrorKind::Invalid) for other bits.
    ///
    /// # Cancel safety
    ///
    /// They may be set all the same; the record then says `cancelled`.
    pub async fn set_permissions(&self, path: impl AsRef<Path>, mode: u32) -> Result<(), Error> {
        self.change(verb::SET_PERMISSIONS, path.as_ref(), move |ground, path| {
            check_mode(mode)?;
            sys::set_permissions(ground.directory(), path, mode)
        })
        .await
    }

    /// Renames `from` in this directory to `to_path` in the directory `to`, which may be this one. What had that
    /// name is replaced.
    ///
    /// It needs CREATE and WRITE in both, and not DELETE, also where it replaces something: whoever has WRITE can empty
    /// that as well.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Denied`](crate::ErrorKind::Denied) where `to` belongs to another principal, has a
    /// right that this directory lacks, or laxer terms about files with several names. Between two granted directories
    /// it fails as [`LimitExceeded`](crate::ErrorKind::LimitExceeded) where the file is longer than it may be there, and
    /// as [`Unsupported`](crate::ErrorKind::Unsupported) where they are on different file systems, or where there
    /// are quotas or a limit of lengths and what is renamed is a directory, or a file that the principal has open: [`copy`](Self::copy) and remove it instead.
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
        self.across(verb::RENAME, from.as_ref(), to, to_path.as_ref(), Ground::rename).await
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
        self.across(verb::HARD_LINK, existing.as_ref(), to, new_path.as_ref(), Ground::hard_link).await
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
            self.on_pool(path, move |ground, path| {
                ground.add_name(|| sys::symlink(&target, ground.directory(), path)).map(Done::new)
            })
            .await
        };
        let other = Name::plain(target.as_os_str().as_encoded_bytes());
        self.access.run_two(verb::SYMLINK, self.named(path), Some(other), execute).await
    }

    async fn change(
        &self,
        verb: Verb,
        path: &Path,
        work: impl FnOnce(&Ground, Beneath<'_>) -> Result<(), Fault> + Send + 'static,
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
        work: fn(&Ground, Beneath<'_>, &Ground, Beneath<'_>) -> Result<(), Fault>,
    ) -> Result<(), Error> {
        let execute = async {
            let (there, new) = (to.ground(), parse(to_path)?.as_path().to_owned());
            self.on_pool(from, move |here, old| work(here, old, &there, parse(&new)?)).await.map(Done::new)
        };
        self.access.run_across(&to.access, verb, to.named(to_path), self.named(from), execute).await
    }
}

/// Checks that permission bits are no more than who may read, write and execute.
pub(super) fn check_mode(mode: u32) -> Result<(), Fault> {
    if mode & !0o777 == 0 { Ok(()) } else { Err(Fault::errno(sys::errno::INVALID)) }
}
