//! `wasi:cli`: arguments, environment, standard streams and exit.

use std::{
    fmt,
    io::{Read as _, Write as _},
    sync::Arc,
};

use bytes::Bytes;
use wasmtime::{Result, component::Resource, error::Context as _};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    Host, Stdio,
    bindings::{
        airssys::actor::types::Level,
        wasi::cli::{
            environment, exit, stderr, stdin, stdout, terminal_input, terminal_output, terminal_stderr,
            terminal_stdin, terminal_stdout,
        },
    },
    log::{LINE_BYTES, LogRate},
    stream::{CHUNK_BYTES, Drain, Reading, Source, Writing},
};

/// The guest ended by itself with this status: `wasi:cli/exit`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exit(pub(crate) u8);

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit with status {}", self.0)
    }
}

impl std::error::Error for Exit {}

impl environment::Host for Host {
    /// The granted variables, and those that it was given. Where none is granted, WASI's answer is an empty list, and
    /// the record says denied.
    fn get_environment(&mut self) -> Result<Vec<(String, String)>> {
        let mut variables = match self.principal.env() {
            Ok(variables) => variables,
            Err(error) if error.kind() == airssys_osl::ErrorKind::Denied => Vec::new(),
            Err(error) => return Err(error).context("the environment cannot be read"),
        };
        variables.retain(|(name, _)| self.variables.iter().all(|(given, _)| given != name));
        variables.extend(self.variables.iter().cloned());
        Ok(variables)
    }

    fn get_arguments(&mut self) -> Result<Vec<String>> {
        Ok(self.arguments.clone())
    }

    fn initial_cwd(&mut self) -> Result<Option<String>> {
        Ok(None)
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

impl stdin::Host for Host {
    fn get_stdin(&mut self) -> Result<Resource<DynInputStream>> {
        let stream: DynInputStream = match self.input() {
            Some(stdin) => Box::new(Reading::new(stdin)),
            None => Box::new(Reading::<Stdin>::Closed),
        };
        Ok(self.table.push(stream)?)
    }
}

impl stdout::Host for Host {
    fn get_stdout(&mut self) -> Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writing::new(self.output(Stream::Stdout)));
        Ok(self.table.push(stream)?)
    }
}

impl stderr::Host for Host {
    fn get_stderr(&mut self) -> Result<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writing::new(self.output(Stream::Stderr)));
        Ok(self.table.push(stream)?)
    }
}

impl Host {
    /// Where its input comes from. None is at its end already.
    pub(super) fn input(&self) -> Option<Stdin> {
        match self.stdio {
            Stdio::Inherit => Some(Stdin),
            Stdio::Log => None,
        }
    }

    /// Where what it writes to one of its streams goes.
    pub(super) fn output(&self, stream: Stream) -> Output {
        match self.stdio {
            Stdio::Inherit => Output::Stream(stream),
            Stdio::Log => Output::Log(LogLines {
                component: self.name.clone(),
                log: self.log.clone(),
                line: Vec::new(),
            }),
        }
    }
}

/// This program's own input. Reading waits on a thread of the blocking pool.
pub(super) struct Stdin;

impl Source for Stdin {
    async fn read(self, max: usize) -> (Self, Result<Bytes>) {
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; max.min(CHUNK_BYTES)];
            let count = std::io::stdin().read(&mut buffer)?;
            buffer.truncate(count);
            Ok::<_, std::io::Error>(Bytes::from(buffer))
        });
        let bytes = match read.await {
            Ok(bytes) => bytes.map_err(Into::into),
            Err(cancelled) => Err(cancelled.into()),
        };
        (self, bytes)
    }
}

/// Where a guest's output goes.
pub(super) enum Output {
    Stream(Stream),
    Log(LogLines),
}

impl Drain for Output {
    async fn write(self, bytes: Bytes) -> (Self, Result<()>) {
        match self {
            Self::Stream(stream) => (self, stream.write(bytes).await),
            Self::Log(mut lines) => {
                lines.write(&bytes);
                (Self::Log(lines), Ok(()))
            }
        }
    }
}

/// This program's own output.
#[derive(Clone, Copy)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    async fn write(self, bytes: Bytes) -> Result<()> {
        // A pipe whose reader is slow blocks; that must not hold a worker of the runtime.
        let write = tokio::task::spawn_blocking(move || match self {
            Self::Stdout => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(&bytes).and_then(|()| stdout.flush())
            }
            Self::Stderr => std::io::stderr().write_all(&bytes),
        });
        match write.await {
            Ok(written) => written.map_err(Into::into),
            Err(cancelled) => Err(cancelled.into()),
        }
    }
}

/// A component's standard output: each line becomes one of the log.
pub(super) struct LogLines {
    component: Arc<str>,
    log: Arc<LogRate>,
    line: Vec<u8>,
}

impl LogLines {
    fn log(&mut self) {
        self.log.log(&self.component, Level::Info, &String::from_utf8_lossy(&self.line));
        self.line.clear();
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' => self.log(),
                _ => self.line.push(byte),
            }
            if self.line.len() >= LINE_BYTES {
                self.log();
            }
        }
    }
}

impl Drop for LogLines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.log();
        }
    }
}

/// No guest is told of a terminal. A command's output passes through as it is, as with any other program.
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
