//! What threads meet at in this room: the standard things, or loom's where its models are run.
//!
//! loom's `Cell` notices when two threads use it without having met: so the models try the rules of who runs a cell.

#[cfg(not(airssys_loom))]
mod these {
    pub(crate) use std::cell::Cell;
    pub(crate) use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
}

#[cfg(airssys_loom)]
mod these {
    pub(crate) use loom::cell::Cell;
    pub(crate) use loom::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
}

pub(crate) use these::*;
