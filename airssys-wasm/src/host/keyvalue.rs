//! `wasi:keyvalue`, both drafts that components are made for: buckets of the door, which the components of a system share.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use airssys_osl::keyvalue::{Bucket, Version};
use wasmtime::{
    Result,
    component::{Resource, ResourceTable},
};

use super::{
    Host,
    bindings::wasi::{self, keyvalue0_2_0_draft2 as draft2},
};

/// The most keys of one call for several.
const BATCH_KEYS: usize = 1024;

/// The most bytes that one call for several keys answers: it is the host's memory until the guest has taken it.
const BATCH_BYTES: usize = 16 << 20;

/// What a guest swaps: a key, and what it has seen there.
pub struct Cas {
    bucket: Bucket,
    key: String,
    seen: Version,
}

/// Where a page of keys begins, as a draft has it. A guest may make one up: it then begins somewhere.
trait Cursor: Sized {
    /// None where it is no cursor at all.
    fn place(self) -> Option<u64>;
    fn new(place: u64) -> Self;
}

impl Cursor for u64 {
    fn place(self) -> Option<u64> {
        Some(self)
    }

    fn new(place: u64) -> Self {
        place
    }
}

impl Cursor for String {
    fn place(self) -> Option<u64> {
        self.parse().ok()
    }

    fn new(place: u64) -> Self {
        place.to_string()
    }
}

/// Why a call is not done, in words that both drafts have.
enum Refusal {
    Denied,
    NoSuchStore,
    Other(String),
}

impl From<airssys_osl::Error> for Refusal {
    /// A guest learns which of its limits is in its way, and of a denial only that it is one.
    fn from(error: airssys_osl::Error) -> Self {
        match error.kind() {
            airssys_osl::ErrorKind::Denied => Self::Denied,
            airssys_osl::ErrorKind::NotFound => Self::NoSuchStore,
            _ => match std::error::Error::source(&error) {
                Some(cause) => Self::Other(format!("{error}: {cause}")),
                None => Self::Other(error.to_string()),
            },
        }
    }
}

/// Puts something into the table of an instance, whose size its manifest bounds.
fn hold<T: Send + 'static>(table: &mut ResourceTable, held: T) -> std::result::Result<Resource<T>, Refusal> {
    table
        .push(held)
        .map_err(|_| Refusal::Other("too many open handles: the limit is `limits.handles`".into()))
}

fn list<C: Cursor>(
    bucket: &Bucket,
    cursor: Option<C>,
) -> std::result::Result<(Vec<String>, Option<C>), Refusal> {
    let after = cursor.map_or(Some(0), C::place);
    let page = bucket.keys(after.ok_or_else(|| Refusal::Other("it is no cursor".into()))?)?;
    Ok((page.keys.iter().map(|key| key.to_string()).collect(), page.next.map(C::new)))
}

type Pair = (String, Vec<u8>);

fn get_many(bucket: &Bucket, keys: Vec<String>) -> std::result::Result<Vec<Option<Pair>>, Refusal> {
    check_batch(keys.len())?;
    let mut room = BATCH_BYTES;
    let mut pairs = Vec::with_capacity(keys.len());
    for key in keys {
        let Some(value) = bucket.get(&key)? else {
            pairs.push(None);
            continue;
        };
        let left = room.checked_sub(value.len());
        room =
            left.ok_or_else(|| Refusal::Other(format!("more than {BATCH_BYTES} bytes of values at once")))?;
        pairs.push(Some((key, value.to_vec())));
    }
    Ok(pairs)
}

fn check_batch(keys: usize) -> std::result::Result<(), Refusal> {
    match keys > BATCH_KEYS {
        true => Err(Refusal::Other(format!("{keys} keys at once, the limit is {BATCH_KEYS}"))),
        false => Ok(()),
    }
}

/// What both drafts have, for the bindings of one of them.
macro_rules! draft {
    ($draft:ident, $cursor:ty, $increment:ident, $number:ty, { $($more:tt)* }) => {
        mod $draft {
            use super::{super::Host, *};
            use wasi::$draft::{atomics, batch, store};

            type Answer<T> = Result<std::result::Result<T, store::Error>>;

            impl From<Refusal> for store::Error {
                fn from(refusal: Refusal) -> Self {
                    match refusal {
                        Refusal::Denied => Self::AccessDenied,
                        Refusal::NoSuchStore => Self::NoSuchStore,
                        Refusal::Other(text) => Self::Other(text),
                    }
                }
            }

            impl From<airssys_osl::Error> for store::Error {
                fn from(error: airssys_osl::Error) -> Self {
                    Refusal::from(error).into()
                }
            }

            impl store::Host for Host {
                fn open(&mut self, identifier: String) -> Answer<Resource<Bucket>> {
                    let bucket = match self.principal.bucket(&identifier) {
                        Ok(bucket) => bucket,
                        Err(error) => return Ok(Err(error.into())),
                    };
                    Ok(hold(&mut self.table, bucket).map_err(store::Error::from))
                }
            }

            impl store::HostBucket for Host {
                fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<Option<Vec<u8>>> {
                    let found = self.table.get(&bucket)?.get(&key);
                    Ok(found.map(|value| value.map(|value| value.to_vec())).map_err(store::Error::from))
                }

                fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Answer<()> {
                    Ok(self.table.get(&bucket)?.set(&key, &value).map_err(store::Error::from))
                }

                fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<()> {
                    Ok(self.table.get(&bucket)?.delete(&key).map(drop).map_err(store::Error::from))
                }

                fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Answer<bool> {
                    Ok(self.table.get(&bucket)?.exists(&key).map_err(store::Error::from))
                }

                fn list_keys(
                    &mut self,
                    bucket: Resource<Bucket>,
                    cursor: Option<$cursor>,
                ) -> Answer<store::KeyResponse> {
                    let page = list(self.table.get(&bucket)?, cursor);
                    Ok(page
                        .map(|(keys, cursor)| store::KeyResponse { keys, cursor })
                        .map_err(store::Error::from))
                }

                fn drop(&mut self, bucket: Resource<Bucket>) -> Result<()> {
                    self.table.delete(bucket)?;
                    Ok(())
                }
            }

            impl batch::Host for Host {
                fn get_many(
                    &mut self,
                    bucket: Resource<Bucket>,
                    keys: Vec<String>,
                ) -> Answer<Vec<Option<Pair>>> {
                    Ok(get_many(self.table.get(&bucket)?, keys).map_err(store::Error::from))
                }

                fn set_many(&mut self, bucket: Resource<Bucket>, pairs: Vec<Pair>) -> Answer<()> {
                    let bucket = self.table.get(&bucket)?;
                    if let Err(refusal) = check_batch(pairs.len()) {
                        return Ok(Err(refusal.into()));
                    }
                    let set = |(key, value): &Pair| bucket.set(key, value);
                    Ok(pairs.iter().try_for_each(set).map_err(store::Error::from))
                }

                fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Answer<()> {
                    let bucket = self.table.get(&bucket)?;
                    if let Err(refusal) = check_batch(keys.len()) {
                        return Ok(Err(refusal.into()));
                    }
                    let delete = |key: &String| bucket.delete(key).map(drop);
                    Ok(keys.iter().try_for_each(delete).map_err(store::Error::from))
                }
            }

            impl atomics::Host for Host {
                fn increment(
                    &mut self,
                    bucket: Resource<Bucket>,
                    key: String,
                    delta: $number,
                ) -> Answer<$number> {
                    Ok(self.table.get(&bucket)?.$increment(&key, delta).map_err(store::Error::from))
                }

                $($more)*
            }
        }
    };
}

draft!(keyvalue0_2_0_draft, u64, increment, u64, {});

draft!(keyvalue0_2_0_draft2, String, increment_signed, i64, {
    fn swap(
        &mut self,
        cas: Resource<Cas>,
        value: Vec<u8>,
    ) -> Result<std::result::Result<(), atomics::CasError>> {
        let Cas { bucket, key, seen } = self.table.delete(cas)?;
        let seen = match bucket.swap(&key, seen, &value) {
            Ok(Ok(())) => return Ok(Ok(())),
            Ok(Err(seen)) => seen,
            Err(error) => return Ok(Err(atomics::CasError::StoreError(error.into()))),
        };
        // The old handle made room for the new one.
        Ok(Err(atomics::CasError::CasFailed(self.table.push(Cas { bucket, key, seen })?)))
    }
});

impl draft2::atomics::HostCas for Host {
    fn new(
        &mut self,
        bucket: Resource<Bucket>,
        key: String,
    ) -> Result<std::result::Result<Resource<Cas>, draft2::store::Error>> {
        let bucket = self.table.get(&bucket)?.clone();
        let seen = match bucket.reading(&key) {
            Ok(reading) => reading.version,
            Err(error) => return Ok(Err(error.into())),
        };
        Ok(hold(&mut self.table, Cas { bucket, key, seen }).map_err(draft2::store::Error::from))
    }

    /// What is read here is what `swap` compares with from now on.
    fn current(
        &mut self,
        cas: Resource<Cas>,
    ) -> Result<std::result::Result<Option<Vec<u8>>, draft2::store::Error>> {
        let cas = self.table.get_mut(&cas)?;
        let reading = match cas.bucket.reading(&cas.key) {
            Ok(reading) => reading,
            Err(error) => return Ok(Err(error.into())),
        };
        cas.seen = reading.version;
        Ok(Ok(reading.value.map(|value| value.to_vec())))
    }

    fn drop(&mut self, cas: Resource<Cas>) -> Result<()> {
        self.table.delete(cas)?;
        Ok(())
    }
}
