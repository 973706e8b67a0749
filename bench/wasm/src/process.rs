//! A native process that answers: what one would isolate with, were there no sandbox.

use std::{
    env,
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use airssys_bench::osl::Failure;

/// What this program is started with to be such a process.
pub(crate) const ARGUMENT: &str = "answer";

const LEN: usize = 64;

/// A process and the ways to it. Dropped, it ends with its input.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
}

impl Process {
    pub(crate) fn start() -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a process without pipes".into());
        };
        Ok(Self { child, input: Some(input), output })
    }

    /// One message of 64 bytes, and its reply.
    pub(crate) fn ask(&mut self, byte: u8) -> Result<(), Failure> {
        let mut message = [byte; LEN];
        self.input.as_mut().ok_or("it has ended")?.write_all(&message)?;
        Ok(self.output.read_exact(&mut message)?)
    }

    /// Ends it, and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        drop(self.input.take());
        self.child.wait()?;
        Ok(())
    }
}

/// Answers what comes until nothing does. Told zeros, it crashes.
pub(crate) fn answer() -> Result<(), Failure> {
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
    let mut message = [0; LEN];
    while input.read_exact(&mut message).is_ok() {
        if message == [0; LEN] {
            std::process::exit(1);
        }
        output.write_all(&message)?;
        output.flush()?;
    }
    Ok(())
}
