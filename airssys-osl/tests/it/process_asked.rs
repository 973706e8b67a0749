//! What a program asks for while it is watched, and what of it a grant then has to name.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use airssys_osl::{
    policy::{ExecTerms, Grant},
    process::{Asked, Calls, Launch, Limits, Profile, Stdio, Was},
};
use tempfile::TempDir;

use crate::process::{Programs, copy_program, exec, shell};

/// A folder that everybody may use: programs of root's run as nobody.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    open(folder.path(), 0o777);
    for name in ["in", "other"] {
        fs::write(folder.path().join(name), "content\n").unwrap();
        open(&folder.path().join(name), 0o666);
    }
    folder
}

/// Runs a shell to its end, and returns what it asked for and its code.
async fn watched(terms: ExecTerms) -> (Asked, String) {
    let programs = Programs::new([Grant::exec("/bin/sh", terms)]);
    let launch = Launch::new().stdout(Stdio::Null).stderr(Stdio::Null);
    let mut process = exec(&programs, "/bin/sh").await.spawn(launch).await.unwrap();
    let exit = process.wait().await;
    (process.asked().unwrap(), exit.to_string())
}

#[tokio::test]
async fn what_is_learned_lets_the_same_run_pass_and_no_other() {
    let folder = folder();
    let dir = folder.path().display().to_string();
    let script = format!(
        "set -e; cat {dir}/in > {dir}/out; rm {dir}/out; test -x /usr/bin/env; echo x > /tmp/own-$$; rm /tmp/own-$$"
    );
    let (asked, exit) = watched(shell(&script).learn()).await;
    assert!(exit.starts_with("code 0"), "{exit}");
    let needs = asked.needs(false);
    assert_eq!((&needs.change, &needs.see), (&vec![folder.path().to_owned()], &vec![]), "{asked:?}");

    let script = format!("set -e; cat {dir}/in; ! cat {dir}/missing");
    let (asked, exit) = watched(shell(&script).learn()).await;
    assert!(exit.starts_with("code 0"), "{exit}");
    let needs = asked.needs(false);
    assert_eq!((&needs.see, &needs.change), (&vec![folder.path().join("in")], &vec![]), "{asked:?}");
    let again = needs.see.iter().fold(shell(&script), |terms, path| terms.see(path));
    assert!(watched(again.watch()).await.1.starts_with("code 0"));
    let other = needs.see.iter().fold(shell(&format!("cat {dir}/other")), |terms, path| terms.see(path));
    let (asked, exit) = watched(other.watch()).await;
    assert!(exit.starts_with("code 1"), "{exit}");
    let wants: Vec<_> = asked.wants(false).into_iter().map(|want| want.path).collect();
    assert_eq!(wants, [folder.path().join("other")]);
}

#[tokio::test]
async fn that_it_learns_is_on_record() {
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new().learn())]);
    exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap().wait().await;
    for record in programs.records(airssys_osl::Action::ProcessSpawn) {
        let text = String::from_utf8(record.resource).unwrap();
        assert!(text.ends_with("; learns, and finds every file of its user"), "{text}");
    }
}

#[tokio::test]
async fn names_are_told_as_they_were_before_the_program_changed_them() {
    let folder = folder();
    let dir = folder.path().display().to_string();
    let script = format!(
        "cd {dir} && mkdir -p sub/deep && echo x > sub/deep/new && ln -s in link && cat ./link sub/../in"
    );
    let (asked, exit) = watched(shell(&script).learn()).await;
    assert!(exit.starts_with("code 0"), "{exit}");
    let was = |name: &str| asked.files.get(&folder.path().join(name)).map(|wish| wish.was);
    assert_eq!(was("sub"), Some(Was::Missing));
    assert_eq!(was("sub/deep/new"), Some(Was::Missing));
    assert_eq!((was("link"), was("in")), (Some(Was::Missing), Some(Was::File)));
    assert_eq!(asked.missed, 0);
}

#[tokio::test]
async fn what_the_user_may_not_is_no_matter_of_grants() {
    let folder = folder();
    let dir = folder.path().display().to_string();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("file"), "x").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
    if !rustix::process::geteuid().is_root() {
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    }
    let (asked, _) = watched(shell(&format!("cat {dir}/closed/file; cat {dir}/in")).learn()).await;
    assert_eq!(asked.needs(false).see, [folder.path().join("in")]);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn scripts_need_their_interpreters() {
    let folder = folder();
    let dir = folder.path().display().to_string();
    copy_program("/bin/sh", &folder.path().join("own-sh"));
    fs::write(folder.path().join("draft"), format!("#!{dir}/own-sh\necho hi\n")).unwrap();
    copy_program(folder.path().join("draft"), &folder.path().join("script"));
    fs::set_permissions(folder.path().join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!("{dir}/script");
    let (asked, exit) = watched(shell(&script).learn()).await;
    assert!(exit.starts_with("code 0"), "{exit}");
    let needs = asked.needs(false);
    assert_eq!(needs.see, [folder.path().join("own-sh"), folder.path().join("script")]);
    let again = needs.see.iter().fold(shell(&script), |terms, path| terms.see(path));
    assert!(watched(again.watch()).await.1.starts_with("code 0"));
}

#[tokio::test]
async fn refused_calls_are_refused_and_told() {
    for calls in [Calls::AllButRefused, Calls::Usual] {
        let (asked, exit) = watched(shell("unshare -U true").calls(calls).watch()).await;
        assert!(!exit.starts_with("code 0"), "{exit}");
        assert_eq!(asked.calls.len(), 1);
        // Of other processors the names are not known.
        if cfg!(target_arch = "x86_64") {
            let names: Vec<_> = asked.calls.keys().filter_map(|call| call.name).collect();
            assert_eq!(names, ["unshare"]);
        }
    }
}

#[tokio::test]
async fn many_processes_and_threads_are_watched_to_the_end() {
    let script = "i=0; while [ $i -lt 40 ]; do (cat /etc/hostname; ls /usr) & i=$((i+1)); done; wait";
    let limits = Limits::new().wall_time(std::time::Duration::from_secs(600));
    for profile in [Profile::Strict, Profile::Network, Profile::Build] {
        let (asked, exit) = watched(shell(script).limits(limits.clone()).profile(profile).watch()).await;
        assert!(exit.starts_with("code 0"), "{exit}");
        assert_eq!(asked.missed, 0);
        assert!(asked.files.contains_key(Path::new("/etc/hostname")), "{asked:?}");
    }
    // Nobody waits for an answer that does not come: who is killed in a call is gone.
    let timed = Limits::new().wall_time(std::time::Duration::from_millis(300));
    let (_, exit) = watched(shell("while :; do test -e /x; done").limits(timed).watch()).await;
    assert!(exit.contains("by wall time"), "{exit}");
}

#[tokio::test]
async fn who_is_not_watched_is_not_told_of() {
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new())]);
    let mut process = exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap();
    process.wait().await;
    assert_eq!(process.asked(), None);
}

/// A socket in a file system is a name that somebody makes.
#[tokio::test]
async fn sockets_are_made_where_they_are_bound() {
    if !Path::new("/usr/bin/perl").exists() {
        return;
    }
    let folder = folder();
    let socket = folder.path().join("socket");
    let bind = "use Socket; socket($s, AF_UNIX, SOCK_STREAM, 0) && bind($s, sockaddr_un($ARGV[0])) or exit 1";
    let script = format!("/usr/bin/perl -e '{bind}' {}", socket.display());
    let (asked, exit) = watched(shell(&script).learn()).await;
    assert!(exit.starts_with("code 0"), "{exit}");
    assert_eq!(asked.needs(false).change, [folder.path()], "{asked:?}");
    fs::remove_file(socket).unwrap();
    let again = shell(&script).change(folder.path());
    assert!(watched(again.watch()).await.1.starts_with("code 0"));
}
