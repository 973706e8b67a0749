//! Without the feature `testing`: there is no order that a seed decides, and nothing is paid for it.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::Scheduler;
use crate::cell::Runnable;

pub(crate) enum Seeded {}

impl Seeded {
    pub(super) fn start(&self, _: &Handle, _: &Arc<Scheduler>) {
        match *self {}
    }

    pub(super) fn push(&self, _: Runnable) {
        match *self {}
    }

    pub(super) fn wake(&self) {
        match *self {}
    }

    pub(super) fn pop(&self) -> Option<Runnable> {
        match *self {}
    }

    pub(crate) fn below(&self, _: u64) -> u64 {
        match *self {}
    }
}
