use std::sync::atomic::Ordering;

use super::{Fault, Principal};
use crate::sys;

/// The right of a principal to one open file or directory; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    principal: Principal,
    count: usize,
}

impl Slot {
    /// Takes `count` of the `limit` that the principal has.
    pub(crate) fn take(principal: &Principal, count: usize, limit: usize) -> Result<Self, Fault> {
        let more = |open: usize| open.checked_add(count).filter(|open| *open <= limit);
        match principal.open_count().fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(Self { principal: principal.clone(), count }),
            Err(_) => Err(Fault::errno(sys::errno::TOO_MANY_OPEN)),
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.principal.open_count().fetch_sub(self.count, Ordering::Relaxed);
    }
}
