//! What `open-at` means: a decision over flags alone, which other versions of WASI share.

use airssys_osl::fs::OpenOptions;

use super::{
    super::bindings::wasi::filesystem::types::{DescriptorFlags, ErrorCode, OpenFlags, PathFlags},
    FsResult,
};

/// How something is opened, and what its descriptor may then do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening {
    pub(super) options: OpenOptions,
    pub(super) flags: DescriptorFlags,
    /// Which a directory never is, whatever else it was asked for.
    pub(super) asked_to_write: bool,
}

/// Decides how to open.
///
/// Creating and truncating are writing. A descriptor that is to do neither reads: it is still one that can be asked
/// about its object. `exclusive` means nothing without `create`, as in POSIX.
pub(crate) fn opening(
    path_flags: PathFlags,
    open_flags: OpenFlags,
    flags: DescriptorFlags,
) -> FsResult<Opening> {
    let create = open_flags.contains(OpenFlags::CREATE);
    let truncate = open_flags.contains(OpenFlags::TRUNCATE);
    let directory = open_flags.contains(OpenFlags::DIRECTORY);
    if directory && (create || truncate || open_flags.contains(OpenFlags::EXCLUSIVE)) {
        return Err(ErrorCode::Invalid.into());
    }
    let asked_to_write = flags.contains(DescriptorFlags::WRITE);
    // A directory is never written to; that is said once it is known to be one.
    let write = !directory && (asked_to_write || create || truncate);
    let read = flags.contains(DescriptorFlags::READ) || !asked_to_write || directory;
    let mut kept = flags & !(DescriptorFlags::READ | DescriptorFlags::WRITE);
    if read {
        kept |= DescriptorFlags::READ;
    }
    if write {
        kept |= DescriptorFlags::WRITE;
    }
    let options = OpenOptions::new()
        .read(read)
        .write(write)
        .create(create)
        .create_new(create && open_flags.contains(OpenFlags::EXCLUSIVE))
        .truncate(truncate)
        .directory(directory)
        .follow(follows(path_flags));
    Ok(Opening { options, flags: kept, asked_to_write })
}

pub(crate) fn follows(path_flags: PathFlags) -> bool {
    path_flags.contains(PathFlags::SYMLINK_FOLLOW)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_flags() -> DescriptorFlags {
        DescriptorFlags::empty()
    }

    fn check(open_flags: OpenFlags, flags: DescriptorFlags, expected: DescriptorFlags) {
        let opening = opening(PathFlags::empty(), open_flags, flags).unwrap();
        assert_eq!(opening.flags, expected, "{open_flags:?} {flags:?}");
    }

    #[test]
    fn no_flags_are_reading() {
        check(OpenFlags::empty(), no_flags(), DescriptorFlags::READ);
        check(OpenFlags::EXCLUSIVE, no_flags(), DescriptorFlags::READ);
    }

    #[test]
    fn writing_is_not_reading() {
        check(OpenFlags::empty(), DescriptorFlags::WRITE, DescriptorFlags::WRITE);
        check(OpenFlags::CREATE, DescriptorFlags::WRITE, DescriptorFlags::WRITE);
    }

    #[test]
    fn creating_and_truncating_are_writing() {
        let both = DescriptorFlags::READ | DescriptorFlags::WRITE;
        check(OpenFlags::CREATE, no_flags(), both);
        check(OpenFlags::CREATE | OpenFlags::EXCLUSIVE, DescriptorFlags::READ, both);
        check(OpenFlags::TRUNCATE, no_flags(), both);
    }

    #[test]
    fn a_directory_is_read_and_keeps_what_it_was_asked_for() {
        let mutate = DescriptorFlags::MUTATE_DIRECTORY;
        check(OpenFlags::DIRECTORY, mutate, mutate | DescriptorFlags::READ);
        check(OpenFlags::DIRECTORY, DescriptorFlags::WRITE, DescriptorFlags::READ);
    }

    #[test]
    fn a_directory_is_neither_created_nor_truncated() {
        for flag in [OpenFlags::CREATE, OpenFlags::TRUNCATE, OpenFlags::EXCLUSIVE] {
            assert!(
                opening(PathFlags::empty(), OpenFlags::DIRECTORY | flag, no_flags()).is_err(),
                "{flag:?}"
            );
        }
    }
}
