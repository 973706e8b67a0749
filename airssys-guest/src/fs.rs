//! The directories that the manifest grants, and the files in them.
//!
//! There is no working directory and no absolute path: a path is always one beneath a [`Dir`]. One that leaves it, by
//! `..`, a leading `/` or a symbolic link, is passed on as it is; the host refuses it, and records that it did.

use crate::{
    Error, ErrorKind,
    host::{self, Descriptor, Failure, Purpose},
};

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, in a listing. Everything else follows links.
    Symlink,
    /// A device, a pipe, a socket, or what the host does not know.
    Other,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, without a path.
    pub name: String,
    /// What it names.
    pub kind: Kind,
}

/// What the file system knows about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes.
    pub size: u64,
}

/// Which file it is, whatever its name: a renamed file keeps its identity, a new one of the same name has another.
///
/// This is WASI's `metadata-hash`. The AirsSys host hashes device and inode and nothing else; other hosts may make
/// size and time part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub(crate) u64, pub(crate) u64);

/// A directory that the manifest grants.
#[derive(Debug)]
pub struct Dir {
    descriptor: Descriptor,
    path: String,
}

/// Every directory that the manifest grants.
pub fn dirs() -> Vec<Dir> {
    host::preopens().into_iter().map(|(descriptor, path)| Dir { descriptor, path }).collect()
}

/// The granted directory that the manifest calls `path`.
///
/// # Errors
///
/// [`NotFound`](ErrorKind::NotFound): no grant has this name.
pub fn dir(path: &str) -> Result<Dir, Error> {
    dirs().into_iter().find(|dir| dir.path == path).ok_or_else(|| {
        Error::cannot(ErrorKind::NotFound, format_args!("open `{path}`"))
            .caused_by("the manifest does not grant it")
    })
}

impl Dir {
    /// The name that the manifest gives it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the path leaves the directory, or the grant has no `read`.
    /// * [`NotFound`](ErrorKind::NotFound): there is no such file.
    pub fn open(&self, path: &str) -> Result<File, Error> {
        self.open_for(path, Purpose::Read, "open")
    }

    /// Opens a file for writing: makes it where it does not exist, empties it where it does.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): the path leaves the directory, or the grant has no `write` or `create`.
    pub fn create(&self, path: &str) -> Result<File, Error> {
        self.open_for(path, Purpose::Replace, "create")
    }

    /// Reads a whole file of at most `limit_bytes` bytes, in one call of the host, which records it once.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the path leaves the directory, what it names is no file, or the grant has no
    ///   `read`.
    /// * [`NotFound`](ErrorKind::NotFound): there is no such file.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): it is longer, or longer than the host hands over at once: as much
    ///   as the component's memory may have, 1 MiB at least and 128 MiB at most. Nothing is cut.
    /// * [`Invalid`](ErrorKind::Invalid): it is a directory.
    pub fn read(&self, path: &str, limit_bytes: usize) -> Result<Vec<u8>, Error> {
        self.descriptor.read_whole(path, limit_bytes as u64).map_err(self.cannot("read", path))
    }

    /// Replaces a file as a whole, or makes it: whoever reads it sees the old content or the new.
    ///
    /// After a power cut it may have the old content, even if it was read with the new before;
    /// [`write_atomic`](Self::write_atomic) waits until it has not.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the path leaves the directory, or the grant has no `write` or `create`.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): a quota is used up, or the file would be longer than it may.
    ///
    /// After any error the old content is still there.
    pub fn replace(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        self.descriptor.replace(path, content, false).map_err(self.cannot("replace", path))
    }

    /// Replaces a file as a whole, as [`replace`](Self::replace) does, and waits until the new content is on the device:
    /// whoever reads it sees the old content or the new, also after a power cut.
    ///
    /// # Errors
    ///
    /// Those of [`replace`](Self::replace). [`Io`](ErrorKind::Io): it may not be on the device.
    pub fn write_atomic(&self, path: &str, content: &[u8]) -> Result<(), Error> {
        self.descriptor.replace(path, content, true).map_err(self.cannot("replace", path))
    }

    /// Lists the names in this directory, in no order.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): the grant has no `list`.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        let entries = self.descriptor.entries().map_err(self.cannot("list", ""))?;
        Ok(entries.into_iter().map(|(name, kind)| Entry { name, kind }).collect())
    }

    /// What the file system knows about a file.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): the path leaves the directory.
    /// * [`NotFound`](ErrorKind::NotFound): there is no such file.
    pub fn metadata(&self, path: &str) -> Result<Metadata, Error> {
        let (kind, size) =
            self.descriptor.stat_at(path).map_err(self.cannot("read the metadata of", path))?;
        Ok(Metadata { kind, size })
    }

    /// Which file is behind a name.
    ///
    /// # Errors
    ///
    /// As for [`metadata`](Self::metadata).
    pub fn identity(&self, path: &str) -> Result<Identity, Error> {
        self.descriptor.identity_at(path).map_err(self.cannot("identify", path))
    }

    /// Renames a file within this directory; an existing one of the new name is replaced.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): a path leaves the directory, or the grant has no `write`.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.descriptor.rename_at(from, to).map_err(self.cannot("rename", from))
    }

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// As for [`rename`](Self::rename).
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        self.descriptor.unlink_at(path).map_err(self.cannot("remove", path))
    }

    fn open_for(&self, path: &str, purpose: Purpose, verb: &'static str) -> Result<File, Error> {
        let descriptor = self.descriptor.open_at(path, purpose).map_err(self.cannot(verb, path))?;
        Ok(File { descriptor, path: self.join(path) })
    }

    fn join(&self, path: &str) -> String {
        if path.is_empty() { self.path.clone() } else { format!("{}/{path}", self.path) }
    }

    fn cannot(&self, verb: &'static str, path: &str) -> impl FnOnce(Failure) -> Error {
        move |failure| failure.cannot(format_args!("{verb} `{}`", self.join(path)))
    }
}

/// An open file.
#[derive(Debug)]
pub struct File {
    descriptor: Descriptor,
    path: String,
}

impl File {
    /// Reads at most `length` bytes at an offset. Empty at the end of the file.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): the grant was withdrawn.
    pub fn read_at(&self, offset: u64, length: u64) -> Result<Vec<u8>, Error> {
        self.descriptor.read(length, offset).map_err(self.cannot("read"))
    }

    /// Writes all of `bytes` at an offset.
    ///
    /// # Errors
    ///
    /// [`LimitExceeded`](ErrorKind::LimitExceeded): a quota is used up. Some of it may have been written.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        let mut offset = offset;
        while !rest.is_empty() {
            let written = self.descriptor.write(rest, offset).map_err(self.cannot("write"))?;
            rest = match usize::try_from(written).ok().and_then(|written| rest.get(written..)) {
                Some(rest) if written > 0 => rest,
                _ => return Err(self.cannot("write")(Failure(ErrorKind::Io, "nothing was written"))),
            };
            offset += written;
        }
        Ok(())
    }

    /// Waits until what was written is on the device.
    ///
    /// # Errors
    ///
    /// [`Io`](ErrorKind::Io): it may be lost.
    pub fn sync(&self) -> Result<(), Error> {
        self.descriptor.sync().map_err(self.cannot("sync"))
    }

    fn cannot(&self, verb: &'static str) -> impl FnOnce(Failure) -> Error {
        move |failure| failure.cannot(format_args!("{verb} `{}`", self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn a_whole_file_is_replaced_and_is_another_one_then() {
        let host = Host::new();
        host.grant_dir("/out");
        host.put_file("/out/report.json", b"a long old one");
        let dir = dir("/out").unwrap();
        let old = dir.open("report.json").unwrap();
        dir.write_atomic("report.json", b"new").unwrap();
        assert_eq!(host.file("/out/report.json").unwrap(), b"new");
        assert_eq!(old.read_at(0, 64).unwrap(), b"a long old one");
        assert_eq!(dir.list().unwrap().len(), 1);
        dir.replace("other.json", b"made").unwrap();
        assert_eq!(dir.read("other.json", 64).unwrap(), b"made");
        assert_eq!(dir.replace("../other.json", b"x").unwrap_err().kind(), ErrorKind::Denied);
    }

    #[test]
    fn a_path_that_leaves_its_directory_is_denied() {
        let host = Host::new();
        host.grant_dir("/geo");
        host.put_file("/etc/passwd", b"root");
        let dir = dir("/geo").unwrap();
        for path in ["/etc/passwd", "../etc/passwd"] {
            assert_eq!(dir.open(path).unwrap_err().kind(), ErrorKind::Denied, "{path}");
            assert_eq!(dir.read(path, 64).unwrap_err().kind(), ErrorKind::Denied, "{path}");
        }
    }

    #[test]
    fn a_directory_that_is_not_granted_is_not_found() {
        let _host = Host::new();
        let error = dir("/etc").unwrap_err();
        assert_eq!(error.chain(), "cannot open `/etc`: the manifest does not grant it");
    }

    #[test]
    fn a_file_longer_than_the_limit_is_refused_not_cut() {
        let host = Host::new();
        host.grant_dir("/geo");
        host.put_file("/geo/a", &vec![7; 100_000]);
        let dir = dir("/geo").unwrap();
        assert_eq!(dir.read("a", 100_000).unwrap().len(), 100_000);
        assert_eq!(dir.read("a", 99_999).unwrap_err().kind(), ErrorKind::LimitExceeded);
    }

    #[test]
    fn a_renamed_file_keeps_its_identity_and_a_new_one_has_its_own() {
        let host = Host::new();
        host.grant_dir("/in");
        host.put_file("/in/a", b"1");
        let dir = dir("/in").unwrap();
        let first = dir.identity("a").unwrap();
        dir.rename("a", "b").unwrap();
        host.put_file("/in/a", b"2");
        assert_eq!(dir.identity("b").unwrap(), first);
        assert_ne!(dir.identity("a").unwrap(), first);
    }
}
