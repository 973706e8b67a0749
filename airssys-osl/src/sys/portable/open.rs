use std::{
    fs::{File, Metadata},
    path::Path,
};

use cap_std::{
    ambient_authority,
    fs::{Dir, OpenOptions as CapOptions},
};

use super::{Handle, fault};
use crate::{
    fs::OpenOptions,
    os::Fault,
    path::Beneath,
    policy::{FsTerms, HardLinks, rule},
    sys::{Expect, Filesystem, Opened, Resolution, Root, Wait},
};

/// An open directory, and what becomes of files with several names in it.
#[derive(Debug)]
pub(crate) struct Directory {
    pub(super) dir: Dir,
    hard_links: HardLinks,
}

impl Directory {
    /// A directory that was found beneath this one.
    fn beneath(&self, dir: Dir) -> Self {
        Self { dir, hard_links: self.hard_links }
    }

    /// Checks what a file with several names may be used for.
    pub(super) fn check_links(&self, metadata: &Metadata, change: bool) -> Result<(), Fault> {
        let refused = match self.hard_links {
            HardLinks::Shared => false,
            HardLinks::ReadOnly => change,
            HardLinks::Refused => true,
        };
        if refused && links(metadata) > 1 { Err(Fault::Forbidden(rule::HARD_LINKED)) } else { Ok(()) }
    }
}

/// Opens a directory that a grant names, where its terms can be held.
pub(crate) fn open_root(
    path: &Path,
    terms: &FsTerms,
    _resolution: Resolution,
) -> Result<Root<Directory>, Fault> {
    let knows_links = cfg!(unix) || terms.hard_links == HardLinks::Shared;
    if !terms.denied.is_empty() || terms.has_quota() || !knows_links {
        return Err(Fault::Unsupported);
    }
    let dir = Dir::open_ambient_dir(path, ambient_authority()).map_err(Fault::Os)?;
    Ok(Root { directory: Directory { dir, hard_links: terms.hard_links }, filesystem: Filesystem::default() })
}

/// Opens a regular file or a directory beneath `dir`.
pub(crate) fn open(
    dir: &Directory,
    path: Beneath<'_>,
    options: OpenOptions,
    expect: Expect,
    wait: Wait,
) -> Result<Opened<Handle, Directory>, Fault> {
    if wait == Wait::Never {
        return Err(Fault::WouldBlock);
    }
    let path = path.as_path();
    if !options.follow && dir.dir.symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(Fault::errno(super::errno::INVALID));
    }
    // What is there is looked at first, for opening a FIFO would wait; and at what was opened once more. A FIFO that is
    // put there in between holds up this thread of the pool.
    match dir.dir.metadata(path) {
        Ok(metadata) if metadata.is_dir() && expect != Expect::File && !options.write => {
            return Ok(Opened::Directory(dir.beneath(dir.dir.open_dir(path).map_err(fault)?)));
        }
        Ok(metadata) if metadata.is_dir() => return Err(Fault::Os(std::io::ErrorKind::IsADirectory.into())),
        Ok(metadata) if !metadata.is_file() => return Err(Fault::Forbidden(rule::PLAIN_FILES)),
        Ok(_) if expect == Expect::Directory => {
            return Err(Fault::Os(std::io::ErrorKind::NotADirectory.into()));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(fault(error)),
        Ok(_) => {}
    }
    let mut how = CapOptions::new();
    how.append(options.append);
    how.read(options.read).write(options.write).create(options.create).create_new(options.create_new);
    let file = dir.dir.open_with(path, &how).map_err(fault)?.into_std();
    let metadata = file.metadata().map_err(Fault::Os)?;
    if !metadata.is_file() {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    dir.check_links(&metadata, options.write)?;
    if options.truncate {
        file.set_len(0).map_err(Fault::Os)?;
    }
    Ok(Opened::File(file))
}

/// Opens what is to be copied; tells how long it is.
pub(crate) fn open_source(dir: &Directory, path: Beneath<'_>) -> Result<(Handle, u64), Fault> {
    match open(dir, path, OpenOptions::new().read(true), Expect::File, Wait::Allowed)? {
        Opened::File(file) => {
            let len = file.metadata().map_err(Fault::Os)?.len();
            Ok((file, len))
        }
        Opened::Directory(_) => Err(Fault::Bug),
    }
}

/// Opens a file as it is, to change something about it.
pub(super) fn open_to_change(dir: &Directory, path: Beneath<'_>) -> Result<File, Fault> {
    match open(dir, path, OpenOptions::new().write(true), Expect::File, Wait::Allowed)? {
        Opened::File(file) => Ok(file),
        Opened::Directory(_) => Err(Fault::Bug),
    }
}

#[cfg(unix)]
fn links(metadata: &Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::nlink(metadata)
}

/// It does not tell; who wants to know was refused.
#[cfg(not(unix))]
fn links(_metadata: &Metadata) -> u64 {
    1
}
