//! `osl-ours PART [ROUNDS]`: measures a part of the door for `cargo xtask bench osl`: `decisions`, `files`, `net` or
//! `audit`; or `port`, for `cargo xtask bench spawn`.

use std::env;

use airssys_bench::osl;
#[cfg(target_os = "linux")]
use airssys_bench::port;
use tokio::runtime::Builder;

const USAGE: &str = "usage: osl-ours decisions|files|net|audit|port [ROUNDS]";

/// How often everybody takes a turn.
const ROUNDS: usize = 31;

fn main() -> Result<(), osl::Failure> {
    let mut args = env::args().skip(1);
    let part = args.next().ok_or(USAGE)?;
    let rounds = args.next().map_or(Ok(ROUNDS), |rounds| rounds.parse())?;
    // One thread: that of another kind hands each wake-up from core to core, and the figures are those of the scheduler.
    let runtime = Builder::new_current_thread().enable_all().build()?;
    match part.as_str() {
        "decisions" => osl::decisions::run(),
        "files" => runtime.block_on(osl::files::run(rounds)),
        "net" => runtime.block_on(osl::net::run(rounds)),
        "audit" => osl::audit::run(rounds),
        // Its stages run side by side, as those of its peer do.
        #[cfg(target_os = "linux")]
        "port" => {
            Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(port::run(rounds))
        }
        _ => Err(USAGE.into()),
    }
}
