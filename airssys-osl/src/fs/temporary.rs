//! Files and directories that go away by themselves.

use std::{
    ffi::OsStr,
    ops::{Deref, DerefMut},
    path::Path,
    sync::Arc,
};

use super::{Dir, File, OpenOptions, dir::parse, place::Opened, verb};
use crate::{
    Error,
    os::{Done, pool, pool_leaving},
    sys,
};

/// A file without a name: made by [`Dir::temp_file`]. Nobody else can open it, and it is gone with its last handle,
/// however the program ends.
#[derive(Debug)]
pub struct TempFile {
    file: File,
    dir: Dir,
}

/// A directory with a name of its own: made by [`Dir::temp_dir`].
///
/// [`close`](Self::close) removes it with all that is in it. Dropped, it is removed too, by a task of the runtime that
/// it is dropped in, and nobody learns of an error; without a runtime, and after a crash, it stays.
#[derive(Debug)]
pub struct TempDir {
    dir: Dir,
    /// What it is in, and its name there; `None` once it is closed.
    parent: Option<(Dir, Box<str>)>,
}

impl Dir {
    /// Makes a file without a name on the file system of this directory, open for reading and writing. Needs the
    /// rights CREATE and WRITE; to read it back, READ too.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Unsupported`](crate::ErrorKind::Unsupported) where the file system has no files
    /// without a name.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn temp_file(&self) -> Result<TempFile, Error> {
        let name = Path::new("");
        let execute = async {
            let slot = self.access.slot()?;
            let ground = self.ground();
            let open = move || {
                let handle = sys::create_unnamed(ground.directory())?;
                Opened::new(handle, &ground.place.room, slot, true, None)
            };
            Ok(Done::new(pool(open).await?))
        };
        let opened = self.access.run(verb::TEMPORARY, self.named(name), execute).await?;
        let options = OpenOptions::new().read(true).write(true);
        Ok(TempFile { file: self.file(opened, options, Arc::clone(&self.name)), dir: self.clone() })
    }

    /// Makes a directory that only this user may enter, with a name that is drawn. Needs the right CREATE, and
    /// DELETE to be removed again.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// An empty directory may be left; the record then says `cancelled`.
    pub async fn temp_dir(&self) -> Result<TempDir, Error> {
        let execute = async {
            let ground = self.ground();
            let make = move || {
                let mut name = String::new();
                ground.add_name(|| {
                    name = sys::create_drawn_dir(ground.directory())?;
                    Ok(())
                })?;
                Ok(name)
            };
            Ok(Done::new(pool(make).await?))
        };
        let name = self.access.run(verb::CREATE_DIR, self.named(Path::new("")), execute).await?;
        let mut made = TempDir { dir: self.clone(), parent: Some((self.clone(), name.as_str().into())) };
        made.dir = self.open_dir(&name).await?;
        Ok(made)
    }
}

impl TempFile {
    /// Gives the file a name beneath the directory that it was made in. Nothing may have that name.
    ///
    /// # Errors
    ///
    /// As [`Dir::open`], and [`AlreadyExists`](crate::ErrorKind::AlreadyExists). The file is then gone.
    ///
    /// # Cancel safety
    ///
    /// It may have the name all the same; the record then says `cancelled`.
    pub async fn persist(self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let execute = async {
            let opened = Arc::clone(&self.file.opened);
            let name = self.dir.on_pool(path, move |ground, path| {
                ground.add_name(|| {
                    sys::name_unnamed(&opened.handle, ground.directory(), path)?;
                    Ok(())
                })?;
                opened.named();
                Ok(())
            });
            name.await.map(Done::new)
        };
        self.dir.access.run(verb::PERSIST, self.dir.named(path), execute).await
    }

    /// Puts the file in the place of `path`, beneath the directory that it was made in: whoever opens that finds the old
    /// content or all of the new one. Needs the rights CREATE and WRITE. It is not flushed to the device
    /// ([`File::sync`]).
    ///
    /// # Errors
    ///
    /// As [`Dir::open`]. The file is then gone, and what had the name is still there.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the old content or the new one; the record then says `cancelled`.
    pub async fn replace(self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let execute = async {
            let opened = Arc::clone(&self.file.opened);
            let (ground, path) = (self.dir.ground(), parse(path)?.as_path().to_owned());
            let replace = move || {
                let remains = ground.replace_by(parse(&path)?, &opened.handle)?;
                opened.named();
                Ok(((), remains))
            };
            pool_leaving(replace).await.map(Done::new)
        };
        self.dir.access.run(verb::REPLACE, self.dir.named(path), execute).await
    }
}

impl Deref for TempFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl DerefMut for TempFile {
    fn deref_mut(&mut self) -> &mut File {
        &mut self.file
    }
}

impl TempDir {
    /// The name in the directory that it was made in.
    pub fn name(&self) -> &OsStr {
        OsStr::new(self.parent.as_ref().map_or("", |(_, name)| name))
    }

    /// Removes it, with all that is in it.
    ///
    /// # Errors
    ///
    /// As [`Dir::remove_tree`].
    ///
    /// # Cancel safety
    ///
    /// It stops where it is; the record then says `cancelled`.
    pub async fn close(mut self) -> Result<(), Error> {
        match self.parent.take() {
            Some((parent, name)) => parent.remove_tree(&*name).await.map(drop),
            None => Ok(()),
        }
    }
}

impl Deref for TempDir {
    type Target = Dir;

    fn deref(&self) -> &Dir {
        &self.dir
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        if let Some((parent, name)) = self.parent.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { parent.remove_tree(&*name).await });
        }
    }
}
