//! A log that takes no records: nothing is changed, and nothing is handed out.

use std::{
    error::Error as _,
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use airssys_osl::{
    Action, Error, ErrorKind, Milestone, Os,
    audit::{Event, Outcome, Phase, Sink},
    fs::{Flush, OpenOptions, SetTime},
    policy::{Grant, Policy, Rights},
};

use crate::fixture::{Fixture, assert_denied, assert_fails};

#[tokio::test]
async fn nothing_is_touched() {
    let fixture = Fixture::new(Rights::all());
    fs::create_dir(fixture.inside("empty")).unwrap();
    let dir = fixture.dir().await;
    let file = dir.open("a/b", &OpenOptions::new().read(true).write(true)).await.unwrap();
    let write = OpenOptions::new().write(true);
    let before = fixture.snapshot();
    fixture.sink.refuse(true);
    let results = [
        ("create", dir.open("new", &write.create(true)).await.map(drop)),
        ("create new", dir.open("new", &write.create_new(true)).await.map(drop)),
        ("truncate", dir.open("a/b", &write.truncate(true)).await.map(drop)),
        ("replace", dir.replace("a/b", b"x", Flush::Later).await),
        ("create dir", dir.create_dir("new").await),
        ("remove file", dir.remove_file("a/b").await),
        ("remove dir", dir.remove_dir("empty").await),
        ("rename", dir.rename("a/b", &dir, "c").await),
        ("hard link", dir.hard_link("a/b", &dir, "c").await),
        ("symlink", dir.symlink("a/b", "c").await),
        ("set times", dir.set_times("a/b", true, SetTime::Now, SetTime::Now).await),
        ("set permissions", dir.set_permissions("a/b", 0o777).await),
        ("create dir all", dir.create_dir_all("new/new").await),
        ("remove tree", dir.remove_tree("a").await.map(drop)),
        ("copy", dir.copy("a/b", &dir, "new").await.map(drop)),
        ("temp file", dir.temp_file().await.map(drop)),
        ("temp dir", dir.temp_dir().await.map(drop)),
        ("file set permissions", file.set_permissions(0o777).await),
        ("write at", file.write_at(b"x", 0).await),
        ("append", file.append(b"x").await),
        ("set len", file.set_len(0).await),
        ("file set times", file.set_times(SetTime::Now, SetTime::Now).await),
    ];
    for (what, result) in results {
        assert_fails(result, ErrorKind::AuditUnavailable, what);
    }
    assert_eq!(fixture.snapshot(), before);
}

#[tokio::test]
async fn nothing_is_handed_out() {
    let fixture = Fixture::new(Rights::all());
    let grants =
        [Grant::fs(fixture.inside(""), Rights::all()), Grant::env("PATH"), Grant::clock(), Grant::random()];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let dir = principal.dir(fixture.inside("")).await.unwrap();
    let read = OpenOptions::new().read(true);
    let file = dir.open("a/b", &read).await.unwrap();
    fixture.sink.refuse(true);
    let unavailable = ErrorKind::AuditUnavailable;
    assert_fails(dir.read("a/b", 100).await, unavailable, "read");
    assert_fails(dir.open("a/b", &read).await, unavailable, "open");
    assert_fails(dir.list(10).await, unavailable, "list");
    assert_fails(dir.metadata("a/b", true).await, unavailable, "metadata");
    assert_fails(dir.entries().await, unavailable, "entries");
    assert_fails(dir.watch(std::time::Duration::ZERO).await, unavailable, "watch");
    assert_fails(file.read_to_limit(100).await, unavailable, "read to limit");
    let lock = file.lock(airssys_osl::fs::LockKind::Shared, std::time::Duration::ZERO).await;
    assert_fails(lock, unavailable, "lock");
    let mut buffer = [0; 4];
    assert_fails(file.read_at(&mut buffer, 0).await, unavailable, "read at");
    assert_eq!(buffer, [0; 4], "what cannot be recorded is not handed out");
    assert_fails(principal.dir(fixture.inside("")).await, unavailable, "root");
    assert_fails(principal.env(), unavailable, "env");
    assert_fails(principal.clock(), unavailable, "clock");
    assert_fails(principal.random(), unavailable, "random");
    assert_fails(fixture.os.mark(Milestone::Start, "x"), unavailable, "mark");

    fixture.sink.refuse(false);
    assert_eq!(dir.read("a/b", 100).await.unwrap(), b"inside", "and it goes on when the log does");
}

#[tokio::test]
async fn a_denial_stands() {
    let fixture = Fixture::new(Rights::LIST);
    let dir = fixture.dir().await;
    fixture.sink.refuse(true);
    assert_denied(dir.read("a/b", 100).await, "r: lacks read", "read");
    assert_denied(dir.remove_file("a/b").await, "r: lacks delete", "remove");
    assert_denied(fixture.principal().attempt(Action::ProcessSpawn, "sh"), "default-deny", "attempt");
}

#[tokio::test]
async fn a_change_has_its_intent_first() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.replace("new", b"four", Flush::Later).await.unwrap();
    dir.remove_dir("a").await.unwrap_err();
    dir.read("new", 4).await.unwrap();
    let records = fixture.sink.take();
    let story: Vec<_> =
        records.iter().map(|record| (record.action, record.phase, record.outcome, record.bytes)).collect();
    let not_empty = Outcome::Failed(rustix::io::Errno::NOTEMPTY.raw_os_error());
    assert_eq!(
        story,
        [
            (Action::FsReplace, Phase::Intent, Outcome::Pending, 0),
            (Action::FsReplace, Phase::Done, Outcome::Success, 4),
            (Action::FsRemoveDir, Phase::Intent, Outcome::Pending, 0),
            (Action::FsRemoveDir, Phase::Done, not_empty, 0),
            (Action::FsRead, Phase::Done, Outcome::Success, 4),
        ]
    );
    assert_eq!(records[1].intent, records[3].intent - 2, "each end names its own intent");
    assert_eq!((records[0].intent, records[4].intent), (0, 0));
}

/// Once it is full, it takes intents only: as if it filled up while an operation runs.
struct FillsUp {
    full: Arc<AtomicBool>,
}

impl Sink for FillsUp {
    fn record(&self, event: &Event<'_>) -> Result<u64, Error> {
        if event.phase == Phase::Done && self.full.load(Ordering::SeqCst) {
            return Err(Error::unrecorded("full"));
        }
        Ok(1)
    }
}

#[tokio::test]
async fn a_change_that_was_made_is_told_even_where_its_end_is_not_on_record() {
    let fixture = Fixture::new(Rights::all());
    let full = Arc::new(AtomicBool::new(false));
    let os = Os::new(fixture.policy(Rights::all()), FillsUp { full: Arc::clone(&full) });
    let dir = os.principal("p").unwrap().dir(fixture.inside("")).await.unwrap();
    full.store(true, Ordering::SeqCst);
    dir.replace("a/b", b"new", Flush::Later).await.unwrap();
    assert_eq!(fs::read(fixture.inside("a/b")).unwrap(), b"new");
    let error = dir.read("a/b", 100).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot record an operation: the audit log takes no records");
    assert_eq!(error.source().unwrap().to_string(), "full");
}
