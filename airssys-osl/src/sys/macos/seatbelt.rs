//! The profile that macOS's Seatbelt holds a program to, made of its grant: what it does not allow is denied.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
};

/// What a profile is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    /// The program, as its file is really called.
    pub(crate) program: &'a Path,
    /// The files and directories that it sees, as they are really called, with whether it may change them.
    pub(crate) places: &'a [(PathBuf, bool)],
    /// Whether it is on the machine's network.
    pub(crate) network: bool,
    /// Whether what it can write it can execute.
    pub(crate) executes: bool,
}

/// What every program needs before its first line of code runs, and what of the machine it can tell by that: the names of
/// directories on the way to its libraries, the kind of the processor, the clock. No Mach service but the two by which a
/// program writes to the system's log and asks who its user is, and no IOKit. Of what the kernel tells by name, what is named:
/// not `kern.proc*`, the arguments and variables of the user's other processes.
const ALWAYS: &str = r#"(version 1)
(deny default)
(allow process-fork)
(allow signal (target same-sandbox))
(allow process-info* (target same-sandbox))
(allow sysctl-read
  (sysctl-name "hw.activecpu") (sysctl-name "hw.busfrequency_compat") (sysctl-name "hw.byteorder")
  (sysctl-name "hw.cacheconfig") (sysctl-name "hw.cachelinesize") (sysctl-name "hw.cachelinesize_compat")
  (sysctl-name "hw.cpufamily") (sysctl-name "hw.cpufrequency_compat") (sysctl-name "hw.cputype")
  (sysctl-name "hw.l1dcachesize_compat") (sysctl-name "hw.l1icachesize_compat") (sysctl-name "hw.l2cachesize_compat")
  (sysctl-name "hw.l3cachesize_compat") (sysctl-name "hw.logicalcpu") (sysctl-name "hw.logicalcpu_max")
  (sysctl-name "hw.machine") (sysctl-name "hw.memsize") (sysctl-name "hw.model") (sysctl-name "hw.ncpu")
  (sysctl-name "hw.nperflevels") (sysctl-name "hw.packages") (sysctl-name "hw.pagesize")
  (sysctl-name "hw.pagesize_compat") (sysctl-name "hw.physicalcpu") (sysctl-name "hw.physicalcpu_max")
  (sysctl-name "hw.tbfrequency_compat") (sysctl-name "hw.vectorunit") (sysctl-name-prefix "hw.optional.")
  (sysctl-name-prefix "hw.perflevel") (sysctl-name-prefix "machdep.cpu.")
  (sysctl-name "kern.argmax") (sysctl-name "kern.hostname") (sysctl-name "kern.maxfilesperproc")
  (sysctl-name "kern.maxproc") (sysctl-name "kern.osproductversion") (sysctl-name "kern.osrelease")
  (sysctl-name "kern.ostype") (sysctl-name "kern.osvariant_status") (sysctl-name "kern.osversion")
  (sysctl-name "kern.secure_kernel") (sysctl-name "kern.usrstack64") (sysctl-name "kern.version")
  (sysctl-name "sysctl.proc_cputype") (sysctl-name "vm.loadavg"))
(allow file-read-metadata (literal "/") (literal "/private") (literal "/private/var") (literal "/private/etc")
  (literal "/var") (literal "/etc") (literal "/tmp"))
(allow file-read* (literal "/dev/null") (literal "/dev/zero") (literal "/dev/random") (literal "/dev/urandom"))
(allow file-write-data (literal "/dev/null") (literal "/dev/zero"))
(allow file-ioctl (literal "/dev/null"))
(allow mach-lookup (global-name "com.apple.system.logger") (global-name "com.apple.system.opendirectoryd.libinfo"))
"#;

/// The sockets of a program on the network, those of IP alone: `network*` would be UNIX sockets too, wherever they lie, and who
/// listens there runs programs for others. Beside them who looks hosts up, and whom it trusts.
const NETWORK: &str = r#"(allow network-outbound (remote ip))
(allow network-bind network-inbound (local ip))
(allow network-outbound (literal "/private/var/run/mDNSResponder"))
(allow mach-lookup (global-name "com.apple.dnssd.service") (global-name "com.apple.trustd.agent")
  (global-name "com.apple.SystemConfiguration.configd"))
"#;

/// Writes the profile; `None` where a path cannot be written in one.
///
/// Rules that come later go before those that came earlier, as `sandbox(7)` has it: what may be changed is denied to be
/// executed after everything that sees is allowed to, and to be exchanged itself after everything beneath it may be.
pub(crate) fn profile(held: &Held<'_>) -> Option<String> {
    let mut profile = ALWAYS.to_owned();
    let mut rule = |action: &str, path: &Path| -> Option<()> {
        writeln!(profile, "(allow {action} (subpath {}))", quoted(path)?).ok()
    };
    rule("file-read* process-exec*", held.program)?;
    for (path, _) in held.places {
        rule("file-read* process-exec* file-map-executable", path)?;
    }
    for (path, _) in held.places.iter().filter(|(_, write)| *write) {
        rule("file-write*", path)?;
    }
    for (path, _) in held.places.iter().filter(|(_, write)| *write && !held.executes) {
        writeln!(profile, "(deny process-exec* file-map-executable (subpath {}))", quoted(path)?).ok()?;
    }
    // Who may put a link in the place of what it is given chooses what its next start is given.
    for (path, _) in held.places.iter().filter(|(_, write)| *write) {
        writeln!(profile, "(deny file-write-unlink file-write-create (literal {}))", quoted(path)?).ok()?;
    }
    if held.network {
        profile.push_str(NETWORK);
    }
    // A file that is made must not become the root's program by its mode.
    profile.push_str("(deny file-write-setugid)\n");
    Some(profile)
}

/// A path as a word of the profile's language: text in quotes, in which `"` and `\` are written with a `\` before them. What is
/// no text, or has control characters, cannot be told from something else there.
fn quoted(path: &Path) -> Option<String> {
    let text = path.to_str().filter(|text| path.is_absolute() && !text.contains(char::is_control))?;
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        if matches!(character, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(character);
    }
    quoted.push('"');
    Some(quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn write(places: &[(&str, bool)], network: bool, executes: bool) -> Option<String> {
        let places: Vec<_> = places.iter().map(|(path, write)| (PathBuf::from(path), *write)).collect();
        profile(&Held { program: Path::new("/bin/cat"), places: &places, network, executes })
    }

    #[track_caller]
    fn check(profile: &str, has: &[&str], has_not: &[&str]) {
        for line in has {
            assert!(profile.lines().any(|known| known == *line), "no {line} in\n{profile}");
        }
        for part in has_not {
            assert!(!profile.contains(part), "{part} in\n{profile}");
        }
    }

    #[test]
    fn what_is_not_granted_is_denied() {
        let profile = write(&[], false, false).unwrap();
        assert!(profile.starts_with("(version 1)\n(deny default)\n"));
        check(
            &profile,
            &[r#"(allow file-read* process-exec* (subpath "/bin/cat"))"#],
            &["network", "(allow file-write*", "system-socket"],
        );
    }

    #[test]
    fn what_is_seen_is_read_and_what_is_changed_is_written_and_not_executed() {
        let profile = write(&[("/srv/in", false), ("/srv/out", true)], false, false).unwrap();
        let denied = r#"(deny process-exec* file-map-executable (subpath "/srv/out"))"#;
        check(
            &profile,
            &[
                r#"(allow file-read* process-exec* file-map-executable (subpath "/srv/in"))"#,
                r#"(allow file-read* process-exec* file-map-executable (subpath "/srv/out"))"#,
                r#"(allow file-write* (subpath "/srv/out"))"#,
                denied,
            ],
            &[r#"(allow file-write* (subpath "/srv/in"))"#],
        );
        let last = profile.rfind("(allow file-read*").unwrap();
        assert!(profile.find(denied).unwrap() > last, "an allowance comes after the denial");
        check(&write(&[("/srv/out", true)], false, true).unwrap(), &[], &["(deny process-exec*"]);
    }

    #[test]
    fn the_network_is_a_word_of_its_own() {
        let words = [
            "(allow network-outbound (remote ip))",
            "(allow network-bind network-inbound (local ip))",
            r#"(allow network-outbound (literal "/private/var/run/mDNSResponder"))"#,
        ];
        let profile = write(&[("/srv", true)], true, false).unwrap();
        check(&profile, &words, &["network*", "system-socket", "(local)", "(remote)", "unix"]);
        let named = profile.lines().filter(|line| line.contains("network-")).count();
        assert_eq!(named, words.len(), "{profile}");
    }

    #[test]
    fn what_is_given_to_change_is_not_exchanged_itself() {
        let profile = write(&[("/srv/a", true), ("/srv/in", false), ("/srv/b", true)], false, true).unwrap();
        let last = profile.rfind("(allow file-write").unwrap();
        for path in ["/srv/a", "/srv/b"] {
            let denied = format!("(deny file-write-unlink file-write-create (literal \"{path}\"))\n");
            assert!(profile.find(&denied).unwrap() > last, "an allowance comes after {denied}{profile}");
        }
        assert_eq!(profile.matches("file-write-unlink").count(), 2, "{profile}");
    }

    #[test]
    fn other_processes_are_not_told_of_by_the_kernel() {
        check(
            &write(&[], true, true).unwrap(),
            &[],
            &["(allow sysctl-read)", "kern.proc", "prefix \"kern", "prefix \"hw.\""],
        );
    }

    #[test]
    fn no_path_says_more_than_itself() {
        let hostile = r#"/a") (allow default) (literal "/b\"#;
        let profile = write(&[(hostile, false)], false, false).unwrap();
        check(&profile, &[], &["\n(allow default)"]);
        let written = r#"(subpath "/a\") (allow default) (literal \"/b\\"))"#;
        assert!(profile.contains(written), "{profile}");
        for path in ["relative", "/a\nb", "/a\0b", "/a\u{7f}b"] {
            assert_eq!(write(&[(path, false)], false, false), None, "{path:?}");
        }
    }

    /// Reads a quoted word as Seatbelt's language does: the word, and what is left.
    fn unquoted(text: &str) -> Option<(String, &str)> {
        let (mut word, mut characters) = (String::new(), text.strip_prefix('"')?.chars());
        loop {
            match characters.next()? {
                '"' => return Some((word, characters.as_str())),
                '\\' => word.push(characters.next()?),
                other => word.push(other),
            }
        }
    }

    proptest! {
        #[test]
        fn every_path_is_read_as_it_was_written(name in r#"[a-z"\\() ;'#é]{0,24}"#) {
            let path = format!("/{name}");
            let quoted = quoted(Path::new(&path)).unwrap();
            prop_assert_eq!(unquoted(&quoted), Some((path, "")));
        }
    }
}
