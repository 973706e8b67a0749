//! Programs: what they are started with, how they end, and what is left of them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use airssys_osl::{
    Action, ErrorKind, Os, Principal, Verdict,
    audit::{Outcome, Phase},
    fs::OpenOptions,
    policy::{ExecTerms, FsTerms, Grant, Policy, Rights},
    process::{Calls, Cause, Collected, Exec, Launch, Layers, Limits, Profile, Status, Stdio, host, means},
    testing::{MemorySink, Recorded},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{assert_denied, assert_fails};

pub(crate) struct Programs {
    pub(crate) os: Os,
    pub(crate) sink: MemorySink,
}

impl Programs {
    pub(crate) fn new(grants: impl IntoIterator<Item = Grant>) -> Self {
        let sink = MemorySink::new();
        Self { os: Os::new(policy(grants), sink.clone()), sink }
    }

    pub(crate) fn principal(&self) -> Principal {
        self.os.principal("p").unwrap()
    }

    /// Records about what a program did, without those of other operations.
    pub(crate) fn records(&self, action: Action) -> Vec<Recorded> {
        self.sink.take().into_iter().filter(|record| record.action == action).collect()
    }
}

pub(crate) fn policy(grants: impl IntoIterator<Item = Grant>) -> Policy {
    Policy::builder().principal("p", grants).build().unwrap()
}

/// A shell that runs `script`.
pub(crate) fn shell(script: &str) -> ExecTerms {
    ExecTerms::new().arg("-c").arg(script)
}

pub(crate) async fn exec(programs: &Programs, program: &str) -> Exec {
    programs.principal().exec(program).await.unwrap()
}

/// Runs a shell to its end.
pub(crate) async fn run(terms: ExecTerms) -> Collected {
    run_with(terms, Launch::new()).await
}

async fn run_with(terms: ExecTerms, launch: Launch) -> Collected {
    let programs = Programs::new([Grant::exec("/bin/sh", terms)]);
    let launch = launch.stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    exec(&programs, "/bin/sh").await.spawn(launch).await.unwrap().collect().await.unwrap()
}

#[track_caller]
pub(crate) fn said(collected: &Collected) -> &str {
    let errors = String::from_utf8_lossy(&collected.stderr);
    assert!(collected.exit.is_success(), "{}: {errors}", collected.exit);
    std::str::from_utf8(&collected.stdout).unwrap().trim_end()
}

/// Whether nothing is swapped out that is not counted; where it is, no tree has a bound of memory.
pub(crate) fn counts_swap() -> bool {
    let memory = means().limits.into_iter().find_map(|(name, state)| (name == "memory").then_some(state));
    let why = memory.unwrap().err();
    let misses = why.filter(|why| why.contains("swapped out"));
    misses.inspect(|why| eprintln!("SKIPPED: {why}")).is_none()
}

/// The profiles, and one without each layer that changes how a program is started.
fn profiles() -> Vec<(Profile, Layers)> {
    let none = Layers::empty();
    let mut all: Vec<_> = Profile::NAMES.iter().map(|(_, profile)| (*profile, none)).collect();
    all.extend(Layers::NAMES.iter().map(|(_, layer)| (Profile::Strict, *layer)));
    all
}

#[tokio::test]
async fn a_program_runs_and_says_how_it_ended() {
    for (profile, without) in profiles() {
        let terms = |script| shell(script).profile(profile).without(without);
        let what = format!("{profile} without {without}");
        let ended = run(terms("echo out; echo err >&2; exit 7")).await;
        assert_eq!(ended.exit.status, Status::Code(7), "{what}: {}", String::from_utf8_lossy(&ended.stderr));
        assert_eq!((&*ended.stdout, &*ended.stderr), (&b"out\n"[..], &b"err\n"[..]), "{what}");
        assert_eq!(ended.exit.cause, Cause::Itself, "{what}");
        let ended = run(terms("kill -SEGV $$")).await;
        assert_eq!(ended.exit.status, Status::Signal(11), "{what}");
        let ended = run(terms("kill -TERM $$")).await;
        assert_eq!(ended.exit.status, Status::Signal(15), "{what}");
    }
}

#[tokio::test]
async fn what_holds_it_is_told() {
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new())]);
    let mut process = exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap();
    let enforced = process.enforcement().enforced();
    assert_eq!(enforced, host().available());
    assert_eq!(process.enforcement().landlock_version(), host().landlock_version());
    process.wait().await;
    let records = programs.records(Action::ProcessSpawn);
    let [intent, done] = &records[..] else { panic!("{records:?}") };
    assert_eq!((intent.phase, done.phase), (Phase::Intent, Phase::Done));
    let held_by = process.enforcement().to_string();
    assert_eq!(intent.resource, [b"/bin/true\0", held_by.as_bytes()].concat());
    assert_eq!((done.outcome, done.verdict), (Outcome::Success, Verdict::Allow));
    // What nothing holds is not to be overlooked.
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new().profile(Profile::None))]);
    exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap().wait().await;
    for record in programs.sink.take() {
        let loud = match record.action {
            Action::ProcessSpawn => record.resource == b"/bin/true\0none: NOT CONFINED",
            Action::ProcessExit => record.resource.ends_with(b"; none: NOT CONFINED"),
            _ => true,
        };
        assert!(loud, "{record:?}");
    }
}

#[tokio::test]
async fn it_begins_with_nothing_of_ours() {
    // A descriptor that every child of a careless program would have.
    let (leaked, _other) = rustix::pipe::pipe().unwrap();
    for (profile, without) in profiles() {
        let what = format!("{profile} without {without}");
        let terms = |script| shell(script).profile(profile).without(without);
        let ended = run(terms("for fd in /proc/self/fd/*; do echo ${fd##*/}; done")).await;
        // Beside the three, the shell has the directory open that it lists. Without a root of its own the directory is one
        // of the machine's, which Landlock hides.
        let found = String::from_utf8(ended.stdout).unwrap();
        let most = ["*", "0", "1", "2", "3"];
        assert!(found.lines().all(|fd| most.contains(&fd)), "{what}: {found} (leaked {leaked:?})");
        assert_eq!(said(&run(terms("export -p | grep -v -e PWD -e OLDPWD; true")).await), "", "{what}");
        assert_eq!(said(&run(terms("umask")).await), "0077", "{what}");
    }
}

#[tokio::test]
async fn it_is_nobody_and_stays_so() {
    let terms = ExecTerms::new().arg("/proc/self/status").profile(Profile::None);
    let programs = Programs::new([Grant::exec("/bin/cat", terms)]);
    let process = exec(&programs, "/bin/cat").await.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
    let ended = process.collect().await.unwrap();
    let field = |name: &str| {
        let line = said(&ended).lines().find(|line| line.split(':').next() == Some(name)).unwrap();
        line.split(':').nth(1).unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let user = if rustix::process::geteuid().is_root() { 65534 } else { rustix::process::geteuid().as_raw() };
    assert_eq!(
        field("Uid"),
        [user.to_string(), user.to_string(), user.to_string(), user.to_string()].join(" ")
    );
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    if rustix::process::geteuid().is_root() {
        assert_eq!(field("CapBnd"), "0000000000000000");
        assert_eq!(field("Groups"), "");
    }
    assert_eq!(field("NoNewPrivs"), "1");
    for set in ["SigBlk", "SigIgn", "SigCgt"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
}

#[tokio::test]
async fn a_dynamic_user_is_nobody_elses() {
    let terms = ExecTerms::new().arg("-u").profile(Profile::None).dynamic_user();
    let programs = Programs::new([Grant::exec("/usr/bin/id", terms)]);
    let id = exec(&programs, "/usr/bin/id").await;
    let mut users = Vec::new();
    for _ in 0..2 {
        let process = id.spawn(Launch::new().stdout(Stdio::Pipe)).await.unwrap();
        users.push(said(&process.collect().await.unwrap()).trim().parse::<u32>().unwrap());
    }
    let own = rustix::process::geteuid();
    if own.is_root() {
        assert_ne!(users[0], users[1]);
        assert!(!users.contains(&0) && !users.contains(&65534), "{users:?}");
    } else {
        assert_eq!(users, [own.as_raw(); 2]);
    }
}

#[tokio::test]
async fn input_and_output() {
    let programs = Programs::new([Grant::exec("/bin/cat", ExecTerms::new())]);
    let cat = exec(&programs, "/bin/cat").await;
    let launch = || Launch::new().stdout(Stdio::Pipe);
    assert_eq!(cat.spawn(launch()).await.unwrap().collect().await.unwrap().stdout, b"", "no input");

    let mut process = cat.spawn(launch().stdin(Stdio::Pipe)).await.unwrap();
    let (mut stdin, mut stdout) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let sent: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
    let expected = sent.clone();
    let writer = tokio::spawn(async move {
        stdin.write_all(&sent).await.unwrap();
        stdin.shutdown().await.unwrap();
        assert_eq!(stdin.write(b"x").await.unwrap_err().kind(), std::io::ErrorKind::BrokenPipe);
    });
    let mut received = Vec::new();
    stdout.read_to_end(&mut received).await.unwrap();
    writer.await.unwrap();
    assert!(received == expected, "{} bytes of {}", received.len(), expected.len());
    assert!(process.wait().await.is_success());
}

/// A directory that nobody may enter and change too, with a file in it.
fn open_directory() -> tempfile::TempDir {
    let tmp = tempfile::tempdir().unwrap();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    fs::write(tmp.path().join("file"), "content").unwrap();
    fs::set_permissions(tmp.path().join("file"), fs::Permissions::from_mode(0o666)).unwrap();
    tmp
}

#[tokio::test]
async fn files_are_handed_over_open() {
    let tmp = open_directory();
    let other = open_directory();
    let grants = |terms| {
        [tmp.path(), other.path()].map(|root| Grant::fs(root, Rights::all())).into_iter().chain([
            Grant::exec("/bin/cat", terms),
            Grant::exec("/bin/sh", shell("echo more >> $0; cat $0").file(tmp.path())),
        ])
    };
    let programs = Programs::new(grants(ExecTerms::new().arg("-n").file(tmp.path())));
    let principal = programs.principal();
    let (dir, foreign) =
        (principal.dir(tmp.path()).await.unwrap(), principal.dir(other.path()).await.unwrap());
    let read = OpenOptions::new().read(true);
    let cat = principal.exec("/bin/cat").await.unwrap();
    let file = dir.open("file", &read).await.unwrap();
    let launch = Launch::new().stdout(Stdio::Pipe);
    let ended = cat.spawn(launch.clone().file(file.clone())).await.unwrap().collect().await.unwrap();
    assert_eq!(said(&ended), "1\tcontent".to_owned().replacen("1", "     1", 1).trim_end());

    // Opened for reading, it cannot be written to, although the file itself could be.
    let sh = principal.exec("/bin/sh").await.unwrap();
    let launch = launch.stderr(Stdio::Pipe);
    let ended = sh.spawn(launch.clone().file(file.clone())).await.unwrap().collect().await.unwrap();
    let refused = String::from_utf8(ended.stderr).unwrap();
    assert!(refused.contains("annot create"), "{refused}");
    let writable = dir.open("file", &read.write(true)).await.unwrap();
    let ended = sh.spawn(launch.clone().file(writable)).await.unwrap().collect().await.unwrap();
    assert_eq!(said(&ended), "contentmore");

    let file = foreign.open("file", &read).await.unwrap();
    assert_denied(
        cat.spawn(launch.clone().file(file.clone())).await,
        "other-arguments",
        "another root's file",
    );
    assert_denied(cat.spawn(launch.clone()).await, "other-arguments", "no file");
    assert_denied(
        cat.spawn(launch.clone().text("/etc/passwd")).await,
        "other-arguments",
        "a text for a file",
    );
    let stranger = programs.principal().dir(tmp.path()).await.unwrap().open("file", &read).await.unwrap();
    assert_denied(cat.spawn(launch.file(stranger)).await, "foreign-handle", "another life's file");
    assert_denied(
        cat.spawn(Launch::new().stdin(Stdio::File(file.clone()))).await,
        "other-arguments",
        "as input",
    );
    let listed =
        Programs::new([Grant::exec("/bin/cat", ExecTerms::new()), Grant::fs(tmp.path(), Rights::all())]);
    let principal = listed.principal();
    let (cat, dir) = (principal.exec("/bin/cat").await.unwrap(), principal.dir(tmp.path()).await.unwrap());
    let (input, output) = (
        dir.open("file", &read).await.unwrap(),
        dir.open("new", &OpenOptions::new().write(true).create(true)).await.unwrap(),
    );
    let launch = Launch::new().stdin(Stdio::File(input.clone())).stdout(Stdio::File(output));
    assert!(cat.spawn(launch).await.unwrap().collect().await.unwrap().exit.is_success());
    assert_eq!(fs::read(tmp.path().join("new")).unwrap(), b"contentmore\n");
    let launch = Launch::new().stdout(Stdio::File(input));
    assert_denied(cat.spawn(launch).await, "narrowed-handle", "output to a file to be read");
}

#[tokio::test]
async fn a_path_is_one_beneath_its_directory() {
    use std::os::unix::fs::symlink;
    let (tmp, other) = (open_directory(), open_directory());
    let (root, secret) = (tmp.path().join("root"), other.path().join("file"));
    fs::create_dir_all(root.join("sub")).unwrap();
    for dir in [&root, &root.join("sub")] {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o777)).unwrap();
    }
    fs::write(root.join("-n"), "option\n").unwrap();
    fs::set_permissions(root.join("-n"), fs::Permissions::from_mode(0o644)).unwrap();
    symlink("sub", root.join("inside")).unwrap();
    symlink("../file", root.join("up")).unwrap();
    symlink("../none", root.join("nothing")).unwrap();
    symlink(other.path(), root.join("away")).unwrap();
    symlink(&secret, root.join("secret")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o666.into(), 0)
        .unwrap();
    // It sees the other directory, too: what keeps it from there is that the path is of its root.
    let terms = |terms: ExecTerms| terms.path(&root).change(tmp.path()).change(other.path());
    let write = shell("echo made > \"$0\"; cat \"$0\"; echo \"$0\"");
    let programs = Programs::new([
        Grant::exec("/bin/sh", terms(write)),
        Grant::exec("/bin/cat", terms(ExecTerms::new())),
    ]);
    let (sh, cat) = (exec(&programs, "/bin/sh").await, exec(&programs, "/bin/cat").await);
    let named = |name: &str| Launch::new().path(name).stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    let shown = root.display();
    for name in ["new", "sub/new", "inside/other", "new"] {
        let ended = sh.spawn(named(name)).await.unwrap().collect().await.unwrap();
        assert_eq!(said(&ended), format!("made\n{shown}/{name}"));
    }
    let ended = cat.spawn(named("-n")).await.unwrap().collect().await.unwrap();
    assert_eq!(said(&ended), "option", "a file that is called as an option is");
    for name in ["../file", "sub/../../file", secret.to_str().unwrap(), "", "a\nb"] {
        assert_denied(cat.spawn(named(name)).await, "other-arguments", name);
    }
    // As links they would be looked at where they lead, which is nowhere yet.
    for name in ["nothing/", "nothing/.", "nothing//", "nothing/./", "sub//new"] {
        assert_denied(sh.spawn(named(name)).await, "other-arguments", name);
    }
    assert_denied(cat.spawn(Launch::new().text("-n")).await, "other-arguments", "a text for a path");
    for name in ["up", "nothing", "away/file", "away/new", "secret"] {
        assert_denied(sh.spawn(named(name)).await, "beneath-root", name);
    }
    assert_denied(sh.spawn(named("fifo")).await, "plain-files-only", "a FIFO");
    assert_fails(sh.spawn(named("missing/new")).await, ErrorKind::NotFound, "no directory");
    assert_eq!(fs::read(&secret).unwrap(), b"content", "what it was kept from");
    assert!(!tmp.path().join("none").exists() && !other.path().join("new").exists());
    let denials = programs.records(Action::ProcessSpawn);
    assert!(denials.iter().any(|record| record.rule == "beneath-root"), "{denials:?}");
}

#[tokio::test]
async fn files_with_a_quota_are_not_lent_to_be_written() {
    let tmp = open_directory();
    let terms = FsTerms::new().quota_bytes(1 << 20);
    let programs = Programs::new([
        Grant::fs_with(tmp.path(), Rights::all(), terms),
        Grant::exec("/bin/cat", ExecTerms::new()),
    ]);
    let principal = programs.principal();
    let file = principal.dir(tmp.path()).await.unwrap();
    let file = file.open("file", &OpenOptions::new().write(true)).await.unwrap();
    let cat = principal.exec("/bin/cat").await.unwrap();
    assert_denied(cat.spawn(Launch::new().stdout(Stdio::File(file))).await, "counted-file", "a quota");
}

#[tokio::test]
async fn it_sees_what_is_granted_and_may_change_what_is_granted_so() {
    let (seen, changed, hidden) = (open_directory(), open_directory(), open_directory());
    let [s, c, h] = [&seen, &changed, &hidden].map(|tmp| tmp.path().display().to_string());
    let script = format!(
        "cat {s}/file; (echo x > {s}/file) 2>/dev/null && echo changed; \
         echo y > {c}/file && cat {c}/file; cat {h}/file 2>/dev/null && echo found; \
         (cp /bin/true {c}/true && {c}/true) 2>/dev/null && echo executed; (echo z > /z) 2>/dev/null && echo root; pwd"
    );
    let layers = [Layers::empty(), Layers::LANDLOCK, Layers::MOUNTS];
    for without in layers {
        let terms = shell(&script).see(seen.path()).change(changed.path()).directory(changed.path());
        let ended = run(terms.without(without)).await;
        assert_eq!(said(&ended), format!("contenty\n{c}"), "without {without}");
        assert_eq!(fs::read(changed.path().join("file")).unwrap(), b"y\n");
        assert_eq!(fs::read(seen.path().join("file")).unwrap(), b"content");
    }
    let builds = run(shell(&script).profile(Profile::Build).see(seen.path()).change(changed.path())).await;
    assert_eq!(said(&builds), "contenty\nexecuted\n/tmp");
    let name = format!("airssys-test-{}", std::process::id());
    let script =
        format!("echo a > /tmp/{name} && echo b > /dev/shm/{name} && ls /tmp; ls /proc | grep -c '^[0-9]'");
    let own = run(shell(&script)).await;
    let [listed, processes] = said(&own).lines().collect::<Vec<_>>()[..] else { panic!("{own:?}") };
    assert_eq!(listed, name);
    // Its `init`, the shell, and those of its pipeline that are still there.
    assert!(processes.parse::<u32>().unwrap() <= 4, "{processes} processes");
    assert!(!Path::new("/tmp").join(&name).exists() && !Path::new("/dev/shm").join(&name).exists());
}

#[tokio::test]
async fn usual_calls_are_enough_for_usual_programs() {
    let script = "ls -l / | wc -l > /tmp/x; (sleep 0.01; cp /tmp/x /tmp/y) & wait; sort /tmp/y | head -1 >/dev/null; \
        mkdir /tmp/d; mv /tmp/y /tmp/d; tar c -C /tmp d | tar t; find /tmp -name x | grep -c x; date >/dev/null; echo $(id -u >/dev/null; echo end)";
    let ended = run(shell(script).calls(Calls::Usual)).await;
    assert_eq!(said(&ended), "d/\nd/y\n1\nend", "{}", String::from_utf8_lossy(&ended.stderr));
    if !Path::new("/usr/bin/ipcmk").exists() {
        eprintln!("SKIPPED: it takes ipcmk to ask for shared memory");
        return;
    }
    let shared = "ipcmk -M 4096 >/dev/null";
    assert!(run(shell(shared)).await.exit.is_success());
    assert!(!run(shell(shared).calls(Calls::Usual)).await.exit.is_success());
}

#[tokio::test]
async fn a_loopback_of_its_own_is_all_the_network_there_is() {
    if !Path::new("/bin/bash").exists() || !host().available().contains(Layers::NETWORK) {
        eprintln!("SKIPPED: it takes bash and network namespaces");
        return;
    }
    // Somebody listens on ours.
    let ours = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = ours.local_addr().unwrap().port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let said = async |terms: ExecTerms| {
        let programs = Programs::new([Grant::exec("/bin/bash", terms.arg("-c").arg(connect.as_str()))]);
        let launch = Launch::new().stderr(Stdio::Pipe);
        let ended = exec(&programs, "/bin/bash").await.spawn(launch).await.unwrap().collect().await.unwrap();
        String::from_utf8(ended.stderr).unwrap()
    };
    let without = said(ExecTerms::new()).await;
    assert!(without.contains("not supported"), "{without}");
    let with = said(ExecTerms::new().loopback()).await;
    assert!(with.contains("refused"), "{with}");
    let with = said(ExecTerms::new().loopback().without(Layers::LANDLOCK | Layers::SECCOMP)).await;
    assert!(with.contains("refused"), "{with}");
}

#[tokio::test]
async fn what_is_not_granted_is_denied_and_recorded() {
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new())]);
    let principal = programs.principal();
    assert_denied(principal.exec("/bin/false").await, "default-deny", "another program");
    assert_denied(principal.exec("/bin/../bin/true").await, "default-deny", "another spelling");
    let program = principal.exec("/bin/true").await.unwrap();
    assert_denied(program.spawn(Launch::new().text("x")).await, "other-arguments", "an argument");
    for name in ["A", "LD_PRELOAD", "LD_AUDIT", "BASH_ENV"] {
        assert_denied(program.spawn(Launch::new().env(name, "/b")).await, "other-arguments", name);
    }
    let denials: Vec<_> =
        programs.sink.take().into_iter().filter(|record| record.verdict == Verdict::Deny).collect();
    let actions: Vec<_> = denials.iter().map(|record| record.action).collect();
    assert_eq!(actions, [[Action::ProcessOpen; 2].as_slice(), &[Action::ProcessSpawn; 5]].concat());
}

#[tokio::test]
async fn nothing_starts_that_cannot_be_recorded() {
    let tmp = open_directory();
    let terms = shell("echo > touched").change(tmp.path()).directory(tmp.path());
    let programs = Programs::new([Grant::exec("/bin/sh", terms)]);
    let sh = exec(&programs, "/bin/sh").await;
    programs.sink.refuse(true);
    assert_fails(sh.spawn(Launch::new()).await, ErrorKind::AuditUnavailable, "spawn");
    programs.sink.refuse(false);
    assert!(!tmp.path().join("touched").exists());
    assert!(sh.spawn(Launch::new()).await.unwrap().wait().await.is_success());
    assert!(tmp.path().join("touched").exists());
}

#[tokio::test]
async fn a_program_is_what_was_opened_and_hashed() {
    let tmp = open_directory();
    let path = tmp.path().join("program");
    let install = |from: &str| {
        let next = tmp.path().join("next");
        copy_program(from, &next);
        fs::rename(&next, &path).unwrap();
    };
    install("/bin/true");
    let hash = digest(&fs::read("/bin/true").unwrap());
    let plain = Programs::new([Grant::exec(&path, ExecTerms::new())]);
    let hashed = Programs::new([Grant::exec(&path, ExecTerms::new().sha256(hash))]);
    let path_text = path.to_str().unwrap();
    let (opened, pinned) = (exec(&plain, path_text).await, exec(&hashed, path_text).await);
    install("/bin/false");
    assert!(
        opened.spawn(Launch::new()).await.unwrap().wait().await.is_success(),
        "swapped after it was opened"
    );
    assert_denied(hashed.principal().exec(&path).await, "other-program", "swapped before it was opened");
    // Written over in place: only the copy that was hashed stays what it was.
    install("/bin/true");
    let opened = exec(&plain, path_text).await;
    copy_program("/bin/false", &path);
    assert_eq!(opened.spawn(Launch::new()).await.unwrap().wait().await.status, Status::Code(1));
    assert!(pinned.spawn(Launch::new()).await.unwrap().wait().await.is_success());

    fs::write(&path, "#!/bin/sh -c reboot\n").unwrap();
    assert_denied(plain.principal().exec(&path).await, "no-scripts", "a script");
    fs::write(&path, "\x7fEL").unwrap();
    assert_denied(plain.principal().exec(&path).await, "no-scripts", "too short");
    fs::remove_file(&path).unwrap();
    assert_fails(plain.principal().exec(&path).await, ErrorKind::NotFound, "removed");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    assert_denied(plain.principal().exec(&path).await, "plain-files-only", "a FIFO");
    let broken = Programs::new([Grant::exec(&path, ExecTerms::new())]);
    fs::remove_file(&path).unwrap();
    fs::write(tmp.path().join("broken"), "\x7fELF, and nothing that makes sense").unwrap();
    copy_program(tmp.path().join("broken"), &path);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let error = exec(&broken, path_text).await.spawn(Launch::new()).await.unwrap_err();
    assert!(error.to_string().contains("(execute the program)"), "{error}");
    assert_eq!(error.raw_os_error(), Some(8), "ENOEXEC");
}

/// Copies a program, in a process of its own: what this one has open to write to, each child that another test starts
/// meanwhile has open, too, until it is a program, and what is open to be written to cannot be executed.
pub(crate) fn copy_program(from: impl AsRef<Path>, to: &Path) {
    let status = std::process::Command::new("cp").arg(from.as_ref()).arg(to).status().unwrap();
    assert!(status.success(), "{status}");
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    use std::io::Write as _;
    let mut sum = std::process::Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let text = String::from_utf8(sum.wait_with_output().unwrap().stdout).unwrap();
    let mut digest = [0; 32];
    for (index, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap();
    }
    digest
}

#[tokio::test]
async fn what_is_required_is_not_gone_without() {
    let refused = |terms: ExecTerms| async move {
        let programs = Programs::new([Grant::exec("/bin/true", terms)]);
        let error = exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        let records = programs.records(Action::ProcessSpawn);
        assert_eq!(records.last().unwrap().outcome, Outcome::Failed(38), "{records:?}");
        let cause = std::error::Error::source(&error).unwrap().to_string();
        format!("{error}: {cause}")
    };
    let error = refused(ExecTerms::new().without(Layers::IPC).require(Layers::IPC)).await;
    assert!(error.contains("`ipc`") && error.ends_with("the grant leaves it out"), "{error}");
    let error = refused(ExecTerms::new().require_landlock(1000)).await;
    assert!(error.contains("`landlock`") && error.contains("version 1000 is required"), "{error}");
    for (profile, layer) in [(Profile::None, Layers::SECCOMP), (Profile::Network, Layers::NETWORK)] {
        let error = refused(ExecTerms::new().profile(profile).require(layer)).await;
        assert!(error.ends_with("it is not part of the profile"), "{error}");
    }
    for (limits, what) in [
        (Limits::new().processes(10), "processes"),
        (Limits::new().memory_bytes(64 << 20), "the memory of all its processes"),
    ] {
        let error = refused(ExecTerms::new().profile(Profile::None).limits(limits)).await;
        let why = format!("nothing else to count {what} by (it is not part of the profile)");
        assert!(error.ends_with(&why), "{error}");
    }
}

#[tokio::test]
async fn setuid_programs_give_nothing() {
    let tmp = open_directory();
    let id = tmp.path().join("id");
    copy_program("/usr/bin/id", &id);
    fs::set_permissions(&id, fs::Permissions::from_mode(0o6755)).unwrap();
    let user = if rustix::process::geteuid().is_root() { 65534 } else { rustix::process::geteuid().as_raw() };
    for (profile, without) in profiles() {
        let terms = shell(&format!("{}; {0} -u", id.display()).replace("{0}", id.to_str().unwrap()));
        let ended = run(terms.profile(profile).without(without).see(tmp.path())).await;
        assert!(said(&ended).ends_with(&format!("\n{user}")), "{profile} without {without}: {ended:?}");
        assert!(
            !said(&ended).contains("uid=0") && !said(&ended).contains("euid=0"),
            "{profile} without {without}"
        );
    }
}

#[tokio::test]
async fn many_at_once() {
    let programs = Programs::new([Grant::exec("/bin/sh", shell("echo $0; exit 5").text())]);
    let sh = exec(&programs, "/bin/sh").await;
    let all: Vec<_> = (0..64)
        .map(|number| {
            let sh = sh.clone();
            tokio::spawn(async move {
                let launch = Launch::new().text(format!("n{number}")).stdout(Stdio::Pipe);
                let ended = sh.spawn(launch).await.unwrap().collect().await.unwrap();
                assert_eq!(ended.exit.status, Status::Code(5));
                assert_eq!(ended.stdout, format!("n{number}\n").into_bytes());
            })
        })
        .collect();
    for one in all {
        one.await.unwrap();
    }
}

/// What we keep to ourselves must not keep a program, which is somebody else, from its own root.
#[test]
fn our_umask_is_not_its() {
    let own = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new("/bin/sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(own).arg("--exact");
    command.arg("process::it_sees_what_is_granted_and_may_change_what_is_granted_so");
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// What was tested above, once more by a user who owns nothing.
#[test]
fn all_of_it_without_privileges() {
    use std::os::unix::process::CommandExt as _;
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let own = std::env::current_exe().unwrap();
    let mut command = std::process::Command::new(&own);
    command.uid(65534).gid(65534).current_dir("/tmp").env("TMPDIR", "/tmp");
    command.args(["process", "--skip", "all_of_it_without_privileges"]);
    match command.output() {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Err(error) => eprintln!("SKIPPED: {} cannot be run by another user: {error}", own.display()),
    }
}

#[tokio::test]
async fn without_the_system_a_program_has_what_it_was_given_and_no_more() {
    let programs = Programs::new([Grant::exec("/bin/sh", shell("exit 0").without_system())]);
    // Its loader is not there.
    exec(&programs, "/bin/sh").await.spawn(Launch::new()).await.map(drop).unwrap_err();
    let look = shell("[ -e /usr/bin ] || [ -e /etc ] || echo \"nothing else\"").without_system();
    let ended = run(look.see("/lib").see("/lib64")).await;
    assert_eq!(said(&ended), "nothing else");
}
