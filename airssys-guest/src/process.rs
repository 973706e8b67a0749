//! Programs of the operating system.

use crate::{Error, host};

/// Runs a program to its end and returns its exit status.
///
/// # Errors
///
/// * [`Denied`](crate::ErrorKind::Denied): no grant of this component names the program.
/// * [`Unsupported`](crate::ErrorKind::Unsupported): this version of the host cannot do it.
pub fn run(program: &str, arguments: &[&str]) -> Result<u8, Error> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    host::run(program, &arguments).map_err(|failure| failure.cannot(format_args!("run `{program}`")))
}
