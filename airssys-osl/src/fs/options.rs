use crate::policy::Rights;

/// How a file is opened. Without anything set, nothing can be opened: say at least `read` or `write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) truncate: bool,
    pub(crate) append: bool,
    pub(crate) follow: bool,
    pub(crate) directory: bool,
}

/// What [`Dir::replace`](super::Dir::replace) waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flush {
    /// The new content is in place for everyone who opens the file. It survives the death of the program, and after
    /// a power cut the file has its old content or the new one, or, on file systems that reorder, none.
    #[default]
    Later,
    /// The new content and its name are on the device.
    Now,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// Starts with nothing set but `follow`.
    pub const fn new() -> Self {
        Self {
            read: false,
            write: false,
            create: false,
            create_new: false,
            truncate: false,
            append: false,
            follow: true,
            directory: false,
        }
    }

    /// Opens for reading.
    pub const fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// Opens for writing, at any offset and at the end.
    pub const fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// Creates the file where it does not exist.
    pub const fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Creates the file, and fails with [`AlreadyExists`](crate::ErrorKind::AlreadyExists) where something has its
    /// name, even a dangling symbolic link.
    pub const fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// Cuts the file to length 0. Needs `write`.
    pub const fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Opens for writing at the end only: whatever is written goes there, wherever that is then.
    pub const fn append(mut self, append: bool) -> Self {
        self.append = append;
        self.write |= append;
        self
    }

    /// Follows a symbolic link in the last component, as long as it stays inside; on by default.
    pub const fn follow(mut self, follow: bool) -> Self {
        self.follow = follow;
        self
    }

    /// Opens a directory and nothing else, by [`Dir::open_any`](super::Dir::open_any): it needs no right, and has those
    /// of the directory that it is opened in. Means nothing together with `write`, `create` or `truncate`.
    pub const fn directory(mut self, directory: bool) -> Self {
        self.directory = directory;
        self
    }

    pub(super) fn needs(self) -> Rights {
        let mut needs = Rights::empty();
        needs.set(Rights::READ, self.read);
        needs.set(Rights::WRITE, self.write || self.truncate);
        needs.set(Rights::CREATE, self.create || self.create_new);
        needs
    }

    /// Whether opening by itself may change something.
    pub(crate) fn changes(self) -> bool {
        self.create || self.create_new || self.truncate
    }

    /// Whether the combination means anything: something to do with the file, and nothing that reading forbids.
    pub(crate) fn is_valid(self) -> bool {
        if self.directory {
            self.read && !self.write && !self.changes()
        } else if self.write {
            !(self.append && self.truncate)
        } else {
            self.read && !self.append && !self.changes()
        }
    }
}
