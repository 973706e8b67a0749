//! What is done with a path beneath a directory: `path_*`.

use super::{
    Outcome,
    errno::{Errno, Fault},
    files::{APPEND, FD_READ, FD_WRITE, NONBLOCK, SYNC_FLAGS, filestat, times},
    memory::{Guest, size},
    table::{Entry, OpenDir, OpenFile},
};
use crate::host::{
    bindings::wasi::filesystem::types::{
        DescriptorFlags, DescriptorType, HostDescriptor as _, OpenFlags, PathFlags,
    },
    preview1::table::borrow,
};

/// What may be asked for when a path is opened.
const OPEN_FLAGS: [OpenFlags; 4] =
    [OpenFlags::CREATE, OpenFlags::DIRECTORY, OpenFlags::EXCLUSIVE, OpenFlags::TRUNCATE];

/// Whether a symbolic link at the end of a path is followed.
const SYMLINK_FOLLOW: u32 = 1;

pub(super) async fn path_create_directory(guest: &mut Guest<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    Ok(guest.host().create_directory_at(dir, path).await?)
}

pub(super) async fn path_filestat_get(
    guest: &mut Guest<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    len: u32,
    stat: u32,
) -> Outcome {
    let follow = lookup(flags)?.contains(PathFlags::SYMLINK_FOLLOW);
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    let dir = guest.host().dir(&dir)?.clone();
    let record = filestat(&dir.metadata(&path, follow).await?);
    guest.write(stat, &record)
}

#[expect(clippy::too_many_arguments, reason = "the signature is WASI's")]
pub(super) async fn path_filestat_set_times(
    guest: &mut Guest<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    len: u32,
    accessed: u64,
    modified: u64,
    flags: u32,
) -> Outcome {
    let (accessed, modified) = times(accessed, modified, flags)?;
    let path_flags = lookup(lookup_flags)?;
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    Ok(guest.host().set_times_at(dir, path_flags, path, accessed, modified).await?)
}

#[expect(clippy::too_many_arguments, reason = "the signature is WASI's")]
pub(super) async fn path_link(
    guest: &mut Guest<'_>,
    fd: u32,
    flags: u32,
    old: u32,
    old_len: u32,
    new_fd: u32,
    new: u32,
    new_len: u32,
) -> Outcome {
    let path_flags = lookup(flags)?;
    let (old, new) = (guest.string(old, old_len)?, guest.string(new, new_len)?);
    let (from, to) = (guest.host().dir_descriptor(fd)?, guest.host().dir_descriptor(new_fd)?);
    Ok(guest.host().link_at(from, path_flags, old, to, new).await?)
}

/// Opens. Of the rights only reading and writing mean anything: they are how the file is opened.
#[expect(clippy::too_many_arguments, reason = "the signature is WASI's")]
pub(super) async fn path_open(
    guest: &mut Guest<'_>,
    fd: u32,
    lookup_flags: u32,
    path: u32,
    len: u32,
    open: u32,
    rights: u64,
    _inheriting: u64,
    fdflags: u32,
    opened: u32,
) -> Outcome {
    let path_flags = lookup(lookup_flags)?;
    let open_flags = open_flags(open)?;
    let flags = descriptor_flags(rights, fdflags)?;
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    let host = guest.host();
    let descriptor = host.open_at(dir, path_flags, path, open_flags, flags).await?;
    let entry = match host.get_type(borrow(&descriptor))? {
        DescriptorType::Directory => Entry::Dir(OpenDir { descriptor, preopened: None, walk: None }),
        _ => Entry::File(OpenFile {
            descriptor,
            position: 0,
            append: fdflags & APPEND != 0,
            nonblocking: fdflags & NONBLOCK != 0,
        }),
    };
    let number = host.add_entry(entry)?;
    guest.write_u32(opened, number)
}

pub(super) async fn path_readlink(
    guest: &mut Guest<'_>,
    fd: u32,
    path: u32,
    len: u32,
    buffer: u32,
    buffer_len: u32,
    used: u32,
) -> Outcome {
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    let target = guest.host().readlink_at(dir, path).await?;
    let target = target.as_bytes();
    let target = target.get(..buffer_len as usize).unwrap_or(target);
    guest.write(buffer, target)?;
    guest.write_u32(used, size(target.len())?)
}

pub(super) async fn path_remove_directory(guest: &mut Guest<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    Ok(guest.host().remove_directory_at(dir, path).await?)
}

pub(super) async fn path_rename(
    guest: &mut Guest<'_>,
    fd: u32,
    old: u32,
    old_len: u32,
    new_fd: u32,
    new: u32,
    new_len: u32,
) -> Outcome {
    let (old, new) = (guest.string(old, old_len)?, guest.string(new, new_len)?);
    let (from, to) = (guest.host().dir_descriptor(fd)?, guest.host().dir_descriptor(new_fd)?);
    Ok(guest.host().rename_at(from, old, to, new).await?)
}

pub(super) async fn path_symlink(
    guest: &mut Guest<'_>,
    target: u32,
    target_len: u32,
    fd: u32,
    path: u32,
    len: u32,
) -> Outcome {
    let (target, path) = (guest.string(target, target_len)?, guest.string(path, len)?);
    let dir = guest.host().dir_descriptor(fd)?;
    Ok(guest.host().symlink_at(dir, target, path).await?)
}

pub(super) async fn path_unlink_file(guest: &mut Guest<'_>, fd: u32, path: u32, len: u32) -> Outcome {
    let path = guest.string(path, len)?;
    let dir = guest.host().dir_descriptor(fd)?;
    Ok(guest.host().unlink_file_at(dir, path).await?)
}

fn lookup(flags: u32) -> Result<PathFlags, Fault> {
    match flags {
        0 => Ok(PathFlags::empty()),
        SYMLINK_FOLLOW => Ok(PathFlags::SYMLINK_FOLLOW),
        _ => Err(Errno::INVAL.into()),
    }
}

fn open_flags(open: u32) -> Result<OpenFlags, Fault> {
    if open >> OPEN_FLAGS.len() != 0 {
        return Err(Errno::INVAL.into());
    }
    let set = OPEN_FLAGS.iter().enumerate().filter(|(bit, _)| open & 1 << bit != 0);
    Ok(set.fold(OpenFlags::empty(), |flags, (_, flag)| flags | *flag))
}

fn descriptor_flags(rights: u64, fdflags: u32) -> Result<DescriptorFlags, Fault> {
    if fdflags >> 5 != 0 {
        return Err(Errno::INVAL.into());
    }
    let mut flags = DescriptorFlags::empty();
    if rights & FD_READ != 0 {
        flags |= DescriptorFlags::READ;
    }
    if rights & FD_WRITE != 0 {
        flags |= DescriptorFlags::WRITE;
    }
    let asked = SYNC_FLAGS.iter().filter(|(_, fdflag)| fdflags & fdflag != 0);
    Ok(asked.fold(flags, |flags, (flag, _)| flags | *flag))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_keep_their_meaning() {
        let all = OpenFlags::CREATE | OpenFlags::DIRECTORY | OpenFlags::EXCLUSIVE | OpenFlags::TRUNCATE;
        assert_eq!(open_flags(0b1111).unwrap(), all);
        assert_eq!(open_flags(0b100).unwrap(), OpenFlags::EXCLUSIVE);
        assert!(open_flags(0b10000).is_err(), "one that nobody knows");
        assert_eq!(
            descriptor_flags(FD_WRITE, 1 << 4).unwrap(),
            DescriptorFlags::WRITE | DescriptorFlags::FILE_INTEGRITY_SYNC
        );
        assert!(descriptor_flags(0, 1 << 5).is_err());
    }
}
