use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    DirEntry, File, Metadata, OpenOptions,
    access::Access,
    verb::{self, Verb},
};
use crate::{
    Action, Error, ErrorKind, Principal,
    limits::HANDLE_NAME_BYTES,
    os::{Done, Fault, Name, pool},
    path::{Beneath, Malformed},
    policy::{Resource, Rights, rule},
    sys::{self, Expect, Wait},
};

/// An open directory beneath a granted root, or that root.
///
/// Clones are the same handle. See [the module](crate::fs) for what each operation needs and records.
#[derive(Clone)]
pub struct Dir {
    pub(super) handle: Arc<sys::Handle>,
    pub(super) access: Access,
    /// The full path, for records.
    pub(super) name: Arc<[u8]>,
    /// Whether operations are tried on the caller's thread first: not where the file system may ask a server.
    inline: bool,
}

/// What [`Dir::open_any`] opened.
#[derive(Clone, Debug)]
pub enum Node {
    /// A regular file.
    File(File),
    /// A directory.
    Dir(Dir),
}

/// A directory, as sockets see it.
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux has sockets beneath directories"))]
pub(crate) struct Anchor<'a> {
    pub(crate) handle: &'a Arc<sys::Handle>,
    pub(crate) principal: &'a Principal,
    /// The directory of the grant.
    pub(crate) root: &'a Path,
    /// The full path of the directory itself.
    pub(crate) name: &'a [u8],
}

impl Principal {
    /// Opens a directory that the policy grants, under the path that the grant names.
    ///
    /// Symbolic links in that path are followed: whoever writes the policy chooses it. Leaves one record.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): no grant names `root`, or it is on a file system that the kernel makes up
    ///   (procfs, sysfs, devtmpfs and their like).
    /// * [`NotFound`](ErrorKind::NotFound), [`Io`](ErrorKind::Io): the operating system refused, for instance
    ///   because it is not a directory.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing; the record then says `cancelled`.
    pub async fn dir(&self, root: impl AsRef<Path>) -> Result<Dir, Error> {
        let root = root.as_ref();
        let standing = self.standing();
        let decision = standing.decide(Action::FsOpenRoot, Resource::Root(root));
        let operation = self.operation(Action::FsOpenRoot, root.as_os_str().as_encoded_bytes());
        let execute = async {
            let path = root.to_owned();
            pool(move || sys::open_root(&path)).await.map(Done::new)
        };
        let opened = operation.run(decision, standing.epoch, execute).await?;
        let grant = standing.grants.ok().and_then(|grants| grants.fs(root).map(Arc::clone));
        let grant =
            grant.ok_or_else(|| Error::new(ErrorKind::Bug, "find the grant that permitted the directory"))?;
        Ok(Dir {
            handle: Arc::new(opened.handle),
            name: grant.root.as_os_str().as_encoded_bytes().into(),
            access: Access::new(self.clone(), standing.epoch, grant),
            inline: opened.local,
        })
    }
}

impl Dir {
    /// What the handle may do at most. A later policy can take from it, and never add.
    pub fn rights(&self) -> Rights {
        self.access.rights()
    }

    /// Makes a handle to the same directory that may do no more than `rights`.
    #[must_use]
    pub fn narrow(&self, rights: Rights) -> Self {
        Self { access: self.access.narrowed(rights), ..self.clone() }
    }

    /// Opens a regular file.
    ///
    /// The rights that are needed follow from `options`. The file can then do what it was opened for, and no more.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): policy said no, the path leaves this directory, or what it names is a device,
    ///   a FIFO or a socket.
    /// * [`NotFound`](ErrorKind::NotFound), [`AlreadyExists`](ErrorKind::AlreadyExists).
    /// * [`Invalid`](ErrorKind::Invalid): a malformed path, or options that mean nothing.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): the full name passes [`HANDLE_NAME_BYTES`].
    /// * [`Io`](ErrorKind::Io): the operating system refused, for instance because it is a directory.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the file. With `create` or `truncate` that may be done all the same; the record
    /// then says `cancelled`.
    pub async fn open(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<File, Error> {
        let verb = Verb::open(*options);
        match self.open_node(path.as_ref(), verb, *options, Expect::File).await? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(Error::new(ErrorKind::Bug, "open a directory as a file")),
        }
    }

    /// Opens a regular file or a directory, whatever is there.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). A directory cannot be opened for writing.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn open_any(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<Node, Error> {
        self.open_node(path.as_ref(), Verb::open(*options), *options, Expect::Any).await
    }

    /// Opens a directory. It has the rights of this one.
    ///
    /// A symbolic link in the last component is followed, as long as it stays inside.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing; the record then says `cancelled`.
    pub async fn open_dir(&self, path: impl AsRef<Path>) -> Result<Self, Error> {
        let options = OpenOptions::new().read(true);
        match self.open_node(path.as_ref(), verb::OPEN_DIR, options, Expect::Directory).await? {
            Node::Dir(dir) => Ok(dir),
            Node::File(_) => Err(Error::new(ErrorKind::Bug, "open a file as a directory")),
        }
    }

    /// Reads a whole file of at most `limit_bytes` bytes.
    ///
    /// A longer file is an error: nothing is cut. Leaves one record, with the bytes read.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`LimitExceeded`](ErrorKind::LimitExceeded): more than `limit_bytes` bytes.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the file; the record then says `cancelled`.
    pub async fn read(&self, path: impl AsRef<Path>, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        let path = path.as_ref();
        let execute = self.on(path, move |dir, path, wait| sys::read_whole(dir, path, limit_bytes, wait));
        let execute = async {
            let bytes = execute.await?;
            let len = bytes.len();
            Ok(Done::with_bytes(bytes, len))
        };
        self.access.run(verb::READ, self.named(path), execute).await
    }

    /// Lists the directory, in the order in which the file system has the names, without `.` and `..`.
    ///
    /// # Errors
    ///
    /// * [`Denied`](ErrorKind::Denied): policy said no.
    /// * [`LimitExceeded`](ErrorKind::LimitExceeded): more than `limit` names. Nothing is cut.
    /// * [`Io`](ErrorKind::Io): the operating system refused.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn list(&self, limit: usize) -> Result<Vec<DirEntry>, Error> {
        let execute = async {
            let handle = Arc::clone(&self.handle);
            pool(move || sys::list(&handle, limit)).await.map(Done::new)
        };
        self.access.run(verb::LIST, self.named(Path::new("")), execute).await
    }

    /// Reads the metadata of what `path` names: of the link itself where it is one and `follow` is false.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open); devices, FIFOs and sockets can be asked too.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn metadata(&self, path: impl AsRef<Path>, follow: bool) -> Result<Metadata, Error> {
        let path = path.as_ref();
        let execute = self.on(path, move |dir, path, wait| sys::metadata(dir, path, follow, wait));
        self.access.run(verb::METADATA, self.named(path), async { execute.await.map(Done::new) }).await
    }

    /// Reads the metadata of this directory.
    ///
    /// # Errors
    ///
    /// [`Denied`](ErrorKind::Denied): the handle does not hold any more.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn self_metadata(&self) -> Result<Metadata, Error> {
        let execute = own_metadata(&self.handle, self.inline);
        self.access.run(verb::OWN_METADATA, self.named(Path::new("")), execute).await
    }

    /// Reads where a symbolic link points. The text may lead anywhere; following it is decided when it is followed.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), and [`Invalid`](ErrorKind::Invalid) where it is not a symbolic link.
    ///
    /// # Cancel safety
    ///
    /// Nothing is left behind; the record then says `cancelled`.
    pub async fn read_link(&self, path: impl AsRef<Path>) -> Result<PathBuf, Error> {
        let path = path.as_ref();
        let execute = async { self.on_pool(path, sys::read_link).await.map(Done::new) };
        self.access.run(verb::READ_LINK, self.named(path), execute).await
    }

    /// What a socket beneath this directory is made and decided with.
    pub(crate) fn anchor(&self) -> Anchor<'_> {
        let (principal, root) = (self.access.principal(), self.access.root());
        Anchor { handle: &self.handle, principal, root, name: &self.name }
    }

    async fn open_node(
        &self,
        path: &Path,
        verb: Verb,
        options: OpenOptions,
        expect: Expect,
    ) -> Result<Node, Error> {
        let execute = async {
            if !options.is_valid() {
                return Err(Fault::errno(sys::errno::INVALID));
            }
            let name = self.name_of(path)?;
            let opened =
                self.on(path, move |dir, path, wait| sys::open(dir, path, options, expect, wait)).await?;
            Ok(Done::new((opened, name)))
        };
        let (opened, name) = self.access.run(verb, self.named(path), execute).await?;
        let handle = Arc::new(opened.handle);
        Ok(if opened.is_directory {
            Node::Dir(Self { handle, access: self.access.clone(), name, inline: self.inline })
        } else {
            let mut rights = Rights::empty();
            rights.set(Rights::READ, options.read);
            rights.set(Rights::WRITE, options.write);
            Node::File(File::new(handle, self.access.narrowed(rights), name, self.inline))
        })
    }

    pub(super) fn named<'a>(&'a self, path: &'a Path) -> Name<'a> {
        Name::beneath(&self.name, path.as_os_str().as_encoded_bytes())
    }

    /// The full name of what is opened by `path`.
    fn name_of(&self, path: &Path) -> Result<Arc<[u8]>, Fault> {
        if path.as_os_str() == "." {
            return Ok(Arc::clone(&self.name));
        }
        let mut name = Vec::with_capacity(self.name.len() + path.as_os_str().len() + 1);
        self.named(path).write(&mut name);
        if name.len() > HANDLE_NAME_BYTES { Err(Fault::TooLarge) } else { Ok(name.into()) }
    }

    /// Does `work` with a path beneath this directory: on the caller's thread where it need not wait, else on the
    /// blocking pool.
    async fn on<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl Fn(&sys::Handle, Beneath<'_>, Wait) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        if self.inline {
            match work(&self.handle, parse(path)?, Wait::Never) {
                Err(Fault::WouldBlock) => {}
                done => return done,
            }
        }
        self.on_pool(path, move |dir, path| work(dir, path, Wait::Allowed)).await
    }

    /// Does `work` with a path beneath this directory on the blocking pool.
    pub(super) async fn on_pool<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&sys::Handle, Beneath<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        parse(path)?;
        let (handle, path) = (Arc::clone(&self.handle), path.to_owned());
        pool(move || work(&handle, parse(&path)?)).await
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("Dir").field("name", &name).field("rights", &self.rights()).finish_non_exhaustive()
    }
}

/// Reads the metadata of an open object.
pub(super) async fn own_metadata(handle: &Arc<sys::Handle>, inline: bool) -> Result<Done<Metadata>, Fault> {
    if inline {
        return sys::own_metadata(handle).map(Done::new);
    }
    let handle = Arc::clone(handle);
    pool(move || sys::own_metadata(&handle)).await.map(Done::new)
}

/// Checks the form of a path; what is wrong with it becomes what the kernel would say.
pub(crate) fn parse(path: &Path) -> Result<Beneath<'_>, Fault> {
    Beneath::parse(path).map_err(|malformed| match malformed {
        Malformed::Absolute => Fault::Forbidden(rule::BENEATH_ROOT),
        Malformed::Empty => Fault::errno(sys::errno::NOT_FOUND),
        Malformed::Nul => Fault::errno(sys::errno::INVALID),
        Malformed::TooLong => Fault::errno(sys::errno::NAME_TOO_LONG),
    })
}
