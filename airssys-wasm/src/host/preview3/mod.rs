//! WASI 0.3, in terms of the same handles and the same rules as 0.2: what differs is that calls are `async` and that streams
//! are the component model's own.
//!
//! No future of these holds the guest's tables: each takes the handle that it works with out first, so that any number of
//! them are under way at a time. One that the guest cancels is dropped, which the door records. Three do hold them: `bind`, `connect`
//! and `get-local-address` of `udp-socket`, which are no `async` functions of WASI, so that the guest waits for them anyway; and
//! nothing is waited for, as the system does at once what they ask of it.

mod bindings;
mod cli;
mod clocks;
mod convert;
mod filesystem;
mod http;
mod random;
pub(super) mod sockets;
mod stream;

use wasmtime::component::Linker;

use crate::instance::State;

/// Links every import.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use bindings::wasi;

    http::link(linker)?;
    link!(
        linker;
        wasi::cli::environment,
        wasi::cli::exit,
        wasi::cli::stderr,
        wasi::cli::stdin,
        wasi::cli::stdout,
        wasi::cli::terminal_input,
        wasi::cli::terminal_output,
        wasi::cli::terminal_stderr,
        wasi::cli::terminal_stdin,
        wasi::cli::terminal_stdout,
        wasi::cli::types,
        wasi::clocks::monotonic_clock,
        wasi::clocks::system_clock,
        wasi::clocks::types,
        wasi::filesystem::preopens,
        wasi::filesystem::types,
        wasi::random::insecure,
        wasi::random::insecure_seed,
        wasi::random::random,
        wasi::sockets::ip_name_lookup,
        wasi::sockets::types,
    );
    Ok(())
}
