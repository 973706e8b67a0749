//! `make-log LINES SAMPLE LOG`: writes a log of so many lines by repeating the sample's, each copy later than the
//! last by the time that the sample spans.
//!
//! The poison line is in the first copy only, so that a log of any length has one.

#![expect(clippy::disallowed_methods, reason = "a tool of the benchmark, not part of the product")]

use std::{
    env, error,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use airssys_bench::{
    access_log::{self, split},
    stamp::Stamp,
};

/// How the target of the poison line ends.
const POISON: &[u8] = b"=100% HTTP/1.1\"";

/// A line of the sample, around its timestamp.
struct Line {
    before: Vec<u8>,
    time: Stamp,
    after: Vec<u8>,
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let Some((lines, sample, log)) = parsed(&arguments) else {
        eprintln!("usage: make-log LINES SAMPLE LOG");
        return ExitCode::from(2);
    };
    match run(lines, sample, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("make-log: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parsed(arguments: &[String]) -> Option<(usize, &Path, &Path)> {
    match arguments {
        [lines, sample, log] => Some((lines.parse().ok()?, Path::new(sample), Path::new(log))),
        _ => None,
    }
}

fn run(lines: usize, sample: &Path, log: &Path) -> Result<(), Box<dyn error::Error>> {
    let mut copy = read(sample)?;
    let span = span_seconds(&copy).ok_or("the sample has no lines with a timestamp")?;

    // Renamed when complete: a log that is there is whole, however this program ended.
    let unfinished = PathBuf::from(format!("{}.tmp", log.display()));
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
    let (mut left, mut shift) = (lines, 0);
    while left > 0 {
        for line in copy.iter().take(left) {
            out.write_all(&line.before)?;
            write!(out, "{}", line.time.later(shift))?;
            out.write_all(&line.after)?;
        }
        left -= left.min(copy.len());
        shift += span;
        copy.retain(|line| split(&line.after, POISON).is_none());
    }
    out.into_inner()?.sync_all()?;
    fs::rename(&unfinished, log)?;
    Ok(())
}

/// Reads the sample from its oldest line to its newest: of rotated logs, the highest number is the oldest.
fn read(sample: &Path) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for path in access_log::files(sample)?.iter().rev() {
        access_log::for_each_line(path, |line| lines.extend(Line::parse(line)))?;
    }
    Ok(lines)
}

/// The time from the first to after the last line.
fn span_seconds(lines: &[Line]) -> Option<i64> {
    let times = || lines.iter().map(|line| line.time.unix_seconds);
    Some(times().max()? - times().min()? + 1)
}

impl Line {
    fn parse(line: &[u8]) -> Option<Self> {
        let (before, rest) = split(line, b" [")?;
        let (time, after) = split(rest, b"]")?;
        let time = Stamp::parse(str::from_utf8(time).ok()?)?;
        Some(Self { before: [before, b" ["].concat(), time, after: [b"]", after, b"\n"].concat() })
    }
}
