//! What this crate asks of its host: the generated imports in a component, a host made of memory in a native build.

use std::fmt;

use crate::{Error, ErrorKind};

#[cfg(target_arch = "wasm32")]
mod component;
#[cfg(target_arch = "wasm32")]
mod conversing;
#[cfg(target_arch = "wasm32")]
mod http;
#[cfg(target_arch = "wasm32")]
mod keyvalue;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod memory;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use memory::imports::*;
#[cfg(target_arch = "wasm32")]
pub(crate) use {component::*, conversing::*, http::exchange, keyvalue::Bucket};

/// How a request to the host failed: what its caller can do about it, and the host's own word for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure(pub(crate) ErrorKind, pub(crate) &'static str);

impl Failure {
    /// Makes it the error of `what`, which completes the sentence "cannot …".
    pub(crate) fn cannot(self, what: impl fmt::Display) -> Error {
        let Self(kind, cause) = self;
        let error = Error::cannot(kind, what);
        // "denied by policy" is all that a guest learns; the rule is in the audit log.
        if kind == ErrorKind::Denied { error } else { error.caused_by(cause) }
    }
}

/// The same of a bucket or a request over HTTP, for which there is a sentence.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(pub(crate) ErrorKind, pub(crate) String);

impl Refusal {
    /// Makes it the error of `what`, which completes the sentence "cannot …".
    pub(crate) fn cannot(self, what: impl fmt::Display) -> Error {
        let Self(kind, cause) = self;
        let error = Error::cannot(kind, what);
        if cause.is_empty() { error } else { error.caused_by(cause) }
    }
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    /// Made where it does not exist, emptied where it does.
    Replace,
}
