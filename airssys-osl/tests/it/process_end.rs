//! How programs end, by themselves and not, and what is left of them.

use std::{
    fs,
    future::poll_fn,
    sync::{Mutex, mpsc},
    task::Poll,
    time::{Duration, Instant},
};

use airssys_osl::{
    Action, Error, ErrorKind, Os,
    audit::{Event, Outcome, Sink},
    policy::{ExecTerms, Grant},
    process::{Cause, Exit, Launch, Layers, Limits, Output, Process, Signal, Status, Stdio, host},
    trace,
};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};

use crate::{
    fixture::{assert_denied, assert_fails},
    process::{Programs, counts_swap, exec, policy, run, said, shell},
};

/// Starts a shell whose output is a pipe, and waits for the line `ready`.
async fn started(programs: &Programs) -> (Process, BufReader<Output>) {
    begun(programs).await.unwrap_or_else(|exit| panic!("it ended before it was ready: {exit:?}"))
}

/// As [`started`]; one that ends before it is ready says how.
async fn begun(programs: &Programs) -> Result<(Process, BufReader<Output>), Exit> {
    let launch = Launch::new().stdout(Stdio::Pipe);
    let mut process = exec(programs, "/bin/sh").await.spawn(launch).await.unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).await.unwrap();
    if line.is_empty() {
        return Err(process.wait().await);
    }
    assert_eq!(line, "ready\n");
    Ok((process, stdout))
}

/// A tree that does not want to end: one that ignores signals, one that was orphaned, and one in a session of its own. Each
/// holds the output open.
const TREE: &str = "trap '' TERM HUP INT; (sleep 1000 & ) ; (setsid sleep 1000 &) ; sleep 1000 & echo ready; \
                    while :; do sleep 1000; done";

/// Where the kernel ends the whole tree.
fn tree_ends(without: Layers) -> bool {
    let layers = host().available() - without;
    layers.intersects(Layers::PROCESSES | Layers::CGROUP)
}

#[tokio::test]
async fn the_whole_tree_ends_with_it() {
    for without in [Layers::empty(), Layers::PROCESSES, Layers::CGROUP] {
        if !tree_ends(without) {
            eprintln!("SKIPPED: without {without} nothing here ends a whole tree");
            continue;
        }
        let programs = || Programs::new([Grant::exec("/bin/sh", shell(TREE).without(without))]);
        let rest = async |mut stdout: BufReader<Output>| {
            // The output ends when the last one is gone that holds it.
            let mut rest = String::new();
            stdout.read_to_string(&mut rest).await.unwrap();
            assert_eq!(rest, "");
        };
        let killed = programs();
        let (mut process, stdout) = started(&killed).await;
        let id = process.id();
        process.kill();
        rest(stdout).await;
        let exit = process.wait().await;
        assert_eq!((exit.status, exit.cause), (Status::Signal(9), Cause::Killed));
        // The number may be somebody else's by now, but no child of ours that has ended has it.
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        assert!(!stat.contains(&format!(") Z {} ", std::process::id())), "a zombie is left: {stat}");

        let dropped = programs();
        let (process, stdout) = started(&dropped).await;
        drop(process);
        rest(stdout).await;

        let revoked = programs();
        let (mut process, stdout) = started(&revoked).await;
        revoked.os.reload(policy([]));
        rest(stdout).await;
        assert_eq!(process.wait().await.cause, Cause::Revoked);
        assert_denied(process.signal(Signal::Terminate), "default-deny", "a signal after the policy changed");

        let stopped = programs();
        let (mut process, stdout) = started(&stopped).await;
        let exit = process.stop(Duration::from_millis(50)).await.unwrap();
        assert_eq!((exit.status, exit.cause), (Status::Signal(9), Cause::Killed));
        rest(stdout).await;

        // Its time runs from its start: where the machine was too slow for the tree to stand by then, it gets more.
        let mut time = Duration::from_millis(100);
        let (mut process, stdout) = loop {
            let limits = Limits::new().wall_time(time);
            let timed = Programs::new([Grant::exec("/bin/sh", shell(TREE).without(without).limits(limits))]);
            match begun(&timed).await {
                Ok(begun) => break begun,
                Err(exit) => assert_eq!(exit.cause, Cause::WallTime, "{exit}"),
            }
            time *= 2;
        };
        rest(stdout).await;
        assert_eq!(process.wait().await.cause, Cause::WallTime);
    }
}

#[tokio::test]
async fn what_a_program_leaves_ends_with_it() {
    for without in [Layers::empty(), Layers::PROCESSES] {
        if !tree_ends(without) {
            eprintln!("SKIPPED: without {without} nothing here ends a whole tree");
            continue;
        }
        let ended = run(shell("(setsid sleep 1000 &); (sleep 1000 &); echo bye").without(without)).await;
        assert_eq!(said(&ended), "bye", "without {without}");
    }
}

#[tokio::test]
async fn signals_reach_the_program_alone() {
    let script = "trap 'echo usr; exit 3' USR1; sleep 1000 & echo ready; wait";
    for without in [Layers::empty(), Layers::PROCESSES] {
        let programs = Programs::new([Grant::exec("/bin/sh", shell(script).without(without))]);
        let (mut process, mut stdout) = started(&programs).await;
        assert!(process.signal(Signal::User1).unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).await.unwrap();
        assert_eq!(line, "usr\n");
        let exit = process.wait().await;
        assert_eq!((exit.status, exit.cause), (Status::Code(3), Cause::Itself));
        assert!(!process.signal(Signal::User1).unwrap(), "it has ended");
        let signals = programs.records(Action::ProcessSignal);
        assert_eq!(signals.first().unwrap().resource, b"/bin/sh\0USR1");
    }
    // Without a handler a signal has its default effect, as it would have anywhere.
    let programs = Programs::new([Grant::exec("/bin/sh", shell("echo ready; sleep 1000 & wait"))]);
    let (mut process, _stdout) = started(&programs).await;
    let exit = process.stop(Duration::from_secs(60)).await.unwrap();
    assert_eq!((exit.status, exit.cause), (Status::Signal(15), Cause::Itself));
}

#[tokio::test]
async fn its_end_is_recorded() {
    let programs = Programs::new([Grant::exec("/bin/sh", shell("exit 4"))]);
    exec(&programs, "/bin/sh").await.spawn(Launch::new()).await.unwrap().wait().await;
    let records = programs.sink.take();
    let spawned = records.iter().position(|record| record.action == Action::ProcessSpawn);
    let end = records.iter().find(|record| record.action == Action::ProcessExit).unwrap();
    assert!(spawned.is_some());
    let text = String::from_utf8(end.resource.clone()).unwrap();
    assert!(text.starts_with("/bin/sh -c exit 4\0code 4 by itself; user "), "{text}");
    assert!(text.contains("; strict: seccomp+landlock"), "{text}");
    assert_eq!(end.outcome, Outcome::Success);
}

#[tokio::test]
async fn limits_hold() {
    let limited = |script: &str, limits: Limits| run(shell(script).limits(limits));
    let ended = limited("while :; do :; done", Limits::new().cpu_time(Duration::from_secs(1))).await;
    assert_eq!(ended.exit.status, Status::Signal(24), "SIGXCPU: {}", ended.exit);
    assert_eq!(ended.exit.cause, Cause::CpuTime, "{}", ended.exit);
    // The kernel counts by ticks for the limit, and exactly for the usage: that is a fraction of it on a busy machine.
    let computed = |exit: &Exit| exit.usage.user_time + exit.usage.system_time;
    assert!(computed(&ended.exit) >= Duration::from_millis(10), "{}", ended.exit);
    let deaf = "trap '' XCPU; while :; do :; done";
    let mut tries = 0;
    let ended = loop {
        let ended = limited(deaf, Limits::new().cpu_time(Duration::from_secs(1))).await;
        tries += 1;
        // Where it is too small a fraction, nobody can tell what it was killed for: once more.
        if computed(&ended.exit) >= Duration::from_millis(250) || tries == 10 {
            break ended;
        }
    };
    assert_eq!((ended.exit.status, ended.exit.cause), (Status::Signal(9), Cause::CpuTime), "{}", ended.exit);
    let longer = "exec head -c 100000 /dev/zero > /tmp/x";
    let ended = limited(longer, Limits::new().file_bytes(4096)).await;
    assert_eq!(
        (ended.exit.status, ended.exit.cause),
        (Status::Signal(25), Cause::FileSize),
        "{}",
        ended.exit
    );
    let script = "head -c 100000 /dev/zero > /tmp/x; ls -l /tmp/x | grep -c 4096";
    let ended = limited(script, Limits::new().file_bytes(4096)).await;
    assert_eq!(said(&ended), "1", "a file of 4096 bytes");
    let ended =
        limited("head -c 3000000 /dev/zero > /tmp/x; wc -c < /tmp/x", Limits::new().temporary_bytes(1 << 20))
            .await;
    assert_eq!(said(&ended), "1048576", "/tmp of a mebibyte");
    let ended = limited("ulimit -n; ulimit -c", Limits::new().descriptors(17)).await;
    assert_eq!(said(&ended), "17\n0");
}

/// Records the end of a program when it is told to, and says when it is asked to.
struct Slow(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl Sink for Slow {
    fn record(&self, event: &Event<'_>) -> Result<u64, Error> {
        if event.action == Action::ProcessExit {
            self.0.send(()).unwrap();
            self.1.lock().unwrap().recv().unwrap();
        }
        Ok(1)
    }
}

#[tokio::test]
async fn one_that_ends_in_time_did_so_however_late_that_is_noticed() {
    let ((ask, asked), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
    let held_up = Os::new(policy([Grant::exec("/bin/true", ExecTerms::new())]), Slow(ask, Mutex::new(wait)));
    let held_up = held_up.principal("p").unwrap().exec("/bin/true").await.unwrap();
    let mut held_up = held_up.spawn(Launch::new()).await.unwrap();
    // From here on nobody looks after programs.
    asked.recv().unwrap();
    let time = Duration::from_millis(100);
    let terms = ExecTerms::new().limits(Limits::new().wall_time(time));
    let programs = Programs::new([Grant::exec("/bin/true", terms)]);
    let mut process = exec(&programs, "/bin/true").await.spawn(Launch::new()).await.unwrap();
    let stat = format!("/proc/{}/stat", process.id());
    while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
        tokio::task::yield_now().await;
    }
    // No wait for something else: its time is what has to pass.
    tokio::time::sleep(time).await;
    go_on.send(()).unwrap();
    assert_eq!(process.wait().await.cause, Cause::Itself);
    held_up.wait().await;
}

#[tokio::test]
async fn a_fork_bomb_ends_at_its_limit() {
    let bomb = "i=0; while [ $i -lt 60 ]; do sleep 1000 & i=$((i+1)); done; echo all";
    if !host().available().contains(Layers::CGROUP) && rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: for root there are only control groups to count by");
        return;
    }
    let ended = run(shell(bomb).limits(Limits::new().processes(20))).await;
    let errors = String::from_utf8_lossy(&ended.stderr);
    assert!(errors.contains("annot fork") && ended.stdout.is_empty(), "{}: {errors}", ended.exit);
    let counted = host().available().contains(Layers::CGROUP);
    assert_eq!(ended.exit.usage.refused_processes > Some(0), counted, "{}", ended.exit);
}

#[tokio::test]
async fn memory_is_bounded_for_the_whole_tree() {
    if !host().available().contains(Layers::CGROUP) {
        eprintln!("SKIPPED: there are no control groups to count a tree by");
        return;
    }
    if !counts_swap() {
        return;
    }
    // What a `tail` holds is not read before all of them hold theirs, or were killed: however slow the machine is, they
    // want it at the same time.
    let script = "
        all() { [ -e /tmp/1 ] && [ -e /tmp/2 ] && [ -e /tmp/3 ] && [ -e /tmp/4 ]; }
        take() { head -c 1 >/dev/null; : >/tmp/$1; until all; do sleep 0.01; done; cat >/dev/null; }
        for i in 1 2 3 4; do head -c 40m /dev/zero | tail -c 40m | take $i & done; wait; echo end";
    let ended = run(shell(script).limits(Limits::new().memory_bytes(64 << 20).processes(100))).await;
    assert_eq!(ended.exit.cause, Cause::OutOfMemory, "{}", ended.exit);
    assert!(ended.exit.usage.peak_memory_bytes.unwrap() <= 64 << 20, "{}", ended.exit);
}

#[tokio::test]
async fn one_process_that_needs_too_much_is_told_from_one_that_ends() {
    if !host().available().contains(Layers::CGROUP) {
        eprintln!("SKIPPED: there are no control groups to count a tree by");
        return;
    }
    if !counts_swap() {
        return;
    }
    let hog = shell("head -c 200m /dev/zero | tail -c 200m >/dev/null");
    let ended = run(hog.limits(Limits::new().memory_bytes(64 << 20))).await;
    assert_eq!(ended.exit.cause, Cause::OutOfMemory, "{}", ended.exit);
}

const THREADS: &str = "AIRSSYS_TEST_THREADS";

/// What this test is in a child that is told so: more threads than their stacks would have room for, if all of them were used.
#[test]
fn many_threads() {
    if std::env::var_os(THREADS).is_none() {
        return;
    }
    let all = std::sync::Arc::new(std::sync::Barrier::new(16));
    let start = |_| {
        let all = std::sync::Arc::clone(&all);
        let wait = move || {
            all.wait();
        };
        std::thread::Builder::new().stack_size(8 << 20).spawn(wait).unwrap()
    };
    let threads: Vec<_> = (0..16).map(start).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn memory_that_is_not_used_does_not_count() {
    if !host().available().contains(Layers::CGROUP) {
        eprintln!("SKIPPED: there are no control groups to count what is used by");
        return;
    }
    if !counts_swap() {
        return;
    }
    let terms = ExecTerms::new().arg("--exact").arg("process_end::many_threads").env(THREADS, "1");
    let own = std::env::current_exe().unwrap();
    let terms = terms.limits(Limits::new().memory_bytes(64 << 20));
    let programs = Programs::new([Grant::exec(&own, terms)]);
    let launch = Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    let process = programs.principal().exec(&own).await.unwrap().spawn(launch).await.unwrap();
    assert!(said(&process.collect().await.unwrap()).contains("1 passed"));
}

#[tokio::test]
async fn a_tree_that_forks_as_fast_as_it_can_ends_with_it() {
    for without in [Layers::empty(), Layers::PROCESSES] {
        if !tree_ends(without) || !host().available().contains(Layers::CGROUP) {
            eprintln!("SKIPPED: without {without} nothing here ends and counts a whole tree");
            continue;
        }
        let bomb = shell("f() { f & f & wait; }; echo ready; f").without(without);
        let bomb = bomb.limits(Limits::new().processes(50));
        let programs = Programs::new([Grant::exec("/bin/sh", bomb)]);
        let (mut process, mut stdout) = started(&programs).await;
        process.kill();
        let mut rest = String::new();
        stdout.read_to_string(&mut rest).await.unwrap();
        let exit = process.wait().await;
        // One that went off may be over by itself: it ends where it cannot start another.
        assert!(rest.is_empty() && [Cause::Killed, Cause::Itself].contains(&exit.cause), "{exit}");
    }
}

#[tokio::test]
async fn what_it_reads_and_writes_on_disks_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    const TMPFS: u64 = 0x0102_1994;
    let tmp = tempfile::tempdir().unwrap();
    fs::set_permissions(tmp.path(), fs::Permissions::from_mode(0o777)).unwrap();
    if rustix::fs::statfs(tmp.path()).unwrap().f_type as u64 == TMPFS {
        eprintln!("SKIPPED: {} is no disk", tmp.path().display());
        return;
    }
    let file = tmp.path().join("file").display().to_string();
    let script = format!(
        "dd if=/dev/zero of={file} bs=64k count=32 conv=fsync && dd if={file} of=/dev/null bs=64k iflag=direct"
    );
    let programs = Programs::new([Grant::exec("/bin/sh", shell(&script).change(tmp.path()))]);
    let exit = exec(&programs, "/bin/sh").await.spawn(Launch::new()).await.unwrap().wait().await;
    // There are file systems that count nothing, or read past no memory.
    if !exit.is_success() || exit.usage.read_bytes == Some(0) {
        eprintln!("SKIPPED: nothing can be read past the memory of files here: {exit}");
        return;
    }
    let (read, written) = (exit.usage.read_bytes.unwrap(), exit.usage.written_bytes.unwrap());
    assert!(read >= 2 << 20 && written >= 2 << 20, "{exit}");
    let end = programs.records(Action::ProcessExit).pop().unwrap();
    let text = String::from_utf8(end.resource).unwrap();
    assert!(text.contains(&format!(", read {read} bytes, wrote {written} bytes")), "{text}");
}

#[tokio::test]
async fn the_share_of_the_processors_is_bounded() {
    let busy =
        shell("while :; do :; done").limits(Limits::new().cpu_percent(20).wall_time(Duration::from_secs(1)));
    let programs = Programs::new([Grant::exec("/bin/sh", busy.clone())]);
    let sh = exec(&programs, "/bin/sh").await;
    let mut tries = 0;
    loop {
        // Whoever has to kill it may come late.
        let began = Instant::now();
        let mut process = match sh.spawn(Launch::new()).await {
            Ok(process) => process,
            Err(error) => {
                eprintln!("SKIPPED: no control group of processors: {error}");
                break;
            }
        };
        let exit = process.wait().await;
        let computed = exit.usage.user_time + exit.usage.system_time;
        tries += 1;
        if computed <= began.elapsed() / 5 + Duration::from_millis(200) {
            break;
        }
        // A machine that is held up as a whole counts that as computing of whoever has the processor: once more.
        assert!(tries < 5, "{exit}");
    }
    let without = Programs::new([Grant::exec("/bin/sh", busy.without(Layers::CGROUP))]);
    let refused = exec(&without, "/bin/sh").await.spawn(Launch::new()).await;
    assert_fails(refused.map(drop), ErrorKind::Unsupported, "no group");
    let weighed = shell("echo ran").limits(Limits::new().io_weight(500));
    let programs = Programs::new([Grant::exec("/bin/sh", weighed)]);
    if let Err(error) = exec(&programs, "/bin/sh").await.spawn(Launch::new()).await {
        eprintln!("SKIPPED: no control group of disks: {error}");
    }
}

#[tokio::test]
async fn output_is_bounded() {
    let endless = || shell("while :; do echo yes; done").limits(Limits::new().output_bytes(100_000));
    let programs = Programs::new([Grant::exec("/bin/sh", endless())]);
    let sh = exec(&programs, "/bin/sh").await;
    let both = || Launch::new().stdout(Stdio::Pipe).stderr(Stdio::Pipe);
    assert_fails(sh.spawn(both()).await.unwrap().collect().await, ErrorKind::LimitExceeded, "output");
    let mut process = sh.spawn(both()).await.unwrap();
    let mut read = Vec::new();
    let error = process.stdout.take().unwrap().read_to_end(&mut read).await.unwrap_err();
    assert!(error.get_ref().unwrap().is::<airssys_osl::Error>());
    assert!(read.len() <= 100_000);
    assert_eq!(process.wait().await.cause, Cause::OutputLimit);
    // As much as is taken, and no more.
    let exactly = shell("head -c 100000 /dev/zero").limits(Limits::new().output_bytes(100_000));
    assert_eq!(run(exactly).await.stdout.len(), 100_000);
}

#[tokio::test]
async fn a_start_that_nobody_waits_for_leaves_nothing() {
    let programs = Programs::new([Grant::exec("/bin/sh", shell("sleep 1000"))]);
    let sh = exec(&programs, "/bin/sh").await;
    for polls in 1..4 {
        // A thread that has to wait for a processor between two looks may come back to a program that runs: once more.
        let mut is_under_way = false;
        while !is_under_way {
            let mut spawn = Box::pin(sh.spawn(Launch::new()));
            for _ in 0..polls {
                let started = poll_fn(|cx| Poll::Ready(spawn.as_mut().poll(cx))).await;
                is_under_way = started.map(Result::unwrap).is_pending();
                if !is_under_way {
                    break;
                }
            }
        }
    }
    let spawns = programs.records(Action::ProcessSpawn);
    let cancelled = spawns.iter().filter(|record| record.outcome == Outcome::Cancelled).count();
    assert_eq!(cancelled, 3, "{spawns:?}");
    // One that is asked for later begins after all of those: what they started is over by then, or about to be.
    let mut last = sh.spawn(Launch::new()).await.unwrap();
    last.kill();
    last.wait().await;
}

#[tokio::test]
async fn the_end_belongs_to_the_request_that_it_was_started_for() {
    const REQUEST: [u8; 16] = [7; 16];
    let programs = Programs::new([Grant::exec("/bin/true", ExecTerms::new())]);
    let exec = exec(&programs, "/bin/true").await;
    programs.sink.take();
    let mut process = trace::scope(REQUEST, exec.spawn(Launch::new())).await.unwrap();
    process.wait().await;
    let records = programs.sink.take();
    // One so short may have ended before its start is on record.
    assert!(records.iter().any(|record| record.action == Action::ProcessExit), "{records:?}");
    assert!(records.iter().all(|record| record.trace == REQUEST), "{records:?}");
}
