//! A component's logic in a native test, with a host made of memory.
//!
//! The host belongs to the thread, as a component's host belongs to its instance: actors of one thread share it.
//!
//! ```
//! use airssys_guest::{Actor, Config, Error, Message, send, testing::Host};
//!
//! struct Echo;
//!
//! impl Actor for Echo {
//!     fn init(_: &Config) -> Result<Self, Error> {
//!         Ok(Echo)
//!     }
//!     fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
//!         send(&message.sender, "echo", &message.payload)?;
//!         Ok(None)
//!     }
//! }
//!
//! let host = Host::new();
//! let mut echo = Echo::init(&Config::default()).unwrap();
//! echo.handle(Host::message("alice", "say", b"hi")).unwrap();
//! assert_eq!(host.take_sent(), [("alice".to_owned(), "echo".to_owned(), b"hi".to_vec())]);
//! ```
//!
//! Time passes when the test says so:
//!
//! ```
//! use std::time::Duration;
//! use airssys_guest::{Actor, Config, Error, Message, clock, log, testing::Host, timers};
//!
//! struct Ticker;
//!
//! impl Actor for Ticker {
//!     fn init(_: &Config) -> Result<Self, Error> {
//!         timers::set("tick", Duration::from_secs(1));
//!         Ok(Ticker)
//!     }
//!     fn handle(&mut self, _: Message) -> Result<Option<Vec<u8>>, Error> {
//!         Ok(None)
//!     }
//!     fn timer(&mut self, name: &str) -> Result<(), Error> {
//!         log::info!("{name} at {:?}", clock::monotonic());
//!         timers::set(name, Duration::from_secs(1));
//!         Ok(())
//!     }
//! }
//!
//! let host = Host::new();
//! let mut ticker = Ticker::init(&Config::default()).unwrap();
//! host.advance(&mut ticker, Duration::from_millis(2500)).unwrap();
//! let logged: Vec<_> = host.take_logged().into_iter().map(|(_, line)| line).collect();
//! assert_eq!(logged, ["tick at 1s", "tick at 2s"]);
//! ```

use std::{marker::PhantomData, net::SocketAddr, rc::Rc, time::Duration};

use crate::{
    Actor, Error, Message,
    host::memory::{World, world},
    http::{Request, Response},
    log::Level,
};

/// How many timers come due at most while time passes once: an actor that arms one anew each time would go on for ever.
const TIMERS_AT_ONCE: usize = 100_000;

/// The host of this thread, as the test sees it. It grants nothing until told to.
#[derive(Debug)]
pub struct Host {
    /// It speaks for its thread only.
    not_send: PhantomData<Rc<()>>,
}

impl Host {
    /// Starts over with a host that has nothing and has seen nothing.
    #[expect(clippy::new_without_default, reason = "it resets the thread's host, which a default should not")]
    pub fn new() -> Self {
        world(|world| *world = World::default());
        Self { not_send: PhantomData }
    }

    /// Makes a message.
    pub fn message(sender: &str, subject: &str, payload: &[u8]) -> Message {
        Message { sender: sender.to_owned(), subject: subject.to_owned(), payload: payload.to_vec() }
    }

    /// Takes what was sent: receiver, subject, payload.
    pub fn take_sent(&self) -> Vec<(String, String, Vec<u8>)> {
        world(|world| std::mem::take(&mut world.sent))
    }

    /// Takes what was logged.
    pub fn take_logged(&self) -> Vec<(Level, String)> {
        world(|world| std::mem::take(&mut world.logged))
    }

    /// Disarms a timer and says what its delay was, in milliseconds.
    pub fn take_timer(&self, name: &str) -> Option<u64> {
        world(|world| world.timers.remove(name)).map(|timer| timer.delay_ms)
    }

    /// Lets `time` pass: the clocks go on, and the actor handles each timer that comes due, the earliest first, those
    /// among them that it arms on the way.
    ///
    /// # Errors
    ///
    /// The actor's own, which leaves the time where it was then; or [`Failed`](crate::ErrorKind::Failed): it arms timers
    /// without end.
    pub fn advance<A: Actor>(&self, actor: &mut A, time: Duration) -> Result<(), Error> {
        let end = world(|world| world.age.saturating_add(time));
        for _ in 0..TIMERS_AT_ONCE {
            let next = world(|world| {
                let due = world.timers.iter().filter(|(_, timer)| timer.due.0 <= end);
                let (name, timer) =
                    due.min_by_key(|(_, timer)| timer.due).map(|(name, timer)| (name.clone(), *timer))?;
                world.timers.remove(&name);
                world.age = world.age.max(timer.due.0);
                Some(name)
            });
            match next {
                Some(name) => actor.timer(&name)?,
                None => {
                    world(|world| world.age = end);
                    return Ok(());
                }
            }
        }
        Err(format!("more than {TIMERS_AT_ONCE} timers came due within {time:?}").into())
    }

    /// Sets the wall clock, as the time since 1970. Without it the host began in 1970.
    pub fn set_wall(&self, since_1970: Duration) {
        world(|world| world.began = since_1970.saturating_sub(world.age));
    }

    /// Grants a variable of the environment.
    pub fn set_env(&self, name: &str, value: &str) {
        world(|world| world.environment.insert(name.to_owned(), value.to_owned()));
    }

    /// Lets `answer` answer the calls to an actor: subject and payload in, the answer out.
    pub fn answer(&self, actor: &str, answer: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + 'static) {
        world(|world| world.answerers.insert(actor.to_owned(), Rc::new(answer)));
    }

    /// Grants to publish under a topic and to subscribe to it, or to all below one: `orders.>`.
    pub fn grant_topics(&self, topic: &str) {
        world(|world| world.topics.insert(topic.to_owned()));
    }

    /// Takes what was published: topic, payload.
    pub fn take_published(&self) -> Vec<(String, Vec<u8>)> {
        world(|world| std::mem::take(&mut world.published))
    }

    /// The patterns that are subscribed to.
    pub fn subscriptions(&self) -> Vec<String> {
        world(|world| world.subscriptions.iter().cloned().collect())
    }

    /// Takes the answers that were given later: whose, by the number that it waited by, and what. Callers have the numbers from
    /// 1 on. None is a caller that was told that there is no answer.
    pub fn take_answers(&self) -> Vec<(u64, Option<Vec<u8>>)> {
        world(|world| std::mem::take(&mut world.answers))
    }

    /// Sets what the actor is called.
    pub fn set_name(&self, name: &str) {
        world(|world| world.context.name = name.to_owned());
    }

    /// Sets what is known of the messages from now on: the content type, for how long their caller waits, and the trace.
    pub fn set_context(&self, content_type: &str, remaining: Option<Duration>, trace: &str) {
        world(|world| {
            let context = &mut world.context;
            (context.content_type, context.remaining) = (content_type.to_owned(), remaining);
            context.trace = trace.to_owned();
        });
    }

    /// Grants to connect to an address, where somebody listens.
    pub fn listen(&self, address: impl Into<SocketAddr>) {
        world(|world| world.listeners.insert(address.into()));
    }

    /// Grants requests over HTTP to a host, with its port where the URLs have one, and lets `answer` answer them.
    pub fn serve(&self, host: &str, answer: impl Fn(&Request) -> Response + 'static) {
        world(|world| world.servers.insert(host.to_owned(), Rc::new(answer)));
    }

    /// Grants a bucket, which is empty, to be read and written.
    pub fn grant_bucket(&self, name: &str) {
        world(|world| {
            world.buckets.entry(name.to_owned()).or_default();
        });
    }

    /// What a bucket holds under a key.
    pub fn value(&self, bucket: &str, key: &str) -> Option<Vec<u8>> {
        world(|world| world.buckets.get(bucket)?.get(key).cloned())
    }

    /// Grants a directory, without a slash at its end.
    pub fn grant_dir(&self, path: &str) {
        world(|world| world.directories.insert(path.to_owned()));
    }

    /// Puts a new file in the place of what is there, by its whole path.
    pub fn put_file(&self, path: &str, content: &[u8]) {
        world(|world| {
            let node = world.new_node(content.to_vec());
            world.files.insert(path.to_owned(), node);
        });
    }

    /// Adds to the end of a file. False where there is none.
    pub fn append_file(&self, path: &str, content: &[u8]) -> bool {
        world(|world| match world.files.get(path) {
            Some(node) => {
                node.content.borrow_mut().extend_from_slice(content);
                true
            }
            None => false,
        })
    }

    /// Replaces what a file holds; it stays the same file. False where there is none.
    pub fn rewrite_file(&self, path: &str, content: &[u8]) -> bool {
        world(|world| match world.files.get(path) {
            Some(node) => {
                node.content.replace(content.to_vec());
                true
            }
            None => false,
        })
    }

    /// Renames a file; it stays the same file. False where there is none.
    pub fn rename_file(&self, from: &str, to: &str) -> bool {
        world(|world| match world.files.remove(from) {
            Some(node) => world.files.insert(to.to_owned(), node).is_none(),
            None => false,
        })
    }

    /// Removes a file. False where there is none.
    pub fn remove_file(&self, path: &str) -> bool {
        world(|world| world.files.remove(path).is_some())
    }

    /// What a file holds.
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        world(|world| world.files.get(path).map(|node| node.content.borrow().clone()))
    }
}
