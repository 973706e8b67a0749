//! Keys and values in buckets, which components share (`wasi:keyvalue`).
//!
//! A bucket is a `[keyvalue.NAME]` of the manifest, and `grants.keyvalue` says who may read and write it.
//!
//! ```
//! use airssys_guest::{Actor, Config, Error, Message, keyvalue, testing::Host};
//!
//! struct Visits;
//!
//! impl Actor for Visits {
//!     fn init(_: &Config) -> Result<Self, Error> {
//!         Ok(Visits)
//!     }
//!     fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
//!         let count = keyvalue::bucket("counts")?.add(&message.subject, 1)?;
//!         Ok(Some(count.to_string().into_bytes()))
//!     }
//! }
//!
//! let host = Host::new();
//! host.grant_bucket("counts");
//! let answer = Visits.handle(Host::message("front", "/home", b"")).unwrap();
//! assert_eq!((answer, host.value("counts", "/home")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
//! ```

use crate::{Error, ErrorKind, host};

/// How often [`Bucket::update`] tries where others write the same key.
const TRIES: usize = 100;

/// Keys and values under a name. What it holds is shared with every component that is granted it.
pub struct Bucket {
    name: String,
    host: host::Bucket,
}

/// Opens a bucket.
///
/// # Errors
///
/// [`Denied`](ErrorKind::Denied): the manifest does not grant it, whether it has it or not.
/// [`NotFound`](ErrorKind::NotFound): it is granted, and there is none.
pub fn bucket(name: &str) -> Result<Bucket, Error> {
    let host = host::Bucket::open(name)
        .map_err(|refusal| refusal.cannot(format_args!("open the bucket `{name}`")))?;
    Ok(Bucket { name: name.to_owned(), host })
}

/// What every use of a bucket may fail with: [`Denied`](ErrorKind::Denied), where the manifest grants the other right alone,
/// and [`Io`](ErrorKind::Io), whose cause names what was wrong, such as a limit of the bucket.
impl Bucket {
    /// The value of a key.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Error> {
        self.host.get(key).map_err(|refusal| self.cannot("read", key, refusal))
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), Error> {
        self.host.set(key, value).map_err(|refusal| self.cannot("write", key, refusal))
    }

    /// Removes a key, where it is there.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket.
    pub fn delete(&self, key: &str) -> Result<(), Error> {
        self.host.delete(key).map_err(|refusal| self.cannot("remove", key, refusal))
    }

    /// Whether a key is there.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket.
    pub fn exists(&self, key: &str) -> Result<bool, Error> {
        self.host.exists(key).map_err(|refusal| self.cannot("look for", key, refusal))
    }

    /// The keys, in the host's order, but no more than `limit` of them. None of them asks for nothing.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket.
    pub fn keys(&self, limit: usize) -> Result<Vec<String>, Error> {
        let (mut keys, mut cursor) = (Vec::new(), None);
        while keys.len() < limit {
            let page = self.host.keys(cursor.as_deref());
            let (more, next) = page.map_err(|refusal| self.cannot("list", "*", refusal))?;
            // A host whose pages are empty has nothing more to say.
            let is_last = more.is_empty() || next.is_none();
            keys.extend(more);
            if is_last {
                break;
            }
            cursor = next;
        }
        keys.truncate(limit);
        Ok(keys)
    }

    /// Adds to a number, which is 0 where the key is not there, and gives the sum. Nobody else's sum is lost by it.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket; [`Io`](ErrorKind::Io), too, where the value is no number in decimal digits, or the sum does
    /// not fit.
    pub fn add(&self, key: &str, delta: i64) -> Result<i64, Error> {
        self.host.add(key, delta).map_err(|refusal| self.cannot("add to", key, refusal))
    }

    /// Puts what `change` makes of the value in its place. Where somebody else wrote it meanwhile, `change` is called with what
    /// they wrote.
    ///
    /// # Errors
    ///
    /// As for every use of a bucket; [`Unavailable`](ErrorKind::Unavailable): others wrote it a hundred times in between.
    pub fn update(&self, key: &str, mut change: impl FnMut(Option<&[u8]>) -> Vec<u8>) -> Result<(), Error> {
        for _ in 0..TRIES {
            if self.host.swap(key, &mut change).map_err(|refusal| self.cannot("write", key, refusal))? {
                return Ok(());
            }
        }
        Err(Error::cannot(
            ErrorKind::Unavailable,
            format_args!("write `{key}` of the bucket `{}`", self.name),
        ))
    }

    fn cannot(&self, act: &str, key: &str, refusal: host::Refusal) -> Error {
        refusal.cannot(format_args!("{act} `{key}` of the bucket `{}`", self.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Host;

    #[test]
    fn what_is_written_is_read() {
        let host = Host::new();
        assert_eq!(bucket("b").err().map(|error| error.kind()), Some(ErrorKind::Denied));
        host.grant_bucket("b");
        let bucket = bucket("b").expect("it is granted");
        assert_eq!(bucket.get("k").expect("it is granted"), None);
        bucket.set("k", b"v").expect("it is granted");
        bucket.update("k", |value| [value.unwrap_or_default(), b"w"].concat()).expect("it is granted");
        assert_eq!(
            (bucket.get("k").ok().flatten(), bucket.exists("k").ok()),
            (Some(b"vw".to_vec()), Some(true))
        );
        assert_eq!(bucket.add("n", 2).and_then(|_| bucket.add("n", -5)).ok(), Some(-3));
        assert_eq!(bucket.keys(1).ok(), Some(vec!["k".to_owned()]));
        let error = bucket.add("k", 1).expect_err("it is no number");
        assert_eq!(error.to_string(), "cannot add to `k` of the bucket `b`");
        bucket.delete("k").expect("it is granted");
        assert_eq!(bucket.exists("k").ok(), Some(false));
    }
}
