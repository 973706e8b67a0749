//! What a guest imports. One file per WIT package part; each call becomes an operation of `airssys-osl` under the
//! component's principal, or a message to another actor.
//!
//! Everything is linked, so that any component starts; what a component may *do* is decided at each call.

/// Links interfaces that Wasmtime made traits of, whatever WASI they are of.
macro_rules! link {
    ($linker:expr; $($interface:path),* $(,)?) => {{
        $({
            use $interface as interface;
            interface::add_to_linker::<$crate::instance::State, wasmtime::component::HasSelf<$crate::host::Host>>(
                $linker,
                $crate::host::host,
            )?;
        })*
    }};
}

pub(crate) mod bindings;
mod blobstore;
mod cli;
mod clocks;
mod config;
mod context;
mod errno;
mod files;
pub(crate) mod filesystem;
pub(crate) mod http;
mod keyvalue;
pub(crate) use log::{LogRate, printable};
mod log;
pub(crate) mod messaging;
pub(crate) mod preview1;
pub(crate) mod preview3;
mod process;
mod random;
mod replies;
pub(crate) mod sockets;
mod stream;
mod timers;
mod topics;

pub(crate) use cli::Exit;
pub(crate) use config::Config;

use std::sync::{Arc, atomic::AtomicUsize};

use airssys_osl::{Principal, clock::Clock, fs::Dir, random::Random};
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi_io::IoView;

use crate::{actor::Port, instance::State};

/// Where the standard streams of a guest lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdio {
    /// To the streams of this program: a command that a user runs.
    Inherit,
    /// Output becomes lines of the log; input is empty: a component of a system.
    Log,
}

/// What the host functions of one instance work with.
pub(crate) struct Host {
    /// Before the table, where the guest's halves of its bodies are: those hear first that it has gone.
    pub(crate) http: http::Http,
    pub(crate) table: ResourceTable,
    pub(crate) principal: Principal,
    pub(crate) name: Arc<str>,
    pub(crate) arguments: Vec<String>,
    /// Environment variables that it was given, beside those that it may read.
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) preopens: Vec<(Dir, String)>,
    /// What its containers of objects are in, where it has any.
    pub(crate) blobs: Option<Dir>,
    pub(crate) config: Config,
    /// Which of its lines are logged.
    pub(crate) log: Arc<log::LogRate>,
    /// The most bytes that one call hands over, either way: what comes in is counted by its store, what goes out where it is
    /// made.
    pub(crate) handed_bytes: usize,
    /// How many files and directories it holds open, its preopens aside.
    pub(crate) open_files: Arc<AtomicUsize>,
    pub(crate) stdio: Stdio,
    /// Opened at first use; the door records that once.
    pub(crate) clock: Option<Clock>,
    /// Opened at first use; the door records that once.
    pub(crate) random: Option<Random>,
    /// What an actor reaches of the runtime; a command has none.
    pub(crate) port: Option<Port>,
    /// The descriptors of a core module, by number.
    pub(crate) preview1: Option<preview1::Table>,
}

fn host(state: &mut State) -> &mut Host {
    &mut state.host
}

/// Links every import.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    use bindings::{airssys, wasi};

    wasmtime_wasi_io::add_to_linker_async(linker)?;
    http::link(linker)?;
    link!(
        linker;
        airssys::actor::log,
        airssys::actor::messaging,
        airssys::actor::timers,
        airssys::actor::topics,
        airssys::actor::replies,
        airssys::actor::context,
        airssys::actor::files,
        airssys::actor::types,
        airssys::process::process,
        wasi::blobstore::blobstore,
        wasi::blobstore::container,
        wasi::blobstore::types,
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
        wasi::clocks::monotonic_clock,
        wasi::clocks::wall_clock,
        wasi::config::store,
        wasi::filesystem::preopens,
        wasi::filesystem::types,
        wasi::keyvalue0_2_0_draft::atomics,
        wasi::keyvalue0_2_0_draft::batch,
        wasi::keyvalue0_2_0_draft::store,
        wasi::keyvalue0_2_0_draft2::atomics,
        wasi::keyvalue0_2_0_draft2::batch,
        wasi::keyvalue0_2_0_draft2::store,
        wasi::logging::logging,
        wasi::random::insecure,
        wasi::random::insecure_seed,
        wasi::random::random,
        wasi::sockets::instance_network,
        wasi::sockets::ip_name_lookup,
        wasi::sockets::tcp,
        wasi::sockets::tcp_create_socket,
        wasi::sockets::udp,
        wasi::sockets::udp_create_socket,
    );
    // What the specification calls unstable is there like the rest.
    let mut options = wasi::sockets::network::LinkOptions::default();
    let options = options.network_error_code(true);
    wasi::sockets::network::add_to_linker::<State, HasSelf<Host>>(linker, options, host)?;
    let mut options = wasi::clocks::timezone::LinkOptions::default();
    let options = options.clocks_timezone(true);
    wasi::clocks::timezone::add_to_linker::<State, HasSelf<Host>>(linker, options, host)?;
    Ok(())
}

impl IoView for State {
    fn table(&mut self) -> &mut ResourceTable {
        &mut self.host.table
    }
}
