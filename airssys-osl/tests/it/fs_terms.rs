//! What a grant takes out of a directory, and how much it lets in.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use airssys_osl::{
    Error, ErrorKind, Os, Resolution,
    fs::{Dir, FileKind, Flush, OpenOptions, SetTime},
    policy::{FsTerms, Grant, HardLinks, Policy, Rights},
};

use crate::fixture::{Fixture, assert_denied, assert_fails, step_by_step};

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);
const CREATE: OpenOptions = WRITE.create(true);

async fn held_to(fixture: &Fixture, terms: FsTerms) -> Dir {
    let grant = Grant::fs_with(fixture.inside(""), Rights::all(), terms);
    fixture.os.reload(Policy::builder().principal("p", [grant]).build().unwrap());
    fixture.dir().await
}

/// `a` holds `keep/secret`, which is carved out; `plain` is beside it.
fn carved() -> Fixture {
    let fixture = Fixture::new(Rights::all());
    fs::create_dir_all(fixture.inside("a/keep")).unwrap();
    fs::write(fixture.inside("a/keep/secret"), "secret").unwrap();
    fs::write(fixture.inside("plain"), "plain").unwrap();
    fixture
}

async fn assert_sealed(dir: &Dir, path: &str) {
    assert_denied(dir.read(path, 100).await, "carve-out", path);
    assert_denied(dir.open(path, &WRITE).await, "carve-out", path);
    assert_denied(dir.open(path, &CREATE.truncate(true)).await, "carve-out", path);
    assert_denied(dir.open_any(path, &READ).await, "carve-out", path);
    assert_denied(dir.metadata(path, true).await, "carve-out", path);
    assert_denied(dir.set_times(path, true, SetTime::Now, SetTime::Now).await, "carve-out", path);
    assert_denied(dir.set_permissions(path, 0o777).await, "carve-out", path);
    assert_denied(dir.copy(path, dir, "loot").await, "carve-out", path);
}

#[tokio::test]
async fn a_carve_out_is_an_object_and_not_a_spelling() {
    let fixture = carved();
    fs::hard_link(fixture.inside("a/keep/secret"), fixture.inside("twin")).unwrap();
    symlink("a/keep/secret", fixture.inside("link")).unwrap();
    symlink("a/keep", fixture.inside("way")).unwrap();
    let dir = held_to(&fixture, FsTerms::new().deny("a/keep/secret")).await;
    let spellings = [
        "a/keep/secret",
        "./a//keep/./secret",
        "a/keep/../keep/secret",
        "plain/../a/keep/secret",
        "link",
        "way/secret",
        "twin",
    ];
    for path in spellings.into_iter().filter(|path| !path.starts_with("plain/")) {
        assert_sealed(&dir, path).await;
    }
    assert_fails(dir.read("plain/../a/keep/secret", 100).await, ErrorKind::Io, "a file is no way");
    assert_eq!(dir.read("plain", 100).await.unwrap(), b"plain");
    assert_eq!(dir.read("a/b", 100).await.unwrap(), b"inside");
    let keep = dir.open_dir("a/keep").await.unwrap();
    assert_sealed(&keep, "secret").await;
    assert_eq!(fs::read(fixture.inside("a/keep/secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn a_carved_directory_is_closed_with_all_that_is_in_it() {
    let fixture = carved();
    symlink("keep/secret", fixture.inside("a/link")).unwrap();
    let dir = held_to(&fixture, FsTerms::new().deny("a/keep")).await;
    for path in ["a/keep/secret", "a/link"] {
        assert_sealed(&dir, path).await;
    }
    assert_denied(dir.open_dir("a/keep").await, "carve-out", "the directory");
    assert_denied(dir.create_dir("a/keep/x").await, "carve-out", "in it");
    assert_denied(dir.replace("a/keep/x", b"x", Flush::Later).await, "carve-out", "in it");
    assert_denied(dir.rename("a/b", &dir, "a/keep/b").await, "carve-out", "into it");
    let mut walk = dir.walk(10).await.unwrap();
    let mut seen = Vec::new();
    while let Some(entry) = walk.next().await {
        let entry = entry.unwrap();
        seen.push((entry.path.to_str().unwrap().to_owned(), entry.entered));
    }
    assert!(seen.contains(&("a/keep".into(), false)), "{seen:?}");
    assert!(!seen.iter().any(|(path, _)| path.starts_with("a/keep/")), "{seen:?}");
}

#[tokio::test]
async fn nothing_that_leads_to_a_carve_out_is_moved_away() {
    let fixture = carved();
    symlink("a", fixture.inside("way")).unwrap();
    let dir = held_to(&fixture, FsTerms::new().deny("way/keep/secret")).await;
    let before = fixture.snapshot();
    for path in ["a", "a/keep", "a/keep/secret", "way"] {
        assert_denied(dir.rename(path, &dir, "elsewhere").await, "carve-out", path);
        assert_denied(dir.rename("plain", &dir, path).await, "carve-out", path);
        assert_denied(dir.replace(path, b"x", Flush::Later).await, "carve-out", path);
        assert_denied(dir.remove_file(path).await, "carve-out", path);
        assert_denied(dir.remove_dir(path).await, "carve-out", path);
        assert_denied(dir.remove_tree(path).await, "carve-out", path);
    }
    assert_denied(dir.hard_link("a/keep/secret", &dir, "loot").await, "carve-out", "another name");
    assert_eq!(fixture.snapshot(), before);
    dir.rename("a/b", &dir, "b").await.unwrap();
}

#[tokio::test]
async fn a_carve_out_that_is_not_there_yet_is_not_made() {
    let fixture = carved();
    let dir = held_to(&fixture, FsTerms::new().deny("a/keep/later").deny("no/such")).await;
    let a = dir.open_dir("a").await.unwrap();
    for (dir, path) in [(&dir, "a/keep/later"), (&dir, "a/./keep//later"), (&a, "keep/later")] {
        assert_denied(dir.open(path, &CREATE).await, "carve-out", path);
        assert_denied(dir.open(path, &CREATE.create_new(true)).await, "carve-out", path);
        assert_denied(dir.replace(path, b"x", Flush::Later).await, "carve-out", path);
        assert_denied(dir.create_dir(path).await, "carve-out", path);
        assert_denied(dir.symlink("x", path).await, "carve-out", path);
        assert_denied(dir.rename("b", dir, path).await.map(drop), "carve-out", path);
    }
    fs::write(fixture.inside("a/keep/later"), "by somebody else").unwrap();
    assert_sealed(&dir, "a/keep/later").await;
    dir.create_dir_all("no/other").await.unwrap();
    assert_denied(dir.create_dir_all("no/such").await, "carve-out", "once its directory is there");
}

#[tokio::test]
async fn what_leads_to_a_carve_out_is_not_put_there_with_something_in_it() {
    let fixture = carved();
    let dir = held_to(&fixture, FsTerms::new().deny("hooks/run/first")).await;
    dir.create_dir_all("mine/run").await.unwrap();
    dir.replace("mine/run/first", b"mine", Flush::Later).await.unwrap();
    dir.symlink("mine", "way").await.unwrap();
    let before = fixture.snapshot();
    let not_put = async |at: &str, filled: &str| {
        assert_denied(dir.rename(filled, &dir, at).await, "carve-out", "renamed");
        assert_denied(dir.rename("way", &dir, at).await, "carve-out", "a link renamed");
        assert_denied(dir.hard_link("way", &dir, at).await, "carve-out", "a link linked");
        assert_denied(dir.symlink("mine", at).await, "carve-out", "linked");
    };
    not_put("hooks", "mine").await;
    assert_eq!(fixture.snapshot(), before);
    // Nor where something else is in the way.
    dir.replace("hooks", b"x", Flush::Later).await.unwrap();
    assert_denied(dir.rename("way", &dir, "hooks").await, "carve-out", "over a file");
    dir.remove_file("hooks").await.unwrap();
    dir.create_dir("hooks").await.unwrap();
    assert_denied(dir.rename("mine", &dir, "hooks").await, "carve-out", "over an empty directory");
    not_put("hooks/run", "mine/run").await;
    dir.create_dir("hooks/run").await.unwrap();
    let made = dir.replace("hooks/run/first", b"mine", Flush::Later).await;
    assert_denied(made, "carve-out", "at last");
    dir.rename("mine", &dir, "elsewhere").await.unwrap();
}

/// Case twins and normalised twins: the same object under names of other bytes. Only some file systems have them; on others
/// hard links stand for them.
#[tokio::test]
async fn other_names_of_a_carve_out_are_closed_too() {
    let fixture = carved();
    let twins = ["caf\u{e9}", "cafe\u{301}"];
    fs::write(fixture.inside(twins[0]), "x").unwrap();
    let folds = fixture.inside(twins[1]).exists();
    if !folds {
        eprintln!("skipped in part: this file system tells {twins:?} apart");
        fs::hard_link(fixture.inside(twins[0]), fixture.inside(twins[1])).unwrap();
        fs::hard_link(fixture.inside(twins[0]), fixture.inside("CAF\u{c9}")).unwrap();
    }
    let dir = held_to(&fixture, FsTerms::new().deny(twins[0])).await;
    for path in twins.into_iter().chain(["CAF\u{c9}"]) {
        assert_sealed(&dir, path).await;
    }
}

/// Where the carve-out is not there yet, no object tells a twin from it: the file system does, by its kind.
#[tokio::test]
async fn twins_of_a_carve_out_that_is_not_there_yet_are_not_made() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    const TMPFS: u64 = 0x0102_1994;
    let fixture = Fixture::light(Rights::all());
    let root = fixture.inside("a");
    // A file system that tells names apart makes the twin, which is another file.
    let terms = || FsTerms::new().deny("later").deny("caf\u{e9}");
    let grant = || Grant::fs_with(&root, Rights::all(), terms());
    let policy = || Policy::builder().principal("p", [grant()]).build().unwrap();
    fixture.os.reload(policy());
    let dir = fixture.principal().dir(&root).await.unwrap();
    let made = dir.open("LATER", &CREATE).await;
    match rustix::fs::statfs(&root).unwrap().f_type as u64 {
        TMPFS => drop(made.unwrap()),
        other => eprintln!("skipped in part: nothing is kept in memory here, but in {other:#x}: {made:?}"),
    }
    // And one that does not is made of a few sectors, where this user may.
    let image = fixture.outside("image");
    let command = std::process::Command::new("mkfs.vfat").arg("-C").arg(&image).arg("256").output();
    let mounted = command.map_err(|error| error.to_string()).and_then(|made| {
        let attached = std::process::Command::new("losetup").args(["--find", "--show"]).arg(&image).output();
        let attached = attached.ok().filter(|attached| made.status.success() && attached.status.success());
        let device = attached.ok_or_else(|| "no loop device".to_owned())?;
        let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
        let mounted = mount(&device, &root, "vfat", MountFlags::empty(), None);
        // It goes with its last user.
        let _ = std::process::Command::new("losetup").arg("--detach").arg(&device).output();
        mounted.map_err(|error| error.to_string())
    });
    if let Err(why) = mounted {
        eprintln!("skipped: no file system that folds case can be mounted: {why}");
        return;
    }
    let os = Os::new(policy(), fixture.sink.clone());
    let dir = os.principal("p").unwrap().dir(&root).await.unwrap();
    for path in ["later", "LATER", "Later.", "CAF\u{c9}"] {
        assert_denied(dir.open(path, &CREATE).await, "carve-out", path);
        assert_denied(dir.create_dir(path).await, "carve-out", path);
        assert_denied(dir.replace(path, b"x", Flush::Later).await, "carve-out", path);
    }
    dir.replace("other", b"x", Flush::Later).await.unwrap();
    drop(dir);
    unmount(&root, UnmountFlags::DETACH).unwrap();
}

/// An overlay tells names apart as what it lies over does, and does not say how that is.
#[tokio::test]
async fn an_overlay_makes_no_twin_of_a_carve_out_either() {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
    let fixture = Fixture::light(Rights::all());
    let root = fixture.inside("a");
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| fixture.outside(name));
    for dir in [&lower, &upper, &work] {
        fs::create_dir(dir).unwrap();
    }
    let [lower, upper, work] = [lower, upper, work].map(|dir| dir.into_os_string().into_string().unwrap());
    let layers = format!("lowerdir={lower},upperdir={upper},workdir={work}");
    let layers = std::ffi::CString::new(layers).unwrap();
    if let Err(why) = mount("overlay", &root, "overlay", MountFlags::empty(), &*layers) {
        eprintln!("skipped: no overlay can be mounted: {why}");
        return;
    }
    let grant = Grant::fs_with(&root, Rights::all(), FsTerms::new().deny(".ssh"));
    fixture.os.reload(Policy::builder().principal("p", [grant]).build().unwrap());
    let dir = fixture.principal().dir(&root).await.unwrap();
    for path in [".ssh", ".SSH", ".\u{1e9e}h", ".\u{17f}sh"] {
        assert_denied(dir.open(path, &CREATE).await, "carve-out", path);
        assert_denied(dir.create_dir(path).await, "carve-out", path);
    }
    dir.replace("other", b"x", Flush::Later).await.unwrap();
    drop(dir);
    unmount(&root, UnmountFlags::DETACH).unwrap();
}

#[tokio::test]
async fn a_tree_with_another_name_of_a_carve_out_is_not_removed() {
    let fixture = carved();
    fs::create_dir_all(fixture.inside("d/e")).unwrap();
    fs::hard_link(fixture.inside("a/keep/secret"), fixture.inside("d/e/twin")).unwrap();
    let dir = held_to(&fixture, FsTerms::new().deny("a/keep/secret")).await;
    assert_denied(dir.remove_file("d/e/twin").await, "carve-out", "by itself");
    assert_denied(dir.remove_tree("d").await, "carve-out", "with its directory");
    assert!(fixture.inside("d/e/twin").exists());
    fs::remove_file(fixture.inside("d/e/twin")).unwrap();
    dir.remove_tree("d").await.unwrap();
}

#[tokio::test]
async fn a_mount_is_no_way_around() {
    use rustix::mount::{UnmountFlags, mount_bind, unmount};
    let fixture = carved();
    fs::create_dir(fixture.inside("mounted")).unwrap();
    if let Err(error) = mount_bind(fixture.inside("a/keep"), fixture.inside("mounted")) {
        eprintln!("skipped: this user may not mount: {error}");
        return;
    }
    let checks = async {
        for resolution in [Resolution::Kernel, Resolution::Steps] {
            for carved in [false, true] {
                let deny = FsTerms::new().deny("a/keep/secret");
                let terms = if carved { deny } else { FsTerms::new() };
                let grant = Grant::fs_with(fixture.inside(""), Rights::all(), terms);
                let policy = Policy::builder().principal("p", [grant]).build().unwrap();
                let os = Os::builder(policy, fixture.sink.clone()).resolution(resolution).build();
                let dir = os.principal("p").unwrap().dir(fixture.inside("")).await.unwrap();
                assert_denied(dir.read("mounted/secret", 100).await, "mount-point", "read");
                assert_denied(dir.open_dir("mounted").await, "mount-point", "open");
                let removed = dir.remove_tree("mounted").await;
                // It is the same object as what is taken out, and where nothing is it is another mount.
                let rule = if carved { "carve-out" } else { "mount-point" };
                assert_denied(removed, rule, "remove");
                assert_denied(dir.create_dir("mounted/x").await, "mount-point", "create");
            }
        }
    };
    checks.await;
    // A child that another test starts may have something open in it until it is a program.
    unmount(fixture.inside("mounted"), UnmountFlags::DETACH).unwrap();
}

#[tokio::test]
async fn malformed_carve_outs_are_refused() {
    for path in ["", ".", "/etc", "a/../b", "a\0"] {
        let grant = Grant::fs_with("/srv", Rights::READ, FsTerms::new().deny(path));
        let built = Policy::builder().principal("p", [grant]).build();
        assert_fails(built, ErrorKind::Invalid, path);
    }
    let many = (0..65).fold(FsTerms::new(), |terms, number| terms.deny(number.to_string()));
    let built = Policy::builder().principal("p", [Grant::fs_with("/srv", Rights::READ, many)]).build();
    assert_fails(built, ErrorKind::Invalid, "too many");
}

fn used(fixture: &Fixture) -> (u64, u64) {
    fn walk(path: &Path, used: &mut (u64, u64)) {
        for entry in fs::read_dir(path).unwrap() {
            let entry = entry.unwrap();
            let metadata = fs::symlink_metadata(entry.path()).unwrap();
            used.1 += 1;
            if metadata.is_file() {
                used.0 += metadata.len();
            } else if metadata.is_dir() {
                walk(&entry.path(), used);
            }
        }
    }
    let mut sum = (0, 0);
    walk(&fixture.inside(""), &mut sum);
    sum
}

#[track_caller]
fn assert_full<T: std::fmt::Debug>(result: Result<T, Error>, what: &str) {
    let error = result.expect_err(what);
    let quota = Some(rustix::io::Errno::DQUOT.raw_os_error());
    assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::LimitExceeded, quota), "{what}: {error}");
}

#[tokio::test]
async fn a_quota_of_bytes_holds_for_every_way_to_write() {
    let fixture = Fixture::new(Rights::all());
    // `a/b` has 6 bytes from the start.
    let dir = held_to(&fixture, FsTerms::new().quota_bytes(100)).await;
    let file = dir.open("f", &CREATE.read(true)).await.unwrap();
    file.write_at(vec![1; 60], 0).await.unwrap();
    assert_full(file.write_at(vec![1; 10], 90).await, "behind a hole");
    assert_full(file.append(vec![1; 35]).await, "at the end");
    assert_full(file.set_len(1 << 40).await, "a huge sparse file");
    assert_full(dir.replace("g", vec![1; 35], Flush::Later).await, "a new file");
    assert_full(dir.copy("f", &dir, "h").await, "a copy");
    file.write_at(vec![2; 60], 0).await.unwrap();
    file.append(vec![1; 34]).await.unwrap();
    assert_eq!(used(&fixture).0, 100);
    assert_full(file.append(vec![1]).await, "one byte more");
    file.set_len(10).await.unwrap();
    dir.copy("f", &dir, "h").await.unwrap();
    dir.replace("h", vec![3; 60], Flush::Later).await.unwrap();
    assert_eq!(used(&fixture).0, 76);
    assert_full(dir.replace("h", vec![3; 60], Flush::Later).await, "old and new are there for a moment");
    dir.open("h", &WRITE.truncate(true)).await.unwrap();
    dir.replace("i", vec![3; 84], Flush::Later).await.unwrap();
    assert_eq!(used(&fixture).0, 100);
    dir.remove_file("i").await.unwrap();
    dir.rename("f", &dir, "a/b").await.unwrap();
    dir.replace("j", vec![1; 90], Flush::Later).await.unwrap();
    assert_eq!(used(&fixture).0, 100);
    assert_eq!(dir.remove_tree("a").await.unwrap(), 2);
    assert_full(dir.replace("k", vec![1; 10], Flush::Later).await, "an open file without a name counts");
    drop(file);
    dir.replace("k", vec![1; 10], Flush::Later).await.unwrap();
    assert_eq!(used(&fixture).0, 100);
}

#[tokio::test]
async fn what_is_removed_while_it_is_open_is_not_free() {
    let fixture = Fixture::new(Rights::all());
    let dir = held_to(&fixture, FsTerms::new().quota_bytes(100)).await;
    let (one, other) = (dir.open("f", &CREATE).await.unwrap(), dir.open("f", &WRITE).await.unwrap());
    one.append(vec![1; 50]).await.unwrap();
    dir.remove_file("f").await.unwrap();
    other.append(vec![1; 40]).await.unwrap();
    assert_full(one.append(vec![1; 10]).await, "it still grows against the quota");
    drop(one.clone());
    drop(one);
    assert_full(dir.replace("g", vec![1; 50], Flush::Later).await, "one handle is left");
    drop(other);
    dir.replace("g", vec![1; 94], Flush::Later).await.unwrap();
    let mut temporary = dir.temp_file().await;
    assert_full(temporary.as_mut().unwrap().append(b"x").await, "a file without a name");
    dir.remove_file("g").await.unwrap();
    let temporary = temporary.unwrap();
    temporary.append(vec![1; 90]).await.unwrap();
    temporary.persist("kept").await.unwrap();
    assert_full(dir.replace("h", vec![1; 5], Flush::Later).await, "it keeps its bytes");
    assert_eq!(used(&fixture).0, 96);
    dir.remove_file("kept").await.unwrap();
    for length in [40, 50] {
        let temporary = dir.temp_file().await.unwrap();
        temporary.append(vec![1; length]).await.unwrap();
        temporary.replace("kept").await.unwrap();
    }
    assert_eq!(used(&fixture).0, 56);
    assert_full(dir.replace("h", vec![1; 45], Flush::Later).await, "what replaced it counts");
    dir.replace("h", vec![1; 44], Flush::Later).await.unwrap();
}

#[tokio::test]
async fn a_quota_of_names_holds_for_every_way_to_make_one() {
    let fixture = Fixture::new(Rights::all());
    // `a` and `a/b` are there.
    let dir = held_to(&fixture, FsTerms::new().quota_files(4)).await;
    dir.create_dir("d").await.unwrap();
    dir.replace("f", b"x", Flush::Later).await.unwrap();
    assert_full(dir.create_dir("x").await, "directory");
    assert_full(dir.create_dir_all("x/y").await, "directories");
    assert_full(dir.open("x", &CREATE).await.map(drop), "file");
    assert_full(dir.replace("x", b"x", Flush::Later).await, "whole file");
    assert_full(dir.copy("f", &dir, "x").await, "copy");
    assert_full(dir.symlink("f", "x").await, "link");
    assert_full(dir.hard_link("f", &dir, "x").await, "hard link");
    assert_full(dir.temp_dir().await.map(drop), "temporary directory");
    assert_full(dir.temp_file().await.unwrap().persist("x").await, "a name for a file without one");
    assert_full(dir.temp_file().await.unwrap().replace("x").await, "the same, where nothing is replaced");
    dir.temp_file().await.unwrap().replace("f").await.unwrap();
    dir.replace("f", b"y", Flush::Later).await.unwrap();
    dir.open("f", &CREATE).await.unwrap();
    dir.rename("f", &dir, "a/b").await.unwrap();
    dir.hard_link("a/b", &dir, "h").await.unwrap();
    dir.remove_file("h").await.unwrap();
    dir.remove_dir("d").await.unwrap();
    dir.create_dir_all("x/y").await.unwrap();
    assert_full(dir.create_dir("z").await, "four again");
    assert_eq!(dir.remove_tree("x").await.unwrap(), 2);
    assert_eq!(used(&fixture).1, 2);
    dir.create_dir_all("x/y").await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_race_do_not_pass_a_quota() {
    let fixture = Fixture::new(Rights::all());
    let dir = held_to(&fixture, FsTerms::new().quota_bytes(10_000).quota_files(40)).await;
    let written = Arc::new(Mutex::new(0_u64));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (dir, written) = (dir.clone(), Arc::clone(&written));
            tokio::spawn(async move {
                let file = dir.open("shared", &CREATE).await.unwrap();
                for round in 0..100_u64 {
                    let done = file.append(vec![1; 37]).await.is_ok();
                    *written.lock().unwrap_or_else(PoisonError::into_inner) += u64::from(done) * 37;
                    let name = format!("{task}-{}", round % 9);
                    match round % 3 {
                        0 => drop(dir.replace(&name, vec![2; 101], Flush::Later).await),
                        1 => drop(dir.remove_file(&name).await),
                        _ => drop(dir.open(&name, &CREATE.truncate(true)).await),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let (bytes, names) = used(&fixture);
    assert!(bytes <= 10_000 && names <= 40, "{bytes} bytes, {names} names");
    let shared = fs::metadata(fixture.inside("shared")).unwrap().len();
    assert_eq!(shared, *written.lock().unwrap_or_else(PoisonError::into_inner));
    // The count is exact: what is left can be filled to the last byte.
    dir.open("shared", &WRITE.truncate(true)).await.unwrap();
    let rest = 10_000 - used(&fixture).0;
    let file = dir.open("shared", &WRITE).await.unwrap();
    file.append(vec![1; usize::try_from(rest).unwrap()]).await.unwrap();
    assert_full(file.append(b"x").await, "the last byte is taken");
}

#[tokio::test]
async fn a_file_has_a_greatest_length() {
    let fixture = Fixture::new(Rights::all());
    let dir = held_to(&fixture, FsTerms::new().max_file_bytes(10)).await;
    let file = dir.open("f", &CREATE).await.unwrap();
    file.write_at(vec![1; 10], 0).await.unwrap();
    assert_fails(file.write_at(b"x", 10).await, ErrorKind::LimitExceeded, "write");
    assert_fails(file.write_at(b"x", u64::MAX).await, ErrorKind::LimitExceeded, "at the end of all numbers");
    assert_fails(file.append(b"x").await, ErrorKind::LimitExceeded, "append");
    assert_fails(file.set_len(11).await, ErrorKind::LimitExceeded, "set_len");
    assert_fails(dir.replace("g", [1; 11], Flush::Later).await, ErrorKind::LimitExceeded, "replace");
    fs::write(fixture.inside("long"), [1; 20]).unwrap();
    assert_fails(dir.copy("long", &dir, "g").await, ErrorKind::LimitExceeded, "copy");
    let long = dir.open("long", &WRITE).await.unwrap();
    long.write_at([2; 20], 0).await.unwrap();
    long.set_len(15).await.unwrap();
    dir.replace("g", [1; 10], Flush::Later).await.unwrap();
    assert_eq!(dir.metadata("g", true).await.unwrap().kind, FileKind::File);
}

#[tokio::test]
async fn a_new_policy_changes_what_is_counted() {
    let fixture = Fixture::new(Rights::all());
    let old = fixture.dir().await;
    let dir = held_to(&fixture, FsTerms::new().quota_bytes(20)).await;
    assert_denied(old.read("a/b", 10).await, "changed-terms", "opened when nothing was counted");
    assert_full(dir.replace("f", [1; 15], Flush::Later).await, "what was there counts");
    dir.replace("f", [1; 14], Flush::Later).await.unwrap();
    let second = held_to(&fixture, FsTerms::new().quota_bytes(30)).await;
    dir.replace("g", [1; 6], Flush::Later).await.unwrap();
    assert_full(second.replace("h", [1; 5], Flush::Later).await, "two handles count in one place");
    let free = held_to(&fixture, FsTerms::new()).await;
    free.replace("h", [1; 100], Flush::Later).await.unwrap();
    dir.replace("i", [1; 100], Flush::Later).await.unwrap();
}

#[tokio::test]
async fn between_two_roots_what_is_counted_is_counted_on_both_sides() {
    let fixture = Fixture::new(Rights::all());
    fs::create_dir(fixture.inside("one")).unwrap();
    fs::create_dir(fixture.inside("two")).unwrap();
    let terms = || FsTerms::new().quota_bytes(20).quota_files(3);
    let grants = ["one", "two"].map(|root| Grant::fs_with(fixture.inside(root), Rights::all(), terms()));
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let one = principal.dir(fixture.inside("one")).await.unwrap();
    let two = principal.dir(fixture.inside("two")).await.unwrap();
    one.replace("f", [1; 15], Flush::Later).await.unwrap();
    two.replace("f", [1; 10], Flush::Later).await.unwrap();
    assert_full(one.rename("f", &two, "g").await, "it does not fit");
    two.rename("f", &one, "f").await.unwrap_err();
    two.replace("f", [1; 5], Flush::Later).await.unwrap();
    one.rename("f", &two, "g").await.unwrap();
    one.replace("whole", [1; 20], Flush::Later).await.unwrap();
    assert_full(two.replace("h", [1], Flush::Later).await, "it counts there");
    one.create_dir("d").await.unwrap();
    let error = one.rename("d", &two, "d").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::XDEV.raw_os_error()));
}

#[tokio::test]
async fn a_principal_has_so_much_open_and_no_more() {
    let fixture = Fixture::new(Rights::all());
    let grants = [Grant::fs(fixture.inside(""), Rights::all()), Grant::descriptors(3)];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let dir = fixture.dir().await;
    let (file, entries) = (dir.open("a/b", &READ).await.unwrap(), dir.entries().await.unwrap());
    let clone = file.clone();
    for what in [
        dir.open("a/b", &READ).await.map(drop),
        dir.open_dir("a").await.map(drop),
        dir.walk(1).await.map(drop),
        dir.temp_file().await.map(drop),
        dir.watch(std::time::Duration::ZERO).await.map(drop),
    ] {
        let error = what.unwrap_err();
        let number = Some(rustix::io::Errno::MFILE.raw_os_error());
        assert_eq!((error.kind(), error.raw_os_error()), (ErrorKind::LimitExceeded, number), "{error}");
    }
    assert_eq!(dir.read("a/b", 10).await.unwrap(), b"inside", "what is closed at once needs none");
    drop(file);
    dir.open("a/b", &READ).await.unwrap_err();
    drop(clone);
    let again = dir.open("a/b", &READ).await.unwrap();
    drop((entries, again));
    assert!(fixture.principal().dir(fixture.inside("")).await.is_ok(), "another life has its own");
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[
        a_carve_out_is_an_object_and_not_a_spelling,
        a_carved_directory_is_closed_with_all_that_is_in_it,
        nothing_that_leads_to_a_carve_out_is_moved_away,
        a_carve_out_that_is_not_there_yet_is_not_made,
        what_leads_to_a_carve_out_is_not_put_there_with_something_in_it,
        other_names_of_a_carve_out_are_closed_too,
        twins_of_a_carve_out_that_is_not_there_yet_are_not_made,
        an_overlay_makes_no_twin_of_a_carve_out_either,
        a_tree_with_another_name_of_a_carve_out_is_not_removed,
        a_quota_of_bytes_holds_for_every_way_to_write,
        what_is_removed_while_it_is_open_is_not_free,
        a_quota_of_names_holds_for_every_way_to_make_one,
        tasks_that_race_do_not_pass_a_quota,
        a_file_has_a_greatest_length,
        a_new_policy_changes_what_is_counted,
        between_two_roots_what_is_counted_is_counted_on_both_sides,
        what_is_open_does_not_move_to_where_it_would_grow_uncounted,
        a_file_without_a_name_frees_no_more_than_it_counted,
        a_principal_has_so_much_open_and_no_more,
    ]);
}

/// `p` with all rights on both, held to terms.
async fn two_roots(fixture: &Fixture, here: FsTerms, there: FsTerms) -> (Dir, Dir) {
    let grants = [
        Grant::fs_with(fixture.inside(""), Rights::all(), here),
        Grant::fs_with(fixture.outside(""), Rights::all(), there),
    ];
    fixture.os.reload(Policy::builder().principal("p", grants).build().unwrap());
    let principal = fixture.principal();
    let root = async |path| principal.dir(path).await.unwrap();
    (root(fixture.inside("")).await, root(fixture.outside("")).await)
}

#[tokio::test]
async fn nothing_moves_to_where_its_names_are_looked_at_less() {
    let fixture = carved();
    fs::hard_link(fixture.inside("plain"), fixture.inside("twin")).unwrap();
    let with = |links| FsTerms::new().hard_links(links);
    let order = [HardLinks::Shared, HardLinks::ReadOnly, HardLinks::Refused];
    for (strict, here) in order.into_iter().enumerate() {
        for (laxer, there) in order.into_iter().enumerate() {
            let (dir, outside) = two_roots(&fixture, with(here), with(there)).await;
            let renamed = dir.rename("twin", &outside, "twin").await;
            if laxer < strict {
                assert_denied(renamed, "wider-destination", &format!("{here:?} to {there:?}"));
                let linked = dir.hard_link("plain", &outside, "link").await;
                assert_denied(linked, "wider-destination", "a link");
            } else {
                renamed.unwrap();
                fs::rename(fixture.outside("twin"), fixture.inside("twin")).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_file_moves_only_to_where_it_may_be_as_long() {
    let fixture = carved();
    fs::write(fixture.inside("long"), [1; 100]).unwrap();
    let (dir, outside) = two_roots(&fixture, FsTerms::new(), FsTerms::new().max_file_bytes(99)).await;
    assert_fails(dir.rename("long", &outside, "long").await, ErrorKind::LimitExceeded, "too long there");
    assert_fails(dir.hard_link("long", &outside, "long").await, ErrorKind::LimitExceeded, "too long there");
    assert_fails(dir.rename("a", &outside, "a").await, ErrorKind::Unsupported, "nobody measures a directory");
    dir.rename("plain", &outside, "plain").await.unwrap();
    dir.rename("long", &dir, "renamed").await.unwrap();
}

#[tokio::test]
async fn a_rename_between_two_names_of_one_file_is_counted_as_none() {
    let fixture = Fixture::new(Rights::all());
    // `a` and `a/b` are there.
    let (dir, outside) = two_roots(&fixture, FsTerms::new().quota_files(4), FsTerms::new()).await;
    dir.replace("f", b"x", Flush::Later).await.unwrap();
    dir.hard_link("f", &outside, "f").await.unwrap();
    for _ in 0..3 {
        dir.rename("f", &outside, "f").await.unwrap();
        outside.rename("f", &dir, "f").await.unwrap();
    }
    assert_eq!(used(&fixture).1, 3, "the system leaves both names");
    dir.create_dir("d").await.unwrap();
    assert_full(dir.create_dir("e").await, "neither freed one");
    dir.rename("f", &outside, "g").await.unwrap();
    dir.create_dir("e").await.unwrap();
    assert_full(dir.create_dir("h").await, "what moved was one");
}

#[tokio::test]
async fn what_is_open_does_not_move_to_where_it_would_grow_uncounted() {
    let quota = || FsTerms::new().quota_bytes(20);
    for (here, there) in [(quota(), quota()), (FsTerms::new(), quota()), (quota(), FsTerms::new())] {
        let fixture = Fixture::new(Rights::all());
        let (dir, outside) = two_roots(&fixture, here, there).await;
        let named = dir.open("f", &CREATE).await.unwrap();
        let temporary = dir.temp_file().await.unwrap();
        let kept = airssys_osl::fs::File::clone(&temporary);
        temporary.persist("g").await.unwrap();
        for name in ["f", "g"] {
            assert_fails(dir.rename(name, &outside, name).await, ErrorKind::Unsupported, "renamed");
            assert_fails(dir.hard_link(name, &outside, name).await, ErrorKind::Unsupported, "linked");
        }
        drop((named, kept));
        dir.rename("f", &outside, "f").await.unwrap();
        // What it has is counted with it from now on.
        let moved = outside.open("f", &WRITE).await.unwrap();
        moved.set_len(9).await.unwrap();
        assert_fails(outside.rename("f", &dir, "f").await, ErrorKind::Unsupported, "and back");
    }
}

#[tokio::test]
async fn a_file_without_a_name_frees_no_more_than_it_counted() {
    let fixture = Fixture::new(Rights::all());
    // `a/b` has 6 bytes.
    let dir = held_to(&fixture, FsTerms::new().quota_bytes(100)).await;
    let file = dir.open("f", &CREATE).await.unwrap();
    file.append(b"x").await.unwrap();
    let elsewhere = fs::File::options().write(true).open(fixture.inside("f")).unwrap();
    dir.remove_file("f").await.unwrap();
    dir.replace("g", [1; 90], Flush::Later).await.unwrap();
    elsewhere.set_len(1000).unwrap();
    file.set_len(0).await.unwrap();
    assert_full(dir.replace("h", [1; 5], Flush::Later).await, "what it grew by was not counted");
    dir.replace("h", [1; 4], Flush::Later).await.unwrap();
}

#[test]
fn a_directory_that_was_closed_counts_all_the_same() {
    use std::os::unix::fs::{PermissionsExt as _, chown};
    let fixture = Fixture::new(Rights::all());
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    // Nothing is closed to root: its threads become somebody else then.
    let somebody = rustix::process::geteuid().is_root().then(|| rustix::process::Uid::from_raw(65534));
    if let Some(uid) = somebody {
        mode(&fixture.inside(".."), 0o711);
        chown(fixture.inside(""), Some(uid.as_raw()), None).unwrap();
        fs::create_dir(fixture.inside("lost")).unwrap();
        mode(&fixture.inside("lost"), 0o700);
        let reaches = std::thread::scope(|scope| {
            let look = || {
                rustix::thread::set_thread_uid(uid).unwrap();
                fs::metadata(fixture.inside("")).map(drop)
            };
            scope.spawn(look).join().unwrap()
        });
        if let Err(why) = reaches {
            eprintln!(
                "skipped: what is beneath {} is closed to who is not root: {why}",
                fixture.inside("").display()
            );
            return;
        }
    }
    let become_somebody = move || {
        if let Some(uid) = somebody {
            rustix::thread::set_thread_uid(uid).unwrap();
        }
    };
    let checks = async {
        let dir = held_to(&fixture, FsTerms::new().quota_bytes(100)).await;
        dir.create_dir("d").await.unwrap();
        dir.replace("d/f", [1; 60], Flush::Later).await.unwrap();
        drop(dir);
        for closed in [0, 0o400] {
            mode(&fixture.inside("d"), closed);
            let error = fixture.principal().dir(fixture.inside("")).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::ACCESS.raw_os_error()), "{error}");
            assert!(error.to_string().contains("closed to its owner"), "{error}");
        }
        mode(&fixture.inside("d"), 0o700);
        assert_full(fixture.dir().await.replace("g", [1; 50], Flush::Later).await, "it counts");
    };
    std::thread::scope(|scope| {
        let checked = scope.spawn(move || {
            become_somebody();
            let mut runtime = tokio::runtime::Builder::new_current_thread();
            let runtime = runtime.enable_all().on_thread_start(become_somebody).build().unwrap();
            runtime.block_on(checks);
        });
        checked.join().unwrap();
    });
}
