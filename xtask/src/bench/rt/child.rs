//! One child process: one workload on one system, for a limited time.

use std::{
    io::{self, Read},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Failure;

/// How long a child may take. A system that needs longer for a workload has no figure there.
const LIMIT: Duration = Duration::from_secs(40);

/// How often it is looked whether a child has ended: often enough not to waste time, too seldom to disturb.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a child says it measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) operations: f64,
    pub(super) wall_ns: f64,
    pub(super) cpu_ns: f64,
    pub(super) bytes: f64,
}

/// How a child came out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    Measured(Figures),
    /// The system has nothing like the workload.
    NotApplicable,
    /// It took more than [`LIMIT`], and was ended.
    TooLong,
}

/// Runs a child to its end.
///
/// # Errors
///
/// It cannot be started, fails, or prints no result; with the first line that it printed to its standard error.
pub(super) fn run(command: &mut Command) -> Result<Outcome, Failure> {
    run_within(command, LIMIT)
}

fn run_within(command: &mut Command, limit: Duration) -> Result<Outcome, Failure> {
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{} cannot be run: {error}", command.get_program().display()))?;
    // Read at the same time, so that a child with much to say is not stopped by a full pipe.
    let (stdout, stderr) = (reader(child.stdout.take()), reader(child.stderr.take()));
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if start.elapsed() > limit {
            end(&mut child)?;
            return Ok(Outcome::TooLong);
        }
        thread::sleep(LOOK_EVERY);
    };
    let (stdout, stderr) = (stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default());
    let outcome = if status.success() { outcome(&stdout) } else { None };
    outcome.ok_or_else(|| {
        let said = stderr.lines().next().unwrap_or("nothing");
        format!("{command:?} ended with {status} and no result; it said: {said}").into()
    })
}

fn end(child: &mut Child) -> io::Result<()> {
    child.kill()?;
    child.wait().map(drop)
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = Vec::new();
        // What is cut off by an error has no result, and that is told.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Finds the line `R OPERATIONS WALL_NS CPU_NS BYTES`, or `N/A`.
fn outcome(stdout: &str) -> Option<Outcome> {
    stdout.lines().rev().find_map(|line| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["N/A"] => Some(Outcome::NotApplicable),
        ["R", operations, wall_ns, cpu_ns, bytes] => Some(Outcome::Measured(Figures {
            operations: operations.parse().ok()?,
            wall_ns: wall_ns.parse().ok()?,
            cpu_ns: cpu_ns.parse().ok()?,
            bytes: bytes.parse().ok()?,
        })),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_is_found_among_other_lines() {
        let figures = Figures { operations: 2_000.0, wall_ns: 7_000.0, cpu_ns: 8_000.0, bytes: 0.0 };
        assert_eq!(outcome("hello\nR 2000 7000 8000 0\n\n"), Some(Outcome::Measured(figures)));
        assert_eq!(outcome("N/A\n"), Some(Outcome::NotApplicable));
    }

    #[test]
    fn what_is_no_result_is_none() {
        assert_eq!(outcome(""), None);
        assert_eq!(outcome("R 2000 7000 8000\n"), None);
        assert_eq!(outcome("R 2000 7000 fast 0\n"), None);
    }

    fn sh(script: &str, limit: Duration) -> Result<Outcome, Failure> {
        run_within(Command::new("sh").args(["-c", script]), limit)
    }

    #[test]
    fn a_child_over_the_limit_is_ended() {
        assert_eq!(sh("exec sleep 1000", Duration::ZERO).unwrap(), Outcome::TooLong);
    }

    #[test]
    fn a_child_that_fails_is_an_error_with_what_it_said() {
        const LONG: Duration = Duration::from_secs(600);
        let error = sh("echo R 1 1 1 1; echo no such workload >&2; exit 1", LONG).unwrap_err();
        assert!(error.to_string().contains("no such workload"), "{error}");
        let error = sh("true", LONG).unwrap_err();
        assert!(error.to_string().contains("no result"), "{error}");
    }
}
