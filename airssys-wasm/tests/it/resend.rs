//! Sending again what was given up.

use std::error::Error as _;

use airssys_wasm::{Error, ErrorKind, Resend};

use crate::world::World;

fn message<'a>(sender: &'a str, receiver: &'a str, payload: &[u8]) -> Resend<'a> {
    let (content_type, is_published) = ("", false);
    let (subject, payload) = ("report", payload.to_vec());
    Resend { sender, receiver, subject, content_type, is_published, payload, trace: [7; 16] }
}

fn check(result: Result<(), Error>, kind: ErrorKind, expected: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (kind, expected), "{:?}", error.source());
}

const TWO: &str = "[component.a]\nLEDGER\n[component.b]\nLEDGER\n";

#[tokio::test]
async fn who_may_send_now_sends_again() {
    let granted = format!("{TWO}[component.a.grants]\nsend = [\"b\"]\n");
    let world = World::start(&granted).await;
    world.system.resend(message("a", "b", b"")).unwrap();
    world.system.resend(message("host", "a", b"")).unwrap();
    check(world.system.resend(message("b", "a", b"")), ErrorKind::Denied, "cannot send to `a` as `b`");
    assert_eq!(world.denied(), ["component.b actor.send default-deny"]);
    world.reload(TWO);
    check(world.system.resend(message("a", "b", b"")), ErrorKind::Denied, "cannot send to `b` as `a`");
    // Both were handled: what is asked behind them is answered.
    assert_eq!(world.ask("a", "report", "").await, "0 0 0 0");
    assert_eq!(world.ask("b", "report", "").await, "0 0 0 0");
    let handled: u64 = world.system.status().iter().map(|status| status.handled).sum();
    assert_eq!(handled, 4);
}

#[tokio::test]
async fn what_cannot_be_taken_is_refused() {
    let world = World::start(
        "[component.a]\nLEDGER\nlimits = { payload = \"1KiB\" }\nmailbox = 1\n\
         [component.web]\nWEB\n[component.web.http]\nlisten = \"127.0.0.1:0\"\n\
         [process.p]\nprogram = \"/bin/cat\"\n",
    )
    .await;
    let send = |receiver, payload: &[u8]| world.system.resend(message("host", receiver, payload));
    check(
        send("nobody", b""),
        ErrorKind::NotFound,
        "cannot send it to `nobody` again: the system has nobody of that name",
    );
    check(
        send("web", b""),
        ErrorKind::Unsupported,
        "cannot send it to `web` again: it answers requests over HTTP and takes no messages",
    );
    check(
        send("a", &[0; 1025]),
        ErrorKind::LimitExceeded,
        "cannot send it to `a` again: it is larger than that takes",
    );
    check(
        send("p", b"two\nlines"),
        ErrorKind::Unsupported,
        "cannot send it to `p` again: it would not read it as one message",
    );
    check(
        world.system.resend(message("nobody", "a", b"")),
        ErrorKind::NotFound,
        "cannot send as `nobody`: the system has nobody of that name",
    );
    // Nobody runs between these two but this task.
    send("a", b"").unwrap();
    check(send("a", b""), ErrorKind::Unavailable, "cannot send it to `a` again: its mailbox is full");
    world.system.shutdown().await;
    check(send("a", b""), ErrorKind::Unavailable, "cannot send it to `a` again: the system stops");
}

#[tokio::test]
async fn a_job_takes_nothing_again() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("job.wasm"), crate::text::job("(i32.const 0)")).unwrap();
    let world = World::start_in(dir, "[component.j]\nsource = \"job.wasm\"\njob = {}\n").await;
    check(
        world.system.resend(message("host", "j", b"")),
        ErrorKind::Unsupported,
        "cannot send it to `j` again: it is a job and takes no messages",
    );
}
