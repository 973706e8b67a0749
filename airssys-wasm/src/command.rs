//! A component that runs once, from its start to its end: a `wasi:cli/run` command.

use airssys_osl::Principal;

use crate::{
    component::Component,
    engine::Engine,
    error::{Error, ErrorKind},
    host::{Exit, Stdio},
    instance::{Setup, State},
    manifest::Limits,
    trap::Trap,
};

/// Runs a command with the standard streams of this program, and gives its exit status.
///
/// `arguments` starts with the program's name, as everywhere. The guest may do what `principal` may; it has no
/// directories and no actors to send to. It runs for as long as it wants, in at most `memory_bytes` of memory.
///
/// # Errors
///
/// * [`InvalidComponent`](ErrorKind::InvalidComponent): it is no command.
/// * [`Guest`](ErrorKind::Guest): it trapped; the cause is a [`Trap`].
///
/// # Cancel safety
///
/// Dropping the future ends the guest where it is.
pub async fn run_command(
    engine: &Engine,
    component: &Component,
    principal: &Principal,
    arguments: Vec<String>,
    memory_bytes: usize,
) -> Result<u8, Error> {
    let Some(export) = component.run_export() else {
        let what = "run the component: it does not export `wasi:cli/run`";
        return Err(Error::new(ErrorKind::InvalidComponent, what));
    };
    let limits = Limits { memory_bytes, deadline: None, ..Limits::default() };
    let setup = Setup {
        name: principal.name().into(),
        principal,
        preopens: &[],
        arguments,
        stdio: Stdio::Inherit,
        limits: &limits,
        port: None,
    };
    let mut store = State::store(engine, setup).await?;
    let failed = |error| Error::new(ErrorKind::Guest, "run the component").caused_by(Trap::new(error));
    let instance = component.pre().instantiate_async(&mut store).await.map_err(failed)?;

    let invalid =
        || Error::new(ErrorKind::InvalidComponent, format!("run the component: `{export}` has no `run`"));
    let interface = instance.get_export_index(&mut store, None, export).ok_or_else(invalid)?;
    let run = instance.get_export_index(&mut store, Some(&interface), "run").ok_or_else(invalid)?;
    let run = instance.get_typed_func::<(), (Result<(), ()>,)>(&mut store, run);
    let run = run.map_err(|error| invalid().caused_by(error))?;

    match run.call_async(&mut store, ()).await {
        Ok((Ok(()),)) => Ok(0),
        Ok((Err(()),)) => Ok(1),
        Err(error) => match error.downcast_ref::<Exit>() {
            Some(exit) => Ok(exit.0),
            None => Err(failed(error)),
        },
    }
}
