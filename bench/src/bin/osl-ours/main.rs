//! `osl-ours`: measures the door for `cargo xtask bench osl`.

use airssys_bench::osl;

fn main() -> Result<(), osl::Failure> {
    osl::decisions::run()
}
