//! What a name is that a program asks for, as we see it: before the program has it made, changed or removed.

use std::{
    fs::{self, File, Metadata},
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use rustix::fs::{Access as Permission, AtFlags, CWD, accessat};

use crate::process::{Access, Asked, Was, Wish};

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

    /// Takes note of what was asked for of a name.
    pub(super) fn note(&self, notes: &mut Asked, path: PathBuf, access: Access, relative: bool) {
        // Most names are asked for again and again, and looking takes time in which the program waits.
        let is_known = |known: &Wish| known.access.contains(access) && (known.relative || !relative);
        if notes.files.get(&path).is_some_and(is_known) {
            return;
        }
        let access = access & self.permitted(&path, access);
        if access.contains(Access::EXECUTE) {
            for script in self.interpreters(&path) {
                notes.add(script, Access::EXECUTE, false, |path| look(path, Access::EXECUTE, false));
            }
        }
        if !access.is_empty() {
            notes.add(path, access, relative, |path| look(path, access, relative));
        }
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
    // What is no regular file may have no end, or wait for somebody.
    let mut line = Vec::new();
    fs::metadata(path).ok().filter(Metadata::is_file)?;
    File::open(path).ok()?.take(LINE_BYTES).read_to_end(&mut line).ok()?;
    let line = line.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii();
    let name = line.split(|byte| matches!(byte, b' ' | b'\t')).next()?;
    let path = PathBuf::from(std::str::from_utf8(name).ok()?);
    path.is_absolute().then_some(path)
}
