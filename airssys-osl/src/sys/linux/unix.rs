//! UNIX sockets whose names are resolved beneath a directory.
//!
//! There is no `connectat`: an address is a path, which the kernel resolves from the root. So the name is opened first,
//! beneath its directory, and the address is the descriptor's link in `/proc`, which leads to the same object whatever is
//! renamed meanwhile.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fd::BorrowedFd,
    fs::{self, FileType, Mode, OFlags},
    io::Errno,
    net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};

use super::{
    Directory,
    change::proc_path,
    open::{in_parent, open_beneath},
};
use crate::{
    os::Fault,
    path::{Beneath, Leaf},
    sys::Wait,
};

/// How many connections wait to be accepted.
const BACKLOG: i32 = 128;

/// Finds a socket beneath `dir`: what holds it, and the address that leads to it as long as that is held.
pub(crate) fn unix_socket(dir: &Directory, path: Beneath<'_>) -> Result<(OwnedFd, PathBuf), Fault> {
    let place = open_beneath(dir, path, OFlags::PATH, Wait::Allowed)?;
    let stat = fs::fstat(&place)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Errno::NOTSOCK.into());
    }
    // Of several names one may be outside, and whoever listens there expects nobody from here.
    dir.bounds().check_links(&stat, true)?;
    let address = proc_path(&place);
    Ok((place, address.into()))
}

/// Makes a socket beneath `dir` that listens.
pub(crate) fn listen_unix(dir: &Directory, path: Beneath<'_>) -> Result<UnixListener, Fault> {
    in_parent(dir, path, |parent, leaf| {
        let socket = bind(SocketType::STREAM, &address(parent, leaf)?)?;
        net::listen(&socket, BACKLOG)?;
        Ok(socket.into())
    })
}

/// Makes a datagram socket beneath `dir`.
pub(crate) fn bind_unix_datagram(dir: &Directory, path: Beneath<'_>) -> Result<UnixDatagram, Fault> {
    in_parent(dir, path, |parent, leaf| Ok(bind(SocketType::DGRAM, &address(parent, leaf)?)?.into()))
}

/// Makes a socket and its name. The name is its owner's alone from the first moment: it gets the mode of the socket, which
/// is set before there is a name (`unix_bind` in the kernel).
fn bind(kind: SocketType, address: &Path) -> Result<OwnedFd, Fault> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    net::bind(&socket, &SocketAddrUnix::new(address)?)?;
    Ok(socket)
}

/// The address of a new name: binding makes it and follows nothing.
fn address(parent: BorrowedFd<'_>, leaf: &Leaf<'_>) -> Result<PathBuf, Fault> {
    if leaf.slash {
        return Err(Fault::Os(io::ErrorKind::InvalidInput.into()));
    }
    let mut address = OsString::from(proc_path(parent));
    address.push("/");
    address.push(leaf.name);
    Ok(address.into())
}
