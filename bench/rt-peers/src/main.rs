//! `rt-peers SYSTEM WORKLOAD [DIVISOR]`: runs one workload of `cargo xtask bench rt` on a system of actors that is not
//! ours, and prints one line.

#![expect(
    clippy::disallowed_methods,
    reason = "the peers do without AirsSys, and so without its door to the OS"
)]

mod actix;
mod bare;
mod kameo;
mod ractor;
#[path = "../../src/rt/mod.rs"]
mod rt;

use rt::{Failure, Measured, Workload, program};

fn main() {
    program::main(|order| {
        let workload = Workload::named(&order.workload).ok_or("no such workload")?;
        let divisor = order.divisor;
        match order.system.as_str() {
            "tokio-u" => on_workers(bare::Tokio(bare::Unbounded), workload, divisor),
            "tokio-b" => on_workers(bare::Tokio(bare::Bounded), workload, divisor),
            "ractor" => on_workers(ractor::Ractor, workload, divisor),
            "kameo-u" => on_workers(kameo::Kameo { bounded: false }, workload, divisor),
            "kameo-b" => on_workers(kameo::Kameo { bounded: true }, workload, divisor),
            "actix" => actix::run(workload, divisor),
            _ => Err("no such system".into()),
        }
    })
}

fn on_workers(
    subject: impl rt::Subject,
    workload: Workload,
    divisor: u64,
) -> Result<Option<Measured>, Failure> {
    program::on_workers(async move { rt::run(&subject, workload, divisor).await })
}
