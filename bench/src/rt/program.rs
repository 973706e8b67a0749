//! What programs that run one workload have in common: `PROGRAM SYSTEM WORKLOAD [DIVISOR]`.

use std::{env, future::Future, panic, process};

use super::{Failure, Measured};

/// What the worker threads of every system are limited to. The driver's task runs on one of them, so nothing else
/// computes.
pub const WORKERS: usize = 2;

/// The message of a panic that a workload asks for.
pub const CRASH: &str = "crash";

/// What was asked for on the command line.
#[derive(Debug)]
pub struct Order {
    /// The system to run it on.
    pub system: String,
    /// The workload's name.
    pub workload: String,
    /// How many times smaller than usual it is; 1 unless given.
    pub divisor: u64,
}

/// Runs what the command line says, prints one line and ends the process: the result, or `N/A` where the system has
/// nothing like the workload.
pub fn main(run: impl FnOnce(&Order) -> Result<Option<Measured>, Failure>) -> ! {
    hide_crashes();
    let args: Vec<_> = env::args().skip(1).collect();
    let Some(order) = order(&args) else {
        eprintln!("usage: PROGRAM SYSTEM WORKLOAD [DIVISOR]");
        process::exit(2);
    };
    match run(&order) {
        Ok(Some(measured)) => println!("{measured}"),
        Ok(None) => println!("N/A"),
        Err(error) => {
            eprintln!("{} {}: {error}", order.system, order.workload);
            process::exit(1);
        }
    }
    // At once: what is left of the actors is no part of what is measured.
    process::exit(0)
}

/// Runs the driver as a task of a tokio runtime with [`WORKERS`] threads.
///
/// # Errors
///
/// What the driver fails with, or its panic.
pub fn on_workers<T: Send + 'static>(
    driver: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()?;
    let result = runtime.block_on(runtime.spawn(driver));
    // Not dropped, for the same reason that the process ends at once.
    std::mem::forget(runtime);
    result?
}

fn order(args: &[String]) -> Option<Order> {
    let (system, workload, divisor) = match args {
        [system, workload] => (system, workload, 1),
        [system, workload, divisor] => {
            (system, workload, divisor.parse().ok().filter(|divisor| *divisor > 0)?)
        }
        _ => return None,
    };
    Some(Order { system: system.clone(), workload: workload.clone(), divisor })
}

/// Keeps the panics that a workload asks for off the terminal, which would be measured too.
fn hide_crashes() {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if info.payload_as_str() != Some(CRASH) {
            report(info);
        }
    }));
}
