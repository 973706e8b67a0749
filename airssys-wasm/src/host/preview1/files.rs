//! What is done with a number: `fd_*`.

use airssys_osl::fs::{FileKind, Metadata};
use bytes::Bytes;

pub(super) use super::listing::fd_readdir;
use super::{
    Outcome,
    errno::{Errno, Fault},
    memory::{Guest, size},
    stdio,
    table::{Entry, borrow},
};
use crate::host::{
    bindings::wasi::{
        clocks::wall_clock::Datetime,
        filesystem::types::{Advice, DescriptorFlags, HostDescriptor as _, NewTimestamp},
    },
    filesystem::Durability,
};

/// The most bytes of one write: they are copied before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// Flags of a descriptor.
pub(super) const APPEND: u32 = 1;
pub(super) const DSYNC: u32 = 1 << 1;
pub(super) const NONBLOCK: u32 = 1 << 2;
pub(super) const RSYNC: u32 = 1 << 3;
pub(super) const SYNC: u32 = 1 << 4;

/// Rights of a descriptor. They are told, not taken away: the grants of the policy are what holds.
pub(super) const FD_READ: u64 = 1 << 1;
pub(super) const FD_WRITE: u64 = 1 << 6;
/// What all files have: datasync, seek, fdstat_set_flags, sync, tell, advise, filestat_get, filestat_set_times, poll.
const FILE_RIGHTS: u64 = 1 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 21 | 1 << 23 | 1 << 27;
/// What only those have that are written to: allocate, filestat_set_size.
const WRITE_RIGHTS: u64 = FD_WRITE | 1 << 8 | 1 << 22;
/// What directories have: all that begins with `path_` but filestat_set_size, readdir, and both filestat of their own.
const DIR_RIGHTS: u64 = 0x3f << 9 | 1 << 15 | 0x7 << 16 | 1 << 20 | 1 << 21 | 1 << 23 | 0x7 << 24;
/// What a file may have that is opened in one.
const INHERITED_RIGHTS: u64 = DIR_RIGHTS | FILE_RIGHTS | FD_READ | WRITE_RIGHTS;

/// Where `fd_seek` counts from.
const SEEK_SET: u32 = 0;
const SEEK_CURRENT: u32 = 1;
const SEEK_END: u32 = 2;

pub(super) async fn fd_advise(guest: &mut Guest<'_>, fd: u32, offset: u64, len: u64, advice: u32) -> Outcome {
    let advice = match advice {
        0 => Advice::Normal,
        1 => Advice::Sequential,
        2 => Advice::Random,
        3 => Advice::WillNeed,
        4 => Advice::DontNeed,
        5 => Advice::NoReuse,
        _ => return Err(Errno::INVAL.into()),
    };
    let file = guest.host().file_descriptor(fd)?;
    Ok(guest.host().advise(file, offset, len, advice)?)
}

/// There is no way to hold space that every file system has.
pub(super) async fn fd_allocate(guest: &mut Guest<'_>, fd: u32, _offset: u64, _len: u64) -> Outcome {
    guest.host().open_file(fd)?;
    Err(Errno::NOTSUP.into())
}

pub(super) async fn fd_close(guest: &mut Guest<'_>, fd: u32) -> Outcome {
    guest.host().close(fd).await
}

pub(super) async fn fd_datasync(guest: &mut Guest<'_>, fd: u32) -> Outcome {
    let descriptor = guest.host().descriptor(fd)?;
    Ok(guest.host().sync_data(descriptor).await?)
}

pub(super) async fn fd_sync(guest: &mut Guest<'_>, fd: u32) -> Outcome {
    let descriptor = guest.host().descriptor(fd)?;
    Ok(guest.host().sync(descriptor).await?)
}

pub(super) async fn fd_fdstat_get(guest: &mut Guest<'_>, fd: u32, stat: u32) -> Outcome {
    let host = guest.host();
    let (kind, flags, rights, inheriting) = match host.entry(fd)? {
        Entry::Input(_) => (UNKNOWN, 0, FD_READ | 1 << 27, 0),
        Entry::Output(_) => (UNKNOWN, 0, FD_WRITE | 1 << 27, 0),
        Entry::Dir(_) => (DIRECTORY, 0, DIR_RIGHTS, INHERITED_RIGHTS),
        Entry::File(file) => {
            let mut fdflags = if file.append { APPEND } else { 0 };
            fdflags |= if file.nonblocking { NONBLOCK } else { 0 };
            let descriptor = borrow(&file.descriptor);
            let flags = host.get_flags(descriptor)?;
            for (flag, fdflag) in SYNC_FLAGS {
                fdflags |= if flags.contains(flag) { fdflag } else { 0 };
            }
            let read = if flags.contains(DescriptorFlags::READ) { FD_READ } else { 0 };
            let write = if flags.contains(DescriptorFlags::WRITE) { WRITE_RIGHTS } else { 0 };
            (REGULAR_FILE, fdflags, FILE_RIGHTS | read | write, 0)
        }
    };
    let mut record = [0; 24];
    put(&mut record, 0, &[kind]);
    put(&mut record, 2, &(flags as u16).to_le_bytes());
    put(&mut record, 8, &rights.to_le_bytes());
    put(&mut record, 16, &inheriting.to_le_bytes());
    guest.write(stat, &record)
}

/// The flags of a descriptor about what its writes wait for, in both versions.
pub(super) const SYNC_FLAGS: [(DescriptorFlags, u32); 3] = [
    (DescriptorFlags::DATA_INTEGRITY_SYNC, DSYNC),
    (DescriptorFlags::REQUESTED_WRITE_SYNC, RSYNC),
    (DescriptorFlags::FILE_INTEGRITY_SYNC, SYNC),
];

/// Whether to append, and whether to wait: the rest is for when a file is opened.
pub(super) async fn fd_fdstat_set_flags(guest: &mut Guest<'_>, fd: u32, flags: u32) -> Outcome {
    if flags & !(APPEND | NONBLOCK) != 0 {
        return Err(Errno::INVAL.into());
    }
    let file = guest.host().open_file(fd)?;
    file.append = flags & APPEND != 0;
    file.nonblocking = flags & NONBLOCK != 0;
    Ok(())
}

/// Rights were taken out of WASI after this version; no host has to have them.
pub(super) async fn fd_fdstat_set_rights(
    guest: &mut Guest<'_>,
    fd: u32,
    _base: u64,
    _inheriting: u64,
) -> Outcome {
    guest.host().entry(fd)?;
    Err(Errno::NOTSUP.into())
}

pub(super) async fn fd_filestat_get(guest: &mut Guest<'_>, fd: u32, stat: u32) -> Outcome {
    let record = match guest.host().entry(fd)? {
        Entry::Input(_) | Entry::Output(_) => [0; 64],
        Entry::File(_) | Entry::Dir(_) => {
            let descriptor = guest.host().descriptor(fd)?;
            filestat(&guest.host().metadata(&descriptor).await?)
        }
    };
    guest.write(stat, &record)
}

pub(super) async fn fd_filestat_set_size(guest: &mut Guest<'_>, fd: u32, size: u64) -> Outcome {
    let file = guest.host().file_descriptor(fd)?;
    Ok(guest.host().set_size(file, size).await?)
}

pub(super) async fn fd_filestat_set_times(
    guest: &mut Guest<'_>,
    fd: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Outcome {
    let (accessed, modified) = times(accessed, modified, flags)?;
    let descriptor = guest.host().descriptor(fd)?;
    Ok(guest.host().set_times(descriptor, accessed, modified).await?)
}

pub(super) async fn fd_pread(
    guest: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    read: u32,
) -> Outcome {
    if let Entry::Input(_) = guest.host().entry(fd)? {
        return Err(Errno::SPIPE.into());
    }
    let buffers = guest.buffers(iovs, count)?;
    let total = read_file(guest, fd, &buffers, offset).await?;
    guest.write_u32(read, total)
}

pub(super) async fn fd_read(guest: &mut Guest<'_>, fd: u32, iovs: u32, count: u32, read: u32) -> Outcome {
    let buffers = guest.buffers(iovs, count)?;
    let total = match guest.host().entry(fd)? {
        Entry::Input(stream) => {
            let stream = borrow(stream);
            stdio::read(guest, stream, &buffers).await?
        }
        _ => {
            let position = guest.host().open_file(fd)?.position;
            let total = read_file(guest, fd, &buffers, position).await?;
            guest.host().open_file(fd)?.position = position.saturating_add(total.into());
            total
        }
    };
    guest.write_u32(read, total)
}

/// Reads into the guest's memory, a buffer after the other, until one is not filled.
async fn read_file(
    guest: &mut Guest<'_>,
    fd: u32,
    buffers: &[(u32, u32)],
    offset: u64,
) -> Result<u32, Fault> {
    let descriptor = guest.host().file_descriptor(fd)?;
    let (file, _) = guest.host().file_for(&descriptor, DescriptorFlags::READ)?;
    let file = file.clone();
    let mut total = 0_u32;
    for (at, len) in buffers {
        let from = offset.saturating_add(total.into());
        let read = match file.read_at(guest.bytes_mut(*at, *len)?, from).await {
            Ok(read) => size(read)?,
            // What was read before counts; the error comes again with the next call.
            Err(_) if total > 0 => break,
            Err(error) => return Err(error.into()),
        };
        total = total.checked_add(read).ok_or(Errno::OVERFLOW)?;
        if read < *len {
            break;
        }
    }
    Ok(total)
}

pub(super) async fn fd_pwrite(
    guest: &mut Guest<'_>,
    fd: u32,
    iovs: u32,
    count: u32,
    offset: u64,
    written: u32,
) -> Outcome {
    if let Entry::Output(_) = guest.host().entry(fd)? {
        return Err(Errno::SPIPE.into());
    }
    let bytes = gather(guest, iovs, count)?;
    let total = write_file(guest, fd, bytes, Some(offset)).await?;
    guest.write_u32(written, total)
}

pub(super) async fn fd_write(guest: &mut Guest<'_>, fd: u32, iovs: u32, count: u32, written: u32) -> Outcome {
    let bytes = gather(guest, iovs, count)?;
    let total = match guest.host().entry(fd)? {
        Entry::Output(stream) => {
            let stream = borrow(stream);
            stdio::write(guest, stream, bytes).await?
        }
        _ => write_file(guest, fd, bytes, None).await?,
    };
    guest.write_u32(written, total)
}

/// What is to be written, up to [`WRITE_BYTES`]; the guest learns how much that was.
fn gather(guest: &mut Guest<'_>, iovs: u32, count: u32) -> Result<Bytes, Fault> {
    let mut bytes = Vec::new();
    for (at, len) in guest.buffers(iovs, count)? {
        let rest = WRITE_BYTES - bytes.len();
        let buffer = guest.bytes(at, len)?;
        bytes.extend_from_slice(buffer.get(..rest).unwrap_or(buffer));
    }
    Ok(bytes.into())
}

/// Writes at `offset`, or at the file's position, which moves; at the end where the file appends, as Linux does even
/// with an offset.
async fn write_file(guest: &mut Guest<'_>, fd: u32, bytes: Bytes, offset: Option<u64>) -> Result<u32, Fault> {
    let host = guest.host();
    let open = host.open_file(fd)?;
    let (append, position, descriptor) = (open.append, open.position, borrow(&open.descriptor));
    let (file, flags) = host.file_for(&descriptor, DescriptorFlags::WRITE)?;
    let file = file.clone();
    let len = size(bytes.len())?;
    if append {
        file.append(bytes).await?;
    } else {
        file.write_at(bytes, offset.unwrap_or(position)).await?;
    }
    Durability::of(flags).settle(&file).await?;
    if offset.is_none() {
        let position = match append {
            true => file.metadata().await?.len,
            false => position.saturating_add(len.into()),
        };
        guest.host().open_file(fd)?.position = position;
    }
    Ok(len)
}

pub(super) async fn fd_prestat_get(guest: &mut Guest<'_>, fd: u32, prestat: u32) -> Outcome {
    let Entry::Dir(dir) = guest.host().entry(fd)? else { return Err(Errno::BADF.into()) };
    let len = size(dir.preopened.as_ref().ok_or(Errno::BADF)?.len())?;
    // The tag of a directory is 0.
    guest.write_u32(prestat, 0)?;
    guest.write_u32(super::memory::offset(prestat, 4)?, len)
}

pub(super) async fn fd_prestat_dir_name(guest: &mut Guest<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let Entry::Dir(dir) = guest.host().entry(fd)? else { return Err(Errno::BADF.into()) };
    let name = dir.preopened.clone().ok_or(Errno::BADF)?;
    if name.len() > len as usize {
        return Err(Errno::NAMETOOLONG.into());
    }
    guest.write(path, name.as_bytes())
}

pub(super) async fn fd_renumber(guest: &mut Guest<'_>, from: u32, to: u32) -> Outcome {
    guest.host().renumber(from, to).await
}

pub(super) async fn fd_seek(
    guest: &mut Guest<'_>,
    fd: u32,
    offset: i64,
    whence: u32,
    position: u32,
) -> Outcome {
    let current = seekable(guest, fd)?;
    let base = match whence {
        SEEK_SET => 0,
        SEEK_CURRENT => current,
        SEEK_END => {
            let descriptor = guest.host().file_descriptor(fd)?;
            guest.host().metadata(&descriptor).await?.len
        }
        _ => return Err(Errno::INVAL.into()),
    };
    let sought = base.checked_add_signed(offset).ok_or(Errno::INVAL)?;
    if i64::try_from(sought).is_err() {
        return Err(Errno::INVAL.into());
    }
    guest.host().open_file(fd)?.position = sought;
    guest.write_u64(position, sought)
}

pub(super) async fn fd_tell(guest: &mut Guest<'_>, fd: u32, position: u32) -> Outcome {
    let current = seekable(guest, fd)?;
    guest.write_u64(position, current)
}

fn seekable(guest: &mut Guest<'_>, fd: u32) -> Result<u64, Fault> {
    match guest.host().entry(fd)? {
        Entry::File(file) => Ok(file.position),
        Entry::Dir(_) => Err(Errno::ISDIR.into()),
        Entry::Input(_) | Entry::Output(_) => Err(Errno::SPIPE.into()),
    }
}

const UNKNOWN: u8 = 0;
const DIRECTORY: u8 = 3;
const REGULAR_FILE: u8 = 4;

pub(super) fn filetype(kind: FileKind) -> u8 {
    match kind {
        FileKind::BlockDevice => 1,
        FileKind::CharDevice => 2,
        FileKind::Directory => DIRECTORY,
        FileKind::File => REGULAR_FILE,
        FileKind::Socket => 6,
        FileKind::Symlink => 7,
        FileKind::Fifo | FileKind::Unknown => UNKNOWN,
    }
}

/// A `filestat` record.
pub(super) fn filestat(metadata: &Metadata) -> [u8; 64] {
    let nanoseconds = |time: airssys_osl::clock::Timestamp| {
        let seconds = u64::try_from(time.seconds).unwrap_or(0);
        seconds.saturating_mul(1_000_000_000).saturating_add(time.nanoseconds.into())
    };
    let mut record = [0; 64];
    put(&mut record, 0, &metadata.device.to_le_bytes());
    put(&mut record, 8, &metadata.inode.to_le_bytes());
    put(&mut record, 16, &[filetype(metadata.kind)]);
    put(&mut record, 24, &metadata.links.to_le_bytes());
    put(&mut record, 32, &metadata.len.to_le_bytes());
    put(&mut record, 40, &nanoseconds(metadata.accessed).to_le_bytes());
    put(&mut record, 48, &nanoseconds(metadata.modified).to_le_bytes());
    put(&mut record, 56, &nanoseconds(metadata.changed).to_le_bytes());
    record
}

/// What becomes of the two times of an object.
pub(super) fn times(accessed: u64, modified: u64, flags: u32) -> Result<(NewTimestamp, NewTimestamp), Errno> {
    let time = |time: u64, set: u32, now: u32| match (flags & set != 0, flags & now != 0) {
        (true, true) => Err(Errno::INVAL),
        (true, false) => Ok(NewTimestamp::Timestamp(Datetime {
            seconds: time / 1_000_000_000,
            nanoseconds: (time % 1_000_000_000) as u32,
        })),
        (false, true) => Ok(NewTimestamp::Now),
        (false, false) => Ok(NewTimestamp::NoChange),
    };
    if flags & !0xf != 0 {
        return Err(Errno::INVAL);
    }
    Ok((time(accessed, 1, 1 << 1)?, time(modified, 1 << 2, 1 << 3)?))
}

/// Puts a field into a record.
pub(super) fn put(record: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = record.get_mut(offset..offset + field.len()) {
        place.copy_from_slice(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_set_in_one_way() {
        assert_eq!(times(0, 0, 0b11).err(), Some(Errno::INVAL));
        assert_eq!(times(0, 0, 0b1100).err(), Some(Errno::INVAL));
        assert_eq!(times(0, 0, 1 << 4).err(), Some(Errno::INVAL));
        let (accessed, modified) = times(1_000_000_001, 0, 0b1001).unwrap();
        assert!(
            matches!(accessed, NewTimestamp::Timestamp(time) if (time.seconds, time.nanoseconds) == (1, 1))
        );
        assert!(matches!(modified, NewTimestamp::Now));
    }
}
