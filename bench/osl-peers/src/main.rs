//! `osl-peers decisions`: measures other engines of policy for `cargo xtask bench osl`.

mod decisions;
#[path = "../../src/osl/figures.rs"]
mod figures;

use std::env;

fn main() -> Result<(), figures::Failure> {
    let args: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["decisions"] => decisions::run(),
        _ => Err("usage: osl-peers decisions".into()),
    }
}
