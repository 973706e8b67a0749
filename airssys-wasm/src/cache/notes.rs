//! What the cache knows of files without reading them: which it has read before, and that they have not changed since.
//!
//! [ADR 0024](../../../docs/adr/0024-code-that-is-not-read-again.md) says what that is worth.

use airssys_osl::{
    ErrorKind as DoorErrorKind,
    clock::Timestamp,
    fs::{File, Flush, Metadata},
};
use hmac::Mac as _;

use super::{Cache, TAG_BYTES, mac};
use crate::component::Digest;

/// How the name of each note ends. That of a note about an entry begins with the entry's.
pub(super) const NOTE: &str = ".seen";

/// For how long nothing may have happened to a file when it was read, in seconds, for its times to tell of what happens
/// later: two changes within one tick of a file system's clock leave one time. The coarsest tick there is has two seconds.
const SETTLED_SECONDS: i64 = 3;

const DIGEST_BYTES: usize = 32;

/// What a note has behind its tag: when, the identity, the digest.
const BODY_BYTES: usize = TIME_BYTES + 3 * 8 + 2 * TIME_BYTES + DIGEST_BYTES;
const TIME_BYTES: usize = 8 + 4;

/// What the file system tells of a file, and what differs once its content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    len: u64,
    modified: Timestamp,
    /// Nobody sets this one but the kernel.
    changed: Timestamp,
}

/// A file at a moment before it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    at: Timestamp,
    identity: Identity,
}

/// What a file was when it was read, and what was in it: a component with this digest, or the verified code of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Note {
    seen: Seen,
    digest: [u8; DIGEST_BYTES],
}

impl Cache {
    /// The digest of a component's file, where it was read before and is the same.
    pub(crate) async fn digest_of(&self, source: &File) -> Option<Digest> {
        let identity = Identity::of(&told(source).await?);
        let note = self.note(&source_note(&identity)).await?;
        note.holds(&identity).then(|| Digest::from(note.digest))
    }

    /// Looks at a file that is going to be read; `None` where its times say nothing.
    pub(crate) async fn look_at(&self, file: &File) -> Option<Seen> {
        // Before the file: what happens to it from here on has this time or a later one.
        let at = self.now().await.ok()?;
        Some(Seen { at, identity: Identity::of(&told(file).await?) })
    }

    /// Notes the digest of a component's file that was read after it was looked at.
    pub(crate) async fn note_source(&self, source: &File, seen: Option<Seen>, digest: &Digest) {
        if let Some(seen) = seen.filter(Seen::is_settled) {
            self.write_note(source, &source_note(&seen.identity), Note { seen, digest: digest.bytes() })
                .await;
        }
    }

    /// Notes that the code in an entry was verified after it was looked at. It is the time of its use as well, so it is
    /// noted also where it will not be believed.
    pub(super) async fn note_entry(&self, entry: &File, name: &str, seen: Seen, digest: &Digest) {
        self.write_note(entry, &note_name(name), Note { seen, digest: digest.bytes() }).await;
    }

    /// Whether an open entry is one that was verified before and has not changed since; never where anybody but us could
    /// have changed it.
    #[cfg(target_os = "linux")]
    pub(super) async fn was_verified(&self, entry: &File, name: &str, digest: &Digest) -> bool {
        let (Some(file), Ok(folder)) = (told(entry).await, self.dir.self_metadata().await) else {
            return false;
        };
        if !(is_ours(&file) && is_ours(&folder)) {
            return false;
        }
        let Some(note) = self.note(&note_name(name)).await else { return false };
        note.holds(&Identity::of(&file)) && note.digest == digest.bytes()
    }

    /// A note that this cache wrote under this name.
    async fn note(&self, name: &str) -> Option<Note> {
        match self.dir.read(name, (TAG_BYTES + BODY_BYTES) as u64).await {
            Ok(bytes) => {
                let (tag, body) = bytes.split_at_checked(TAG_BYTES)?;
                mac(&self.key, name, body).verify_slice(tag).ok()?;
                Note::parse(body)
            }
            Err(error) => {
                if error.kind() != DoorErrorKind::NotFound {
                    tracing::debug!(note = name, cause = %error, "cannot read a note of the code cache");
                }
                None
            }
        }
    }

    /// Writes a note about a file that is open, where nothing happened to it while it was read.
    async fn write_note(&self, file: &File, name: &str, note: Note) {
        if told(file).await.is_none_or(|file| Identity::of(&file) != note.seen.identity) {
            return;
        }
        let body = note.write();
        let mut bytes = mac(&self.key, name, &body).finalize().into_bytes().to_vec();
        bytes.extend(body);
        if let Err(error) = self.dir.replace(name, bytes, Flush::Later).await {
            tracing::debug!(note = name, cause = %error, "cannot write a note of the code cache");
        }
    }
}

impl Identity {
    fn of(file: &Metadata) -> Self {
        let Metadata { device, inode, len, modified, changed, .. } = *file;
        Self { device, inode, len, modified, changed }
    }
}

impl Seen {
    /// Whether any later change of the file has another time than the last one before.
    fn is_settled(&self) -> bool {
        self.identity.changed.seconds.saturating_add(SETTLED_SECONDS) < self.at.seconds
    }
}

impl Note {
    fn holds(&self, identity: &Identity) -> bool {
        self.seen.is_settled() && self.seen.identity == *identity
    }

    fn write(&self) -> Vec<u8> {
        let Self { seen: Seen { at, identity }, digest } = self;
        let mut body = Vec::with_capacity(BODY_BYTES);
        for number in [identity.device, identity.inode, identity.len] {
            body.extend(number.to_le_bytes());
        }
        for time in [at, &identity.modified, &identity.changed] {
            body.extend(time.seconds.to_le_bytes());
            body.extend(time.nanoseconds.to_le_bytes());
        }
        body.extend(digest);
        body
    }

    fn parse(mut body: &[u8]) -> Option<Self> {
        let of = &mut body;
        let identity = (number(of)?, number(of)?, number(of)?);
        let (at, modified, changed) = (time(of)?, time(of)?, time(of)?);
        let digest = take(of)?;
        let (device, inode, len) = identity;
        let identity = Identity { device, inode, len, modified, changed };
        body.is_empty().then_some(Self { seen: Seen { at, identity }, digest })
    }
}

fn take<const N: usize>(of: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = of.split_first_chunk()?;
    *of = rest;
    Some(*taken)
}

fn number(of: &mut &[u8]) -> Option<u64> {
    take(of).map(u64::from_le_bytes)
}

fn time(of: &mut &[u8]) -> Option<Timestamp> {
    let seconds = i64::from_le_bytes(take(of)?);
    Some(Timestamp { seconds, nanoseconds: u32::from_le_bytes(take(of)?) })
}

/// The metadata of an open file, where they tell of every change: its times are set by this machine's kernel.
async fn told(file: &File) -> Option<Metadata> {
    // Other systems let programs set what they have for the time of the last change.
    if !cfg!(target_os = "linux") || !file.is_local() {
        return None;
    }
    file.metadata().await.ok()
}

#[cfg(target_os = "linux")]
fn is_ours(file: &Metadata) -> bool {
    file.user == airssys_osl::bootstrap::user() && file.mode & super::OTHERS == 0
}

/// The name of the note about the file with this number: a file has one, whatever it becomes.
fn source_note(identity: &Identity) -> String {
    format!("{:x}-{:x}{NOTE}", identity.device, identity.inode)
}

/// The name of the note about an entry.
pub(super) fn note_name(entry: &str) -> String {
    format!("{entry}{NOTE}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE_OF_FILE: Note = Note {
        seen: Seen {
            at: Timestamp { seconds: 100, nanoseconds: 1 },
            identity: Identity {
                device: 1,
                inode: 2,
                len: 3,
                modified: Timestamp { seconds: -4, nanoseconds: 5 },
                changed: Timestamp { seconds: 90, nanoseconds: 7 },
            },
        },
        digest: [8; DIGEST_BYTES],
    };

    #[test]
    fn a_note_is_read_as_it_was_written() {
        let body = NOTE_OF_FILE.write();
        assert_eq!(body.len(), BODY_BYTES);
        assert_eq!(Note::parse(&body), Some(NOTE_OF_FILE));
        assert_eq!(Note::parse(&body[1..]), None);
        assert_eq!(Note::parse(&[body.as_slice(), &[0]].concat()), None);
    }

    #[test]
    fn a_note_is_about_one_state_of_one_file() {
        let is = NOTE_OF_FILE.seen.identity;
        assert!(NOTE_OF_FILE.holds(&is));
        let later = Timestamp { nanoseconds: 8, ..is.changed };
        for other in [
            Identity { device: 9, ..is },
            Identity { inode: 9, ..is },
            Identity { len: 9, ..is },
            Identity { modified: later, ..is },
            Identity { changed: later, ..is },
        ] {
            assert!(!NOTE_OF_FILE.holds(&other), "{other:?}");
        }
    }

    #[test]
    fn what_changed_just_before_it_was_read_may_have_changed_just_after() {
        let check = |changed: i64, expected: bool| {
            let mut note = NOTE_OF_FILE;
            note.seen.identity.changed.seconds = changed;
            assert_eq!(note.holds(&note.seen.identity), expected, "{changed}");
        };
        check(90, true);
        check(96, true);
        check(97, false);
        check(100, false);
        check(i64::MAX, false);
    }
}
