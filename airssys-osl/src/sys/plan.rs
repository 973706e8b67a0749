//! What a program is started with, and what a start gives: the same on every system.
//!
//! What of a plan a system has nothing to hold to, its [`spawn`](super::spawn) refuses, or nobody asks for: it needs layers that
//! are not there.

use std::net::TcpListener;

use super::{Descriptor, Word};
use crate::process::{Calls, Exit, Layers, Limits};

/// Everything that a program is started with; `P` is a place of the system.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "a plan says the same on every system"))]
pub(crate) struct Plan<P = super::Place> {
    pub(crate) program: Descriptor,
    pub(crate) args: Vec<Word>,
    pub(crate) env: Vec<Word>,
    pub(crate) stdio: [Descriptor; 3],
    pub(crate) files: Vec<Lent>,
    pub(crate) directory: Word,
    pub(crate) places: Vec<P>,
    pub(crate) layers: Layers,
    /// The version of Landlock, where it is one of the layers.
    pub(crate) landlock: Option<u32>,
    pub(crate) sockets: Sockets,
    /// Whether its own network has a loopback.
    pub(crate) loopback: bool,
    /// The port of the loopback that is listened on for it, and handed to us.
    pub(crate) listen: Option<u16>,
    pub(crate) calls: Calls,
    /// Whether what it can write it can execute.
    pub(crate) executes: bool,
    /// Whether `/proc` has more than processes.
    pub(crate) tells: bool,
    /// Whether we are told what it asks for, where that can be.
    pub(crate) watched: bool,
    /// Whether it is not started without that.
    pub(crate) learns: bool,
    pub(crate) limits: Limits,
    pub(crate) ids: Option<(u32, u32)>,
}

/// An open file that a program gets.
#[derive(Debug)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "a plan says the same on every system"))]
pub(crate) struct Lent {
    pub(crate) fd: Descriptor,
    pub(crate) write: bool,
}

/// Which sockets a program may make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sockets {
    /// Those within the machine that have a path.
    Unix,
    /// Those and TCP and UDP, and what asks the kernel for addresses.
    Internet,
}

/// What is called when a program has ended.
pub(crate) type OnEnd = Box<dyn FnOnce(&Exit) + Send>;

/// A program that was started, and what its plan has beside it; `C` and `N` are a child and its notes of the system.
pub(crate) struct Begun<C = super::Child, N = super::Notes> {
    pub(crate) child: C,
    /// The socket that listens on its loopback, where it has a network of its own.
    pub(crate) listener: Option<TcpListener>,
    /// What it asks for, where somebody is told.
    pub(crate) notes: Option<N>,
}
