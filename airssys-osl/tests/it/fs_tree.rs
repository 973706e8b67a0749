//! Directories and trees: streams of names, copies, removals, temporary things, changes.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    pin::pin,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use airssys_osl::{
    Action, ErrorKind,
    audit::Outcome,
    fs::{Dir, FileKind, Flush, OpenOptions, WalkEntry, WatchKind},
    policy::{Grant, Policy, Rights},
};
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, renameat_with};

use crate::fixture::{Fixture, assert_denied, assert_fails, last, step_by_step};

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);

async fn walk(dir: &Dir, depth: usize) -> Vec<WalkEntry> {
    let mut walk = dir.walk(depth).await.unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = walk.next().await {
        seen.push(entry.unwrap());
    }
    assert!(walk.next().await.is_none());
    seen
}

#[tokio::test]
async fn a_hundred_thousand_names_are_streamed() {
    let fixture = Fixture::light(Rights::all());
    let many = rustix::fs::open(fixture.inside("a"), OFlags::PATH, Mode::empty()).unwrap();
    for number in 0..100_000 {
        rustix::fs::symlinkat(c"x", &many, format!("{number:06}")).unwrap();
    }
    let dir = fixture.dir().await.open_dir("a").await.unwrap();
    fixture.sink.take();
    let mut entries = dir.entries().await.unwrap();
    let mut names = BTreeSet::new();
    while let Some(entry) = entries.next().await {
        names.insert(entry.unwrap().name);
    }
    assert_eq!(names.len(), 100_001);
    assert!(fixture.sink.take().len() < 1000, "a record for each batch, not for each name");
    assert_eq!(dir.list(200_000).await.unwrap().len(), 100_001);
    assert_eq!(walk(&dir, 0).await.len(), 100_001);
    drop(dir);
    assert_eq!(fixture.dir().await.remove_tree("a").await.unwrap(), 100_002);
}

#[tokio::test]
async fn names_end_with_the_right_to_them() {
    let fixture = Fixture::new(Rights::all());
    for number in 0..10 {
        fs::write(fixture.inside(&number.to_string()), "").unwrap();
    }
    let dir = fixture.dir().await;
    let (mut entries, mut walk) = (dir.entries().await.unwrap(), dir.walk(9).await.unwrap());
    entries.next().await.unwrap().unwrap();
    fixture.os.reload(fixture.policy(Rights::READ));
    assert_denied(entries.next().await.unwrap(), "r: lacks list", "entries");
    assert_denied(walk.next().await.unwrap(), "r: lacks list", "walk");
    assert!(entries.next().await.is_none() && walk.next().await.is_none(), "and that is the end");
    assert_denied(dir.entries().await, "r: lacks list", "begin");
}

#[tokio::test]
async fn a_walk_sees_all_and_follows_nothing() {
    let fixture = Fixture::new(Rights::all());
    fs::create_dir_all(fixture.inside("a/c/d")).unwrap();
    fs::write(fixture.inside("a/c/d/e"), "").unwrap();
    fs::write(fixture.inside("z"), "").unwrap();
    symlink(fixture.outside(""), fixture.inside("a/out")).unwrap();
    symlink("..", fixture.inside("a/c/up")).unwrap();
    let dir = fixture.dir().await;
    let paths = |entries: Vec<WalkEntry>| {
        entries.into_iter().map(|entry| entry.path.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let seen = walk(&dir, 10).await;
    for entry in &seen {
        assert!(entry.entered, "{entry:?}");
        let expected = match entry.path.to_str().unwrap() {
            "a" | "a/c" | "a/c/d" => FileKind::Directory,
            "a/out" | "a/c/up" => FileKind::Symlink,
            _ => FileKind::File,
        };
        assert_eq!(entry.kind, expected, "{entry:?}");
    }
    let order = paths(seen.clone());
    let position = |path: &str| order.iter().position(|seen| seen == path);
    assert!(position("a") < position("a/c") && position("a/c") < position("a/c/d/e"), "{order:?}");
    let all = ["a", "a/b", "a/c", "a/c/d", "a/c/d/e", "a/c/up", "a/out", "z"];
    assert_eq!(order.iter().map(|path| &**path).collect::<BTreeSet<_>>(), all.into_iter().collect());
    let flat = walk(&dir, 1).await;
    assert!(flat.iter().any(|entry| entry.path.ends_with("a/c") && !entry.entered), "{flat:?}");
    assert_eq!(flat.len(), 5);
    assert_eq!(paths(walk(&dir.open_dir("a/c/d").await.unwrap(), 10).await), ["e"]);
}

/// Makes directories beneath each other, deeper than any path can say.
fn dig(fixture: &Fixture, depth: usize) {
    let mut here = rustix::fs::open(fixture.inside(""), OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..depth {
        rustix::fs::mkdirat(&here, "deep", Mode::RWXU).unwrap();
        here = rustix::fs::openat(&here, "deep", OFlags::PATH, Mode::empty()).unwrap();
    }
}

#[tokio::test]
async fn a_deep_tree_is_walked_and_removed() {
    let fixture = Fixture::light(Rights::all());
    dig(&fixture, 3_000);
    let dir = fixture.dir().await;
    let seen = walk(&dir, 10_000).await;
    assert_eq!(seen.len(), 3_002);
    assert_eq!(seen.iter().map(|entry| entry.path.as_os_str().len()).max(), Some(3_000 * 5 - 1));
    assert_eq!(dir.remove_tree("deep").await.unwrap(), 3_000);
    assert!(!fixture.inside("deep").exists());
}

#[tokio::test]
async fn removing_a_tree_follows_nothing() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.create_dir_all("t/u/v").await.unwrap();
    symlink(fixture.outside(""), fixture.inside("t/u/out")).unwrap();
    symlink("../../a", fixture.inside("t/u/in")).unwrap();
    rustix::fs::mkfifoat(CWD, fixture.inside("t/fifo"), 0o600.into()).unwrap();
    symlink("t", fixture.inside("link")).unwrap();
    assert_fails(dir.remove_tree("link").await, ErrorKind::Io, "a link");
    assert_fails(dir.remove_tree("a/b").await, ErrorKind::Io, "a file");
    assert_fails(dir.remove_tree("absent").await, ErrorKind::NotFound, "absent");
    assert_denied(dir.remove_tree("../outside").await, "beneath-root", "outside");
    fixture.sink.take();
    assert_eq!(dir.remove_tree("t").await.unwrap(), 6);
    let records = fixture.sink.take();
    assert_eq!((records.len(), last(&records).action), (2, Action::FsRemoveTree));
    assert!(fixture.outside("secret").exists() && fixture.inside("a/b").exists());
    assert!(!fixture.inside("t").exists());
}

/// A thread that exchanges two names until it is dropped.
struct Swapper(Arc<AtomicBool>, Option<std::thread::JoinHandle<()>>);

impl Swapper {
    fn start(one: std::path::PathBuf, other: std::path::PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let swap = move || {
            while !seen.load(Ordering::Relaxed) {
                let _ = renameat_with(CWD, &one, CWD, &other, RenameFlags::EXCHANGE);
            }
        };
        Self(stop, Some(std::thread::spawn(swap)))
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.take().unwrap().join().unwrap();
    }
}

#[tokio::test]
async fn swapped_directories_lead_no_walk_and_no_removal_outside() {
    let fixture = Fixture::light(Rights::all());
    fs::create_dir_all(fixture.outside("deep/er")).unwrap();
    fs::write(fixture.outside("deep/er/treasure"), "").unwrap();
    symlink(fixture.outside(""), fixture.inside("trap")).unwrap();
    let dir = fixture.dir().await;
    let outside = fixture.snapshot().into_keys().filter(|path| path.starts_with(fixture.outside("")));
    let outside: BTreeSet<_> = outside.collect();
    {
        fs::create_dir_all(fixture.inside("t/swap/x/y")).unwrap();
        let _swapper = Swapper::start(fixture.inside("t/swap"), fixture.inside("trap"));
        for _ in 0..200 {
            let mut walk = dir.walk(10).await.unwrap();
            while let Some(entry) = walk.next().await {
                // It may end early, because what it is in was moved.
                let Ok(entry) = entry else { break };
                let name = entry.path.file_name().unwrap().to_owned();
                assert!(name != "secret" && name != "treasure" && name != "er", "{entry:?}");
            }
        }
    }
    for _ in 0..100 {
        // The swap may have left the link in the tree, and the directory in its place.
        let _ = fs::remove_file(fixture.inside("trap"));
        let _ = fs::remove_dir_all(fixture.inside("trap"));
        let _ = fs::remove_dir_all(fixture.inside("t"));
        symlink(fixture.outside(""), fixture.inside("trap")).unwrap();
        fs::create_dir_all(fixture.inside("t/swap/x/y")).unwrap();
        let _swapper = Swapper::start(fixture.inside("t/swap"), fixture.inside("trap"));
        let _ = dir.remove_tree("t").await;
    }
    let left = fixture.snapshot().into_keys().filter(|path| path.starts_with(fixture.outside("")));
    assert_eq!(left.collect::<BTreeSet<_>>(), outside, "something outside was removed");
}

#[tokio::test]
async fn copies() {
    let fixture = Fixture::new(Rights::all());
    let content: Vec<u8> = (0..20_000_000).map(|index| (index * 31 % 251) as u8).collect();
    fs::write(fixture.inside("big"), &content).unwrap();
    let dir = fixture.dir().await;
    assert_eq!(dir.copy("big", &dir, "copy").await.unwrap(), 20_000_000);
    assert!(fs::read(fixture.inside("copy")).unwrap() == content);
    let records = fixture.sink.take();
    assert_eq!((last(&records).action, last(&records).bytes), (Action::FsCopy, 20_000_000));
    fs::set_permissions(fixture.inside("copy"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(dir.copy("a/b", &dir, "copy").await.unwrap(), 6);
    assert_eq!(fs::read(fixture.inside("copy")).unwrap(), b"inside");
    assert_eq!(fs::metadata(fixture.inside("copy")).unwrap().mode() & 0o777, 0o600);
    fs::write(fixture.inside("empty"), "").unwrap();
    assert_eq!(dir.copy("empty", &dir, "copy").await.unwrap(), 0);
    assert_eq!(fs::read(fixture.inside("copy")).unwrap(), b"");
    assert_denied(dir.copy("../outside/secret", &dir, "x").await, "beneath-root", "from outside");
    assert_denied(dir.copy("big", &dir, "../outside/x").await, "beneath-root", "to outside");
    assert_denied(dir.copy("big", &fixture.dir().await, "x").await, "foreign-handle", "another life");
    let (blind, full) = (dir.narrow(Rights::all() - Rights::READ), dir.narrow(Rights::READ));
    assert_denied(blind.copy("big", &dir, "x").await, "narrowed-handle", "without READ");
    assert_denied(dir.copy("big", &full, "x").await, "narrowed-handle", "without CREATE");
    assert_fails(dir.copy("a", &dir, "x").await, ErrorKind::Io, "a directory");
    assert!(!fixture.inside("x").exists() && !fixture.outside("x").exists());
    assert_eq!(fs::read_dir(fixture.inside("")).unwrap().count(), 4, "nothing temporary is left");
}

#[test]
fn a_dropped_copy_leaves_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build().unwrap();
    runtime.block_on(async {
        let fixture = Fixture::new(Rights::all());
        fs::File::create(fixture.inside("large")).unwrap().set_len(1 << 28).unwrap();
        let dir = fixture.dir().await;
        // A thread that has to wait for a processor may come back when all is copied: once more.
        for _ in 0..20 {
            {
                let mut copy = pin!(dir.copy("large", &dir, "copy"));
                let mut cx = Context::from_waker(Waker::noop());
                assert!(matches!(copy.as_mut().poll(&mut cx), Poll::Pending));
                // Let it begin.
                dir.create_dir("meanwhile").await.unwrap();
            }
            assert!(fixture.sink.take().iter().any(|record| record.outcome == Outcome::Cancelled));
            // When both threads are free, whatever becomes of it is there.
            both_threads_are_free().await;
            if !fixture.inside("copy").exists() {
                return;
            }
            fs::remove_file(fixture.inside("copy")).unwrap();
            fs::remove_dir(fixture.inside("meanwhile")).unwrap();
        }
        panic!("it was copied to the end");
    });
}

/// Waits until whatever the two threads of the pool had to do is done.
async fn both_threads_are_free() {
    let both = Arc::new(Barrier::new(2));
    let threads = [(); 2].map(|()| {
        let both = Arc::clone(&both);
        tokio::task::spawn_blocking(move || both.wait())
    });
    for thread in threads {
        thread.await.unwrap();
    }
}

#[test]
fn a_dropped_replace_leaves_the_old_content_or_the_new() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().max_blocking_threads(2).build().unwrap().block_on(async {
        let fixture = Fixture::new(Rights::all());
        let dir = fixture.dir().await;
        let (old, new) = (vec![b'o'; 1 << 20], vec![b'n'; 1 << 24]);
        for round in 0..10 {
            fs::write(fixture.inside("a/b"), &old).unwrap();
            let late = round % 2 == 0;
            if late {
                let replaced =
                    dir.with_deadline(Duration::ZERO).replace("a/b", new.clone(), Flush::Later).await;
                assert_fails(replaced, ErrorKind::TimedOut, "no time at all");
            } else {
                let mut replace = pin!(dir.replace("a/b", new.clone(), Flush::Later));
                let mut cx = Context::from_waker(Waker::noop());
                assert!(matches!(replace.as_mut().poll(&mut cx), Poll::Pending));
                // Let it begin.
                dir.metadata("a", true).await.unwrap();
            }
            let records = fixture.sink.take();
            let ended = |outcome: Outcome| match outcome {
                Outcome::Failed(number) => late && number == rustix::io::Errno::TIMEDOUT.raw_os_error(),
                outcome => !late && outcome == Outcome::Cancelled,
            };
            let replaced = records.iter().filter(|record| record.action == Action::FsReplace);
            assert!(replaced.clone().any(|record| ended(record.outcome)), "{records:?}");
            both_threads_are_free().await;
            let content = fs::read(fixture.inside("a/b")).unwrap();
            assert!(content == old || content == new, "{} bytes of neither", content.len());
            let names: Vec<_> =
                fs::read_dir(fixture.inside("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["b"], "and nothing beside it");
        }
    });
}

#[tokio::test]
async fn directories_and_permissions() {
    let fixture = Fixture::new(Rights::all());
    symlink("../outside", fixture.inside("out")).unwrap();
    symlink("a", fixture.inside("link")).unwrap();
    let dir = fixture.dir().await;
    dir.create_dir_all("x/y/z").await.unwrap();
    dir.create_dir_all("x/y/z/").await.unwrap();
    dir.create_dir_all("./x/../link/made").await.unwrap();
    assert!(fixture.inside("x/y/z").is_dir() && fixture.inside("a/made").is_dir());
    assert_denied(dir.create_dir_all("out/made").await, "beneath-root", "by a link");
    assert_denied(dir.create_dir_all("x/../../outside/made").await, "beneath-root", "by ..");
    assert_fails(dir.create_dir_all("a/b/c").await, ErrorKind::Io, "a file on the way");
    assert_fails(dir.create_dir_all("a/b").await, ErrorKind::Io, "a file at the end");
    assert!(!fixture.outside("made").exists());

    let mode = |path| fs::metadata(fixture.inside(path)).unwrap().mode() & 0o7777;
    dir.set_permissions("a/b", 0o440).await.unwrap();
    dir.set_permissions("link", 0o700).await.unwrap();
    assert_eq!((mode("a/b"), mode("a")), (0o440, 0o700));
    let file = dir.open("a/b", &WRITE).await.unwrap();
    file.set_permissions(0o604).await.unwrap();
    assert_eq!(mode("a/b"), 0o604);
    for bits in [0o4755, 0o2755, 0o1777, u32::MAX] {
        assert_fails(dir.set_permissions("a/b", bits).await, ErrorKind::Invalid, "for another user");
        assert_fails(file.set_permissions(bits).await, ErrorKind::Invalid, "for another user");
    }
    assert_denied(dir.set_permissions("out/secret", 0o777).await, "beneath-root", "outside");
}

#[tokio::test]
async fn temporary_things_go_by_themselves() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let names = || fs::read_dir(fixture.inside("")).unwrap().count();
    let file = dir.temp_file().await.unwrap();
    file.write_at(b"content", 0).await.unwrap();
    assert_eq!(names(), 1, "it has no name");
    assert_eq!(file.read_to_limit(100).await.unwrap(), b"content");
    file.persist("kept").await.unwrap();
    assert_eq!(fs::read(fixture.inside("kept")).unwrap(), b"content");
    let second = dir.temp_file().await.unwrap();
    assert_fails(second.persist("kept").await, ErrorKind::AlreadyExists, "a name that is taken");
    assert_denied(dir.temp_file().await.unwrap().persist("../x").await, "beneath-root", "outside");
    dir.set_permissions("kept", 0o600).await.unwrap();
    let held = dir.open("kept", &OpenOptions::new().read(true)).await.unwrap();
    for content in [&b"new"[..], b"newer"] {
        let third = dir.temp_file().await.unwrap();
        third.write_at(content, 0).await.unwrap();
        third.replace("kept").await.unwrap();
        assert_eq!(fs::read(fixture.inside("kept")).unwrap(), content);
    }
    assert_eq!(held.read_to_limit(100).await.unwrap(), b"content", "who has it open keeps what it was");
    assert_eq!(
        fs::metadata(fixture.inside("kept")).unwrap().mode() & 0o777,
        0o600,
        "what is private stays it"
    );
    dir.temp_file().await.unwrap().replace("a/fresh").await.unwrap();
    assert_eq!(fs::read(fixture.inside("a/fresh")).unwrap(), b"");
    fs::remove_file(fixture.inside("a/fresh")).unwrap();
    assert_denied(dir.temp_file().await.unwrap().replace("../x").await, "beneath-root", "outside");

    let made = dir.temp_dir().await.unwrap();
    made.replace("f", b"x", Flush::Later).await.unwrap();
    let path = fixture.inside(made.name().to_str().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    made.close().await.unwrap();
    assert!(!path.exists());
    drop(dir.temp_dir().await.unwrap());
    while names() > 2 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn changes_are_told() {
    let fixture = Fixture::light(Rights::all());
    let dir = fixture.dir().await;
    let mut watch = dir.watch(Duration::ZERO).await.unwrap();
    assert_eq!(last(&fixture.sink.take()).action, Action::FsWatch);
    fs::write(fixture.inside("new"), "x").unwrap();
    fs::write(fixture.inside("new"), "y").unwrap();
    fs::rename(fixture.inside("new"), fixture.inside("old")).unwrap();
    fs::set_permissions(fixture.inside("a"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::remove_file(fixture.inside("old")).unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        let event = watch.next().await.unwrap().unwrap();
        seen.push((event.kind, event.name.into_string().unwrap()));
    }
    let expected = [
        (WatchKind::Appeared, "new"),
        (WatchKind::Vanished, "new"),
        (WatchKind::Appeared, "old"),
        (WatchKind::Metadata, "a"),
        (WatchKind::Vanished, "old"),
    ];
    assert_eq!(seen, expected.map(|(kind, name)| (kind, name.to_owned())));
    fs::write(fixture.inside("a/b"), "not beneath it").unwrap();
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events");
    let most = most.map_or(16_384, |most| most.trim_end().parse().unwrap());
    for number in 0..=most {
        symlink("x", fixture.inside("l")).unwrap();
        fs::rename(fixture.inside("l"), fixture.inside(&format!("m{}", number % 2))).unwrap();
    }
    assert_eq!(watch.next().await.unwrap().unwrap().kind, WatchKind::Overflow);
}

#[tokio::test]
async fn a_watch_ends_with_its_directory() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.create_dir("w").await.unwrap();
    let mut watch = dir.open_dir("w").await.unwrap().watch(Duration::ZERO).await.unwrap();
    dir.rename("w", &dir, "v").await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().kind, WatchKind::Gone);
    assert!(watch.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_window_gathers_what_belongs_together() {
    let fixture = Fixture::new(Rights::all());
    let mut watch = fixture.dir().await.watch(Duration::from_secs(60)).await.unwrap();
    let writer = tokio::spawn({
        let path = fixture.inside("new");
        async move {
            for part in 0..10 {
                fs::write(&path, part.to_string()).unwrap();
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    });
    let event = watch.next().await.unwrap().unwrap();
    assert_eq!((event.kind, event.name.to_str()), (WatchKind::Appeared, Some("new")));
    assert!(writer.is_finished());
    fs::remove_file(fixture.inside("new")).unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().kind, WatchKind::Vanished, "one event for ten writes");
}

#[tokio::test]
async fn a_watch_ends_with_the_right_to_it() {
    let fixture = Fixture::new(Rights::all());
    let principal = fixture.principal();
    let dir = principal.dir(fixture.inside("")).await.unwrap();
    let mut one = dir.watch(Duration::ZERO).await.unwrap();
    let waiting = tokio::spawn(async move { (one.next().await, one.next().await) });
    tokio::task::yield_now().await;
    fixture.os.reload(fixture.policy(Rights::LIST));
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "it may still list");
    fixture.sink.take();
    fixture.os.revoke(&principal);
    let (denied, end) = waiting.await.unwrap();
    assert_denied(denied.unwrap(), "revoked", "while it waits");
    assert!(end.is_none());
    assert_eq!(last(&fixture.sink.take()).action, Action::FsWatch);
}

#[tokio::test]
async fn a_root_that_is_replaced_stays_what_it_was() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    fs::rename(fixture.inside(""), fixture.outside("moved")).unwrap();
    symlink(fixture.outside(""), fixture.inside("").to_str().unwrap().trim_end_matches('/')).unwrap();
    assert_eq!(dir.read("a/b", 10).await.unwrap(), b"inside", "the directory, wherever it is");
    assert_fails(dir.read("secret", 10).await, ErrorKind::NotFound, "what has its name now");
    assert_denied(dir.read("../secret", 10).await, "beneath-root", "what is above it now");
    dir.replace("new", b"x", Flush::Later).await.unwrap();
    assert!(fixture.outside("moved/new").exists() && !fixture.outside("new").exists());
}

#[tokio::test]
async fn a_full_disk_leaves_the_old_content_and_nothing_else() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let fixture = Fixture::new(Rights::all());
    let small = fixture.inside("a");
    if let Err(error) = mount("tmpfs", &small, "tmpfs", MountFlags::empty(), c"size=64k") {
        eprintln!("skipped: this user may not mount: {error}");
        return;
    }
    let test = async {
        let grant = Grant::fs(&small, Rights::all());
        fixture.os.reload(Policy::builder().principal("p", [grant]).build().unwrap());
        let dir = fixture.principal().dir(&small).await.unwrap();
        dir.replace("f", vec![1; 20_000], Flush::Later).await.unwrap();
        let full = Some(rustix::io::Errno::NOSPC.raw_os_error());
        let error = dir.replace("f", vec![2; 60_000], Flush::Now).await.unwrap_err();
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Io, full));
        assert_eq!(dir.read("f", 20_000).await.unwrap(), vec![1; 20_000]);
        assert_eq!(dir.list(10).await.unwrap().len(), 1, "no temporary file is left");
        let file = dir.open("f", &WRITE).await.unwrap();
        let error = file.append(vec![3; 60_000]).await.unwrap_err();
        assert_eq!(error.raw_os_error(), full);
        file.set_len(20_000).await.unwrap();
        fs::write(fixture.outside("big"), vec![5; 60_000]).unwrap();
        dir.remove_file("f").await.unwrap();
        drop(file);
        dir.replace("f", vec![2; 60_000], Flush::Now).await.unwrap();
    };
    test.await;
    unmount(&small, UnmountFlags::DETACH).unwrap();
}

#[tokio::test]
async fn across_file_systems_a_rename_says_so() {
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: there is no second file system at /dev/shm");
        return;
    };
    let fixture = Fixture::new(Rights::all());
    let grants = [Grant::fs(fixture.inside(""), Rights::all()), Grant::fs(other.path(), Rights::all())];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let here = principal.dir(fixture.inside("")).await.unwrap();
    let there = match principal.dir(other.path()).await {
        Ok(there) => there,
        Err(error) => {
            eprintln!("skipped: /dev/shm cannot be granted here: {error}");
            return;
        }
    };
    for error in [
        here.rename("a/b", &there, "b").await.unwrap_err(),
        here.hard_link("a/b", &there, "b").await.unwrap_err(),
    ] {
        let crosses = Some(rustix::io::Errno::XDEV.raw_os_error());
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::Unsupported, crosses), "{error}");
    }
    assert_eq!(here.copy("a/b", &there, "b").await.unwrap(), 6);
    assert_eq!(there.read("b", 10).await.unwrap(), b"inside");
    assert!(here.open("a/b", &READ).await.is_ok());
}

#[test]
fn everything_crosses_threads() {
    fn check<T: Send>() {}
    check::<airssys_osl::fs::Entries>();
    check::<airssys_osl::fs::Walk>();
    check::<airssys_osl::fs::Watch>();
    check::<airssys_osl::fs::Lock>();
    check::<airssys_osl::fs::TempFile>();
    check::<airssys_osl::fs::TempDir>();
    // It is enough that this compiles.
    let _ = || {
        tokio::spawn(async {
            let fixture = Fixture::new(Rights::all());
            let dir = fixture.dir().await;
            dir.entries().await.unwrap().next().await;
            dir.walk(1).await.unwrap().next().await;
            dir.watch(Duration::ZERO).await.unwrap().next().await;
            dir.copy("a", &dir, "b").await.unwrap();
            dir.temp_dir().await.unwrap().close().await.unwrap();
            dir.open("a", &READ).await.unwrap().lock(airssys_osl::fs::LockKind::Shared, Duration::ZERO).await
        })
    };
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[
        names_end_with_the_right_to_them,
        a_walk_sees_all_and_follows_nothing,
        a_deep_tree_is_walked_and_removed,
        removing_a_tree_follows_nothing,
        swapped_directories_lead_no_walk_and_no_removal_outside,
        copies,
        directories_and_permissions,
        temporary_things_go_by_themselves,
        changes_are_told,
        a_watch_ends_with_its_directory,
        a_window_gathers_what_belongs_together,
        a_watch_ends_with_the_right_to_it,
        a_root_that_is_replaced_stays_what_it_was,
        a_full_disk_leaves_the_old_content_and_nothing_else,
        across_file_systems_a_rename_says_so,
    ]);
}
