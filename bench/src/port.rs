//! A program as an actor: lines through `cat`, beside a plain child of tokio: as one writes it at first, and with buffers.

use std::{process::Stdio, time::Instant};

use airssys_osl::{
    Os,
    audit::{Event, Sink},
    policy::{ExecTerms, Grant, Policy},
    process::{Exec, Launch},
};
use airssys_rt::{
    Actor, Context, ExitReason, System,
    port::{Framing, Port},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, BufWriter},
    process::Command,
    sync::oneshot,
};

use crate::{osl::figures::Failure, turns::Turns};

/// How many lines go through in a turn. What is built to be tested is slow, and tells nothing.
const LINES: u64 = if cfg!(debug_assertions) { 10_000 } else { 1_000_000 };
const PROGRAM: &str = "/bin/cat";
const MEASURE: &str = "port-line";

/// Takes records for nothing: there are four, for a million lines.
struct Discard;

impl Sink for Discard {
    fn record(&self, _event: &Event<'_>) -> Result<u64, airssys_osl::Error> {
        Ok(1)
    }
}

/// Measures all, and prints what a line takes, there and back.
///
/// # Errors
///
/// A line was lost, or a program did not start.
///
/// # Cancel safety
///
/// The programs are killed.
pub async fn run(rounds: usize) -> Result<(), Failure> {
    let policy = Policy::builder().principal("bench", [Grant::exec(PROGRAM, ExecTerms::new())]).build()?;
    let exec = Os::new(policy, Discard).principal("bench")?.exec(PROGRAM).await?;
    let (system, mut turns) = (System::new(), Turns::new());
    for _ in 0..rounds {
        let mut note =
            |system, start: Instant| turns.add(system, start.elapsed().as_nanos() as f64 / LINES as f64);
        let start = Instant::now();
        ours(&system, &exec).await?;
        note("airssys", start);
        for (system, buffer_bytes) in [("tokio", 0), ("tokio-buffered", 64 * 1024)] {
            let start = Instant::now();
            plain(buffer_bytes).await?;
            note(system, start);
        }
    }
    turns.tell(MEASURE);
    Ok(())
}

/// Expects lines by their numbers, and tells when all have come.
struct Counter {
    expected: u64,
    done: Option<oneshot::Sender<()>>,
}

impl Actor for Counter {
    type Msg = Option<u64>;

    async fn handle(&mut self, line: Option<u64>, _: &mut Context<Self>) -> Result<(), ExitReason> {
        if line != Some(self.expected) {
            return Err(ExitReason::ShutdownFor(format!("{line:?} for {}", self.expected).into()));
        }
        self.expected += 1;
        if self.expected == LINES {
            // Whoever waits has failed, and says so.
            let _ = self.done.take().map(|done| done.send(()));
        }
        Ok(())
    }
}

async fn ours(system: &System, exec: &Exec) -> Result<(), Failure> {
    let (done, all) = oneshot::channel();
    let counter = system.spawn(Counter { expected: 0, done: Some(done) });
    let port = Port::new(exec.clone(), Launch::new(), Framing::Lines, counter, number);
    let input = port.input();
    let port = system.spawn(port);
    for number in 0..LINES {
        input.write(&line(number)).await?;
    }
    all.await?;
    port.stop(ExitReason::Normal);
    port.exited().await;
    Ok(())
}

/// A write for each line, unless there is a buffer.
async fn plain(buffer_bytes: usize) -> Result<(), Failure> {
    let mut command = Command::new(PROGRAM);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
    let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or("cat has no pipes")?;
    let write = tokio::spawn(async move {
        let mut input = BufWriter::with_capacity(buffer_bytes, input);
        for number in 0..LINES {
            let mut text = [b'\n'; 41];
            text[..40].copy_from_slice(&line(number));
            input.write_all(&text).await?;
        }
        input.flush().await
    });
    let (mut output, mut read) = (BufReader::with_capacity(64 * 1024, output), Vec::new());
    for expected in 0..LINES {
        read.clear();
        output.read_until(b'\n', &mut read).await?;
        if read.pop() != Some(b'\n') || number(&read) != Some(expected) {
            return Err(format!("{} for {expected}", String::from_utf8_lossy(&read)).into());
        }
    }
    write.await??;
    if !child.wait().await?.success() {
        return Err("cat failed".into());
    }
    Ok(())
}

/// A line of a log, with a number of eight digits at its end.
fn line(number: u64) -> [u8; 40] {
    let mut line = *b"2026-11-23 GET /index.html 200  ........";
    let mut rest = number;
    for digit in line.iter_mut().rev().take(8) {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    line
}

fn number(line: &[u8]) -> Option<u64> {
    str::from_utf8(line.get(32..)?).ok()?.parse().ok()
}
