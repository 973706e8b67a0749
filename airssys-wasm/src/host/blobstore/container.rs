//! One container: its objects, and their names.

use airssys_osl::{
    ErrorKind,
    clock::Timestamp,
    fs::{Dir, Entries, FileKind, OpenOptions},
};
use wasmtime::{Result, component::Resource};

use super::{
    super::{Host, bindings::wasi::blobstore::container},
    Answer, Container, Incoming, Names, Outgoing, Refusal, answer, check_name, hold, is_remains, path,
};

/// The most names that one call gives, or takes.
const BATCH_NAMES: usize = 1000;

impl Host {
    fn container(&self, container: &Resource<Container>) -> Result<String> {
        Ok(self.table.get(container)?.name.clone())
    }

    async fn container_info(
        &mut self,
        name: String,
    ) -> std::result::Result<container::ContainerMetadata, Refusal> {
        let metadata = self.blobs()?.metadata(&name, true).await?;
        if metadata.kind != FileKind::Directory {
            return Err("there is no such container or object".into());
        }
        Ok(container::ContainerMetadata { name, created_at: seconds(metadata.modified) })
    }

    async fn open_object(
        &mut self,
        container: &str,
        object: &str,
        (start, end): (u64, u64),
    ) -> std::result::Result<Resource<Incoming>, Refusal> {
        if start > end {
            return Err("the part begins behind its end".into());
        }
        let slot = self.blob_slot()?;
        let options = OpenOptions::new().read(true).follow(false);
        let file = self.blobs()?.open(path(container, object)?, &options).await?;
        let len = file.metadata().await?.len;
        // Inclusive, so the last byte that there can be has a successor only here.
        let end = end.saturating_add(1).min(len);
        hold(&mut self.table, Incoming::new(file, slot, start, end.saturating_sub(start)))
    }

    async fn info_of(
        &mut self,
        container: String,
        name: String,
    ) -> std::result::Result<container::ObjectMetadata, Refusal> {
        let metadata = self.blobs()?.metadata(path(&container, &name)?, false).await?;
        if metadata.kind != FileKind::File {
            return Err("there is no such container or object".into());
        }
        let (created_at, size) = (seconds(metadata.modified), metadata.len);
        Ok(container::ObjectMetadata { name, container, created_at, size })
    }

    async fn is_object(&mut self, container: &str, name: &str) -> std::result::Result<bool, Refusal> {
        match self.blobs()?.metadata(path(container, name)?, false).await {
            Ok(metadata) => Ok(metadata.kind == FileKind::File),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    async fn delete_all(&mut self, container: &str, names: &[String]) -> std::result::Result<(), Refusal> {
        if names.len() > BATCH_NAMES {
            return Err(Refusal(format!("{} names at once, the limit is {BATCH_NAMES}", names.len())));
        }
        // All or none is not promised; that each is a name is known before the first is gone.
        let paths =
            names.iter().map(|name| path(container, name)).collect::<std::result::Result<Vec<_>, _>>()?;
        let root = self.blobs()?;
        for path in paths {
            match root.metadata(&path, false).await {
                // What is no object is not there for a guest. The removal says itself why it cannot be.
                Ok(metadata) if metadata.kind != FileKind::File => {}
                _ => remove(&root, &path).await?,
            }
        }
        Ok(())
    }

    async fn names(&mut self, container: &str) -> std::result::Result<Resource<Names>, Refusal> {
        check_name(container)?;
        let slot = self.blob_slot()?;
        let entries = self.blobs()?.open_dir(container).await?.entries().await?;
        hold(&mut self.table, Names { entries, _slot: slot })
    }

    async fn clear_container(&mut self, container: &str) -> std::result::Result<(), Refusal> {
        check_name(container)?;
        let dir = self.blobs()?.open_dir(container).await?;
        let mut entries = dir.entries().await?;
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            // What a crash left of an object goes as well.
            let is_ours = |name: &str| check_name(name).is_ok() || is_remains(name);
            if entry.kind == FileKind::File
                && let Some(name) = entry.name.to_str().filter(|name| is_ours(name))
            {
                remove(&dir, name).await?;
            }
        }
        Ok(())
    }
}

/// The next name of an object. Other things in the folder have none that a guest could use.
async fn next(entries: &mut Entries) -> std::result::Result<Option<String>, Refusal> {
    while let Some(entry) = entries.next().await {
        let entry = entry?;
        if entry.kind == FileKind::File
            && let Ok(name) = entry.name.into_string()
            && check_name(&name).is_ok()
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Removes an object, where there is one.
async fn remove(root: &Dir, path: &str) -> std::result::Result<(), Refusal> {
    match root.remove_file(path).await {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn seconds(time: Timestamp) -> u64 {
    u64::try_from(time.seconds).unwrap_or_default()
}

impl container::Host for Host {}

impl container::HostContainer for Host {
    fn name(&mut self, container: Resource<Container>) -> Answer<String> {
        Ok(Ok(self.container(&container)?))
    }

    async fn info(&mut self, container: Resource<Container>) -> Answer<container::ContainerMetadata> {
        let name = self.container(&container)?;
        answer(self.container_info(name).await)
    }

    async fn get_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        start: u64,
        end: u64,
    ) -> Answer<Resource<Incoming>> {
        let container = self.container(&container)?;
        answer(self.open_object(&container, &name, (start, end)).await)
    }

    /// What the object is to be. It is that when the value is finished.
    fn write_data(
        &mut self,
        container: Resource<Container>,
        name: String,
        data: Resource<Outgoing>,
    ) -> Answer<()> {
        let path = path(&self.container(&container)?, &name);
        let value = self.table.get_mut(&data)?;
        answer(path.and_then(|path| value.becomes(path)))
    }

    async fn list_objects(&mut self, container: Resource<Container>) -> Answer<Resource<Names>> {
        let container = self.container(&container)?;
        answer(self.names(&container).await)
    }

    async fn delete_object(&mut self, container: Resource<Container>, name: String) -> Answer<()> {
        let container = self.container(&container)?;
        answer(self.delete_all(&container, &[name]).await)
    }

    async fn delete_objects(&mut self, container: Resource<Container>, names: Vec<String>) -> Answer<()> {
        let container = self.container(&container)?;
        answer(self.delete_all(&container, &names).await)
    }

    async fn has_object(&mut self, container: Resource<Container>, name: String) -> Answer<bool> {
        let container = self.container(&container)?;
        answer(self.is_object(&container, &name).await)
    }

    async fn object_info(
        &mut self,
        container: Resource<Container>,
        name: String,
    ) -> Answer<container::ObjectMetadata> {
        let container = self.container(&container)?;
        answer(self.info_of(container, name).await)
    }

    async fn clear(&mut self, container: Resource<Container>) -> Answer<()> {
        let container = self.container(&container)?;
        answer(self.clear_container(&container).await)
    }

    fn drop(&mut self, container: Resource<Container>) -> Result<()> {
        self.table.delete(container)?;
        Ok(())
    }
}

impl container::HostStreamObjectNames for Host {
    async fn read_stream_object_names(
        &mut self,
        names: Resource<Names>,
        len: u64,
    ) -> Answer<(Vec<String>, bool)> {
        let entries = &mut self.table.get_mut(&names)?.entries;
        let wanted = usize::try_from(len).unwrap_or(usize::MAX).min(BATCH_NAMES);
        let mut read = Vec::new();
        while read.len() < wanted {
            match next(entries).await {
                Ok(Some(name)) => read.push(name),
                Ok(None) => return Ok(Ok((read, true))),
                Err(refusal) => return answer(Err(refusal)),
            }
        }
        Ok(Ok((read, false)))
    }

    async fn skip_stream_object_names(&mut self, names: Resource<Names>, num: u64) -> Answer<(u64, bool)> {
        let entries = &mut self.table.get_mut(&names)?.entries;
        for skipped in 0..num {
            match next(entries).await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(Ok((skipped, true))),
                Err(refusal) => return answer(Err(refusal)),
            }
        }
        Ok(Ok((num, false)))
    }

    fn drop(&mut self, names: Resource<Names>) -> Result<()> {
        self.table.delete(names)?;
        Ok(())
    }
}
