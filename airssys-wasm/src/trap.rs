//! How a guest's crash is told: a trap becomes an exit reason.

use std::{error, fmt};

use wasmtime::component::ResourceTableError;

use crate::{
    host::Exit,
    instance::{NoRoom, OutOfCalls, OutOfMemory, OutOfSystemMemory, OutOfTables, OutOfTime},
};

/// Why a guest ended before its time.
///
/// It is the cause inside an [`ExitReason::Error`](airssys_rt::ExitReason::Error), so that whoever watches a component can tell its ends apart.
#[derive(Debug)]
// Behind a pointer: what a handler returns is moved from hand to hand for each message, and has room for this.
pub struct Trap(Box<Told>);

#[derive(Debug)]
struct Told {
    kind: TrapKind,
    /// The innermost guest functions, as far as the component names them.
    backtrace: Vec<String>,
    source: Option<wasmtime::Error>,
    /// In which situation, where it is not the handling of a message.
    when: Option<&'static str>,
    /// Whether there was no room for it on the host's side.
    is_for_want_of_room: bool,
}

/// What ended the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrapKind {
    /// It executed `unreachable`: a panic or an abort, in most languages.
    Unreachable,
    /// It ran for longer than its deadline for one message.
    Deadline,
    /// It asked for more memory than its limit.
    Memory,
    /// It asked for more memory than was left of what all instances of its system may have.
    SystemMemory,
    /// It asked for more elements of tables than an instance may have.
    Table,
    /// It computed more than its limit for one message.
    Fuel,
    /// It called its host more often than its limit for one message.
    HostCalls,
    /// It handed its host more in one call than its memory may have.
    Handed,
    /// It held more handles open than its limit.
    Handles,
    /// Its call stack grew beyond the limit.
    StackOverflow,
    /// It did something that WebAssembly forbids: an access out of bounds, a division by zero and the like.
    Fault,
    /// A host function ended it, because it misused what was given to it or the host could not go on.
    Host,
    /// It answered a call of the host with an error of its own.
    Error(String),
    /// It exited by itself with a status.
    Exit(u8),
    /// It gave a larger state than its limit: so many bytes, where so many are allowed.
    SnapshotTooLarge {
        /// What it gave, in bytes.
        bytes: usize,
        /// What it may give, in bytes.
        limit: usize,
    },
    /// It neither answered nor ran for so long that it was not waited for any longer.
    Overdue,
}

/// What Wasmtime says where a guest hands its host too much.
const HANDED_TOO_MUCH: &str = "fuel allocated for hostcalls has been exhausted";

/// What it says where a component of WASI 0.3 has too many streams, futures and calls.
const TOO_MANY_HANDLES: &str = "store handle limit exceeded";

/// The most guest functions that a backtrace names.
const BACKTRACE_FRAMES: usize = 8;

impl Trap {
    /// Tells what ended a guest from what Wasmtime said.
    pub(crate) fn new(error: wasmtime::Error) -> Self {
        let (kind, is_for_want_of_room) = (kind_of(&error), Self::lacks_room(&error));
        let backtrace = error.downcast_ref::<wasmtime::WasmBacktrace>().map(frames).unwrap_or_default();
        let source = matches!(kind, TrapKind::Host | TrapKind::Fault).then_some(error);
        Self(Box::new(Told { kind, backtrace, source, when: None, is_for_want_of_room }))
    }

    /// The same where an instance could not be made.
    pub(crate) fn unmade(error: wasmtime::Error) -> Self {
        let is_for_want_of_room = Self::is_shortage(&error);
        let mut trap = Self::new(error);
        trap.0.is_for_want_of_room = is_for_want_of_room;
        trap
    }

    /// Makes the end of a guest that answered with an error.
    pub(crate) fn error(message: &str) -> Self {
        Self::of(TrapKind::Error(crate::host::printable(message)))
    }

    /// Makes the end of a guest whose state is too large.
    pub(crate) fn snapshot_too_large(bytes: usize, limit: usize) -> Self {
        Self::of(TrapKind::SnapshotTooLarge { bytes, limit })
    }

    /// Makes the end of a guest that was waited for long enough.
    pub(crate) fn overdue() -> Self {
        Self::of(TrapKind::Overdue)
    }

    fn of(kind: TrapKind) -> Self {
        Self(Box::new(Told {
            kind,
            backtrace: Vec::new(),
            source: None,
            when: None,
            is_for_want_of_room: false,
        }))
    }

    /// Whether an instance could not be made although its guest did nothing wrong: the pool or the memory is used up, or
    /// what its system may have.
    pub(crate) fn is_shortage(error: &wasmtime::Error) -> bool {
        // What a host function said was asked for by code of the guest's, which has a backtrace.
        matches!(kind_of(error), TrapKind::Host | TrapKind::SystemMemory)
            && error.downcast_ref::<wasmtime::WasmBacktrace>().is_none()
    }

    /// Whether a call ended because the pool, or the machine, has no stack for it.
    pub(crate) fn lacks_room(error: &wasmtime::Error) -> bool {
        error.is::<wasmtime::PoolConcurrencyLimitError>() || error.is::<NoRoom>()
    }

    /// Whether the guest ended, or did not begin, for want of room: that says nothing of it.
    pub(crate) fn is_for_want_of_room(&self) -> bool {
        self.0.is_for_want_of_room
    }

    /// Says in which situation it ended.
    pub(crate) fn during(mut self, when: &'static str) -> Self {
        self.0.when = Some(when);
        self
    }

    /// What ended the guest.
    pub fn kind(&self) -> &TrapKind {
        &self.0.kind
    }

    /// The innermost guest functions first, as far as the component names them.
    pub fn backtrace(&self) -> &[String] {
        &self.0.backtrace
    }
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            TrapKind::Unreachable => f.write_str("the guest panicked or aborted")?,
            TrapKind::Deadline => {
                f.write_str("the guest ran past its deadline (limits.deadline, --timeout)")?
            }
            TrapKind::Memory => {
                f.write_str("the guest wanted more memory than its limit (limits.memory, --max-memory)")?
            }
            TrapKind::SystemMemory => {
                f.write_str("the guest wanted more memory than is left to the system (system.memory)")?
            }
            TrapKind::Table => {
                f.write_str("the guest wanted more elements of tables than its limit (limits.tables)")?
            }
            TrapKind::Fuel => f.write_str("the guest computed more than its limit (limits.fuel)")?,
            TrapKind::HostCalls => {
                f.write_str("the guest called its host more often than its limit (limits.host_calls)")?
            }
            TrapKind::Handed => f.write_str(
                "the guest handed its host more in one call than its memory may have (limits.memory, 128 MiB)",
            )?,
            TrapKind::Handles => {
                f.write_str("the guest held more handles open than its limit (limits.handles)")?
            }
            TrapKind::StackOverflow => f.write_str("the guest's stack overflowed")?,
            TrapKind::Fault => f.write_str("the guest did what WebAssembly forbids")?,
            TrapKind::Host => f.write_str("a host function ended the guest")?,
            TrapKind::Error(message) => write!(f, "the guest failed: {message}")?,
            TrapKind::Exit(status) => write!(f, "the guest exited with status {status}")?,
            TrapKind::SnapshotTooLarge { bytes, limit } => {
                write!(f, "the guest gave a state of {bytes} bytes, {limit} are allowed (limits.snapshot)")?;
            }
            TrapKind::Overdue => f.write_str("the guest was not done in time")?,
        }
        if let Some(when) = self.0.when {
            write!(f, " {when}")?;
        }
        match self.0.backtrace.first() {
            Some(frame) => write!(f, ", in {frame}"),
            None => Ok(()),
        }
    }
}

impl error::Error for Trap {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source.as_ref() as _)
    }
}

fn kind_of(error: &wasmtime::Error) -> TrapKind {
    if let Some(exit) = error.downcast_ref::<Exit>() {
        return TrapKind::Exit(exit.0);
    }
    if error.is::<OutOfTime>() {
        return TrapKind::Deadline;
    }
    if error.is::<OutOfMemory>() {
        return TrapKind::Memory;
    }
    if error.is::<OutOfSystemMemory>() {
        return TrapKind::SystemMemory;
    }
    if error.is::<OutOfTables>() {
        return TrapKind::Table;
    }
    if error.is::<OutOfCalls>() {
        return TrapKind::HostCalls;
    }
    if matches!(error.downcast_ref(), Some(ResourceTableError::Full)) {
        return TrapKind::Handles;
    }
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(wasmtime::Trap::UnreachableCodeReached) => TrapKind::Unreachable,
        Some(wasmtime::Trap::StackOverflow) => TrapKind::StackOverflow,
        Some(wasmtime::Trap::Interrupt) => TrapKind::Deadline,
        Some(wasmtime::Trap::OutOfFuel) => TrapKind::Fuel,
        Some(_) => TrapKind::Fault,
        // Wasmtime has no type for it.
        None if error.root_cause().to_string().contains(HANDED_TOO_MUCH) => TrapKind::Handed,
        None if error.root_cause().to_string().contains(TOO_MANY_HANDLES) => TrapKind::Handles,
        None => TrapKind::Host,
    }
}

fn frames(backtrace: &wasmtime::WasmBacktrace) -> Vec<String> {
    let names = backtrace.frames().iter().filter_map(|frame| frame.func_name());
    // The machinery of a panic says less than the function that panicked.
    let named = names.map(crate::host::printable).skip_while(|name| is_panic_machinery(name));
    named.take(BACKTRACE_FRAMES).collect()
}

fn is_panic_machinery(name: &str) -> bool {
    ["rust_panic", "panicking", "abort", "rust_begin_unwind", "panic_"].iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_the_hosts_is_no_doing_of_the_guests() {
        assert!(Trap::is_shortage(&wasmtime::Error::msg("mmap failed")));
        assert!(!Trap::is_shortage(&wasmtime::Trap::UnreachableCodeReached.into()));
        assert!(!Trap::is_shortage(&OutOfTime.into()));
    }
}
