//! The portable half, run on Linux: `cap-std` confines there too.

use std::{fs, path::Path};

use super::super::*;
use crate::{
    fs::{Flush, OpenOptions},
    path::Beneath,
    policy::{FsTerms, HardLinks},
    sys::{Expect, Opened, Resolution, Stop, Wait},
};

fn beneath(path: &str) -> Beneath<'_> {
    Beneath::parse(Path::new(path)).unwrap()
}

fn root(path: &Path, terms: FsTerms) -> Result<Directory, Fault> {
    open_root(path, &terms, Resolution::Kernel).map(|root| root.directory)
}

fn read(dir: &Directory, path: &str) -> Result<Vec<u8>, Fault> {
    let options = OpenOptions::new().read(true);
    match open(dir, beneath(path), options, Expect::File, Wait::Allowed)? {
        Opened::File(file) => read_open(&file, 1000),
        Opened::Directory(_) => panic!("{path} is no file"),
    }
}

#[test]
fn files_are_confined() {
    let tmp = tempfile::tempdir().unwrap();
    let inside = tmp.path().join("inside");
    fs::create_dir_all(inside.join("a")).unwrap();
    fs::write(tmp.path().join("secret"), "outside").unwrap();
    fs::write(inside.join("a/b"), "inside").unwrap();
    std::os::unix::fs::symlink(tmp.path(), inside.join("out")).unwrap();
    std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
    fs::hard_link(tmp.path().join("secret"), inside.join("shared")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, inside.join("fifo"), 0o600.into()).unwrap();
    let dir = root(&inside, FsTerms::new()).unwrap();
    assert_eq!(read(&dir, "a/../a/b").unwrap(), b"inside");
    for path in ["../secret", "out/secret", "link", "a/../../secret"] {
        let fault = read(&dir, path).unwrap_err();
        assert!(matches!(fault, Fault::Forbidden("beneath-root")), "{path}: {fault:?}");
    }
    assert!(matches!(read(&dir, "fifo"), Err(Fault::Forbidden("plain-files-only"))));
    assert_eq!(read(&dir, "shared").unwrap(), b"outside");
    assert!(matches!(open::open_to_change(&dir, beneath("shared")), Err(Fault::Forbidden("hard-linked"))));
    assert!(matches!(
        open(&dir, beneath("a"), OpenOptions::new().read(true), Expect::Directory, Wait::Allowed),
        Ok(Opened::Directory(_))
    ));
}

#[test]
fn files_are_changed() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = root(tmp.path(), FsTerms::new()).unwrap();
    create_dir(&dir, beneath("d")).unwrap();
    let write = |file: &Handle| write_at(file, b"content", 0);
    replace(&dir, beneath("d/f"), 7, Flush::Now, write, |install| install(None).map(drop)).unwrap();
    assert_eq!(read(&dir, "d/f").unwrap(), b"content");
    let failed = replace(
        &dir,
        beneath("d/f"),
        7,
        Flush::Later,
        |_| Err(Fault::TooLarge),
        |install| install(None).map(drop),
    );
    assert!(matches!(failed, Err(Fault::TooLarge)));
    rename(&dir, beneath("d/f"), &dir, beneath("g"), false, None).unwrap();
    hard_link(&dir, beneath("g"), &dir, beneath("d/h"), None).unwrap();
    let file = fs::File::options().append(true).open(tmp.path().join("g")).unwrap();
    append(&file, b"+").unwrap();
    assert_eq!(read(&dir, "d/h").unwrap(), b"content+");
    assert_eq!(own_metadata(&file).unwrap().links, 2);
    assert_eq!(list(&dir, 10).unwrap().len(), 2);
    assert!(matches!(list(&dir, 1), Err(Fault::TooLarge)));
    let mut walk = Walk::start(&dir, 10).unwrap();
    let mut names = Vec::new();
    loop {
        let batch = walk.next_batch().unwrap();
        if batch.is_empty() {
            break;
        }
        names.extend(batch.into_iter().map(|entry| entry.path.to_str().unwrap().to_owned()));
    }
    names.sort();
    assert_eq!(names, ["d", "d/h", "g"]);
    remove_tree(&dir, beneath("d"), &Stop::default(), None).unwrap();
    remove_file(&dir, beneath("g"), false).unwrap();
    assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
}

#[test]
fn what_cannot_be_held_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    for terms in [FsTerms::new().deny("x"), FsTerms::new().quota_bytes(1), FsTerms::new().quota_files(1)] {
        assert!(matches!(root(tmp.path(), terms), Err(Fault::Unsupported)));
    }
    assert!(root(tmp.path(), FsTerms::new().hard_links(HardLinks::Refused)).is_ok());
}

#[test]
fn random_bytes_are_drawn() {
    let [mut one, mut other] = [[0; 32]; 2];
    random(&mut one).unwrap();
    random(&mut other).unwrap();
    assert_ne!(one, other);
}
