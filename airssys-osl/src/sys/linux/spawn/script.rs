//! What a child does before it becomes the program: a list of system calls, made ready beforehand.
//!
//! INVARIANT: a [`Step`] is made only by the methods below. Each makes one call, whose pointers lead to memory that the
//! script owns and that neither moves nor shrinks as long as the script lives. That is what `raw` relies on when it
//! makes the calls.

use std::{
    ffi::{CStr, CString},
    os::fd::{AsRawFd as _, OwnedFd},
    sync::atomic::AtomicI32,
};

use libc::{c_int, c_long};

/// How many numbers a child may keep: what calls return, and what they take that is not known before.
const CELLS: usize = 2048;

/// A number that is known only when the child runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell(usize);

/// What one child does, and the memory that it needs for it.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) steps: Vec<Step>,
    cells: Box<[AtomicI32]>,
    used: usize,
    texts: Vec<CString>,
    words: Vec<Box<[usize]>>,
    bytes: Vec<Box<[u8]>>,
    /// Open for as long as the child needs them.
    files: Vec<OwnedFd>,
}

/// One system call.
#[derive(Debug)]
pub(super) struct Step {
    /// What it is for, in the error of whoever started the child.
    pub(super) what: &'static str,
    pub(super) call: Call,
    /// Where what it returns is kept.
    pub(super) into: Option<Cell>,
    /// An error number that is as good as success.
    pub(super) unless: c_int,
}

#[derive(Debug)]
pub(super) enum Call {
    Plain(c_long, [Arg; 6]),
    /// Starts another child with a script of its own, and keeps its descriptor.
    Child(Box<Script>, Cell),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Arg {
    Number(usize),
    Kept(Cell),
}

/// An open file, as a step names it: one of ours, or one that an earlier step opened.
#[derive(Clone, Copy, Debug)]
pub(super) enum Fd {
    Ours(c_int),
    Kept(Cell),
    /// The working directory.
    Here,
}

impl From<Fd> for Arg {
    fn from(fd: Fd) -> Self {
        match fd {
            Fd::Ours(fd) => Self::Number(fd as usize),
            Fd::Kept(cell) => Self::Kept(cell),
            Fd::Here => Self::Number(libc::AT_FDCWD as usize),
        }
    }
}

const NONE: Arg = Arg::Number(0);

impl Script {
    pub(super) fn new() -> Self {
        Self {
            steps: Vec::new(),
            cells: (0..CELLS).map(|_| AtomicI32::new(0)).collect(),
            used: 0,
            texts: Vec::new(),
            words: Vec::new(),
            bytes: Vec::new(),
            files: Vec::new(),
        }
    }

    /// The place of a kept number; `None` past the end, which no script reaches.
    pub(super) fn cell(&self, cell: Cell) -> Option<&AtomicI32> {
        self.cells.get(cell.0)
    }

    /// Whether it needed more numbers than there is room for: it must not run then.
    pub(super) fn is_too_long(&self) -> bool {
        self.used > CELLS
    }

    /// Keeps a file open as long as the script is there.
    pub(super) fn hold(&mut self, fd: OwnedFd) -> Fd {
        let number = fd.as_raw_fd();
        self.files.push(fd);
        Fd::Ours(number)
    }

    /// Goes on with what `other` does, which keeps no numbers.
    pub(super) fn append(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.texts.extend(other.texts);
        self.words.extend(other.words);
        self.bytes.extend(other.bytes);
        self.files.extend(other.files);
        // Its numbers would be others here: such a script must not run.
        self.used += if other.used > 0 { CELLS + 1 } else { 0 };
    }

    fn take(&mut self, count: usize) -> Cell {
        let first = self.used;
        self.used += count;
        Cell(first)
    }

    fn set(&self, cell: Cell, offset: usize, value: i32) {
        if let Some(cell) = self.cells.get(cell.0 + offset) {
            cell.store(value, std::sync::atomic::Ordering::Relaxed);
        }
    }

    fn address(&self, cell: Cell) -> Arg {
        Arg::Number(self.cells.get(cell.0).map_or(0, |cell| cell.as_ptr().expose_provenance()))
    }

    fn text(&mut self, text: &CStr) -> Arg {
        let text = text.to_owned();
        let address = text.as_ptr().expose_provenance();
        self.texts.push(text);
        Arg::Number(address)
    }

    /// A list of texts that ends in a null pointer, as `execve` takes it.
    fn list(&mut self, texts: Vec<CString>) -> Arg {
        let mut words: Vec<usize> = texts.iter().map(|text| text.as_ptr().expose_provenance()).collect();
        words.push(0);
        self.texts.extend(texts);
        self.record(words)
    }

    fn record(&mut self, words: Vec<usize>) -> Arg {
        let words = words.into_boxed_slice();
        let address = words.as_ptr().expose_provenance();
        self.words.push(words);
        Arg::Number(address)
    }

    fn data(&mut self, bytes: &[u8]) -> Arg {
        let bytes: Box<[u8]> = bytes.into();
        let address = bytes.as_ptr().expose_provenance();
        self.bytes.push(bytes);
        Arg::Number(address)
    }

    fn step<const N: usize>(&mut self, what: &'static str, number: c_long, args: [Arg; N]) -> &mut Step {
        let mut all = [NONE; 6];
        for (place, arg) in all.iter_mut().zip(args) {
            *place = arg;
        }
        self.steps.push(Step { what, call: Call::Plain(number, all), into: None, unless: 0 });
        // What was pushed is there.
        let last = self.steps.len() - 1;
        #[expect(clippy::indexing_slicing, reason = "it was pushed in the line above")]
        &mut self.steps[last]
    }
}

fn number(value: c_int) -> Arg {
    Arg::Number(value as usize)
}

/// Files.
impl Script {
    pub(super) fn open(&mut self, what: &'static str, at: Fd, path: &CStr, flags: c_int) -> Fd {
        let (path, cell) = (self.text(path), self.take(1));
        let args = [at.into(), path, number(flags | libc::O_CLOEXEC), number(0o644)];
        self.step(what, libc::SYS_openat, args).into = Some(cell);
        Fd::Kept(cell)
    }

    pub(super) fn close(&mut self, fd: Fd) {
        self.step("close", libc::SYS_close, [fd.into()]);
    }

    pub(super) fn write(&mut self, what: &'static str, fd: Fd, bytes: &[u8]) {
        let data = self.data(bytes);
        self.step(what, libc::SYS_write, [fd.into(), data, Arg::Number(bytes.len())]);
    }

    pub(super) fn make_dir(&mut self, path: &CStr, mode: c_int) {
        let path = self.text(path);
        let args = [number(libc::AT_FDCWD), path, number(mode)];
        self.step("make a directory", libc::SYS_mkdirat, args).unless = libc::EEXIST;
    }

    /// Not by opening it: that is refused on what cannot be written, be the file there or not.
    pub(super) fn make_file(&mut self, path: &CStr) {
        let path = self.text(path);
        let mode = (libc::S_IFREG | 0o644) as c_int;
        let args = [number(libc::AT_FDCWD), path, number(mode), number(0)];
        self.step("make a file", libc::SYS_mknodat, args).unless = libc::EEXIST;
    }

    pub(super) fn make_link(&mut self, target: &CStr, path: &CStr) {
        let (target, path) = (self.text(target), self.text(path));
        let args = [target, number(libc::AT_FDCWD), path];
        self.step("make a link", libc::SYS_symlinkat, args).unless = libc::EEXIST;
    }

    pub(super) fn change_dir(&mut self, what: &'static str, path: &CStr) {
        let path = self.text(path);
        self.step(what, libc::SYS_chdir, [path]);
    }

    /// Gives an open file the number that the program finds it under.
    pub(super) fn give(&mut self, fd: Fd, target: c_int) {
        // `dup3` refuses a file its own number; all of ours have higher ones.
        self.step("hand over a descriptor", libc::SYS_dup3, [fd.into(), number(target), number(0)]);
    }

    /// Has every descriptor from `first` on close when the program begins.
    pub(super) fn close_later(&mut self, first: c_int) {
        let args =
            [number(first), Arg::Number(u32::MAX as usize), Arg::Number(libc::CLOSE_RANGE_CLOEXEC as usize)];
        self.step("close descriptors", libc::SYS_close_range, args);
    }

    /// Closes every descriptor below `end`.
    pub(super) fn close_below(&mut self, end: c_int) {
        let args = [number(0), number(end - 1), NONE];
        self.step("close descriptors", libc::SYS_close_range, args);
    }
}

/// Mounts.
impl Script {
    pub(super) fn keep_mounts_private(&mut self) {
        let root = self.text(c"/");
        let flags = Arg::Number((libc::MS_REC | libc::MS_PRIVATE) as usize);
        self.step("make mounts private", libc::SYS_mount, [NONE, root, NONE, flags, NONE]);
    }

    pub(super) fn mount(
        &mut self,
        what: &'static str,
        kind: &CStr,
        at: &CStr,
        flags: libc::c_ulong,
        data: &CStr,
    ) -> &mut Step {
        let (kind, at, data) = (self.text(kind), self.text(at), self.text(data));
        self.step(what, libc::SYS_mount, [kind, at, kind, Arg::Number(flags as usize), data])
    }

    /// Takes a copy of what is mounted at `path`, with all that is mounted beneath.
    pub(super) fn copy_tree(&mut self, path: &CStr) -> Fd {
        let (path, cell) = (self.text(path), self.take(1));
        let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | libc::AT_RECURSIVE as libc::c_uint;
        let args = [number(libc::AT_FDCWD), path, Arg::Number(flags as usize)];
        self.step("copy a mount", libc::SYS_open_tree, args).into = Some(cell);
        Fd::Kept(cell)
    }

    /// Sets attributes of what is mounted at `path`, relative to `tree`; with all that is mounted beneath where it is
    /// `deep`.
    pub(super) fn restrict_tree(&mut self, tree: Fd, path: &CStr, attributes: u64, deep: bool) {
        let path = self.text(path);
        let mut record = Vec::new();
        // What is mounted where it was copied from, or within the copy, is not mounted in the other one too.
        for word in [attributes, 0, libc::MS_PRIVATE, 0] {
            record.extend(word.to_ne_bytes());
        }
        let length = Arg::Number(record.len());
        let attr = self.data(&record);
        let depth = if deep { libc::AT_RECURSIVE } else { 0 };
        let flags = number(libc::AT_EMPTY_PATH | depth);
        self.step("restrict a mount", libc::SYS_mount_setattr, [tree.into(), path, flags, attr, length]);
    }

    pub(super) fn attach_tree(&mut self, tree: Fd, path: &CStr) {
        let (empty, path) = (self.text(c""), self.text(path));
        let flags = Arg::Number(libc::MOVE_MOUNT_F_EMPTY_PATH as usize);
        let args = [tree.into(), empty, number(libc::AT_FDCWD), path, flags];
        self.step("attach a mount", libc::SYS_move_mount, args);
    }

    /// Goes on in another namespace of `kind`. Where that is one of mounts, its root becomes root and working directory.
    pub(super) fn enter(&mut self, what: &'static str, namespace: Fd, kind: c_int) {
        self.step(what, libc::SYS_setns, [namespace.into(), number(kind)]);
    }

    /// Makes the working directory the root, and forgets the old one.
    pub(super) fn change_root(&mut self) {
        let here = self.text(c".");
        self.step("change the root", libc::SYS_pivot_root, [here, here]);
        self.step("leave the old root", libc::SYS_umount2, [here, number(libc::MNT_DETACH)]);
        self.change_dir("enter the new root", c"/");
    }
}

/// Who the child is, and what it may do.
impl Script {
    /// Gives each signal its default action.
    pub(super) fn reset_signals(&mut self) {
        // An empty `struct kernel_sigaction`: the default action, no flags, an empty mask.
        let action = self.data(&[0; 32]);
        for signal in 1..=64 {
            self.forget_signal(signal, action);
        }
    }

    fn forget_signal(&mut self, signal: c_int, action: Arg) {
        let args = [number(signal), action, NONE, Arg::Number(8)];
        // The two that nobody can catch are refused.
        self.step("reset a signal", libc::SYS_rt_sigaction, args).unless = libc::EINVAL;
    }

    pub(super) fn unblock_signals(&mut self) {
        let set = self.data(&[0; 8]);
        let args = [number(libc::SIG_SETMASK), set, NONE, Arg::Number(8)];
        self.step("unblock signals", libc::SYS_rt_sigprocmask, args);
    }

    pub(super) fn new_session(&mut self) {
        self.step("begin a session", libc::SYS_setsid, []);
    }

    pub(super) fn set_umask(&mut self, mask: c_int) {
        self.step("set the umask", libc::SYS_umask, [number(mask)]);
    }

    pub(super) fn set_ids(&mut self, user: u32, group: u32) {
        let (user, group) = (Arg::Number(user as usize), Arg::Number(group as usize));
        self.step("leave groups", libc::SYS_setgroups, [NONE, NONE]);
        self.step("change the group", libc::SYS_setresgid, [group, group, group]);
        self.step("change the user", libc::SYS_setresuid, [user, user, user]);
    }

    pub(super) fn set_limit(&mut self, resource: c_int, soft: u64, hard: u64) {
        let mut record = soft.to_ne_bytes().to_vec();
        record.extend(hard.to_ne_bytes());
        let limit = self.data(&record);
        self.step("set a limit", libc::SYS_prlimit64, [NONE, number(resource), limit, NONE]);
    }

    /// Has the kernel never give more to the child than it has, whatever it executes.
    pub(super) fn no_new_privileges(&mut self) {
        let args = [number(libc::PR_SET_NO_NEW_PRIVS), Arg::Number(1)];
        self.step("set no_new_privs", libc::SYS_prctl, args);
    }

    pub(super) fn lock_secure_bits(&mut self) {
        // NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE, each with its lock.
        let args = [number(libc::PR_SET_SECUREBITS), Arg::Number(0b1100_1111)];
        self.step("lock the secure bits", libc::SYS_prctl, args);
    }

    pub(super) fn drop_capabilities(&mut self) {
        let header = self.data(&[0x2008_0522_u32.to_ne_bytes(), [0; 4]].concat());
        let sets = self.data(&[0; 24]);
        self.step("drop capabilities", libc::SYS_capset, [header, sets]);
    }

    /// Begins the view of control groups at the one that it is in.
    pub(super) fn new_cgroup_view(&mut self) {
        let flags = number(libc::CLONE_NEWCGROUP);
        self.step("make a view of control groups", libc::SYS_unshare, [flags]);
    }

    /// Brings up the one device that a network namespace begins with.
    pub(super) fn raise_loopback(&mut self) {
        // `struct ifreq`: a name of 16 bytes, and a union of 24 that begins with the flags.
        let mut request = b"lo".to_vec();
        request.resize(16, 0);
        request.extend((libc::IFF_UP as u16).to_ne_bytes());
        request.resize(40, 0);
        let (request, cell) = (self.data(&request), self.take(1));
        let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC;
        let args = [number(libc::AF_INET), number(kind), NONE];
        self.step("open a socket", libc::SYS_socket, args).into = Some(cell);
        let args = [Arg::Kept(cell), Arg::Number(libc::SIOCSIFFLAGS as usize), request];
        self.step("raise the loopback", libc::SYS_ioctl, args);
        self.close(Fd::Kept(cell));
    }

    pub(super) fn set_host_name(&mut self, name: &CStr) {
        let length = Arg::Number(name.count_bytes());
        let name = self.text(name);
        self.step("set the host name", libc::SYS_sethostname, [name, length]);
    }

    pub(super) fn die_with_parent(&mut self) {
        let args = [number(libc::PR_SET_PDEATHSIG), number(libc::SIGKILL)];
        self.step("die with its parent", libc::SYS_prctl, args);
    }

    /// Loads a seccomp filter: instructions of eight bytes each.
    pub(super) fn filter_calls(&mut self, filter: &[u8]) {
        let program = self.filter_program(filter);
        let args = [number(libc::PR_SET_SECCOMP), number(libc::SECCOMP_MODE_FILTER as c_int), program];
        self.step("load the seccomp filter", libc::SYS_prctl, args);
    }

    /// Makes a `struct sock_fprog`: a length of 16 bits, then a pointer.
    fn filter_program(&mut self, filter: &[u8]) -> Arg {
        let instructions = self.data(filter);
        let Arg::Number(address) = instructions else { return NONE };
        self.record(vec![usize::from_ne_bytes(length_word(filter.len() / 8)), address])
    }
}

/// What watches.
impl Script {
    /// As [`filter_calls`](Self::filter_calls), and returns where the descriptor is by which the filter asks. What it asks
    /// about waits from here on until somebody answers, so the steps that follow must not. `flags` are `probe::listening`'s.
    pub(super) fn filter_watched_calls(&mut self, filter: &[u8], flags: usize) -> Lent {
        let lent = self.lend();
        let program = self.filter_program(filter);
        let mode = Arg::Number(libc::SECCOMP_SET_MODE_FILTER as usize);
        let args = [mode, Arg::Number(flags), program];
        self.step("load the seccomp filter that is watched", libc::SYS_seccomp, args).into = Some(lent.fd());
        lent
    }
}

/// A word whose first 16 bits are `length`.
fn length_word(length: usize) -> [u8; size_of::<usize>()] {
    let mut word = [0; size_of::<usize>()];
    let length = u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes();
    for (place, byte) in word.iter_mut().zip(length) {
        *place = byte;
    }
    word
}

/// Landlock.
impl Script {
    /// `handled`: the accesses to files, to the network, and the scopes that are confined.
    pub(super) fn new_ruleset(&mut self, handled: [u64; 3], words: usize) -> Fd {
        let record: Vec<u8> = handled.iter().take(words).flat_map(|word| word.to_ne_bytes()).collect();
        let length = Arg::Number(record.len());
        let (attr, cell) = (self.data(&record), self.take(1));
        self.step("make a Landlock ruleset", libc::SYS_landlock_create_ruleset, [attr, length, NONE]).into =
            Some(cell);
        Fd::Kept(cell)
    }

    /// Permits `access` beneath what `fd` has open.
    pub(super) fn permit(&mut self, ruleset: Fd, fd: Fd, access: u64) {
        let (attr, place) = self.rule(access);
        match fd {
            Fd::Ours(fd) => self.set(place, 0, fd),
            Fd::Here => self.set(place, 0, libc::AT_FDCWD),
            // `fcntl(F_GETFD)` would not return the number: what a duplicate returns is one.
            Fd::Kept(_) => {
                let args = [fd.into(), number(libc::F_DUPFD_CLOEXEC), number(0)];
                self.step("duplicate a descriptor", libc::SYS_fcntl, args).into = Some(place);
            }
        }
        self.add_rule(ruleset, attr);
    }

    /// Permits `access` beneath what is at `path`.
    pub(super) fn permit_path(&mut self, what: &'static str, ruleset: Fd, path: &CStr, access: u64) {
        let (attr, place) = self.rule(access);
        let args = [number(libc::AT_FDCWD), self.text(path), number(libc::O_PATH | libc::O_CLOEXEC)];
        self.step(what, libc::SYS_openat, args).into = Some(place);
        self.add_rule(ruleset, attr);
    }

    /// Makes a `struct landlock_path_beneath_attr`, which is packed: the accesses, then the descriptor, whose place is returned.
    fn rule(&mut self, access: u64) -> (Arg, Cell) {
        let cell = self.take(3);
        let bytes = access.to_ne_bytes();
        let (halves, _) = bytes.as_chunks::<4>();
        for (offset, half) in halves.iter().enumerate() {
            self.set(cell, offset, i32::from_ne_bytes(*half));
        }
        (self.address(cell), Cell(cell.0 + 2))
    }

    fn add_rule(&mut self, ruleset: Fd, attr: Arg) {
        let args = [ruleset.into(), Arg::Number(1), attr, NONE];
        // What has no place among the files, such as a program in memory, needs no rule, and gets none.
        self.step("add a Landlock rule", libc::SYS_landlock_add_rule, args).unless = libc::EBADFD;
    }

    pub(super) fn restrict_self(&mut self, ruleset: Fd) {
        let args = [ruleset.into(), NONE];
        self.step("enforce Landlock", libc::SYS_landlock_restrict_self, args);
    }
}

/// The network of a namespace, and programs.
impl Script {
    pub(super) fn become_program(
        &mut self,
        what: &'static str,
        fd: Fd,
        args: Vec<CString>,
        env: Vec<CString>,
    ) {
        let (empty, args, env) = (self.text(c""), self.list(args), self.list(env));
        let all = [fd.into(), empty, args, env, number(libc::AT_EMPTY_PATH)];
        self.step(what, libc::SYS_execveat, all);
    }

    /// Starts a child that runs `script`, waits until it has become its program, and returns where its descriptor is.
    pub(super) fn start_child(&mut self, script: Self) -> Lent {
        let lent = self.lend();
        let call = Call::Child(Box::new(script), lent.fd());
        self.steps.push(Step { what: "start the program", call, into: None, unless: 0 });
        lent
    }

    /// Listens on a port of the loopback, and returns where the socket's descriptor is.
    pub(super) fn listen(&mut self, port: u16) -> Lent {
        let lent = self.lend();
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let args = [number(libc::AF_INET), number(kind), NONE];
        self.step("open a socket", libc::SYS_socket, args).into = Some(lent.fd());
        // `struct sockaddr_in`: the family, the port and the address with the highest byte first, eight that are unused.
        let mut address = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        address.extend(port.to_be_bytes());
        address.extend([127, 0, 0, 1]);
        address.resize(16, 0);
        let address = self.data(&address);
        let socket = Arg::Kept(lent.fd());
        self.step("take the port of the proxy", libc::SYS_bind, [socket, address, Arg::Number(16)]);
        self.step("listen for the proxy", libc::SYS_listen, [socket, number(libc::SOMAXCONN)]);
        lent
    }

    /// Opens a file that is to be handed over.
    pub(super) fn open_lent(&mut self, what: &'static str, path: &CStr) -> Lent {
        let (path, lent) = (self.text(path), self.lend());
        let args = [number(libc::AT_FDCWD), path, number(libc::O_CLOEXEC), NONE];
        self.step(what, libc::SYS_openat, args).into = Some(lent.fd());
        lent
    }

    /// Makes the control message that hands a descriptor over: `struct cmsghdr`, and the descriptor.
    fn lend(&mut self) -> Lent {
        let cell = self.take(6);
        self.set(cell, 0, 20);
        self.set(cell, 2, libc::SOL_SOCKET);
        self.set(cell, 3, libc::SCM_RIGHTS);
        Lent(cell)
    }

    /// Sends the descriptor in `lent` through `socket`, and closes it.
    pub(super) fn send(&mut self, what: &'static str, socket: Fd, lent: Lent) {
        let byte = self.data(b"!");
        let (Arg::Number(byte), Arg::Number(control)) = (byte, self.address(lent.0)) else { return };
        let Arg::Number(vector) = self.record(vec![byte, 1]) else { return };
        let message = self.record(vec![0, 0, vector, 1, control, 24, 0]);
        let args = [socket.into(), message, number(libc::MSG_NOSIGNAL)];
        self.step(what, libc::SYS_sendmsg, args);
        self.close(Fd::Kept(lent.fd()));
    }
}

/// The control message with a descriptor that is handed over.
#[derive(Debug)]
pub(super) struct Lent(Cell);

impl Lent {
    fn fd(&self) -> Cell {
        Cell(self.0.0 + 4)
    }
}
