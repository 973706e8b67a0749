//! The filter of system calls, as a program for the kernel's classic BPF.

use std::mem::offset_of;

use libc::{c_long, seccomp_data};

/// Which sockets a program may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Those within the machine that have a path.
    Unix,
    /// Those and TCP and UDP, and what asks the kernel for addresses.
    Internet,
}

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
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Whether there is a filter for this processor.
pub(super) const EXISTS: bool = cfg!(any(target_arch = "x86_64", target_arch = "aarch64"));

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;

const fn error(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

/// Makes the filter: instructions of eight bytes.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
pub(super) fn filter(sockets: Sockets) -> Vec<u8> {
    let mut filter = Filter(Vec::new());
    filter.load(offset_of!(seccomp_data, arch));
    filter.unless_equal(ARCHITECTURE, KILL);
    filter.load(offset_of!(seccomp_data, nr));
    // The numbers of x32, whose calls are the same under others.
    #[cfg(target_arch = "x86_64")]
    filter.if_at_least(0x4000_0000, KILL);
    filter.if_at_least(LAST + 1, error(libc::ENOSYS));
    for call in ABSENT {
        filter.if_equal(*call as u32, error(libc::ENOSYS));
    }
    for call in DENIED {
        filter.if_equal(*call as u32, error(libc::EPERM));
    }
    filter.with_argument(libc::SYS_clone, 0, |filter| filter.if_any(NAMESPACES, error(libc::EPERM)));
    filter.with_argument(libc::SYS_ioctl, 1, |filter| {
        for command in TERMINAL_COMMANDS {
            filter.if_equal(*command, error(libc::EPERM));
        }
    });
    filter.with_argument(libc::SYS_socket, 0, |filter| {
        filter.if_equal(libc::AF_UNIX as u32, ALLOW);
        if sockets == Sockets::Internet {
            filter.if_equal(libc::AF_INET as u32, ALLOW);
            filter.if_equal(libc::AF_INET6 as u32, ALLOW);
            filter.unless_equal(libc::AF_NETLINK as u32, error(libc::EAFNOSUPPORT));
            filter.load(argument(2));
            filter.if_equal(libc::NETLINK_ROUTE as u32, ALLOW);
        }
        filter.give(error(libc::EAFNOSUPPORT));
    });
    filter.give(ALLOW);
    filter.0.concat()
}

/// There is none; whoever asks has looked at [`EXISTS`].
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub(super) fn filter(_sockets: Sockets) -> Vec<u8> {
    Vec::new()
}

/// The lower half of an argument: all that the kernel looks at where it takes 32 bits.
fn argument(index: usize) -> usize {
    let high_first = if cfg!(target_endian = "big") { 4 } else { 0 };
    offset_of!(seccomp_data, args) + 8 * index + high_first
}

const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY: u16 = 0x45;
const RETURN: u16 = 0x06;

/// Instructions of classic BPF.
struct Filter(Vec<[u8; 8]>);

impl Filter {
    fn push(&mut self, code: u16, then: u8, otherwise: u8, value: u32) {
        let ([a, b], [c, d, e, f]) = (code.to_ne_bytes(), value.to_ne_bytes());
        self.0.push([a, b, then, otherwise, c, d, e, f]);
    }

    fn load(&mut self, offset: usize) {
        self.push(LOAD, 0, 0, offset as u32);
    }

    fn give(&mut self, action: u32) {
        self.push(RETURN, 0, 0, action);
    }

    fn if_equal(&mut self, value: u32, action: u32) {
        self.push(JUMP_IF_EQUAL, 0, 1, value);
        self.give(action);
    }

    fn unless_equal(&mut self, value: u32, action: u32) {
        self.push(JUMP_IF_EQUAL, 1, 0, value);
        self.give(action);
    }

    fn if_at_least(&mut self, value: u32, action: u32) {
        self.push(JUMP_IF_AT_LEAST, 0, 1, value);
        self.give(action);
    }

    fn if_any(&mut self, bits: u32, action: u32) {
        self.push(JUMP_IF_ANY, 0, 1, bits);
        self.give(action);
    }

    /// Looks at an argument of one call, with what `look` adds; then the number is there again.
    fn with_argument(&mut self, call: c_long, index: usize, look: impl FnOnce(&mut Self)) {
        let mut inner = Self(Vec::new());
        inner.load(argument(index));
        look(&mut inner);
        inner.load(offset_of!(seccomp_data, nr));
        self.push(JUMP_IF_EQUAL, 0, inner.0.len() as u8, call as u32);
        self.0.append(&mut inner.0);
    }
}

#[cfg(test)]
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod tests;
