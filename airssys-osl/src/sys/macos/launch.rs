//! The words that a program is started with: a shell of the system's sets what only a process can set for itself, becomes
//! `sandbox-exec`, and that becomes the program.
//!
//! The shell's script is always the same; whatever belongs to the program are words behind it, which the shell does not look into.
//! The program's variables are such words too: the shell has none, and what it makes itself `env` takes away again.
//!
//! What fails on the way is told by a code alone, which a program may end with as well: [`NOT_STARTED`] of the shell, 126 and 127 of
//! the shell or `env`, 65 of `sandbox-exec` where it does not take the profile, 71 where the program cannot be executed.

use std::{ffi::CString, time::Duration};

pub(super) const SHELL: &str = "/bin/sh";

const ENV: &str = "/usr/bin/env";

/// What holds a program to its profile.
pub(super) const SANDBOX: &str = "/usr/bin/sandbox-exec";

/// Where one of its steps fails, no program runs, and the shell ends with this code.
#[cfg_attr(not(test), allow(dead_code, reason = "the script says it"))]
pub(super) const NOT_STARTED: i32 = 125;

const SCRIPT: &str =
    "umask 077 && ulimit -c 0 && ulimit -n \"$1\" && ulimit -S -t \"$2\" && ulimit -H -t \"$3\" && cd -- \"$4\" || exit 125
shift 4 && exec \"$@\"";

/// The words for a program with its variables, and its arguments, the first of which is its path; `None` where there is a zero in
/// one, or where `env` would take the path for a variable.
///
/// Of processor time there is a second more until the kernel ends it than until it asks it to end.
pub(super) fn words(
    profile: Option<&str>,
    descriptors: u64,
    cpu_time: Option<Duration>,
    directory: &str,
    env: &[&str],
    args: &[&str],
) -> Option<Vec<CString>> {
    let seconds = cpu_time.map(|time| time.as_secs() + u64::from(time.subsec_nanos() > 0));
    let text = |seconds: Option<u64>| seconds.map_or("unlimited".to_owned(), |seconds| seconds.to_string());
    let (soft, hard) = (text(seconds), text(seconds.map(|seconds| seconds.saturating_add(1))));
    let descriptors = descriptors.to_string();
    let mut words = vec![SHELL, "-c", SCRIPT, "airssys", &descriptors, &soft, &hard, directory, ENV, "-i"];
    words.extend(env);
    if let Some(profile) = profile {
        words.extend([SANDBOX, "-p", profile]);
    } else if args.first()?.contains('=') {
        return None;
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
        let env = ["A=b c", "B="];
        let time = Some(Duration::from_millis(1500));
        let words = words(Some("(version 1)"), 64, time, "/srv", &env, &["/bin/cat", hostile]);
        let words: Vec<_> = words.unwrap().into_iter().map(|word| word.into_string().unwrap()).collect();
        assert_eq!(words[..3], [SHELL, "-c", SCRIPT]);
        assert_eq!(words[3..8], ["airssys", "64", "2", "3", "/srv"]);
        assert_eq!(words[8..12], [ENV, "-i", "A=b c", "B="]);
        assert_eq!(words[12..], [SANDBOX, "-p", "(version 1)", "/bin/cat", hostile]);
    }

    #[test]
    fn what_is_not_bounded_is_unlimited() {
        let words = words(None, 256, None, "/", &[], &["/bin/cat"]).unwrap();
        let expected = [c"256", c"unlimited", c"unlimited", c"/", c"/usr/bin/env", c"-i", c"/bin/cat"];
        assert_eq!(words[4..], expected.map(|word| word.to_owned()));
    }

    #[test]
    fn a_program_is_not_taken_for_a_variable() {
        assert_eq!(words(None, 256, None, "/", &[], &["/a=b/cat"]), None);
        assert!(words(Some("(version 1)"), 256, None, "/", &[], &["/a=b/cat"]).is_some());
    }

    #[test]
    fn a_zero_is_refused() {
        assert_eq!(words(None, 256, None, "/", &[], &["/bin/cat", "a\0b"]), None);
    }
}
