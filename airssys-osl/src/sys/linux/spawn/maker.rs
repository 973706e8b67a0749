//! Makes namespaces on a thread of its own, which goes into each new one and comes back.

use std::{
    cell::Cell,
    ffi::CStr,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{self, CWD, FileType, Mode, OFlags, openat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
    },
    process::{chroot, fchdir, umask},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

use super::{
    keeper, messages,
    prepare::{DEVICES, DIRECTORIES, LINKS, ROOT_SIZE, begin_root},
    probe, raw, received,
    script::Script,
};
use crate::os::Fault;

/// What is needed to come back.
pub(super) struct Maker {
    /// Where the namespaces are that this thread is in.
    own: OwnedFd,
    network: OwnedFd,
    /// Where it makes roots, if it can.
    roots: Option<Roots>,
    /// It went, and has not come back.
    away: Cell<bool>,
}

struct Roots {
    mounts: OwnedFd,
    root: OwnedFd,
    /// Mounts of the devices, and little else to be copied.
    base: OwnedFd,
}

impl Maker {
    /// For this thread, whose root and working directory are no other's from here on.
    pub(super) fn new() -> Result<Self, Fault> {
        raw::unshare(libc::CLONE_FS).map_err(Fault::Os)?;
        let own = openat(CWD, "/proc/thread-self/ns", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        let network = open_own(&own, c"net")?;
        let roots = probe::own().enters.then(|| {
            let root = openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
            Ok::<_, Fault>(Roots { mounts: open_own(&own, c"mnt")?, root, base: base()? })
        });
        let roots = roots.transpose()?;
        Ok(Self { own, network, roots, away: Cell::new(false) })
    }

    /// Whether it did not come back from where it went: it must not go on then.
    pub(super) fn is_lost(&self) -> bool {
        self.away.get()
    }

    /// A network that nobody has been in yet: a loopback is all that is in it, and it is down.
    pub(super) fn network(&self) -> Result<OwnedFd, Fault> {
        raw::unshare(libc::CLONE_NEWNET).map_err(Fault::Os)?;
        self.away.set(true);
        let made = open_own(&self.own, c"net");
        move_into_link_name_space(self.network.as_fd(), Some(LinkNameSpaceType::Network))?;
        self.away.set(false);
        Ok(made?)
    }

    /// Mounts that nobody has seen yet: a root with what all programs have, and nothing else.
    pub(super) fn root(&self) -> Result<OwnedFd, Fault> {
        let roots = self.roots.as_ref().ok_or(Fault::Bug)?;
        let mounts = Some(LinkNameSpaceType::Mount);
        move_into_link_name_space(roots.base.as_fd(), mounts)?;
        self.away.set(true);
        let before = umask(Mode::empty());
        let made = self.furnish();
        umask(before);
        move_into_link_name_space(roots.mounts.as_fd(), mounts)?;
        // That alone leads to the root of the machine, which need not be ours.
        fchdir(&roots.root)?;
        chroot(".")?;
        self.away.set(false);
        made
    }

    /// Puts a new root over the one of the base, which is found beneath by nobody who enters.
    fn furnish(&self) -> Result<OwnedFd, Fault> {
        raw::unshare(libc::CLONE_NEWNS).map_err(Fault::Os)?;
        let context = fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for (name, value) in ROOT_SIZE {
            fsconfig_set_string(&context, name, value)?;
        }
        fsconfig_create(&context)?;
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        move_mount(&root, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        for path in DIRECTORIES {
            fs::mkdirat(&root, path, Mode::from(0o755))?;
        }
        let copied = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        for (path, target) in DEVICES {
            let device = open_tree(CWD, path, copied)?;
            fs::mknodat(&root, target, FileType::RegularFile, Mode::from(0o644), 0)?;
            move_mount(&device, "", &root, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        for (target, path) in LINKS {
            fs::symlinkat(target, &root, path)?;
        }
        Ok(open_own(&self.own, c"mnt")?)
    }
}

fn open_own(own: impl AsFd, name: &CStr) -> rustix::io::Result<OwnedFd> {
    openat(own, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes mounts that have a copy of nothing of the machine's but the devices, in a child that leaves them to us.
fn base() -> Result<OwnedFd, Fault> {
    let (ours, theirs) = messages()?;
    let mut script = Script::new();
    let theirs = script.hold(theirs);
    let lent = script.open_lent("open its mounts", c"/proc/self/ns/mnt");
    script.set_umask(0);
    script.keep_mounts_private();
    begin_root(&mut script);
    script.change_root();
    script.send("hand over its mounts", theirs, lent);
    let born = raw::start(&script, libc::CLONE_NEWNS).map_err(Fault::Os)?;
    keeper::take_away(&born.pidfd);
    match born.failed {
        Some((step, error)) => Err(Fault::Step(step, error)),
        None => received(ours).ok_or(Fault::Bug),
    }
}
