//! The only door to the operating system.

pub mod audit;
mod error;
mod request;

pub use error::{Error, ErrorKind};
pub use request::{Action, Verdict};
