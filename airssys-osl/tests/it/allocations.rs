//! The hot path allocates nothing: counted, not claimed.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    path::Path,
};

use airssys_osl::{
    Action, Error, Os, Verdict,
    audit::{Event, Log, LogOptions, Outcome, Phase, Redaction, Sink},
    fs::OpenOptions,
    policy::{Endpoint, Grant, Policy, Protocol, Request, Resource, Rights},
};

use crate::fixture::Fixture;

struct Counting;

thread_local! {
    static COUNT: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
// SAFETY: every call goes to the system's allocator as it came; counting touches no memory that it manages.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = COUNT.try_with(|count| count.set(count.get() + 1));
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// Takes records as the log does: without keeping what it was lent.
struct Discard;

impl Sink for Discard {
    fn record(&self, _: &Event<'_>) -> Result<u64, Error> {
        Ok(1)
    }
}

#[track_caller]
fn assert_none<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let before = COUNT.get();
    let value = f();
    assert_eq!(COUNT.get() - before, 0, "{what} allocated");
    value
}

#[test]
fn a_decision_allocates_nothing() {
    let root = Path::new("/srv/inbox");
    let grants = [
        Grant::fs(root, Rights::READ),
        Grant::env("A"),
        Grant::send("q"),
        Grant::clock(),
        Grant::connect(Protocol::Tcp, "*.example.com", 443),
        Grant::connect(Protocol::Tcp, "10.0.0.0/8", 443),
    ];
    let policy = Policy::builder().principal("p", grants).build().unwrap();
    let endpoint = |host, address: [u8; 4]| {
        Resource::Endpoint(Endpoint { protocol: Protocol::Tcp, host, address: address.into(), port: 443 })
    };
    let beneath = |needs| Resource::Beneath { root, needs };
    let cases = [
        (Action::FsRead, beneath(Rights::READ), Verdict::Allow),
        (Action::FsRename, beneath(Rights::WRITE | Rights::CREATE), Verdict::Deny),
        (Action::FsOpenRoot, Resource::Root(Path::new("/srv/inbox")), Verdict::Allow),
        (Action::FsOpenRoot, Resource::Root(Path::new("/srv")), Verdict::Deny),
        (Action::EnvRead, Resource::Name("A"), Verdict::Allow),
        (Action::ActorSend, Resource::Name("r"), Verdict::Deny),
        (Action::NetConnect, endpoint(Some("a.example.com"), [1, 1, 1, 1]), Verdict::Allow),
        (Action::NetConnect, endpoint(Some("a.example.com"), [127, 0, 0, 1]), Verdict::Deny),
        (Action::NetConnect, endpoint(None, [10, 0, 0, 1]), Verdict::Allow),
        (Action::NetResolve, Resource::Host("a.example.com"), Verdict::Allow),
        (Action::NetConnect, Resource::Name("127.0.0.1:80"), Verdict::Deny),
    ];
    for (action, resource, expected) in cases {
        let request = Request { principal: "p", action, resource };
        let decision = assert_none(action.name(), || policy.decide(&request));
        assert_eq!(decision.verdict, expected, "{request:?}");
    }
}

#[tokio::test]
async fn a_read_and_its_record_allocate_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::write(tmp.path().join("file"), [7; 4096]).unwrap();
    let grants = [Grant::fs(tmp.path(), Rights::READ), Grant::send("q")];
    let os = Os::new(Policy::builder().principal("p", grants).build().unwrap(), Discard);
    let principal = os.principal("p").unwrap();
    let dir = principal.dir(tmp.path()).await.unwrap();
    let file = dir.open("file", &OpenOptions::new().read(true)).await.unwrap();
    let mut buffer = [0; 4096];
    file.read_at(&mut buffer, 0).await.unwrap();
    let mut least = usize::MAX;
    // Somebody who mounts something meanwhile makes the kernel unsure of paths, and then another thread is asked: once
    // more.
    for _ in 0..100 {
        let before = COUNT.get();
        for _ in 0..100 {
            assert_eq!(file.read_at(&mut buffer, 0).await.unwrap(), 4096);
            dir.metadata("file", true).await.unwrap();
            principal.may_send("q").unwrap();
        }
        least = least.min(COUNT.get() - before);
        if least == 0 {
            break;
        }
    }
    assert_eq!(least, 0, "the way through the door allocated");
}

#[tokio::test]
async fn what_need_not_wait_is_not_carried_about() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let file = dir.open("a/b", &OpenOptions::new().read(true)).await.unwrap();
    let mut buffer = [0; 8];
    assert!(size_of_val(&dir.read("a/b", 100)) <= 256);
    assert!(size_of_val(&file.read_at(&mut buffer, 0)) <= 256);
}

#[test]
fn a_record_allocates_nothing_at_its_caller() {
    let tmp = tempfile::tempdir().unwrap();
    let redaction = Redaction::new().below("/home").key([7; 32]);
    let options = LogOptions { redaction, ..crate::audit_log::fast() };
    let log = Log::open(tmp.path(), "log", options).unwrap();
    let of = |resource: &'static [u8]| Event {
        principal: "p",
        action: Action::FsRead,
        resource,
        verdict: Verdict::Allow,
        rule: "r",
        epoch: 1,
        phase: Phase::Done,
        outcome: Outcome::Success,
        bytes: 1,
        duration_ns: 1,
        intent: 0,
        trace: [1; 16],
    };
    let events = [of(b"/srv/inbox/access.log"), of(b"/home/alice/diary")];
    // What a thread keeps for itself is made with its first record.
    events.iter().for_each(|event| _ = log.record(event).unwrap());
    assert_none("recording", || {
        for _ in 0..1_000 {
            events.iter().for_each(|event| _ = log.record(event).unwrap());
        }
    });
    log.close().unwrap();
}
