//! What the command does.

use crate::{
    bindings::{
        exports::wasi::cli::run::Guest,
        wasi::cli::{environment, stdout::get_stdout},
    },
    blobs, files, http, keyvalue, program,
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
            let answer = answer(line, &mut table);
            // A call takes 4,096 bytes at most; no answer has as many.
            stdout.blocking_write_and_flush(format!("{answer}\n").as_bytes()).map_err(|_| ())?;
        }
        // In which order things are dropped is the script's to say; the host drops what is left.
        std::mem::forget(table);
        Ok(())
    }
}

/// What a line of a script answers.
pub(crate) fn answer(line: &str, table: &mut Table) -> String {
    let mut call = Call::parse(line);
    dispatch(&mut call, table).unwrap_or_else(|failed| failed.0)
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
        "fields" => http::fields(call, table),
        "outgoing-request" => http::request(call, table),
        "request-options" => http::options(call, table),
        "outgoing-handler" => http::handle(call, table),
        "future-incoming-response" => http::future(call, table),
        "incoming-response" => http::answer(call, table),
        "incoming-body" => http::content(call, table),
        "future-trailers" => http::trailers(call, table),
        "incoming-request" => http::asked(call, table),
        "response-outparam" => http::outparam(call, table),
        "outgoing-response" => http::response(call, table),
        "outgoing-body" => http::body(call, table),
        "store" | "bucket" | "atomics" | "batch" => keyvalue::first(call, table),
        "store2" | "bucket2" | "atomics2" | "batch2" => keyvalue::second(call, table),
        "cas" => keyvalue::cas(call, table),
        "blobstore" => blobs::blobstore(call, table),
        "container" => blobs::container(call, table),
        "stream-object-names" => blobs::names(call, table),
        "outgoing-value" => blobs::outgoing(call, table),
        "incoming-value" => blobs::incoming(call, table),
        _ => program::call(call, table),
    }
}
