//! How much the code cache holds, and what goes where that is too much.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use airssys_osl::{ErrorKind as DoorErrorKind, clock::Timestamp, fs::SetTime};

use super::{
    Cache, ENTRY, KEY_FILE,
    notes::{NOTE, note_name},
};
use crate::error::Error;

/// What a file is called that `Dir::replace` writes before it gives it its name: a crash can leave one.
const TEMPORARY: (&str, &str) = (".airssys-", ".tmp");

/// How old such a file is before it is one that a crash left, in seconds: a younger one may be still written.
const WRITTEN_SECONDS: i64 = 60;

/// How many notes about components' files there may be: each is as long as a few names. Of more, those that
/// were written first go: reading one leaves no trace.
const NOTES: usize = 1000;

/// How much a cache holds. What it notes about files does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheUsage {
    /// How many entries.
    pub entries: u64,
    /// All of them together, in bytes.
    pub bytes: u64,
}

/// One file of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    /// When it was used last.
    used: Timestamp,
    bytes: u64,
    name: OsString,
}

impl Cache {
    /// How much it holds.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub async fn usage(&self) -> Result<CacheUsage, Error> {
        Ok(sum(&self.files().await?.0))
    }

    /// Removes what was used the longest time ago until the rest has at most `limit_bytes` bytes, and tells what is gone.
    /// What runs goes on, and what another program writes just now stays.
    ///
    /// Where two programs do it at once each decides by what it has seen, and so both by the same order: neither removes
    /// more than it would have removed alone.
    ///
    /// # Errors
    ///
    /// The folder cannot be listed, or something in it cannot be removed.
    ///
    /// # Cancel safety
    ///
    /// Some of it may be removed.
    pub async fn shrink(&self, limit_bytes: u64) -> Result<CacheUsage, Error> {
        let (mut entries, mut notes) = self.files().await?;
        if entries.iter().any(|entry| is_temporary(&entry.name)) {
            let now = self.now().await?.seconds;
            entries.retain(|entry| {
                !is_temporary(&entry.name) || now.saturating_sub(entry.used.seconds) >= WRITTEN_SECONDS
            });
        }
        let gone = surplus(entries, limit_bytes);
        for entry in &gone {
            self.remove(&entry.name).await?;
            if let Some(name) = entry.name.to_str().filter(|name| name.ends_with(ENTRY)) {
                self.remove(OsStr::new(&note_name(name))).await?;
            }
        }
        notes.sort_by_key(|note| note.used);
        let kept = if limit_bytes == 0 { 0 } else { NOTES };
        for note in notes.iter().take(notes.len().saturating_sub(kept)) {
            self.remove(&note.name).await?;
        }
        Ok(sum(&gone))
    }

    async fn remove(&self, name: &OsStr) -> Result<(), Error> {
        match self.dir.remove_file(name).await {
            Err(error) if error.kind() != DoorErrorKind::NotFound => {
                Err(Error::door("shrink the code cache", error))
            }
            _ => Ok(()),
        }
    }

    /// The time by the clock that the files of the cache have theirs from, which need not be this machine's.
    pub(super) async fn now(&self) -> Result<Timestamp, Error> {
        let failed = |error| Error::door("tell the age of what is in the code cache", error);
        self.dir.set_times(KEY_FILE, false, SetTime::Keep, SetTime::Now).await.map_err(failed)?;
        Ok(self.dir.metadata(KEY_FILE, false).await.map_err(failed)?.modified)
    }

    /// The entries, and the notes about components' files.
    async fn files(&self) -> Result<(Vec<Entry>, Vec<Entry>), Error> {
        let failed = |error| Error::door("list the code cache", error);
        let (mut found, mut notes) = (Vec::new(), Vec::new());
        let mut names = self.dir.entries().await.map_err(failed)?;
        while let Some(name) = names.next().await {
            let name = name.map_err(failed)?.name;
            let Some(text) = name.to_str().filter(|name| is_entry(name) || name.ends_with(NOTE)) else {
                continue;
            };
            match self.dir.metadata(&name, false).await {
                Ok(file) => {
                    let to = if text.ends_with(NOTE) { &mut notes } else { &mut found };
                    to.push(Entry { used: file.modified, bytes: file.len, name });
                }
                Err(error) if error.kind() == DoorErrorKind::NotFound => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(used(found, notes))
    }
}

/// Has each entry used when the note about it says so, where that is later. What is left are the notes about other files, and
/// those about entries that are gone.
fn used(mut entries: Vec<Entry>, notes: Vec<Entry>) -> (Vec<Entry>, Vec<Entry>) {
    let mut notes: BTreeMap<_, _> = notes.into_iter().map(|note| (note.name.clone(), note)).collect();
    for entry in &mut entries {
        let note = entry.name.to_str().and_then(|name| notes.remove(OsStr::new(&note_name(name))));
        entry.used = note.map_or(entry.used, |note| note.used.max(entry.used));
    }
    (entries, notes.into_values().collect())
}

fn is_entry(name: &str) -> bool {
    name.ends_with(ENTRY) || is_temporary(OsStr::new(name))
}

fn is_temporary(name: &OsStr) -> bool {
    let (start, end) = TEMPORARY;
    name.to_str().is_some_and(|name| name.starts_with(start) && name.ends_with(end))
}

fn sum(entries: &[Entry]) -> CacheUsage {
    CacheUsage { entries: entries.len() as u64, bytes: entries.iter().map(|entry| entry.bytes).sum() }
}

/// What has to go so that the rest has at most `limit_bytes` bytes: what was used first, and of equals the first by name.
fn surplus(mut entries: Vec<Entry>, limit_bytes: u64) -> Vec<Entry> {
    entries.sort_by(|one, other| (one.used, &one.name).cmp(&(other.used, &other.name)));
    let mut left = sum(&entries).bytes;
    let goes = |entry: &Entry| {
        let goes = left > limit_bytes;
        left -= if goes { entry.bytes } else { 0 };
        goes
    };
    let count = entries.iter().map(goes).take_while(|goes| *goes).count();
    entries.truncate(count);
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(limit_bytes: u64, expected: &[&str]) {
        let entry = |name: &str, seconds, bytes| Entry {
            used: Timestamp { seconds, nanoseconds: 0 },
            bytes,
            name: name.into(),
        };
        let entries = vec![entry("new", 9, 10), entry("old", -5, 20), entry("b", 3, 30), entry("a", 3, 40)];
        let gone: Vec<_> = surplus(entries, limit_bytes).into_iter().map(|entry| entry.name).collect();
        assert_eq!(gone, expected, "{limit_bytes}");
    }

    #[test]
    fn what_was_used_first_goes_first() {
        check(100, &[]);
        check(99, &["old"]);
        check(80, &["old"]);
        check(79, &["old", "a"]);
        check(10, &["old", "a", "b"]);
        check(9, &["old", "a", "b", "new"]);
        check(0, &["old", "a", "b", "new"]);
    }

    #[test]
    fn an_entry_was_used_when_it_or_its_note_was_written() {
        let entry = |name: &str, seconds| Entry {
            used: Timestamp { seconds, nanoseconds: 0 },
            bytes: 1,
            name: name.into(),
        };
        let entries = vec![entry("a.cwasm", 1), entry("b.cwasm", 5), entry("c.cwasm", 3)];
        let notes = vec![entry("a.cwasm.seen", 4), entry("b.cwasm.seen", 2), entry("1-2.seen", 9)];
        let (entries, notes) = used(entries, notes);
        assert_eq!(entries, [entry("a.cwasm", 4), entry("b.cwasm", 5), entry("c.cwasm", 3)]);
        assert_eq!(notes, [entry("1-2.seen", 9)]);
    }

    #[test]
    fn only_what_the_cache_wrote_is_its_own() {
        assert!(is_entry("00-11.cwasm") && is_entry(".airssys-1f.tmp"));
        assert!(!is_entry("key") && !is_entry("notes.tmp") && !is_entry(".airssys-1f"));
    }
}
