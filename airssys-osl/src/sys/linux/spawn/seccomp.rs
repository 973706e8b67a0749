//! The filter of system calls, as a program for the kernel's classic BPF.

mod names;
mod usual;

use std::{mem::offset_of, sync::OnceLock};

use libc::{c_long, seccomp_data};

pub(super) use self::names::name;
use self::usual::{OLDER, USUAL};
use super::watcher::PATHS;
use crate::{process::Calls, sys::plan::Sockets};

/// What is not there for a sandboxed program: it goes on in another way then.
const ABSENT: &[c_long] = &[
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // Its flags are in memory, where a filter cannot look; `clone` does the same with flags in a register.
    libc::SYS_clone3,
];

/// What is refused.
const DENIED: &[c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_perf_event_open,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // Mounts and namespaces.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_mount_setattr,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_unshare,
    libc::SYS_setns,
    // Files by another way than their path.
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Large and little used parts of the kernel.
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_memfd_secret,
    libc::SYS_vmsplice,
    // The machine.
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_personality,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
];

/// The last call that was looked at when these lists were made. What a newer kernel has beyond is not there.
const LAST: u32 = 462;

/// What makes namespaces in the flags of `clone`.
const NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// `TIOCSTI` types into a terminal, `TIOCLINUX` pastes, `TIOCSETD` gives it another driver.
const TERMINAL_COMMANDS: &[u32] = &[libc::TIOCSTI as u32, libc::TIOCLINUX as u32, libc::TIOCSETD as u32];

#[cfg(target_arch = "x86_64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
pub(super) const ARCHITECTURE: u32 = 0xc000_00b7;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) const ARCHITECTURE: u32 = 0;

/// Where the numbers of x32 begin, whose calls are the same under others.
pub(super) const X32: u32 = 0x4000_0000;

/// Whether there is a filter for this processor.
pub(super) const EXISTS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

/// Where the kind of a socket is told together with flags, the kind. The C headers keep the kernel's name of it to themselves.
const KIND: u32 = 0xf;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
/// The call waits until the watcher has said what becomes of it. Without one it is not there.
const ASK: u32 = libc::SECCOMP_RET_USER_NOTIF;

const fn error(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Allow,
    Refuse,
    Absent,
    Kill,
    /// By its arguments.
    Clone,
    Ioctl,
    Socket,
    Pair,
    /// Of what is told to a watcher.
    Tell,
    Execute,
}

/// Makes the filter: instructions of eight bytes.
///
/// UNIX sockets are there where what is found `by_path` is the program's own; pairs that can only speak to each other are
/// everywhere.
///
/// The kernel goes through it for every number that there is, once it is loaded, to find out which it need not ask about
/// again. That takes the time of a whole start where the numbers are compared one after the other: so they are looked up
/// by halves.
///
/// Where a program is `watched`, calls with paths are told to its watcher before they are made, and what is refused or killed
/// for is left to it: those must be refused or killed for all the same.
///
/// There are no more than sixteen of them, so each is made once.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn filter(sockets: Sockets, by_path: bool, calls: Calls, watched: bool) -> &'static [u8] {
    static MADE: [OnceLock<Vec<u8>>; 16] = [const { OnceLock::new() }; 16];
    let facts = [sockets == Sockets::Internet, by_path, calls == Calls::Usual, watched];
    let index = facts.into_iter().fold(0, |index, fact| index << 1 | usize::from(fact));
    MADE.get(index).map_or(&[], |made| made.get_or_init(|| make(sockets, by_path, calls, watched)))
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn make(sockets: Sockets, by_path: bool, calls: Calls, watched: bool) -> Vec<u8> {
    let mut program = Program { reversed: Vec::new(), placed: Vec::new(), sockets, by_path, watched };
    let start = program.search(&ranges(calls, watched), LAST + 2);
    // From the last to the first: each jump leads on, to what is there already.
    let reach = program.distance(start);
    if reach > 0 {
        program.push(JUMP, 0, 0, reach.into());
    }
    program.push(LOAD, 0, 0, offset_of!(seccomp_data, nr) as u32);
    program.push(RETURN, 0, 0, if watched { ASK } else { KILL });
    program.push(JUMP_IF_EQUAL, 1, 0, ARCHITECTURE);
    program.push(LOAD, 0, 0, offset_of!(seccomp_data, arch) as u32);
    program.reversed.reverse();
    program.reversed.concat()
}

/// What becomes of all numbers: where a range begins, and what is answered in it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn ranges(calls: Calls, watched: bool) -> Vec<(u32, Answer)> {
    let usual = match calls {
        Calls::AllButRefused => Answer::Allow,
        // Programs go on in another way where they can.
        Calls::Usual => Answer::Absent,
    };
    let mut answers = vec![usual; LAST as usize + 1];
    let mut set = |calls: &[c_long], answer| {
        for call in calls {
            if let Some(place) = usize::try_from(*call).ok().and_then(|call| answers.get_mut(call)) {
                *place = answer;
            }
        }
    };
    set(USUAL, Answer::Allow);
    set(OLDER, Answer::Allow);
    if watched {
        // All of them are among the usual ones, on which a test of it insists.
        set(PATHS, Answer::Tell);
        set(&[libc::SYS_execveat], Answer::Execute);
    }
    set(ABSENT, Answer::Absent);
    set(DENIED, Answer::Refuse);
    set(&[libc::SYS_clone], Answer::Clone);
    set(&[libc::SYS_ioctl], Answer::Ioctl);
    set(&[libc::SYS_socket], Answer::Socket);
    set(&[libc::SYS_socketpair], Answer::Pair);
    let mut ranges: Vec<(u32, Answer)> = (0..).zip(answers).collect();
    ranges.push((LAST + 1, Answer::Absent));
    #[cfg(target_arch = "x86_64")]
    ranges.push((X32, Answer::Kill));
    ranges.dedup_by_key(|(_, answer)| *answer);
    ranges
}

/// The filter that allows everything, to try how one can be loaded.
pub(super) fn open() -> [u8; 8] {
    instruction(RETURN, 0, 0, ALLOW)
}

/// There is none; whoever asks has looked at [`EXISTS`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn filter(_sockets: Sockets, _by_path: bool, _calls: Calls, _watched: bool) -> &'static [u8] {
    &[]
}

/// The lower half of an argument: all that the kernel looks at where it takes 32 bits.
fn argument(index: usize) -> usize {
    let high_first = if cfg!(target_endian = "big") { 4 } else { 0 };
    offset_of!(seccomp_data, args) + 8 * index + high_first
}

const LOAD: u16 = 0x20;
const JUMP: u16 = 0x05;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY: u16 = 0x45;
const AND: u16 = 0x54;
const RETURN: u16 = 0x06;

const fn instruction(code: u16, then: u8, otherwise: u8, value: u32) -> [u8; 8] {
    let ([a, b], [c, d, e, f]) = (code.to_ne_bytes(), value.to_ne_bytes());
    [a, b, then, otherwise, c, d, e, f]
}

/// A program in the making, from its end to its beginning.
struct Program {
    reversed: Vec<[u8; 8]>,
    /// Where answers begin: how many instructions were there with them.
    placed: Vec<(Answer, usize)>,
    sockets: Sockets,
    by_path: bool,
    watched: bool,
}

impl Program {
    fn push(&mut self, code: u16, then: u8, otherwise: u8, value: u32) {
        self.reversed.push(instruction(code, then, otherwise, value));
    }

    /// How many instructions the next one would jump over to get to `place`. All of a program are within reach of a jump,
    /// which has eight bits for this: its tests go through each one that there is.
    fn distance(&self, place: usize) -> u8 {
        (self.reversed.len() - place) as u8
    }

    /// Adds a search through `ranges`, the last of which ends before `end`, and returns its place. Each half has about as many
    /// numbers as the other: the kernel asks about each of them once.
    fn search(&mut self, ranges: &[(u32, Answer)], end: u32) -> usize {
        let Some((begin, answer)) = ranges.first().copied() else { return self.answer(Answer::Kill) };
        let uneven = |(_, (first, _)): &(usize, &(u32, Answer))| {
            first.saturating_sub(begin).abs_diff(end.saturating_sub(*first))
        };
        let Some((index, (first, _))) = ranges.iter().enumerate().skip(1).min_by_key(uneven) else {
            return self.answer(answer);
        };
        let (lower, upper) = ranges.split_at(index);
        let (then, otherwise) = (self.search(upper, end), self.search(lower, *first));
        let (then, otherwise) = (self.distance(then), self.distance(otherwise));
        self.push(JUMP_IF_AT_LEAST, then, otherwise, *first);
        self.reversed.len()
    }

    /// Where an answer is.
    fn answer(&mut self, answer: Answer) -> usize {
        if let Some((_, place)) = self.placed.iter().find(|(known, _)| *known == answer) {
            return *place;
        }
        let words = match answer {
            Answer::Kill | Answer::Refuse if self.watched => Answer::Tell.words(self.sockets, self.by_path),
            answer => answer.words(self.sockets, self.by_path),
        };
        let words = words.0;
        self.reversed.extend(words.into_iter().rev());
        self.placed.push((answer, self.reversed.len()));
        self.reversed.len()
    }
}

impl Answer {
    /// What gives it.
    fn words(self, sockets: Sockets, by_path: bool) -> Words {
        let mut words = Words(Vec::new());
        let last = match self {
            Self::Allow => ALLOW,
            Self::Refuse => error(libc::EPERM),
            Self::Absent => error(libc::ENOSYS),
            Self::Kill => KILL,
            Self::Tell => ASK,
            Self::Execute => {
                // Such a descriptor was opened by its path before. So does the child itself become the program.
                words.load(argument(4));
                words.if_any(libc::AT_EMPTY_PATH as u32, ALLOW);
                ASK
            }
            Self::Clone => {
                words.load(argument(0));
                words.if_any(NAMESPACES, error(libc::EPERM));
                ALLOW
            }
            Self::Ioctl => {
                words.load(argument(1));
                for command in TERMINAL_COMMANDS {
                    words.if_equal(*command, error(libc::EPERM));
                }
                ALLOW
            }
            Self::Socket => {
                words.load(argument(0));
                if by_path {
                    words.if_equal(libc::AF_UNIX as u32, ALLOW);
                }
                if sockets == Sockets::Internet {
                    words.if_equal(libc::AF_INET as u32, ALLOW);
                    words.if_equal(libc::AF_INET6 as u32, ALLOW);
                    words.unless_equal(libc::AF_NETLINK as u32, error(libc::EAFNOSUPPORT));
                    words.load(argument(2));
                    words.if_equal(libc::NETLINK_ROUTE as u32, ALLOW);
                }
                error(libc::EAFNOSUPPORT)
            }
            Self::Pair => {
                words.load(argument(0));
                words.unless_equal(libc::AF_UNIX as u32, error(libc::EAFNOSUPPORT));
                if by_path {
                    ALLOW
                } else {
                    // A datagram goes to whatever path its sender names, also from one of a pair. `SOCK_RAW` is the same.
                    words.load(argument(1));
                    words.and(KIND);
                    words.if_equal(libc::SOCK_STREAM as u32, ALLOW);
                    words.if_equal(libc::SOCK_SEQPACKET as u32, ALLOW);
                    error(libc::ESOCKTNOSUPPORT)
                }
            }
        };
        words.give(last);
        words
    }
}

/// Instructions of classic BPF, from the first to the last.
struct Words(Vec<[u8; 8]>);

impl Words {
    fn load(&mut self, offset: usize) {
        self.0.push(instruction(LOAD, 0, 0, offset as u32));
    }

    fn and(&mut self, bits: u32) {
        self.0.push(instruction(AND, 0, 0, bits));
    }

    fn give(&mut self, action: u32) {
        self.0.push(instruction(RETURN, 0, 0, action));
    }

    fn if_equal(&mut self, value: u32, action: u32) {
        self.0.push(instruction(JUMP_IF_EQUAL, 0, 1, value));
        self.give(action);
    }

    fn unless_equal(&mut self, value: u32, action: u32) {
        self.0.push(instruction(JUMP_IF_EQUAL, 1, 0, value));
        self.give(action);
    }

    fn if_any(&mut self, bits: u32, action: u32) {
        self.0.push(instruction(JUMP_IF_ANY, 0, 1, bits));
        self.give(action);
    }
}

#[cfg(test)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tests;
