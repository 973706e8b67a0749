//! Files and directories beneath granted roots.
//!
//! [`Principal::dir`](crate::Principal::dir) opens a directory that the policy grants. Every path is relative to
//! such a [`Dir`] and resolved by the kernel beneath it (Linux: `openat2(2)` with `RESOLVE_BENEATH`,
//! `RESOLVE_NO_MAGICLINKS` and `RESOLVE_NO_XDEV`): `..` and symbolic links work as long as they stay inside, and a
//! path that would leave, be it for the length of one component, is denied by the rule `beneath-root`. What is mounted
//! beneath is not inside (`mount-point`): grant it by itself. Whatever is neither a regular file nor a directory is
//! closed again at once, and denied (`plain-files-only`); FIFOs and character devices open for who asks for them by
//! [`Dir::open_special`], where the grant permits that (Linux).
//!
//! Where the kernel lacks `openat2`, or a sandbox refuses it, and where a grant has carve-outs, paths are resolved name
//! by name, on open directories, to the same ends. That is slower, and `..` then goes back to where the path came from.
//!
//! # Whole files, streams, trees
//!
//! * Whole files: [`Dir::read`] with a limit, [`Dir::replace`] and [`Dir::copy`], which are atomic.
//! * Parts of them: [`File::read_at`], [`File::write_at`], [`File::append`], or [`File`] as tokio's `AsyncRead`,
//!   `AsyncWrite` and `AsyncSeek`.
//! * Names: [`Dir::entries`], [`Dir::walk`] and [`Dir::watch`] take any number of them, a batch at a time.
//! * What goes by itself: [`Dir::temp_file`], [`Dir::temp_dir`], [`File::lock`].
//!
//! # How much
//!
//! [`FsTerms`](crate::policy::FsTerms) bounds the bytes and names beneath a granted directory, and the length of each
//! file. What would pass a bound fails as [`LimitExceeded`](crate::ErrorKind::LimitExceeded) before it is done; what
//! is removed or cut is free again, once nobody has it open. A principal has at most so many files and directories
//! open ([`Grant::descriptors`](crate::policy::Grant::descriptors)). [`Dir::with_deadline`] bounds the time.
//!
//! # What needs which right
//!
//! | operation | right |
//! |---|---|
//! | [`Principal::dir`](crate::Principal::dir), [`Dir::open_dir`], [`Dir::self_metadata`], [`File::metadata`], [`File::sync`] | none but the grant or the handle |
//! | [`Dir::open`], [`Dir::open_any`] | READ to read, WRITE to write or truncate, CREATE to create |
//! | [`Dir::open_special`] | READ to read, WRITE to write, and [`special_files`](crate::policy::FsTerms::special_files) |
//! | [`Dir::read`], [`File::read_at`], [`File::read_to_limit`], [`File::descriptor`], a shared [`File::lock`] | READ |
//! | [`Dir::list`], [`Dir::entries`], [`Dir::walk`], [`Dir::watch`] | LIST |
//! | [`Dir::metadata`], [`Dir::read_link`] | READ or LIST |
//! | [`File::write_at`], [`File::append`], [`File::set_len`], `set_times`, `set_permissions`, an exclusive [`File::lock`] | WRITE |
//! | [`Dir::create_dir`], [`Dir::create_dir_all`], [`Dir::symlink`], [`Dir::hard_link`], [`Dir::temp_dir`], [`TempFile::persist`] | CREATE |
//! | [`Dir::replace`], [`Dir::temp_file`], [`TempFile::replace`] | CREATE and WRITE |
//! | [`Dir::copy`] | READ where it comes from, CREATE and WRITE where it goes |
//! | [`Dir::rename`] | CREATE and WRITE, at both ends: it may replace what is there and destroys nothing of what moves |
//! | [`Dir::remove_file`], [`Dir::remove_dir`], [`Dir::remove_tree`] | DELETE |
//!
//! A rename or a hard link from one directory to another also needs that the destination has no right that the
//! source lacks. Without that, a file that may not be read could be moved to where it may.
//!
//! # What is recorded
//!
//! Each operation leaves one record when it ends; what changes something leaves one before it begins as well. The
//! resource is the path as asked, behind the path of the directory: `/srv/inbox/../x`. An absolute path stands as
//! asked. Operations on two names record the one that is made first, then a NUL, then the other: the new name and
//! the old one of a rename or a hard link, the link and its target.
//!
//! # Panics
//!
//! Operations that may wait are handed to the blocking pool of the tokio runtime that they are called in. Outside of
//! one they panic.
//!
//! # What it does not do
//!
//! A hard link inside of a root is the file itself, wherever else it has names. It is read and not changed, unless the
//! grant says otherwise ([`HardLinks`](crate::policy::HardLinks)); who can make hard links into a granted directory
//! from outside shares what it holds.
//!
//! What others change behind the door's back is not counted until the next measuring. Two grants that overlap are two:
//! what one takes out, the other may hold.

mod access;
mod change;
mod copy;
mod dir;
mod entries;
mod file;
mod ground;
mod lock;
mod metadata;
mod options;
mod place;
mod room;
#[cfg(target_os = "linux")]
mod special;
mod stream;
mod temporary;
mod verb;
mod watch;

pub(crate) use self::room::Room;
#[cfg(target_os = "linux")]
pub use self::special::Special;
pub use self::{
    dir::{Dir, Node},
    entries::{Entries, Walk, WalkEntry},
    file::File,
    lock::{Lock, LockKind},
    metadata::{DirEntry, FileKind, Metadata, SetTime},
    options::{Flush, OpenOptions},
    temporary::{TempDir, TempFile},
    watch::{Watch, WatchEvent, WatchKind},
};
