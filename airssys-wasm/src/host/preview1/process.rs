//! What a program has beside its files: arguments, environment, clocks, random bytes and its end.

use wasmtime::Result;

use super::{
    Outcome,
    errno::{Errno, Fault},
    memory::{Guest, offset, size},
};
use crate::host::{
    Exit, Host,
    bindings::wasi::{
        cli::environment::Host as _,
        clocks::{monotonic_clock, wall_clock},
    },
};

pub(super) const REALTIME: u32 = 0;
pub(super) const MONOTONIC: u32 = 1;

/// How many random bytes are made at a time.
const RANDOM_BYTES: u32 = 64 * 1024;

pub(super) async fn args_get(guest: &mut Guest<'_>, argv: u32, buffer: u32) -> Outcome {
    let arguments = arguments(guest)?;
    write_strings(guest, &arguments, argv, buffer)
}

pub(super) async fn args_sizes_get(guest: &mut Guest<'_>, count: u32, len: u32) -> Outcome {
    let arguments = arguments(guest)?;
    write_sizes(guest, &arguments, count, len)
}

pub(super) async fn environ_get(guest: &mut Guest<'_>, environ: u32, buffer: u32) -> Outcome {
    let variables = variables(guest)?;
    write_strings(guest, &variables, environ, buffer)
}

pub(super) async fn environ_sizes_get(guest: &mut Guest<'_>, count: u32, len: u32) -> Outcome {
    let variables = variables(guest)?;
    write_sizes(guest, &variables, count, len)
}

fn arguments(guest: &mut Guest<'_>) -> Result<Vec<String>, Fault> {
    Ok(guest.host().get_arguments()?)
}

fn variables(guest: &mut Guest<'_>) -> Result<Vec<String>, Fault> {
    let variables = guest.host().get_environment()?;
    Ok(variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect())
}

/// Writes the strings, each with a NUL behind it, and where each begins.
fn write_strings(guest: &mut Guest<'_>, strings: &[String], pointers: u32, buffer: u32) -> Outcome {
    let mut at = buffer;
    for (index, string) in strings.iter().enumerate() {
        guest.write_u32(offset(pointers, index * 4)?, at)?;
        guest.write(at, string.as_bytes())?;
        guest.write(offset(at, string.len())?, &[0])?;
        at = offset(at, string.len() + 1)?;
    }
    Ok(())
}

fn write_sizes(guest: &mut Guest<'_>, strings: &[String], count: u32, len: u32) -> Outcome {
    guest.write_u32(count, size(strings.len())?)?;
    guest.write_u32(len, size(strings.iter().map(|string| string.len() + 1).sum())?)
}

pub(super) async fn clock_res_get(guest: &mut Guest<'_>, id: u32, resolution: u32) -> Outcome {
    let host = guest.host();
    let step = match id {
        REALTIME => nanoseconds(wall_clock::Host::resolution(host)?),
        MONOTONIC => monotonic_clock::Host::resolution(host)?,
        // "If the implementation does not support the clock, returns `errno::inval`."
        _ => return Err(Errno::INVAL.into()),
    };
    guest.write_u64(resolution, step)
}

pub(super) async fn clock_time_get(guest: &mut Guest<'_>, id: u32, _precision: u64, at: u32) -> Outcome {
    let now = time(guest.host(), id)?;
    guest.write_u64(at, now)
}

/// The time of a clock, in nanoseconds.
pub(super) fn time(host: &mut Host, id: u32) -> Result<u64, Fault> {
    match id {
        REALTIME => Ok(nanoseconds(wall_clock::Host::now(host)?)),
        MONOTONIC => Ok(monotonic_clock::Host::now(host)?),
        _ => Err(Errno::INVAL.into()),
    }
}

fn nanoseconds(time: wall_clock::Datetime) -> u64 {
    time.seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into())
}

pub(super) async fn random_get(guest: &mut Guest<'_>, buffer: u32, len: u32) -> Outcome {
    guest.bytes(buffer, len)?;
    let mut done = 0;
    while done < len {
        let mut bytes = vec![0; (len - done).min(RANDOM_BYTES) as usize];
        guest.host().fill_random(&mut bytes)?;
        guest.write(offset(buffer, done as usize)?, &bytes)?;
        done += size(bytes.len())?;
    }
    Ok(())
}

/// Ends the guest. Of the status the lowest 8 bits count, as everywhere.
pub(super) fn proc_exit(status: u32) -> Result<()> {
    Err(Exit(status as u8).into())
}

/// No guest has a way to be told.
pub(super) async fn proc_raise(_guest: &mut Guest<'_>, _signal: u32) -> Outcome {
    Err(Errno::NOTSUP.into())
}

pub(super) async fn sched_yield(_guest: &mut Guest<'_>) -> Outcome {
    tokio::task::yield_now().await;
    Ok(())
}

/// No descriptor of this version is ever a socket here: nothing makes one.
fn no_socket(guest: &mut Guest<'_>, fd: u32) -> Outcome {
    guest.host().entry(fd)?;
    Err(Errno::NOTSOCK.into())
}

pub(super) async fn sock_accept(guest: &mut Guest<'_>, fd: u32, _flags: u32, _accepted: u32) -> Outcome {
    no_socket(guest, fd)
}

pub(super) async fn sock_recv(
    guest: &mut Guest<'_>,
    fd: u32,
    _iovs: u32,
    _count: u32,
    _flags: u32,
    _received: u32,
    _out_flags: u32,
) -> Outcome {
    no_socket(guest, fd)
}

pub(super) async fn sock_send(
    guest: &mut Guest<'_>,
    fd: u32,
    _iovs: u32,
    _count: u32,
    _flags: u32,
    _sent: u32,
) -> Outcome {
    no_socket(guest, fd)
}

pub(super) async fn sock_shutdown(guest: &mut Guest<'_>, fd: u32, _how: u32) -> Outcome {
    no_socket(guest, fd)
}
