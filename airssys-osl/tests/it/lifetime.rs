//! What ends a handle, and what is left on record of an operation that nobody waited for.

use std::{
    fs,
    pin::pin,
    sync::mpsc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use airssys_osl::{
    Action, Error, ErrorKind, Verdict,
    audit::{Outcome, Phase},
    fs::{Flush, LockKind, OpenOptions},
    policy::{Grant, Policy, Rights},
};
use tokio::io::AsyncReadExt as _;

use crate::fixture::{Fixture, assert_denied, assert_fails, last};

#[tokio::test]
async fn a_revoked_principal_can_do_nothing_with_what_it_holds() {
    let fixture = Fixture::new(Rights::all());
    let grants = [
        Grant::fs(fixture.inside(""), Rights::all()),
        Grant::send("q"),
        Grant::env("PATH"),
        Grant::clock(),
        Grant::random(),
    ];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let dir = principal.dir(fixture.inside("")).await.unwrap();
    let file = dir.open("a/b", &OpenOptions::new().read(true)).await.unwrap();
    let (clock, random) = (principal.clock().unwrap(), principal.random().unwrap());
    principal.may_send("q").unwrap();

    let (mut entries, mut stream) = (dir.entries().await.unwrap(), file.clone());

    let clone = principal.clone();
    fixture.os.revoke(&clone);
    fixture.sink.take();
    assert_denied(entries.next().await.unwrap(), "revoked", "names");
    let error = stream.read(&mut [0; 4]).await.unwrap_err();
    assert_denied(Err::<(), Error>(*error.into_inner().unwrap().downcast().unwrap()), "revoked", "stream");
    assert_denied(dir.walk(1).await, "revoked", "walk");
    assert_denied(dir.watch(Duration::ZERO).await, "revoked", "watch");
    assert_denied(dir.copy("a/b", &dir, "c").await, "revoked", "copy");
    assert_denied(dir.remove_tree("a").await, "revoked", "tree");
    assert_denied(dir.temp_file().await, "revoked", "temporary file");
    assert_denied(file.lock(LockKind::Shared, Duration::ZERO).await, "revoked", "lock");
    assert_denied(dir.read("a/b", 100).await, "revoked", "dir");
    assert_denied(dir.replace("a/b", b"x", Flush::Later).await, "revoked", "change");
    assert_denied(dir.open_dir("a").await, "revoked", "open_dir");
    assert_denied(dir.self_metadata().await, "revoked", "self_metadata");
    assert_denied(file.read_at(&mut [0; 4], 0).await, "revoked", "file");
    assert_denied(file.metadata().await, "revoked", "file metadata");
    assert_denied(principal.dir(fixture.inside("")).await, "revoked", "root");
    assert_denied(clock.monotonic_now(), "revoked", "clock");
    assert_denied(random.fill(&mut [0]), "revoked", "random");
    assert_denied(principal.clock(), "revoked", "new clock");
    assert_denied(principal.env(), "revoked", "env");
    assert_denied(principal.may_send("q"), "revoked", "send");
    assert_denied(principal.attempt(Action::NetConnect, "x"), "revoked", "attempt");
    let records = fixture.sink.take();
    assert_eq!(records.len(), 21);
    assert!(records.iter().all(|record| record.rule == "revoked" && record.outcome == Outcome::Denied));
    assert_eq!(fs::read(fixture.inside("a/b")).unwrap(), b"inside");

    assert!(
        fixture.principal().dir(fixture.inside("")).await.is_ok(),
        "the next life of the name is another one"
    );
}

#[tokio::test]
async fn a_new_policy_holds_for_old_handles() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.read("a/b", 100).await.unwrap();
    assert_eq!(last(&fixture.sink.take()).epoch, 1);

    fixture.os.reload(fixture.policy(Rights::LIST));
    assert_eq!(fixture.os.epoch(), 2);
    assert_denied(dir.read("a/b", 100).await, "r: lacks read", "narrower");
    assert_eq!(last(&fixture.sink.take()).epoch, 2);

    fixture.os.reload(fixture.policy(Rights::empty()));
    assert_denied(dir.read("a/b", 100).await, "default-deny", "no grant");
    fixture.os.reload(Policy::default());
    assert_denied(dir.read("a/b", 100).await, "default-deny", "no principal");
    assert_fails(fixture.os.principal("p"), ErrorKind::NotFound, "minted from nothing");

    fixture.os.reload(fixture.policy(Rights::READ));
    assert_eq!(dir.read("a/b", 100).await.unwrap(), b"inside", "and it can come back");
}

#[tokio::test]
async fn handles_of_two_principals_do_not_mix() {
    let fixture = Fixture::new(Rights::all());
    let (one, other) = (fixture.dir().await, fixture.dir().await);
    assert_denied(one.rename("a/b", &other, "c").await, "foreign-handle", "another life");
    assert!(fixture.inside("a/b").exists());
}

#[tokio::test]
async fn nothing_moves_to_where_more_may_be_done_with_it() {
    let fixture = Fixture::new(Rights::all());
    fs::create_dir(fixture.inside("drop")).unwrap();
    fs::write(fixture.inside("drop/secret"), "secret").unwrap();
    let put = Rights::CREATE | Rights::WRITE;
    let grants = [Grant::fs(fixture.inside("a"), Rights::all()), Grant::fs(fixture.inside("drop"), put)];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let (free, drop_box) = (
        principal.dir(fixture.inside("a")).await.unwrap(),
        principal.dir(fixture.inside("drop")).await.unwrap(),
    );
    assert_denied(drop_box.rename("secret", &free, "s").await, "wider-destination", "rename");
    assert_denied(drop_box.hard_link("secret", &free, "s").await, "wider-destination", "hard link");
    free.rename("b", &drop_box, "b").await.unwrap();
    assert!(!fixture.inside("a/s").exists() && fixture.inside("drop/b").exists());
}

/// Fills the blocking pool, so that what needs it waits.
fn with_full_pool(test: impl AsyncFnOnce(&Fixture, mpsc::Sender<()>)) {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new(Rights::all());
        let (release, wait) = mpsc::channel();
        test(&fixture, {
            tokio::task::spawn_blocking(move || wait.recv());
            release
        })
        .await;
    });
}

#[test]
fn a_dropped_change_is_recorded_and_not_begun() {
    with_full_pool(async |fixture, release| {
        // The root is opened first: opening needs the pool too.
        let dir = {
            let _ = release.send(());
            fixture.dir().await
        };
        let (release, wait) = mpsc::channel::<()>();
        let blocker = tokio::task::spawn_blocking(move || wait.recv());
        {
            let mut change = pin!(dir.replace("a/b", b"new", Flush::Later));
            assert!(matches!(change.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending));
        }
        drop(release);
        let _ = blocker.await.unwrap();
        let records = fixture.sink.take();
        let phases: Vec<_> = records.iter().map(|record| (record.phase, record.outcome)).collect();
        assert_eq!(phases, [(Phase::Intent, Outcome::Pending), (Phase::Done, Outcome::Cancelled)]);
        assert_eq!(records[1].verdict, Verdict::Allow);
        assert_ne!(records[1].intent, 0, "the end names its intent");
        dir.list(10).await.unwrap();
        assert_eq!(
            fs::read(fixture.inside("a/b")).unwrap(),
            b"inside",
            "what waited in the queue was not begun"
        );
    });
}

#[test]
fn a_future_that_never_ran_leaves_nothing() {
    with_full_pool(async |fixture, release| {
        drop(release);
        let dir = fixture.dir().await;
        drop(dir.list(10));
        assert_eq!(fixture.sink.take(), []);
    });
}
