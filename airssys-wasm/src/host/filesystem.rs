//! `wasi:filesystem`: each method is one operation on a handle of the door.
//!
//! A descriptor *is* an osl handle: what it may do was decided when the manifest was compiled, is checked at each
//! call, and every call leaves its record.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

use std::{
    ffi::OsString,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use airssys_osl::{
    ErrorKind,
    clock::Timestamp,
    fs::{Dir, DirEntry, File, FileKind, Metadata, Node, OpenOptions, SetTime},
    policy::Rights,
};
use bytes::Bytes;
use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    Host,
    bindings::wasi::{
        clocks::wall_clock::Datetime,
        filesystem::{
            preopens,
            types::{
                self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
                Filesize, MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
            },
        },
    },
    errno::error_code,
    stream::{CHUNK_BYTES, Drain, Reading, Source, Writing},
};

/// The most entries of one directory that a guest may list.
const LIST_ENTRIES: usize = 100_000;

/// The most files and directories that an instance may hold open. They are descriptors of the whole program, which
/// needs some itself: for its log, before all.
const OPEN_FILES: usize = 128;

/// What a guest's descriptor stands for.
pub enum Descriptor {
    File(Arc<Open<File>>, DescriptorFlags),
    Dir(Open<Dir>, DescriptorFlags),
}

/// A file or directory that counts as open for as long as a descriptor or a stream holds it.
pub struct Open<T> {
    object: T,
    /// None of a preopen: the program has it open anyway.
    _slot: Option<Slot>,
}

/// One of the files that an instance may hold open.
pub struct Slot(Arc<AtomicUsize>);

impl<T> std::ops::Deref for Open<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A directory listing that a guest walks through.
pub struct Entries(std::vec::IntoIter<DirEntry>);

/// An error code for the guest, or a trap.
pub(crate) enum FsError {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

type FsResult<T> = std::result::Result<T, FsError>;

impl Host {
    /// Claims one of the files that this instance may hold open.
    fn slot(&self) -> FsResult<Slot> {
        let slot = Slot(self.open_files.clone());
        if slot.0.fetch_add(1, Ordering::Relaxed) >= OPEN_FILES {
            return Err(ErrorCode::Quota.into());
        }
        Ok(slot)
    }

    fn file(&self, descriptor: &Resource<Descriptor>) -> FsResult<&Arc<Open<File>>> {
        match self.table.get(descriptor)? {
            Descriptor::File(file, _) => Ok(file),
            Descriptor::Dir(..) => Err(ErrorCode::IsDirectory.into()),
        }
    }

    fn dir(&self, descriptor: &Resource<Descriptor>) -> FsResult<&Dir> {
        match self.table.get(descriptor)? {
            Descriptor::Dir(dir, _) => Ok(dir),
            Descriptor::File(..) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    async fn metadata(&mut self, descriptor: &Resource<Descriptor>) -> FsResult<Metadata> {
        Ok(match self.table.get(descriptor)? {
            Descriptor::File(file, _) => file.metadata().await?,
            Descriptor::Dir(dir, _) => dir.self_metadata().await?,
        })
    }
}

impl preopens::Host for Host {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        let mut directories = Vec::with_capacity(self.preopens.len());
        for (dir, name) in &self.preopens {
            let mut flags = DescriptorFlags::READ;
            if dir.rights().intersects(Rights::WRITE | Rights::CREATE | Rights::DELETE) {
                flags |= DescriptorFlags::MUTATE_DIRECTORY;
            }
            let preopen = Open { object: dir.clone(), _slot: None };
            directories.push((self.table.push(Descriptor::Dir(preopen, flags))?, name.clone()));
        }
        Ok(directories)
    }
}

impl types::Host for Host {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        match error {
            FsError::Code(code) => Ok(code),
            FsError::Trap(error) => Err(error),
        }
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<ErrorCode>> {
        Ok(self.table.get(&error)?.downcast_ref::<airssys_osl::Error>().map(error_code))
    }
}

impl types::HostDescriptor for Host {
    fn read_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let source = FileSource { file: self.file(&descriptor)?.clone(), offset };
        let stream: DynInputStream = Box::new(Reading::new(source));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        let drain = FileDrain { file: self.file(&descriptor)?.clone(), offset: Some(offset) };
        let stream: DynOutputStream = Box::new(Writing::new(drain));
        Ok(self.table.push(stream)?)
    }

    fn append_via_stream(&mut self, descriptor: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        let drain = FileDrain { file: self.file(&descriptor)?.clone(), offset: None };
        let stream: DynOutputStream = Box::new(Writing::new(drain));
        Ok(self.table.push(stream)?)
    }

    /// Advice is taken and not acted on, as WASI permits.
    fn advise(
        &mut self,
        descriptor: Resource<Descriptor>,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> FsResult<()> {
        self.file(&descriptor)?;
        Ok(())
    }

    async fn sync_data(&mut self, descriptor: Resource<Descriptor>) -> FsResult<()> {
        Ok(self.file(&descriptor)?.sync(true).await?)
    }

    fn get_flags(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        Ok(match self.table.get(&descriptor)? {
            Descriptor::File(_, flags) | Descriptor::Dir(_, flags) => *flags,
        })
    }

    fn get_type(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(match self.table.get(&descriptor)? {
            Descriptor::File(..) => DescriptorType::RegularFile,
            Descriptor::Dir(..) => DescriptorType::Directory,
        })
    }

    async fn set_size(&mut self, descriptor: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        Ok(self.file(&descriptor)?.set_len(size).await?)
    }

    async fn set_times(
        &mut self,
        descriptor: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        Ok(self.file(&descriptor)?.set_times(set_time(accessed)?, set_time(modified)?).await?)
    }

    async fn read(
        &mut self,
        descriptor: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut buffer = vec![0; wanted];
        let count = self.file(&descriptor)?.read_at(&mut buffer, offset).await?;
        buffer.truncate(count);
        Ok((buffer, count == 0 && wanted > 0))
    }

    async fn write(
        &mut self,
        descriptor: Resource<Descriptor>,
        buffer: Vec<u8>,
        offset: Filesize,
    ) -> FsResult<Filesize> {
        let length = buffer.len() as Filesize;
        self.file(&descriptor)?.write_at(buffer, offset).await?;
        Ok(length)
    }

    async fn read_directory(&mut self, descriptor: Resource<Descriptor>) -> FsResult<Resource<Entries>> {
        let entries = self.dir(&descriptor)?.list(LIST_ENTRIES).await?;
        Ok(self.table.push(Entries(entries.into_iter()))?)
    }

    async fn sync(&mut self, descriptor: Resource<Descriptor>) -> FsResult<()> {
        Ok(self.file(&descriptor)?.sync(false).await?)
    }

    async fn create_directory_at(&mut self, descriptor: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(self.dir(&descriptor)?.create_dir(&path).await?)
    }

    async fn stat(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        Ok(stat(&self.metadata(&descriptor).await?))
    }

    async fn stat_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        Ok(stat(&self.dir(&descriptor)?.metadata(&path, follows(path_flags)).await?))
    }

    async fn set_times_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (set_time(accessed)?, set_time(modified)?);
        Ok(self.dir(&descriptor)?.set_times(&path, follows(path_flags), accessed, modified).await?)
    }

    async fn link_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        old_path_flags: PathFlags,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        if follows(old_path_flags) {
            return Err(ErrorCode::Invalid.into());
        }
        Ok(self.dir(&descriptor)?.hard_link(&old_path, self.dir(&new_descriptor)?, &new_path).await?)
    }

    async fn open_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let _slot = Some(self.slot()?);
        let dir = self.dir(&descriptor)?;
        let opened = if open_flags.contains(OpenFlags::DIRECTORY) {
            if open_flags.intersects(OpenFlags::CREATE | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE) {
                return Err(ErrorCode::Invalid.into());
            }
            Descriptor::Dir(Open { object: dir.open_dir(&path).await?, _slot }, flags)
        } else {
            match dir.open_any(&path, &open_options(path_flags, open_flags, flags)).await? {
                Node::File(object) => Descriptor::File(Arc::new(Open { object, _slot }), flags),
                Node::Dir(object) => Descriptor::Dir(Open { object, _slot }, flags),
            }
        };
        Ok(self.table.push(opened)?)
    }

    async fn readlink_at(&mut self, descriptor: Resource<Descriptor>, path: String) -> FsResult<String> {
        let target = self.dir(&descriptor)?.read_link(&path).await?;
        unicode(target.into_os_string())
    }

    async fn remove_directory_at(&mut self, descriptor: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(self.dir(&descriptor)?.remove_dir(&path).await?)
    }

    async fn rename_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        Ok(self.dir(&descriptor)?.rename(&old_path, self.dir(&new_descriptor)?, &new_path).await?)
    }

    async fn symlink_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        old_path: String,
        new_path: String,
    ) -> FsResult<()> {
        Ok(self.dir(&descriptor)?.symlink(&old_path, &new_path).await?)
    }

    async fn unlink_file_at(&mut self, descriptor: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(self.dir(&descriptor)?.remove_file(&path).await?)
    }

    async fn is_same_object(&mut self, a: Resource<Descriptor>, b: Resource<Descriptor>) -> Result<bool> {
        let (a, b) = (self.metadata(&a).await, self.metadata(&b).await);
        match (a, b) {
            (Ok(a), Ok(b)) => Ok((a.device, a.inode) == (b.device, b.inode)),
            (Err(FsError::Trap(error)), _) | (_, Err(FsError::Trap(error))) => Err(error),
            _ => Ok(false),
        }
    }

    async fn metadata_hash(&mut self, descriptor: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        Ok(metadata_hash(&self.metadata(&descriptor).await?))
    }

    async fn metadata_hash_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        Ok(metadata_hash(&self.dir(&descriptor)?.metadata(&path, follows(path_flags)).await?))
    }

    fn drop(&mut self, descriptor: Resource<Descriptor>) -> Result<()> {
        self.table.delete(descriptor)?;
        Ok(())
    }
}

impl types::HostDirectoryEntryStream for Host {
    fn read_directory_entry(&mut self, entries: Resource<Entries>) -> FsResult<Option<DirectoryEntry>> {
        match self.table.get_mut(&entries)?.0.next() {
            Some(entry) => {
                Ok(Some(DirectoryEntry { type_: descriptor_type(entry.kind), name: unicode(entry.name)? }))
            }
            None => Ok(None),
        }
    }

    fn drop(&mut self, entries: Resource<Entries>) -> Result<()> {
        self.table.delete(entries)?;
        Ok(())
    }
}

/// Reads a file on from an offset.
struct FileSource {
    file: Arc<Open<File>>,
    offset: u64,
}

impl Source for FileSource {
    async fn read(mut self, max: usize) -> (Self, Result<Bytes>) {
        let mut buffer = vec![0; max];
        match self.file.read_at(&mut buffer, self.offset).await {
            Ok(count) => {
                buffer.truncate(count);
                self.offset += count as u64;
                (self, Ok(buffer.into()))
            }
            Err(error) => (self, Err(error.into())),
        }
    }
}

/// Writes a file on from an offset, or at its end.
struct FileDrain {
    file: Arc<Open<File>>,
    offset: Option<u64>,
}

impl Drain for FileDrain {
    async fn write(mut self, bytes: Bytes) -> (Self, Result<()>) {
        let length = bytes.len() as u64;
        let written = match self.offset {
            Some(offset) => self.file.write_at(bytes, offset).await,
            None => self.file.append(bytes).await,
        };
        self.offset = self.offset.map(|offset| offset + length);
        (self, written.map_err(Into::into))
    }
}

fn open_options(path_flags: PathFlags, open_flags: OpenFlags, flags: DescriptorFlags) -> OpenOptions {
    let write = flags.contains(DescriptorFlags::WRITE);
    OpenOptions::new()
        // A descriptor that is to do neither is still one that can be asked about its object.
        .read(flags.contains(DescriptorFlags::READ) || !write)
        .write(write)
        .create(open_flags.contains(OpenFlags::CREATE))
        .create_new(open_flags.contains(OpenFlags::CREATE | OpenFlags::EXCLUSIVE))
        .truncate(open_flags.contains(OpenFlags::TRUNCATE))
        .follow(follows(path_flags))
}

fn follows(path_flags: PathFlags) -> bool {
    path_flags.contains(PathFlags::SYMLINK_FOLLOW)
}

fn stat(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: descriptor_type(metadata.kind),
        link_count: metadata.links,
        size: metadata.len,
        data_access_timestamp: datetime(metadata.accessed),
        data_modification_timestamp: datetime(metadata.modified),
        status_change_timestamp: datetime(metadata.changed),
    }
}

/// Two objects of one identity have one hash, whatever their names: WASI leaves the choice to the host.
fn metadata_hash(metadata: &Metadata) -> MetadataHashValue {
    MetadataHashValue { lower: metadata.inode, upper: metadata.device }
}

fn descriptor_type(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Directory => DescriptorType::Directory,
        FileKind::Symlink => DescriptorType::SymbolicLink,
        _ => DescriptorType::Unknown,
    }
}

/// Times before 1970 have no word in WASI.
fn datetime(time: Timestamp) -> Option<Datetime> {
    let seconds = u64::try_from(time.seconds).ok()?;
    Some(Datetime { seconds, nanoseconds: time.nanoseconds })
}

fn set_time(timestamp: NewTimestamp) -> std::result::Result<SetTime, ErrorCode> {
    Ok(match timestamp {
        NewTimestamp::NoChange => SetTime::Keep,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(time) => {
            let seconds = i64::try_from(time.seconds).map_err(|_| ErrorCode::Overflow)?;
            SetTime::To(Timestamp { seconds, nanoseconds: time.nanoseconds })
        }
    })
}

/// WASI's names are Unicode. A name that is not cannot be shown, and must not be shown changed.
fn unicode(name: OsString) -> FsResult<String> {
    name.into_string().map_err(|_| ErrorCode::IllegalByteSequence.into())
}

impl From<ErrorCode> for FsError {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<airssys_osl::Error> for FsError {
    fn from(error: airssys_osl::Error) -> Self {
        match error.kind() {
            // Not the guest's doing, and nothing that it could handle.
            ErrorKind::Bug => Self::Trap(error.into()),
            _ => Self::Code(error_code(&error)),
        }
    }
}

impl From<wasmtime::component::ResourceTableError> for FsError {
    fn from(error: wasmtime::component::ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

impl fmt::Debug for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "{code:?}"),
            Self::Trap(error) => write!(f, "{error:?}"),
        }
    }
}
