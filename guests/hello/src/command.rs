//! What the command does.

use crate::bindings::{
    self,
    exports::wasi::cli::run::Guest,
    wasi::{
        cli::{environment, stdin::get_stdin, stdout::get_stdout},
        filesystem::{
            preopens::get_directories,
            types::{DescriptorFlags, OpenFlags, PathFlags},
        },
        io::streams::{InputStream, StreamError},
    },
};

/// The file that it tries to open in each directory that it is given.
const FILE: &str = "secret.txt";

/// The most that it reads as one line.
const LINE_LIMIT_BYTES: usize = 64 * 1024;

/// The command.
pub(crate) struct Hello;

impl Guest for Hello {
    fn run() -> Result<(), ()> {
        let arguments = environment::get_arguments();
        // The first one is the name of the program.
        let text = format!(
            "hello\narguments: {}\nvariables: {}\ninput: {}\n{}",
            arguments.get(1..).unwrap_or_default().join(" "),
            environment::get_environment().len(),
            first_line(&get_stdin()),
            files(),
        );
        let stdout = get_stdout();
        // A call takes 4,096 bytes at most.
        text.as_bytes()
            .chunks(4_096)
            .try_for_each(|chunk| stdout.blocking_write_and_flush(chunk))
            .map_err(|_| ())?;
        if arguments.iter().any(|argument| argument == "--fail") { Err(()) } else { Ok(()) }
    }
}

fn first_line(stdin: &InputStream) -> String {
    let mut line = Vec::new();
    while line.len() < LINE_LIMIT_BYTES {
        match stdin.blocking_read(4_096) {
            Ok(piece) => line.extend_from_slice(&piece),
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => return error.to_debug_string(),
        }
        if line.contains(&b'\n') {
            break;
        }
    }
    let line = line.split(|byte| *byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

fn files() -> String {
    let directories = get_directories();
    if directories.is_empty() {
        return "files: no directory is granted\n".to_owned();
    }
    let attempt = |(directory, path): &(bindings::wasi::filesystem::types::Descriptor, String)| {
        let opened = directory.open_at(PathFlags::empty(), FILE, OpenFlags::empty(), DescriptorFlags::READ);
        match opened {
            Ok(_) => format!("files: {path}/{FILE} opened\n"),
            Err(code) => format!("files: {path}/{FILE}: {}\n", code.name()),
        }
    };
    directories.iter().map(attempt).collect()
}
