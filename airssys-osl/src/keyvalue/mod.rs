//! Buckets of keys and values, in memory, that principals share.
//!
//! The program says which buckets there are ([`Os::provide_buckets`]); what they hold lives as long as the door, whoever
//! comes and goes meanwhile, and is gone with it. A grant names a bucket and lets it be read, written or both.
//!
//! ```
//! use airssys_osl::{Os, keyvalue::BucketLimits, policy::{Grant, Policy, Rights}, testing::MemorySink};
//!
//! let policy = Policy::builder()
//!     .principal("writer", [Grant::keyvalue("counts", Rights::READ | Rights::WRITE)])
//!     .principal("reader", [Grant::keyvalue("counts", Rights::READ)])
//!     .build()?;
//! let os = Os::new(policy, MemorySink::new());
//! os.provide_buckets([("counts", BucketLimits::default())]);
//!
//! os.principal("writer")?.bucket("counts")?.increment("visits", 2)?;
//! let counts = os.principal("reader")?.bucket("counts")?;
//! assert_eq!(counts.get("visits")?.as_deref(), Some(&b"2"[..]));
//! assert!(counts.set("visits", b"0").is_err());
//! # Ok::<(), airssys_osl::Error>(())
//! ```

mod table;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use self::table::{Refusal, Table};
use crate::{
    Action, Error, ErrorKind, Os, Principal,
    limits::BUCKET_KEY_BYTES,
    os::{Done, Fault, Name},
    policy::Resource,
    sys::errno,
};

/// What a bucket may hold. Keys have at most [`BUCKET_KEY_BYTES`] bytes and no NUL, whatever the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketLimits {
    /// The most keys.
    pub keys: usize,
    /// The largest value, in bytes.
    pub value_bytes: usize,
    /// All keys and values together, in bytes. What the table itself takes, about 200 bytes a key, comes on top.
    pub bytes: usize,
}

/// An open bucket. Each use is decided again, and recorded.
#[derive(Clone)]
pub struct Bucket {
    principal: Principal,
    name: Arc<str>,
    table: Arc<Mutex<Table>>,
}

/// Some of a bucket's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The keys, in the order in which they came into the bucket.
    pub keys: Vec<Arc<str>>,
    /// What to ask for next. None where there are no more.
    pub next: Option<u64>,
}

/// What is under a key, and which writing of it that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The value. None where there is no such key.
    pub value: Option<Arc<[u8]>>,
    /// What [`Bucket::swap`] compares.
    pub version: Version,
}

/// Which writing of a key somebody has seen; also that there was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(Option<u64>);

/// The buckets of a door.
#[derive(Debug, Default)]
pub(crate) struct Buckets(Mutex<HashMap<Box<str>, Arc<Mutex<Table>>>>);

impl Default for BucketLimits {
    fn default() -> Self {
        Self { keys: 65_536, value_bytes: 1 << 20, bytes: 64 << 20 }
    }
}

impl Os {
    /// Says which buckets there are. A bucket that was there before keeps what it holds, under its new limits: what is
    /// above them stays, and cannot grow. One that is not named any more is gone, and what it held with it, for those who
    /// have it open, too.
    pub fn provide_buckets<'a>(&self, buckets: impl IntoIterator<Item = (&'a str, BucketLimits)>) {
        let mut known = lock(&self.buckets().0);
        let mut before = std::mem::take(&mut *known);
        for (name, limits) in buckets {
            let table = match before.remove(name) {
                Some(table) => {
                    lock(&table).limits = limits;
                    table
                }
                None => Arc::new(Mutex::new(Table::new(limits))),
            };
            known.insert(name.into(), table);
        }
        before.into_values().for_each(|table| lock(&table).retire());
    }
}

impl Principal {
    /// Opens a bucket. Whoever may read it or write it may open it.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): no grant names it.
    /// * [`NotFound`](ErrorKind::NotFound): a grant does, but there is no such bucket.
    pub fn bucket(&self, name: &str) -> Result<Bucket, Error> {
        let standing = self.standing();
        let decision = standing.decide(Action::KeyvalueOpen, Resource::Name(name));
        let operation = self.operation(Action::KeyvalueOpen, shown(name).unwrap_or_default().as_bytes());
        let running = operation.begin(decision, standing.epoch)?;
        let table = lock(&self.os().buckets().0).get(name).map(Arc::clone);
        let table = table.map(Done::new).ok_or_else(|| Fault::errno(errno::NOT_FOUND));
        Ok(Bucket { principal: self.clone(), name: name.into(), table: running.finish(table)? })
    }
}

impl Bucket {
    /// The name, as in the policy and in the records.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value of a key.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): no grant lets the bucket be read.
    /// * [`NotFound`](ErrorKind::NotFound): it was taken away since it was opened ([`Os::provide_buckets`]).
    pub fn get(&self, key: &str) -> Result<Option<Arc<[u8]>>, Error> {
        self.read(key, |table| {
            let value = table.get(key).cloned();
            let bytes = value.as_ref().map_or(0, |value| value.len());
            Done::with_bytes(value, bytes)
        })
    }

    /// As [`get`](Self::get), with the version of what is there: for [`swap`](Self::swap).
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn reading(&self, key: &str) -> Result<Reading, Error> {
        self.read(key, |table| {
            let reading = Reading { value: table.get(key).cloned(), version: table.version(key) };
            let bytes = reading.value.as_ref().map_or(0, |value| value.len());
            Done::with_bytes(reading, bytes)
        })
    }

    /// Whether there is such a key.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        self.read(key, |table| Done::new(table.get(key).is_some()))
    }

    /// The keys behind what an earlier [`Page::next`] said, from the first with 0: at most
    /// [`BUCKET_PAGE_KEYS`](crate::limits::BUCKET_PAGE_KEYS). A key that is there from the first page to the last is in
    /// one of them. Any number will do: one that no page gave begins somewhere.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn keys(&self, after: u64) -> Result<Page, Error> {
        self.read("", |table| {
            let page = table.keys(after);
            let bytes = page.keys.iter().map(|key| key.len()).sum();
            Done::with_bytes(page, bytes)
        })
    }

    /// Puts a value under a key.
    ///
    /// # Errors
    ///
    /// Nothing has changed then.
    ///
    /// * [`Denied`](ErrorKind::Denied): no grant lets the bucket be written.
    /// * [`NotFound`](ErrorKind::NotFound): it was taken away since it was opened ([`Os::provide_buckets`]).
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): the key, the value or all together would be too large; the source
    ///   names the limit.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.write(key, |table| table.set(key, value).map(|()| Done::with_bytes((), value.len())))
    }

    /// Removes a key, and says whether there was one.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied) and [`NotFound`](ErrorKind::NotFound) as in [`set`](Self::set).
    pub fn delete(&self, key: &str) -> Result<bool, Error> {
        self.write(key, |table| Ok(Done::new(table.delete(key))))
    }

    /// Adds to a number, and gives the sum. Numbers are decimal digits; what is not there is zero. Nobody comes between.
    ///
    /// # Errors
    ///
    /// Those of [`set`](Self::set), and [`Invalid`](ErrorKind::Invalid): what is there is no number that fits, or the sum
    /// does not. It takes the right to write alone, though the sum tells what was there.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, Error> {
        self.write(key, |table| table.add(key, |number: u64| number.checked_add(delta)).map(Done::new))
    }

    /// As [`increment`](Self::increment), up or down.
    ///
    /// # Errors
    ///
    /// As [`increment`](Self::increment).
    pub fn increment_signed(&self, key: &str, delta: i64) -> Result<i64, Error> {
        self.write(key, |table| table.add(key, |number: i64| number.checked_add(delta)).map(Done::new))
    }

    /// Puts a value under a key if nobody has written it since `seen`. Gives the present version where somebody has.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn swap(&self, key: &str, seen: Version, value: &[u8]) -> Result<Result<(), Version>, Error> {
        self.write(key, |table| {
            let swapped = table.swap(key, seen, value)?;
            let bytes = if swapped.is_ok() { value.len() } else { 0 };
            Ok(Done::with_bytes(swapped, bytes))
        })
    }

    fn read<T>(&self, key: &str, act: impl FnOnce(&Table) -> Done<T>) -> Result<T, Error> {
        self.run(Action::KeyvalueRead, key, |table| Ok(act(table)))
    }

    fn write<T>(
        &self,
        key: &str,
        act: impl FnOnce(&mut Table) -> Result<Done<T>, Refusal>,
    ) -> Result<T, Error> {
        self.run(Action::KeyvalueWrite, key, act)
    }

    fn run<T>(
        &self,
        action: Action,
        key: &str,
        act: impl FnOnce(&mut Table) -> Result<Done<T>, Refusal>,
    ) -> Result<T, Error> {
        let standing = self.principal.standing();
        let decision = standing.decide(action, Resource::Name(&self.name));
        let mut operation = self.principal.operation(action, self.name.as_bytes());
        operation.other = shown(key).map(|key| Name::plain(key.as_bytes()));
        operation.mutates = action == Action::KeyvalueWrite;
        let running = operation.begin(decision, standing.epoch)?;
        // No record is made under the lock.
        let done = {
            let mut table = lock(&self.table);
            (!table.is_retired()).then(|| act(&mut table))
        };
        match done {
            None => running.finish(Err(Fault::errno(errno::NOT_FOUND))),
            Some(Ok(done)) => running.finish(Ok(done)),
            Some(Err(refusal)) => {
                let (kind, fault) = match refusal.is_limit() {
                    true => (ErrorKind::LimitExceeded, Fault::TooLarge),
                    false => (ErrorKind::Invalid, Fault::errno(errno::INVALID)),
                };
                drop(running.finish::<T>(Err(fault)));
                Err(Error::new(kind, operation.describe()).caused_by(refusal))
            }
        }
    }
}

/// A key, or the name of a bucket, as records have it. What neither can be is cut: it must neither fill the log nor look
/// like one name more.
fn shown(key: &str) -> Option<&str> {
    let key = key.get(..key.floor_char_boundary(BUCKET_KEY_BYTES))?;
    key.split('\0').next().filter(|key| !key.is_empty())
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("principal", &self.principal).field("name", &self.name).finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
