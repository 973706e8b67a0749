//! What the benchmark of `examples/logwatch` runs against: the same job, done by one plain native program.
//!
//! * [`access_log`] reads folders of logs and parses lines in the Combined Log Format.
//! * [`stamp`] is the timestamp of such a line.
//! * [`tally`] counts and writes the report.
//!
//! The code is what one would write without AirsSys: one thread, the standard library, and flate2 for archives.
//! It is meant to be a fair peer, neither tuned by hand nor held back.
//!
//! `cargo xtask bench logwatch` builds and runs it; see `docs/benchmarks.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "the peer does without AirsSys, and so without its door to the OS"
)]

pub mod access_log;
pub mod stamp;
pub mod tally;
