//! Environment variables.

use crate::host;

/// A variable that the manifest grants. None where it is not set, or not granted: the component cannot tell.
pub fn var(name: &str) -> Option<String> {
    host::environment().into_iter().find(|(key, _)| key == name).map(|(_, value)| value)
}
