//! One file a verb.

mod ask;
mod audit;
mod cache;
mod check;
mod control;
mod dead;
mod doctor;
mod explain;
mod export;
mod history;
mod inspect;
mod new;
#[cfg(target_os = "linux")]
mod precompile;
mod program;
mod reload;
mod run;
#[cfg(target_os = "linux")]
mod sandbox;
mod signals;
mod status;
mod trials;
mod upgrade;

use std::{process::ExitCode, sync::Arc, time::Duration};

use tracing_subscriber::{EnvFilter, fmt};

use crate::{
    args::{Args, Command},
    report::{Failure, Terminal},
};

/// How often the live line is renewed.
const STATUS: Duration = Duration::from_millis(250);

/// Does what the arguments say.
pub(crate) fn run(args: Args, terminal: &Arc<Terminal>) -> Result<ExitCode, Failure> {
    log_to(terminal, &args.log)?;
    match args.command {
        Command::New(args) => new::new(&args, terminal),
        Command::Run(run) => run::run(run, terminal),
        Command::Upgrade(args) => upgrade::upgrade(&args, terminal),
        Command::Rollback(args) => upgrade::rollback(&args, terminal),
        Command::Status(args) => status::status(&args, terminal),
        Command::History(args) => history::history(&args, terminal),
        Command::Dead(args) => dead::dead(&args, terminal),
        Command::Check(check) => check::check(&check, terminal),
        Command::Inspect(inspect) => inspect::inspect(&inspect, terminal),
        Command::Audit(audit) => audit::audit(audit, terminal),
        Command::Explain(args) => explain::explain(&args, terminal),
        Command::Cache(args) => cache::cache(args, terminal),
        Command::Doctor => doctor::doctor(terminal),
        #[cfg(target_os = "linux")]
        Command::Precompile { recipe } => precompile::precompile(&recipe, terminal),
        #[cfg(not(target_os = "linux"))]
        Command::Precompile { .. } => {
            Err(Failure::failed("components are compiled in a process of their own on Linux alone"))
        }
        #[cfg(target_os = "linux")]
        Command::Sandbox(sandbox) => sandbox::sandbox(&sandbox, terminal),
        #[cfg(not(target_os = "linux"))]
        Command::Sandbox(_) => Err(Failure::failed("`airssys sandbox` is for Linux alone")),
    }
}

fn log_to(terminal: &Arc<Terminal>, filter: &str) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        let failure =
            Failure::failed(format!("cannot understand the log filter `{filter}`")).caused_by(error);
        failure.help("such as `info` or `warn,guest=debug`")
    })?;
    let format = fmt::format().with_target(false).without_time().compact();
    let writer = terminal.clone();
    let subscriber = fmt::Subscriber::builder()
        .with_env_filter(filter)
        .event_format(format)
        .with_ansi(terminal.err.is_on())
        .with_writer(move || LogWriter(writer.clone()))
        .finish();
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::failed("cannot start the log").caused_by(error))
}

struct LogWriter(Arc<Terminal>);

impl std::io::Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        (&*self.0).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The runtime that everything asynchronous runs on.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|error| Failure::failed("cannot start the runtime").caused_by(error))
}
