//! What the benchmarks run, beside the programs that users have.
//!
//! For `cargo xtask bench logwatch`, the same job as that of `examples/logwatch`, done by one plain native program:
//!
//! * [`access_log`] reads folders of logs and parses lines in the Combined Log Format.
//! * [`stamp`] is the timestamp of such a line.
//! * [`tally`] counts and writes the report.
//!
//! The code is what one would write without AirsSys: one thread, the standard library, and flate2 for archives.
//! It is meant to be a fair peer, neither tuned by hand nor held back.
//!
//! For `cargo xtask bench rt`:
//!
//! * [`rt`] is what systems of actors are made to do, ours and others.
//!
//! For `cargo xtask bench osl`:
//!
//! * [`osl`] is what is measured of the door, and asked of other engines of policy.
//!
//! For `cargo xtask bench spawn`:
//!
//! * [`port`] is a program that answers line by line. What starts cost is measured by an example of airssys-osl.
//!
//! * [`turns`] is how things are measured beside each other; `bench/wasm`, what `cargo xtask bench wasm` runs, does so too.
//!
//! The commands build and run them; see `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "the peer does without AirsSys, and so without its door to the OS"
)]

pub mod access_log;
pub mod osl;
#[cfg(target_os = "linux")]
pub mod port;
pub mod rt;
pub mod stamp;
pub mod tally;
pub mod turns;
