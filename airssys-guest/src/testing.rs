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

use std::{marker::PhantomData, rc::Rc};

use crate::{
    Message,
    host::memory::{World, world},
    log::Level,
};

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
        world(|world| world.timers.remove(name))
    }

    /// Lets `answer` answer the calls to an actor: subject and payload in, the answer out.
    pub fn answer(&self, actor: &str, answer: impl Fn(&str, &[u8]) -> Option<Vec<u8>> + 'static) {
        world(|world| world.answerers.insert(actor.to_owned(), Rc::new(answer)));
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
