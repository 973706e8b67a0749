//! The one table of what each operation needs and whether it changes something.

use super::OpenOptions;
use crate::{Action, policy::Rights};

/// One kind of operation on files.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verb {
    pub(super) action: Action,
    pub(super) needs: Needs,
    /// Whether it changes something: then its intent is recorded first.
    pub(super) mutates: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Needs {
    All(Rights),
    ReadOrList,
}

pub(super) const OPEN_DIR: Verb = reads(Action::FsOpen, Needs::All(Rights::empty()));
pub(super) const READ: Verb = reads(Action::FsRead, Needs::All(Rights::READ));
pub(super) const LIST: Verb = reads(Action::FsList, Needs::All(Rights::LIST));
pub(super) const METADATA: Verb = reads(Action::FsMetadata, Needs::ReadOrList);
pub(super) const OWN_METADATA: Verb = reads(Action::FsMetadata, Needs::All(Rights::empty()));
pub(super) const READ_LINK: Verb = reads(Action::FsReadLink, Needs::ReadOrList);
pub(super) const SYNC: Verb = reads(Action::FsSync, Needs::All(Rights::empty()));
pub(super) const WRITE: Verb = changes(Action::FsWrite, Rights::WRITE);
pub(super) const SET_LEN: Verb = changes(Action::FsSetLen, Rights::WRITE);
pub(super) const SET_TIMES: Verb = changes(Action::FsSetTimes, Rights::WRITE);
pub(super) const CREATE_DIR: Verb = changes(Action::FsCreateDir, Rights::CREATE);
pub(super) const SYMLINK: Verb = changes(Action::FsSymlink, Rights::CREATE);
pub(super) const HARD_LINK: Verb = changes(Action::FsHardLink, Rights::CREATE);
pub(super) const REPLACE: Verb = changes(Action::FsReplace, Rights::CREATE.union(Rights::WRITE));
pub(super) const RENAME: Verb = changes(Action::FsRename, Rights::CREATE.union(Rights::WRITE));
pub(super) const REMOVE_TREE: Verb = changes(Action::FsRemoveTree, Rights::DELETE);
pub(super) const SET_PERMISSIONS: Verb = changes(Action::FsSetPermissions, Rights::WRITE);
pub(super) const COPY_FROM: Verb = reads(Action::FsRead, Needs::All(Rights::READ));
pub(super) const COPY_TO: Verb = changes(Action::FsCopy, Rights::CREATE.union(Rights::WRITE));
pub(super) const TEMPORARY: Verb = changes(Action::FsOpen, Rights::CREATE.union(Rights::WRITE));
pub(super) const PERSIST: Verb = changes(Action::FsHardLink, Rights::CREATE);
pub(super) const LOCK_SHARED: Verb = reads(Action::FsLock, Needs::All(Rights::READ));
pub(super) const LOCK_ALONE: Verb = reads(Action::FsLock, Needs::All(Rights::WRITE));
pub(super) const WATCH: Verb = reads(Action::FsWatch, Needs::All(Rights::LIST));
pub(super) const REMOVE_FILE: Verb = changes(Action::FsRemoveFile, Rights::DELETE);
pub(super) const REMOVE_DIR: Verb = changes(Action::FsRemoveDir, Rights::DELETE);

impl Verb {
    /// Opening needs what its options say.
    pub(super) fn open(options: OpenOptions) -> Self {
        Self { action: Action::FsOpen, needs: Needs::All(options.needs()), mutates: options.changes() }
    }
}

impl Needs {
    /// What is needed by someone who has the rights `held`, and what would do as well.
    pub(super) fn ways(self, held: Rights) -> (Rights, Option<Rights>) {
        match self {
            Self::All(rights) => (rights, None),
            Self::ReadOrList if held.contains(Rights::READ) => (Rights::READ, Some(Rights::LIST)),
            Self::ReadOrList => (Rights::LIST, Some(Rights::READ)),
        }
    }
}

const fn reads(action: Action, needs: Needs) -> Verb {
    Verb { action, needs, mutates: false }
}

const fn changes(action: Action, needs: Rights) -> Verb {
    Verb { action, needs: Needs::All(needs), mutates: true }
}
