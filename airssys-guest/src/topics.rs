//! Messages to whoever wants them, by topic.
//!
//! A topic is tokens with dots between them, such as `orders.eu.created`. A pattern may have `*` in place of any one token, and
//! `>` at its end for one or more. `grants.publish` and `grants.subscribe` of the manifest say who may do what.
//!
//! ```
//! use airssys_guest::{Actor, Config, Error, Message, testing::Host, topics};
//!
//! struct Relay;
//!
//! impl Actor for Relay {
//!     fn init(_: &Config) -> Result<Self, Error> {
//!         topics::subscribe("orders.*.created")?;
//!         Ok(Relay)
//!     }
//!     fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
//!         topics::publish("seen", message.subject.as_bytes())?;
//!         Ok(None)
//!     }
//! }
//!
//! let host = Host::new();
//! host.grant_topics(">");
//! let mut relay = Relay::init(&Config::default()).unwrap();
//! assert_eq!(host.subscriptions(), ["orders.*.created"]);
//! relay.handle(Host::message("shop", "orders.eu.created", b"")).unwrap();
//! assert_eq!(host.take_published(), [("seen".to_owned(), b"orders.eu.created".to_vec())]);
//! ```

use crate::{Error, host};

/// Publishes a message under a topic. It leaves when the handler returns: a handler that crashes has published nothing.
///
/// Nobody waits for a subscriber: where its mailbox is full, its copy goes to the dead letters.
///
/// # Errors
///
/// * [`Denied`](crate::ErrorKind::Denied): the grants do not name the topic.
/// * [`Invalid`](crate::ErrorKind::Invalid): it is no topic.
pub fn publish(topic: &str, payload: &[u8]) -> Result<(), Error> {
    publish_typed(topic, "", payload)
}

/// As [`publish`], and says what the payload is: a media type of at most 256 bytes.
///
/// # Errors
///
/// Those of [`publish`], and [`LimitExceeded`](crate::ErrorKind::LimitExceeded): the content type is longer.
pub fn publish_typed(topic: &str, content_type: &str, payload: &[u8]) -> Result<(), Error> {
    host::publish(topic, content_type, payload)
        .map_err(|failure| failure.cannot(format_args!("publish under `{topic}`")))
}

/// Subscribes to what a pattern selects; once is enough. It holds from when the handler returns, and through crashes and
/// upgrades: the subscription is the component's.
///
/// # Errors
///
/// * [`Denied`](crate::ErrorKind::Denied): the grants do not name all that the pattern selects.
/// * [`Invalid`](crate::ErrorKind::Invalid): it is no pattern.
/// * [`LimitExceeded`](crate::ErrorKind::LimitExceeded): it subscribes to 64 already.
pub fn subscribe(pattern: &str) -> Result<(), Error> {
    host::subscribe(pattern).map_err(|failure| failure.cannot(format_args!("subscribe to `{pattern}`")))
}

/// Ends a subscription. False where there is none to this pattern.
pub fn unsubscribe(pattern: &str) -> bool {
    host::unsubscribe(pattern)
}
