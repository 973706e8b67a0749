//! The resolution of paths: by one `openat2(2)` where that can say all, else step by step.

use std::path::Path;

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::{self, Errno},
};

use super::{Directory, steps::Steps};
use crate::{
    fs::OpenOptions,
    limits::RESOLVE_TRIES,
    os::Fault,
    path::{Beneath, Leaf},
    policy::{FsTerms, always::KERNEL_FILESYSTEMS, rule},
    sys::{Expect, Filesystem, Opened, Resolution, Root, Wait},
};

/// How every path is resolved: beneath its directory, on its file system, and through no link that procfs makes up.
pub(super) const CONFINED: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS).union(ResolveFlags::NO_XDEV);

/// `NONBLOCK`, so that opening a FIFO does not wait for its other end; `NOCTTY`, so that a terminal does not become
/// ours. On regular files and directories neither means anything.
pub(super) const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);

/// File systems that may ask a server before they answer, even for what the path walk has cached.
const REMOTE_FILESYSTEMS: &[u64] = &[
    0x6969,      // nfs
    0xff53_4d42, // cifs
    0xfe53_4d42, // smb2
    0x0102_1997, // 9p
    0x00c3_6400, // ceph
    0x6573_5546, // fuse
    0x6b41_4653, // afs
    0x0bd0_0bd0, // lustre
    0x0116_1970, // gfs2
    0x7461_636f, // ocfs2
    0x4750_4653, // gpfs
    0x1983_0326, // beegfs
    0x2003_0528, // orangefs
    0x7375_7245, // coda
    0x786f_4256, // vboxsf
];

/// File systems that no other machine changes, and of which the kernel alone sets when a file was changed. Not those that are
/// like them: FAT and NTFS let programs set that time, an image that is only read has what its maker
/// wrote, and what is beneath an overlay cannot be told.
const LOCAL_FILESYSTEMS: &[u64] = &[
    0xef53,      // ext2, ext3, ext4
    0x5846_5342, // xfs
    0x9123_683e, // btrfs
    0xf2f5_2010, // f2fs
    0x2fc1_2fc1, // zfs
    0xca45_1a4e, // bcachefs
    0x3153_464a, // jfs
    0x0102_1994, // tmpfs
    0x8584_58f6, // ramfs
];

/// Opens a directory that a grant names.
pub(crate) fn open_root(path: &Path, terms: &FsTerms, resolution: Resolution) -> Result<Root, Fault> {
    let flags = ALWAYS | OFlags::RDONLY | OFlags::DIRECTORY;
    let opened = match resolve(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        // Without `openat2` a magic link is followed: where it leads is looked at below as any other place is.
        Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS) => fs::open(path, flags, Mode::empty()),
        opened => opened,
    };
    let fd = opened?;
    let magic = check_filesystem(&fd)?;
    let directory = Directory::root(fd, terms, resolution)?;
    let mut filesystem = filesystem_of(magic);
    // Only one call of the kernel can say that it would have to wait.
    filesystem.inline &= directory.bounds().by_kernel();
    Ok(Root { directory, filesystem })
}

/// What is known of a file system by its magic number. One that nobody knows of is taken for one that need not be waited for,
/// as most are, but is not relied on.
fn filesystem_of(magic: u64) -> Filesystem {
    Filesystem { inline: !REMOTE_FILESYSTEMS.contains(&magic), local: LOCAL_FILESYSTEMS.contains(&magic) }
}

/// Opens a regular file or a directory beneath `dir`.
pub(crate) fn open(
    dir: &Directory,
    path: Beneath<'_>,
    options: OpenOptions,
    expect: Expect,
    wait: Wait,
) -> Result<Opened, Fault> {
    open_sized(dir, path, options, expect, wait).map(|(opened, _)| opened)
}

/// As [`open`], with what is known of it anyway.
pub(super) fn open_sized(
    dir: &Directory,
    path: Beneath<'_>,
    options: OpenOptions,
    expect: Expect,
    wait: Wait,
) -> Result<(Opened, Stat), Fault> {
    if wait == Wait::Never && options.changes() {
        return Err(Fault::WouldBlock);
    }
    let handle = open_beneath(dir, path, flags(options, expect), wait)?;
    let stat = fs::fstat(&handle)?;
    match (FileType::from_raw_mode(stat.st_mode), expect) {
        (FileType::RegularFile, Expect::File | Expect::Any) => {
            dir.bounds().check_links(&stat, options.write)?;
            if options.truncate {
                io::retry_on_intr(|| fs::ftruncate(&handle, 0))?;
            }
            Ok((Opened::File(handle), stat))
        }
        (FileType::Directory, Expect::Directory | Expect::Any) => {
            Ok((Opened::Directory(dir.beneath(handle)), stat))
        }
        (FileType::Directory, Expect::File) => Err(Errno::ISDIR.into()),
        _ => Err(Fault::Forbidden(rule::PLAIN_FILES)),
    }
}

/// Opens what `path` names beneath `dir`, of whatever kind.
pub(super) fn open_beneath(
    dir: &Directory,
    path: Beneath<'_>,
    flags: OFlags,
    wait: Wait,
) -> Result<OwnedFd, Fault> {
    // A mere place is not opened at all: `openat2` takes no flag with `PATH` that is about opening.
    let flags = if flags.contains(OFlags::PATH) { flags | OFlags::CLOEXEC } else { flags | ALWAYS };
    let mode = if flags.contains(OFlags::CREATE) { Mode::from_raw_mode(0o666) } else { Mode::empty() };
    if dir.bounds().by_kernel() {
        let cached = match wait {
            Wait::Never => ResolveFlags::CACHED,
            Wait::Allowed => ResolveFlags::empty(),
        };
        match resolve(dir, path.as_path(), flags, mode, CONFINED | cached) {
            // A socket, a FIFO that nobody reads, a device without a driver.
            Err(Errno::NXIO) => return Err(Fault::Forbidden(rule::PLAIN_FILES)),
            // Renames elsewhere keep the kernel from being sure of a `..`; or the path leaves the directory, or passes
            // a mount point, and the one error does not say which. Name by name, all of that is told apart.
            Err(Errno::AGAIN | Errno::XDEV) => {}
            result => return Ok(result?),
        }
    }
    if wait == Wait::Never {
        return Err(Fault::WouldBlock);
    }
    let guard = dir.bounds().guard()?;
    Steps::new(dir.bounds(), dir.as_fd(), &guard).open(path.as_path(), flags, mode)
}

/// Calls `act` with the directory that holds the last component of `path`, and with that component, which is about to
/// be made, taken or given to something else.
///
/// The calls that have no `openat2` of their own go through here. Their last component is a plain name, which they
/// do not follow, so that nothing is left to resolve.
pub(super) fn in_parent<T>(
    dir: &Directory,
    path: Beneath<'_>,
    act: impl FnOnce(BorrowedFd<'_>, &Leaf<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    in_parent_or(dir, path, Errno::INVAL, act)
}

/// As [`in_parent`]; `nameless` is the error where the path ends in `.` or `..` and is inside: the kernel has another
/// one for each call.
pub(super) fn in_parent_or<T>(
    dir: &Directory,
    path: Beneath<'_>,
    nameless: Errno,
    act: impl FnOnce(BorrowedFd<'_>, &Leaf<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let Some(leaf) = path.leaf() else {
        open_beneath(dir, path, OFlags::PATH | OFlags::DIRECTORY, Wait::Allowed)?;
        return Err(nameless.into());
    };
    let opened;
    let parent = match leaf.parent {
        None => dir.as_fd(),
        Some(parent) => {
            opened = open_beneath(dir, parent, OFlags::PATH | OFlags::DIRECTORY, Wait::Allowed)?;
            opened.as_fd()
        }
    };
    if dir.bounds().has_carve_outs() {
        dir.bounds().guard()?.check_name(parent, leaf.name)?;
    }
    act(parent, &leaf)
}

/// Resolves and opens, again where a signal came between, or a rename that made the kernel unsure of a `..`.
pub(super) fn resolve(
    dir: impl AsFd,
    path: &Path,
    flags: OFlags,
    mode: Mode,
    how: ResolveFlags,
) -> Result<OwnedFd, Errno> {
    for _ in 0..RESOLVE_TRIES {
        match fs::openat2(&dir, path, flags, mode, how) {
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) if !how.contains(ResolveFlags::CACHED) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

fn flags(options: OpenOptions, expect: Expect) -> OFlags {
    let mut flags = match (options.read, options.write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    flags.set(OFlags::DIRECTORY, expect == Expect::Directory);
    flags.set(OFlags::CREATE, options.create || options.create_new);
    flags.set(OFlags::EXCL, options.create_new);
    flags.set(OFlags::APPEND, options.append);
    flags.set(OFlags::NOFOLLOW, !options.follow);
    flags
}

/// Refuses what is on a file system that the kernel makes up, and returns the magic number of any other.
pub(super) fn check_filesystem(fd: &OwnedFd) -> Result<u64, Fault> {
    // The magic number is a word of the machine's size: 32 bits of it count.
    let magic = u64::from(fs::fstatfs(fd)?.f_type as u32);
    if KERNEL_FILESYSTEMS.contains(&magic) || is_devices(fd)? {
        return Err(Fault::Forbidden(rule::KERNEL_FILESYSTEM));
    }
    Ok(magic)
}

/// Whether it is on the file system of `/dev`. That one cannot be told by its magic number: devtmpfs has that of
/// tmpfs. Where `/dev` is a part of the root file system, its nodes are still not opened, for they are no files.
fn is_devices(handle: &OwnedFd) -> io::Result<bool> {
    let (Ok(devices), Ok(root)) = (fs::stat("/dev"), fs::stat("/")) else { return Ok(false) };
    Ok(devices.st_dev != root.st_dev && fs::fstat(handle)?.st_dev == devices.st_dev)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(magic: u64, inline: bool, local: bool) {
        assert_eq!(filesystem_of(magic), Filesystem { inline, local }, "{magic:#x}");
    }

    #[test]
    fn what_is_not_known_to_be_of_this_machine_is_not_taken_for_it() {
        check(0xef53, true, true); // ext4
        check(0x0102_1994, true, true); // tmpfs
        check(0x6969, false, false); // nfs
        check(0x4750_4653, false, false); // gpfs
        check(0x794c_7630, true, false); // overlayfs, over whatever
        check(0x4d44, true, false); // FAT: programs set its times
        check(0x7371_7368, true, false); // squashfs: its maker set them
        check(0x1234_5678, true, false);
    }

    #[test]
    fn no_file_system_is_of_this_machine_and_another() {
        assert!(LOCAL_FILESYSTEMS.iter().all(|magic| !REMOTE_FILESYSTEMS.contains(magic)));
        assert!(LOCAL_FILESYSTEMS.iter().all(|magic| !KERNEL_FILESYSTEMS.contains(magic)));
    }
}
