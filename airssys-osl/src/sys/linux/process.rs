//! This program's own process, and what it gives to others.

use std::{
    io::{self, Read as _},
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{self, CWD, FileType, Mode, OFlags, ResolveFlags},
    process::{DumpableBehavior, Resource, geteuid, getrlimit, set_dumpable_behavior, setrlimit},
};
use sha2::{Digest as _, Sha256};

use super::{
    open::{ALWAYS, check_filesystem, resolve},
    spawn::sealed,
};
use crate::{
    os::Fault,
    policy::rule,
    process::{Layers, THIS_PROGRAM},
};

/// What the system's programs need of the file system. What is not there is not shown.
pub(crate) const SYSTEM: &[&str] = &[
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/usr",
    "/etc/alternatives",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/ssl",
];

/// What looks hosts up, for programs that are on the network.
pub(crate) const RESOLVER: &[&str] =
    &["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/hosts", "/etc/services", "/etc/gai.conf"];

/// The layers that name files by their paths.
pub(crate) const BY_PATH: Layers = Layers::MOUNTS.union(Layers::LANDLOCK);

/// Where a program starts that has no root of its own, and no directory that its grant names.
pub(crate) const START: &str = "/";

/// How every file begins that the machine executes itself.
const ELF: &[u8; 4] = b"\x7fELF";

/// Raises the soft limit of open files to the hard one.
pub(crate) fn raise_file_limit() -> io::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}

/// Has nobody else of our user look into our memory.
pub(crate) fn forbid_tracing() -> io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

/// The effective user.
pub(crate) fn user() -> u32 {
    geteuid().as_raw()
}

/// Opens a program. With a hash, what is opened is a copy in memory, which nobody can change any more.
pub(crate) fn open_program(
    path: &Path,
    sha256: Option<&[u8; 32]>,
    limit_bytes: u64,
) -> Result<OwnedFd, Fault> {
    // The kernel's link to our own file is the one that leads where it says.
    let links = match path == Path::new(THIS_PROGRAM) {
        true => ResolveFlags::empty(),
        false => ResolveFlags::NO_MAGICLINKS,
    };
    let program = resolve(CWD, path, ALWAYS | OFlags::RDONLY, Mode::empty(), links)?;
    check_filesystem(&program)?;
    if FileType::from_raw_mode(fs::fstat(&program)?.st_mode) != FileType::RegularFile {
        return Err(Fault::Forbidden(rule::PLAIN_FILES));
    }
    let mut head = [0; ELF.len()];
    let read = rustix::io::pread(&program, &mut head, 0)?;
    if read < head.len() || head != *ELF {
        return Err(Fault::Forbidden(rule::NO_SCRIPTS));
    }
    let Some(sha256) = sha256 else { return Ok(program) };
    let mut image = Vec::new();
    std::fs::File::from(program)
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut image)
        .map_err(Fault::Os)?;
    if image.len() as u64 > limit_bytes {
        return Err(Fault::TooLarge);
    }
    if Sha256::digest(&image).as_slice() != sha256 {
        return Err(Fault::Forbidden(rule::OTHER_PROGRAM));
    }
    sealed("program", &image).map_err(Fault::Os)
}

/// Opens what is always empty and takes everything.
pub(crate) fn null() -> Result<OwnedFd, Fault> {
    Ok(fs::openat(CWD, c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}

/// An open file, for a program.
pub(crate) fn lend(file: &OwnedFd) -> Result<OwnedFd, Fault> {
    file.try_clone().map_err(Fault::Os)
}
