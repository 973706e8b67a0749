use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    DirEntry, File, Metadata, OpenOptions, Room,
    access::Access,
    ground::Ground,
    place::{Opened, Place},
    verb::{self, Verb},
};
use crate::{
    Action, Error, ErrorKind, Principal,
    limits::{CACHED_READ_BYTES, HANDLE_NAME_BYTES, INLINE_READ_BYTES, MEASURED_NAMES, RESOLVE_TRIES},
    os::{Done, Fault, Name, Slot, pool},
    path::{Beneath, Malformed},
    policy::{FsGrant, Resource, Rights, rule},
    sys::{self, Expect, Filesystem, Wait, Whole},
};

/// An open directory beneath a granted root, or that root.
///
/// Clones are the same handle. See [the module](crate::fs) for what each operation needs and records.
#[derive(Clone)]
pub struct Dir {
    pub(super) place: Arc<Place>,
    pub(super) access: Access,
    /// The full path, for records.
    pub(super) name: Arc<[u8]>,
    filesystem: Filesystem,
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
    pub(crate) principal: &'a Principal,
    /// The grant that the handle was opened by.
    pub(crate) grant: &'a Arc<FsGrant>,
    /// The full path of the directory itself.
    pub(crate) name: &'a [u8],
    /// How long one operation may take.
    pub(crate) deadline: Option<Duration>,
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
        let grant = standing.grants.as_ref().ok().and_then(|grants| grants.fs(root));
        let execute = async {
            let grant = grant.ok_or(Fault::Bug)?;
            let (principal, terms) = (self.clone(), Arc::clone(&grant));
            let opened = pool(move || open_root(&principal, &terms)).await?;
            Ok(Done::new((opened, grant)))
        };
        let ((place, filesystem), grant) = operation.run(decision, standing.epoch, execute).await?;
        Ok(Dir {
            place: Arc::new(place),
            name: grant.root.as_os_str().as_encoded_bytes().into(),
            access: Access::new(self.clone(), standing.epoch, grant),
            filesystem,
        })
    }
}

/// Opens a granted directory, and begins to count in it where that is asked for.
fn open_root(principal: &Principal, grant: &FsGrant) -> Result<(Place, Filesystem), Fault> {
    // What looks after carve-outs holds the root once more.
    let count = if grant.terms.denied.is_empty() { 1 } else { 2 };
    let slot = Slot::take(principal, count, principal.descriptors())?;
    let os = principal.os();
    let opened = sys::open_root(&grant.root, &grant.terms, os.resolution())?;
    let counted = grant.terms.has_quota();
    let room = os.rooms().get(principal.name(), &grant.root, counted, || {
        if !counted {
            return Ok(Room::default());
        }
        let (bytes, files) = sys::measure(&opened.directory, MEASURED_NAMES)?;
        Ok(Room::counted(bytes, files))
    })?;
    Ok((Place::new(opened.directory, room, slot), opened.filesystem))
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

    /// Makes a handle to the same directory whose operations, and those of the files and directories that it opens,
    /// fail as [`TimedOut`](ErrorKind::TimedOut) after `deadline`. Needs a runtime with time. Of sockets it is the
    /// opening; how long an open one may wait, [`Limits`](crate::net::Limits) say.
    ///
    /// What is being changed at that moment may be changed all the same.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self { access: self.access.with_deadline(deadline), ..self.clone() }
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

    /// Opens a regular file or a directory, whatever is there; a directory only, where `options` say so.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). A directory cannot be opened for writing.
    ///
    /// # Cancel safety
    ///
    /// As [`open`](Self::open).
    pub async fn open_any(&self, path: impl AsRef<Path>, options: &OpenOptions) -> Result<Node, Error> {
        match options.directory {
            true => self.open_node(path.as_ref(), verb::OPEN_DIR, *options, Expect::Directory).await,
            false => self.open_node(path.as_ref(), Verb::open(*options), *options, Expect::Any).await,
        }
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
        match self.open_any(path, &OpenOptions::new().read(true).directory(true)).await? {
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
        let mut opened = None;
        let now = || {
            if !self.filesystem.inline {
                return Err(Fault::WouldBlock);
            }
            match sys::open_whole(&self.place.directory, parse(path)?, limit_bytes, Wait::Never)? {
                Whole::Read(bytes) => {
                    let len = bytes.len();
                    Ok(Done::with_bytes(bytes, len))
                }
                whole => {
                    opened = Some(whole);
                    Err(Fault::WouldBlock)
                }
            }
        };
        match self.access.run_now(verb::READ, self.named(path), now) {
            Some(result) => result,
            // What is needed to wait is large: whoever does not wait should not carry it about.
            None => Box::pin(self.read_later(path, limit_bytes, opened)).await,
        }
    }

    async fn read_later(
        &self,
        path: &Path,
        limit_bytes: u64,
        opened: Option<Whole>,
    ) -> Result<Vec<u8>, Error> {
        let execute = async {
            let whole = match opened {
                Some(whole) => whole,
                None => {
                    self.on_pool(path, move |ground, path| {
                        sys::open_whole(ground.directory(), path, limit_bytes, Wait::Allowed)
                    })
                    .await?
                }
            };
            let bytes = match whole {
                Whole::Read(bytes) => bytes,
                Whole::Opened(file, len) => {
                    // The memory is this thread's, which frees it too: allocators like that better.
                    let mut bytes = sys::buffer(len)?;
                    if self.filesystem.inline
                        && len <= CACHED_READ_BYTES
                        && read_cached(&file, &mut bytes, len).await?
                    {
                        bytes
                    } else {
                        pool(move || sys::read_whole(&file, bytes, limit_bytes)).await?
                    }
                }
            };
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
            let place = Arc::clone(&self.place);
            pool(move || sys::list(&place.directory, limit)).await.map(Done::new)
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
        let execute = async {
            if self.filesystem.inline {
                return sys::own_metadata(&self.place.directory).map(Done::new);
            }
            let place = Arc::clone(&self.place);
            pool(move || sys::own_metadata(&place.directory)).await.map(Done::new)
        };
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
        let execute = async {
            self.on_pool(path, |ground, path| sys::read_link(ground.directory(), path)).await.map(Done::new)
        };
        self.access.run(verb::READ_LINK, self.named(path), execute).await
    }

    /// What a socket beneath this directory is decided with.
    pub(crate) fn anchor(&self) -> Anchor<'_> {
        let (principal, grant) = (self.access.principal(), self.access.granted());
        Anchor { principal, grant, name: &self.name, deadline: self.access.deadline() }
    }

    /// Does `work` with the path of a socket that is there.
    #[cfg(target_os = "linux")]
    pub(crate) async fn find_socket<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&sys::Directory, Beneath<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.on_pool(path, |ground, path| work(ground.directory(), path)).await
    }

    /// Does `work`, which makes a socket of the name `path`: it counts as any name does.
    #[cfg(target_os = "linux")]
    pub(crate) async fn make_socket<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&sys::Directory, Beneath<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        self.on_pool(path, |ground, path| {
            let mut made = None;
            ground.add_name(|| work(ground.directory(), path).map(|socket| made = Some(socket)))?;
            made.ok_or(Fault::Bug)
        })
        .await
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
            let room = &self.place.room;
            for _ in 0..RESOLVE_TRIES {
                let slot = self.access.slot()?;
                let departed = if room.tracks(options.write) { room.departed() } else { 0 };
                let opened = match room.is_counted() && options.changes() {
                    false => {
                        self.on(path, move |dir, path, wait| sys::open(dir, path, options, expect, wait))
                            .await?
                    }
                    true => {
                        self.on_pool(path, move |ground, path| ground.open(path, options, expect)).await?
                    }
                };
                let handle = match opened {
                    sys::Opened::Directory(directory) => {
                        let place = Place::new(directory, Arc::clone(room), slot);
                        return Ok(Done::new(Node::Dir(Self {
                            place: Arc::new(place),
                            name,
                            ..self.clone()
                        })));
                    }
                    sys::Opened::File(handle) => handle,
                };
                match Opened::new(handle, room, slot, options.write, Some(departed)) {
                    // What was made cannot be made again.
                    Err(fault) if fault.is(io::ErrorKind::ResourceBusy) && !options.create_new => {}
                    opened => return Ok(Done::new(Node::File(self.file(opened?, options, name)))),
                }
            }
            Err(Fault::errno(sys::errno::BUSY))
        };
        self.access.run(verb, self.named(path), execute).await
    }

    /// A file that was opened beneath this directory.
    pub(super) fn file(&self, opened: Opened, options: OpenOptions, name: Arc<[u8]>) -> File {
        let mut rights = Rights::empty();
        rights.set(Rights::READ, options.read);
        rights.set(Rights::WRITE, options.write);
        File::new(Arc::new(opened), self.access.narrowed(rights), name, self.filesystem, options.append)
    }

    pub(super) fn named<'a>(&'a self, path: &'a Path) -> Name<'a> {
        Name::beneath(&self.name, path.as_os_str().as_encoded_bytes())
    }

    /// The full name of what is opened by `path`.
    pub(super) fn name_of(&self, path: &Path) -> Result<Arc<[u8]>, Fault> {
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
        work: impl Fn(&sys::Directory, Beneath<'_>, Wait) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        if self.filesystem.inline {
            match work(&self.place.directory, parse(path)?, Wait::Never) {
                Err(Fault::WouldBlock) => {}
                done => return done,
            }
        }
        self.on_pool(path, move |ground, path| work(ground.directory(), path, Wait::Allowed)).await
    }

    /// Does `work` with a path beneath this directory on the blocking pool.
    pub(super) async fn on_pool<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl FnOnce(&Ground, Beneath<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        parse(path)?;
        let (ground, path) = (self.ground(), path.to_owned());
        pool(move || work(&ground, parse(&path)?)).await
    }

    pub(super) fn ground(&self) -> Ground {
        Ground::new(&self.place, &self.access)
    }
}

/// Reads a file of `len` bytes as far as it is cached; whether that was all of it. What others do meanwhile has its turn.
async fn read_cached(file: &sys::Handle, bytes: &mut Vec<u8>, len: usize) -> Result<bool, Fault> {
    loop {
        // One byte more than there should be, to see that this was the end.
        let left = len.saturating_add(1).saturating_sub(bytes.len());
        match sys::append_cached(file, bytes, left.min(INLINE_READ_BYTES), bytes.len() as u64) {
            Ok(0) if left > 0 => return Ok(true),
            Ok(0) => {
                // It has grown: whoever reads on looks after the limit.
                bytes.clear();
                return Ok(false);
            }
            Ok(_) => tokio::task::yield_now().await,
            Err(Fault::WouldBlock) => return Ok(false),
            Err(fault) => return Err(fault),
        }
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.name);
        f.debug_struct("Dir").field("name", &name).field("rights", &self.rights()).finish_non_exhaustive()
    }
}

/// Checks the form of a path; what is wrong with it becomes what the kernel would say.
pub(super) fn parse(path: &Path) -> Result<Beneath<'_>, Fault> {
    Beneath::parse(path).map_err(|malformed| match malformed {
        Malformed::Absolute => Fault::Forbidden(rule::BENEATH_ROOT),
        Malformed::Empty => Fault::errno(sys::errno::NOT_FOUND),
        Malformed::Nul => Fault::errno(sys::errno::INVALID),
        Malformed::TooLong => Fault::errno(sys::errno::NAME_TOO_LONG),
    })
}
