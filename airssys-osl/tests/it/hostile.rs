//! Paths that want out, and objects that are no files.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::Write as _,
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    },
    path::Path,
};

use airssys_osl::{
    ErrorKind, Os,
    audit::Outcome,
    fs::{Dir, FileKind, Flush, OpenOptions, SetTime, Special},
    limits::{INLINE_READ_BYTES, PATH_BYTES, POOL_READ_BYTES},
    policy::{FsTerms, Grant, HardLinks, Policy, Rights},
    testing::MemorySink,
};

use crate::fixture::{Fixture, assert_denied, assert_fails, assert_recorded_denial, last, step_by_step};

const READ: OpenOptions = OpenOptions::new().read(true);
const CREATE: OpenOptions = OpenOptions::new().write(true).create(true);

/// Tries everything that takes a path, with a path that leaves; `leaf` is false where the path itself is a link,
/// on which what does not follow links acts rightly.
async fn try_all(fixture: &Fixture, dir: &Dir, path: &str, leaf: bool) {
    let mut results = vec![
        ("open", dir.open(path, &READ).await.map(drop)),
        ("create", dir.open(path, &CREATE).await.map(drop)),
        ("truncate", dir.open(path, &OpenOptions::new().write(true).truncate(true)).await.map(drop)),
        ("open_any", dir.open_any(path, &READ).await.map(drop)),
        ("open_dir", dir.open_dir(path).await.map(drop)),
        ("read", dir.read(path, 100).await.map(drop)),
        ("metadata", dir.metadata(path, true).await.map(drop)),
        ("set_times", dir.set_times(path, true, SetTime::Now, SetTime::Now).await),
    ];
    if leaf {
        results.extend([
            ("create_new", dir.open(path, &CREATE.create_new(true)).await.map(drop)),
            ("metadata of link", dir.metadata(path, false).await.map(drop)),
            ("set_times of link", dir.set_times(path, false, SetTime::Now, SetTime::Now).await),
            ("read_link", dir.read_link(path).await.map(drop)),
            ("replace", dir.replace(path, b"taken", Flush::Later).await),
            ("create_dir", dir.create_dir(path).await),
            ("remove_file", dir.remove_file(path).await),
            ("remove_dir", dir.remove_dir(path).await),
            ("rename from", dir.rename(path, dir, "loot").await),
            ("rename to", dir.rename("a/b", dir, path).await),
            ("hard_link from", dir.hard_link(path, dir, "loot").await),
            ("hard_link to", dir.hard_link("a/b", dir, path).await),
            ("symlink", dir.symlink("a", path).await),
        ]);
    }
    let records = fixture.sink.take();
    let denials: Vec<_> = records.iter().filter(|record| record.outcome == Outcome::Denied).collect();
    assert_eq!(denials.len(), results.len(), "{path}: a denial is missing in {records:#?}");
    for ((what, result), record) in results.into_iter().zip(denials) {
        let what = format!("{what} {path}");
        assert_denied(result, "beneath-root", &what);
        assert_recorded_denial(std::slice::from_ref(record), "beneath-root", &what);
        assert!(
            record.resource.windows(path.len()).any(|part| part == path.as_bytes()),
            "{what}: {record:?}"
        );
    }
}

#[tokio::test]
async fn no_path_leaves() {
    let fixture = Fixture::new(Rights::all());
    let outside = fixture.outside("");
    symlink("../outside", fixture.inside("out")).unwrap();
    symlink(&outside, fixture.inside("absolute")).unwrap();
    symlink("out", fixture.inside("chain1")).unwrap();
    symlink("a/../chain1", fixture.inside("chain2")).unwrap();
    symlink("../outside/secret", fixture.inside("file")).unwrap();
    symlink("../outside/new", fixture.inside("dangling")).unwrap();
    let before = fixture.snapshot();
    let dir = fixture.dir().await;
    let absolute = fixture.outside("secret");
    let absolute = absolute.to_str().unwrap();
    for path in [
        "../outside/secret",
        "../outside/new",
        "a/../../outside/secret",
        "a/../../inside/a/b",
        "./../outside/secret",
        "a//..//..//outside//secret",
        "out/secret",
        "out/new",
        "absolute/secret",
        "chain1/secret",
        "chain2/secret",
        "a/../out/secret",
        absolute,
        "/etc/passwd",
        "//etc/passwd",
        "/",
    ] {
        try_all(&fixture, &dir, path, true).await;
    }
    for path in ["out", "chain2", "file", "dangling"] {
        try_all(&fixture, &dir, path, false).await;
    }
    assert_eq!(fixture.snapshot(), before);
}

#[tokio::test]
async fn the_directory_above_is_not_a_name() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    for path in ["..", "../", "a/../.."] {
        assert_denied(dir.open_dir(path).await, "beneath-root", path);
        assert_denied(dir.create_dir(path).await, "beneath-root", path);
        assert_denied(dir.remove_dir(path).await, "beneath-root", path);
        assert_denied(dir.remove_file(path).await, "beneath-root", path);
        assert_denied(dir.rename(path, &dir, "x").await, "beneath-root", path);
        assert_denied(dir.rename("a", &dir, path).await, "beneath-root", path);
        assert_denied(dir.read_link(path).await, "beneath-root", path);
    }
    for path in [".", "a/.", "a/..", "./"] {
        assert_fails(dir.remove_dir(path).await, ErrorKind::Invalid, path);
        assert_fails(dir.create_dir(path).await, ErrorKind::AlreadyExists, path);
        assert_fails(dir.symlink("a", path).await, ErrorKind::AlreadyExists, path);
        assert_fails(dir.rename(path, &dir, "x").await, ErrorKind::Invalid, path);
        assert_fails(dir.read_link(path).await, ErrorKind::Invalid, path);
        assert_eq!(dir.remove_file(path).await.unwrap_err().raw_os_error(), Some(21), "EISDIR, {path}");
    }
    for path in ["none/", "a/", "file/"] {
        let expected = match path {
            "none/" => ErrorKind::NotFound,
            "a/" => ErrorKind::AlreadyExists,
            _ => ErrorKind::Io,
        };
        fs::write(fixture.inside("file"), "").unwrap();
        assert_fails(dir.symlink("x", path).await, expected, path);
        assert_fails(dir.hard_link("file", &dir, path).await, expected, path);
    }
}

#[tokio::test]
async fn spelling_that_stays_inside_is_fine() {
    let fixture = Fixture::new(Rights::all());
    symlink("a", fixture.inside("link")).unwrap();
    symlink("../a/b", fixture.inside("a/back")).unwrap();
    let dir = fixture.dir().await;
    for path in ["a/b", "./a/./b", "a//b", "a/../a/b", "link/b", "a/back", "link/../a/b"] {
        assert_eq!(dir.read(path, 100).await.unwrap(), b"inside", "{path}");
        let records = fixture.sink.take();
        assert!(
            last(&records).resource.ends_with(format!("/inside/{path}").as_bytes()),
            "{path}: {records:?}"
        );
    }
}

#[tokio::test]
async fn malformed_paths_reach_no_file() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let long = "a/".repeat(PATH_BYTES);
    let cases = [
        ("", ErrorKind::NotFound),
        ("a/b\0", ErrorKind::Invalid),
        ("\0", ErrorKind::Invalid),
        (&*long, ErrorKind::Invalid),
        (&"n".repeat(256), ErrorKind::Invalid),
    ];
    for (path, kind) in cases {
        let what = path.get(..20).unwrap_or(path);
        assert_fails(dir.read(path, 100).await, kind, what);
        assert_fails(dir.create_dir(path).await, kind, what);
        assert_fails(dir.rename("a", &dir, path).await, kind, what);
        let records = fixture.sink.take();
        assert_eq!(records.len(), 5, "one for the read, two for each change: {what}");
        assert!(records.iter().all(|record| record.resource.len() < 2 * PATH_BYTES), "{what}");
    }
}

#[tokio::test]
async fn names_are_bytes() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let name = Path::new(OsStr::from_bytes(b"\xff\x1b[2J\n"));
    dir.replace(name, b"x", Flush::Later).await.unwrap();
    assert_eq!(dir.read(name, 1).await.unwrap(), b"x");
    assert!(last(&fixture.sink.take()).resource.ends_with(b"/\xff\x1b[2J\n"), "the record loses nothing");
    assert!(dir.list(10).await.unwrap().iter().any(|entry| entry.name == name.as_os_str()));
    let error = dir.read(name, 0).await.unwrap_err().to_string();
    assert!(!error.contains(char::is_control), "a terminal would obey: {error:?}");
}

#[tokio::test]
async fn links_into_proc_lead_nowhere() {
    let fixture = Fixture::new(Rights::all());
    let secret = File::open(fixture.outside("secret")).unwrap();
    let dir = fixture.dir().await;
    let targets = [
        format!("/proc/self/fd/{}", secret.as_raw_fd()),
        "/proc/self/root/etc/passwd".into(),
        "/proc/self/cwd".into(),
    ];
    for target in targets {
        symlink(&target, fixture.inside("magic")).unwrap();
        assert_denied(dir.open_any("magic", &READ).await, "beneath-root", &target);
        assert_denied(dir.read("magic", 100).await, "beneath-root", &target);
        assert_denied(dir.metadata("magic", true).await, "beneath-root", &target);
        fs::remove_file(fixture.inside("magic")).unwrap();
    }
}

#[tokio::test]
async fn a_loop_of_links_ends() {
    let fixture = Fixture::new(Rights::all());
    symlink("loop", fixture.inside("loop")).unwrap();
    let dir = fixture.dir().await;
    assert_fails(dir.read("loop", 100).await, ErrorKind::Io, "loop");
    assert_fails(dir.open("loop", &READ.follow(false)).await, ErrorKind::Io, "not followed");
    assert_eq!(dir.metadata("loop", false).await.unwrap().kind, FileKind::Symlink);
}

#[tokio::test]
async fn no_link_to_an_absolute_place_is_made() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    assert_denied(dir.symlink("/etc/passwd", "x").await, "beneath-root", "absolute target");
    assert!(fs::symlink_metadata(fixture.inside("x")).is_err());
}

#[tokio::test]
async fn a_hard_link_to_an_outside_file_changes_nothing_there() {
    let fixture = Fixture::new(Rights::all());
    fs::hard_link(fixture.outside("secret"), fixture.inside("shared")).unwrap();
    let before = fixture.snapshot();
    let dir = fixture.dir().await;
    assert_eq!(dir.metadata("shared", true).await.unwrap().links, 2);
    assert_eq!(dir.read("shared", 100).await.unwrap(), b"outside", "it can be read unless that is refused");
    let write = OpenOptions::new().write(true);
    assert_denied(dir.open("shared", &write).await, "hard-linked", "write");
    assert_denied(dir.open("shared", &write.truncate(true)).await, "hard-linked", "truncate");
    assert_denied(dir.open("shared", &CREATE.append(true)).await, "hard-linked", "append");
    assert_denied(dir.set_times("shared", true, SetTime::Now, SetTime::Now).await, "hard-linked", "times");
    assert_denied(dir.set_permissions("shared", 0o777).await, "hard-linked", "permissions");
    assert_recorded_denial(&fixture.sink.take(), "hard-linked", "permissions");
    assert_eq!(fixture.snapshot(), before);
    dir.replace("shared", b"mine", Flush::Later).await.unwrap();
    assert_eq!(fs::read(fixture.outside("secret")).unwrap(), b"outside", "the other name keeps its file");

    for (links, read, written) in [(HardLinks::Refused, false, false), (HardLinks::Shared, true, true)] {
        fs::remove_file(fixture.inside("shared")).unwrap();
        fs::hard_link(fixture.outside("secret"), fixture.inside("shared")).unwrap();
        let terms = FsTerms::new().hard_links(links);
        let grant = Grant::fs_with(fixture.inside(""), Rights::all(), terms);
        fixture.os.reload(Policy::builder().principal("p", [grant]).build().unwrap());
        assert_denied(dir.read("shared", 100).await, "changed-terms", "a handle from before");
        let dir = fixture.dir().await;
        assert_eq!(dir.read("shared", 100).await.is_ok(), read, "{links:?}");
        assert_eq!(dir.open("shared", &write).await.is_ok(), written, "{links:?}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_not_opened() {
    let fixture = Fixture::new(Rights::all());
    let inside = File::open(fixture.inside("")).unwrap();
    rustix::fs::mkfifoat(&inside, "fifo", 0o600.into()).unwrap();
    let _socket = UnixListener::bind(fixture.inside("socket")).unwrap();
    let mut names = vec!["fifo", "socket"];
    let zero = rustix::fs::makedev(1, 5);
    // Only root may make a device; who may not cannot be offered one either.
    if rustix::fs::mknodat(&inside, "zero", rustix::fs::FileType::CharacterDevice, 0o600.into(), zero).is_ok()
    {
        names.push("zero");
    }
    let dir = fixture.dir().await;
    for name in names {
        assert_denied(dir.open(name, &READ).await, "plain-files-only", name);
        assert_denied(dir.open(name, &CREATE).await, "plain-files-only", name);
        assert_denied(dir.open_any(name, &READ).await, "plain-files-only", name);
        assert_denied(dir.read(name, 100).await, "plain-files-only", name);
        assert_recorded_denial(&fixture.sink.take(), "plain-files-only", name);
        let kind = dir.metadata(name, true).await.unwrap().kind;
        assert!(!matches!(kind, FileKind::File | FileKind::Directory), "{name}: {kind:?}");
    }
}

#[tokio::test]
async fn what_is_no_file_is_opened_for_who_asks_and_may() {
    let fixture = Fixture::new(Rights::all());
    let inside = File::open(fixture.inside("")).unwrap();
    for name in ["fifo", "carved"] {
        rustix::fs::mkfifoat(&inside, name, 0o600.into()).unwrap();
    }
    let _socket = UnixListener::bind(fixture.inside("socket")).unwrap();
    symlink("../outside/fifo", fixture.inside("out")).unwrap();
    let write = OpenOptions::new().write(true);
    let dir = fixture.dir().await;
    assert_denied(dir.open_special("fifo", &READ).await, "plain-files-only", "asked, and not permitted");
    let grant = |rights| {
        let terms = FsTerms::new().special_files(true).deny("carved");
        let grant = Grant::fs_with(fixture.inside(""), rights, terms).rule("r");
        Policy::builder().principal("p", [grant]).build().unwrap()
    };
    fixture.os.reload(grant(Rights::READ));
    let dir = fixture.dir().await;
    assert_denied(dir.open("fifo", &READ).await, "plain-files-only", "permitted, and not asked");
    assert_denied(dir.open_special("fifo", &write).await, "r: lacks write", "another right");
    assert_denied(dir.open_special("carved", &READ).await, "carve-out", "taken out");
    assert_denied(dir.open_special("socket", &READ).await, "plain-files-only", "a socket");
    assert_denied(dir.open_special("out", &READ).await, "beneath-root", "outside");
    assert_fails(dir.open_special("a/b", &READ).await, ErrorKind::Invalid, "a file");
    assert_fails(dir.open_special("a", &READ).await, ErrorKind::Invalid, "a directory");
    fixture.os.reload(grant(Rights::all()));
    let dir = fixture.dir().await;
    assert_fails(dir.open_special("new", &CREATE).await, ErrorKind::Invalid, "nothing is made");
    assert_fails(dir.open_special("fifo", &write).await, ErrorKind::Io, "nobody reads it");

    let reader = dir.open_special("fifo", &READ).await.unwrap();
    let writer = dir.open_special("fifo", &write).await.unwrap();
    assert_denied(reader.write(b"x").await, "narrowed-handle", "it was opened to be read");
    let mut buffer = [0; 8];
    let (read, written) = tokio::join!(reader.read(&mut buffer), writer.write(b"hello"));
    assert_eq!((read.unwrap(), written.unwrap(), &buffer[..5]), (5, 5, &b"hello"[..]));
    let record = last(&fixture.sink.take()).clone();
    assert_eq!((record.rule.as_str(), record.bytes), ("r", 5), "{record:?}");
    drop(writer);
    assert_eq!(reader.read(&mut buffer).await.unwrap(), 0, "nobody writes any more");
    let writer = dir.open_special("fifo", &write).await.unwrap();
    fixture.os.reload(fixture.policy(Rights::all()));
    assert_denied(writer.write(b"x").await, "changed-terms", "it is permitted no more");
}

/// A device of memory, made here and opened; says why where that cannot be.
async fn device(fixture: &Fixture, name: &str, minor: u32) -> Option<Special> {
    let inside = File::open(fixture.inside("")).unwrap();
    let number = rustix::fs::makedev(1, minor);
    let made =
        rustix::fs::mknodat(&inside, name, rustix::fs::FileType::CharacterDevice, 0o600.into(), number);
    fixture.os.reload(special_policy(fixture, Rights::all()));
    let opened = fixture.dir().await.open_special(name, &READ.write(true)).await;
    if made.is_err() || opened.is_err() {
        eprintln!("skipped in part: no device can be made and opened here: {made:?}, {opened:?}");
    }
    opened.ok()
}

#[tokio::test]
async fn one_call_moves_so_many_bytes_of_a_device_and_no_more() {
    let fixture = Fixture::new(Rights::all());
    let mut much = vec![0; POOL_READ_BYTES + 1];
    // The system does not say when it has bytes or room.
    if let Some(null) = device(&fixture, "null", 3).await {
        assert_eq!((null.write(b"gone").await.unwrap(), null.read(&mut much).await.unwrap()), (4, 0));
        assert_eq!(null.write(&much).await.unwrap(), POOL_READ_BYTES, "no more is copied");
    }
    // Of this one it does.
    if let Some(random) = device(&fixture, "random", 8).await {
        assert_eq!(random.read(&mut much).await.unwrap(), INLINE_READ_BYTES, "the thread is held no longer");
    }
}

/// `p` may do all with special files too, and has a FIFO open at both ends.
async fn with_fifo(fixture: &Fixture) -> (Special, Special) {
    let inside = File::open(fixture.inside("")).unwrap();
    rustix::fs::mkfifoat(&inside, "fifo", 0o600.into()).unwrap();
    fixture.os.reload(special_policy(fixture, Rights::all()));
    let dir = fixture.dir().await;
    let reader = dir.open_special("fifo", &READ).await.unwrap();
    (reader, dir.open_special("fifo", &OpenOptions::new().write(true)).await.unwrap())
}

fn special_policy(fixture: &Fixture, rights: Rights) -> Policy {
    let grant = Grant::fs_with(fixture.inside(""), rights, FsTerms::new().special_files(true)).rule("r");
    Policy::builder().principal("p", [grant]).build().unwrap()
}

#[tokio::test]
async fn one_call_moves_so_many_bytes_of_a_fifo_and_no_more() {
    let fixture = Fixture::new(Rights::all());
    let (reader, writer) = with_fifo(&fixture).await;
    let end = File::options().write(true).open(fixture.inside("fifo")).unwrap();
    if let Err(why) = rustix::pipe::fcntl_setpipe_size(&end, 4 * INLINE_READ_BYTES) {
        eprintln!("skipped: this user makes no pipe that holds more: {why}");
        return;
    }
    let mut much = vec![7; 2 * INLINE_READ_BYTES];
    for _ in 0..2 {
        assert_eq!(writer.write(&much).await.unwrap(), INLINE_READ_BYTES);
    }
    assert_eq!(reader.read(&mut much).await.unwrap(), INLINE_READ_BYTES);
}

#[tokio::test]
async fn who_waits_hears_by_which_rule_it_may_no_more() {
    let fixture = Fixture::new(Rights::all());
    let policies = [
        ("r: lacks read", special_policy(&fixture, Rights::WRITE)),
        ("changed-terms", fixture.policy(Rights::all())),
        ("default-deny", Policy::builder().principal("p", []).build().unwrap()),
    ];
    for (rule, policy) in policies {
        let (reader, _writer) = with_fifo(&fixture).await;
        let mut end = File::options().write(true).open(fixture.inside("fifo")).unwrap();
        let mut buffer = [0; 8];
        let mut reading = std::pin::pin!(reader.read(&mut buffer));
        tokio::select! {
            biased;
            read = &mut reading => panic!("{rule}: nothing was there: {read:?}"),
            () = std::future::ready(()) => {}
        }
        fixture.os.reload(policy);
        end.write_all(b"late").unwrap();
        assert_denied(reading.await, rule, "after it has waited");
        let records = fixture.sink.take();
        assert_recorded_denial(&records, rule, "after it has waited");
        let denial = last(&records);
        assert_eq!((denial.outcome, denial.epoch), (Outcome::Denied, fixture.os.epoch()), "{denial:?}");
        fs::remove_file(fixture.inside("fifo")).unwrap();
    }
}

#[tokio::test]
async fn a_file_is_not_a_directory_nor_the_other_way() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    assert_fails(dir.open("a", &READ).await, ErrorKind::Io, "a directory as a file");
    assert_fails(dir.open("a", &CREATE).await, ErrorKind::Io, "a directory for writing");
    assert_fails(dir.read("a", 100).await, ErrorKind::Io, "a directory read");
    assert_fails(dir.open_dir("a/b").await, ErrorKind::Io, "a file as a directory");
    assert_fails(dir.remove_file("a/b/").await, ErrorKind::Io, "a file with a slash");
    assert_fails(dir.rename("a/b/", &dir, "c").await, ErrorKind::Io, "a file with a slash");
    assert_fails(dir.rename("a/b", &dir, "c/").await, ErrorKind::Io, "to a name with a slash");
    dir.rename("a/", &dir, "c/").await.unwrap();
    assert_eq!(dir.read("c/b", 100).await.unwrap(), b"inside");
}

#[tokio::test]
async fn roots_that_are_refused() {
    let tmp = tempfile::tempdir().unwrap();
    symlink("/proc/self", tmp.path().join("to-proc")).unwrap();
    fs::write(tmp.path().join("file"), "").unwrap();
    let refused = ["/proc", "/proc/self/fd", "/proc/self/root", "/sys", "/dev"].map(Path::new);
    let (to_proc, file, absent) =
        (tmp.path().join("to-proc"), tmp.path().join("file"), tmp.path().join("absent"));
    let all = refused.iter().copied().chain([&*to_proc, &*file, &*absent]);
    let grants: Vec<_> = all.map(|root| Grant::fs(root, Rights::all())).collect();
    let sink = MemorySink::new();
    let os = Os::new(Policy::builder().principal("p", grants).build().unwrap(), sink.clone());
    let principal = os.principal("p").unwrap();
    for root in ["/proc", "/proc/self/fd", "/sys", "/dev"] {
        assert_denied(principal.dir(root).await, "kernel-filesystem", root);
        assert_recorded_denial(&sink.take(), "kernel-filesystem", root);
    }
    assert_denied(principal.dir(&to_proc).await, "kernel-filesystem", "by a link");
    assert!(principal.dir("/proc/self/root").await.is_err(), "a magic link");
    assert_fails(principal.dir(&file).await, ErrorKind::Io, "a file");
    assert_fails(principal.dir(&absent).await, ErrorKind::NotFound, "absent");
    assert_denied(principal.dir(tmp.path()).await, "default-deny", "not granted");
    assert_recorded_denial(&sink.take(), "default-deny", "not granted");
}

#[tokio::test]
async fn what_is_mounted_beneath_is_not_inside() {
    let sink = MemorySink::new();
    let policy = Policy::builder().principal("p", [Grant::fs("/", Rights::all())]).build().unwrap();
    let dir = Os::new(policy, sink.clone()).principal("p").unwrap().dir("/").await.unwrap();
    for path in ["proc/self/environ", "proc/self/mem", "proc/self/root/etc/passwd", "sys/kernel/notes"] {
        assert_denied(dir.read(path, 100).await, "mount-point", path);
        assert_denied(dir.metadata(path, true).await, "mount-point", path);
    }
    assert_eq!(last(&sink.take()).resource, b"/sys/kernel/notes");
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[
        no_path_leaves,
        the_directory_above_is_not_a_name,
        spelling_that_stays_inside_is_fine,
        malformed_paths_reach_no_file,
        names_are_bytes,
        links_into_proc_lead_nowhere,
        a_loop_of_links_ends,
        no_link_to_an_absolute_place_is_made,
        a_hard_link_to_an_outside_file_changes_nothing_there,
        what_is_no_file_is_not_opened,
        what_is_no_file_is_opened_for_who_asks_and_may,
        a_file_is_not_a_directory_nor_the_other_way,
    ]);
}
