//! The two ways to resolve a path say the same of every path.

use std::{fs, os::unix::fs::symlink};

use airssys_osl::{
    Error, ErrorKind, Os, Resolution,
    fs::{Dir, FileKind, OpenOptions},
    policy::Rights,
};
use proptest::{prelude::*, test_runner::TestRunner};
use rustix::io::Errno;

use crate::{
    filtered::{Call, is_filtered, run},
    fixture::{Fixture, assert_denied},
};

const PARTS: &[&str] = &[
    "a", "b", "c", "..", ".", "", "file", "to-b", "up", "out", "loop", "absolute", "dangling", "chain",
    "slash",
];

/// What came of an operation, as far as both must agree.
type Said = Result<(FileKind, u64), (ErrorKind, Option<String>, Option<i32>)>;

struct Both {
    fixture: Fixture,
    kernel: Dir,
    steps: Dir,
}

async fn open(fixture: &Fixture, resolution: Resolution) -> Dir {
    let os = Os::builder(fixture.policy(Rights::all()), fixture.sink.clone()).resolution(resolution).build();
    os.principal("p").unwrap().dir(fixture.inside("")).await.unwrap()
}

async fn both() -> Both {
    let fixture = Fixture::light(Rights::all());
    fs::remove_file(fixture.inside("a/b")).unwrap();
    fs::create_dir_all(fixture.inside("a/b/c")).unwrap();
    for place in ["", "a/", "a/b/", "a/b/c/"] {
        fs::write(fixture.inside(&format!("{place}file")), place).unwrap();
        let link =
            |target: &str, name: &str| symlink(target, fixture.inside(&format!("{place}{name}"))).unwrap();
        link("..", "up");
        link("../../../../../outside", "out");
        link("loop", "loop");
        link("/etc", "absolute");
        link("nowhere/at/all", "dangling");
        link("./up/../slash", "chain");
        link("file/", "slash");
    }
    symlink("a/b", fixture.inside("to-b")).unwrap();
    symlink("../to-b", fixture.inside("a/to-b")).unwrap();
    let (kernel, steps) = (open(&fixture, Resolution::Kernel).await, open(&fixture, Resolution::Steps).await);
    Both { fixture, kernel, steps }
}

fn said<T>(result: Result<T, Error>, what: impl FnOnce(T) -> (FileKind, u64)) -> Said {
    result.map(what).map_err(|error| (error.kind(), error.rule().map(str::to_owned), error.raw_os_error()))
}

async fn ask(dir: &Dir, path: &str, operation: u8) -> Said {
    let read = OpenOptions::new().read(true);
    match operation {
        0 => said(dir.metadata(path, true).await, |found| (found.kind, found.inode)),
        1 => said(dir.metadata(path, false).await, |found| (found.kind, found.inode)),
        2 => said(dir.read(path, 100).await, |bytes| (FileKind::File, bytes.len() as u64)),
        3 => said(dir.open(path, &read.follow(false)).await, |_| (FileKind::File, 0)),
        4 => said(dir.open_dir(path).await, |_| (FileKind::Directory, 0)),
        5 => said(dir.open_any(path, &read).await, |_| (FileKind::Unknown, 0)),
        6 => said(dir.read_link(path).await, |target| (FileKind::Symlink, target.as_os_str().len() as u64)),
        7 => said(dir.create_dir("a/file/x").await, |()| (FileKind::Directory, 0)),
        8 => {
            let made = dir.open(path, &OpenOptions::new().write(true).create(true)).await;
            said(made, |_| (FileKind::File, 0))
        }
        _ => said(dir.open(path, &OpenOptions::new().write(true).create_new(true)).await, |_| {
            (FileKind::File, 0)
        }),
    }
}

/// What one of the two made is taken away again, so that the other finds the same.
fn clean(fixture: &Fixture, before: &std::collections::BTreeMap<std::path::PathBuf, String>) {
    for path in fixture.snapshot().into_keys().filter(|path| !before.contains_key(path)) {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn both_ways_say_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let both = runtime.block_on(both());
    let before = both.fixture.snapshot();
    let path = prop::collection::vec(prop::sample::select(PARTS), 1..7);
    let config = ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() };
    let checked = TestRunner::new(config).run(&(path, 0_u8..10), |(parts, operation)| {
        let path = parts.join("/");
        let ask = |dir| {
            let said = runtime.block_on(ask(dir, &path, operation));
            if operation >= 8 && said.is_ok() {
                clean(&both.fixture, &before);
            }
            said
        };
        prop_assert_eq!(ask(&both.kernel), ask(&both.steps), "{} by operation {}", path, operation);
        Ok(())
    });
    checked.unwrap();
}

#[test]
fn what_refuses_openat2_opens_nothing_more() {
    for refused in [Errno::NOSYS, Errno::PERM, Errno::ACCESS] {
        let openat2 = Call { number: libc::SYS_openat2, request: None, says: refused.raw_os_error() };
        let Some(said) = run("fs_steps::under_a_filter", openat2) else { return };
        assert!(said.contains("confined all the same"), "{refused}: {said}");
    }
}

/// Not a test, but the program that is run where `openat2` is refused.
#[test]
fn under_a_filter() {
    if !is_filtered() {
        return;
    }
    let tried = rustix::fs::openat2(
        rustix::fs::CWD,
        "/",
        rustix::fs::OFlags::PATH,
        rustix::fs::Mode::empty(),
        rustix::fs::ResolveFlags::empty(),
    );
    assert_eq!(tried.expect_err("it is refused").raw_os_error(), crate::filtered::said());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new(Rights::all());
        symlink("../outside", fixture.inside("out")).unwrap();
        symlink("/proc/self/root", fixture.inside("magic")).unwrap();
        symlink("a", fixture.inside("way")).unwrap();
        let dir = fixture.dir().await;
        for path in ["a/b", "way/b", "./a/../way//b"] {
            assert_eq!(dir.read(path, 100).await.unwrap(), b"inside", "{path}");
        }
        for path in
            ["../outside/secret", "out/secret", "/etc/passwd", "a/../../outside/secret", "magic/etc/passwd"]
        {
            assert_denied(dir.read(path, 100).await, "beneath-root", path);
            let create = OpenOptions::new().write(true).create(true);
            assert_denied(dir.open(path, &create).await, "beneath-root", path);
        }
        let made = dir.open("way/new", &OpenOptions::new().write(true).create(true)).await.unwrap();
        made.append(b"x").await.unwrap();
        assert_eq!(fs::read(fixture.inside("a/new")).unwrap(), b"x");
        println!("confined all the same");
    });
}
