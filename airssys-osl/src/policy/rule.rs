//! The built-in rules, under the names that they have in records and errors.

/// No grant permits it.
pub const DEFAULT_DENY: &str = "default-deny";
/// The principal was revoked: its actor died, or the host withdrew it.
pub const REVOKED: &str = "revoked";
/// The path leads out of the granted directory.
pub const BENEATH_ROOT: &str = "beneath-root";
/// The path leads into something that is mounted beneath the granted directory: grant that place by itself.
pub const MOUNT_POINT: &str = "mount-point";
/// The grant takes this object out, or something that leads to it; see [`FsTerms::deny`](super::FsTerms::deny).
pub const CARVE_OUT: &str = "carve-out";
/// The policy changed what it takes out of the directory, or began to count in it, after the handle was opened: open
/// it again.
pub const CHANGED_TERMS: &str = "changed-terms";
/// The file has other names, which may be outside; see [`HardLinks`](super::HardLinks).
pub const HARD_LINKED: &str = "hard-linked";
/// The grant would permit it, but the handle was opened, or narrowed, to less.
pub const NARROWED_HANDLE: &str = "narrowed-handle";
/// The object is neither a regular file nor a directory: a device, a FIFO, a socket.
pub const PLAIN_FILES: &str = "plain-files-only";
/// The directory is on a file system that the kernel makes up, such as procfs or sysfs: names in it are controls.
pub const KERNEL_FILESYSTEM: &str = "kernel-filesystem";
/// The object would come to a place where its principal may do more with it than where it is.
pub const WIDER_DESTINATION: &str = "wider-destination";
/// The two handles of one operation belong to different principals.
pub const FOREIGN_HANDLE: &str = "foreign-handle";
/// The program itself acted, not a principal of the policy.
pub const HOST: &str = "host";
/// What a host is spelled like is refused before anything is asked of it.
pub const MALFORMED_HOST: &str = "malformed-host";
/// How the rules begin that deny an address which is not global and which no grant names:
/// `non-global: loopback`. The rest is the [`Class`](crate::net::address::Class).
pub const NON_GLOBAL: &str = "non-global: ";
/// The address is one at which clouds tell a machine its identity and its secrets, and no grant names that very address.
pub const METADATA: &str = "non-global: metadata";
/// How a rule goes on that permits until a moment that has come.
pub const EXPIRED: &str = ": expired";
/// How a rule goes on that permits during hours which these are not.
pub const OUTSIDE_HOURS: &str = ": outside its hours";
/// How a rule goes on that permits so many in a time, which there were.
pub const OVER_RATE: &str = ": over its rate";
/// How a rule goes on that permits something beneath a directory, but lacks the rights behind this.
pub const LACKS: &str = ": lacks ";
/// How what [`Mode::Learn`](super::Mode::Learn) records begins; the rest is the rights that were needed.
pub const LEARN: &str = "learn: needs ";
/// The program's content is not what its grant says.
pub const OTHER_PROGRAM: &str = "other-program";
/// The arguments, files or variables are not those that the grant of the program describes.
pub const OTHER_ARGUMENTS: &str = "other-arguments";
/// A program is a file that the machine executes itself: a script would hand its arguments to an interpreter that no
/// grant names.
pub const NO_SCRIPTS: &str = "no-scripts";
/// The file is in a directory where bytes are counted, or was opened to be appended to: a program that writes to it would
/// do neither.
pub const COUNTED_FILE: &str = "counted-file";
