//! Makes records of the lines of an access log.
//!
//! The part `parser` of the logwatch example: one message with a line in, one message with a record out.

use airssys_guest::{Actor, Config, Error, Message, send};
use logwatch::{Record, subject};

mod clf;
mod time;
mod url;

/// Who gets the records where the manifest does not say.
const DEFAULT_RECEIVER: &str = "stats";

/// Parses `line` messages.
struct Parser {
    to: String,
    // Kept from line to line, so that a line costs no allocation.
    scratch: url::Scratch,
    payload: Vec<u8>,
}

airssys_guest::export!(Parser);

impl Actor for Parser {
    fn init(config: &Config) -> Result<Self, Error> {
        config.allow(&["to"])?;
        let to = config.text("to").unwrap_or(DEFAULT_RECEIVER).to_owned();
        Ok(Self { to, scratch: url::Scratch::default(), payload: Vec::new() })
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        if message.subject != subject::LINE {
            return Err(format!("no such message: `{}`", message.subject).into());
        }
        match clf::parse(&message.payload) {
            None => send(&self.to, subject::MALFORMED, &[])?,
            Some(line) => {
                let target = self.scratch.take_apart(line.target);
                let record = Record {
                    time: line.time,
                    bytes: line.bytes,
                    status: line.status,
                    suspicious: target.suspicious,
                    method: line.method,
                    path: target.path,
                    client: line.client,
                };
                record.encode(&mut self.payload);
                send(&self.to, subject::RECORD, &self.payload)?;
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_guest::testing::Host;

    fn parse(line: &str) -> Vec<(String, String, Vec<u8>)> {
        let host = Host::new();
        let mut parser = Parser::init(&Config::default()).unwrap();
        assert_eq!(parser.handle(Host::message("reader", "line", line.as_bytes())).unwrap(), None);
        host.take_sent()
    }

    #[test]
    fn a_line_becomes_a_record() {
        let line =
            r#"203.0.113.7 - - [22/Nov/2026:10:00:00 +0100] "GET /a%20b?q=%2e%2e/ HTTP/1.1" 200 512 "-" "x""#;
        let [(to, subject, payload)] = parse(line).try_into().unwrap();
        assert_eq!((to.as_str(), subject.as_str()), ("stats", "record"));
        let expected = Record {
            time: 1_795_338_000,
            bytes: 512,
            status: 200,
            suspicious: true,
            method: b"GET",
            path: b"/a b",
            client: b"203.0.113.7",
        };
        assert_eq!(Record::decode(&payload), Some(expected));
    }

    #[test]
    fn what_is_no_line_of_a_log_is_told_so() {
        let [(_, subject, payload)] = parse("hello").try_into().unwrap();
        assert_eq!((subject.as_str(), payload.as_slice()), ("malformed", &[][..]));
    }

    #[test]
    #[should_panic(expected = "index out of bounds")]
    fn the_poison_line_crashes_it() {
        parse(r#"203.0.113.7 - - [22/Nov/2026:10:00:00 +0000] "GET /search?q=100% HTTP/1.1" 200 5 "-" "x""#);
    }

    #[test]
    fn a_message_that_it_does_not_know_is_an_error() {
        let mut parser = Parser::init(&Config::default()).unwrap();
        assert!(parser.handle(Host::message("reader", "lines", b"")).is_err());
    }
}
