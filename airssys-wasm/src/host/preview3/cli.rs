//! `wasi:cli`: arguments, environment, standard streams and exit.

use std::io;

use wasmtime::{
    Result,
    component::{Access, FutureReader, HasSelf, Resource, StreamReader},
};

use super::{
    super::{
        Exit, Host,
        bindings::wasi::cli::environment::Host as _,
        cli::{Stdin, Stream},
    },
    bindings::wasi::cli::{
        environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
        terminal_stdin, terminal_stdout,
        types::{self, ErrorCode},
    },
    stream::{Bytewise, Consuming, Outcome, Producing, outcome},
};
use crate::instance::State;

impl types::Host for Host {}

impl environment::Host for Host {
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        super::super::bindings::wasi::cli::environment::Host::get_environment(self)
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        super::super::bindings::wasi::cli::environment::Host::get_arguments(self)
    }

    fn get_initial_cwd(&mut self) -> Result<Option<String>> {
        self.initial_cwd()
    }
}

impl exit::Host for Host {
    fn exit(&mut self, status: std::result::Result<(), ()>) -> Result<()> {
        Err(Exit(u8::from(status.is_err())).into())
    }

    fn exit_with_code(&mut self, status_code: u8) -> Result<()> {
        Err(Exit(status_code).into())
    }
}

/// What a stream says of an error of the system.
fn code(error: wasmtime::Error) -> Result<ErrorCode> {
    match error.downcast::<io::Error>()?.kind() {
        io::ErrorKind::BrokenPipe => Ok(ErrorCode::Pipe),
        _ => Ok(ErrorCode::Io),
    }
}

type Written = FutureReader<std::result::Result<(), ErrorCode>>;

impl stdin::Host for Host {}

impl stdin::HostWithStore<State> for HasSelf<Host> {
    fn read_via_stream(mut store: Access<'_, State, Self>) -> Result<(StreamReader<u8>, Written)> {
        let (outcome, read) = outcome(code);
        let input = store.get().input().map(Bytewise);
        let stream = StreamReader::new(&mut store, Producing::<Bytewise<Stdin>, _>::new(input, outcome))?;
        Ok((stream, FutureReader::new(&mut store, read)?))
    }
}

fn write(
    mut store: Access<'_, State, HasSelf<Host>>,
    data: StreamReader<u8>,
    stream: Stream,
) -> Result<Written> {
    let (outcome, written): (Outcome<ErrorCode>, _) = outcome(code);
    let drain = store.get().output(stream);
    data.pipe(&mut store, Consuming::new(drain, outcome))?;
    FutureReader::new(&mut store, written)
}

impl stdout::Host for Host {}

impl stdout::HostWithStore<State> for HasSelf<Host> {
    fn write_via_stream(store: Access<'_, State, Self>, data: StreamReader<u8>) -> Result<Written> {
        write(store, data, Stream::Stdout)
    }
}

impl stderr::Host for Host {}

impl stderr::HostWithStore<State> for HasSelf<Host> {
    fn write_via_stream(store: Access<'_, State, Self>, data: StreamReader<u8>) -> Result<Written> {
        write(store, data, Stream::Stderr)
    }
}

/// No guest is told of a terminal, as in WASI 0.2.
impl terminal_stdin::Host for Host {
    fn get_terminal_stdin(&mut self) -> Result<Option<Resource<terminal_input::TerminalInput>>> {
        Ok(None)
    }
}

impl terminal_stdout::Host for Host {
    fn get_terminal_stdout(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_stderr::Host for Host {
    fn get_terminal_stderr(&mut self) -> Result<Option<Resource<terminal_output::TerminalOutput>>> {
        Ok(None)
    }
}

impl terminal_input::Host for Host {}

impl terminal_input::HostTerminalInput for Host {
    fn drop(&mut self, terminal: Resource<terminal_input::TerminalInput>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}

impl terminal_output::Host for Host {}

impl terminal_output::HostTerminalOutput for Host {
    fn drop(&mut self, terminal: Resource<terminal_output::TerminalOutput>) -> Result<()> {
        self.table.delete(terminal)?;
        Ok(())
    }
}
