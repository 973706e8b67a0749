//! The words that a program is started with: a shell of the system's sets what only a process can set for itself, becomes
//! `sandbox-exec`, and that becomes the program.
//!
//! The shell's script is always the same; whatever belongs to the program are words behind it, which the shell does not look into.
//! Its variables are the program's, and those that shells take for code are given to none.

use std::{ffi::CString, time::Duration};

pub(super) const SHELL: &str = "/bin/sh";

/// What holds a program to its profile.
pub(super) const SANDBOX: &str = "/usr/bin/sandbox-exec";

/// Where one of its steps fails, no program runs, and the shell ends with this code.
#[cfg(test)]
pub(super) const NOT_STARTED: i32 = 125;

const SCRIPT: &str =
    "umask 077 && ulimit -c 0 && ulimit -n \"$1\" && ulimit -t \"$2\" && cd -- \"$3\" || exit 125
shift 3 && exec \"$@\"";

/// The words for a program with its arguments, the first of which is its path; `None` where there is a zero in one.
pub(super) fn words(
    profile: Option<&str>,
    descriptors: u64,
    cpu_time: Option<Duration>,
    directory: &str,
    args: &[&str],
) -> Option<Vec<CString>> {
    let seconds = cpu_time.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
    let seconds = seconds.map_or("unlimited".to_owned(), |seconds| seconds.to_string());
    let descriptors = descriptors.to_string();
    let mut words = vec![SHELL, "-c", SCRIPT, "airssys", &descriptors, &seconds, directory];
    if let Some(profile) = profile {
        words.extend([SANDBOX, "-p", profile]);
    }
    words.extend(args);
    words.into_iter().map(|word| CString::new(word).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_s_words_are_no_part_of_the_script() {
        let hostile = "$(touch /tmp/x); `id`";
        let words =
            words(Some("(version 1)"), 64, Some(Duration::from_millis(1500)), "/srv", &["/bin/cat", hostile]);
        let words: Vec<_> = words.unwrap().into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(words[..3], [SHELL, "-c", SCRIPT]);
        assert_eq!(
            words[3..],
            ["airssys", "64", "2", "/srv", SANDBOX, "-p", "(version 1)", "/bin/cat", hostile]
        );
    }

    #[test]
    fn what_is_not_bounded_is_unlimited() {
        let words = words(None, 256, None, "/", &["/bin/cat"]).unwrap();
        assert_eq!(words[4..], [c"256", c"unlimited", c"/", c"/bin/cat"].map(|word| word.to_owned()));
    }

    #[test]
    fn a_zero_is_refused() {
        assert_eq!(words(None, 256, None, "/", &["/bin/cat", "a\0b"]), None);
    }
}
