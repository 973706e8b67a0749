//! Requests that are answered: the single-use reply, and how a call can fail.

use std::error::Error;
use std::fmt;

use crate::cell::{self, Answer, Answerer};

/// The right to answer one call, once: the `From` of OTP's `handle_call/3`, and its `gen_server:reply/2`.
///
/// It travels inside the message. The actor may answer at once, keep it and answer later, or pass it on to
/// another actor. Dropped unused, it ends the call with [`CallError::Dropped`] at once, not at its timeout.
pub struct Reply<T>(Answerer<T>);

impl<T> Reply<T> {
    pub(crate) fn channel() -> (Self, Answer<T>) {
        let (answerer, answer) = cell::channel();
        (Self(answerer), answer)
    }

    /// Answers the call. An answer that comes after the caller stopped waiting is discarded.
    pub fn send(self, answer: T) {
        // The caller's timeout is the caller's to report; the answerer can do nothing about it.
        self.0.send(answer);
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// Why a call has no answer: what a caller of OTP's `gen_server:call/3` exits with.
// As wide as a word. A byte would lie where an answer has a pointer or a length, and each hand that a result goes through
// would copy that in two pieces which overlap: slower than all else about it, as a processor cannot read at once what it has
// just written so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
#[non_exhaustive]
pub enum CallError {
    /// The actor is dead, or takes no new messages. It never saw the request. OTP's `noproc`.
    NoProc,
    /// The mailbox is full and rejects what it has no room for. The actor never saw the request.
    Full,
    /// No answer came in time. The request may still be handled; a late answer is discarded.
    Timeout,
    /// The actor dropped the reply: it chose not to answer, or it ended before it could.
    Dropped,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoProc => "the actor takes no messages",
            Self::Full => "the mailbox is full",
            Self::Timeout => "no answer in time",
            Self::Dropped => "the actor dropped the request",
        })
    }
}

impl Error for CallError {}
