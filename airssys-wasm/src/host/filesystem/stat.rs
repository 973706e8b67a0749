//! What osl knows of an object, in WASI's words, and the other way.

use airssys_osl::{
    clock::Timestamp,
    fs::{FileKind, Metadata, SetTime},
};
use sha2::{Digest as _, Sha256};

use super::{
    super::bindings::wasi::{
        clocks::wall_clock::Datetime,
        filesystem::types::{DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, NewTimestamp},
    },
    FsResult,
};

pub(super) fn stat(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: descriptor_type(metadata.kind),
        link_count: metadata.links,
        size: metadata.len,
        data_access_timestamp: datetime(metadata.accessed),
        data_modification_timestamp: datetime(metadata.modified),
        status_change_timestamp: datetime(metadata.changed),
    }
}

/// Hashes the identity of an object: whoever has seen it before knows it again, whatever it is called by now, however it
/// was changed, and after a restart too. WASI leaves the choice to the host; Wasmtime's is the same.
pub(crate) fn metadata_hash(metadata: &Metadata) -> MetadataHashValue {
    let identity = [metadata.device.to_le_bytes(), metadata.inode.to_le_bytes()].concat();
    let digest: [u8; 32] = Sha256::digest(identity).into();
    let half = |at: usize| digest.iter().skip(at).take(8).fold(0, |half, byte| half << 8 | u64::from(*byte));
    MetadataHashValue { lower: half(0), upper: half(8) }
}

pub(super) fn descriptor_type(kind: FileKind) -> DescriptorType {
    match kind {
        FileKind::File => DescriptorType::RegularFile,
        FileKind::Directory => DescriptorType::Directory,
        FileKind::Symlink => DescriptorType::SymbolicLink,
        FileKind::Fifo => DescriptorType::Fifo,
        FileKind::Socket => DescriptorType::Socket,
        FileKind::CharDevice => DescriptorType::CharacterDevice,
        FileKind::BlockDevice => DescriptorType::BlockDevice,
        FileKind::Unknown => DescriptorType::Unknown,
    }
}

/// Times before 1970 have no word in WASI.
fn datetime(time: Timestamp) -> Option<Datetime> {
    let seconds = u64::try_from(time.seconds).ok()?;
    Some(Datetime { seconds, nanoseconds: time.nanoseconds })
}

pub(super) fn set_time(timestamp: NewTimestamp) -> FsResult<SetTime> {
    Ok(match timestamp {
        NewTimestamp::NoChange => SetTime::Keep,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(time) => {
            let seconds = i64::try_from(time.seconds).map_err(|_| ErrorCode::Overflow)?;
            SetTime::To(Timestamp { seconds, nanoseconds: time.nanoseconds })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_one_side_cannot_say() {
        assert!(datetime(Timestamp { seconds: -1, nanoseconds: 0 }).is_none());
        assert!(datetime(Timestamp { seconds: 0, nanoseconds: 7 }).is_some_and(|time| time.nanoseconds == 7));
        let late = NewTimestamp::Timestamp(Datetime { seconds: u64::MAX, nanoseconds: 0 });
        assert!(set_time(late).is_err());
    }
}
