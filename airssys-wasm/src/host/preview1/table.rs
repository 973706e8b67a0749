//! The numbers of a module's descriptors, and what they stand for.

use std::collections::BTreeMap;

use wasmtime::component::Resource;
use wasmtime_wasi_io::{
    bindings::wasi::io::streams::{HostInputStream, HostOutputStream},
    streams::{DynInputStream, DynOutputStream},
};

use super::{
    errno::{Errno, Fault},
    listing::Walk,
};
use crate::host::{
    Host,
    bindings::wasi::{
        cli::{stderr::Host as _, stdin::Host as _, stdout::Host as _},
        filesystem::{preopens::Host as _, types::HostDescriptor},
    },
    filesystem::Descriptor,
};

/// What a number stands for.
pub(super) enum Entry {
    Input(Resource<DynInputStream>),
    Output(Resource<DynOutputStream>),
    File(OpenFile),
    Dir(OpenDir),
}

/// A file, with what WASI 0.2 leaves to its guests.
pub(super) struct OpenFile {
    pub(super) descriptor: Resource<Descriptor>,
    /// Where the next read or write is.
    pub(super) position: u64,
    /// Whether what is written goes to the end.
    pub(super) append: bool,
    /// Whether it was asked not to wait. Regular files never do, so it is only remembered.
    pub(super) nonblocking: bool,
}

/// A directory.
pub(super) struct OpenDir {
    pub(super) descriptor: Resource<Descriptor>,
    /// What the guest calls it, if it was open from the beginning.
    pub(super) preopened: Option<String>,
    /// A listing that is under way.
    pub(super) walk: Option<Box<Walk>>,
}

/// The descriptors of a module, by number.
#[derive(Default)]
pub(crate) struct Table(BTreeMap<u32, Entry>);

impl Table {
    fn insert(&mut self, entry: Entry) -> u32 {
        // The lowest number that is free, as POSIX has it.
        let free = (0..).zip(self.0.keys()).find(|(free, used)| free != *used);
        let number = free.map_or(self.0.len() as u32, |(free, _)| free);
        self.0.insert(number, entry);
        number
    }
}

impl Host {
    /// The table, made at first use: the standard streams, then the directories that were granted.
    fn table_0_1(&mut self) -> Result<&mut Table, Fault> {
        if self.preview1.is_none() {
            let mut table = Table::default();
            table.insert(Entry::Input(self.get_stdin()?));
            table.insert(Entry::Output(self.get_stdout()?));
            table.insert(Entry::Output(self.get_stderr()?));
            for (descriptor, name) in self.get_directories()? {
                table.insert(Entry::Dir(OpenDir { descriptor, preopened: Some(name), walk: None }));
            }
            self.preview1 = Some(table);
        }
        Ok(self.preview1.get_or_insert_default())
    }

    pub(super) fn entry(&mut self, fd: u32) -> Result<&mut Entry, Fault> {
        self.table_0_1()?.0.get_mut(&fd).ok_or_else(|| Errno::BADF.into())
    }

    /// The file that `fd` is.
    pub(super) fn open_file(&mut self, fd: u32) -> Result<&mut OpenFile, Fault> {
        match self.entry(fd)? {
            Entry::File(file) => Ok(file),
            Entry::Dir(_) => Err(Errno::ISDIR.into()),
            Entry::Input(_) | Entry::Output(_) => Err(Errno::BADF.into()),
        }
    }

    pub(super) fn file_descriptor(&mut self, fd: u32) -> Result<Resource<Descriptor>, Fault> {
        Ok(borrow(&self.open_file(fd)?.descriptor))
    }

    /// The directory that paths relative to `fd` begin at.
    pub(super) fn open_dir(&mut self, fd: u32) -> Result<&mut OpenDir, Fault> {
        match self.entry(fd)? {
            Entry::Dir(dir) => Ok(dir),
            Entry::File(_) => Err(Errno::NOTDIR.into()),
            Entry::Input(_) | Entry::Output(_) => Err(Errno::BADF.into()),
        }
    }

    pub(super) fn dir_descriptor(&mut self, fd: u32) -> Result<Resource<Descriptor>, Fault> {
        Ok(borrow(&self.open_dir(fd)?.descriptor))
    }

    /// The file or directory that `fd` is.
    pub(super) fn descriptor(&mut self, fd: u32) -> Result<Resource<Descriptor>, Fault> {
        match self.entry(fd)? {
            Entry::File(file) => Ok(borrow(&file.descriptor)),
            Entry::Dir(dir) => Ok(borrow(&dir.descriptor)),
            Entry::Input(_) | Entry::Output(_) => Err(Errno::BADF.into()),
        }
    }

    pub(super) fn add_entry(&mut self, entry: Entry) -> Result<u32, Fault> {
        Ok(self.table_0_1()?.insert(entry))
    }

    /// Gives `from` the number `to`, and closes what had it.
    pub(super) async fn renumber(&mut self, from: u32, to: u32) -> Result<(), Fault> {
        self.entry(to)?;
        self.entry(from)?;
        if from == to {
            return Ok(());
        }
        self.close(to).await?;
        let table = self.table_0_1()?;
        if let Some(entry) = table.0.remove(&from) {
            table.0.insert(to, entry);
        }
        Ok(())
    }

    pub(super) async fn close(&mut self, fd: u32) -> Result<(), Fault> {
        let closed = self.table_0_1()?.0.remove(&fd).ok_or(Errno::BADF)?;
        match closed {
            Entry::Input(stream) => HostInputStream::drop(&mut self.table, stream).await,
            Entry::Output(stream) => HostOutputStream::drop(&mut self.table, stream).await,
            Entry::File(OpenFile { descriptor, .. }) | Entry::Dir(OpenDir { descriptor, .. }) => {
                HostDescriptor::drop(self, descriptor)
            }
        }?;
        Ok(())
    }
}

/// The same resource, for a call that does not take it away.
pub(super) fn borrow<T: 'static>(resource: &Resource<T>) -> Resource<T> {
    Resource::new_borrow(resource.rep())
}
