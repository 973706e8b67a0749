//! What a program asked for while it ran, as far as it was watched.

mod needs;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

pub use self::needs::{Needs, Want};

/// How many names of files, addresses and different calls are kept of a program: more are counted.
const KEPT: usize = 16 * 1024;

/// How many bytes these names have together, with those that they lead to: a program may ask for long ones.
const KEPT_BYTES: usize = 4 << 20;

bitflags::bitflags! {
    /// What was asked for of a name.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Access: u32 {
        /// To know whether it is there, what it is, to have it as working directory, or to connect to it.
        const SEE = 1;
        /// What is in it: of a directory the names.
        const READ = 1 << 1;
        /// To change what is there.
        const WRITE = 1 << 2;
        /// To be there, if it was not.
        const MAKE = 1 << 3;
        /// To be gone, or to be another file.
        const REMOVE = 1 << 4;
        /// To be executed.
        const EXECUTE = 1 << 5;
    }
}

/// What a name was when it was asked for first, as who started the program sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Was {
    /// Nothing.
    Missing,
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A socket, a pipe or a device.
    Other,
}

/// A name that a program asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wish {
    /// What it was asked for, as far as the user may.
    pub access: Access,
    /// What it was.
    pub was: Was,
    /// Where it leads by its links, if that is another name.
    pub real: Option<PathBuf>,
    /// The nearest directory above that was there.
    pub beneath: PathBuf,
    /// Whether it was asked for from the directory that the program was started in.
    pub relative: bool,
}

/// A system call that was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Call {
    /// Its number.
    pub number: u32,
    /// Its name, where that is known.
    pub name: Option<&'static str>,
    /// Whether it is one of another architecture, for which a program is ended.
    pub foreign: bool,
}

/// What a program asked for, as far as it was watched ([`ExecTerms::watch`](crate::policy::ExecTerms::watch)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Asked {
    /// Where it was started.
    pub start: PathBuf,
    /// The names of files, absolute, without `.` and `..`.
    pub files: BTreeMap<PathBuf, Wish>,
    /// System calls that seccomp refused or ended it for, and how often.
    pub calls: BTreeMap<Call, u64>,
    /// Whom it connected to, or tried to, by itself: beside its loopback, and so not by its proxy.
    pub peers: BTreeSet<SocketAddr>,
    /// How many names, addresses and calls are not among those, because there were too many or they could not be read.
    pub missed: u64,
    bytes: usize,
}

impl Asked {
    /// Of a program that is about to be started there.
    pub(crate) fn from(start: &Path) -> Self {
        Self { start: start.to_owned(), ..Self::default() }
    }

    /// Whether a name is still to be looked at: most are asked for again and again, and looking takes time in which the
    /// program waits. One for which there is no room is counted.
    pub(crate) fn expects(&mut self, path: &Path, access: Access, relative: bool) -> bool {
        match self.files.get(path) {
            Some(known) => !known.access.contains(access) || (relative && !known.relative),
            None if self.is_full() => {
                self.missed += 1;
                false
            }
            None => true,
        }
    }

    /// Adds a name, as it is; what is known of it already stays.
    pub(crate) fn add(&mut self, path: PathBuf, wish: Wish) {
        if let Some(known) = self.files.get_mut(&path) {
            known.access |= wish.access;
            known.relative |= wish.relative;
        } else if self.is_full() {
            self.missed += 1;
        } else {
            let real = wish.real.as_deref().unwrap_or(Path::new(""));
            self.bytes += [path.as_path(), real, wish.beneath.as_path()]
                .map(|path| path.as_os_str().len())
                .iter()
                .sum::<usize>();
            self.files.insert(path, wish);
        }
    }

    fn is_full(&self) -> bool {
        self.files.len() >= KEPT || self.bytes >= KEPT_BYTES
    }

    pub(crate) fn add_peer(&mut self, peer: SocketAddr) {
        if self.peers.len() < KEPT {
            self.peers.insert(peer);
        } else {
            self.missed += u64::from(!self.peers.contains(&peer));
        }
    }

    pub(crate) fn add_call(&mut self, call: Call) {
        // Foreign ones end who made them, but that may be one child after the other, each with a number of its own.
        if self.calls.len() < KEPT || self.calls.contains_key(&call) {
            *self.calls.entry(call).or_default() += 1;
        } else {
            self.missed += 1;
        }
    }
}

/// Writes the name and the number, or the number alone.
impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "{name} ({})", self.number),
            None => write!(f, "system call {}", self.number),
        }
    }
}
