//! Buckets of a component's host.

use super::Refusal;
use crate::{
    ErrorKind,
    bindings::keyvalue::wasi::keyvalue0_2_0_draft2::{
        atomics::{self, Cas, CasError},
        store::{self, Error as StoreError},
    },
};

pub(crate) struct Bucket(store::Bucket);

impl Bucket {
    pub(crate) fn open(name: &str) -> Result<Self, Refusal> {
        store::open(name).map(Self).map_err(refusal)
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Refusal> {
        self.0.get(key).map_err(refusal)
    }

    pub(crate) fn set(&self, key: &str, value: &[u8]) -> Result<(), Refusal> {
        self.0.set(key, value).map_err(refusal)
    }

    pub(crate) fn delete(&self, key: &str) -> Result<(), Refusal> {
        self.0.delete(key).map_err(refusal)
    }

    pub(crate) fn exists(&self, key: &str) -> Result<bool, Refusal> {
        self.0.exists(key).map_err(refusal)
    }

    /// Some keys, and where the next begin.
    pub(crate) fn keys(&self, cursor: Option<&str>) -> Result<(Vec<String>, Option<String>), Refusal> {
        self.0.list_keys(cursor).map(|page| (page.keys, page.cursor)).map_err(refusal)
    }

    pub(crate) fn add(&self, key: &str, delta: i64) -> Result<i64, Refusal> {
        atomics::increment(&self.0, key, delta).map_err(refusal)
    }

    /// Puts what `change` makes of the value in its place. False where somebody else wrote it meanwhile.
    pub(crate) fn swap(
        &self,
        key: &str,
        change: impl FnOnce(Option<&[u8]>) -> Vec<u8>,
    ) -> Result<bool, Refusal> {
        let cas = Cas::new(&self.0, key).map_err(refusal)?;
        let current = cas.current().map_err(refusal)?;
        match atomics::swap(cas, &change(current.as_deref())) {
            Ok(()) => Ok(true),
            Err(CasError::CasFailed(_)) => Ok(false),
            Err(CasError::StoreError(error)) => Err(refusal(error)),
        }
    }
}

fn refusal(error: StoreError) -> Refusal {
    match error {
        StoreError::NoSuchStore => Refusal(ErrorKind::NotFound, String::new()),
        StoreError::AccessDenied => Refusal(ErrorKind::Denied, String::new()),
        StoreError::Other(why) => Refusal(ErrorKind::Io, why),
    }
}
