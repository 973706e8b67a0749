//! What a program was denied, and what would permit it: from the records of its run.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use airssys_osl::{Action, Verdict, audit::Event, policy::rule};
use serde_json::{Value, json};

use crate::report::printable;

/// How many different denials are told, and the rest as a number. Floods of them the audit log counts, too.
const TOLD: usize = 32;

/// The denials of a run, in the order of their first times.
#[derive(Debug, Default)]
pub(super) struct Denied(Mutex<Denials>);

#[derive(Debug, Default)]
pub(super) struct Denials {
    pub(super) told: Vec<Denial>,
    /// How often something was denied that is not among those.
    pub(super) untold: u64,
}

/// Something that the door denied, once or more often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Denial {
    action: &'static str,
    /// Whom or what, as its record has it, with the address that was decided behind it.
    resource: String,
    rule: String,
    flag: Option<String>,
    count: u64,
}

impl Denied {
    /// Takes note of a record.
    pub(super) fn hear(&self, event: &Event<'_>) {
        // That the program itself may not be started is told by what becomes of the start.
        let of_network = matches!(event.action, Action::NetConnect | Action::NetResolve);
        if event.verdict != Verdict::Deny || !of_network {
            return;
        }
        let denial = Denial::new(event);
        let mut denied = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = denied
            .told
            .iter_mut()
            .find(|known| (&known.resource, &known.rule) == (&denial.resource, &denial.rule));
        if let Some(known) = known {
            known.count += 1;
        } else if denied.told.len() < TOLD {
            denied.told.push(denial);
        } else {
            denied.untold += 1;
        }
    }

    /// All that were heard.
    pub(super) fn take(&self) -> Denials {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Denial {
    fn new(event: &Event<'_>) -> Self {
        let text = String::from_utf8_lossy(event.resource);
        let (url, address) = text.split_once('\0').unwrap_or((&text, ""));
        let peer = url.strip_prefix("tcp://").unwrap_or(url);
        let flag = match event.rule {
            // Only its address names what is not global.
            rule if rule.starts_with(rule::NON_GLOBAL) => Some(address).filter(|address| !address.is_empty()),
            rule::DEFAULT_DENY => Some(peer).filter(|_| event.action == Action::NetConnect),
            _ => None,
        };
        let resource = match address {
            "" => peer.to_owned(),
            address if address == peer => peer.to_owned(),
            address => format!("{peer} at {address}"),
        };
        Self {
            action: event.action.name(),
            resource,
            rule: event.rule.to_owned(),
            flag: flag.map(|flag| format!("--net {flag}")),
            count: 1,
        }
    }

    pub(super) fn value(&self) -> Value {
        json!({
            "action": self.action,
            "resource": self.resource,
            "rule": self.rule,
            "count": self.count,
            "flag": self.flag,
        })
    }
}

/// Writes what it was, why, and which flag would permit it.
impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = if self.action == Action::NetResolve.name() { "to look up" } else { "to connect to" };
        write!(f, "{verb} {}", printable(self.resource.as_bytes()))?;
        if self.count > 1 {
            write!(f, ", {} times", self.count)?;
        }
        match self.rule.strip_prefix(rule::NON_GLOBAL) {
            Some(class) => write!(f, ": its address is not global ({class})")?,
            None if self.rule == rule::DEFAULT_DENY => f.write_str(": no flag permits it")?,
            None if self.rule == rule::MALFORMED_HOST => {
                f.write_str(": it is no host that all read alike")?
            }
            None => write!(f, ": by the rule {}", printable(self.rule.as_bytes()))?,
        }
        self.flag.as_ref().map_or(Ok(()), |flag| write!(f, "; {} would", printable(flag.as_bytes())))
    }
}

#[cfg(test)]
mod tests {
    use airssys_osl::audit::{Outcome, Phase};

    use super::*;

    fn event<'a>(action: Action, resource: &'a str, rule: &'a str) -> Event<'a> {
        Event {
            principal: "sandbox",
            action,
            resource: resource.as_bytes(),
            verdict: Verdict::Deny,
            rule,
            epoch: 0,
            phase: Phase::Done,
            outcome: Outcome::Denied,
            bytes: 0,
            duration_ns: 0,
            intent: 0,
            trace: [0; 16],
        }
    }

    #[track_caller]
    fn check(action: Action, resource: &str, rule: &str, expected: &str) {
        assert_eq!(Denial::new(&event(action, resource, rule)).to_string(), expected);
    }

    #[test]
    fn each_is_told_with_the_least_flag() {
        let connect = Action::NetConnect;
        check(
            connect,
            "tcp://evil.example:443",
            rule::DEFAULT_DENY,
            "to connect to evil.example:443: no flag permits it; --net evil.example:443 would",
        );
        check(
            connect,
            "tcp://inner.example:80\x0010.0.0.1:80",
            "non-global: private",
            "to connect to inner.example:80 at 10.0.0.1:80: its address is not global (private); --net 10.0.0.1:80 would",
        );
        check(
            connect,
            "tcp://[::1]:80\0[::1]:80",
            "non-global: loopback",
            "to connect to [::1]:80: its address is not global (loopback); --net [::1]:80 would",
        );
        check(
            Action::NetResolve,
            "0x7f.1",
            rule::MALFORMED_HOST,
            "to look up 0x7f.1: it is no host that all read alike",
        );
        check(
            connect,
            "tcp://a\x1b[2J:1",
            "--net x: expired",
            "to connect to a\\u{1b}[2J:1: by the rule --net x: expired",
        );
    }

    #[test]
    fn the_same_is_told_once_and_their_number_is_bounded() {
        let denied = Denied::default();
        for number in 0..100 {
            let resource = format!("tcp://host{number}:80");
            denied.hear(&event(Action::NetConnect, &resource, rule::DEFAULT_DENY));
            denied.hear(&event(Action::NetConnect, "tcp://host0:80", rule::DEFAULT_DENY));
        }
        denied.hear(&event(Action::ProcessOpen, "/bin/x", rule::DEFAULT_DENY));
        let told = denied.take();
        assert_eq!((told.told.len(), told.told[0].count, told.untold), (TOLD, 101, 68));
    }
}
