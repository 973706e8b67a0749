//! The ledger, in versions good and bad.

use std::{collections::HashMap, path::PathBuf, sync::LazyLock};

use airssys_wasm::{Component, Error, Handover, Switched};
use tokio::sync::Mutex;

use crate::world::{ENGINE, PATIENCE, World};

/// Each version that a test asked for, compiled once.
static COMPILED: LazyLock<Mutex<HashMap<&str, Component>>> = LazyLock::new(Mutex::default);

/// The bytes of the version with this mode. An unknown mode is a good version, with other bytes.
pub(crate) fn bytes(mode: &str) -> Vec<u8> {
    bytes_of("ledger", mode)
}

/// The same of what has a state, without it: the interface is called otherwise.
pub(crate) fn without_state(mut bytes: Vec<u8>) -> Vec<u8> {
    let (state, other) = (b"airssys:actor/state@", b"airssys:actor/other@");
    let places: Vec<usize> = bytes
        .windows(state.len())
        .enumerate()
        .filter(|(_, found)| found == state)
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes.iter_mut().skip(at).zip(other).for_each(|(byte, new)| *byte = *new);
    }
    bytes
}

/// The bytes of a version of the talker without a state, and that version.
pub(crate) fn stateless_talker_bytes(mode: &str) -> Vec<u8> {
    without_state(bytes_of("talker", mode))
}

pub(crate) async fn stateless_talker(mode: &str) -> Component {
    Component::load(&ENGINE, stateless_talker_bytes(mode), None, || ()).await.unwrap().0
}

/// The same of another component that has versions. What one does stands in its bytes behind a mark.
fn bytes_of(name: &str, mode: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(format!("{name}.wasm"));
    let mut bytes = std::fs::read(path).unwrap();
    let mark = format!("{name}-mode:");
    let places = bytes.windows(mark.len()).enumerate().filter(|(_, window)| *window == mark.as_bytes());
    let places: Vec<usize> = places.map(|(at, _)| at + mark.len()).collect();
    assert_eq!(places.len(), 1, "the mark is there once");
    let word = bytes.iter_mut().skip(places.iter().sum());
    word.zip(mode.bytes()).for_each(|(byte, new)| *byte = new);
    bytes
}

pub(crate) async fn version(mode: &'static str) -> Component {
    let mut compiled = COMPILED.lock().await;
    if let Some(component) = compiled.get(mode) {
        return component.clone();
    }
    let (component, _) = Component::load(&ENGINE, bytes(mode), None, || ()).await.unwrap();
    compiled.insert(mode, component.clone());
    component
}

/// A version of the talker.
pub(crate) async fn talker(mode: &str) -> Component {
    Component::load(&ENGINE, bytes_of("talker", mode), None, || ()).await.unwrap().0
}

/// A component that has no state.
pub(crate) async fn hostile() -> Component {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/hostile.wasm");
    Component::load(&ENGINE, std::fs::read(path).unwrap(), None, || ()).await.unwrap().0
}

impl World {
    /// Upgrades to a version of the ledger. Where the machine stood still until there was no time left to start the new
    /// one, which costs nobody anything, it is tried again.
    pub(crate) async fn upgrade(&self, name: &str, mode: &'static str) -> Result<Switched, Error> {
        self.upgrade_to(name, &version(mode).await, Handover::State).await
    }

    /// The same to whatever version.
    pub(crate) async fn upgrade_to(
        &self,
        name: &str,
        component: &Component,
        handover: Handover,
    ) -> Result<Switched, Error> {
        loop {
            let upgraded = self.system.upgrade(name, component, handover, PATIENCE).await;
            let is_late = |error: &Error| {
                error.to_string().contains("start the new version")
                    && told(error).contains("not done in time")
            };
            if !upgraded.as_ref().is_err_and(is_late) {
                return upgraded;
            }
        }
    }
}

/// What the version did, as the caller of an upgrade learns it: the error and its causes.
pub(crate) fn told(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
