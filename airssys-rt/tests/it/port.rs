//! Programs as actors: what they are told and say, how they end, and who restarts them.
//!
//! After `port_SUITE`: `basic_ping`, `line` → `frames_go_there_and_back_in_every_framing`; `bad_packet` →
//! `what_cannot_be_framed_is_not_written`; `exit_status` → `the_status_is_the_reason`; `close_deaf_port` →
//! `one_that_does_not_read_is_asked_to_end_when_it_is_stopped`; `mon_port_owner_dies` → `it_ends_with_its_owner`. What holds
//! programs and senders back, and whole trees that are killed, OTP does not have.

use std::time::Duration;

use airssys_osl::{
    Action, Os,
    policy::{ExecTerms, Grant, Policy},
    process::{Cause, Exec, Launch, Limits, Signal, Status},
    testing::MemorySink,
};
use airssys_rt::{
    Actor, ActorRef, ChildSpec, Context, ExitReason, Mailbox, MailboxOptions, Reply, Shutdown, SpawnOptions,
    Strategy, Supervisor, System,
    port::{ERROR_LINE_BYTES, Framing, Port, PortError, PortMsg, PrefixBytes},
};
use tokio::time::Instant;

/// Longer than anything here takes, on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(600);

/// Collects what a program says; whoever asks waits for so many frames.
#[derive(Default)]
struct Owner {
    frames: Vec<Vec<u8>>,
    asked: Option<(usize, Reply<Vec<Vec<u8>>>)>,
}

enum Msg {
    Frame(Vec<u8>),
    Wait(usize, Reply<Vec<Vec<u8>>>),
    Stall(Reply<()>, tokio::sync::oneshot::Receiver<()>),
}

impl Actor for Owner {
    type Msg = Msg;

    async fn handle(&mut self, message: Msg, _: &mut Context<Self>) -> Result<(), ExitReason> {
        match message {
            Msg::Frame(frame) => self.frames.push(frame),
            Msg::Wait(count, reply) => self.asked = Some((count, reply)),
            Msg::Stall(reply, until) => {
                reply.send(());
                let _ = until.await;
            }
        }
        if self.asked.as_ref().is_some_and(|(count, _)| *count <= self.frames.len())
            && let Some((_, reply)) = self.asked.take()
        {
            reply.send(std::mem::take(&mut self.frames));
        }
        Ok(())
    }
}

async fn frames(owner: &ActorRef<Msg>, count: usize) -> Vec<String> {
    let frames = owner.call(|reply| Msg::Wait(count, reply), LONG).await.unwrap();
    frames.into_iter().map(|frame| String::from_utf8(frame).unwrap()).collect()
}

fn door(terms: ExecTerms) -> (Os, MemorySink) {
    let policy = Policy::builder().principal("p", [Grant::exec("/bin/sh", terms)]);
    let sink = MemorySink::new();
    (Os::new(policy.build().unwrap(), sink.clone()), sink)
}

async fn shell_with(script: &str, with: impl FnOnce(ExecTerms) -> ExecTerms) -> Exec {
    recorded(script, with).await.0
}

/// A shell that runs `script`, and what is recorded of it.
async fn recorded(script: &str, with: impl FnOnce(ExecTerms) -> ExecTerms) -> (Exec, MemorySink) {
    let (os, sink) = door(with(ExecTerms::new().arg("-c").arg(script)));
    (os.principal("p").unwrap().exec("/bin/sh").await.unwrap(), sink)
}

async fn shell(script: &str) -> Exec {
    shell_with(script, |terms| terms).await
}

fn port(exec: &Exec, framing: Framing, owner: &ActorRef<Msg>) -> Port<Msg> {
    Port::new(exec.clone(), Launch::new(), framing, owner.clone(), |frame| Msg::Frame(frame.to_vec()))
}

/// A port to a shell that runs `script`, and its owner.
async fn start(script: &str, framing: Framing) -> (System, ActorRef<Msg>, ActorRef<PortMsg>) {
    let (system, exec) = (System::new(), shell(script).await);
    let owner = system.spawn(Owner::default());
    let port = system.spawn(port(&exec, framing, &owner));
    (system, owner, port)
}

async fn write(port: &ActorRef<PortMsg>, frame: &str) {
    port.cast(PortMsg::Write(frame.into())).await.unwrap();
}

async fn reason(port: &ActorRef<PortMsg>) -> ExitReason {
    tokio::time::timeout(LONG, port.exited()).await.unwrap()
}

fn error(reason: &ExitReason) -> &PortError {
    reason.error().and_then(|error| error.downcast_ref()).unwrap_or_else(|| panic!("{reason}"))
}

#[tokio::test]
async fn frames_go_there_and_back_in_every_framing() {
    let two = Framing::LengthPrefix(PrefixBytes::Two);
    for framing in [Framing::Lines, Framing::JsonLines, two, Framing::Netstring] {
        let (_system, owner, port) = start("exec cat", framing).await;
        for number in 0..1000 {
            write(&port, &format!("[{number}]")).await;
        }
        let said = frames(&owner, 1000).await;
        assert!(
            said.iter().enumerate().all(|(number, frame)| *frame == format!("[{number}]")),
            "{framing:?}"
        );
        port.cast(PortMsg::CloseInput).await.unwrap();
        assert!(matches!(reason(&port).await, ExitReason::Normal), "{framing:?}");
    }
}

#[tokio::test]
async fn its_input_takes_frames_past_the_mailbox() {
    let (system, exec) = (System::new(), shell("exec cat").await);
    let owner = system.spawn(Owner::default());
    let port = port(&exec, Framing::Netstring, &owner).frame_limit(100);
    let input = port.input();
    let port = system.spawn(port);
    let writers = [0, 1].map(|writer| {
        let input = input.clone();
        tokio::spawn(async move {
            for number in 0..20_000 {
                input.write(format!("{number} of {writer}").as_bytes()).await.unwrap();
            }
        })
    });
    assert_eq!(
        input.write(&[0; 101]).await,
        Err(PortError::TooLong { limit_bytes: 100 }),
        "which ends nothing"
    );
    let said = frames(&owner, 40_000).await;
    for (number, writer) in writers.into_iter().enumerate() {
        writer.await.unwrap();
        let own = said.iter().filter(|frame| frame.ends_with(&format!("of {number}")));
        assert!(own.enumerate().all(|(place, frame)| *frame == format!("{place} of {number}")), "in order");
    }
    port.cast(PortMsg::CloseInput).await.unwrap();
    assert!(matches!(reason(&port).await, ExitReason::Normal));
    assert_eq!(input.write(b"late").await, Err(PortError::InputClosed));
}

#[tokio::test]
async fn who_waits_for_room_in_its_input_is_told_when_the_port_ends() {
    let (system, exec) = (System::new(), shell("exec sleep 1000").await);
    let owner = system.spawn(Owner::default());
    for ends in [ActorRef::kill, |port: &ActorRef<PortMsg>| port.stop(ExitReason::Shutdown)] {
        let port = port(&exec, Framing::Lines, &owner).grace(Duration::from_millis(20));
        let input = port.input();
        let port = system.spawn(port);
        let (tell, mut written) = tokio::sync::watch::channel(0);
        let wait = tokio::spawn(async move {
            loop {
                if let Err(error) = input.write(&[b'x'; 60_000]).await {
                    return error;
                }
                tell.send_modify(|written| *written += 1);
            }
        });
        // More than the pipe takes; a few more, and there is no room.
        written.wait_for(|written| *written > 4).await.unwrap();
        ends(&port);
        let told = tokio::time::timeout(LONG, wait).await.unwrap().unwrap();
        assert_eq!(told, PortError::InputClosed);
    }
    // One that never started does not keep them waiting either.
    let input = port(&exec, Framing::Lines, &owner).input();
    assert_eq!(input.write(b"nobody").await, Err(PortError::InputClosed));
}

#[tokio::test]
async fn the_status_is_the_reason() {
    let (_system, owner, port) = start("echo last words; printf more; exit 3", Framing::Lines).await;
    let ended = reason(&port).await;
    let PortError::Exited(exit) = error(&ended) else { panic!("{ended}") };
    assert_eq!((exit.status, exit.cause), (Status::Code(3), Cause::Itself));
    assert_eq!(frames(&owner, 2).await, ["last words", "more"]);

    let (_system, _, port) = start("kill -9 $$", Framing::Lines).await;
    let ended = reason(&port).await;
    assert!(matches!(error(&ended), PortError::Exited(exit) if exit.status == Status::Signal(9)), "{ended}");

    let limits = |terms: ExecTerms| terms.limits(Limits::new().wall_time(Duration::from_millis(50)));
    let (system, exec) = (System::new(), shell_with("read line", limits).await);
    let owner = system.spawn(Owner::default());
    let ended = reason(&system.spawn(self::port(&exec, Framing::Lines, &owner))).await;
    assert!(matches!(error(&ended), PortError::Exited(exit) if exit.cause == Cause::WallTime), "{ended}");
}

#[tokio::test]
async fn what_is_no_frame_ends_it() {
    let check = async |script: &str, framing, expected| {
        let (_system, _, port) = start(script, framing).await;
        let ended = reason(&port).await;
        assert_eq!(error(&ended), &expected, "{script}");
    };
    check("echo '[1'; cat", Framing::JsonLines, PortError::Malformed("a line of JSON")).await;
    check("echo 4:abcdef; cat", Framing::Netstring, PortError::Malformed("a netstring's end")).await;
    check("printf '9:abc'", Framing::Netstring, PortError::Truncated).await;
    let long = PortError::TooLong { limit_bytes: 1 << 20 };
    check("head -c 2000000 /dev/zero; cat", Framing::Lines, long).await;
}

#[tokio::test]
async fn what_cannot_be_framed_is_not_written() {
    let (_system, _, port) = start("exec cat", Framing::LengthPrefix(PrefixBytes::One)).await;
    port.cast(PortMsg::Write(vec![0; 256])).await.unwrap();
    assert_eq!(error(&reason(&port).await), &PortError::TooLong { limit_bytes: 255 });
    let (_system, _, port) = start("exec <&-; echo closed; sleep 1000", Framing::Lines).await;
    loop {
        if port.cast(PortMsg::Write(b"x".to_vec())).await.is_err() {
            break;
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(error(&reason(&port).await), &PortError::InputClosed);
}

#[tokio::test]
async fn who_does_not_take_frames_holds_the_program_back() {
    let (system, exec) = (System::new(), shell("while echo line; do :; done").await);
    let options = SpawnOptions { mailbox: MailboxOptions::bounded(4), ..SpawnOptions::default() };
    let owner = system.spawn_with(options, Owner::default());
    let (go_on, until) = tokio::sync::oneshot::channel();
    owner.call(|reply| Msg::Stall(reply, until), LONG).await.unwrap();
    let port = system.spawn(port(&exec, Framing::Lines, &owner));
    // It would go on for ever: once there is no room for what one more adds, nothing changes any more.
    while owner.try_cast(Msg::Frame(b"line".to_vec())).is_ok() {
        tokio::task::yield_now().await;
    }
    go_on.send(()).unwrap();
    assert!(frames(&owner, 100_000).await.iter().all(|frame| frame == "line"));
    port.stop(ExitReason::Shutdown);
    reason(&port).await;
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_its_senders_back() {
    let (_system, owner, port) = start("read line; echo \"$line\"; exec sleep 1000", Framing::Lines).await;
    write(&port, "first").await;
    assert_eq!(frames(&owner, 1).await, ["first"]);
    let frame = "x".repeat(60_000);
    let mut taken = 0;
    while let Ok(Ok(())) =
        tokio::time::timeout(Duration::from_millis(200), port.cast(PortMsg::Write(frame.clone().into())))
            .await
    {
        taken += frame.len();
        assert!(taken < 100 << 20, "it takes everything");
    }
    // One that waits for it in the middle of a message is killed, and the program with it.
    port.kill();
    reason(&port).await;
}

/// A program that reads nothing and says `term` when it is asked to end.
const READS_NOTHING: &str = "trap 'echo term; exit 0' TERM; echo up; while :; do sleep 0.01; done";

#[tokio::test]
async fn it_is_asked_to_end_before_it_is_killed() {
    let polite = "echo up; while read line; do :; done; echo bye";
    let deaf = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    for (script, grace, says) in [
        (polite, LONG, Some("bye")),
        (READS_NOTHING, GRACE, Some("term")),
        (deaf, Duration::from_millis(100), None),
    ] {
        let (system, (exec, sink)) = (System::new(), recorded(script, |terms| terms).await);
        let owner = system.spawn(Owner::default());
        let port = system.spawn(port(&exec, Framing::Lines, &owner).grace(grace));
        assert_eq!(frames(&owner, 1).await, ["up"]);
        if grace == GRACE {
            let _still = until_it_is_signalled(&sink, || port.stop(ExitReason::Shutdown)).await;
            port.exited().await;
            tokio::time::resume();
        } else {
            port.stop(ExitReason::Shutdown);
            reason(&port).await;
        }
        if let Some(last) = says {
            assert_eq!(frames(&owner, 1).await, [last], "{script}");
        }
    }
}

/// The grace of a port whose program has as long as it wants to answer a signal.
const GRACE: Duration = Duration::from_secs(3);

/// Stops time and a port, and lets time pass until the program was sent a signal. As long as what is returned lives, no
/// more of it does, so that the answer is in time however slow the machine is.
async fn until_it_is_signalled(sink: &MemorySink, stop: impl FnOnce()) -> std::sync::mpsc::Sender<()> {
    let (still, wait) = std::sync::mpsc::channel();
    tokio::time::pause();
    // Time that is stopped goes on by itself where there is nothing to do, but not beside a thread that blocks.
    tokio::task::spawn_blocking(move || wait.recv());
    stop();
    for _ in 0..1_000 {
        if sink.take().iter().any(|record| record.action == Action::ProcessSignal) {
            return still;
        }
        tokio::time::advance(GRACE / 8).await;
    }
    panic!("the program was sent no signal");
}

#[tokio::test]
async fn a_supervisor_starts_it_again() {
    let (system, exec) = (System::new(), shell("echo ready; read line; echo \"$line\"; exit 1").await);
    let owner = system.spawn(Owner::default());
    let (mailbox, to) = (Mailbox::bounded(8), owner.clone());
    let sender = mailbox.actor_ref();
    let spec = ChildSpec::actor_with_mailbox("port", mailbox, move || port(&exec, Framing::Lines, &to));
    let supervisor = Supervisor::new("tree", Strategy::OneForOne).intensity(3, LONG).child(spec);
    let tree = system.start(supervisor).await.unwrap();
    assert_eq!(frames(&owner, 1).await, ["ready"]);
    for word in ["one", "two"] {
        write(&sender, word).await;
        assert_eq!(frames(&owner, 2).await, [word, "ready"]);
    }
    tree.shutdown().await;
}

/// Whether a process runs that was started with this word.
#[cfg(target_os = "linux")]
#[expect(clippy::disallowed_methods, reason = "it looks at the machine's processes")]
fn runs(word: &str) -> bool {
    let word = format!("\0{word}\0").into_bytes();
    let processes = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    // One that has ended in the meantime has none.
    let mut lines = processes.filter_map(|path| std::fs::read(path).ok());
    lines.any(|line| line.windows(word.len()).any(|part| part == word))
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_kill_and_a_stop_take_the_whole_tree() {
    for how in ["kill", "stop"] {
        // It sleeps for a time that nobody else asks for, in a session of its own, when its parent has gone.
        let time = format!("{}.{how}", std::process::id()).replace("kill", "1").replace("stop", "2");
        let script = format!("(setsid sleep 9{time} <&- >&- 2>&- &) ; echo up; read line; exit 0");
        let (system, exec) = (System::new(), shell(&script).await);
        let owner = system.spawn(Owner::default());
        let port = system.spawn(port(&exec, Framing::Lines, &owner));
        assert_eq!(frames(&owner, 1).await, ["up"]);
        while !runs(&format!("9{time}")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if how == "kill" {
            port.cast(PortMsg::Signal(Signal::Stop)).await.unwrap();
            port.kill();
            assert!(matches!(reason(&port).await, ExitReason::Killed));
        } else {
            port.stop(ExitReason::Shutdown);
            let reason = reason(&port).await;
            assert!(!reason.is_abnormal(), "{reason}");
        }
        while runs(&format!("9{time}")) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn it_ends_with_its_owner() {
    let (_system, owner, port) = start("exec cat", Framing::Lines).await;
    owner.stop(ExitReason::Normal);
    owner.exited().await;
    write(&port, "anybody there?").await;
    let ended = reason(&port).await;
    assert!(matches!(&ended, ExitReason::ShutdownFor(why) if &**why == "its owner is gone"), "{ended}");
}

#[tokio::test]
async fn what_nobody_takes_any_more_is_handed_on_and_it_lives() {
    let (system, exec) = (System::new(), shell("exec cat").await);
    let owner = system.spawn(Owner::default());
    let (unclaimed, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let port = system.spawn(port(&exec, Framing::Lines, &owner).unclaimed(move |message| {
        if let Msg::Frame(frame) = message {
            unclaimed.send(frame).unwrap();
        }
    }));
    write(&port, "one").await;
    assert_eq!(frames(&owner, 1).await, ["one"]);
    owner.stop(ExitReason::Normal);
    owner.exited().await;
    for word in ["two", "three"] {
        write(&port, word).await;
        assert_eq!(taken.recv().await.unwrap(), word.as_bytes());
    }
    port.stop(ExitReason::Shutdown);
    reason(&port).await;
}

/// Writes to a port until one that waits for the program is in hand, and more waits behind it.
async fn stall(port: &ActorRef<PortMsg>) {
    let frame = vec![b'x'; 100_000];
    let taken =
        |_| tokio::time::timeout(Duration::from_millis(200), port.cast(PortMsg::Write(frame.clone())));
    let mut count = 0;
    while taken(count).await.is_ok() {
        count += 1;
        assert!(count < 1000, "it takes everything");
    }
}

#[tokio::test]
async fn one_that_does_not_read_is_asked_to_end_when_it_is_stopped() {
    for drains in [false, true] {
        let (system, (exec, sink)) = (System::new(), recorded(READS_NOTHING, |terms| terms).await);
        let owner = system.spawn(Owner::default());
        let (mailbox, to) = (Mailbox::bounded(4), owner.clone());
        let sender = mailbox.actor_ref();
        let make = move || port(&exec, Framing::Lines, &to).grace(GRACE);
        let spec = ChildSpec::actor_with_mailbox("port", mailbox, make)
            .shutdown(Shutdown::Timeout(2 * LONG))
            .drain(drains);
        let tree = system.start(Supervisor::new("tree", Strategy::OneForOne).child(spec)).await.unwrap();
        assert_eq!(frames(&owner, 1).await, ["up"]);
        stall(&sender).await;
        let began = Instant::now();
        let mut stopping = None;
        let stop = || stopping = Some(tokio::spawn(async move { tree.shutdown().await }));
        let _still = until_it_is_signalled(&sink, stop).await;
        stopping.unwrap().await.unwrap();
        assert!(began.elapsed() < LONG, "it waits for the program");
        tokio::time::resume();
        assert_eq!(frames(&owner, 1).await, ["term"], "drained: {drains}");
    }
}

#[tokio::test]
async fn what_it_says_as_errors_is_told_to_the_last_line() {
    let script = "echo one >&2; echo out; head -c 9000 /dev/zero | tr '\\0' x >&2; printf last >&2; exit 4";
    let (system, exec) = (System::new(), shell(script).await);
    let (told, mut errors) = tokio::sync::mpsc::unbounded_channel();
    let (heard, mut frames) = tokio::sync::mpsc::unbounded_channel();
    let port = Port::<()>::without_owner(exec, Launch::new(), Framing::Lines, move |frame| {
        heard.send(frame.to_vec()).unwrap();
    });
    let port = system.spawn(port.errors(move |line| told.send(line).unwrap()).grace(LONG));
    let ended = reason(&port).await;
    let PortError::Exited(exit) = error(&ended) else { panic!("{ended}") };
    assert_eq!(exit.status, Status::Code(4));
    assert_eq!(frames.recv().await.unwrap(), b"out");
    let mut lines = Vec::new();
    while let Some(line) = errors.recv().await {
        lines.push(line);
    }
    assert_eq!(lines.first().unwrap(), b"one");
    assert!(lines.iter().all(|line| line.len() <= ERROR_LINE_BYTES), "in pieces");
    assert_eq!(lines.concat().len(), 3 + 9000 + 4);
    assert!(lines.last().unwrap().ends_with(b"last"));
}
