//! Files and directories beneath granted roots.
//!
//! [`Principal::dir`](crate::Principal::dir) opens a directory that the policy grants. Every path is relative to
//! such a [`Dir`] and resolved by the kernel beneath it (Linux: `openat2(2)` with `RESOLVE_BENEATH`,
//! `RESOLVE_NO_MAGICLINKS` and `RESOLVE_NO_XDEV`): `..` and symbolic links work as long as they stay inside, and a
//! path that would leave, be it for the length of one component, is denied by the rule `beneath-root`. Whatever is
//! neither a regular file nor a directory is closed again at once, and denied.
//!
//! # What needs which right
//!
//! | operation | right |
//! |---|---|
//! | [`Principal::dir`](crate::Principal::dir), [`Dir::open_dir`], [`Dir::self_metadata`], [`File::metadata`], [`File::sync`] | none but the grant or the handle |
//! | [`Dir::open`], [`Dir::open_any`] | READ to read, WRITE to write or truncate, CREATE to create |
//! | [`Dir::read`], [`File::read_at`] | READ |
//! | [`Dir::list`] | LIST |
//! | [`Dir::metadata`], [`Dir::read_link`] | READ or LIST |
//! | [`File::write_at`], [`File::append`], [`File::set_len`], [`File::set_times`], [`Dir::set_times`] | WRITE |
//! | [`Dir::create_dir`], [`Dir::symlink`], [`Dir::hard_link`] | CREATE |
//! | [`Dir::replace`] | CREATE and WRITE |
//! | [`Dir::rename`] | CREATE and WRITE, at both ends: it may replace what is there and destroys nothing of what moves |
//! | [`Dir::remove_file`], [`Dir::remove_dir`] | DELETE |
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
//! A hard link inside of a root is the file itself, wherever else it has names: whoever can make hard links into a
//! granted directory shares the file. [`Metadata::links`] tells.

mod access;
mod change;
mod dir;
mod file;
mod metadata;
mod options;
mod verb;

#[cfg(target_os = "linux")]
pub(crate) use self::dir::parse;
pub use self::{
    dir::{Dir, Node},
    file::File,
    metadata::{DirEntry, FileKind, Metadata, SetTime},
    options::{Flush, OpenOptions},
};
