//! Typed messages, as JSON: whatever `serde` can write and read.
//!
//! ```
//! use airssys_guest::{Actor, Config, Error, Message, json, testing::Host};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Order {
//!     cents: u64,
//! }
//!
//! #[derive(Serialize)]
//! struct Total {
//!     cents: u64,
//! }
//!
//! #[derive(Default)]
//! struct Till(u64);
//!
//! impl Actor for Till {
//!     fn init(_: &Config) -> Result<Self, Error> {
//!         Ok(Till::default())
//!     }
//!     fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
//!         let order: Order = json::read(&message)?;
//!         self.0 += order.cents;
//!         json::answer(&Total { cents: self.0 })
//!     }
//! }
//!
//! Host::new();
//! let mut till = Till::default();
//! let answer = till.handle(Host::message("shop", "order", br#"{ "cents": 250 }"#)).unwrap();
//! assert_eq!(answer.as_deref(), Some(br#"{"cents":250}"#.as_slice()));
//! let error = till.handle(Host::message("shop", "order", b"250 cents")).unwrap_err();
//! assert_eq!(error.to_string(), "cannot read `order` of `shop`");
//! ```

use std::{fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};

use crate::{Error, ErrorKind, Message, Pending, messaging, topics};

/// What such a message says it is.
pub const CONTENT_TYPE: &str = "application/json";

/// Reads the content of a message.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid): it is something else.
pub fn read<T: DeserializeOwned>(message: &Message) -> Result<T, Error> {
    let Message { subject, sender, payload } = message;
    from(payload, format_args!("read `{subject}` of `{sender}`"))
}

/// Makes the answer of a handler.
///
/// # Errors
///
/// [`Invalid`](ErrorKind::Invalid): it cannot be written as JSON.
pub fn answer(value: &impl Serialize) -> Result<Option<Vec<u8>>, Error> {
    write(value).map(Some)
}

/// As [`send`](crate::send).
///
/// # Errors
///
/// Those of [`send`](crate::send), and [`Invalid`](ErrorKind::Invalid): it cannot be written as JSON.
pub fn send(to: &str, subject: &str, value: &impl Serialize) -> Result<(), Error> {
    messaging::send_typed(to, subject, CONTENT_TYPE, &write(value)?)
}

/// As [`call`](crate::call).
///
/// # Errors
///
/// Those of [`call`](crate::call), and [`Invalid`](ErrorKind::Invalid): the question cannot be written as JSON, or the answer is
/// something else.
pub fn call<A: DeserializeOwned>(
    to: &str,
    subject: &str,
    value: &impl Serialize,
    timeout: Duration,
) -> Result<A, Error> {
    let answer = messaging::call_typed(to, subject, CONTENT_TYPE, &write(value)?, timeout)?;
    from(&answer, format_args!("read what `{to}` answers to `{subject}`"))
}

/// As [`topics::publish`].
///
/// # Errors
///
/// Those of [`topics::publish`], and [`Invalid`](ErrorKind::Invalid): it cannot be written as JSON.
pub fn publish(topic: &str, value: &impl Serialize) -> Result<(), Error> {
    topics::publish_typed(topic, CONTENT_TYPE, &write(value)?)
}

impl Pending {
    /// As [`answer`](Self::answer), with a value.
    ///
    /// # Errors
    ///
    /// As there, and [`Invalid`](ErrorKind::Invalid): it cannot be written as JSON; the caller hears then that there is no
    /// answer.
    pub fn answer_json(self, value: &impl Serialize) -> Result<(), Error> {
        self.answer(&write(value)?)
    }
}

fn from<T: DeserializeOwned>(payload: &[u8], what: fmt::Arguments<'_>) -> Result<T, Error> {
    serde_json::from_slice(payload).map_err(|cause| Error::cannot(ErrorKind::Invalid, what).caused_by(cause))
}

fn write(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|cause| Error::cannot(ErrorKind::Invalid, "write the message as JSON").caused_by(cause))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Host;

    #[test]
    fn what_is_sent_is_written_and_what_is_answered_is_read() {
        let host = Host::new();
        host.grant_topics("a");
        host.answer("till", |_, question| (question == b"[1,2]").then(|| b"3".to_vec()));
        assert_eq!(call::<u64>("till", "add", &[1, 2], Duration::from_secs(1)).ok(), Some(3));
        let error = call::<String>("till", "add", &[1, 2], Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert_eq!(error.to_string(), "cannot read what `till` answers to `add`");
        send("till", "add", &Some("x")).unwrap();
        publish("a", &()).unwrap();
        assert_eq!(host.take_sent(), [("till".to_owned(), "add".to_owned(), b"\"x\"".to_vec())]);
        assert_eq!(host.take_published(), [("a".to_owned(), b"null".to_vec())]);
    }

    #[test]
    fn what_has_no_json_is_an_error_and_no_answer() {
        let host = Host::new();
        let unwritable = BTreeMap::from([([1, 2], ())]);
        assert_eq!(answer(&unwritable).unwrap_err().kind(), ErrorKind::Invalid);
        Host::message("a", "b", b"");
        let pending = crate::later().unwrap();
        let number = pending.number();
        assert!(pending.answer_json(&unwritable).is_err());
        assert_eq!(host.take_answers(), [(number, None)]);
    }
}
