//! Other engines of policy beside the door's.
//!
//! * `osl-peers decisions`: measures them, for `cargo xtask bench osl`.
//! * `osl-peers differential PAIRS [SEED]`: compares so many answers with Cedar's, for `cargo xtask deep`.

mod decisions;
mod differential;
#[path = "../../src/osl/figures.rs"]
mod figures;
mod random;

use std::env;

fn main() -> Result<(), figures::Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["decisions"] => decisions::run(),
        ["differential", pairs] => differential::run(pairs.parse()?, 1),
        ["differential", pairs, seed] => differential::run(pairs.parse()?, seed.parse()?),
        _ => Err("usage: osl-peers decisions | differential PAIRS [SEED]".into()),
    }
}
