//! Programs: how one is started, what holds it, and how it ends.
//!
//! | file | does |
//! |---|---|
//! | `script` | every system call that a child may make, prepared as data |
//! | `raw` | the child itself, and all unsafe code |
//! | `prepare` `landlock` `seccomp` | from a plan to the script |
//! | `init` | the first process of a namespace of processes |
//! | `cgroup` | what a tree of processes may use, and in `places` where that can be counted |
//! | `spares` `maker` | what is kept ready for the next program |
//! | `watcher` | is told what a program asks for, where that is wanted |
//! | `keeper` | the threads that start programs and wait for their ends |
//! | `probe` | what this machine can enforce |
//! | `means` | which limits hold here, and whether a program finds a `/proc` |

mod cgroup;
mod init;
mod keeper;
mod landlock;
mod maker;
mod means;
mod prepare;
mod probe;
mod raw;
mod script;
mod seccomp;
mod spares;
mod watcher;

use std::{
    ffi::OsStr,
    io::IoSliceMut,
    mem::MaybeUninit,
    net::TcpListener,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
};

use rustix::{
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    process::{Signal, pidfd_send_signal},
};

use self::watcher::Eyes;
use self::{cgroup::Group, keeper::Started, spares::Left};
pub(crate) use self::{
    init::sealed,
    keeper::{Child, Killer},
    means::{cgroup_version, try_limits, why_no_proc},
    prepare::{Place, counts_memory, everything, unbounded},
    probe::{dynamic_user, host, nobody},
    watcher::Notes,
};
use crate::{
    os::Fault,
    process::Layers,
    sys::{
        errno,
        plan::{Begun, OnEnd, Plan},
    },
};

/// Starts what `plan` makes, on a thread that may wait. `on_end` is called when the program has ended, if it was
/// started.
pub(crate) async fn spawn(
    plan: impl FnOnce() -> Result<Plan, Fault> + Send + 'static,
    on_end: OnEnd,
) -> Result<Begun, Fault> {
    keeper::on_spawner(move || start(plan()?, on_end)).await
}

fn start(plan: Plan, on_end: OnEnd) -> Result<Begun, Fault> {
    spares::relieve();
    let limits = plan.limits.clone();
    let start = OsStr::from_bytes(plan.directory.as_bytes()).to_owned();
    let ids = plan.ids;
    let inside = plan.layers.contains(Layers::PROCESSES);
    let mut group = match plan.layers.contains(Layers::CGROUP) {
        true => Some(Group::new(&plan.limits, inside.into()).map_err(Fault::Os)?),
        false => None,
    };
    let entrances = group.as_mut().map_or(Ok(Vec::new()), Group::entrances).map_err(Fault::Os)?;
    let prepared = prepare::prepare(plan, probe::own(), entrances)?;
    let born = raw::start(&prepared.script, prepared.namespaces).map_err(Fault::Os)?;
    spares::refill();
    if let Some((step, error)) = born.failed {
        // It has ended, or does so at once: this waits for no more than that.
        keeper::take_away(&born.pidfd);
        return Err(Fault::Step(step, error));
    }
    let program = prepared.socket.as_ref().and_then(received);
    if inside && program.is_none() {
        // Signals would go to its `init`. What keeps a descriptor from arriving is that we have too many.
        let _ = pidfd_send_signal(&born.pidfd, Signal::KILL);
        keeper::take_away(&born.pidfd);
        return Err(Fault::errno(errno::TOO_MANY_OPEN));
    }
    let left = Left { group, root: prepared.root };
    let started = Started { pidfd: born.pidfd, pid: born.pid, program, socket: prepared.socket, left };
    let child = Child::keep(started, &limits, on_end)?;
    // Where something fails from here on, it ends with its handle. Why no descriptor came is as above.
    let sent = |socket: Option<OwnedFd>| match socket.map(received) {
        Some(None) => Err(Fault::errno(errno::TOO_MANY_OPEN)),
        sent => Ok(sent.flatten()),
    };
    let listener = sent(prepared.listener)?.map(TcpListener::from);
    let asks = sent(prepared.watched)?;
    let notes = asks.map(|asks| watcher::watch(asks, Eyes::new(ids, start.as_ref()))).transpose()?;
    Ok(Begun { child, listener, notes })
}

/// Two ends of what carries messages.
fn messages() -> Result<(OwnedFd, OwnedFd), rustix::io::Errno> {
    rustix::net::socketpair(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::SEQPACKET,
        rustix::net::SocketFlags::CLOEXEC,
        None,
    )
}

/// Takes a descriptor that the child sent before it became another program.
fn received(socket: impl AsFd) -> Option<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut control, flags).ok()?;
    control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    })
}
