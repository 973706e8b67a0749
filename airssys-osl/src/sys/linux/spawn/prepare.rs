//! From a plan to the calls that a child makes.

use std::{
    ffi::{CStr, CString, OsString},
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{self, CWD, FileType, Mode, OFlags},
    io::{Errno, fcntl_dupfd_cloexec},
    process::{Resource, getrlimit},
};

use super::{
    cgroup, init, landlock, messages, probe,
    script::{Fd, Script},
    seccomp,
    spares::{NETWORKS, ROOTS},
};
use crate::{
    limits::PROGRAM_FILES,
    os::Fault,
    process::{Layers, Limits},
    sys::plan::Plan,
};

/// Whatever is to be handed over has a number from here on: those below are given to the program.
const HIGH: i32 = 3 + PROGRAM_FILES as i32;

/// How its `/proc` is mounted.
pub(super) const PROC_FLAGS: libc::c_ulong =
    libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;

/// What the program's own root is put on until it is the root.
const STAGE: &CStr = c"/tmp";

const READ_ONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NO_SETUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NO_DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
const NO_EXECUTION: u64 = libc::MOUNT_ATTR_NOEXEC;

/// The devices that every program has, and what they are called beneath its root.
pub(super) const DEVICES: [(&CStr, &CStr); 5] = [
    (c"/dev/null", c"dev/null"),
    (c"/dev/zero", c"dev/zero"),
    (c"/dev/full", c"dev/full"),
    (c"/dev/random", c"dev/random"),
    (c"/dev/urandom", c"dev/urandom"),
];

pub(super) const LINKS: [(&CStr, &CStr); 5] = [
    (c"/proc/self/fd", c"dev/fd"),
    (c"/proc/self/fd/0", c"dev/stdin"),
    (c"/proc/self/fd/1", c"dev/stdout"),
    (c"/proc/self/fd/2", c"dev/stderr"),
    (c"/tmp", c"dev/shm"),
];

/// The directories of every root that something is put into or mounted on.
pub(super) const DIRECTORIES: [&CStr; 3] = [c"tmp", c"dev", c"proc"];

/// How a root is mounted, beside what its files are kept from.
pub(super) const ROOT_SIZE: [(&CStr, &CStr); 3] =
    [(c"mode", c"0755"), (c"size", c"1m"), (c"nr_inodes", c"8k")];
const ROOT_DATA: &CStr = c"mode=0755,size=1m,nr_inodes=8k";

/// A directory or a file that a program sees under its own path.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    kind: Kind,
    write: bool,
}

#[derive(Debug)]
enum Kind {
    Directory(OwnedFd),
    File(OwnedFd),
    Link(OsString),
}

impl Place {
    /// Opens what a grant names.
    pub(crate) fn granted(path: &Path, write: bool) -> Result<Self, Fault> {
        Self::open(path, write, false)
    }

    /// Opens what is there on every system. Where it is a link, `keep` makes it one for the program too.
    pub(crate) fn system(path: &Path, keep: bool) -> Result<Self, Fault> {
        if keep && let Ok(target) = fs::readlinkat(CWD, path, Vec::new()) {
            let target = OsString::from_vec(target.into_bytes());
            return Ok(Self { path: path.to_owned(), kind: Kind::Link(target), write: false });
        }
        Self::open(path, false, true)
    }

    fn open(path: &Path, write: bool, system: bool) -> Result<Self, Fault> {
        let fd = fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        // The system's own are named by us: they are no controls of the kernel.
        if !system {
            super::super::open::check_filesystem(&fd)?;
        }
        let kind = match FileType::from_raw_mode(fs::fstat(&fd)?.st_mode) {
            FileType::Directory => Kind::Directory(fd),
            FileType::RegularFile => Kind::File(fd),
            _ => return Err(Fault::Forbidden(crate::policy::rule::PLAIN_FILES)),
        };
        Ok(Self { path: path.to_owned(), kind, write })
    }
}

/// All that there is beneath the root, to be changed, but what `but` says and what each program has of its own. What cannot
/// be given is left out.
pub(crate) fn everything(but: impl Fn(&Path) -> bool) -> Result<Vec<Place>, Fault> {
    // Of these each program has its own, or none.
    let is_made = |path: &Path| ["/proc", "/sys", "/dev"].iter().any(|made| path == Path::new(made));
    let mut places = Vec::new();
    for entry in std::fs::read_dir("/").map_err(Fault::Os)? {
        let path = entry.map_err(Fault::Os)?.path();
        if !but(&path) && !is_made(&path) {
            // A link leads to where it leads elsewhere: what it leads to is among these, or is not given.
            let place = match path.is_symlink() {
                true => Place::system(&path, true),
                false => Place::granted(&path, true),
            };
            places.extend(place.ok());
        }
    }
    Ok(places)
}

/// What is needed to start a plan.
pub(super) struct Prepared {
    pub(super) script: Script,
    pub(super) namespaces: i32,
    /// Our end of the socket to the program's `init`, where there is one.
    pub(super) socket: Option<OwnedFd>,
    /// Where the socket comes from that listens on its loopback, where there is to be one.
    pub(super) listener: Option<OwnedFd>,
    /// Where the descriptor comes from by which it is watched.
    pub(super) watched: Option<OwnedFd>,
    /// The mounts of its root, where they were begun before.
    pub(super) root: Option<OwnedFd>,
}

/// What this process may do itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own {
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Whether it can make namespaces without a user namespace of its own.
    pub(super) admin: bool,
    /// Whether it can bound what a child can ever have.
    pub(super) bounds: bool,
    /// Whether it can enter mounts that were made before, and be given a `/proc` there.
    pub(super) enters: bool,
}

/// The `CLONE_NEW…` flags of `layers`.
pub(super) fn namespaces(layers: Layers, own: Own) -> i32 {
    let flags = [
        (Layers::MOUNTS, libc::CLONE_NEWNS),
        (Layers::PROCESSES, libc::CLONE_NEWPID),
        (Layers::NETWORK, libc::CLONE_NEWNET),
        (Layers::IPC, libc::CLONE_NEWIPC),
        (Layers::HOST_NAME, libc::CLONE_NEWUTS),
    ];
    let flags =
        flags.iter().filter(|(layer, _)| layers.contains(*layer)).fold(0, |all, (_, flag)| all | flag);
    // The view of control groups is made later, when it is in its own.
    let any = flags != 0 || layers.contains(Layers::CGROUP_VIEW);
    if any && !own.admin { flags | libc::CLONE_NEWUSER } else { flags }
}

/// Which of the limits cannot be held to under `layers`: the layer that would, and why there is nothing else.
pub(crate) fn unbounded(limits: &Limits, layers: Layers) -> Option<(Layers, &'static str)> {
    let shares = limits.cpu_percent.is_some() || limits.io_weight.is_some();
    let whole = limits.memory_bytes.is_some() && !limits.memory_of_each;
    match () {
        () if whole && !layers.contains(Layers::CGROUP) => {
            Some((Layers::CGROUP, "there is nothing else to count the memory of all its processes by"))
        }
        () if whole && !counts_memory(layers) => Some((
            Layers::CGROUP,
            "it does not count what is swapped out here: boot with swapaccount=1, or without swap",
        )),
        () if limits.processes.is_some() && !counts_processes(layers) => {
            Some((Layers::CGROUP, "there is nothing else to count processes by"))
        }
        () if shares && !layers.contains(Layers::CGROUP) => {
            Some((Layers::CGROUP, "there is nothing else to share processors and disks by"))
        }
        () => None,
    }
}

/// Whether the memory of a whole tree is counted under `layers`, with what of it is swapped out.
pub(crate) fn counts_memory(layers: Layers) -> bool {
    layers.contains(Layers::CGROUP) && !cgroup::misses_swap()
}

/// Whether a limit of processes can be held to under `layers`.
fn counts_processes(layers: Layers) -> bool {
    layers.contains(Layers::CGROUP) || namespaces(layers, probe::own()) & libc::CLONE_NEWUSER != 0
}

/// Makes the scripts of a plan. `groups` are the control groups that it is to be in, open to be entered.
pub(super) fn prepare(mut plan: Plan, own: Own, groups: Vec<OwnedFd>) -> Result<Prepared, Fault> {
    let mut namespaces = namespaces(plan.layers, own);
    let user_namespace = namespaces & libc::CLONE_NEWUSER != 0;
    let mut script = Script::new();
    let enters = plan.layers.contains(Layers::MOUNTS) && own.enters && !probe::has_unbindable();
    let root = enters.then(|| ROOTS.take()).flatten();
    if root.is_some() {
        namespaces &= !libc::CLONE_NEWNS;
    }
    reset_signals(&mut script);
    for group in groups {
        let group = script.hold(group);
        script.write("enter the control group", group, b"0");
    }
    if user_namespace {
        map_user(&mut script, own);
    } else if let Some(network) = plan.layers.contains(Layers::NETWORK).then(|| NETWORKS.take()).flatten() {
        // One in a user namespace of its own could not enter it.
        namespaces &= !libc::CLONE_NEWNET;
        let network = script.hold(network);
        script.enter("enter the network", network, libc::CLONE_NEWNET);
    }
    if plan.layers.contains(Layers::CGROUP_VIEW) {
        script.new_cgroup_view();
    }
    if plan.layers.contains(Layers::HOST_NAME) {
        script.set_host_name(c"sandbox");
    }
    if plan.loopback && plan.layers.contains(Layers::NETWORK) {
        script.raise_loopback();
    }
    let listener = match plan.listen.filter(|_| plan.loopback && plan.layers.contains(Layers::NETWORK)) {
        Some(port) => Some(listen(&mut script, port)?),
        None => None,
    };
    let begun = root.as_ref().map(|root| Fd::Ours(root.as_raw_fd()));
    // Ours may keep the directories of its root from everybody but root.
    script.set_umask(0);
    let rules = if plan.layers.contains(Layers::MOUNTS) {
        build_root(&mut script, &mut plan, begun)?
    } else {
        Vec::new()
    };
    script.set_umask(0o077);
    let ids = plan.ids.filter(|_| !user_namespace);
    become_nobody(&mut script, ids, own.bounds || user_namespace);
    script.change_dir("enter the working directory", &plan.directory);
    if let Some(version) = plan.landlock {
        landlock::confine(&mut script, version, rules, &plan);
    }
    let watched = match plan.layers.contains(Layers::SECCOMP) {
        true => filter_calls(&mut script, &plan)?,
        false => None,
    };
    let inside = plan.layers.contains(Layers::PROCESSES);
    finish(script, plan, inside, user_namespace).map(|(script, socket)| Prepared {
        script,
        namespaces,
        socket,
        listener,
        watched,
        root,
    })
}

/// Loads the filter of system calls, and returns where the descriptor comes from by which the program is watched.
fn filter_calls(script: &mut Script, plan: &Plan) -> Result<Option<OwnedFd>, Fault> {
    let flags = match plan.watched.then(probe::listening).transpose() {
        Err(why) if plan.learns => return Err(Fault::Lacks("seccomp, watched".to_owned(), why)),
        // It is held all the same.
        flags => flags.ok().flatten(),
    };
    // Whoever is found by a path of the machine's would do for a program what it may not do: start another, outside.
    let by_path = plan.layers.contains(Layers::MOUNTS);
    let filter = seccomp::filter(plan.sockets, by_path, plan.calls, flags.is_some());
    let Some(flags) = flags else {
        script.filter_calls(filter);
        return Ok(None);
    };
    let (ours, theirs) = messages()?;
    let theirs = script.hold(high(theirs.as_fd())?);
    let lent = script.filter_watched_calls(filter, flags);
    script.send("hand over what it is watched by", theirs, lent);
    Ok(Some(ours))
}

/// Listens where only the program can connect to, and returns our end of what brings the socket to us.
fn listen(script: &mut Script, port: u16) -> Result<OwnedFd, Fault> {
    let (ours, theirs) = messages()?;
    let theirs = script.hold(high(theirs.as_fd())?);
    let socket = script.listen(port);
    script.send("hand over the proxy's socket", theirs, socket);
    Ok(ours)
}

/// The end of the script, where the program begins; below an `init` where it is in a namespace of processes.
fn finish(
    mut script: Script,
    plan: Plan,
    inside: bool,
    user_namespace: bool,
) -> Result<(Script, Option<OwnedFd>), Fault> {
    let mut last = Script::new();
    let program = last.hold(high(plan.program.as_fd())?);
    // What rules name by its number stays open until the child has made them.
    script.hold(plan.program);
    for place in plan.places {
        if let Kind::Directory(fd) | Kind::File(fd) = place.kind {
            script.hold(fd);
        }
    }
    let mut gifts = Vec::new();
    for fd in plan.stdio.into_iter().chain(plan.files.into_iter().map(|file| file.fd)) {
        gifts.push(last.hold(high(fd.as_fd())?));
        script.hold(fd);
    }
    last.new_session();
    last.close_later(gifts.len() as i32);
    for (target, gift) in gifts.into_iter().enumerate() {
        last.give(gift, target as i32);
    }
    if !inside {
        last.die_with_parent();
    }
    limit(&mut last, &plan.limits, counts_memory(plan.layers), user_namespace);
    last.unblock_signals();
    last.become_program("execute the program", program, plan.args, plan.env);
    if !inside {
        script.append(last);
        return checked(script).map(|script| (script, None));
    }
    let (ours, theirs) = messages()?;
    let socket = script.hold(high(theirs.as_fd())?);
    let first = script.hold(high(init::file().map_err(Fault::Os)?)?);
    script.new_session();
    script.die_with_parent();
    let child = script.start_child(checked(last)?);
    script.send("hand over the program", socket, child);
    script.close_below(init::SOCKET);
    script.give(socket, init::SOCKET);
    script.close_later(init::SOCKET + 1);
    script.become_program("execute the init", first, vec![c"airssys-init".to_owned()], Vec::new());
    Ok((checked(script)?, Some(ours)))
}

fn checked(script: Script) -> Result<Script, Fault> {
    if script.is_too_long() { Err(Fault::TooLarge) } else { Ok(script) }
}

fn high(fd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    fcntl_dupfd_cloexec(fd, HIGH)
}

/// The default action for each signal, and only then none is blocked any more: a handler of ours must never run in a
/// child that has our memory. What is ignored here, such as `SIGPIPE`, would stay so.
fn reset_signals(script: &mut Script) {
    script.reset_signals();
}

/// Who we are inside is who we are outside.
fn map_user(script: &mut Script, own: Own) {
    let maps = [
        (c"/proc/self/setgroups", "deny".to_owned()),
        (c"/proc/self/uid_map", format!("{0} {0} 1\n", own.uid)),
        (c"/proc/self/gid_map", format!("{0} {0} 1\n", own.gid)),
    ];
    for (path, text) in maps {
        let file = script.open("open a map of users", Fd::Here, path, libc::O_WRONLY);
        script.write("map users", file, text.as_bytes());
        script.close(file);
    }
}

/// Makes a root of the places that the program sees, and returns what Landlock is to permit of it. `begun` is one that was
/// made ready before.
fn build_root(
    script: &mut Script,
    plan: &mut Plan,
    begun: Option<Fd>,
) -> Result<Vec<(&'static CStr, u64)>, Fault> {
    let written = NO_SETUID | NO_DEVICES | if plan.executes { 0 } else { NO_EXECUTION };
    if begun.is_none() {
        script.keep_mounts_private();
    }
    plan.places.sort_by(|one, other| one.path.cmp(&other.path));
    let mut trees = Vec::new();
    for place in &plan.places {
        let path = c_path(&place.path)?;
        let tree = match place.kind {
            Kind::Link(_) => None,
            _ => {
                let tree = script.copy_tree(&path);
                let attributes = if place.write { written } else { READ_ONLY | NO_SETUID | NO_DEVICES };
                script.restrict_tree(tree, c"", attributes, true);
                Some(tree)
            }
        };
        trees.push(tree);
    }
    match begun {
        // The copies are nobody's yet, and come along.
        Some(begun) => script.enter("enter the root", begun, libc::CLONE_NEWNS),
        None => begin_root(script),
    }
    let no_exec = if plan.executes { 0 } else { libc::MS_NOEXEC };
    let size = text(format!("mode=1777,nr_inodes=64k,size={}", plan.limits.temporary_bytes))?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    script.mount("mount /tmp", c"tmpfs", c"tmp", flags | no_exec, &size);
    if plan.layers.contains(Layers::PROCESSES) {
        let data = if plan.tells { c"" } else { c"subset=pid" };
        // Where parts of the machine's own are hidden from us, as in most containers, the kernel gives no other one: the
        // program has none then, see `means`.
        script.mount("mount /proc", c"proc", c"proc", PROC_FLAGS, data).unless = libc::EPERM;
    }
    for (place, tree) in plan.places.iter().zip(trees) {
        attach(script, place, tree)?;
    }
    if begun.is_none() {
        script.change_root();
    }
    script.restrict_tree(Fd::Here, c"/", READ_ONLY, false);
    let execute = if plan.executes { landlock::EXECUTE } else { 0 };
    Ok(vec![(c"/tmp", landlock::CHANGE | execute), (c"/proc", landlock::READ)])
}

/// What is the same in each program's root, which becomes the working directory.
pub(super) fn begin_root(script: &mut Script) {
    let devices = DEVICES.map(|(path, target)| {
        let tree = script.copy_tree(path);
        script.restrict_tree(tree, c"", NO_SETUID | NO_EXECUTION, true);
        (tree, target)
    });
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    script.mount("mount a root", c"tmpfs", STAGE, flags, ROOT_DATA);
    script.change_dir("enter the stage", STAGE);
    for path in DIRECTORIES {
        script.make_dir(path, 0o755);
    }
    for (tree, target) in devices {
        script.make_file(target);
        script.attach_tree(tree, target);
    }
    for (target, path) in LINKS {
        script.make_link(target, path);
    }
}

fn attach(script: &mut Script, place: &Place, tree: Option<Fd>) -> Result<(), Fault> {
    let relative = place.path.strip_prefix("/").map_err(|_| Fault::Bug)?;
    let parents: Vec<&Path> =
        relative.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()).collect();
    for parent in parents.into_iter().rev() {
        script.make_dir(&c_path(parent)?, 0o755);
    }
    let path = c_path(relative)?;
    match (&place.kind, tree) {
        (Kind::Link(target), _) => script.make_link(&text(target.as_bytes())?, &path),
        (Kind::Directory(_), Some(tree)) => {
            script.make_dir(&path, 0o755);
            script.attach_tree(tree, &path);
        }
        (Kind::File(_), Some(tree)) => {
            script.make_file(&path);
            script.attach_tree(tree, &path);
        }
        (_, None) => return Err(Fault::Bug),
    }
    Ok(())
}

/// Sets limits: last of all, for what comes before is ours. None is above our own, which a child cannot raise.
fn limit(script: &mut Script, limits: &Limits, counts_memory: bool, user_namespace: bool) {
    let seconds = |time: std::time::Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
    let time = limits.cpu_time.map(seconds);
    let bounds = [
        (Resource::Core, Some(0), 0),
        (Resource::Nofile, Some(limits.descriptors), 0),
        (Resource::Fsize, limits.file_bytes, 0),
        // A group counts what is used. This counts what is only asked for, such as the stacks of threads, and refuses it.
        (Resource::Data, limits.memory_bytes.filter(|_| !counts_memory), 0),
        // Elsewhere all processes of the user on the machine would count.
        (Resource::Nproc, limits.processes.filter(|_| user_namespace), 0),
        (Resource::Msgqueue, Some(0), 0),
        // A second between the signal that it may handle and the one that it cannot.
        (Resource::Cpu, time, 1),
    ];
    for (resource, bound, grace) in bounds {
        if let Some(bound) = bound {
            let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
            let hard = bound.saturating_add(grace).min(most);
            script.set_limit(resource as i32, bound.min(hard), hard);
        }
    }
}

/// Drops capabilities, groups and ids, for good.
///
/// What it has none of it cannot get back: `no_new_privs` cuts whatever an execution gives down to what was there before,
/// for files with capabilities or set-id bits and for root alike. The bounding set, which the thread that starts programs
/// has emptied for all of them, says so once more where there is no user namespace, which begins with a full one.
fn become_nobody(script: &mut Script, ids: Option<(u32, u32)>, secure_bits: bool) {
    if secure_bits {
        script.lock_secure_bits();
    }
    if let Some((user, group)) = ids {
        script.set_ids(user, group);
    }
    script.drop_capabilities();
    script.no_new_privileges();
}

/// The places, as Landlock has them, for `landlock::confine`.
pub(super) fn place_rules(plan: &Plan) -> impl Iterator<Item = (Fd, bool, bool)> {
    plan.places.iter().filter_map(|place| match &place.kind {
        Kind::Directory(fd) => Some((Fd::Ours(fd.as_raw_fd()), true, place.write)),
        Kind::File(fd) => Some((Fd::Ours(fd.as_raw_fd()), false, place.write)),
        Kind::Link(_) => None,
    })
}

fn c_path(path: &Path) -> Result<CString, Fault> {
    text(path.as_os_str().as_bytes())
}

fn text(bytes: impl Into<Vec<u8>>) -> Result<CString, Fault> {
    CString::new(bytes).map_err(|_| Fault::from(Errno::INVAL))
}
