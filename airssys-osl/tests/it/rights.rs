//! Every operation with every set of rights, decided in each of the three ways in which a handle can be short of one.

use std::{fs, os::unix::fs::symlink, time::Duration};

use airssys_osl::{
    Action, Error, ErrorKind,
    fs::{Dir, File, Flush, LockKind, OpenOptions, SetTime},
    policy::Rights,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::fixture::{Fixture, assert_denied, last, step_by_step};

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);

/// What an operation needs, written down a second time.
#[derive(Clone, Copy, Debug)]
enum Needs {
    All(Rights),
    Any(Rights),
    /// One decision after the other: at the source, then at the destination.
    Each([Rights; 2]),
}

const ANY_GRANT: Needs = Needs::All(Rights::empty());
const SEE: Needs = Needs::Any(Rights::READ.union(Rights::LIST));
const PUT: Needs = Needs::All(Rights::CREATE.union(Rights::WRITE));

/// Each operation by its name, with what it needs.
const OPERATIONS: &[(&str, Needs)] = &[
    ("open to read", Needs::All(Rights::READ)),
    ("open to write", Needs::All(Rights::WRITE)),
    ("open for both", Needs::All(Rights::READ.union(Rights::WRITE))),
    ("open and truncate", Needs::All(Rights::WRITE)),
    ("open and create", PUT),
    ("create new", PUT),
    ("open any", Needs::All(Rights::READ)),
    ("open dir", ANY_GRANT),
    ("read", Needs::All(Rights::READ)),
    ("list", Needs::All(Rights::LIST)),
    ("metadata", SEE),
    ("metadata of link", SEE),
    ("read link", SEE),
    ("self metadata", ANY_GRANT),
    ("create dir", Needs::All(Rights::CREATE)),
    ("symlink", Needs::All(Rights::CREATE)),
    ("hard link", Needs::All(Rights::CREATE)),
    ("replace", PUT),
    ("replace a new one", PUT),
    ("rename", PUT),
    ("rename over", PUT),
    ("remove file", Needs::All(Rights::DELETE)),
    ("remove dir", Needs::All(Rights::DELETE)),
    ("set times", Needs::All(Rights::WRITE)),
    ("set permissions", Needs::All(Rights::WRITE)),
    ("create dir all", Needs::All(Rights::CREATE)),
    ("remove tree", Needs::All(Rights::DELETE)),
    ("copy", Needs::Each([Rights::READ, Rights::CREATE.union(Rights::WRITE)])),
    ("entries", Needs::All(Rights::LIST)),
    ("walk", Needs::All(Rights::LIST)),
    ("watch", Needs::All(Rights::LIST)),
    ("temp file", PUT),
    ("persist", PUT),
    ("replace by temp file", PUT),
];

const FILE_OPERATIONS: &[(&str, Needs)] = &[
    ("read at", Needs::All(Rights::READ)),
    ("write at", Needs::All(Rights::WRITE)),
    ("append", Needs::All(Rights::WRITE)),
    ("set len", Needs::All(Rights::WRITE)),
    ("file set times", Needs::All(Rights::WRITE)),
    ("file metadata", ANY_GRANT),
    ("sync", ANY_GRANT),
    ("read to limit", Needs::All(Rights::READ)),
    ("stream out", Needs::All(Rights::READ)),
    ("stream in", Needs::All(Rights::WRITE)),
    ("file set permissions", Needs::All(Rights::WRITE)),
    ("lock shared", Needs::All(Rights::READ)),
    ("lock exclusive", Needs::All(Rights::WRITE)),
];

async fn act(dir: &Dir, operation: &str) -> Result<(), Error> {
    let now = SetTime::Now;
    match operation {
        "open to read" => dir.open("file", &READ).await.map(drop),
        "open to write" => dir.open("file", &WRITE).await.map(drop),
        "open for both" => dir.open("file", &READ.write(true)).await.map(drop),
        "open and truncate" => dir.open("file", &WRITE.truncate(true)).await.map(drop),
        "open and create" => dir.open("new", &WRITE.create(true)).await.map(drop),
        "create new" => dir.open("new", &WRITE.create_new(true)).await.map(drop),
        "open any" => dir.open_any("file", &READ).await.map(drop),
        "open dir" => dir.open_dir("full").await.map(drop),
        "read" => dir.read("file", 100).await.map(drop),
        "list" => dir.list(100).await.map(drop),
        "metadata" => dir.metadata("file", true).await.map(drop),
        "metadata of link" => dir.metadata("link", false).await.map(drop),
        "read link" => dir.read_link("link").await.map(drop),
        "self metadata" => dir.self_metadata().await.map(drop),
        "create dir" => dir.create_dir("new").await,
        "symlink" => dir.symlink("file", "new").await,
        "hard link" => dir.hard_link("file", dir, "new").await,
        "replace" => dir.replace("file", b"x", Flush::Later).await,
        "replace a new one" => dir.replace("new", b"x", Flush::Later).await,
        "rename" => dir.rename("file", dir, "new").await,
        "rename over" => dir.rename("file", dir, "other").await,
        "remove file" => dir.remove_file("file").await,
        "remove dir" => dir.remove_dir("empty").await,
        "set times" => dir.set_times("file", true, now, now).await,
        "set permissions" => dir.set_permissions("file", 0o600).await,
        "create dir all" => dir.create_dir_all("full/new").await,
        "remove tree" => dir.remove_tree("full").await.map(drop),
        "copy" => dir.copy("file", dir, "new").await.map(drop),
        "entries" => dir.entries().await.map(drop),
        "walk" => dir.walk(1).await.map(drop),
        "watch" => dir.watch(Duration::ZERO).await.map(drop),
        "temp file" => dir.temp_file().await.map(drop),
        "persist" => dir.temp_file().await?.persist("new").await,
        "replace by temp file" => dir.temp_file().await?.replace("new").await,
        other => panic!("no operation is called {other}"),
    }
}

async fn act_on_file(file: &File, operation: &str) -> Result<(), Error> {
    match operation {
        "read at" => file.read_at(&mut [0; 4], 0).await.map(drop),
        "write at" => file.write_at(b"x", 0).await,
        "append" => file.append(b"x").await,
        "set len" => file.set_len(1).await,
        "file set times" => file.set_times(SetTime::Now, SetTime::Keep).await,
        "file metadata" => file.metadata().await.map(drop),
        "sync" => file.sync(true).await,
        "read to limit" => file.read_to_limit(100).await.map(drop),
        "stream out" => stream(file.clone().read(&mut [0; 4]).await.map(drop)),
        "stream in" => {
            let mut file = file.clone();
            stream(async { file.write_all(b"x").await.and(file.flush().await) }.await)
        }
        "file set permissions" => file.set_permissions(0o600).await,
        "lock shared" => file.lock(LockKind::Shared, Duration::ZERO).await.map(drop),
        "lock exclusive" => file.lock(LockKind::Exclusive, Duration::ZERO).await.map(drop),
        other => panic!("no operation is called {other}"),
    }
}

/// The error of the door in one of a stream.
fn stream(result: std::io::Result<()>) -> Result<(), Error> {
    result.map_err(|error| *error.into_inner().unwrap().downcast().unwrap())
}

fn fixture(rights: Rights) -> Fixture {
    let fixture = Fixture::light(rights);
    fs::write(fixture.inside("file"), "content").unwrap();
    fs::write(fixture.inside("other"), "other").unwrap();
    fs::create_dir(fixture.inside("full")).unwrap();
    fs::create_dir(fixture.inside("empty")).unwrap();
    symlink("file", fixture.inside("link")).unwrap();
    fixture
}

fn every_set() -> impl Iterator<Item = Rights> {
    (1..=Rights::all().bits()).map(Rights::from_bits_truncate)
}

fn allowed(needs: Needs, rights: Rights) -> bool {
    match needs {
        Needs::All(needs) => rights.contains(needs),
        Needs::Any(needs) => rights.intersects(needs),
        Needs::Each(each) => each.into_iter().all(|needs| rights.contains(needs)),
    }
}

/// The rule of a denial by a grant of `rights` that the fixture calls `r`.
fn lacks(needs: Needs, rights: Rights) -> String {
    match needs {
        Needs::All(needs) => format!("r: lacks {}", needs - rights),
        Needs::Any(_) => "r: lacks list".to_owned(),
        Needs::Each([first, second]) if rights.contains(first) => lacks(Needs::All(second), rights),
        Needs::Each([first, _]) => lacks(Needs::All(first), rights),
    }
}

#[track_caller]
fn check(result: Result<(), Error>, needs: Needs, rights: Rights, rule: &str, what: &str) {
    let what = format!("{what} with {rights}");
    if allowed(needs, rights) {
        result.unwrap_or_else(|error| panic!("{what}: {error}"));
    } else {
        assert_denied(result, rule, &what);
    }
}

/// Calls `check` for each operation with files as new: they are made again after what was allowed.
async fn for_each(granted: Rights, rights: Rights, check: impl AsyncFn(&Fixture, &str, Needs) -> ()) {
    let mut fresh = None;
    for (operation, needs) in OPERATIONS {
        check(fresh.get_or_insert_with(|| fixture(granted)), operation, *needs).await;
        if allowed(*needs, rights) {
            fresh = None;
        }
    }
}

#[tokio::test]
async fn as_granted() {
    for rights in every_set() {
        for_each(rights, rights, async |fixture, operation, needs| {
            let before = fixture.snapshot();
            let result = act(&fixture.dir().await, operation).await;
            if !allowed(needs, rights) {
                assert_eq!(fixture.snapshot(), before, "{operation} with {rights} touched something");
            }
            check(result, needs, rights, &lacks(needs, rights), operation);
        })
        .await;
    }
}

#[tokio::test]
async fn as_granted_later() {
    let all = Rights::all();
    for rights in every_set() {
        for_each(all, rights, async |fixture, operation, needs| {
            fixture.os.reload(fixture.policy(all));
            let dir = fixture.dir().await;
            fixture.os.reload(fixture.policy(rights));
            check(act(&dir, operation).await, needs, rights, &lacks(needs, rights), operation);
        })
        .await;
        let fixture = fixture(all);
        for (operation, needs) in FILE_OPERATIONS {
            fixture.os.reload(fixture.policy(all));
            let file = fixture.dir().await.open("file", &READ.write(true)).await.unwrap();
            fixture.os.reload(fixture.policy(rights));
            check(act_on_file(&file, operation).await, *needs, rights, &lacks(*needs, rights), operation);
        }
    }
}

#[tokio::test]
async fn as_narrowed() {
    for rights in every_set() {
        for_each(Rights::all(), rights, async |fixture, operation, needs| {
            let dir = fixture.dir().await.narrow(rights);
            assert_eq!(dir.rights(), rights);
            check(act(&dir, operation).await, needs, rights, "narrowed-handle", operation);
        })
        .await;
    }
}

#[tokio::test]
async fn a_file_does_what_it_was_opened_for() {
    for (options, rights) in
        [(READ, Rights::READ), (WRITE, Rights::WRITE), (READ.write(true), Rights::READ | Rights::WRITE)]
    {
        for (operation, needs) in FILE_OPERATIONS {
            let fixture = fixture(Rights::all());
            let file = fixture.dir().await.open("file", &options).await.unwrap();
            assert_eq!(file.rights(), rights);
            check(act_on_file(&file, operation).await, *needs, rights, "narrowed-handle", operation);
        }
    }
}

#[tokio::test]
async fn narrowing_never_widens() {
    let fixture = fixture(Rights::READ);
    let dir = fixture.dir().await.narrow(Rights::all());
    assert_eq!(dir.rights(), Rights::READ);
    assert_denied(dir.remove_file("file").await, "r: lacks delete", "widened");
    fixture.os.reload(fixture.policy(Rights::all()));
    assert_denied(dir.remove_file("file").await, "narrowed-handle", "a wider policy");
    assert!(
        fixture.dir().await.remove_file("file").await.is_ok(),
        "a new handle has what the new policy grants"
    );
}

#[tokio::test]
async fn options_that_mean_nothing() {
    let fixture = fixture(Rights::all());
    let dir = fixture.dir().await;
    let nothing = OpenOptions::new();
    for options in [
        nothing,
        nothing.create(true),
        READ.truncate(true),
        READ.create(true),
        READ.create_new(true),
        WRITE.directory(true),
    ] {
        let error = dir.open("file", &options).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{options:?}");
    }
    assert_eq!(fs::read(fixture.inside("file")).unwrap(), b"content");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_descriptor_is_handed_out_as_a_read_of_all_and_never_to_write() {
    use std::io::{Read as _, Write as _};
    let fixture = fixture(Rights::all());
    let dir = fixture.dir().await;
    let file = dir.open("file", &READ).await.unwrap();
    fixture.sink.take();
    let mut handed = fs::File::from(file.descriptor().await.unwrap());
    let mut content = String::new();
    handed.read_to_string(&mut content).unwrap();
    assert_eq!(content, "content");
    assert!(handed.write_all(b"x").is_err());
    let records = fixture.sink.take();
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!((last(&records).action, last(&records).bytes), (Action::FsRead, 7));
    let writable = dir.open("file", &READ.write(true)).await.unwrap();
    assert_eq!(writable.descriptor().await.unwrap_err().kind(), ErrorKind::Invalid);
    fixture.os.reload(fixture.policy(Rights::all() - Rights::READ));
    assert_denied(file.descriptor().await, "r: lacks read", "after a later policy");
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[a_file_does_what_it_was_opened_for, narrowing_never_widens, options_that_mean_nothing]);
}
