//! `wasi:filesystem`: each method is one operation on a handle of the door.
//!
//! A descriptor *is* an osl handle: what it may do was decided when the manifest was compiled, is checked at each
//! call, and every call leaves its record. The flags of a descriptor are what its guest asked for; they only take away.

#![expect(unreachable_pub, reason = "the generated bindings re-export what a resource stands for")]

mod descriptor;
mod entries;
mod object;
mod open;
mod stat;
mod streams;

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
    fs::{Dir, File, Metadata},
    policy::Rights,
};
use wasmtime::{Result, component::Resource};

pub use self::entries::Listing;
pub(super) use self::{
    open::{follows, opening},
    stat::metadata_hash,
    streams::FileSource,
};
use super::{
    Host,
    bindings::wasi::filesystem::{
        preopens,
        types::{self, DescriptorFlags, DirectoryEntry, ErrorCode},
    },
    errno::error_code,
};

/// The most files and directories that an instance may hold open. They are descriptors of the whole program, which
/// needs some itself: for its log, before all.
const OPEN_FILES: usize = 128;

/// What a guest's descriptor stands for, in whichever version of WASI.
#[derive(Clone)]
pub enum Descriptor {
    File(Arc<Open<File>>, DescriptorFlags),
    Dir(Arc<Open<Dir>>, DescriptorFlags),
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

/// What a write waits for, as the descriptor was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Nothing.
    None,
    /// The content is on the device: `O_DSYNC`.
    Data,
    /// So are all metadata: `O_SYNC`.
    File,
}

impl Durability {
    pub(crate) fn of(flags: DescriptorFlags) -> Self {
        if flags.contains(DescriptorFlags::FILE_INTEGRITY_SYNC) {
            Self::File
        } else if flags.contains(DescriptorFlags::DATA_INTEGRITY_SYNC) {
            Self::Data
        } else {
            Self::None
        }
    }

    /// Waits after a write.
    pub(crate) async fn settle(self, file: &File) -> std::result::Result<(), airssys_osl::Error> {
        match self {
            Self::None => Ok(()),
            Self::Data => file.sync(true).await,
            Self::File => file.sync(false).await,
        }
    }
}

/// An error code for the guest, or a trap.
pub enum FsError {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

pub(crate) type FsResult<T> = std::result::Result<T, FsError>;

impl Slot {
    /// Claims one of the files that an instance may hold open.
    pub(super) fn claim(open_files: &Arc<AtomicUsize>) -> FsResult<Self> {
        let slot = Self(open_files.clone());
        if slot.0.fetch_add(1, Ordering::Relaxed) >= OPEN_FILES {
            return Err(ErrorCode::Quota.into());
        }
        Ok(slot)
    }
}

impl Host {
    /// A file that was opened for what `flag` says.
    pub(super) fn file_for(
        &self,
        descriptor: &Resource<Descriptor>,
        flag: DescriptorFlags,
    ) -> FsResult<(&Arc<Open<File>>, DescriptorFlags)> {
        let descriptor = self.table.get(descriptor)?;
        Ok((descriptor.file_for(flag)?, descriptor.flags()))
    }

    pub(super) fn dir(&self, descriptor: &Resource<Descriptor>) -> FsResult<&Dir> {
        self.table.get(descriptor)?.dir()
    }

    pub(super) async fn metadata(&mut self, descriptor: &Resource<Descriptor>) -> FsResult<Metadata> {
        self.table.get(descriptor)?.metadata().await
    }

    /// Begins to list a directory.
    pub(super) async fn list(&mut self, descriptor: &Resource<Descriptor>) -> FsResult<Listing> {
        self.table.get(descriptor)?.list(&self.open_files).await
    }

    /// The directories that it has from the start, as descriptors.
    pub(super) fn open_preopens(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        let mut directories = Vec::with_capacity(self.preopens.len());
        for (dir, name) in &self.preopens {
            let mut flags = DescriptorFlags::READ;
            if dir.rights().intersects(Rights::WRITE | Rights::CREATE | Rights::DELETE) {
                flags |= DescriptorFlags::MUTATE_DIRECTORY;
            }
            let preopen = Arc::new(Open { object: dir.clone(), _slot: None });
            directories.push((self.table.push(Descriptor::Dir(preopen, flags))?, name.clone()));
        }
        Ok(directories)
    }
}

impl preopens::Host for Host {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        self.open_preopens()
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

impl types::HostDirectoryEntryStream for Host {
    async fn read_directory_entry(&mut self, entries: Resource<Listing>) -> FsResult<Option<DirectoryEntry>> {
        let entry = self.table.get_mut(&entries)?.next().await?;
        Ok(entry.map(|(name, entry)| DirectoryEntry { type_: stat::descriptor_type(entry.kind), name }))
    }

    fn drop(&mut self, entries: Resource<Listing>) -> Result<()> {
        self.table.delete(entries)?;
        Ok(())
    }
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
