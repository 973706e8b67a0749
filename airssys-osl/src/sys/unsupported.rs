//! Platforms without an implementation: everything compiles, and every operation on files says `Unsupported`.

use std::{
    convert::Infallible,
    io,
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{Expect, Opened, Root, Wait};
use crate::{
    clock::Timestamp,
    fs::{DirEntry, Flush, Metadata, OpenOptions, SetTime},
    os::Fault,
    path::Beneath,
};

/// No object can be opened, so that all that works on one is proved not to happen.
pub(crate) type Handle = Infallible;

/// The error numbers that this crate gives itself: those of Linux, which the audit log uses on every platform.
pub(crate) mod errno {
    pub(crate) const CANCELED: i32 = 125;
    pub(crate) const INVALID: i32 = 22;
    pub(crate) const IO: i32 = 5;
    pub(crate) const NAME_TOO_LONG: i32 = 36;
    pub(crate) const NOT_FOUND: i32 = 2;
    pub(crate) const TIMED_OUT: i32 = 110;
    pub(crate) const TOO_MANY: i32 = 24;
    pub(crate) const TOO_LARGE: i32 = 27;
    pub(crate) const UNSUPPORTED: i32 = 38;
}

pub(crate) fn open_root(_path: &Path) -> Result<Root, Fault> {
    Err(Fault::Unsupported)
}

macro_rules! never {
    ($($name:ident($($argument:ty),*) -> $output:ty;)*) => {
        $(pub(crate) fn $name(handle: &Handle, $(_: $argument),*) -> Result<$output, Fault> { match *handle {} })*
    };
}

never! {
    append(&[u8]) -> ();
    create_dir(Beneath<'_>) -> ();
    hard_link(Beneath<'_>, &Handle, Beneath<'_>) -> ();
    list(usize) -> Vec<DirEntry>;
    metadata(Beneath<'_>, bool, Wait) -> Metadata;
    open(Beneath<'_>, OpenOptions, Expect, Wait) -> Opened;
    own_metadata() -> Metadata;
    read_at(usize, u64) -> Vec<u8>;
    read_cached(&mut [u8], u64) -> usize;
    read_link(Beneath<'_>) -> PathBuf;
    read_whole(Beneath<'_>, u64, Wait) -> Vec<u8>;
    remove_dir(Beneath<'_>) -> ();
    remove_file(Beneath<'_>) -> ();
    rename(Beneath<'_>, &Handle, Beneath<'_>) -> ();
    replace(Beneath<'_>, &[u8], Flush) -> ();
    set_len(u64) -> ();
    set_own_times(SetTime, SetTime) -> ();
    set_times(Beneath<'_>, bool, SetTime, SetTime) -> ();
    sync(bool) -> ();
    write_at(&[u8], u64) -> ();
}

pub(crate) fn symlink(_target: &Path, dir: &Handle, _path: Beneath<'_>) -> Result<(), Fault> {
    match *dir {}
}

/// The monotonic clock, in nanoseconds since the first call.
pub(crate) fn monotonic_ns() -> u64 {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed().as_nanos() as u64
}

/// The standard library does not tell; no platform is coarser.
pub(crate) fn monotonic_resolution() -> Duration {
    Duration::from_millis(16)
}

pub(crate) fn wall_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { seconds: since.as_secs() as i64, nanoseconds: since.subsec_nanos() }
}

/// As [`monotonic_resolution`].
pub(crate) fn wall_resolution() -> Duration {
    monotonic_resolution()
}

pub(crate) fn random(_bytes: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn raise_file_limit() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

pub(crate) fn user() -> u32 {
    0
}
