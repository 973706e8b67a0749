//! An actor that publishes, subscribes, answers later and tells what it knows, on demand: a message's subject is `VERB:OBJECT`,
//! and what has no colon is taken for something that was published. What it heard and who waits for it is its state.
//!
//! A test makes a version of it that crashes of its first message by changing the word in [`MODE`] in its bytes.

use std::{hint::black_box, time::Duration};

use airssys_guest::{
    Actor, Config, Error, Message, Pending, Stateful, Versions, context, json, later, random, topics,
};
use serde::{Deserialize, Serialize};

/// What this version does, after the colon: all is well in `good`.
static MODE: [u8; 16] = *b"talker-mode:good";

#[derive(Default, Serialize, Deserialize)]
struct Talker {
    /// What was published and arrived: who said it, under which topic, as what, and the content.
    heard: Vec<String>,
    /// Who waits, the longest first.
    waiting: Vec<u64>,
}

/// What two talkers say to each other.
#[derive(Serialize, Deserialize)]
struct Sum {
    numbers: Vec<i64>,
    total: Option<i64>,
}

airssys_guest::export!(Talker, stateful);

impl Actor for Talker {
    fn init(config: &Config) -> Result<Self, Error> {
        for pattern in config.text("subscribe").unwrap_or_default().split_whitespace() {
            topics::subscribe(pattern)?;
        }
        Ok(Self::default())
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        if is_mode(b"late") {
            trap();
        }
        let Some((verb, object)) = message.subject.split_once(':') else {
            self.hear(&message);
            return Ok(None);
        };
        let answer = match verb {
            "later" => return self.wait().map(|()| None),
            "later-twice" => return self.wait().and_then(|()| self.wait()).map(|()| None),
            "later-try" => outcome(later().map(Pending::keep)),
            "later-trap" => {
                later()?;
                trap()
            }
            "later-drop" => return later().map(drop).map(|()| None),
            "later-now" => return later()?.answer(b"at once").map(|()| Some(b"not this".to_vec())),
            "answer" => outcome(self.oldest()?.answer(&message.payload).map(|()| "answered")),
            "answer-trap" => {
                self.oldest()?.answer(&message.payload)?;
                trap()
            }
            "refuse" => outcome(self.oldest()?.refuse().map(|()| "refused")),
            "answer-number" => {
                outcome(Pending::resume(number(object)?).answer(&message.payload).map(|()| "answered"))
            }
            "answer-twice" => {
                let number = self.oldest()?.keep();
                Pending::resume(number).answer(b"first")?;
                outcome(Pending::resume(number).answer(b"second").map(|()| "answered"))
            }
            "waiting" => format!("{:?}", self.waiting),
            "trap" => trap(),
            "sum" => {
                let sum: Sum = json::read(&message)?;
                let total = Some(sum.numbers.iter().sum());
                return json::answer(&Sum { total, ..sum });
            }
            "ask-sum" => {
                let question = Sum { numbers: vec![1, 2, 39], total: None };
                let answer = json::call::<Sum>(object, "sum:", &question, Duration::from_secs(3600));
                outcome(answer.map(|sum| format!("{:?}", sum.total)))
            }
            "tell" => outcome(json::send(object, "told", &1).map(|()| "told")),
            "ask-context" => {
                let answer = json::call::<String>(object, "context:", &(), Duration::from_secs(3600));
                outcome(answer)
            }
            "context" => {
                let waits = context::remaining().map(|left| left > Duration::from_secs(60));
                let told = (context::name(), context::content_type(), waits, context::trace());
                return json::answer(&format!("{told:?}"));
            }
            "random" => format!("{} {}", random::bytes(5000).len(), random::number() != random::number()),
            _ => self.topic(verb, object, &message.payload)?,
        };
        Ok(Some(answer.into_bytes()))
    }
}

impl Talker {
    fn topic(&mut self, verb: &str, object: &str, payload: &[u8]) -> Result<String, Error> {
        Ok(match verb {
            "publish" => outcome(topics::publish(object, payload).map(|()| "published")),
            "publish-json" => outcome(json::publish(object, &"said").map(|()| "published")),
            "publish-trap" => {
                topics::publish(object, payload)?;
                trap()
            }
            "publish-many" => {
                (0..number(std::str::from_utf8(payload).unwrap_or_default())?)
                    .try_for_each(|number| topics::publish(object, number.to_string().as_bytes()))?;
                "published".to_owned()
            }
            "subscribe" => outcome(topics::subscribe(object).map(|()| "subscribed")),
            "subscribe-trap" => {
                topics::subscribe(object)?;
                trap()
            }
            "subscribe-many" => {
                let mut patterns = (0..number(object)?).map(|number| format!("many.{number}"));
                outcome(patterns.try_for_each(|pattern| topics::subscribe(&pattern)).map(|()| "subscribed"))
            }
            "unsubscribe" => topics::unsubscribe(object).to_string(),
            "heard" => std::mem::take(&mut self.heard).join(", "),
            _ => return Err(format!("`{verb}` means nothing here").into()),
        })
    }

    fn hear(&mut self, message: &Message) {
        let content = String::from_utf8_lossy(&message.payload);
        let Message { sender, subject, .. } = message;
        self.heard.push(format!("{sender} {subject} {}{content}", context::content_type()));
    }

    fn wait(&mut self) -> Result<(), Error> {
        self.waiting.push(later()?.keep());
        Ok(())
    }

    fn oldest(&mut self) -> Result<Pending, Error> {
        if self.waiting.is_empty() {
            return Err("nobody waits".into());
        }
        Ok(Pending::resume(self.waiting.remove(0)))
    }
}

impl Stateful for Talker {
    fn snapshot(&mut self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|cause| Error::new("no snapshot").caused_by(cause))
    }

    fn restore(&mut self, _: &Versions, snapshot: &[u8]) -> Result<(), Error> {
        *self = serde_json::from_slice(snapshot)
            .map_err(|cause| Error::new("this is no state of mine").caused_by(cause))?;
        Ok(())
    }
}

fn number(text: &str) -> Result<u64, Error> {
    text.parse().map_err(|cause| Error::new(format!("`{text}` is no number")).caused_by(cause))
}

/// How an attempt ended, as the answer: what it gave, or `KIND: …`.
fn outcome(result: Result<impl ToString, Error>) -> String {
    match result {
        Ok(value) => value.to_string(),
        Err(error) => format!("{:?}: {}", error.kind(), error.chain()),
    }
}

/// Read anew each time: the compiler is not to know it.
fn is_mode(mode: &[u8; 4]) -> bool {
    black_box(&MODE).ends_with(mode)
}

#[expect(clippy::panic, reason = "a version that crashes is what tests need")]
fn trap() -> ! {
    panic!("told to trap")
}

#[cfg(test)]
mod tests {
    use super::*;
    use airssys_guest::testing::Host;

    fn answer(talker: &mut Talker, subject: &str, payload: &[u8]) -> String {
        let answer = talker.handle(Host::message("test", subject, payload)).unwrap();
        String::from_utf8(answer.unwrap_or_default()).unwrap()
    }

    #[test]
    fn who_waits_is_in_its_state() {
        let host = Host::new();
        host.grant_topics("news.>");
        let mut talker = Talker::init(&Config::from_iter([("subscribe", "news.*")])).unwrap();
        assert_eq!(host.subscriptions(), ["news.*"]);
        assert_eq!(answer(&mut talker, "later:", b""), "");
        let state = talker.snapshot().unwrap();
        let versions = Versions { made_by: "old".to_owned(), taken_by: "new".to_owned() };
        let mut next = Talker::default();
        next.restore(&versions, &state).unwrap();
        assert!(host.take_answers().is_empty(), "the caller goes on waiting");
        assert_eq!(
            answer(&mut next, "answer-twice:", b""),
            "NotFound: cannot answer a caller that waited: nobody waits by this number"
        );
        assert_eq!(host.take_answers(), [(1, Some(b"first".to_vec()))]);
        assert!(next.restore(&versions, b"").is_err(), "empty");
    }

    #[test]
    fn it_hears_and_publishes_what_is_granted() {
        let host = Host::new();
        host.grant_topics("news.>");
        host.set_name("talker");
        host.set_context("text/plain", Some(Duration::from_secs(90)), "ab");
        let mut talker = Talker::default();
        assert_eq!(answer(&mut talker, "publish:news.eu", b"x"), "published");
        assert_eq!(
            answer(&mut talker, "publish:old.eu", b"x"),
            "Denied: cannot publish under `old.eu`: denied by policy"
        );
        assert_eq!(host.take_published(), [("news.eu".to_owned(), b"x".to_vec())]);
        assert_eq!(answer(&mut talker, "news.eu", b"y"), "");
        assert_eq!(answer(&mut talker, "heard:", b""), "test news.eu text/plainy");
        let context = r#""(\"talker\", \"text/plain\", Some(true), \"ab\")""#;
        assert_eq!(answer(&mut talker, "context:", b""), context);
        let sum = answer(&mut talker, "sum:", br#"{ "numbers": [1, 2], "total": null }"#);
        assert_eq!(sum, r#"{"numbers":[1,2],"total":3}"#);
        assert_eq!(answer(&mut talker, "random:", b""), "5000 true");
    }
}
