//! What the figures were measured on, and with.

use std::{error, fmt, fs, io, path::Path, process::Command, thread};

/// The machine and the versions.
#[derive(Debug)]
pub(super) struct Machine {
    parts: Vec<String>,
}

impl Machine {
    /// Looks at this machine, and names these versions of what was measured with it. What a platform does not tell is
    /// left out.
    pub(super) fn describe(versions: Vec<String>) -> Result<Self, Box<dyn error::Error>> {
        let mut parts = vec![format!("{} cores", thread::available_parallelism()?)];
        if let Ok(cpus) = fs::read_to_string("/proc/cpuinfo") {
            parts.extend(cpu_model(&cpus));
        }
        if let Ok(kernel) = fs::read_to_string("/proc/sys/kernel/osrelease") {
            parts.push(format!("Linux {}", kernel.trim()));
        }
        let rustc = Command::new("rustc").arg("--version").output()?;
        parts.push(String::from_utf8_lossy(&rustc.stdout).trim().to_owned());
        parts.extend(versions);
        Ok(Self { parts })
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts.join(", "))
    }
}

/// The names and versions of those of the libraries that are in a lock file.
pub(super) fn locked_versions(lock: &Path, libraries: &[&str]) -> io::Result<Vec<String>> {
    let lock = fs::read_to_string(lock)?;
    Ok(libraries.iter().filter_map(|library| locked(&lock, library)).collect())
}

fn cpu_model(cpus: &str) -> Option<String> {
    let line = cpus.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.to_owned())
}

/// A library's name and version in a lock file.
fn locked(lock: &str, library: &str) -> Option<String> {
    let (_, entry) = lock.split_once(&format!("name = \"{library}\"\nversion = \""))?;
    Some(format!("{library} {}", entry.split_once('"')?.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_lock_file() {
        let lock = "[[package]]\nname = \"tokio-util\"\nversion = \"0.7.1\"\n\n[[package]]\nname = \"tokio\"\nversion = \"1.54.0\"\n";
        assert_eq!(locked(lock, "tokio").as_deref(), Some("tokio 1.54.0"));
        assert_eq!(locked(lock, "wasmtime"), None);
    }

    #[test]
    fn the_cpu_is_the_first_model() {
        let cpus = "processor\t: 0\nmodel name\t: Example CPU @ 2.50GHz\nmodel name\t: Other\n";
        assert_eq!(cpu_model(cpus).as_deref(), Some("Example CPU @ 2.50GHz"));
        assert_eq!(cpu_model("processor: 0"), None);
    }
}
