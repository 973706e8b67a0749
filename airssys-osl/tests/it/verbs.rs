//! What each operation does when it may.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use airssys_osl::{
    ErrorKind,
    clock::Timestamp,
    fs::{FileKind, Flush, Node, OpenOptions, SetTime},
    limits::INLINE_READ_BYTES,
    policy::Rights,
};

use crate::fixture::{Fixture, assert_fails, last, step_by_step};

const READ: OpenOptions = OpenOptions::new().read(true);
const WRITE: OpenOptions = OpenOptions::new().write(true);

#[tokio::test]
async fn files_are_written_and_read() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    let file = dir.open("new", &WRITE.read(true).create_new(true)).await.unwrap();
    file.write_at(b"hello".to_vec(), 0).await.unwrap();
    file.append(b" world").await.unwrap();
    file.write_at(*b"J", 0).await.unwrap();
    let mut buffer = [0; 64];
    assert_eq!(file.read_at(&mut buffer, 0).await.unwrap(), 11);
    assert_eq!(&buffer[..11], b"Jello world");
    assert_eq!(file.read_at(&mut buffer, 6).await.unwrap(), 5);
    assert_eq!(file.read_at(&mut buffer, 11).await.unwrap(), 0, "the end");
    assert_eq!(file.read_at(&mut [], 0).await.unwrap(), 0);
    file.set_len(4).await.unwrap();
    file.sync(true).await.unwrap();
    file.sync(false).await.unwrap();
    let metadata = file.metadata().await.unwrap();
    assert_eq!((metadata.kind, metadata.len, metadata.links), (FileKind::File, 4, 1));
    assert_eq!(fs::read(fixture.inside("new")).unwrap(), b"Jell");
    assert_fails(dir.open("new", &WRITE.create_new(true)).await, ErrorKind::AlreadyExists, "again");
    assert_fails(dir.open("absent", &READ).await, ErrorKind::NotFound, "absent");
}

#[tokio::test]
async fn whole_files_of_every_size() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    for len in [0, 1, 4096, 4097, INLINE_READ_BYTES, INLINE_READ_BYTES + 1, 3_000_000] {
        let content: Vec<u8> = (0..len).map(|index| (index * 31 % 251) as u8).collect();
        dir.replace("file", content.clone(), Flush::Later).await.unwrap();
        assert!(dir.read("file", len as u64).await.unwrap() == content, "{len} bytes");
        assert_eq!(last(&fixture.sink.take()).bytes, len as u64);
        let file = dir.open("file", &READ).await.unwrap();
        let mut buffer = vec![0; len + 10];
        let mut read = 0;
        loop {
            match file.read_at(&mut buffer[read..], read as u64).await.unwrap() {
                0 => break,
                more => read += more,
            }
        }
        assert!(read == len && buffer[..read] == content, "{len} bytes through a handle");
        if len > 0 {
            assert_fails(
                dir.read("file", len as u64 - 1).await,
                ErrorKind::LimitExceeded,
                "one byte too many",
            );
        }
    }
}

#[tokio::test]
async fn a_file_that_grows_while_it_is_read_is_read_whole_or_not_at_all() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    const LEN: usize = 3 * INLINE_READ_BYTES;
    for (limit, grown) in [(LEN + 100, LEN + 100), (LEN + 99, 0)] {
        let mut tries = 0;
        let read = loop {
            fs::write(fixture.inside("file"), vec![7; LEN]).unwrap();
            // Between the first piece and the second.
            let grow = async {
                let mut file = fs::OpenOptions::new().append(true).open(fixture.inside("file")).unwrap();
                file.write_all(&[7; 100]).unwrap();
            };
            let (read, ()) = tokio::join!(dir.read("file", limit as u64), grow);
            tries += 1;
            // Somebody who mounts something meanwhile makes the kernel unsure of paths: then another thread reads,
            // which may have had all before it grew. Once more.
            if tries == 100 || !read.as_ref().is_ok_and(|bytes| bytes.len() == LEN) {
                break read;
            }
        };
        match grown {
            0 => assert_fails(read, ErrorKind::LimitExceeded, "more than the limit"),
            len => assert!(read.unwrap() == vec![7; len]),
        }
    }
}

#[tokio::test]
async fn what_is_not_cached_is_read_all_the_same() {
    let fixture = Fixture::new(Rights::READ);
    let path = fixture.inside("cold");
    fs::write(&path, vec![7; 100_000]).unwrap();
    let cold = fs::File::open(&path).unwrap();
    cold.sync_all().unwrap();
    rustix::fs::fadvise(&cold, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    assert_eq!(fixture.dir().await.read("cold", 100_000).await.unwrap(), vec![7; 100_000]);
}

#[tokio::test]
async fn replacing_is_atomic_and_leaves_nothing_behind() {
    let fixture = Fixture::new(Rights::CREATE | Rights::WRITE);
    let path = fixture.inside("a/b");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let old = fs::File::open(&path).unwrap();
    let dir = fixture.dir().await;
    dir.replace("a/b", b"new", Flush::Now).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640, "the permissions stay");
    assert_eq!(std::io::read_to_string(old).unwrap(), "inside", "who had it open keeps the old content");
    dir.replace("a", b"x", Flush::Later).await.unwrap_err();
    dir.replace("absent/x", b"x", Flush::Later).await.unwrap_err();
    symlink("../outside/secret", fixture.inside("link")).unwrap();
    dir.replace("link", b"mine", Flush::Later).await.unwrap();
    assert!(
        fs::symlink_metadata(fixture.inside("link")).unwrap().is_file(),
        "the link is replaced, not followed"
    );
    let names =
        |path| fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(fixture.inside("a")), ["b"]);
    assert_eq!(names(fixture.inside("")).len(), 2, "no temporary file is left");
}

#[tokio::test]
async fn directories() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.create_dir("d/").await.unwrap();
    dir.create_dir("d/e").await.unwrap();
    assert_fails(dir.create_dir("d").await, ErrorKind::AlreadyExists, "again");
    symlink("a/b", fixture.inside("link")).unwrap();
    let list = async |limit| {
        let mut list = dir.list(limit).await.unwrap();
        list.sort_by(|one, other| one.name.cmp(&other.name));
        list.into_iter().map(|entry| (entry.name.into_string().unwrap(), entry.kind)).collect::<Vec<_>>()
    };
    let expected = [("a", FileKind::Directory), ("d", FileKind::Directory), ("link", FileKind::Symlink)];
    let expected: Vec<_> = expected.map(|(name, kind)| (name.to_owned(), kind)).into();
    assert_eq!(list(3).await, expected);
    assert_eq!(list(3).await, expected, "a second listing starts at the beginning");
    assert_fails(dir.list(2).await, ErrorKind::LimitExceeded, "one too many");

    let inner = dir.open_dir("d").await.unwrap();
    inner.replace("f", b"x", Flush::Later).await.unwrap();
    assert!(last(&fixture.sink.take()).resource.ends_with(b"/inside/d/f"), "the name goes on from the root");
    assert_eq!(inner.self_metadata().await.unwrap().kind, FileKind::Directory);
    assert!(inner.read("../a/b", 10).await.is_err(), "a directory is a root of its own");
    let not_empty = Some(rustix::io::Errno::NOTEMPTY.raw_os_error());
    assert_eq!(dir.remove_dir("d").await.unwrap_err().raw_os_error(), not_empty);
    dir.remove_dir("d/e/").await.unwrap();
    dir.remove_file("d/f").await.unwrap();
    dir.remove_dir("d").await.unwrap();
    dir.remove_file("link").await.unwrap();
    assert!(fixture.inside("a/b").exists(), "the link went, not what it pointed to");
}

#[tokio::test]
async fn many_names_are_listed() {
    let fixture = Fixture::new(Rights::LIST);
    for number in 0..3000 {
        fs::write(fixture.inside(&format!("a/a-rather-long-name-of-a-file-{number:05}")), "").unwrap();
    }
    let dir = fixture.dir().await.open_dir("a").await.unwrap();
    let mut names: Vec<_> = dir.list(5000).await.unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 3001);
}

#[tokio::test]
async fn nodes_are_what_is_there() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    assert!(matches!(dir.open_any("a", &READ).await.unwrap(), Node::Dir(_)));
    assert!(matches!(dir.open_any("a/b", &READ).await.unwrap(), Node::File(_)));
    assert_fails(dir.open_any("a", &WRITE).await, ErrorKind::Io, "a directory for writing");
}

#[tokio::test]
async fn links() {
    let fixture = Fixture::new(Rights::all());
    let dir = fixture.dir().await;
    dir.symlink("a/b", "soft").await.unwrap();
    assert_eq!(dir.read_link("soft").await.unwrap(), Path::new("a/b"));
    assert_fails(dir.read_link("a/b").await, ErrorKind::Invalid, "not a link");
    dir.hard_link("a/b", &dir, "hard").await.unwrap();
    let (soft, followed) =
        (dir.metadata("soft", false).await.unwrap(), dir.metadata("soft", true).await.unwrap());
    assert_eq!((soft.kind, soft.len), (FileKind::Symlink, 3));
    let hard = dir.metadata("hard", true).await.unwrap();
    assert_eq!((hard.inode, hard.device, hard.links), (followed.inode, followed.device, 2));
    fixture.sink.take();
    dir.rename("hard", &dir, "a/moved").await.unwrap();
    let resource = last(&fixture.sink.take()).resource.clone();
    let (new, old) = resource.split_at(resource.iter().position(|byte| *byte == 0).unwrap());
    assert!(new.ends_with(b"/inside/a/moved") && old.ends_with(b"/inside/hard"), "{resource:?}");
    let error = dir.rename("absent", &dir, "x").await.unwrap_err().to_string();
    assert!(error.contains("inside/absent` to `") && error.ends_with("inside/x`"), "{error}");
}

#[tokio::test]
async fn times() {
    let fixture = Fixture::new(Rights::all());
    symlink("a/b", fixture.inside("link")).unwrap();
    let dir = fixture.dir().await;
    let at = |seconds, nanoseconds| SetTime::To(Timestamp { seconds, nanoseconds });
    dir.set_times("link", true, at(-1, 5), at(1_000_000_000, 999_999_999)).await.unwrap();
    let metadata = dir.metadata("a/b", true).await.unwrap();
    assert_eq!(metadata.accessed, Timestamp { seconds: -1, nanoseconds: 5 });
    assert_eq!(metadata.modified, Timestamp { seconds: 1_000_000_000, nanoseconds: 999_999_999 });
    dir.set_times("link", false, SetTime::Keep, at(7, 0)).await.unwrap();
    assert_eq!(dir.metadata("link", false).await.unwrap().modified.seconds, 7, "the link itself");
    assert_eq!(dir.metadata("a/b", false).await.unwrap().modified.seconds, 1_000_000_000);
    let file = dir.open("a/b", &WRITE).await.unwrap();
    file.set_times(SetTime::Keep, SetTime::Now).await.unwrap();
    let metadata = file.metadata().await.unwrap();
    assert!(metadata.accessed.seconds == -1 && metadata.modified.seconds > 1_700_000_000, "{metadata:?}");
    assert_fails(
        file.set_times(at(0, 1_000_000_000), SetTime::Keep).await,
        ErrorKind::Invalid,
        "a second too many",
    );
    assert_fails(
        file.set_times(at(0, 0x3fff_ffff), SetTime::Keep).await,
        ErrorKind::Invalid,
        "the kernel's own code",
    );
}

#[tokio::test]
async fn the_name_of_a_handle_is_bounded() {
    let fixture = Fixture::new(Rights::all());
    let mut dir = fixture.dir().await;
    for _ in 0..10 {
        dir = dir.open_dir(".").await.unwrap();
    }
    let up = "a/../".repeat(800) + ".";
    for _ in 0..4 {
        dir = dir.open_dir(&up).await.unwrap();
    }
    assert_fails(dir.open_dir(&up).await.map(drop), ErrorKind::LimitExceeded, "five times 4,000 bytes");
}

#[test]
fn futures_and_handles_cross_threads() {
    fn is_send<T: Send>(_: T) {}
    // It is enough that this compiles.
    let _ = async || {
        let fixture = Fixture::new(Rights::all());
        let dir = fixture.dir().await;
        let file = dir.open("a/b", &READ).await.unwrap();
        is_send(dir.read("x", 1));
        is_send(dir.replace("x", vec![1], Flush::Later));
        is_send(dir.rename("x", &dir, "y"));
        is_send(dir.symlink("x", "y"));
        is_send(dir.list(1));
        is_send(dir.set_times("x", true, SetTime::Now, SetTime::Now));
        is_send(file.read_at(&mut [], 0));
        is_send(file.write_at(vec![1], 0));
    };
}

#[test]
fn all_of_it_step_by_step() {
    step_by_step(&[
        files_are_written_and_read,
        whole_files_of_every_size,
        what_is_not_cached_is_read_all_the_same,
        replacing_is_atomic_and_leaves_nothing_behind,
        directories,
        many_names_are_listed,
        nodes_are_what_is_there,
        links,
        times,
        the_name_of_a_handle_is_bounded,
    ]);
}
