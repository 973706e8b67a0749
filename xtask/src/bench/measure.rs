//! What one run of a program costs: wall time, processor time, peak memory. Needs Linux's `/proc`.

use std::{
    error, fs, io,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

/// How often a running program's high-water mark of memory is read. The mark only ever rises and the kernel keeps it,
/// so nothing is missed but what a program adds in its last moments.
const WATCH_EVERY: Duration = Duration::from_millis(2);

/// The unit of the times in `/proc/*/stat`: it is 100 on every platform that Linux runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run cost, and what it printed.
#[derive(Debug)]
pub(super) struct Run {
    /// From before the start to after the end.
    pub(super) wall: Duration,
    /// Of all threads, in user and kernel mode, in seconds. In steps of 10 ms.
    pub(super) cpu_seconds: f64,
    /// The most memory that was resident at a time.
    pub(super) peak_bytes: u64,
    /// What it printed to its standard output.
    pub(super) stdout: String,
}

/// Runs a program to its end and measures it. Only one at a time: processor time is that of all children that ended.
///
/// # Errors
///
/// Where the program cannot be started, fails (with what it printed last), or `/proc` does not tell.
pub(super) fn run(command: &mut Command) -> Result<Run, Box<dyn error::Error>> {
    let cpu_before = children_cpu_seconds()?;
    let start = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let status_file = format!("/proc/{}/status", child.id());
    let ended = AtomicBool::new(false);

    let (output, wall, peak_bytes) = thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut peak_bytes = None;
            while !ended.load(Ordering::Relaxed) {
                let status = fs::read_to_string(&status_file).unwrap_or_default();
                peak_bytes = high_water_mark(&status).max(peak_bytes);
                thread::sleep(WATCH_EVERY);
            }
            peak_bytes
        });
        let output = child.wait_with_output();
        let wall = start.elapsed();
        ended.store(true, Ordering::Relaxed);
        (output, wall, watcher.join())
    });

    let output = output?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let last_lines: Vec<_> = stdout.lines().chain(stderr.lines()).rev().take(5).collect();
        let last_lines = last_lines.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(format!("{command:?} ended with {}:\n{last_lines}", output.status).into());
    }
    let peak_bytes =
        peak_bytes.ok().flatten().ok_or("the program's peak memory could not be read in /proc")?;
    Ok(Run { wall, cpu_seconds: children_cpu_seconds()? - cpu_before, peak_bytes, stdout })
}

/// `VmHWM` of a `/proc/*/status`; `None` for a process that has ended.
fn high_water_mark(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Processor time of this process's children that were waited for.
fn children_cpu_seconds() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    children_ticks(&stat)
        .map(|ticks| ticks as f64 / TICKS_PER_SECOND)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc/self/stat has another form"))
}

/// `cutime` and `cstime`, the fields 16 and 17 of `proc_pid_stat(5)`. The second field, a name, may hold anything, so
/// fields are counted from its closing parenthesis.
fn children_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(13);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_stat_are_counted_from_the_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 11 12 13 14 20 0 1 0 9 10 11";
        assert_eq!(children_ticks(stat), Some(13 + 14));
        assert_eq!(children_ticks("7 (a) S 1"), None);
    }

    #[test]
    fn the_mark_of_an_ended_process_is_unknown() {
        assert_eq!(high_water_mark("Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2048 * 1024));
        assert_eq!(high_water_mark("Name:\tx\nState:\tZ (zombie)\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_program_is_measured() {
        // 200 ms is no wait for something else: it is what is measured.
        let script = "echo a line; i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; sleep 0.2";
        // Its memory is not known where nobody had the time to look at it while it ran.
        let measured = |_| run(Command::new("sh").args(["-c", script])).ok();
        let run = (0..20).find_map(measured).expect("sh runs");
        assert!(run.wall >= Duration::from_millis(200), "{run:?}");
        assert!(run.cpu_seconds > 0.0 && run.cpu_seconds < run.wall.as_secs_f64(), "{run:?}");
        assert!(run.peak_bytes > 100_000 && run.peak_bytes < 100_000_000, "{run:?}");
        assert_eq!(run.stdout, "a line\n");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_failure_says_what_the_program_said() {
        let error = run(Command::new("sh").args(["-c", "echo no such log >&2; exit 3"])).expect_err("fails");
        assert!(
            error.to_string().contains("exit status: 3") && error.to_string().contains("no such log"),
            "{error}"
        );
    }
}
