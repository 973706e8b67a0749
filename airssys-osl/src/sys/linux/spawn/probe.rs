//! What this machine lets us enforce: found out by trying, for what is there may still be forbidden.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    ops::RangeInclusive,
    os::unix::fs::MetadataExt as _,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    process::{getegid, geteuid},
    thread::{CapabilitySet, capabilities},
};

use super::{
    cgroup, init, keeper,
    prepare::{self, Own},
    raw,
    script::Script,
    seccomp,
};
use crate::{
    process::{Host, Layers},
    sys::random,
};

/// The user that a program of root's runs as, where its grant names no other: the one that owns nothing.
const NOBODY: u32 = 65534;

/// The users, and the groups, of programs that share theirs with nobody: what no system hands out, and, for containers that
/// have only the lower ones, what systemd uses for the same.
const DYNAMIC: [RangeInclusive<u32>; 2] = [0xffff_0000..=0xffff_ff00, 61_184..=65_519];

/// What the list of mounts says of one that may not be copied.
const UNBINDABLE: &[u8] = b" unbindable ";

/// The layers that are namespaces.
const NAMESPACES: Layers = Layers::MOUNTS
    .union(Layers::PROCESSES)
    .union(Layers::NETWORK)
    .union(Layers::IPC)
    .union(Layers::HOST_NAME)
    .union(Layers::CGROUP_VIEW);

/// Tries each layer, once. Somebody waits for the first program: so all namespaces are tried in one child, and one by one only
/// where that fails, to tell which are not to be had.
pub(crate) fn host() -> &'static Host {
    static HOST: OnceLock<Host> = OnceLock::new();
    HOST.get_or_init(|| {
        let together = match try_init().and_then(|()| try_namespaces(NAMESPACES)) {
            Ok(()) => NAMESPACES,
            Err(_) => Layers::empty(),
        };
        let try_one = |layer| if together.contains(layer) { Ok(()) } else { try_layer(layer) };
        let layers = Layers::NAMES.iter().map(|(_, layer)| (*layer, try_one(*layer)));
        Host { layers: layers.collect(), landlock: raw::landlock_version() }
    })
}

/// The flags with which a filter is loaded that tells its watcher, found out by trying; or why none can be.
///
/// With the second of them, which Linux 5.19 has, a call that its watcher has taken is ended by no signal but one that kills:
/// files are opened as they are without a watcher, by programs that expect no `EINTR` of them.
pub(super) fn listening() -> Result<usize, Box<str>> {
    const LISTENER: usize = libc::SECCOMP_FILTER_FLAG_NEW_LISTENER as usize;
    const KILLABLE: usize = libc::SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV as usize;
    static FLAGS: OnceLock<usize> = OnceLock::new();
    if let Some(flags) = FLAGS.get() {
        return Ok(*flags);
    }
    let load = |flags| {
        let mut script = Script::new();
        script.no_new_privileges();
        script.filter_watched_calls(&seccomp::open(), flags);
        try_script(&script, 0).map(|()| flags)
    };
    let flags = match load(LISTENER | KILLABLE) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => load(LISTENER),
        loaded => loaded,
    };
    // Why there are none may be another matter the next time.
    flags.map(|flags| *FLAGS.get_or_init(|| flags)).map_err(|error| error.to_string().into())
}

/// Who we are, and what we may.
pub(super) fn own() -> Own {
    let effective = effective();
    Own {
        uid: geteuid().as_raw(),
        gid: getegid().as_raw(),
        admin: effective.contains(CapabilitySet::SYS_ADMIN),
        bounds: effective.contains(CapabilitySet::SETPCAP),
        enters: effective.contains(CapabilitySet::SYS_ADMIN | CapabilitySet::SYS_CHROOT) && is_first(),
    }
}

/// Whether we are in the user namespace that the machine began with. In others the kernel gives a `/proc` only where a whole one
/// can be seen.
fn is_first() -> bool {
    /// The number that Linux has for it.
    const FIRST: u64 = 0xefff_fffd;
    static IS: OnceLock<bool> = OnceLock::new();
    *IS.get_or_init(|| fs::metadata("/proc/self/ns/user").is_ok_and(|found| found.ino() == FIRST))
}

/// Whether there is a mount that may not be copied. A copy of a tree shows what lies beneath it, unless all of the tree was made
/// private before: in a namespace of the program's own that was done.
pub(super) fn has_unbindable() -> bool {
    // The kernel tells nobody when a mount becomes such a one, so each start looks.
    let mut mounts = Vec::new();
    let read = File::open("/proc/thread-self/mountinfo").and_then(|mut file| file.read_to_end(&mut mounts));
    // Who cannot tell had better suppose so.
    read.is_err() || mounts.windows(UNBINDABLE.len()).any(|word| word == UNBINDABLE)
}

/// Whom a program of ours becomes where nobody is named: nobody, if we are root and may say so.
pub(crate) fn nobody() -> Option<(u32, u32)> {
    let may = effective().contains(CapabilitySet::SETUID | CapabilitySet::SETGID);
    (geteuid().is_root() && may).then_some((NOBODY, NOBODY))
}

/// Whom a program of ours becomes that shares its user with nobody, as far as that is up to us: two that we start have not
/// the same, and where another program of this kind begins to count, nobody knows.
pub(crate) fn dynamic_user() -> io::Result<Option<(u32, u32)>> {
    static FIRST: OnceLock<u32> = OnceLock::new();
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let Some(nobody) = nobody() else { return Ok(None) };
    let maps = [fs::read_to_string("/proc/self/uid_map")?, fs::read_to_string("/proc/self/gid_map")?];
    let Some(range) = DYNAMIC.iter().find(|range| maps.iter().all(|map| has(map, range))) else {
        return Ok(Some(nobody));
    };
    let mut drawn = [0; 4];
    random(&mut drawn)?;
    let first = *FIRST.get_or_init(|| u32::from_ne_bytes(drawn));
    let number = first.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    let id = range.start() + number % (range.end() - range.start() + 1);
    Ok(Some((id, id)))
}

/// Whether one line of a map of ids, see user_namespaces(7), has all of `range`.
fn has(map: &str, range: &RangeInclusive<u32>) -> bool {
    map.lines().any(|line| {
        let mut fields = line.split_ascii_whitespace().map(|field| field.parse().unwrap_or(0_u64));
        let (first, count) = (fields.next().unwrap_or(0), fields.nth(1).unwrap_or(0));
        first <= u64::from(*range.start()) && u64::from(*range.end()) < first.saturating_add(count)
    })
}

fn effective() -> CapabilitySet {
    capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty())
}

fn try_layer(layer: Layers) -> Result<(), Box<str>> {
    match layer {
        Layers::SECCOMP if seccomp::EXISTS => Ok(()),
        Layers::SECCOMP => Err("there is no filter for this processor".into()),
        Layers::LANDLOCK => {
            let why = "the kernel has it not, or not in use: it takes Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and `landlock` in lsm= of its command line";
            raw::landlock_version().map(drop).ok_or_else(|| why.into())
        }
        Layers::CGROUP => cgroup::available(),
        Layers::PROCESSES => try_init().and_then(|()| try_namespaces(layer)),
        layer => try_namespaces(layer),
    }
}

/// Whether there can be a first process of a namespace of processes.
fn try_init() -> Result<(), Box<str>> {
    if !init::EXISTS {
        return Err("there is no init for this processor".into());
    }
    init::file().map(drop).map_err(|error| format!("files in memory: {error}").into())
}

/// Makes namespaces, in a child that ends at once.
fn try_namespaces(layers: Layers) -> Result<(), Box<str>> {
    let own = own();
    let mut script = Script::new();
    if layers.contains(Layers::MOUNTS) {
        script.keep_mounts_private();
        script.mount("mount a root", c"tmpfs", c"/tmp", 0, c"");
        let tree = script.copy_tree(c"/dev/null");
        script.restrict_tree(tree, c"", libc::MOUNT_ATTR_RDONLY, true);
        script.close(tree);
        script.change_dir("enter the root", c"/tmp");
    }
    if layers.contains(Layers::CGROUP_VIEW) {
        script.new_cgroup_view();
    }
    try_script(&script, prepare::namespaces(layers, own)).map_err(|error| {
        let how = if own.admin { "" } else { "; it needs user namespaces, see user.max_user_namespaces, kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns" };
        format!("{error}{how}").into()
    })
}

/// Runs a script in a child that ends at once.
pub(super) fn try_script(script: &Script, namespaces: i32) -> io::Result<()> {
    let born = raw::start(script, namespaces)?;
    keeper::take_away(&born.pidfd);
    let failed = |(step, error): (&str, io::Error)| io::Error::new(error.kind(), format!("{step}: {error}"));
    born.failed.map_or(Ok(()), |failure| Err(failed(failure)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_drawn_from_what_a_container_has() {
        let [high, low] = &DYNAMIC;
        for (map, expected) in [
            ("         0          0 4294967295\n", (true, true)),
            ("         0     100000      65536\n", (false, true)),
            ("0 1000 1\n1 100000 65535\n", (false, true)),
            ("0 1000 1\n", (false, false)),
            ("", (false, false)),
        ] {
            assert_eq!((has(map, high), has(map, low)), expected, "{map:?}");
        }
    }
}
