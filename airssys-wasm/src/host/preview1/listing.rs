//! `fd_readdir`: a directory in pieces of any size, by cookies.

use airssys_osl::fs::FileKind;

use super::{
    Outcome,
    errno::Fault,
    files::filetype,
    memory::{Guest, offset, size},
    table::borrow,
};
use crate::host::{Host, filesystem::Listing};

/// The bytes of an entry before its name.
const HEAD_BYTES: usize = 24;

/// A listing that is under way. A cookie is the number of entries before one.
pub(crate) struct Walk {
    listing: Listing,
    /// The number of entries that were delivered as a whole.
    delivered: u64,
    /// One that was read and did not fit.
    pending: Option<Entry>,
    /// The number of the directory itself.
    inode: u64,
}

struct Entry {
    inode: u64,
    kind: FileKind,
    name: String,
}

impl Walk {
    /// The entry after those that were delivered: `.` and `..` come first.
    async fn next(&mut self) -> Result<Option<Entry>, Fault> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        let own = |name: &str| {
            Ok(Some(Entry { inode: self.inode, kind: FileKind::Directory, name: name.to_owned() }))
        };
        match self.delivered {
            0 => own("."),
            // What is above is not the guest's to know.
            1 => own(".."),
            _ => Ok(self.listing.next().await?.map(|(name, entry)| Entry {
                inode: entry.inode,
                kind: entry.kind,
                name,
            })),
        }
    }

    async fn start(host: &mut Host, fd: u32) -> Result<Self, Fault> {
        let descriptor = host.dir_descriptor(fd)?;
        let inode = host.metadata(&descriptor).await?.inode;
        let listing = host.list(&borrow(&descriptor)).await?;
        Ok(Self { listing, delivered: 0, pending: None, inode })
    }

    /// Goes to the entry of a cookie. Going back means to begin anew, and so does a cookie of another listing.
    async fn seek(host: &mut Host, fd: u32, cookie: u64) -> Result<Self, Fault> {
        let walk = match host.open_dir(fd)?.walk.take() {
            Some(walk) if walk.delivered == cookie && cookie > 0 => return Ok(*walk),
            walk => walk,
        };
        // It holds the directory open once more.
        drop(walk);
        let mut walk = Self::start(host, fd).await?;
        while walk.delivered < cookie && walk.next().await?.is_some() {
            walk.delivered += 1;
        }
        Ok(walk)
    }
}

/// Fills the buffer with entries; the last one may be cut, and a full buffer says that there are more.
pub(super) async fn fd_readdir(
    guest: &mut Guest<'_>,
    fd: u32,
    buffer: u32,
    len: u32,
    cookie: u64,
    used: u32,
) -> Outcome {
    guest.bytes(buffer, len)?;
    let mut walk = Walk::seek(guest.host(), fd, cookie).await?;
    let len = len as usize;
    let mut filled = 0;
    while filled < len
        && let Some(entry) = walk.next().await?
    {
        let record = entry.record(walk.delivered + 1)?;
        let piece = record.get(..len - filled).unwrap_or(&record);
        guest.write(offset(buffer, filled)?, piece)?;
        filled += piece.len();
        if piece.len() < record.len() {
            walk.pending = Some(entry);
        } else {
            walk.delivered += 1;
        }
    }
    guest.host().open_dir(fd)?.walk = Some(Box::new(walk));
    guest.write_u32(used, size(filled)?)
}

impl Entry {
    fn record(&self, next: u64) -> Result<Vec<u8>, Fault> {
        let mut record = Vec::with_capacity(HEAD_BYTES + self.name.len());
        record.extend_from_slice(&next.to_le_bytes());
        record.extend_from_slice(&self.inode.to_le_bytes());
        record.extend_from_slice(&size(self.name.len())?.to_le_bytes());
        record.extend_from_slice(&[filetype(self.kind), 0, 0, 0]);
        record.extend_from_slice(self.name.as_bytes());
        Ok(record)
    }
}
