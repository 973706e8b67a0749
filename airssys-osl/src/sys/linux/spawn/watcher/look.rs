//! What a name is that a program asks for, as we see it: before the program has it made, changed or removed.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::{fd::AsRawFd as _, unix::fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{Access as Permission, AtFlags, CWD, FileType, Mode, OFlags, accessat, fstat, openat};

use crate::process::{Access, Was, Wish};

/// How many scripts may be each other's interpreters, as the kernel has it, and how long their first lines are.
const INTERPRETERS: usize = 4;
const LINE_BYTES: u64 = 256;

/// Who looks, on whose behalf.
pub(in super::super) struct Eyes {
    /// Whom the program runs as, where that is not who we are.
    ids: Option<(u32, u32)>,
    /// Where it was started, without links.
    start: PathBuf,
}

impl Eyes {
    pub(in super::super) fn new(ids: Option<(u32, u32)>, start: &Path) -> Self {
        Self { ids, start: fs::canonicalize(start).unwrap_or_else(|_| start.to_owned()) }
    }

    /// Where the program was started.
    pub(super) fn start(&self) -> &Path {
        &self.start
    }

    /// What a name is, of which this is asked for, and those that the kernel then opens by itself.
    pub(super) fn look(&self, path: PathBuf, access: Access, relative: bool) -> Vec<(PathBuf, Wish)> {
        let mut seen = Vec::new();
        let access = access & self.permitted(&path, access);
        if access.contains(Access::EXECUTE) {
            for script in self.interpreters(&path) {
                let wish = look(&script, Access::EXECUTE, false);
                seen.push((script, wish));
            }
        }
        if !access.is_empty() {
            let wish = look(&path, access, relative);
            seen.push((path, wish));
        }
        seen
    }

    /// What the machine's own permissions let the program's user do with a name: what they do not, no grant permits.
    fn permitted(&self, path: &Path, access: Access) -> Access {
        let mut permitted = Access::empty();
        let above = path.parent().unwrap_or(path);
        // To see something takes no more than the way to it.
        let reaches =
            above.ancestors().filter(|dir| dir.is_dir()).all(|dir| self.may(dir, Permission::EXEC_OK));
        if !reaches {
            return permitted;
        }
        let is_there = path.exists();
        let missing_or = |permission| !is_there || self.may(path, permission);
        let nearest = above.ancestors().find(|above| above.is_dir()).unwrap_or(above);
        let tests: [(Access, &dyn Fn() -> bool); 5] = [
            (Access::SEE, &|| true),
            (Access::READ, &|| missing_or(Permission::READ_OK)),
            (Access::WRITE, &|| missing_or(Permission::WRITE_OK)),
            (Access::EXECUTE, &|| missing_or(Permission::EXEC_OK)),
            (Access::MAKE | Access::REMOVE, &|| self.may(nearest, Permission::WRITE_OK)),
        ];
        for (of, test) in tests {
            if access.intersects(of) && test() {
                permitted |= of;
            }
        }
        permitted
    }

    fn may(&self, path: &Path, permission: Permission) -> bool {
        match self.ids {
            None => accessat(CWD, path, permission, AtFlags::EACCESS).is_ok(),
            Some(ids) => fs::metadata(path).is_ok_and(|file| of_mode(&file, ids, permission)),
        }
    }

    /// The interpreters of a script, which the kernel opens by itself.
    fn interpreters(&self, path: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut next = interpreter(path);
        while let Some(path) = next.filter(|_| found.len() < INTERPRETERS) {
            next = interpreter(&path);
            found.push(path);
        }
        found
    }
}

/// What a name is now.
fn look(path: &Path, access: Access, relative: bool) -> Wish {
    let was = match fs::metadata(path) {
        Ok(file) if file.is_dir() => Was::Directory,
        Ok(file) if file.is_file() => Was::File,
        Ok(_) => Was::Other,
        // A link to nothing is something that can be removed.
        Err(_) if fs::symlink_metadata(path).is_ok() => Was::Other,
        Err(_) => Was::Missing,
    };
    let real = fs::canonicalize(path).ok().filter(|real| real != path);
    let mut above = path.ancestors().skip(1);
    let beneath = above.find(|above| above.is_dir()).unwrap_or(Path::new("/")).to_owned();
    Wish { access, was, real, beneath, relative }
}

/// What the mode of a file permits somebody without capabilities and further groups.
fn of_mode(file: &Metadata, (user, group): (u32, u32), permission: Permission) -> bool {
    let mode = match () {
        () if file.uid() == user => file.mode() >> 6,
        () if file.gid() == group => file.mode() >> 3,
        () => file.mode(),
    };
    mode & permission.bits() == permission.bits()
}

fn interpreter(path: &Path) -> Option<PathBuf> {
    let mut line = Vec::new();
    regular(path)?.take(LINE_BYTES).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let name = line.split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    let path = PathBuf::from(std::str::from_utf8(name).ok()?);
    path.is_absolute().then_some(path)
}

/// Opens a regular file. What is none may have no end, or wait for somebody, and the program may put it there at any time: so
/// what is looked at is what is opened.
fn regular(path: &Path) -> Option<File> {
    let place = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let kind = FileType::from_raw_mode(fstat(&place).ok()?.st_mode);
    if kind != FileType::RegularFile {
        return None;
    }
    let place = format!("/proc/self/fd/{}", place.as_raw_fd());
    // Whoever has a lease of it keeps others waiting, too.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    openat(CWD, place, flags, Mode::empty()).ok().map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_of_regular_files() {
        let tmp = tempfile::tempdir().unwrap();
        let (script, link, pipe) =
            (tmp.path().join("script"), tmp.path().join("link"), tmp.path().join("pipe"));
        fs::write(&script, "#! /bin/sh -e\n").unwrap();
        std::os::unix::fs::symlink(&script, &link).unwrap();
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(interpreter(&link), Some("/bin/sh".into()));
        // Nobody ever writes to it: whoever opened it would wait for ever.
        assert!(interpreter(&pipe).is_none() && regular(Path::new("/dev/zero")).is_none());
    }
}
