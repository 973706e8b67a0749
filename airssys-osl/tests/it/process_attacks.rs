//! A hostile program, held by each profile and by each layer alone: what it reaches, and what stops it.

#![expect(
    unsafe_code,
    clippy::undocumented_unsafe_blocks,
    reason = "the hostile program makes system calls that nothing safe makes, and may harm nobody but itself"
)]

use std::{
    env, fs,
    io::{self, Read as _},
    net::{TcpListener, TcpStream, UdpSocket},
    os::{
        fd::{AsRawFd as _, IntoRawFd as _},
        linux::net::SocketAddrExt as _,
        unix::{
            fs::PermissionsExt as _,
            net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
            process::CommandExt as _,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command},
    ptr,
};

use airssys_osl::{
    policy::{ExecTerms, Grant},
    process::{Cause, Launch, Layers, Limits, Profile, Status, Stdio, host},
};

use tokio::io::AsyncReadExt as _;

use crate::process::{Programs, copy_program, exec, run, said, shell};

const VARIABLE: &str = "AIRSSYS_ATTACK";

/// What an attack finds around it.
struct Target {
    /// A directory that the program is not given, though its user may do everything there.
    outside: PathBuf,
    /// One that it is given to change.
    inside: PathBuf,
    /// A process of the same user.
    victim: i32,
    /// Whoever started the program, from outside of its sandbox.
    door: i32,
    port: u16,
    key: i32,
    host_name: String,
    /// A file outside, which the tests have open under this number and for whomever they start.
    leaked: i32,
}

/// An attack: it tells whether it went through.
type Attack = fn(&Target) -> bool;

const ATTACKS: &[(&str, Attack)] = &[
    ("read a file outside", |target| fs::read(target.outside.join("secret")).is_ok()),
    ("write a file outside", |target| fs::write(target.outside.join("secret"), "x").is_ok()),
    ("create a file outside", |target| fs::write(target.outside.join("new"), "x").is_ok()),
    ("see a file outside", |target| fs::metadata(target.outside.join("secret")).is_ok()),
    ("list a directory outside", |target| fs::read_dir(&target.outside).is_ok()),
    ("change permissions outside", |target| {
        fs::set_permissions(target.outside.join("owned"), fs::Permissions::from_mode(0o666)).is_ok()
    }),
    ("rename outside", |target| {
        let (one, other) = (target.outside.join("owned"), target.outside.join("renamed"));
        fs::rename(&one, &other).and_then(|()| fs::rename(other, one)).is_ok()
    }),
    ("link a file from outside", |target| {
        let link = target.inside.join("link");
        fs::hard_link(target.outside.join("owned"), &link).is_ok_and(|()| fs::read(&link).is_ok())
    }),
    ("follow a symbolic link outside", |target| {
        let link = target.inside.join("symlink");
        let _ = std::os::unix::fs::symlink(target.outside.join("secret"), &link);
        fs::read(link).is_ok()
    }),
    ("execute what it wrote", |target| {
        let own = target.inside.join("own");
        let _ = fs::remove_file(&own);
        fs::copy("/bin/true", &own).is_ok() && Command::new(&own).status().is_ok()
    }),
    ("write its own memory by /proc", |_| fs::OpenOptions::new().write(true).open("/proc/self/mem").is_ok()),
    ("see another process", |target| {
        fs::read(format!("/proc/{}/cmdline", target.victim)).is_ok_and(|text| !text.is_empty())
    }),
    ("signal another process", |target| unsafe { libc::kill(target.victim, 0) == 0 }),
    ("signal the door", |target| unsafe { libc::kill(target.door, 0) == 0 }),
    ("trace another process", |target| traced(target.victim)),
    ("trace the door", |target| traced(target.door)),
    ("read another process's memory", |target| {
        let mut byte = 0_u8;
        let ours = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // Nothing is mapped there: what is allowed ends in a bad address.
        let theirs = libc::iovec { iov_base: ptr::without_provenance_mut(16), iov_len: 1 };
        let done =
            unsafe { libc::process_vm_readv(target.victim, &raw const ours, 1, &raw const theirs, 1, 0) };
        done >= 0 || errno() == libc::EFAULT
    }),
    ("write another process's memory", |target| written_to(target.victim)),
    ("write the door's memory", |target| written_to(target.door)),
    ("take another process's descriptor", |target| {
        let pidfd = call(libc::SYS_pidfd_open, [target.victim as usize, 0, 0]);
        pidfd >= 0 && call(libc::SYS_pidfd_getfd, [pidfd as usize, 0, 0]) >= 0
    }),
    ("connect to an abstract socket", |target| {
        let address = SocketAddr::from_abstract_name(format!("airssys-attack-{}", target.port)).unwrap();
        UnixStream::connect_addr(&address).is_ok()
    }),
    ("connect to a socket by its path", |target| UnixStream::connect(target.outside.join("socket")).is_ok()),
    ("send to a socket by its path", |target| {
        // One of a pair goes wherever it is told to.
        let pair = UnixDatagram::pair();
        pair.is_ok_and(|(one, _other)| one.connect(target.outside.join("datagrams")).is_ok())
    }),
    ("connect by TCP", |target| TcpStream::connect(("127.0.0.1", target.port)).is_ok()),
    ("send by UDP", |target| {
        let socket = UdpSocket::bind("127.0.0.1:0");
        socket.is_ok_and(|socket| socket.send_to(b"x", ("127.0.0.1", target.port)).is_ok())
    }),
    ("make a raw socket", |_| socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP)),
    ("make a packet socket", |_| socket(libc::AF_PACKET, libc::SOCK_RAW, 0)),
    ("make a vsock socket", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)),
    ("make an audit socket", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_AUDIT)),
    ("make a crypto socket", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0)),
    ("use io_uring", |_| {
        let mut parameters = [0_u8; 120];
        call(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr().expose_provenance(), 0]) >= 0
    }),
    ("open a file outside by io_uring", |target| opened_by_ring(&target.outside.join("secret"))),
    ("make a user namespace", |_| {
        // Only who has one thread may.
        in_child(|| call(libc::SYS_unshare, [libc::CLONE_NEWUSER as usize, 0, 0]) >= 0)
    }),
    ("make one by clone", |_| {
        let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
        let child = call(libc::SYS_clone, [flags as usize, 0, 0]);
        if child == 0 {
            unsafe { libc::_exit(0) };
        }
        child > 0
    }),
    ("mount", |_| {
        in_child(|| {
            let flags = libc::CLONE_NEWUSER | libc::CLONE_NEWNS;
            call(libc::SYS_unshare, [flags as usize, 0, 0]);
            let (kind, at) = (c"tmpfs".as_ptr(), c"/".as_ptr());
            unsafe { libc::mount(kind, at, kind, 0, ptr::null()) == 0 }
        })
    }),
    ("join a namespace", |target| {
        let namespace = fs::File::open(format!("/proc/{}/ns/user", target.victim));
        // It is the same one already: what is allowed ends in an invalid argument.
        namespace.is_ok_and(|file| {
            call(libc::SYS_setns, [file.as_raw_fd() as usize, 0, 0]) >= 0 || errno() == libc::EINVAL
        })
    }),
    ("use keys", |_| call(libc::SYS_keyctl, [0, -3_isize as usize, 1]) >= 0),
    ("load a BPF program", |_| {
        let attributes = [0_u8; 128];
        call(libc::SYS_bpf, [0, attributes.as_ptr().expose_provenance(), 128]) >= 0
    }),
    ("watch page faults", |_| call(libc::SYS_userfaultfd, [1, 0, 0]) >= 0),
    ("measure performance", |_| {
        let mut attributes = [0_u8; 128];
        attributes[0] = 1;
        attributes[4] = 128;
        unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) >= 0 }
    }),
    ("type into a terminal", |_| {
        let Ok(terminal) = fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx") else {
            return false;
        };
        // Closing it would hang up on us.
        let (fd, byte) = (terminal.into_raw_fd(), b'x');
        let other = unsafe {
            libc::unlockpt(fd);
            libc::ioctl(fd, libc::TIOCGPTPEER, libc::O_RDWR)
        };
        unsafe { libc::ioctl(other, libc::TIOCSCTTY, 0) };
        unsafe { libc::ioctl(other, libc::TIOCSTI, &raw const byte) == 0 }
    }),
    ("call as another architecture", |_| foreign_call()),
    ("find shared memory", |target| unsafe { libc::shmget(target.key, 1, 0) >= 0 }),
    ("learn the host's name", |target| {
        rustix::system::uname().nodename().to_str().is_ok_and(|name| name == target.host_name)
    }),
    ("learn its control group", |_| {
        fs::read_to_string("/proc/self/cgroup")
            .is_ok_and(|text| text.lines().any(|line| !line.ends_with(":/")))
    }),
    ("use more memory in many processes", |_| {
        // Half a limit more than there is, in four parts that none is too large by itself.
        let ((there, here), (until, go_on)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let hold = || {
            unsafe { libc::close(go_on.as_raw_fd()) };
            let memory = vec![1_u8; 24 << 20];
            unsafe { libc::close(here.as_raw_fd()) };
            (&until).read(&mut [0]).is_ok() && memory.last() == Some(&1)
        };
        let children = [(); 4].map(|()| fork_and(hold));
        drop(here);
        // All are there at the same time: none goes on before each has its part, or was killed.
        let _ = (&there).read(&mut [0]);
        drop(go_on);
        children.map(ended_well).into_iter().all(|well| well)
    }),
    ("fill the disk", |target| {
        // More than a program's own `/tmp` has.
        let path = format!("/tmp/airssys-attack-fill-{}", target.port);
        let Ok(file) = fs::File::create(&path) else { return false };
        let filled = unsafe { libc::posix_fallocate(file.as_raw_fd(), 0, 80 << 20) } == 0;
        let _ = fs::remove_file(&path);
        filled
    }),
    ("use a descriptor that leaked", |target| unsafe {
        let mut byte = 0_u8;
        libc::pread(target.leaked, (&raw mut byte).cast(), 1, 0) == 1
    }),
    ("read a variable that it was not given", |_| env::vars_os().any(|(name, _)| name != VARIABLE)),
    ("be root by a set-id program", |target| {
        [&target.outside, &target.inside].into_iter().any(|dir| {
            let output = Command::new(dir.join("set-id")).arg("-u").output();
            output.is_ok_and(|output| output.stdout == b"0\n")
        })
    }),
    ("run a script by an interpreter outside", |target| {
        let script = target.inside.join("script");
        let line = format!("#!{}\n", target.outside.join("tool").display());
        let _ = fs::write(&script, line);
        let _ = fs::set_permissions(&script, fs::Permissions::from_mode(0o755));
        Command::new(script).status().is_ok_and(|status| status.success())
    }),
    ("gain capabilities", |_| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let nothing = "CapEff:\t0000000000000000";
        status.contains("CapEff") && !status.contains(nothing)
    }),
];

/// What an attack may use in memory, over all of its processes.
const MEMORY_BYTES: u64 = 64 << 20;

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn call(number: libc::c_long, [a, b, c]: [usize; 3]) -> libc::c_long {
    unsafe { libc::syscall(number, a, b, c, 0, 0) }
}

fn traced(process: i32) -> bool {
    let none = ptr::null_mut::<libc::c_void>();
    unsafe { libc::ptrace(libc::PTRACE_SEIZE, process, none, none) == 0 }
}

fn written_to(process: i32) -> bool {
    let byte = 0_u8;
    let ours = libc::iovec { iov_base: (&raw const byte).cast_mut().cast(), iov_len: 1 };
    // Nothing is mapped there: what is allowed ends in a bad address.
    let theirs = libc::iovec { iov_base: ptr::without_provenance_mut(16), iov_len: 1 };
    let done = unsafe { libc::process_vm_writev(process, &raw const ours, 1, &raw const theirs, 1, 0) };
    done >= 0 || errno() == libc::EFAULT
}

fn socket(family: i32, kind: i32, protocol: i32) -> bool {
    unsafe { libc::socket(family, kind, protocol) >= 0 }
}

/// Opens a file by a ring of the kernel's, which no filter of system calls sees.
fn opened_by_ring(path: &Path) -> bool {
    use std::os::unix::ffi::OsStrExt as _;
    const OPENAT: u8 = 18;
    let word = |parameters: &[u8; 120], at: usize| {
        u32::from_ne_bytes(parameters[at..at + 4].try_into().unwrap()) as usize
    };
    let mut parameters = [0_u8; 120];
    let ring = call(libc::SYS_io_uring_setup, [1, parameters.as_mut_ptr().expose_provenance(), 0]);
    if ring < 0 {
        return false;
    }
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // Both rings are in one mapping, as all kernels have it that are in use; the offsets are those of `io_uring_params`.
    let map = |offset| unsafe {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        libc::mmap(ptr::null_mut(), 4096, protection, libc::MAP_SHARED, ring as i32, offset).cast::<u8>()
    };
    let (rings, entry) = (map(0), map(0x1000_0000));
    assert!(!std::ptr::eq(rings, libc::MAP_FAILED.cast()) && !std::ptr::eq(entry, libc::MAP_FAILED.cast()));
    unsafe {
        // `struct io_uring_sqe`: the operation, the directory, the path; reading needs no flags.
        entry.write(OPENAT);
        entry.add(4).cast::<i32>().write(libc::AT_FDCWD);
        entry.add(16).cast::<u64>().write(path.as_ptr().expose_provenance() as u64);
        // The first place of the queue is the first entry; its tail is one farther.
        rings.add(word(&parameters, 40 + 24)).cast::<u32>().write(0);
        rings.add(word(&parameters, 40 + 4)).cast::<u32>().write_volatile(1);
        let done = libc::syscall(libc::SYS_io_uring_enter, ring, 1, 1, 1, 0, 0);
        // `struct io_uring_cqe`: what was asked, then what came of it.
        done == 1 && rings.add(word(&parameters, 80 + 20) + 8).cast::<i32>().read_volatile() >= 0
    }
}

fn fork_and(work: impl FnOnce() -> bool) -> i32 {
    let child = unsafe { libc::fork() };
    if child == 0 {
        let done = work();
        unsafe { libc::_exit(i32::from(!done)) };
    }
    child
}

fn ended_well(child: i32) -> bool {
    let mut status = 0;
    child > 0 && unsafe { libc::waitpid(child, &raw mut status, 0) } == child && status == 0
}

fn in_child(work: impl FnOnce() -> bool) -> bool {
    ended_well(fork_and(work))
}

/// Asks for the process's number as a program of 32 bits does.
#[cfg(target_arch = "x86_64")]
fn foreign_call() -> bool {
    let result: u32;
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20_u32 => result, lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _)
    };
    result == std::process::id()
}

#[cfg(not(target_arch = "x86_64"))]
fn foreign_call() -> bool {
    false
}

/// The hostile program: what this test is in a child that is told so. It ends with 42 where the attack went through.
#[test]
fn attacker() {
    let Ok(told) = env::var(VARIABLE) else { return };
    let told: Vec<&str> = told.split('|').collect();
    let [name, outside, inside, victim, door, port, key, host_name, leaked] = told[..] else {
        panic!("{told:?}")
    };
    let target = Target {
        outside: outside.into(),
        inside: inside.into(),
        victim: victim.parse().unwrap(),
        door: door.parse().unwrap(),
        port: port.parse().unwrap(),
        key: key.parse().unwrap(),
        host_name: host_name.to_owned(),
        leaked: leaked.parse().unwrap(),
    };
    let (_, attack) = ATTACKS.iter().find(|(known, _)| *known == name).unwrap();
    let through = attack(&target);
    eprintln!("the last error of {name}: {}", std::io::Error::last_os_error());
    std::process::exit(if through { 42 } else { 41 });
}

/// What the attacks are aimed at, ready to be reached.
struct Range {
    _outside: tempfile::TempDir,
    _inside: tempfile::TempDir,
    _unix: UnixListener,
    _datagrams: UnixDatagram,
    _abstract: UnixListener,
    _tcp: TcpListener,
    victim: Child,
    memory: i32,
    target: Target,
}

impl Range {
    fn new() -> Self {
        let open = || {
            let tmp = tempfile::tempdir().unwrap();
            fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o777)).unwrap();
            tmp
        };
        let (outside, inside) = (open(), open());
        for name in ["secret", "owned"] {
            fs::write(outside.path().join(name), "secret").unwrap();
            fs::set_permissions(outside.path().join(name), fs::Permissions::from_mode(0o666)).unwrap();
        }
        for (dir, program, name, mode) in [
            (&outside, "/usr/bin/id", "set-id", 0o6755),
            (&inside, "/usr/bin/id", "set-id", 0o6755),
            (&outside, "/bin/true", "tool", 0o755),
        ] {
            copy_program(program, &dir.path().join(name));
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let secret = fs::File::open(outside.path().join("secret")).unwrap();
        // Without `FD_CLOEXEC`, and with a number that no program is given.
        let leaked = unsafe { libc::fcntl(secret.as_raw_fd(), libc::F_DUPFD, 200) };
        assert!(leaked >= 200);
        let mut victim = Command::new("/bin/sleep");
        victim.arg("100000");
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(outside.path().join("owned"), Some(65534), Some(65534)).unwrap();
            victim.uid(65534).gid(65534);
        }
        let unix = UnixListener::bind(outside.path().join("socket")).unwrap();
        fs::set_permissions(outside.path().join("socket"), fs::Permissions::from_mode(0o777)).unwrap();
        let datagrams = UnixDatagram::bind(outside.path().join("datagrams")).unwrap();
        fs::set_permissions(outside.path().join("datagrams"), fs::Permissions::from_mode(0o777)).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        let address = SocketAddr::from_abstract_name(format!("airssys-attack-{port}")).unwrap();
        let key = 0x0a15_0000 | i32::from(port);
        let memory = unsafe { libc::shmget(key, 1, libc::IPC_CREAT | 0o666) };
        assert!(memory >= 0);
        let victim = victim.spawn().unwrap();
        let target = Target {
            outside: outside.path().to_owned(),
            inside: inside.path().to_owned(),
            victim: victim.id() as i32,
            door: std::process::id() as i32,
            port,
            key,
            host_name: rustix::system::uname().nodename().to_str().unwrap().to_owned(),
            leaked,
        };
        let abstract_one = UnixListener::bind_addr(&address).unwrap();
        Self {
            _outside: outside,
            _inside: inside,
            _unix: unix,
            _datagrams: datagrams,
            _abstract: abstract_one,
            _tcp: tcp,
            victim,
            memory,
            target,
        }
    }

    /// Whether the attack goes through, and what it says, where `profile` without `without` holds it.
    async fn attack(&self, name: &str, profile: Profile, without: Layers) -> (bool, String) {
        let Target { outside, inside, victim, door, port, key, host_name, leaked } = &self.target;
        let told = [
            name,
            outside.to_str().unwrap(),
            inside.to_str().unwrap(),
            &victim.to_string(),
            &door.to_string(),
            &port.to_string(),
            &key.to_string(),
            host_name,
            &leaked.to_string(),
        ];
        let limits = Limits::new().wall_time(std::time::Duration::from_secs(600));
        let limits = limits.memory_bytes_or_each(MEMORY_BYTES);
        let terms = ExecTerms::new()
            .arg("process_attacks::attacker")
            .arg("--exact")
            .arg("--nocapture")
            .env(VARIABLE, told.join("|"))
            .change(inside)
            .limits(limits)
            .profile(profile)
            .without(without);
        let own = env::current_exe().unwrap();
        let programs = Programs::new([Grant::exec(&own, terms)]);
        let exec = programs.principal().exec(&own).await.unwrap();
        let launch = Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
        let ended = exec.spawn(launch).await.unwrap().collect().await.unwrap();
        let (exit, errors) = (&ended.exit, String::from_utf8_lossy(&ended.stderr).into_owned());
        // Some layers end an attacker rather than refusing it.
        let killed = match exit.status {
            Status::Code(code) => code == 41,
            Status::Signal(signal) => signal == 31 || exit.cause == Cause::OutOfMemory,
        };
        let through = exit.status == Status::Code(42);
        assert!(through || killed, "{name} in {profile} without {without}: {exit}: {errors}");
        (through, errors)
    }
}

impl Drop for Range {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
        unsafe {
            libc::shmctl(self.memory, libc::IPC_RMID, ptr::null_mut());
            libc::close(self.target.leaked);
        }
    }
}

/// What each profile lets through, and nothing else.
fn lets_through(profile: Profile, name: &str) -> bool {
    // Abstract sockets are the network's, and only a newer Landlock knows whose they are.
    let scoped = host().landlock_version() >= Some(6);
    match (profile, name) {
        (Profile::Network, "connect by TCP" | "send by UDP") | (Profile::Build, "execute what it wrote") => {
            true
        }
        (Profile::Network, "connect to an abstract socket") => !scoped,
        _ => false,
    }
}

#[tokio::test]
async fn no_attack_goes_through_a_profile() {
    let range = Range::new();
    for (name, _) in ATTACKS {
        for profile in [Profile::Strict, Profile::Network, Profile::Build] {
            let (through, errors) = range.attack(name, profile, Layers::empty()).await;
            if !profile.layers().difference(host().available()).is_empty()
                && through != lets_through(profile, name)
            {
                eprintln!("SKIPPED: {name} in {profile}: not every layer can be had here");
                continue;
            }
            assert_eq!(through, lets_through(profile, name), "{name} in {profile}: {errors}");
        }
    }
}

/// The two layers that are left where users may make no namespaces.
const LEFT: Layers = Layers::SECCOMP.union(Layers::LANDLOCK);

#[tokio::test]
async fn without_namespaces_this_goes_through_and_no_more() {
    if !host().available().contains(LEFT) {
        eprintln!("SKIPPED: it takes seccomp and Landlock");
        return;
    }
    let range = Range::new();
    let scoped = host().landlock_version() >= Some(6);
    for (name, _) in ATTACKS {
        let expected = match *name {
            "see a file outside" | "change permissions outside" | "find shared memory" => true,
            "learn the host's name" | "use more memory in many processes" => true,
            "signal another process" => !scoped,
            // It is root's where we are.
            "signal the door" => !scoped && !rustix::process::geteuid().is_root(),
            _ => false,
        };
        let (through, errors) = range.attack(name, Profile::Strict, Layers::all() - LEFT).await;
        assert_eq!(through, expected, "{name}: {errors}");
    }
}

/// Bombs, and what does not want to end: what bounds them is limits, in each profile.
#[tokio::test]
async fn no_bomb_goes_off_in_a_profile() {
    let counts = host().available().contains(Layers::CGROUP) || !rustix::process::geteuid().is_root();
    let long = || Limits::new().wall_time(std::time::Duration::from_secs(600));
    let short = || Limits::new().wall_time(std::time::Duration::from_millis(300));
    for profile in [Profile::Strict, Profile::Network, Profile::Build] {
        let run =
            async |script: &str, limits: Limits| run(shell(script).profile(profile).limits(limits)).await;
        if counts {
            let forks = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; echo all";
            let ended = run(forks, long().processes(20)).await;
            assert!(
                ended.stdout.is_empty() && !ended.exit.is_success(),
                "forks in {profile}: {}",
                ended.exit
            );
        } else {
            eprintln!("SKIPPED: for root there are only control groups to count processes by");
        }
        let fills = "head -c 3000000 /dev/zero > /tmp/x; wc -c < /tmp/x";
        let ended = run(fills, long().temporary_bytes(1 << 20)).await;
        assert_eq!(said(&ended), "1048576", "a disk in {profile}");
        let longer = run("exec head -c 100000 /dev/zero > /tmp/x", long().file_bytes(4096)).await;
        assert_eq!(longer.exit.cause, Cause::FileSize, "a file in {profile}: {}", longer.exit);
        let sleeps = "trap '' TERM INT HUP; (setsid sleep 1000 &); sleep 1000";
        let slept = run(sleeps, short()).await;
        assert_eq!(slept.exit.cause, Cause::WallTime, "sleep in {profile}: {}", slept.exit);
        let terms = shell("while :; do echo yes; done").profile(profile).limits(long().output_bytes(100_000));
        let programs = Programs::new([Grant::exec("/bin/sh", terms)]);
        let launch = Launch::new().stdout(Stdio::Pipe);
        let mut process = exec(&programs, "/bin/sh").await.spawn(launch).await.unwrap();
        let mut said = Vec::new();
        let output = process.stdout.take().unwrap().read_to_end(&mut said).await;
        assert!(output.is_err() && said.len() <= 100_000, "output in {profile}");
        assert_eq!(process.wait().await.cause, Cause::OutputLimit, "output in {profile}");
    }
}

/// The table in the documentation: each attack, where nothing holds it, where one layer alone does, where all do.
#[tokio::test]
async fn each_layer_stops_what_the_documentation_says() {
    if host().available() != Layers::all() || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: not every layer can be had here, so which one stops what cannot be seen");
        return;
    }
    let range = Range::new();
    let mut table = String::from("| attack | nothing |");
    Layers::NAMES.iter().for_each(|(name, _)| table.push_str(&format!(" {name} |")));
    table.push_str(&format!(
        " seccomp+landlock | strict |\n|---|{}\n",
        "---|".repeat(Layers::NAMES.len() + 3)
    ));
    let mut stopped = Layers::empty();
    for (name, _) in ATTACKS {
        table.push_str(&format!("| {name} |"));
        let (open, _) = range.attack(name, Profile::None, Layers::empty()).await;
        let mut cell = |through: bool| table.push_str(if through { " through |" } else { " |" });
        cell(open);
        for (_, layer) in Layers::NAMES {
            let (through, _) = range.attack(name, Profile::Strict, Layers::all() - layer).await;
            cell(through);
            if open && !through {
                stopped |= layer;
            }
        }
        cell(range.attack(name, Profile::Strict, Layers::all() - LEFT).await.0);
        cell(range.attack(name, Profile::Strict, Layers::empty()).await.0);
        table.push('\n');
    }
    assert_eq!(stopped, Layers::all(), "some layer stops nothing:\n{table}");
    documented("attacks", &table);
}

/// The other table there: what each layer alone keeps from going through, where it has all the others beside it.
#[tokio::test]
async fn what_goes_through_without_a_layer_is_documented() {
    if host().available() != Layers::all() || !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: not every layer can be had here, so what is left without one cannot be seen");
        return;
    }
    let range = Range::new();
    let mut table = String::from("| without | goes through |\n|---|---|\n");
    for (layer_name, layer) in Layers::NAMES {
        let mut through = Vec::new();
        for (name, _) in ATTACKS {
            if range.attack(name, Profile::Strict, layer).await.0 {
                through.push(*name);
            }
        }
        let through = if through.is_empty() { "nothing".to_owned() } else { through.join(", ") };
        table.push_str(&format!("| `{layer_name}` | {through} |\n"));
    }
    documented("without", &table);
}

/// Looks for a table between the marks of this name in the documentation; or writes it, where that is asked for.
#[track_caller]
fn documented(mark: &str, table: &str) {
    static ONE_WRITES: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE_WRITES.lock();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/sandbox.md");
    let text = fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- {mark} -->\n");
    let (before, rest) = text.split_once(&begin).unwrap();
    let (written, after) = rest.split_once("<!-- end -->").unwrap();
    if written != table && env::var_os("AIRSSYS_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{begin}{table}<!-- end -->{after}")).unwrap();
    } else if host().landlock_version() == Some(7) {
        assert_eq!(written, table, "AIRSSYS_WRITE_DOCS=1 writes it");
    }
}
