//! What a directory's paths are held to: its grant's terms, as far as they are about resolving.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, StatxFlags},
    io::{self, Errno},
};

use super::{steps::Steps, twins};
use crate::{
    os::Fault,
    policy::{FsTerms, HardLinks, rule},
    sys::Resolution,
};

/// An open directory, and what resolving beneath it is held to.
#[derive(Debug)]
pub(crate) struct Directory {
    fd: OwnedFd,
    bounds: Arc<Bounds>,
}

/// What holds beneath one granted directory.
#[derive(Debug)]
pub(super) struct Bounds {
    /// The granted directory and what is taken out of it, where anything is.
    carved: Option<(OwnedFd, Box<[PathBuf]>)>,
    hard_links: HardLinks,
    /// The mount that the directory is on, where paths are resolved without `openat2`.
    stepwise: Option<Mount>,
}

/// What tells one mount from another: its number, or its device where the kernel gives none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mount(u64);

/// What an object is, whatever it is called: device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64, u64);

/// The carve-outs as they are at this moment.
#[derive(Debug, Default)]
pub(super) struct Guard {
    denied: Vec<Identity>,
    /// The directories and links on the way to what is denied.
    leading: Vec<Identity>,
    /// Where they are.
    ways: Vec<Vacant>,
    vacant: Vec<Vacant>,
}

/// Where something would be denied, or lead to what is, if it existed; or where something leads there.
#[derive(Debug)]
pub(super) struct Vacant {
    pub(super) parent: Identity,
    pub(super) name: OsString,
    /// It would lead there, and be a directory: something else may stand in its place.
    pub(super) leads: bool,
}

impl Directory {
    pub(super) fn root(fd: OwnedFd, terms: &FsTerms, resolution: Resolution) -> Result<Self, Fault> {
        let carved = match &*terms.denied {
            [] => None,
            denied => Some((fd.try_clone().map_err(Fault::Os)?, denied.into())),
        };
        let stepwise = match resolution {
            Resolution::Kernel if has_openat2() => None,
            _ => Some(Mount::of(&fd)?),
        };
        Ok(Self { fd, bounds: Arc::new(Bounds { carved, hard_links: terms.hard_links, stepwise }) })
    }

    /// A directory that was found beneath this one.
    pub(super) fn beneath(&self, fd: OwnedFd) -> Self {
        Self { fd, bounds: Arc::clone(&self.bounds) }
    }

    pub(super) fn bounds(&self) -> &Bounds {
        &self.bounds
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Bounds {
    /// Whether one `openat2` says all that there is to say about a path.
    pub(super) fn by_kernel(&self) -> bool {
        self.carved.is_none() && self.stepwise.is_none()
    }

    pub(super) fn has_openat2(&self) -> bool {
        self.stepwise.is_none()
    }

    pub(super) fn has_carve_outs(&self) -> bool {
        self.carved.is_some()
    }

    /// Checks that what was opened without `openat2` is on the mount of its directory.
    pub(super) fn check_mount(&self, fd: impl AsFd) -> Result<(), Fault> {
        match self.stepwise {
            Some(mount) if Mount::of(fd)? != mount => Err(Fault::Forbidden(rule::MOUNT_POINT)),
            _ => Ok(()),
        }
    }

    /// Checks what a file with several names may be used for.
    pub(super) fn check_links(&self, stat: &Stat, change: bool) -> Result<(), Fault> {
        let refused = match self.hard_links {
            HardLinks::Shared => false,
            HardLinks::ReadOnly => change,
            HardLinks::Refused => true,
        };
        if refused && stat.st_nlink > 1 { Err(Fault::Forbidden(rule::HARD_LINKED)) } else { Ok(()) }
    }

    /// Checks a name in `parent` that is about to be given to what has something in it already, or leads to something.
    pub(super) fn check_filled(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
        if !self.has_carve_outs() {
            return Ok(());
        }
        // The directory at this name may have been made, or removed, since the path was looked up: then it is no object that
        // denies it, but this place.
        let guard = self.guard()?;
        check_places(guard.ways.iter().chain(&guard.vacant), parent, name)
    }

    /// Looks up the carve-outs. They are looked up for each path anew, for what has their names changes.
    pub(super) fn guard(&self) -> Result<Guard, Fault> {
        let mut guard = Guard::default();
        let Some((root, denied)) = &self.carved else { return Ok(guard) };
        let unguarded = Guard::default();
        for path in denied {
            let mut steps = Steps::new(self, root.as_fd(), &unguarded);
            match steps.open(path, OFlags::PATH, Mode::empty()) {
                Ok(object) => guard.denied.push(Identity::of(&fs::fstat(&object)?)),
                Err(Fault::Os(error)) if is_missing(error.kind()) => {
                    if let Some((name, leads)) = steps.missing() {
                        let parent = Identity::of(&fs::fstat(steps.here())?);
                        guard.vacant.push(Vacant { parent, name, leads });
                    }
                }
                // It leads out of the directory: no path here reaches it.
                Err(Fault::Forbidden(_)) => {}
                Err(fault) => return Err(fault),
            }
            guard.leading.append(&mut steps.trail);
            guard.ways.append(&mut steps.ways);
        }
        Ok(guard)
    }
}

impl Guard {
    /// Checks an object that was found.
    pub(super) fn check(&self, object: Identity) -> Result<(), Fault> {
        if self.denied.contains(&object) { Err(Fault::Forbidden(rule::CARVE_OUT)) } else { Ok(()) }
    }

    /// Checks an object that loses its name.
    pub(super) fn check_move(&self, object: Identity) -> Result<(), Fault> {
        let leads = self.leading.contains(&object);
        if leads { Err(Fault::Forbidden(rule::CARVE_OUT)) } else { self.check(object) }
    }

    /// Checks a name that is made in `parent`.
    pub(super) fn check_new(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
        // What leads to a carve-out may be made: it is empty.
        check_places(self.vacant.iter().filter(|vacant| !vacant.leads), parent, name)
    }

    /// Checks a name in `parent` that is about to be made, taken or given to something else.
    pub(super) fn check_name(&self, parent: BorrowedFd<'_>, name: &OsStr) -> Result<(), Fault> {
        match fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => self.check_move(Identity::of(&stat)),
            Err(Errno::NOENT) => self.check_new(parent, name),
            Err(error) => Err(error.into()),
        }
    }
}

/// Checks that a name in `parent` is none of these.
fn check_places<'a>(
    places: impl Iterator<Item = &'a Vacant>,
    parent: BorrowedFd<'_>,
    name: &OsStr,
) -> Result<(), Fault> {
    let mut places = places.peekable();
    if places.peek().is_none() {
        return Ok(());
    }
    let here = Identity::of(&fs::fstat(parent)?);
    // What would be a twin of it, the file system alone knows, and it is not there to be looked at.
    let denied = places.filter(|place| place.parent == here).any(|Vacant { name: place, .. }| {
        place == name || (twins::may_be_one(place, name) && !twins::are_told_apart(parent))
    });
    if denied { Err(Fault::Forbidden(rule::CARVE_OUT)) } else { Ok(()) }
}

impl Identity {
    #[allow(clippy::unnecessary_cast, reason = "it is necessary on other processors")]
    pub(super) fn of(stat: &Stat) -> Self {
        Self(stat.st_dev as u64, stat.st_ino as u64)
    }
}

impl Mount {
    fn of(fd: impl AsFd) -> Result<Self, Errno> {
        let statx = fs::statx(&fd, c"", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
        match statx {
            Ok(statx) if StatxFlags::from_bits_retain(statx.stx_mask).contains(StatxFlags::MNT_ID) => {
                Ok(Self(statx.stx_mnt_id))
            }
            _ => Ok(Self(fs::fstat(fd)?.st_dev)),
        }
    }
}

/// Whether an error says that a name on the way is of nothing, or of something that leads nowhere.
fn is_missing(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

/// Splits a path into its names, last one first.
pub(super) fn names_reversed(path: &OsStr) -> impl Iterator<Item = OsString> {
    let names = path.as_bytes().rsplit(|byte| *byte == b'/').filter(|name| !name.is_empty());
    names.map(|name| OsStr::from_bytes(name).to_owned())
}

/// Whether the kernel has `openat2`, with all that is asked of it, and lets us call it: a sandbox may refuse.
fn has_openat2() -> bool {
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let how = ResolveFlags::BENEATH | ResolveFlags::CACHED;
            // A path that leaves is refused before anything is looked at that could be refused to this user.
            let tried: io::Result<OwnedFd> = fs::openat2(CWD, c"/", OFlags::PATH, Mode::empty(), how);
            let has = !matches!(tried, Err(Errno::NOSYS | Errno::PERM | Errno::ACCESS | Errno::INVAL));
            KNOWN.store(if has { 1 } else { 2 }, Ordering::Relaxed);
            has
        }
        known => known == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a rename that runs beside it finds, between its look at the path and the rename itself.
    #[test]
    fn what_leads_to_a_carve_out_is_not_filled_where_it_was_made_or_removed_meanwhile() {
        let tmp = tempfile::tempdir().unwrap();
        let terms = FsTerms::new().deny("hooks/run/first");
        for resolution in [Resolution::Kernel, Resolution::Steps] {
            let fd = fs::open(tmp.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
            let root = Directory::root(fd, &terms, resolution).unwrap();
            let check = |name: &str| root.bounds().check_filled(root.as_fd(), OsStr::new(name));
            for made in [false, true] {
                if made {
                    std::fs::create_dir(tmp.path().join("hooks")).unwrap();
                }
                assert!(matches!(check("hooks"), Err(Fault::Forbidden(rule::CARVE_OUT))), "made: {made}");
                check("other").unwrap();
            }
            std::fs::remove_dir(tmp.path().join("hooks")).unwrap();
        }
    }
}
