//! One message that was given up, as a line of the file.

use airssys_wasm::{DeadLetter, Digest};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::report::hex;

/// The largest payload that is kept, in bytes; of a larger one, only its digest is. A component takes no larger ones, unless
/// its manifest says so.
const KEPT_BYTES: usize = 1 << 20;

/// The longest reason that is kept, in bytes: some of it is a guest's own words.
const REASON_BYTES: usize = 4096;

/// A message that was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    /// Its number in its system, never used again.
    pub(crate) number: u64,
    /// When it was kept, as RFC 3339 says.
    pub(crate) time: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) subject: String,
    /// What its payload is, as its sender said; empty where it said nothing.
    pub(crate) content_type: String,
    /// Whether it was published.
    pub(crate) is_published: bool,
    pub(crate) reason: String,
    /// How often its receiver was given it.
    pub(crate) tries: u32,
    pub(crate) trace: [u8; 16],
    /// How long its payload is.
    pub(crate) bytes: usize,
    /// The payload's SHA-256.
    pub(crate) digest: String,
    /// None where it was too large to be kept.
    pub(crate) payload: Option<Vec<u8>>,
}

impl Letter {
    /// A letter whose time and digest are still to be filled in, unless its payload is not kept: then only this sees it.
    pub(super) fn draft(number: u64, letter: &DeadLetter<'_>) -> Self {
        let mut reason = letter.reason.to_string();
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        let payload = (letter.payload.len() <= KEPT_BYTES).then(|| letter.payload.to_vec());
        let digest = match payload {
            Some(_) => String::new(),
            None => Digest::of(letter.payload).to_string(),
        };
        Self {
            number,
            time: String::new(),
            from: letter.sender.to_owned(),
            to: letter.component.to_owned(),
            subject: letter.subject.to_owned(),
            content_type: letter.content_type.to_owned(),
            is_published: letter.is_published,
            reason,
            tries: letter.deliveries,
            trace: letter.trace,
            bytes: letter.payload.len(),
            digest,
            payload,
        }
    }

    pub(super) fn complete(&mut self, time: String) {
        self.time = time;
        if let Some(payload) = &self.payload {
            self.digest = Digest::of(payload).to_string();
        }
    }

    /// About how many bytes it holds.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>()
            + self.payload.as_ref().map_or(0, Vec::len)
            + self.subject.len()
            + self.content_type.len()
            + self.reason.len()
            + self.from.len()
            + self.to.len()
    }

    /// All but the payload.
    pub(crate) fn envelope(&self) -> Value {
        json!({
            "letter": self.number,
            "time": self.time,
            "from": self.from,
            "to": self.to,
            "subject": self.subject,
            "content_type": self.content_type,
            "published": self.is_published,
            "reason": self.reason,
            "tries": self.tries,
            "trace": hex(&self.trace),
            "bytes": self.bytes,
            "digest": self.digest,
        })
    }

    /// All of it. A payload that is text stands there as text.
    pub(crate) fn json(&self) -> Value {
        let mut value = self.envelope();
        let Some((payload, fields)) = self.payload.as_ref().zip(value.as_object_mut()) else { return value };
        match self.text() {
            Some(text) => fields.insert("payload".to_owned(), text.into()),
            None => fields.insert("payload_base64".to_owned(), BASE64_STANDARD.encode(payload).into()),
        };
        value
    }

    /// Its payload, where that is text that a person can read.
    pub(crate) fn text(&self) -> Option<&str> {
        let text = str::from_utf8(self.payload.as_deref()?).ok()?;
        let is_readable =
            |character: char| !character.is_control() || matches!(character, '\n' | '\r' | '\t');
        text.chars().all(is_readable).then_some(text)
    }

    /// Reads what [`json`](Self::json) gives. None where that is not it, or where the payload is not what the digest says.
    pub(super) fn from_json(value: &Value) -> Option<Self> {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let payload = match (text("payload"), text("payload_base64")) {
            (Some(text), _) => Some(text.into_bytes()),
            (None, Some(encoded)) => Some(BASE64_STANDARD.decode(encoded).ok()?),
            (None, None) => None,
        };
        let letter = Self {
            number: number("letter")?,
            time: text("time")?,
            from: text("from")?,
            to: text("to")?,
            subject: text("subject")?,
            // Letters of versions before these two were written have neither.
            content_type: text("content_type").unwrap_or_default(),
            is_published: value.get("published").and_then(Value::as_bool).unwrap_or_default(),
            reason: text("reason")?,
            tries: number("tries")?.try_into().ok()?,
            trace: u128::from_str_radix(&text("trace")?, 16).ok()?.to_be_bytes(),
            bytes: number("bytes")?.try_into().ok()?,
            digest: text("digest")?,
            payload,
        };
        let is_sound = |payload: &Vec<u8>| Digest::of(payload).to_string() == letter.digest;
        letter.payload.as_ref().is_none_or(is_sound).then_some(letter)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn letter(number: u64, payload: &[u8]) -> Letter {
        let reason = "it crashed";
        let dead = DeadLetter {
            component: "b",
            sender: "a",
            subject: "s\u{1b}",
            content_type: "text/plain",
            is_published: true,
            payload,
            deliveries: 3,
            trace: [7; 16],
            reason: &reason,
        };
        let mut letter = Letter::draft(number, &dead);
        letter.complete("2026-11-23T03:20:00Z".to_owned());
        letter
    }

    #[test]
    fn a_letter_is_the_same_after_it_was_written() {
        let check = |payload: &[u8], key: Option<&str>| {
            let letter = letter(3, payload);
            let value = letter.json();
            let keys = ["payload", "payload_base64"].into_iter().filter(|key| value.get(key).is_some());
            assert_eq!(keys.collect::<Vec<_>>(), key.into_iter().collect::<Vec<_>>(), "{value}");
            assert_eq!(Letter::from_json(&value), Some(letter));
        };
        check(b"", Some("payload"));
        check("zwei\nZeilen: ü".as_bytes(), Some("payload"));
        check(b"\x1b[2J", Some("payload_base64"));
        check(b"\xff\x00", Some("payload_base64"));
        check(&vec![b'x'; KEPT_BYTES], Some("payload"));
        check(&vec![b'x'; KEPT_BYTES + 1], None);
    }

    #[test]
    fn what_was_changed_is_no_letter() {
        let mut value = letter(3, b"five").json();
        value["payload"] = "six".into();
        assert_eq!(Letter::from_json(&value), None);
        assert_eq!(Letter::from_json(&json!({"letter": 3})), None);
    }
}
