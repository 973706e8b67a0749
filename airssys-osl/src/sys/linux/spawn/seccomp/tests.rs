use super::*;

fn run(sockets: Sockets, arch: u32, call: u32, args: [u64; 6]) -> u32 {
    steps(sockets, arch, call, args).0
}

/// Runs the filter as the kernel would, and says through how many instructions it went.
fn steps(sockets: Sockets, arch: u32, call: u32, args: [u64; 6]) -> (u32, usize) {
    steps_of(filter(sockets, true, Calls::AllButRefused, false), arch, call, args)
}

fn steps_of(program: &[u8], arch: u32, call: u32, args: [u64; 6]) -> (u32, usize) {
    let mut data = [call.to_ne_bytes(), arch.to_ne_bytes(), [0; 4], [0; 4]].concat();
    for arg in args {
        data.extend(arg.to_ne_bytes());
    }
    let (instructions, rest) = program.as_chunks::<8>();
    assert!(rest.is_empty());
    let (mut at, mut value) = (0, 0_u32);
    for count in 1.. {
        let [a, b, then, otherwise, c, d, e, f] = instructions[at];
        let k = u32::from_ne_bytes([c, d, e, f]);
        let holds = match u16::from_ne_bytes([a, b]) {
            LOAD => {
                let offset = k as usize;
                value = u32::from_ne_bytes(data[offset..offset + 4].try_into().unwrap());
                at += 1;
                continue;
            }
            AND => {
                value &= k;
                at += 1;
                continue;
            }
            RETURN => return (k, count),
            JUMP => {
                at += 1 + k as usize;
                continue;
            }
            JUMP_IF_EQUAL => value == k,
            JUMP_IF_AT_LEAST => value >= k,
            JUMP_IF_ANY => value & k != 0,
            other => panic!("instruction {other:#x}"),
        };
        at += 1 + usize::from(if holds { then } else { otherwise });
    }
    unreachable!()
}

#[track_caller]
fn check(sockets: Sockets, call: c_long, args: &[u64], expected: u32) {
    let mut all = [0; 6];
    all[..args.len()].copy_from_slice(args);
    assert_eq!(run(sockets, ARCHITECTURE, call as u32, all), expected, "call {call} with {args:x?}");
}

const REFUSED: u32 = error(libc::EPERM);
const NO_FAMILY: u32 = error(libc::EAFNOSUPPORT);

#[test]
fn what_programs_need_is_there() {
    for call in [libc::SYS_read, libc::SYS_execveat, libc::SYS_wait4, libc::SYS_exit_group, libc::SYS_kill] {
        check(Sockets::Unix, call, &[], ALLOW);
    }
}

#[test]
fn all_others_are_allowed_as_before() {
    let by_arguments = [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_socket, libc::SYS_socketpair];
    for call in 0..=LAST.into() {
        if ![ABSENT, DENIED, &by_arguments].concat().contains(&call) {
            check(Sockets::Unix, call, &[], ALLOW);
        }
    }
}

#[test]
fn few_instructions_are_gone_through_for_each_call() {
    for sockets in [Sockets::Unix, Sockets::Internet] {
        for calls in [Calls::AllButRefused, Calls::Usual] {
            let program = filter(sockets, true, calls, false);
            for program in [program, filter(sockets, true, calls, true)] {
                let length = program.len() / 8;
                assert!(length < 256, "{length}: a jump by condition does not reach that far");
            }
            let count = |call| steps_of(program, ARCHITECTURE, call, [u64::MAX; 6]).1;
            let most = (0..=LAST).map(count).max();
            assert!(most < Some(24), "{most:?}");
        }
    }
}

#[test]
fn each_denied_call_is_denied() {
    DENIED.iter().for_each(|call| check(Sockets::Internet, *call, &[], REFUSED));
    ABSENT.iter().for_each(|call| check(Sockets::Internet, *call, &[], error(libc::ENOSYS)));
}

#[test]
fn what_nobody_knows_yet_is_absent() {
    check(Sockets::Unix, LAST.into(), &[], ALLOW);
    check(Sockets::Unix, (LAST + 1).into(), &[], error(libc::ENOSYS));
}

#[test]
fn foreign_calls_kill() {
    let i386 = 0x4000_0003;
    assert_eq!(run(Sockets::Unix, i386, 1, [0; 6]), KILL);
    #[cfg(target_arch = "x86_64")]
    assert_eq!(run(Sockets::Unix, ARCHITECTURE, 0x4000_0000 | 1, [0; 6]), KILL);
}

#[test]
fn namespaces_by_clone() {
    check(Sockets::Unix, libc::SYS_clone, &[libc::SIGCHLD as u64], ALLOW);
    check(Sockets::Unix, libc::SYS_clone, &[0x003d_0f00], ALLOW);
    check(Sockets::Unix, libc::SYS_clone, &[libc::CLONE_NEWUSER as u64 | 17], REFUSED);
    check(Sockets::Unix, libc::SYS_clone, &[libc::CLONE_NEWNET as u64], REFUSED);
}

#[test]
fn terminals() {
    check(Sockets::Unix, libc::SYS_ioctl, &[1, libc::TCGETS], ALLOW);
    check(Sockets::Unix, libc::SYS_ioctl, &[1, libc::TIOCSTI], REFUSED);
    // The kernel looks at 32 bits of the command.
    check(Sockets::Unix, libc::SYS_ioctl, &[1, libc::TIOCSTI | 1 << 32], REFUSED);
}

#[test]
fn sockets() {
    let family = |family: i32| [family as u64, libc::SOCK_STREAM as u64, 0];
    for sockets in [Sockets::Unix, Sockets::Internet] {
        check(sockets, libc::SYS_socket, &family(libc::AF_UNIX), ALLOW);
        for refused in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH] {
            check(sockets, libc::SYS_socket, &family(refused), NO_FAMILY);
        }
    }
    for internet in [libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK] {
        check(Sockets::Unix, libc::SYS_socket, &family(internet), NO_FAMILY);
        check(Sockets::Internet, libc::SYS_socket, &family(internet), ALLOW);
    }
    let audit = [libc::AF_NETLINK as u64, libc::SOCK_RAW as u64, libc::NETLINK_AUDIT as u64];
    check(Sockets::Internet, libc::SYS_socket, &audit, NO_FAMILY);
}

#[test]
fn sockets_of_the_machine_are_not_found_by_their_paths() {
    for (sockets, internet) in [(Sockets::Unix, NO_FAMILY), (Sockets::Internet, ALLOW)] {
        for watched in [false, true] {
            let program = filter(sockets, false, Calls::AllButRefused, watched);
            let answer = |call: c_long, family: i32, kind: i32| {
                let args = [family as u64, kind as u64, 0, 0, 0, 0];
                steps_of(program, ARCHITECTURE, call as u32, args).0
            };
            let (stream, flags) = (libc::SOCK_STREAM, libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK);
            assert_eq!(answer(libc::SYS_socket, libc::AF_UNIX, stream), NO_FAMILY);
            assert_eq!(answer(libc::SYS_socket, libc::AF_INET, stream), internet);
            let pair = |kind| answer(libc::SYS_socketpair, libc::AF_UNIX, kind);
            for kind in [stream, libc::SOCK_SEQPACKET] {
                assert_eq!((pair(kind), pair(kind | flags)), (ALLOW, ALLOW));
            }
            for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW] {
                let refused = error(libc::ESOCKTNOSUPPORT);
                assert_eq!((pair(kind), pair(kind | flags)), (refused, refused));
            }
        }
    }
}

#[test]
fn pairs_are_of_unix_sockets() {
    for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM, libc::SOCK_SEQPACKET] {
        check(Sockets::Internet, libc::SYS_socketpair, &[libc::AF_UNIX as u64, kind as u64], ALLOW);
        for family in [libc::AF_INET, libc::AF_TIPC, libc::AF_VSOCK] {
            check(Sockets::Internet, libc::SYS_socketpair, &[family as u64, kind as u64], NO_FAMILY);
        }
    }
}

#[test]
fn usual_calls_are_those_and_no_other() {
    let program = filter(Sockets::Internet, true, Calls::Usual, false);
    let answer = |call: c_long| steps_of(program, ARCHITECTURE, call as u32, [0; 6]).0;
    let by_arguments = [libc::SYS_clone, libc::SYS_ioctl, libc::SYS_socket, libc::SYS_socketpair];
    for call in 0..=LAST.into() {
        let expected = match () {
            () if by_arguments.contains(&call) => continue,
            () if ABSENT.contains(&call) => error(libc::ENOSYS),
            () if DENIED.contains(&call) => REFUSED,
            () if [USUAL, OLDER].concat().contains(&call) => ALLOW,
            () => error(libc::ENOSYS),
        };
        assert_eq!(answer(call), expected, "call {call}");
    }
    assert!(![USUAL, OLDER].concat().iter().any(|call| DENIED.contains(call) || ABSENT.contains(call)));
    assert_eq!(answer(libc::SYS_shmget), error(libc::ENOSYS));
}

#[test]
fn a_watched_program_has_no_more_calls() {
    for calls in [Calls::AllButRefused, Calls::Usual] {
        let programs = [false, true].map(|watched| filter(Sockets::Unix, true, calls, watched));
        let answers = |arch, call, args| {
            let [plain, watched] = programs.each_ref().map(|program| steps_of(program, arch, call, args).0);
            (plain, watched)
        };
        for call in 0..=LAST {
            let (plain, watched) = answers(ARCHITECTURE, call, [0; 6]);
            let told = PATHS.contains(&call.into()) || i64::from(call) == libc::SYS_execveat;
            assert!(!told || plain == ALLOW, "call {call}");
            let refused = plain == REFUSED && DENIED.contains(&call.into());
            assert_eq!(watched, if told || refused { ASK } else { plain }, "call {call}");
        }
        assert_eq!(answers(0x4000_0003, 1, [0; 6]), (KILL, ASK));
        #[cfg(target_arch = "x86_64")]
        assert_eq!(answers(ARCHITECTURE, X32 | 1, [0; 6]), (KILL, ASK));
        // As the child itself does when it becomes the program: nobody listens yet.
        let of_descriptor = [0, 0, 0, 0, libc::AT_EMPTY_PATH as u64, 0];
        assert_eq!(answers(ARCHITECTURE, libc::SYS_execveat as u32, of_descriptor), (ALLOW, ALLOW));
    }
}

#[test]
fn calls_have_their_names() {
    assert_eq!(name(0x4000_0003, 45), Some("brk"));
    assert_eq!(name(0x4000_0003, 462), Some("mseal"));
    assert_eq!(name(0x4000_0003, 463), None);
    assert_eq!(name(7, 1), None);
    #[cfg(target_arch = "x86_64")]
    for (call, expected) in [(libc::SYS_mount, "mount"), (libc::SYS_bpf, "bpf"), (libc::SYS_mseal, "mseal")] {
        assert_eq!(name(ARCHITECTURE, call as u32), Some(expected));
        assert_eq!(name(ARCHITECTURE, X32 | call as u32), Some(expected));
    }
}
