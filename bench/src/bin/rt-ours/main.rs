//! `rt-ours SYSTEM WORKLOAD [DIVISOR]`: runs one workload of `cargo xtask bench rt` on airssys-rt, and prints one line.
//!
//! `airssys` has unbounded mailboxes, as most peers have no others; `airssys-b` has the default, bounded ones. Beside
//! the workloads that every system runs there are some of our own: see [`feats`].

mod actors;
mod feats;
mod ours;

use airssys_bench::rt::{self, Failure, Measured, Workload, program};
use airssys_rt::System;

use ours::Ours;

fn main() {
    program::main(|order| match order.system.as_str() {
        "airssys" => run::<false>(&order.workload, order.divisor),
        "airssys-b" => run::<true>(&order.workload, order.divisor),
        _ => Err("no such system; there is: airssys, airssys-b".into()),
    })
}

fn run<const BOUNDED: bool>(workload: &str, divisor: u64) -> Result<Option<Measured>, Failure> {
    let workload = workload.to_owned();
    program::on_workers(async move {
        let ours = Ours::<BOUNDED>::new(System::new());
        match workload.as_str() {
            "million" => feats::million(&ours, divisor).await,
            "million-dyn" => feats::million_dynamic::<BOUNDED>(divisor).await,
            "crashes" => feats::crashes(&ours, divisor).await,
            "observe" => feats::observed::<BOUNDED>(divisor).await,
            "off-tell1" => feats::off::<BOUNDED>(Workload::TellOne, divisor).await,
            "off-pingpong" => feats::off::<BOUNDED>(Workload::PingPong, divisor).await,
            name => {
                let workload = Workload::named(name).ok_or("no such workload")?;
                rt::run(&ours, workload, divisor).await
            }
        }
    })
}
