//! `wasi:filesystem`: each method is one operation on a handle of the door, as in 0.2.

use std::sync::{Arc, atomic::AtomicUsize};

use wasmtime::{
    Result,
    component::{Access, Accessor, FutureReader, HasSelf, Resource, StreamReader, VecBuffer},
};

use super::{
    super::{
        Host,
        errno::error_code,
        filesystem::{Descriptor, FileSource, FsError, FsResult, Listing, follows, opening},
    },
    bindings::wasi::filesystem::{
        preopens,
        types::{
            self, Advice, DescriptorFlags, DescriptorStat, DescriptorType, DirectoryEntry, ErrorCode,
            Filesize, HostDescriptor, HostDescriptorWithStore, MetadataHashValue, NewTimestamp, OpenFlags,
            PathFlags,
        },
    },
    convert::{descriptor_type, metadata_hash, new_flags, old_flags, open_flags, path_flags, set_time, stat},
    stream::{Bytewise, Consuming, Produce, Producing, outcome},
};
use crate::instance::State;

type Guest = Accessor<State, HasSelf<Host>>;
type Ended = FutureReader<std::result::Result<(), ErrorCode>>;

/// The most names of a directory that are given at a time.
const NAMES: usize = 64;

impl preopens::Host for Host {
    fn get_directories(&mut self) -> Result<Vec<(Resource<Descriptor>, String)>> {
        self.open_preopens()
    }
}

impl types::Host for Host {
    fn convert_error_code(&mut self, error: FsError) -> Result<ErrorCode> {
        match error {
            FsError::Code(code) => Ok(code.into()),
            FsError::Trap(error) => Err(error),
        }
    }
}

impl HostDescriptor for Host {
    fn drop(&mut self, descriptor: Resource<Descriptor>) -> Result<()> {
        self.table.delete(descriptor)?;
        Ok(())
    }
}

/// What a descriptor stands for, to be worked with while the guest goes on.
fn get(guest: &Guest, descriptor: &Resource<Descriptor>) -> FsResult<Descriptor> {
    guest.with(|mut access| Ok(access.get().table.get(descriptor)?.clone()))
}

fn open_files(guest: &Guest) -> Arc<AtomicUsize> {
    guest.with(|mut access| access.get().open_files.clone())
}

/// What a stream says of an error.
fn code(error: wasmtime::Error) -> Result<ErrorCode> {
    match error.downcast::<airssys_osl::Error>() {
        Ok(error) => Ok(error_code(&error).into()),
        Err(error) => Ok(error.downcast::<ErrorCode>()?),
    }
}

/// A listing as items that are names.
struct Names {
    directory: Descriptor,
    open_files: Arc<AtomicUsize>,
    /// Begun with the first read.
    listing: Option<Listing>,
    /// What ended it, until that is told: the names before it are given first.
    failed: Option<FsError>,
}

impl Names {
    async fn some(&mut self, max: usize) -> FsResult<Vec<DirectoryEntry>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let listing = match self.listing.take() {
            Some(listing) => listing,
            None => self.directory.list(&self.open_files).await?,
        };
        let listing = self.listing.insert(listing);
        let mut names = Vec::new();
        while names.len() < max.min(NAMES) {
            match listing.next().await {
                Ok(Some((name, entry))) => {
                    names.push(DirectoryEntry { type_: descriptor_type(entry.kind), name });
                }
                Ok(None) => break,
                Err(error) if names.is_empty() => return Err(error),
                Err(error) => {
                    self.failed = Some(error);
                    break;
                }
            }
        }
        Ok(names)
    }
}

impl Produce for Names {
    type Item = DirectoryEntry;
    type Buffer = VecBuffer<DirectoryEntry>;

    async fn next(mut self, max: usize) -> (Self, Result<Option<VecBuffer<DirectoryEntry>>>) {
        let names = match self.some(max).await {
            Ok(names) => Ok((!names.is_empty()).then(|| names.into())),
            Err(FsError::Code(code)) => Err(ErrorCode::from(code).into()),
            Err(FsError::Trap(error)) => Err(error),
        };
        (self, names)
    }
}

/// Reads a stream into a file, from an offset on or at its end.
fn write(
    mut store: Access<'_, State, HasSelf<Host>>,
    descriptor: &Resource<Descriptor>,
    mut data: StreamReader<u8>,
    offset: Option<u64>,
) -> Result<Ended> {
    let (mut outcome, written) = outcome(code);
    match store.get().table.get(descriptor)?.drain(offset) {
        Ok(drain) => data.pipe(&mut store, Consuming::new(drain, outcome))?,
        Err(FsError::Code(code)) => {
            outcome.fail(ErrorCode::from(code).into())?;
            data.close(&mut store)?;
        }
        Err(FsError::Trap(error)) => return Err(error),
    }
    FutureReader::new(&mut store, written)
}

impl HostDescriptorWithStore<State> for HasSelf<Host> {
    fn read_via_stream(
        mut store: Access<'_, State, Self>,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> Result<(StreamReader<u8>, Ended)> {
        let (mut outcome, read) = outcome(code);
        let source = match store.get().table.get(&descriptor)?.source(offset) {
            Ok(source) => Some(Bytewise(source)),
            Err(FsError::Code(code)) => {
                outcome.fail(ErrorCode::from(code).into())?;
                None
            }
            Err(FsError::Trap(error)) => return Err(error),
        };
        let bytes = Producing::<Bytewise<FileSource>, _>::new(source, outcome);
        Ok((StreamReader::new(&mut store, bytes)?, FutureReader::new(&mut store, read)?))
    }

    fn write_via_stream(
        store: Access<'_, State, Self>,
        descriptor: Resource<Descriptor>,
        data: StreamReader<u8>,
        offset: Filesize,
    ) -> Result<Ended> {
        write(store, &descriptor, data, Some(offset))
    }

    fn append_via_stream(
        store: Access<'_, State, Self>,
        descriptor: Resource<Descriptor>,
        data: StreamReader<u8>,
    ) -> Result<Ended> {
        write(store, &descriptor, data, None)
    }

    /// Advice is taken and not acted on, as WASI permits.
    async fn advise(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> FsResult<()> {
        get(guest, &descriptor)?.file().map(drop)
    }

    async fn sync_data(guest: &Guest, descriptor: Resource<Descriptor>) -> FsResult<()> {
        get(guest, &descriptor)?.flush(true).await
    }

    async fn get_flags(guest: &Guest, descriptor: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        Ok(new_flags(get(guest, &descriptor)?.flags()))
    }

    async fn get_type(guest: &Guest, descriptor: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(match get(guest, &descriptor)? {
            Descriptor::File(..) => DescriptorType::RegularFile,
            Descriptor::Dir(..) => DescriptorType::Directory,
        })
    }

    async fn set_size(guest: &Guest, descriptor: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        let descriptor = get(guest, &descriptor)?;
        Ok(descriptor.file_for(old_flags(DescriptorFlags::WRITE))?.set_len(size).await?)
    }

    async fn set_times(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        get(guest, &descriptor)?.set_times(set_time(accessed), set_time(modified)).await
    }

    fn read_directory(
        mut store: Access<'_, State, Self>,
        descriptor: Resource<Descriptor>,
    ) -> Result<(StreamReader<DirectoryEntry>, Ended)> {
        let (outcome, read) = outcome(code);
        let host = store.get();
        let directory = host.table.get(&descriptor)?.clone();
        let names = Names { directory, open_files: host.open_files.clone(), listing: None, failed: None };
        let names = Producing::new(Some(names), outcome);
        Ok((StreamReader::new(&mut store, names)?, FutureReader::new(&mut store, read)?))
    }

    async fn sync(guest: &Guest, descriptor: Resource<Descriptor>) -> FsResult<()> {
        get(guest, &descriptor)?.flush(false).await
    }

    async fn create_directory_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        Ok(get(guest, &descriptor)?.dir()?.create_dir(&path).await?)
    }

    async fn stat(guest: &Guest, descriptor: Resource<Descriptor>) -> FsResult<DescriptorStat> {
        Ok(stat(&get(guest, &descriptor)?.metadata().await?))
    }

    async fn stat_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<DescriptorStat> {
        let follow = follows(path_flags(flags));
        Ok(stat(&get(guest, &descriptor)?.dir()?.metadata(&path, follow).await?))
    }

    async fn set_times_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (set_time(accessed), set_time(modified));
        let follow = follows(path_flags(flags));
        Ok(get(guest, &descriptor)?.dir()?.set_times(&path, follow, accessed, modified).await?)
    }

    async fn link_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        old_path_flags: PathFlags,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (old, new) = (get(guest, &descriptor)?, get(guest, &new_descriptor)?);
        old.hard_link(follows(path_flags(old_path_flags)), &old_path, &new, &new_path).await
    }

    async fn open_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        at: PathFlags,
        path: String,
        open: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let opening = opening(path_flags(at), open_flags(open), old_flags(flags))?;
        let opened = get(guest, &descriptor)?.open_at(&path, opening, &open_files(guest)).await?;
        guest.with(|mut access| Ok(access.get().table.push(opened)?))
    }

    async fn readlink_at(guest: &Guest, descriptor: Resource<Descriptor>, path: String) -> FsResult<String> {
        get(guest, &descriptor)?.read_link(&path).await
    }

    async fn remove_directory_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        path: String,
    ) -> FsResult<()> {
        Ok(get(guest, &descriptor)?.dir()?.remove_dir(&path).await?)
    }

    async fn rename_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        old_path: String,
        new_descriptor: Resource<Descriptor>,
        new_path: String,
    ) -> FsResult<()> {
        let (old, new) = (get(guest, &descriptor)?, get(guest, &new_descriptor)?);
        Ok(old.dir()?.rename(&old_path, new.dir()?, &new_path).await?)
    }

    async fn symlink_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        old_path: String,
        new_path: String,
    ) -> FsResult<()> {
        Ok(get(guest, &descriptor)?.dir()?.symlink(&old_path, &new_path).await?)
    }

    async fn unlink_file_at(guest: &Guest, descriptor: Resource<Descriptor>, path: String) -> FsResult<()> {
        Ok(get(guest, &descriptor)?.dir()?.remove_file(&path).await?)
    }

    async fn is_same_object(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        other: Resource<Descriptor>,
    ) -> Result<bool> {
        let trapped = |error| match error {
            FsError::Code(code) => code.into(),
            FsError::Trap(error) => error,
        };
        let (one, other) = (get(guest, &descriptor).map_err(trapped)?, get(guest, &other).map_err(trapped)?);
        one.is_same(&other).await
    }

    async fn metadata_hash(guest: &Guest, descriptor: Resource<Descriptor>) -> FsResult<MetadataHashValue> {
        Ok(metadata_hash(&get(guest, &descriptor)?.metadata().await?))
    }

    async fn metadata_hash_at(
        guest: &Guest,
        descriptor: Resource<Descriptor>,
        flags: PathFlags,
        path: String,
    ) -> FsResult<MetadataHashValue> {
        let follow = follows(path_flags(flags));
        Ok(metadata_hash(&get(guest, &descriptor)?.dir()?.metadata(&path, follow).await?))
    }
}
