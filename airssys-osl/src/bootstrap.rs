//! What comes before there is a policy and a log: the file that says what they are, and the folders that hold them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{Error, ErrorKind, os::Fault, sys};

/// A file as [`read`] found it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BootFile {
    /// Its content.
    pub bytes: Vec<u8>,
    /// Its absolute path, without symbolic links.
    pub path: PathBuf,
}

/// Reads the file that a program needs before it can have an [`Os`](crate::Os): its manifest.
///
/// It is the only read in this crate that no policy decides and no record tells of. So that the log still tells what
/// the program was started with, its first record must carry the path and the digest of these bytes: hand them to
/// [`Os::mark`](crate::Os::mark) with [`Milestone::Start`](crate::Milestone::Start).
///
/// # Errors
///
/// * [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io): the operating system refused.
/// * [`Invalid`](ErrorKind::Invalid): it is not a regular file.
/// * [`LimitExceeded`](ErrorKind::LimitExceeded): it is longer than `limit_bytes`.
pub fn read(path: impl AsRef<Path>, limit_bytes: u64) -> Result<BootFile, Error> {
    let path = path.as_ref();
    let what = || format!("read `{}`", path.display());
    match sys::read_ambient(path, limit_bytes) {
        Ok((bytes, path)) => Ok(BootFile { bytes, path }),
        Err(Fault::TooLarge) => Err(Error::new(ErrorKind::LimitExceeded, what())),
        Err(Fault::Os(source)) => Err(Error::io(what(), source)),
        Err(_) => Err(Error::new(ErrorKind::Invalid, what()).caused_by("it is not a regular file")),
    }
}

/// Where a path leads now: all links followed, and no `..` left. What is not there yet is where it would be made. A
/// relative path leads from the current folder on.
///
/// It is for what a user types, which a policy then grants by its real name. No policy decides it and no record tells of
/// it.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io): the path is empty, or there is no current folder.
pub fn real_path(path: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let path = path.as_ref();
    let absolute = std::path::absolute(path);
    let absolute = absolute.map_err(|source| Error::io(format!("find `{}`", path.display()), source))?;
    Ok(sys::real_path(&absolute))
}

/// Reads an environment variable that says where the program itself keeps things, such as `HOME`.
///
/// No policy decides it and no record tells of it; the environment of guests is
/// [`Principal::env`](crate::Principal::env).
pub fn variable(name: &str) -> Option<OsString> {
    sys::variable(name)
}

/// Whether memory of this machine may be written to swap. Where the system does not tell, it may.
///
/// No policy decides it and no record tells of it: it says nothing about anybody's data.
pub fn may_swap() -> bool {
    /// Linux has at most 32 areas.
    const LIMIT_BYTES: u64 = 64 * 1024;
    sys::read_ambient(Path::new("/proc/swaps"), LIMIT_BYTES).map_or(true, |(swaps, _)| has_area(&swaps))
}

/// Whether there is a line below that of the columns.
fn has_area(swaps: &[u8]) -> bool {
    swaps.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() > 1
}

/// The names of the environment variables that are set, as far as they are text.
pub fn variable_names() -> Vec<String> {
    sys::variables()
}

/// Makes a folder for the program's own state, for its owner alone, with all that lead to it. One that exists stays
/// as it is.
///
/// Policies grant folders that exist; this is how the first one comes to be. No record tells of it.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io), [`AlreadyExists`](ErrorKind::AlreadyExists): the operating system refused, or something
/// else has the name.
pub fn create_dir(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    sys::log_file::create_dir(path)
        .map_err(|source| Error::io(format!("create the folder `{}`", path.display()), source))
}

/// Lets the program open as many files as it may: raises its soft limit to the hard one.
///
/// A program that hosts others' code holds many files, and one that has none left cannot write its log either.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io), [`Unsupported`](ErrorKind::Unsupported): the limit stays as it is.
pub fn raise_file_limit() -> Result<(), Error> {
    sys::raise_file_limit().map_err(|source| Error::io("raise the limit of open files", source))
}

/// Has the system show the memory of this program to no other that is not the administrator's, though it is of the same
/// user: none can trace it, and it leaves no core behind. Not for what needs a debugger.
///
/// # Errors
///
/// [`Io`](ErrorKind::Io), [`Unsupported`](ErrorKind::Unsupported): it stays as it is.
pub fn forbid_tracing() -> Result<(), Error> {
    sys::forbid_tracing().map_err(|source| Error::io("forbid that this program is traced", source))
}

/// How much memory the machine can give to programs without swapping, in bytes, where it tells.
///
/// No policy decides it and no record tells of it, as with [`may_swap`].
pub fn available_memory() -> Option<u64> {
    sys::memory().ok().map(|memory| memory.available_bytes)
}

/// How many areas of address space a process may have (`vm.max_map_count`), where the machine tells.
///
/// No policy decides it and no record tells of it, as with [`may_swap`].
pub fn most_areas() -> Option<u64> {
    /// A number and a new line.
    const LIMIT_BYTES: u64 = 64;
    let (text, _) = sys::read_ambient(Path::new("/proc/sys/vm/max_map_count"), LIMIT_BYTES).ok()?;
    std::str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// The user that the program runs as: the owner of what it makes.
pub fn user() -> u32 {
    sys::user()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_on_where_an_area_is_listed() {
        let columns = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
        assert!(!has_area(columns.as_bytes()));
        assert!(has_area(format!("{columns}/dev/zram0  partition\t8388604\t\t0\t\t100\n").as_bytes()));
    }
}
