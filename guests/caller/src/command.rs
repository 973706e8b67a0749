//! What the command does.

use crate::{
    bindings::{
        exports::wasi::cli::run::Guest,
        wasi::cli::{environment, stdout::get_stdout},
    },
    files, program,
    script::{Call, Outcome},
    sockets, streams,
    table::Table,
};

/// The command.
pub(crate) struct Caller;

impl Guest for Caller {
    fn run() -> Result<(), ()> {
        let script = environment::get_arguments().get(1).cloned().unwrap_or_default();
        let mut table = Table::default();
        let stdout = get_stdout();
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let mut call = Call::parse(line);
            let answer = dispatch(&mut call, &mut table).unwrap_or_else(|failed| failed.0);
            // A call takes 4,096 bytes at most; no answer has as many.
            stdout.blocking_write_and_flush(format!("{answer}\n").as_bytes()).map_err(|_| ())?;
        }
        // In which order things are dropped is the script's to say; the host drops what is left.
        std::mem::forget(table);
        Ok(())
    }
}

fn dispatch(call: &mut Call, table: &mut Table) -> Outcome {
    match call.interface.as_str() {
        "descriptor" => files::descriptor(call, table),
        "preopens" => files::preopens(call, table),
        "entries" => files::entries(call, table),
        "input" => streams::input(call, table),
        "output" => streams::output(call, table),
        "poll" => streams::poll(call, table),
        "tcp" => sockets::tcp(call, table),
        "udp" => sockets::udp(call, table),
        "incoming" => sockets::incoming(call, table),
        "outgoing" => sockets::outgoing(call, table),
        "names" => sockets::names(call, table),
        _ => program::call(call, table),
    }
}
