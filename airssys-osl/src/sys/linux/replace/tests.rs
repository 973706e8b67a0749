use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;
use crate::{
    policy::FsTerms,
    sys::{Resolution, linux},
};

fn root(path: &Path) -> Directory {
    linux::open_root(path, &FsTerms::new(), Resolution::Kernel).unwrap().directory
}

/// Replaces `f` and tells what could be seen while it was written: its bits, and how many names there were.
fn replaced(dir: &Directory, path: &Path, len: u64) -> (u32, usize, Remains) {
    let mut seen = (0, 0);
    let fill = |file: &Handle| {
        seen = (rustix::fs::fstat(file).unwrap().st_mode & 0o777, fs::read_dir(path).unwrap().count());
        linux::write_at(file, b"new", 0)
    };
    let name = Beneath::parse(Path::new("f")).unwrap();
    let remains = replace(dir, name, len, Flush::Later, fill, |install| install(None).map(drop)).unwrap();
    (seen.0, seen.1, remains)
}

#[test]
fn what_replaces_a_private_file_is_private_from_the_start() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, path) = (root(tmp.path()), tmp.path());
    fs::write(path.join("f"), "old").unwrap();
    for mode in [0o600, 0o640, 0o777, 0o400] {
        fs::set_permissions(path.join("f"), fs::Permissions::from_mode(mode)).unwrap();
        for len in [3, BRIEF_BYTES + 1] {
            assert_eq!(replaced(&dir, path, len).0, mode, "{len}");
            assert_eq!(fs::metadata(path.join("f")).unwrap().permissions().mode() & 0o777, mode, "{len}");
        }
    }
    assert_eq!(fs::read_dir(path).unwrap().count(), 1);
}

#[test]
fn what_takes_long_has_no_name_until_it_is_there() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, path) = (root(tmp.path()), tmp.path());
    let (_, names, _) = replaced(&dir, path, 3);
    if names > 0 {
        eprintln!("skipped: this file system has no files without names");
        return;
    }
    assert_eq!(replaced(&dir, path, 3).1, 2, "a short one that replaces something has one");
    assert_eq!(replaced(&dir, path, BRIEF_BYTES + 1).1, 1);
}

#[test]
fn few_replaced_files_are_held() {
    let tmp = tempfile::tempdir().unwrap();
    let (dir, path) = (root(tmp.path()), tmp.path());
    fs::write(path.join("f"), "old").unwrap();
    let held: Vec<_> = (0..2 * REMAINS).map(|_| replaced(&dir, path, 3).2).collect();
    assert!(held.iter().filter(|remains| remains.0.is_some()).count() <= REMAINS);
    fs::write(path.join("f"), vec![0; BRIEF_BYTES as usize + 1]).unwrap();
    drop(held);
    assert!(replaced(&dir, path, 3).2.0.is_none(), "a long one goes at once");
}
