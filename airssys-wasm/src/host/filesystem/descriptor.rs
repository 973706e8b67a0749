//! The methods of a descriptor.

use wasmtime::{Result, component::Resource};
use wasmtime_wasi_io::streams::{DynInputStream, DynOutputStream};

use super::{
    super::{
        Host,
        bindings::wasi::filesystem::types::{
            Advice, DescriptorFlags, DescriptorStat, DescriptorType, Filesize, HostDescriptor,
            MetadataHashValue, NewTimestamp, OpenFlags, PathFlags,
        },
        stream::{CHUNK_BYTES, Reading, Writing},
    },
    Descriptor, Durability, FsResult, Listing,
    open::{follows, opening},
    stat::{metadata_hash, set_time, stat},
};

impl Host {
    fn write_stream(
        &mut self,
        descriptor: &Resource<Descriptor>,
        offset: Option<u64>,
    ) -> FsResult<Resource<DynOutputStream>> {
        let stream: DynOutputStream = Box::new(Writing::new(self.table.get(descriptor)?.drain(offset)?));
        Ok(self.table.push(stream)?)
    }
}

impl HostDescriptor for Host {
    fn read_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynInputStream>> {
        let stream: DynInputStream = Box::new(Reading::new(self.table.get(&descriptor)?.source(offset)?));
        Ok(self.table.push(stream)?)
    }

    fn write_via_stream(
        &mut self,
        descriptor: Resource<Descriptor>,
        offset: Filesize,
    ) -> FsResult<Resource<DynOutputStream>> {
        self.write_stream(&descriptor, Some(offset))
    }

    fn append_via_stream(&mut self, descriptor: Resource<Descriptor>) -> FsResult<Resource<DynOutputStream>> {
        self.write_stream(&descriptor, None)
    }

    /// Advice is taken and not acted on, as WASI permits.
    fn advise(
        &mut self,
        descriptor: Resource<Descriptor>,
        _offset: Filesize,
        _length: Filesize,
        _advice: Advice,
    ) -> FsResult<()> {
        self.table.get(&descriptor)?.file().map(drop)
    }

    async fn sync_data(&mut self, descriptor: Resource<Descriptor>) -> FsResult<()> {
        self.table.get(&descriptor)?.flush(true).await
    }

    fn get_flags(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorFlags> {
        Ok(self.table.get(&descriptor)?.flags())
    }

    fn get_type(&mut self, descriptor: Resource<Descriptor>) -> FsResult<DescriptorType> {
        Ok(match self.table.get(&descriptor)? {
            Descriptor::File(..) => DescriptorType::RegularFile,
            Descriptor::Dir(..) => DescriptorType::Directory,
        })
    }

    async fn set_size(&mut self, descriptor: Resource<Descriptor>, size: Filesize) -> FsResult<()> {
        Ok(self.file_for(&descriptor, DescriptorFlags::WRITE)?.0.set_len(size).await?)
    }

    async fn set_times(
        &mut self,
        descriptor: Resource<Descriptor>,
        accessed: NewTimestamp,
        modified: NewTimestamp,
    ) -> FsResult<()> {
        let (accessed, modified) = (set_time(accessed)?, set_time(modified)?);
        self.table.get(&descriptor)?.set_times(accessed, modified).await
    }

    async fn read(
        &mut self,
        descriptor: Resource<Descriptor>,
        length: Filesize,
        offset: Filesize,
    ) -> FsResult<(Vec<u8>, bool)> {
        let (file, _) = self.file_for(&descriptor, DescriptorFlags::READ)?;
        let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut buffer = vec![0; wanted];
        let count = file.read_at(&mut buffer, offset).await?;
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
        let (file, flags) = self.file_for(&descriptor, DescriptorFlags::WRITE)?;
        file.write_at(buffer, offset).await?;
        Durability::of(flags).settle(file).await?;
        Ok(length)
    }

    async fn read_directory(&mut self, descriptor: Resource<Descriptor>) -> FsResult<Resource<Listing>> {
        let listing = self.list(&descriptor).await?;
        Ok(self.table.push(listing)?)
    }

    async fn sync(&mut self, descriptor: Resource<Descriptor>) -> FsResult<()> {
        self.table.get(&descriptor)?.flush(false).await
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
        let (old, new) = (self.table.get(&descriptor)?, self.table.get(&new_descriptor)?);
        old.hard_link(follows(old_path_flags), &old_path, new, &new_path).await
    }

    async fn open_at(
        &mut self,
        descriptor: Resource<Descriptor>,
        path_flags: PathFlags,
        path: String,
        open_flags: OpenFlags,
        flags: DescriptorFlags,
    ) -> FsResult<Resource<Descriptor>> {
        let opening = opening(path_flags, open_flags, flags)?;
        let opened = self.table.get(&descriptor)?.open_at(&path, opening, &self.open_files).await?;
        Ok(self.table.push(opened)?)
    }

    async fn readlink_at(&mut self, descriptor: Resource<Descriptor>, path: String) -> FsResult<String> {
        self.table.get(&descriptor)?.read_link(&path).await
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
        self.table.get(&a)?.is_same(self.table.get(&b)?).await
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
