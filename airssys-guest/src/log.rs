//! Lines for the log of the system. They carry the component's name.

use std::fmt;

use crate::host;

#[doc(inline)]
pub use crate::{__error as error, __info as info, __warn as warn};

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For following one request step by step.
    Trace,
    /// For whoever works on the component.
    Debug,
    /// For whoever runs it.
    Info,
    /// Something was wrong, and the work went on.
    Warn,
    /// Something was lost.
    Error,
}

/// Writes one line of at most 4,096 bytes; what is longer is cut.
///
/// [`info!`], [`warn!`] and [`error!`] format and write in one.
pub fn write(level: Level, text: fmt::Arguments<'_>) {
    match text.as_str() {
        Some(text) => host::log(level, text),
        None => host::log(level, &text.to_string()),
    }
}

/// Writes a line for whoever runs the component.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Info, ::core::format_args!($($text)+)) };
}

/// Writes that something was wrong and the work went on.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Warn, ::core::format_args!($($text)+)) };
}

/// Writes that something was lost.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($text:tt)+) => { $crate::log::write($crate::log::Level::Error, ::core::format_args!($($text)+)) };
}
