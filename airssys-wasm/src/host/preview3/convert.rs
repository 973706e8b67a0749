//! The words of WASI 0.3, in those of 0.2 and the door's.

use airssys_osl::{
    clock::Timestamp,
    fs::{FileKind, Metadata, SetTime},
};

use super::{
    super::{bindings::wasi::filesystem::types as old, filesystem::metadata_hash as hash},
    bindings::wasi::{
        clocks::system_clock::Instant,
        filesystem::types::{
            DescriptorFlags, DescriptorStat, DescriptorType, ErrorCode, MetadataHashValue, NewTimestamp,
            OpenFlags, PathFlags,
        },
    },
};

/// A set of flags whose names are the same in both.
macro_rules! flags {
    ($set:expr, $from:path => $to:path: $($name:ident),*) => {{
        use {$from as From, $to as To};
        let (from, mut to): (From, To) = ($set, To::empty());
        $(if from.contains(From::$name) {
            to |= To::$name;
        })*
        to
    }};
}

pub(super) fn new_flags(flags: old::DescriptorFlags) -> DescriptorFlags {
    flags!(flags, old::DescriptorFlags => DescriptorFlags: READ, WRITE, FILE_INTEGRITY_SYNC, DATA_INTEGRITY_SYNC,
        REQUESTED_WRITE_SYNC, MUTATE_DIRECTORY)
}

pub(super) fn old_flags(flags: DescriptorFlags) -> old::DescriptorFlags {
    flags!(flags, DescriptorFlags => old::DescriptorFlags: READ, WRITE, FILE_INTEGRITY_SYNC, DATA_INTEGRITY_SYNC,
        REQUESTED_WRITE_SYNC, MUTATE_DIRECTORY)
}

pub(super) fn open_flags(flags: OpenFlags) -> old::OpenFlags {
    flags!(flags, OpenFlags => old::OpenFlags: CREATE, DIRECTORY, EXCLUSIVE, TRUNCATE)
}

pub(super) fn path_flags(flags: PathFlags) -> old::PathFlags {
    flags!(flags, PathFlags => old::PathFlags: SYMLINK_FOLLOW)
}

impl From<old::ErrorCode> for ErrorCode {
    fn from(code: old::ErrorCode) -> Self {
        macro_rules! same {
            ($($name:ident),*) => {
                match code {
                    $(old::ErrorCode::$name => Self::$name,)*
                    // Which 0.3 has no word for.
                    old::ErrorCode::WouldBlock => Self::Other(Some("would-block".to_owned())),
                }
            };
        }
        same!(
            Access,
            Already,
            BadDescriptor,
            Busy,
            Deadlock,
            Quota,
            Exist,
            FileTooLarge,
            IllegalByteSequence,
            InProgress,
            Interrupted,
            Invalid,
            Io,
            IsDirectory,
            Loop,
            TooManyLinks,
            MessageSize,
            NameTooLong,
            NoDevice,
            NoEntry,
            NoLock,
            InsufficientMemory,
            InsufficientSpace,
            NotDirectory,
            NotEmpty,
            NotRecoverable,
            Unsupported,
            NoTty,
            NoSuchDevice,
            Overflow,
            NotPermitted,
            Pipe,
            ReadOnly,
            InvalidSeek,
            TextFileBusy,
            CrossDevice
        )
    }
}

pub(super) fn stat(metadata: &Metadata) -> DescriptorStat {
    DescriptorStat {
        type_: descriptor_type(metadata.kind),
        link_count: metadata.links,
        size: metadata.len,
        data_access_timestamp: Some(instant(metadata.accessed)),
        data_modification_timestamp: Some(instant(metadata.modified)),
        status_change_timestamp: Some(instant(metadata.changed)),
    }
}

pub(super) fn metadata_hash(metadata: &Metadata) -> MetadataHashValue {
    let old::MetadataHashValue { lower, upper } = hash(metadata);
    MetadataHashValue { lower, upper }
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
        FileKind::Unknown => DescriptorType::Other(None),
    }
}

fn instant(time: Timestamp) -> Instant {
    Instant { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

pub(super) fn set_time(timestamp: NewTimestamp) -> SetTime {
    match timestamp {
        NewTimestamp::NoChange => SetTime::Keep,
        NewTimestamp::Now => SetTime::Now,
        NewTimestamp::Timestamp(time) => {
            SetTime::To(Timestamp { seconds: time.seconds, nanoseconds: time.nanoseconds })
        }
    }
}
