//! A host made of memory, one for each thread: what a native build runs against.
//!
//! It grants nothing and answers nothing until a test says otherwise through [`testing`](crate::testing).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use crate::{
    http::{Request, Response},
    log::Level,
};

thread_local! {
    static WORLD: RefCell<World> = RefCell::default();
}

/// Answers a call to an actor: its subject and payload in, the answer out; `None` is a receiver that has none.
pub(crate) type Answerer = Rc<dyn Fn(&str, &[u8]) -> Option<Vec<u8>>>;

/// Answers requests over HTTP to one host.
pub(crate) type Server = Rc<dyn Fn(&Request) -> Response>;

/// All that the host of this thread has and has seen.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) sent: Vec<(String, String, Vec<u8>)>,
    pub(crate) logged: Vec<(Level, String)>,
    pub(crate) timers: BTreeMap<String, Timer>,
    /// How many timers were armed so far.
    pub(crate) armed: u64,
    /// How long it has been there, as its clocks tell.
    pub(crate) age: Duration,
    /// What the wall clock said when it began.
    pub(crate) began: Duration,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) answerers: BTreeMap<String, Answerer>,
    pub(crate) directories: BTreeSet<String>,
    pub(crate) files: BTreeMap<String, Node>,
    pub(crate) buckets: BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    /// The addresses that somebody listens at.
    pub(crate) listeners: BTreeSet<SocketAddr>,
    /// Who answers requests over HTTP, by what stands for it in a URL.
    pub(crate) servers: BTreeMap<String, Server>,
    /// The topics that are granted.
    pub(crate) topics: BTreeSet<String>,
    pub(crate) published: Vec<(String, Vec<u8>)>,
    pub(crate) subscriptions: BTreeSet<String>,
    /// Who waits to be answered later.
    pub(crate) waiting: BTreeSet<u64>,
    pub(crate) answers: Vec<(u64, Option<Vec<u8>>)>,
    pub(crate) context: Context,
    callers: u64,
    nodes: u64,
}

/// What a test says that the actor may know.
#[derive(Clone, Default)]
pub(crate) struct Context {
    pub(crate) name: String,
    pub(crate) content_type: String,
    pub(crate) remaining: Option<Duration>,
    pub(crate) trace: String,
}

/// A timer that is armed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timer {
    pub(crate) delay_ms: u64,
    /// When it is due, by the age of the host; of two at once, the one that was armed first.
    pub(crate) due: (Duration, u64),
}

/// A file: what it holds, and which one it is.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) identity: u64,
    pub(crate) content: Rc<RefCell<Vec<u8>>>,
}

impl World {
    /// Whether a grant names the topic, or all that the pattern selects.
    fn grants_topic(&self, text: &str) -> bool {
        let names = |grant: &String| match grant.strip_suffix('>') {
            Some(above) => text.starts_with(above),
            None => text == grant,
        };
        self.topics.iter().any(names)
    }

    /// Makes a file that no file has been before.
    pub(crate) fn new_node(&mut self, content: Vec<u8>) -> Node {
        self.nodes += 1;
        Node { identity: self.nodes, content: Rc::new(RefCell::new(content)) }
    }
}

/// Runs `act` on the host of this thread.
pub(crate) fn world<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(act)
}

pub(crate) mod imports {
    //! The same functions as those of a component's host.

    use std::{
        cell::RefCell,
        collections::BTreeMap,
        hash::{BuildHasher as _, RandomState},
        net::SocketAddr,
        rc::Rc,
        time::Duration,
    };

    use super::{Timer, world};
    use crate::{
        ErrorKind,
        fs::{Identity, Kind},
        host::{Failure, Purpose, Refusal},
        http::{Parts, Request, Response},
        log::Level,
    };

    /// A bucket, by its name.
    pub(crate) struct Bucket(String);

    impl Bucket {
        pub(crate) fn open(name: &str) -> Result<Self, Refusal> {
            let bucket = Self(name.to_owned());
            bucket.with(|_| ()).map(|()| bucket)
        }

        pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
            self.with(|values| values.get(key).cloned())
        }

        pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), Refusal> {
            self.with(|values| values.insert(key.to_owned(), value.to_vec())).map(|_| ())
        }

        pub(crate) fn delete(&self, key: &str) -> Result<(), Refusal> {
            self.with(|values| values.remove(key)).map(|_| ())
        }

        pub(crate) fn exists(&self, key: &str) -> Result<bool, Refusal> {
            self.with(|values| values.contains_key(key))
        }

        pub(crate) fn keys(&self, _: Option<&str>) -> Result<(Vec<String>, Option<String>), Refusal> {
            self.with(|values| (values.keys().cloned().collect(), None))
        }

        pub(crate) fn add(&self, key: &str, delta: i64) -> Result<i64, Refusal> {
            let value = self.get(key)?.unwrap_or_else(|| b"0".to_vec());
            let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse::<i64>().ok());
            let sum = number.and_then(|number| number.checked_add(delta));
            let sum = sum.ok_or_else(|| Refusal(ErrorKind::Io, "no number, or none that fits".to_owned()))?;
            self.set(key, sum.to_string().as_bytes()).map(|()| sum)
        }

        pub(crate) fn swap(
            &self,
            key: &str,
            change: impl FnOnce(Option<&[u8]>) -> Vec<u8>,
        ) -> Result<bool, Refusal> {
            let value = self.get(key)?;
            self.set(key, &change(value.as_deref())).map(|()| true)
        }

        fn with<T>(&self, act: impl FnOnce(&mut BTreeMap<String, Vec<u8>>) -> T) -> Result<T, Refusal> {
            let done = world(|world| world.buckets.get_mut(&self.0).map(act));
            done.ok_or_else(|| Refusal(ErrorKind::Denied, String::new()))
        }
    }

    /// As many as a component's host allows.
    const SUBSCRIPTIONS: usize = 64;
    const CALLERS: usize = 1024;

    const DENIED: Failure = Failure(ErrorKind::Denied, "not granted");
    const NO_ENTRY: Failure = Failure(ErrorKind::NotFound, "no such file");

    pub(crate) fn send(to: &str, subject: &str, payload: &[u8]) -> Result<(), Failure> {
        world(|world| world.sent.push((to.to_owned(), subject.to_owned(), payload.to_vec())));
        Ok(())
    }

    pub(crate) fn call(
        to: &str,
        subject: &str,
        payload: &[u8],
        _timeout_ms: u32,
    ) -> Result<Vec<u8>, Failure> {
        // Cloned out of the borrow, so that the answer may itself use the host.
        let answerer = world(|world| world.answerers.get(to).cloned());
        let answerer = answerer.ok_or(Failure(ErrorKind::NotFound, "no such actor"))?;
        answerer(subject, payload).ok_or(Failure(ErrorKind::Invalid, "the receiver gives no answer to it"))
    }

    pub(crate) fn send_typed(to: &str, subject: &str, _: &str, payload: &[u8]) -> Result<(), Failure> {
        send(to, subject, payload)
    }

    pub(crate) fn call_typed(
        to: &str,
        subject: &str,
        _: &str,
        payload: &[u8],
        timeout_ms: u32,
    ) -> Result<Vec<u8>, Failure> {
        call(to, subject, payload, timeout_ms)
    }

    pub(crate) fn publish(topic: &str, _: &str, payload: &[u8]) -> Result<(), Failure> {
        world(|world| {
            if !world.grants_topic(topic) {
                return Err(DENIED);
            }
            world.published.push((topic.to_owned(), payload.to_vec()));
            Ok(())
        })
    }

    pub(crate) fn subscribe(pattern: &str) -> Result<(), Failure> {
        world(|world| {
            if !world.grants_topic(pattern) {
                return Err(DENIED);
            }
            if world.subscriptions.len() >= SUBSCRIPTIONS && !world.subscriptions.contains(pattern) {
                return Err(Failure(ErrorKind::LimitExceeded, "it subscribes to too many patterns already"));
            }
            world.subscriptions.insert(pattern.to_owned());
            Ok(())
        })
    }

    pub(crate) fn unsubscribe(pattern: &str) -> bool {
        world(|world| world.subscriptions.remove(pattern))
    }

    pub(crate) fn later() -> Result<u64, Failure> {
        world(|world| {
            if world.waiting.len() >= CALLERS {
                return Err(Failure(ErrorKind::LimitExceeded, "too many callers wait already"));
            }
            world.callers += 1;
            world.waiting.insert(world.callers);
            Ok(world.callers)
        })
    }

    pub(crate) fn answer(number: u64, payload: Option<&[u8]>) -> Result<(), Failure> {
        world(|world| {
            if !world.waiting.remove(&number) {
                return Err(Failure(ErrorKind::NotFound, "nobody waits by this number"));
            }
            world.answers.push((number, payload.map(<[u8]>::to_vec)));
            Ok(())
        })
    }

    pub(crate) fn name() -> String {
        world(|world| world.context.name.clone())
    }

    pub(crate) fn content_type() -> String {
        world(|world| world.context.content_type.clone())
    }

    pub(crate) fn remaining_ms() -> Option<u64> {
        let remaining = world(|world| world.context.remaining);
        remaining.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn trace() -> String {
        world(|world| world.context.trace.clone())
    }

    pub(crate) fn random_bytes(count: u64) -> Vec<u8> {
        (0..count.div_ceil(8)).flat_map(|_| random_u64().to_le_bytes()).take(count as usize).collect()
    }

    /// As random as what the standard library seeds its tables with.
    pub(crate) fn random_u64() -> u64 {
        RandomState::new().hash_one(())
    }

    pub(crate) fn timer_set(name: &str, delay_ms: u64) {
        world(|world| {
            world.armed += 1;
            let due = (world.age.saturating_add(Duration::from_millis(delay_ms)), world.armed);
            world.timers.insert(name.to_owned(), Timer { delay_ms, due });
        });
    }

    pub(crate) fn timer_cancel(name: &str) -> bool {
        world(|world| world.timers.remove(name).is_some())
    }

    pub(crate) fn log(level: Level, text: &str) {
        world(|world| world.logged.push((level, text.to_owned())));
    }

    pub(crate) fn monotonic_ns() -> u64 {
        u64::try_from(world(|world| world.age).as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall() -> Duration {
        world(|world| world.began.saturating_add(world.age))
    }

    pub(crate) fn environment() -> Vec<(String, String)> {
        world(|world| world.environment.clone()).into_iter().collect()
    }

    pub(crate) fn connect(address: SocketAddr) -> Result<(), Failure> {
        if world(|world| world.listeners.contains(&address)) { Ok(()) } else { Err(DENIED) }
    }

    pub(crate) fn exchange(request: &Request, parts: &Parts<'_>) -> Result<Response, Refusal> {
        // Cloned out of the borrow, so that the answer may itself use the host.
        let server = world(|world| world.servers.get(parts.authority).cloned());
        let response = server.ok_or_else(|| Refusal(ErrorKind::Denied, String::new()))?(request);
        match response.body.len() > request.limit {
            true => Err(Refusal(
                ErrorKind::LimitExceeded,
                format!("the answer is longer than {} bytes", request.limit),
            )),
            false => Ok(response),
        }
    }

    pub(crate) fn run(_program: &str, _arguments: &[String]) -> Result<u8, Failure> {
        Err(DENIED)
    }

    pub(crate) fn preopens() -> Vec<(Descriptor, String)> {
        let directories = world(|world| world.directories.clone());
        directories.into_iter().map(|path| (Descriptor::Directory(path.clone()), path)).collect()
    }

    /// An open file, or a directory by its path.
    #[derive(Debug)]
    pub(crate) enum Descriptor {
        Directory(String),
        File(Rc<RefCell<Vec<u8>>>),
    }

    impl Descriptor {
        pub(crate) fn open_at(&self, path: &str, purpose: Purpose) -> Result<Self, Failure> {
            let full = self.beneath(path)?;
            world(|world| match (world.files.get(&full), purpose) {
                (Some(node), Purpose::Read) => Ok(Self::File(node.content.clone())),
                (None, Purpose::Read) => Err(NO_ENTRY),
                (Some(node), Purpose::Replace) => {
                    node.content.borrow_mut().clear();
                    Ok(Self::File(node.content.clone()))
                }
                (None, Purpose::Replace) => {
                    let node = world.new_node(Vec::new());
                    world.files.insert(full, node.clone());
                    Ok(Self::File(node.content))
                }
            })
        }

        pub(crate) fn read(&self, length: u64, offset: u64) -> Result<Vec<u8>, Failure> {
            let content = self.file()?.borrow();
            let start = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            Ok(content.iter().skip(start).take(length).copied().collect())
        }

        pub(crate) fn read_whole(&self, path: &str, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
            let content = self.open_at(path, Purpose::Read)?.read(u64::MAX, 0)?;
            match content.len() as u64 > limit_bytes {
                true => Err(Failure(ErrorKind::LimitExceeded, "file-too-large")),
                false => Ok(content),
            }
        }

        /// Another file takes the name over: who has the old one open, reads that on.
        pub(crate) fn replace(&self, path: &str, content: &[u8], _flush: bool) -> Result<(), Failure> {
            let full = self.beneath(path)?;
            world(|world| {
                let node = world.new_node(content.to_vec());
                world.files.insert(full, node);
            });
            Ok(())
        }

        pub(crate) fn write(&self, bytes: &[u8], offset: u64) -> Result<u64, Failure> {
            let mut content = self.file()?.borrow_mut();
            let start = usize::try_from(offset).map_err(|_| Failure(ErrorKind::LimitExceeded, "too long"))?;
            let end = start.saturating_add(bytes.len()).min(content.len());
            let length = content.len().max(start);
            content.resize(length, 0);
            content.splice(start..end.max(start), bytes.iter().copied());
            Ok(bytes.len() as u64)
        }

        pub(crate) fn sync(&self) -> Result<(), Failure> {
            self.file().map(|_| ())
        }

        pub(crate) fn entries(&self) -> Result<Vec<(String, Kind)>, Failure> {
            let prefix = self.beneath("")?;
            Ok(world(|world| {
                let names = world.files.keys().filter_map(|path| path.strip_prefix(&prefix));
                names.filter(|name| !name.contains('/')).map(|name| (name.to_owned(), Kind::File)).collect()
            }))
        }

        pub(crate) fn stat_at(&self, path: &str) -> Result<(Kind, u64), Failure> {
            let full = self.beneath(path)?;
            let size = world(|world| world.files.get(&full).map(|node| node.content.borrow().len()));
            size.map(|size| (Kind::File, size as u64)).ok_or(NO_ENTRY)
        }

        pub(crate) fn identity_at(&self, path: &str) -> Result<Identity, Failure> {
            let full = self.beneath(path)?;
            world(|world| world.files.get(&full).map(|node| Identity(0, node.identity))).ok_or(NO_ENTRY)
        }

        pub(crate) fn rename_at(&self, from: &str, to: &str) -> Result<(), Failure> {
            let (from, to) = (self.beneath(from)?, self.beneath(to)?);
            let node = world(|world| world.files.remove(&from)).ok_or(NO_ENTRY)?;
            world(|world| world.files.insert(to, node));
            Ok(())
        }

        pub(crate) fn unlink_at(&self, path: &str) -> Result<(), Failure> {
            let full = self.beneath(path)?;
            world(|world| world.files.remove(&full)).map(|_| ()).ok_or(NO_ENTRY)
        }

        /// The full path of one in this directory, where it does not leave it.
        fn beneath(&self, path: &str) -> Result<String, Failure> {
            let Self::Directory(directory) = self else {
                return Err(Failure(ErrorKind::Invalid, "not a directory"));
            };
            if path.starts_with('/') || path.split('/').any(|part| part == "..") {
                return Err(DENIED);
            }
            Ok(format!("{directory}/{path}"))
        }

        fn file(&self) -> Result<&Rc<RefCell<Vec<u8>>>, Failure> {
            match self {
                Self::File(content) => Ok(content),
                Self::Directory(_) => Err(Failure(ErrorKind::Invalid, "is a directory")),
            }
        }
    }
}
