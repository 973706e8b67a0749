//! What a log must not hold: parts of resources that are replaced before a record is made.

use std::{cell::Cell, fmt};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::Event;
use crate::Action;

const REDACTED: &[u8] = b"[redacted";
/// What stands before the name of something that is no file.
const SCHEMES: &[&[u8]] = &[b"unix:@", b"unix:", b"tcp://", b"udp://", b"tls://"];
/// How much of a keyed hash is shown, in bytes: enough to tell some billion resources apart.
const SHOWN_BYTES: usize = 8;

/// Which parts of a resource are replaced in its record, by `[redacted]`, before the record is made.
///
/// Paths are looked at as they were asked for. `.`, `..` and `//` in them are understood; links are not followed, so one
/// that leads below a folder by a link is not known to be there. Of a socket, what follows `unix:` is the path, and the
/// host of an address is a component, as is each of several variables.
///
/// With a [`key`](Self::key) a replaced part reads `[redacted:1f2e3d4c5b6a7988]`: the beginning of its HMAC-SHA-256, by
/// which equal ones can be told without showing them, and by nobody else than the holder of the key be guessed.
///
/// # Examples
///
/// ```
/// use airssys_osl::{Action, audit::Redaction};
///
/// let redaction = Redaction::new()
///     .below("/home")
///     .component("*.pem")
///     .whole(Action::EnvRead)
///     .key([7; 32]);
/// # let _ = redaction;
/// ```
#[derive(Clone, Default)]
pub struct Redaction {
    rules: Vec<Rule>,
    key: Option<Hmac<Sha256>>,
}

#[derive(Clone, Debug)]
enum Rule {
    Whole(Action),
    Below(Vec<u8>),
    Component { start: Vec<u8>, end: Option<Vec<u8>> },
}

impl Redaction {
    /// Replaces nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Replaces the whole resource of an action.
    #[must_use]
    pub fn whole(self, action: Action) -> Self {
        self.with(Rule::Whole(action))
    }

    /// Replaces all that follows the directory `path` in a path.
    #[must_use]
    pub fn below(self, path: impl Into<Vec<u8>>) -> Self {
        let mut path = path.into();
        while path.last() == Some(&b'/') {
            path.pop();
        }
        self.with(Rule::Below(path))
    }

    /// Replaces each component of a path, and each other name, that is `pattern`; one `*` in it stands for any bytes.
    #[must_use]
    pub fn component(self, pattern: &str) -> Self {
        let rule = match pattern.split_once('*') {
            Some((start, end)) => Rule::Component { start: start.into(), end: Some(end.into()) },
            None => Rule::Component { start: pattern.into(), end: None },
        };
        self.with(rule)
    }

    /// Shows a keyed hash of what is replaced. The key is no part of the log; keep it elsewhere.
    #[must_use]
    pub fn key(mut self, key: [u8; 32]) -> Self {
        // A key of any length is one.
        self.key = Hmac::new_from_slice(&key).ok();
        self
    }

    fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Calls `f` with the event as it may be recorded, and with whether that is another one.
    pub(super) fn apply<T>(&self, event: &Event<'_>, f: impl FnOnce(&Event<'_>, bool) -> T) -> T {
        thread_local!(static SCRATCH: Cell<Vec<u8>> = const { Cell::new(Vec::new()) });
        if self.rules.is_empty() {
            return f(event, false);
        }
        let mut scratch = SCRATCH.try_with(Cell::take).unwrap_or_default();
        scratch.clear();
        let redacted = self.resource(event.action, event.resource, &mut scratch);
        let result = match redacted {
            true => f(&Event { resource: &scratch, ..*event }, true),
            false => f(event, false),
        };
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        result
    }

    /// Appends the resource as it may be recorded. Returns whether that is another one.
    fn resource(&self, action: Action, resource: &[u8], out: &mut Vec<u8>) -> bool {
        if self.rules.iter().any(|rule| matches!(rule, Rule::Whole(whole) if *whole == action)) {
            self.replace(resource, out);
            return true;
        }
        let mut redacted = false;
        // An operation on two objects has two names.
        for (index, name) in resource.split(|byte| *byte == 0).enumerate() {
            if index > 0 {
                out.push(0);
            }
            redacted |= self.name(action, name, out);
        }
        redacted
    }

    fn name(&self, action: Action, name: &[u8], out: &mut Vec<u8>) -> bool {
        if action == Action::EnvRead {
            return self.variables(name, out);
        }
        for scheme in SCHEMES {
            if let Some(rest) = name.strip_prefix(*scheme) {
                out.extend_from_slice(scheme);
                return if scheme.ends_with(b"//") {
                    self.authority(rest, out)
                } else {
                    self.path(rest, out)
                };
            }
        }
        self.path(name, out)
    }

    /// A host and a port.
    fn authority(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let colon = name.iter().rposition(|byte| *byte == b':').unwrap_or(name.len());
        let (host, port) = name.split_at_checked(colon).unwrap_or((name, b""));
        let hidden = self.component_of(host, out);
        out.extend_from_slice(port);
        hidden
    }

    /// Names with commas between them.
    fn variables(&self, names: &[u8], out: &mut Vec<u8>) -> bool {
        let mut redacted = false;
        for (index, name) in names.split(|byte| *byte == b',').enumerate() {
            if index > 0 {
                out.push(b',');
            }
            redacted |= self.component_of(name, out);
        }
        redacted
    }

    fn path(&self, name: &[u8], out: &mut Vec<u8>) -> bool {
        let (mut redacted, mut passed) = (false, 0);
        for component in name.split_inclusive(|byte| *byte == b'/') {
            let before = name.get(..passed).unwrap_or_default();
            let rest = name.get(passed..).unwrap_or_default();
            if self.rules.iter().any(|rule| rule.hides_below(before)) && !rest.is_empty() {
                self.replace(rest, out);
                return true;
            }
            passed += component.len();
            let text = component.strip_suffix(b"/").unwrap_or(component);
            redacted |= self.component_of(text, out);
            if text.len() < component.len() {
                out.push(b'/');
            }
        }
        redacted
    }

    fn component_of(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        let hidden = self.rules.iter().any(|rule| rule.hides(text));
        match hidden {
            true => self.replace(text, out),
            false => out.extend_from_slice(text),
        }
        hidden
    }

    fn replace(&self, hidden: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(REDACTED);
        if let Some(key) = &self.key {
            let tag = key.clone().chain_update(hidden).finalize().into_bytes();
            out.push(b':');
            for byte in tag.iter().take(SHOWN_BYTES) {
                let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
                out.extend(digits.into_iter().flatten().map(|digit| digit as u8));
            }
        }
        out.push(b']');
    }
}

impl Rule {
    /// Whether what follows this beginning of a path, which ends with a slash, is hidden.
    fn hides_below(&self, before: &[u8]) -> bool {
        let Self::Below(path) = self else { return false };
        before.ends_with(b"/")
            && before.starts_with(b"/") == path.starts_with(b"/") | path.is_empty()
            && from_the_end(before).eq(from_the_end(path))
    }

    fn hides(&self, component: &[u8]) -> bool {
        match self {
            Self::Component { start, end: None } => component == start,
            Self::Component { start, end: Some(end) } => {
                component.strip_prefix(&**start).is_some_and(|rest| rest.ends_with(end))
            }
            _ => false,
        }
    }
}

/// The components of a path, the last first, without those that mean nothing and what `..` takes back.
fn from_the_end(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut back = 0_usize;
    path.rsplit(|byte| *byte == b'/').filter(move |component| match *component {
        b"" | b"." => false,
        b".." => {
            back += 1;
            false
        }
        _ if back > 0 => {
            back -= 1;
            false
        }
        _ => true,
    })
}

/// Does not show the key.
impl fmt::Debug for Redaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redaction").field("rules", &self.rules).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(redaction: &Redaction, resource: &str, expected: &str) {
        let mut out = Vec::new();
        let redacted = redaction.resource(Action::FsRead, resource.as_bytes(), &mut out);
        assert_eq!((String::from_utf8(out).unwrap(), redacted), (expected.into(), resource != expected));
    }

    #[test]
    fn what_a_rule_names_is_replaced_and_nothing_else() {
        let redaction = Redaction::new().below("/home/").component("*.pem").component("secret");
        check(&redaction, "/home/alice/x", "/home/[redacted]");
        check(&redaction, "/home/", "/home/");
        check(&redaction, "/home", "/home");
        check(&redaction, "/homes/alice", "/homes/alice");
        check(&redaction, "/srv/home/alice", "/srv/home/alice");
        check(&redaction, "/srv/a.pem/b", "/srv/[redacted]/b");
        check(&redaction, "/srv/secret/secrets", "/srv/[redacted]/secrets");
        check(&redaction, "secret", "[redacted]");
        check(&redaction, "/srv/a\0/home/b\0x.pem", "/srv/a\0/home/[redacted]\0[redacted]");
        check(&redaction, "", "");
        check(&redaction, "/srv/../home/alice", "/srv/../home/[redacted]");
        check(&redaction, "//home/./alice", "//home/[redacted]");
        check(&redaction, "/home/../srv/x", "/home/[redacted]");
        check(&redaction, "/a/home/../../home/x", "/a/home/../../home/[redacted]");
        check(&redaction, "home/alice", "home/alice");
        check(&redaction, "unix:/home/alice/socket", "unix:/home/[redacted]");
        check(&redaction, "unix:/run/secret", "unix:/run/[redacted]");
        check(&redaction, "unix:@secret", "unix:@[redacted]");
        check(&redaction, "tcp://secret:80\0[::1]:80", "tcp://[redacted]:80\0[::1]:80");
        check(&Redaction::new().below("/"), "/a/b", "/[redacted]");
        check(&Redaction::new().whole(Action::FsRead), "/srv/a", "[redacted]");
        check(&Redaction::new().whole(Action::FsWrite), "/srv/a", "/srv/a");
        // What overlaps with itself is not there twice.
        check(&Redaction::new().component("a*a"), "a", "a");
        check(&Redaction::new().component("a*a"), "aa", "[redacted]");
    }

    #[test]
    fn each_of_several_variables_is_a_name() {
        let (redaction, mut out) = (Redaction::new().component("*_KEY"), Vec::new());
        assert!(redaction.resource(Action::EnvRead, b"API_KEY,HOME,B_KEY", &mut out));
        assert_eq!(out, b"[redacted],HOME,[redacted]");
    }

    #[test]
    fn equal_ones_are_told_by_who_has_the_key() {
        // The expected value is OpenSSL's.
        let redaction = Redaction::new().component("*").key([0xaa; 32]);
        let show = |redaction: &Redaction, text: &str| {
            let mut out = Vec::new();
            redaction.resource(Action::FsRead, text.as_bytes(), &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(show(&redaction, "a"), show(&redaction, "a"));
        assert_ne!(show(&redaction, "a"), show(&redaction, "b"));
        assert_ne!(show(&redaction, "a"), show(&redaction.clone().key([0xab; 32]), "a"));
        assert_eq!(show(&redaction, "a"), "[redacted:da741975e0d24c0a]");
        assert!(!format!("{redaction:?}").contains("170"), "{redaction:?}");
    }

    #[test]
    fn what_is_replaced_is_not_in_the_event() {
        let event = crate::audit::log::host_event(Action::EnvRead, b"PASSWORD");
        let redaction = Redaction::new().whole(Action::EnvRead);
        redaction.apply(&event, |event, redacted| {
            assert!(redacted);
            assert_eq!(event.resource, b"[redacted]");
        });
        Redaction::new().apply(&event, |event, redacted| {
            assert!(!redacted);
            assert_eq!(event.resource, b"PASSWORD");
        });
    }
}
