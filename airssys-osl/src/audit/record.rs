//! The canonical bytes of one record: one spelling for each value, so that a hash of them means something.
//!
//! All numbers are little endian.
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format version: 1 |
//! | 1, 1 | phase, verdict |
//! | 1, 4 | outcome, error number (0 where the system did not refuse) |
//! | 8 | sequence number, from 1, without gaps |
//! | 8, 8 | wall clock, monotonic clock, in nanoseconds |
//! | 16 | boot id |
//! | 4 | policy epoch |
//! | 2 | action |
//! | 1 | flags: 1 = a field was longer than its limit and is cut, 2 = there is a trace id, 4 = the resource is redacted |
//! | 8, 8 | bytes moved, duration in nanoseconds |
//! | 8 | sequence number of the intent record, or 0 |
//! | 4 | enforcement mask |
//! | 1, 1, 1, 2 | lengths of the four fields that follow |
//! | 16 | trace id, where the flags say so |
//! | … | principal, parent principal, rule (UTF-8), resource (any bytes) |

use std::fmt;

use super::{Event, Outcome, Phase, Query};
use crate::{
    Action, Verdict,
    limits::{PRINCIPAL_BYTES, RULE_BYTES},
};

/// The longest resource that a record holds, in bytes: Linux's own bound for a path.
pub const RESOURCE_BYTES: usize = 4096;

/// All that precedes the trace id.
const FIXED_BYTES: usize = 88;
const TRACE_BYTES: usize = 16;
/// The longest body.
pub(super) const MAX_BYTES: usize =
    FIXED_BYTES + TRACE_BYTES + 2 * PRINCIPAL_BYTES + RULE_BYTES + RESOURCE_BYTES;
/// Where in a body its sequence number stands.
pub(super) const SEQUENCE_AT: usize = 8;

/// And where its wall clock does.
pub(super) const WALL_AT: usize = 16;

const VERSION: u8 = 1;
const FLAG_CUT: u8 = 1;
const FLAG_TRACE: u8 = 2;
const FLAG_REDACTED: u8 = 4;

/// One record as it was read back from a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    fixed: Fixed,
    principal: Box<str>,
    parent: Box<str>,
    rule: Box<str>,
    resource: Box<[u8]>,
}

impl Record {
    /// Its place in the log, counted from 1.
    pub fn sequence(&self) -> u64 {
        self.fixed.sequence
    }

    /// When it was made, in nanoseconds since 1970, by a clock that people may set.
    pub fn wall_ns(&self) -> u64 {
        self.fixed.wall_ns
    }

    /// When it was made, in nanoseconds since some moment of this boot, by a clock that nobody can set.
    pub fn monotonic_ns(&self) -> u64 {
        self.fixed.monotonic_ns
    }

    /// Which boot of the machine it was made in; zeros where the system does not tell.
    pub fn boot_id(&self) -> [u8; 16] {
        self.fixed.boot_id
    }

    /// Who asked.
    pub fn principal(&self) -> &str {
        &self.principal
    }

    /// On whose behalf the principal was made; empty where it was made by the host.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// What was asked; `None` where a newer version of this crate knows the [number](Self::action_number).
    pub fn action(&self) -> Option<Action> {
        Action::from_number(self.fixed.action)
    }

    /// The number of what was asked.
    pub fn action_number(&self) -> u16 {
        self.fixed.action
    }

    /// Of which object. Any bytes: whoever prints them must escape them.
    pub fn resource(&self) -> &[u8] {
        &self.resource
    }

    /// What policy answered.
    pub fn verdict(&self) -> Verdict {
        self.fixed.verdict
    }

    /// The rule that answered.
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The policy epoch that the answer belongs to.
    pub fn epoch(&self) -> u32 {
        self.fixed.epoch
    }

    /// Before or after the act.
    pub fn phase(&self) -> Phase {
        self.fixed.phase
    }

    /// What came of it.
    pub fn outcome(&self) -> Outcome {
        self.fixed.outcome
    }

    /// Bytes read or written.
    pub fn bytes(&self) -> u64 {
        self.fixed.bytes
    }

    /// How long it took, in nanoseconds.
    pub fn duration_ns(&self) -> u64 {
        self.fixed.duration_ns
    }

    /// The sequence number of the operation's intent record, or 0.
    pub fn intent(&self) -> u64 {
        self.fixed.intent
    }

    /// The trace that the operation belongs to (W3C trace id); zeros where there is none.
    pub fn trace(&self) -> [u8; 16] {
        self.fixed.trace
    }

    /// Which layers of the kernel enforced a sandbox, one bit each; 0 where there was none.
    pub fn enforcement(&self) -> u32 {
        self.fixed.enforcement
    }

    /// Whether principal, rule or resource was longer than a record holds, and is cut.
    pub fn is_cut(&self) -> bool {
        self.fixed.flags & FLAG_CUT != 0
    }

    /// The same record, borrowed.
    pub(super) fn body(&self) -> Body<'_> {
        let Self { fixed, principal, parent, rule, resource } = self;
        Body { fixed: *fixed, principal, parent, rule, resource }
    }

    /// Whether something stands in the place of the resource, or of a part of it, that the log must not show.
    pub fn is_redacted(&self) -> bool {
        self.fixed.flags & FLAG_REDACTED != 0
    }
}

/// A record whose text is still where it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body<'a> {
    fixed: Fixed,
    principal: &'a str,
    parent: &'a str,
    rule: &'a str,
    resource: &'a [u8],
}

impl<'a> Body<'a> {
    /// Reads the bytes of a body: any bytes give a record or say why they are none.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut rest = Bytes(bytes);
        if rest.byte()? != VERSION {
            return Err(Malformed("a version of the format that this program does not know"));
        }
        let phase = phase_of(rest.byte()?)?;
        let verdict = verdict_of(rest.byte()?)?;
        let outcome = outcome_of(rest.byte()?, i32::from_le_bytes(rest.array()?))?;
        let mut fixed = Fixed {
            phase,
            verdict,
            outcome,
            sequence: u64::from_le_bytes(rest.array()?),
            wall_ns: u64::from_le_bytes(rest.array()?),
            monotonic_ns: u64::from_le_bytes(rest.array()?),
            boot_id: rest.array()?,
            epoch: u32::from_le_bytes(rest.array()?),
            action: u16::from_le_bytes(rest.array()?),
            flags: rest.byte()?,
            bytes: u64::from_le_bytes(rest.array()?),
            duration_ns: u64::from_le_bytes(rest.array()?),
            intent: u64::from_le_bytes(rest.array()?),
            trace: [0; TRACE_BYTES],
            enforcement: u32::from_le_bytes(rest.array()?),
        };
        if fixed.flags & !(FLAG_CUT | FLAG_TRACE | FLAG_REDACTED) != 0 {
            return Err(Malformed("flags that mean nothing"));
        }
        let [principal, parent, rule] = [rest.byte()?, rest.byte()?, rest.byte()?].map(usize::from);
        let resource = usize::from(u16::from_le_bytes(rest.array()?));
        if fixed.flags & FLAG_TRACE != 0 {
            fixed.trace = rest.array()?;
            if fixed.trace == [0; TRACE_BYTES] {
                return Err(Malformed("a trace id that is none"));
            }
        }
        let body = Self {
            fixed,
            principal: rest.text(principal, PRINCIPAL_BYTES)?,
            parent: rest.text(parent, PRINCIPAL_BYTES)?,
            rule: rest.text(rule, RULE_BYTES)?,
            resource: rest.slice(resource, RESOURCE_BYTES)?,
        };
        if rest.0.is_empty() { Ok(body) } else { Err(Malformed("more bytes than its fields")) }
    }

    pub(super) fn sequence(&self) -> u64 {
        self.fixed.sequence
    }

    pub(super) fn wall_ns(&self) -> u64 {
        self.fixed.wall_ns
    }

    /// Whether a record is wanted.
    pub(super) fn matches(&self, query: &Query) -> bool {
        query.since_ns.is_none_or(|since_ns| self.fixed.wall_ns >= since_ns)
            && query.until_ns.is_none_or(|until_ns| self.fixed.wall_ns < until_ns)
            && query.action.is_none_or(|action| self.fixed.action == action as u16)
            && query.verdict.is_none_or(|verdict| self.fixed.verdict == verdict)
            && query.trace.is_none_or(|trace| self.fixed.trace == trace)
            && query.principal.as_ref().is_none_or(|principal| self.principal == principal)
            && query.resource_prefix.as_ref().is_none_or(|prefix| self.names(prefix))
    }

    /// Whether one of the names in the resource begins like this.
    fn names(&self, prefix: &[u8]) -> bool {
        let two = Action::from_number(self.fixed.action).is_some_and(has_two);
        let mut others = self.resource.split(|byte| *byte == 0).skip(1);
        self.resource.starts_with(prefix) || (two && others.any(|name| name.starts_with(prefix)))
    }

    pub(super) fn to_record(self) -> Record {
        Record {
            fixed: self.fixed,
            principal: self.principal.into(),
            parent: self.parent.into(),
            rule: self.rule.into(),
            resource: self.resource.into(),
        }
    }
}

/// Whether the resource of an action may be two names, with a NUL between them. In that of any other a NUL is what was asked for.
fn has_two(action: Action) -> bool {
    use Action::*;
    matches!(
        action,
        FsRename
            | FsHardLink
            | FsSymlink
            | FsCopy
            | NetConnect
            | NetSend
            | NetAccept
            | NetClose
            | NetTls
            | NetHttp
    )
}

/// What a log adds to an event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stamp {
    pub(super) sequence: u64,
    pub(super) wall_ns: u64,
    pub(super) monotonic_ns: u64,
    pub(super) boot_id: [u8; 16],
}

/// An event whose texts are cut to what a record holds: its length is known and nothing can fail any more.
pub(super) struct Draft<'a> {
    event: Event<'a>,
    flags: u8,
}

impl<'a> Draft<'a> {
    /// Makes a draft; `redacted` says that the resource is not the one that was asked for.
    pub(super) fn new(event: &Event<'a>, redacted: bool) -> Self {
        let principal = cut_text(event.principal, PRINCIPAL_BYTES);
        let rule = cut_text(event.rule, RULE_BYTES);
        let resource = event.resource.get(..RESOURCE_BYTES).unwrap_or(event.resource);
        let cut = principal.len() < event.principal.len()
            || rule.len() < event.rule.len()
            || resource.len() < event.resource.len();
        let traced = event.trace != [0; TRACE_BYTES];
        let flags = [(cut, FLAG_CUT), (traced, FLAG_TRACE), (redacted, FLAG_REDACTED)];
        let flags = flags.iter().map(|(set, flag)| if *set { *flag } else { 0 }).sum();
        Self { event: Event { principal, rule, resource, ..*event }, flags }
    }

    /// The length of what [`encode`](Self::encode) appends.
    pub(super) fn body_bytes(&self) -> usize {
        let Event { principal, rule, resource, .. } = self.event;
        let trace = if self.flags & FLAG_TRACE != 0 { TRACE_BYTES } else { 0 };
        FIXED_BYTES + trace + principal.len() + rule.len() + resource.len()
    }

    /// Appends the body.
    pub(super) fn encode(&self, stamp: &Stamp, out: &mut Vec<u8>) {
        let event = &self.event;
        let (outcome, errno) = match event.outcome {
            Outcome::Pending => (0, 0),
            Outcome::Success => (1, 0),
            Outcome::Denied => (2, 0),
            Outcome::Failed(errno) => (3, errno),
            Outcome::Cancelled => (4, 0),
        };
        out.extend_from_slice(&[VERSION, event.phase as u8, event.verdict as u8, outcome]);
        out.extend_from_slice(&errno.to_le_bytes());
        out.extend_from_slice(&stamp.sequence.to_le_bytes());
        out.extend_from_slice(&stamp.wall_ns.to_le_bytes());
        out.extend_from_slice(&stamp.monotonic_ns.to_le_bytes());
        out.extend_from_slice(&stamp.boot_id);
        out.extend_from_slice(&event.epoch.to_le_bytes());
        out.extend_from_slice(&(event.action as u16).to_le_bytes());
        out.push(self.flags);
        out.extend_from_slice(&event.bytes.to_le_bytes());
        out.extend_from_slice(&event.duration_ns.to_le_bytes());
        out.extend_from_slice(&event.intent.to_le_bytes());
        // No event carries an enforcement mask or a parent principal yet; the format has room for both.
        out.extend_from_slice(&0_u32.to_le_bytes());
        // The limits hold (`new`), so no length is cut here.
        out.extend_from_slice(&[event.principal.len() as u8, 0, event.rule.len() as u8]);
        out.extend_from_slice(&(event.resource.len() as u16).to_le_bytes());
        if self.flags & FLAG_TRACE != 0 {
            out.extend_from_slice(&event.trace);
        }
        out.extend_from_slice(event.principal.as_bytes());
        out.extend_from_slice(event.rule.as_bytes());
        out.extend_from_slice(event.resource);
    }
}

/// Why some bytes are not what they should be. Completes "it has …".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fixed {
    phase: Phase,
    verdict: Verdict,
    outcome: Outcome,
    sequence: u64,
    wall_ns: u64,
    monotonic_ns: u64,
    boot_id: [u8; 16],
    epoch: u32,
    action: u16,
    flags: u8,
    bytes: u64,
    duration_ns: u64,
    intent: u64,
    trace: [u8; TRACE_BYTES],
    enforcement: u32,
}

/// What is left of a body.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*array)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn slice(&mut self, bytes: usize, limit_bytes: usize) -> Result<&'a [u8], Malformed> {
        if bytes > limit_bytes {
            return Err(Malformed("a field longer than its limit"));
        }
        let (slice, rest) = self.0.split_at_checked(bytes).ok_or(SHORT)?;
        self.0 = rest;
        Ok(slice)
    }

    fn text(&mut self, bytes: usize, limit_bytes: usize) -> Result<&'a str, Malformed> {
        str::from_utf8(self.slice(bytes, limit_bytes)?).map_err(|_| Malformed("a text that is not UTF-8"))
    }
}

const SHORT: Malformed = Malformed("fewer bytes than its fields");

fn phase_of(number: u8) -> Result<Phase, Malformed> {
    match number {
        1 => Ok(Phase::Intent),
        2 => Ok(Phase::Done),
        _ => Err(Malformed("a phase that does not exist")),
    }
}

fn verdict_of(number: u8) -> Result<Verdict, Malformed> {
    match number {
        1 => Ok(Verdict::Allow),
        2 => Ok(Verdict::Deny),
        3 => Ok(Verdict::WouldDeny),
        _ => Err(Malformed("a verdict that does not exist")),
    }
}

fn outcome_of(number: u8, errno: i32) -> Result<Outcome, Malformed> {
    match (number, errno) {
        (0, 0) => Ok(Outcome::Pending),
        (1, 0) => Ok(Outcome::Success),
        (2, 0) => Ok(Outcome::Denied),
        (3, errno) => Ok(Outcome::Failed(errno)),
        (4, 0) => Ok(Outcome::Cancelled),
        _ => Err(Malformed("an outcome that does not exist")),
    }
}

fn cut_text(text: &str, limit_bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(limit_bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
