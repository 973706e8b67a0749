//! Requests over HTTP, on record: what was asked of whom, and what came of it.

use std::{fmt, io};

use super::TcpStream;
use crate::{
    Action, Principal,
    audit::Outcome,
    os::{Name, Opened, Operation},
    policy::Decision,
    sys,
};

/// The most characters of a method, and of an authority, that a record shows: both are written by strangers.
const SHOWN: usize = 256;

/// Puts the requests over one connection on record.
#[derive(Clone)]
pub struct Exchanges {
    principal: Principal,
    peer: Box<str>,
    rule: Box<str>,
}

/// One request over a connection, from its head to the head of its answer.
///
/// It leaves one record, `net.http`, with the rule that permits the connection. The record names the method and the
/// authority alone, as in `GET http://example.com`: paths, queries and headers carry secrets. Dropped before its end, it is
/// recorded as cancelled.
pub struct Exchange {
    of: Exchanges,
    resource: Box<str>,
    opened: Opened,
    outcome: Outcome,
}

impl TcpStream {
    /// What puts the requests over this connection on record, in whichever direction they go. It does not keep the
    /// connection open.
    pub fn exchanges(&self) -> Exchanges {
        Exchanges {
            principal: self.principal().clone(),
            peer: self.peer_addr().to_string().into(),
            rule: self.rule().into(),
        }
    }
}

impl Exchanges {
    /// Begins a request. `scheme` is `http`, or `https` where TLS is between. Of a method and of an authority the record
    /// shows 256 characters.
    pub fn begin(&self, method: &str, scheme: &str, authority: &str) -> Exchange {
        let shown = |text: &str| text.chars().filter(|c| !c.is_control()).take(SHOWN).collect::<String>();
        Exchange {
            of: self.clone(),
            resource: format!("{} {scheme}://{}", shown(method), shown(authority)).into(),
            opened: Opened::now(),
            outcome: Outcome::Cancelled,
        }
    }
}

impl Exchange {
    /// The head of an answer came, or was given.
    pub fn answered(mut self) {
        self.outcome = Outcome::Success;
    }

    /// There is no answer, or none that could be used.
    pub fn failed(mut self, error: &io::Error) {
        let number = match error.kind() {
            io::ErrorKind::TimedOut => sys::errno::TIMED_OUT,
            _ => error.raw_os_error().unwrap_or(sys::errno::IO),
        };
        self.outcome = Outcome::Failed(number);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Exchanges { principal, peer, rule } = &self.of;
        let operation = Operation {
            other: Some(Name::plain(peer.as_bytes())),
            ..principal.operation(Action::NetHttp, self.resource.as_bytes())
        };
        let epoch = principal.os().epoch();
        operation.record_end(Decision::allow(rule), epoch, self.outcome, 0, self.opened);
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange").field("resource", &self.resource).finish_non_exhaustive()
    }
}

impl fmt::Debug for Exchanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchanges").field("peer", &self.peer).finish_non_exhaustive()
    }
}
