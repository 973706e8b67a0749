//! What a descriptor does, whichever version of WASI it is asked in: each method is one operation of the door.

use std::sync::{Arc, atomic::AtomicUsize};

use airssys_osl::fs::{Dir, File, Metadata, Node, SetTime};
use wasmtime::Result;

use super::{
    super::bindings::wasi::filesystem::types::{DescriptorFlags, ErrorCode},
    Descriptor, Durability, FsError, FsResult, Listing, Open, Slot,
    open::Opening,
    streams::{FileDrain, FileSource},
    unicode,
};

impl Descriptor {
    pub(crate) fn flags(&self) -> DescriptorFlags {
        match self {
            Self::File(_, flags) | Self::Dir(_, flags) => *flags,
        }
    }

    pub(crate) fn file(&self) -> FsResult<&Arc<Open<File>>> {
        match self {
            Self::File(file, _) => Ok(file),
            Self::Dir(..) => Err(ErrorCode::BadDescriptor.into()),
        }
    }

    /// The file, if it was opened for what `flag` says.
    pub(crate) fn file_for(&self, flag: DescriptorFlags) -> FsResult<&Arc<Open<File>>> {
        match self.file()? {
            _ if !self.flags().contains(flag) => Err(ErrorCode::BadDescriptor.into()),
            file => Ok(file),
        }
    }

    pub(crate) fn dir(&self) -> FsResult<&Dir> {
        match self {
            Self::Dir(dir, _) => Ok(dir),
            Self::File(..) => Err(ErrorCode::NotDirectory.into()),
        }
    }

    /// What reads the file on from an offset.
    pub(crate) fn source(&self, offset: u64) -> FsResult<FileSource> {
        Ok(FileSource { file: self.file_for(DescriptorFlags::READ)?.clone(), offset })
    }

    /// What writes the file on from an offset, or at its end.
    pub(crate) fn drain(&self, offset: Option<u64>) -> FsResult<FileDrain> {
        let file = self.file_for(DescriptorFlags::WRITE)?.clone();
        Ok(FileDrain { file, offset, durability: Durability::of(self.flags()) })
    }

    pub(crate) async fn metadata(&self) -> FsResult<Metadata> {
        Ok(match self {
            Self::File(file, _) => file.metadata().await?,
            Self::Dir(dir, _) => dir.self_metadata().await?,
        })
    }

    /// Waits until what it wrote is on the device. One that does not write has written nothing.
    pub(crate) async fn flush(&self, data_only: bool) -> FsResult<()> {
        match self {
            Self::File(file, flags) if flags.contains(DescriptorFlags::WRITE) => {
                Ok(file.sync(data_only).await?)
            }
            Self::File(..) | Self::Dir(..) => Ok(()),
        }
    }

    pub(crate) async fn set_times(&self, accessed: SetTime, modified: SetTime) -> FsResult<()> {
        match self {
            Self::File(file, _) => file.set_times(accessed, modified).await?,
            Self::Dir(dir, _) => dir.set_times(".", true, accessed, modified).await?,
        }
        Ok(())
    }

    /// Begins to list the directory.
    pub(crate) async fn list(&self, open_files: &Arc<AtomicUsize>) -> FsResult<Listing> {
        let slot = Slot::claim(open_files)?;
        Ok(Listing::new(self.dir()?.entries().await?, slot))
    }

    pub(crate) async fn open_at(
        &self,
        path: &str,
        opening: Opening,
        open_files: &Arc<AtomicUsize>,
    ) -> FsResult<Self> {
        let dir = self.dir()?;
        let _slot = Some(Slot::claim(open_files)?);
        match dir.open_any(path, &opening.options).await? {
            Node::File(object) => Ok(Self::File(Arc::new(Open { object, _slot }), opening.flags)),
            Node::Dir(_) if opening.asked_to_write => Err(ErrorCode::IsDirectory.into()),
            Node::Dir(object) => Ok(Self::Dir(Arc::new(Open { object, _slot }), opening.flags)),
        }
    }

    /// A link to an absolute place says nothing that a guest could use: its paths are others.
    pub(crate) async fn read_link(&self, path: &str) -> FsResult<String> {
        let target = self.dir()?.read_link(path).await?;
        if target.has_root() {
            return Err(ErrorCode::NotPermitted.into());
        }
        unicode(target.into_os_string())
    }

    pub(crate) async fn hard_link(&self, follow: bool, old: &str, dir: &Self, new: &str) -> FsResult<()> {
        if follow {
            return Err(ErrorCode::Invalid.into());
        }
        Ok(self.dir()?.hard_link(old, dir.dir()?, new).await?)
    }

    pub(crate) async fn is_same(&self, other: &Self) -> Result<bool> {
        match (self.metadata().await, other.metadata().await) {
            (Ok(a), Ok(b)) => Ok((a.device, a.inode) == (b.device, b.inode)),
            (Err(FsError::Trap(error)), _) | (_, Err(FsError::Trap(error))) => Err(error),
            _ => Ok(false),
        }
    }
}
