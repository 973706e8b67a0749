//! A message's subject is `VERB:BUCKET:KEY`, its payload the value or a number; the answer says what came of it.

use std::fmt::Debug;

use airssys_guest::{Actor, Config, Error, Message, keyvalue};

use crate::bindings::wasi::{
    keyvalue0_2_0_draft::{atomics, batch, store},
    keyvalue0_2_0_draft2::{atomics as atomics2, batch as batch2, store as store2},
};

pub(crate) struct Buckets;

impl Actor for Buckets {
    fn init(_: &Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn handle(&mut self, message: Message) -> Result<Option<Vec<u8>>, Error> {
        let mut parts = message.subject.splitn(3, ':');
        let (verb, bucket) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let request = Request { bucket, key: parts.next().unwrap_or_default(), value: &message.payload };
        if verb == "crash" {
            told(store::open(bucket).and_then(|bucket| bucket.set(request.key, request.value)));
            return Err("told to fail".into());
        }
        let answer = match verb.starts_with("sdk-") {
            true => request.by_the_sdk(verb),
            false => request.first_draft(verb).or_else(|| request.second_draft(verb)),
        };
        answer.map(|answer| Some(answer.into_bytes())).ok_or_else(|| format!("no verb `{verb}`").into())
    }
}

struct Request<'a> {
    bucket: &'a str,
    key: &'a str,
    value: &'a [u8],
}

fn sdk<T: Debug>(done: Result<T, Error>) -> String {
    match done {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}: {error}", error.kind()),
    }
}

impl Request<'_> {
    fn by_the_sdk(&self, verb: &str) -> Option<String> {
        let bucket = match keyvalue::bucket(self.bucket) {
            Ok(bucket) => bucket,
            Err(error) => return Some(format!("{:?}: {error}", error.kind())),
        };
        let key = self.key;
        Some(match verb {
            "sdk-get" => {
                sdk(bucket.get(key).map(|value| value.and_then(|value| String::from_utf8(value).ok())))
            }
            "sdk-set" => sdk(bucket.set(key, self.value)),
            "sdk-delete" => sdk(bucket.delete(key)),
            "sdk-exists" => sdk(bucket.exists(key)),
            "sdk-keys" => sdk(bucket.keys(1001).map(|keys| keys.len())),
            "sdk-add" => sdk(bucket.add(key, 1)),
            "sdk-update" => sdk(bucket.update(key, |value| [value.unwrap_or_default(), self.value].concat())),
            _ => return None,
        })
    }

    fn first_draft(&self, verb: &str) -> Option<String> {
        let bucket = match store::open(self.bucket) {
            Ok(bucket) => bucket,
            Err(error) => return Some(format!("{error:?}")),
        };
        let key = self.key;
        Some(match verb {
            "open" => "ok".to_owned(),
            "get" => text(bucket.get(key)),
            "set" => told(bucket.set(key, self.value)),
            "delete" => told(bucket.delete(key)),
            "exists" => told(bucket.exists(key)),
            "increment" => told(atomics::increment(&bucket, key, self.number())),
            "count" => told(count(&bucket)),
            "list-from" => told(bucket.list_keys(Some(self.number())).map(|page| page.keys.len())),
            "huge" => told(bucket.set(key, &vec![0; self.number() as usize])),
            "huge-key" => told(bucket.set(&"k".repeat(self.number() as usize), b"")),
            "flood" => flood(&bucket),
            "hoard" => hoard(self.bucket),
            "set-many" => {
                let pairs: Vec<_> =
                    (0..self.number()).map(|number| (format!("{key}{number}"), b"v".to_vec())).collect();
                told(batch::set_many(&bucket, &pairs))
            }
            "get-many" => {
                let pairs = batch::get_many(&bucket, &vec![key.to_owned(); self.number() as usize]);
                told(pairs.map(|pairs| pairs.iter().flatten().count()))
            }
            "delete-many" => {
                let keys: Vec<_> = (0..self.number()).map(|number| format!("{key}{number}")).collect();
                told(batch::delete_many(&bucket, &keys))
            }
            _ => return None,
        })
    }

    fn second_draft(&self, verb: &str) -> Option<String> {
        let bucket = match store2::open(self.bucket) {
            Ok(bucket) => bucket,
            Err(error) => return Some(format!("{error:?}")),
        };
        let key = self.key;
        Some(match verb {
            "get2" => text(bucket.get(key)),
            "add" => {
                let delta = std::str::from_utf8(self.value).ok().and_then(|text| text.parse().ok());
                told(atomics2::increment(&bucket, key, delta.unwrap_or_default()))
            }
            "list2-from" => {
                let cursor = String::from_utf8_lossy(self.value).into_owned();
                told(bucket.list_keys(Some(&cursor)).map(|page| page.keys.len()))
            }
            "append" => append(&bucket, key, self.value),
            "stale" => stale(&bucket, key),
            "get-many2" => told(
                batch2::get_many(&bucket, &[key.to_owned(), "absent".to_owned()]).map(|pairs| pairs.len()),
            ),
            _ => return None,
        })
    }

    fn number(&self) -> u64 {
        std::str::from_utf8(self.value).ok().and_then(|text| text.parse().ok()).unwrap_or_default()
    }
}

/// Appends by comparing and swapping, until nobody was there meanwhile.
fn append(bucket: &store2::Bucket, key: &str, value: &[u8]) -> String {
    let mut cas = match atomics2::Cas::new(bucket, key) {
        Ok(cas) => cas,
        Err(error) => return format!("{error:?}"),
    };
    loop {
        let mut whole = match cas.current() {
            Ok(current) => current.unwrap_or_default(),
            Err(error) => return format!("{error:?}"),
        };
        whole.extend_from_slice(value);
        match atomics2::swap(cas, &whole) {
            Ok(()) => return format!("{}", whole.len()),
            Err(atomics2::CasError::CasFailed(fresh)) => cas = fresh,
            Err(atomics2::CasError::StoreError(error)) => return format!("{error:?}"),
        }
    }
}

/// Swaps what has been written since, and then again with the fresh handle.
fn stale(bucket: &store2::Bucket, key: &str) -> String {
    let tried = atomics2::Cas::new(bucket, key).and_then(|cas| bucket.set(key, b"meanwhile").map(|()| cas));
    match tried.map(|cas| atomics2::swap(cas, b"stale")) {
        Ok(Err(atomics2::CasError::CasFailed(fresh))) => {
            format!("refused, then {:?}", atomics2::swap(fresh, b"fresh").is_ok())
        }
        other => format!("{other:?}"),
    }
}

/// Counts all keys, page by page.
fn count(bucket: &store::Bucket) -> Result<usize, store::Error> {
    let (mut count, mut cursor) = (0, None);
    loop {
        let page = bucket.list_keys(cursor)?;
        count += page.keys.len();
        cursor = page.cursor;
        if cursor.is_none() {
            return Ok(count);
        }
    }
}

/// Sets keys until one is refused.
fn flood(bucket: &store::Bucket) -> String {
    let mut number = 0_u32;
    loop {
        match bucket.set(&format!("flood-{number}"), b"x") {
            Ok(()) => number += 1,
            Err(error) => return format!("{number}: {error:?}"),
        }
    }
}

/// Opens a bucket until that is refused, and holds all of them.
fn hoard(bucket: &str) -> String {
    let mut held = Vec::new();
    loop {
        match store::open(bucket) {
            Ok(bucket) => held.push(bucket),
            Err(error) => return format!("{error:?}"),
        }
    }
}

fn text<E: Debug>(found: Result<Option<Vec<u8>>, E>) -> String {
    match found {
        Ok(Some(value)) => String::from_utf8_lossy(&value).into_owned(),
        other => told(other),
    }
}

fn told<T: Debug, E: Debug>(result: Result<T, E>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{error:?}"),
    }
}
