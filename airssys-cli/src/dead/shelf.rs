//! The file of dead letters. One program at a time writes it: who holds the system's audit log.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::Path,
    sync::Arc,
};

use airssys_osl::{
    Error, Principal,
    fs::{Dir, File, Flush, OpenOptions},
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::Letter;

/// Its name in the system's state folder.
pub(crate) const FILE: &str = "dead-letters.jsonl";

/// How long it gets, in bytes: 32 letters of the largest kind, or more than can be looked at of the usual one.
const FILE_BYTES: u64 = 32 << 20;

/// How many letters it keeps.
const LETTERS: usize = 10_000;

/// The longest file that is read, in bytes: a last letter may stand behind the bound.
pub(crate) const READ_BYTES: u64 = 2 * FILE_BYTES;

/// Payloads are in it: it is its owner's alone.
const MODE: u32 = 0o600;

/// What stands in such a file.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    /// The letters that are left, by their numbers, and where they stand.
    pub(crate) places: BTreeMap<u64, Range<u64>>,
    /// The number of the next letter.
    next: u64,
    /// The lines that are none: cut off when a system was killed, or changed by hand.
    pub(crate) broken: usize,
    /// Where the last whole line ends.
    end: u64,
}

impl Contents {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut contents = Self { next: 1, ..Self::default() };
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            let start = contents.end;
            if !line.ends_with(b"\n") {
                contents.broken += 1;
                break;
            }
            contents.end += line.len() as u64;
            if contents.line(line, start..contents.end).is_none() {
                contents.broken += 1;
            }
        }
        contents
    }

    fn line(&mut self, line: &[u8], place: Range<u64>) -> Option<()> {
        let value: Value = serde_json::from_slice(line).ok()?;
        if let Some(next) = value.get("next") {
            self.next = self.next.max(next.as_u64()?);
        } else if let Some(gone) = value.get("gone") {
            self.places.remove(&gone.as_u64()?);
        } else {
            let number = Letter::from_json(&value)?.number;
            self.next = self.next.max(number.checked_add(1)?);
            self.places.insert(number, place);
        }
        Some(())
    }

    /// The letters of the bytes that this is of, in order.
    pub(crate) fn letters<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = Letter> + 'a {
        self.places.values().filter_map(|place| parse(slice(bytes, place)))
    }

    /// Whether another letter of `bytes` bytes is one too many.
    fn is_full(&self, bytes: u64) -> bool {
        self.places.len() >= LETTERS || self.end + bytes > FILE_BYTES
    }

    /// The letters that stay where room is to be made for another of `bytes` bytes: three quarters of what there may be, the
    /// newest, so that this is rarely done.
    fn newest(&self, bytes: u64) -> BTreeMap<u64, Range<u64>> {
        let mut left = (FILE_BYTES / 4 * 3).saturating_sub(bytes);
        let fits = |(_, place): &(&u64, &Range<u64>)| {
            let length = place.end - place.start;
            let fits = length <= left;
            left = left.saturating_sub(length);
            fits
        };
        let newest = self.places.iter().rev().take(LETTERS / 4 * 3).take_while(fits);
        newest.map(|(number, place)| (*number, place.clone())).collect()
    }
}

/// The file, in the hands of who may write it.
pub(crate) struct Shelf {
    dir: Dir,
    file: File,
    contents: Contents,
    /// Whether `file` is not the one of its name any more: that could not be opened when it had been written.
    is_behind: bool,
}

impl Shelf {
    /// Opens the file in a system's state folder, or makes it. Lines that are no letters are counted.
    pub(crate) async fn open(state: &Path, program: &Principal) -> Result<(Self, usize), Error> {
        let dir = program.dir(state).await?;
        let file = dir.open(FILE, &OpenOptions::new().read(true).write(true).create(true)).await?;
        if file.metadata().await?.mode & 0o777 != MODE {
            file.set_permissions(MODE).await?;
        }
        let bytes = file.read_to_limit(READ_BYTES).await?;
        let contents = Contents::of(&bytes);
        if contents.end < bytes.len() as u64 {
            // What is written next must not stand behind half a line.
            file.set_len(contents.end).await?;
        }
        let broken = contents.broken;
        Ok((Self { dir, file, contents, is_behind: false }, broken))
    }

    /// The number of the next letter.
    pub(super) fn next(&self) -> u64 {
        self.contents.next
    }

    /// Adds a letter. Where there is no room, the oldest ones go; gives how many. Not to be broken off, as all changes.
    async fn keep(&mut self, letter: &Letter) -> Result<usize, Error> {
        let line = line(&letter.json());
        let length = line.len() as u64;
        let before = self.contents.places.len();
        if self.contents.is_full(length) {
            let newest = self.contents.newest(length);
            self.rewrite(newest).await?;
        } else if self.is_behind {
            self.rewrite(self.contents.places.clone()).await?;
        }
        let given_up = before - self.contents.places.len();
        let place = self.write(line).await?;
        self.contents.next = self.contents.next.max(letter.number + 1);
        self.contents.places.insert(letter.number, place);
        Ok(given_up)
    }

    /// One letter, where it is there.
    async fn letter(&self, number: u64) -> Result<Option<Letter>, Error> {
        let Some(place) = self.contents.places.get(&number) else { return Ok(None) };
        let mut line = vec![0; usize::try_from(place.end - place.start).unwrap_or_default()];
        let mut filled = 0;
        while let Some(rest) = line.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.file.read_at(rest, place.start + filled as u64).await? {
                0 => return Ok(None),
                read => filled += read,
            }
        }
        Ok(parse(&line).filter(|letter| letter.number == number))
    }

    /// Notes that a letter is gone. What it held stands in the file until that is cleared.
    async fn gone(&mut self, number: u64) -> Result<(), Error> {
        if self.is_behind {
            return self.clear(&[number]).await;
        }
        self.write(line(&json!({ "gone": number }))).await?;
        self.contents.places.remove(&number);
        Ok(())
    }

    /// Takes letters out of the file, and what else is gone.
    async fn clear(&mut self, numbers: &[u64]) -> Result<(), Error> {
        let mut left = self.contents.places.clone();
        left.retain(|number, _| !numbers.contains(number));
        self.rewrite(left).await
    }

    /// Writes a line behind the last one. A part that was written is written over by the next.
    async fn write(&mut self, line: Vec<u8>) -> Result<Range<u64>, Error> {
        let start = self.contents.end;
        let end = start + line.len() as u64;
        if let Err(error) = self.file.write_at(line, start).await {
            // A longer part of it must not look out behind the next line. Where that fails too, it is one broken line.
            let _ = self.file.set_len(start).await;
            return Err(error);
        }
        self.contents.end = end;
        Ok(start..end)
    }

    /// Puts a file with these letters in the place of this one: whole, or not at all.
    async fn rewrite(&mut self, places: BTreeMap<u64, Range<u64>>) -> Result<(), Error> {
        let bytes = self.file.read_to_limit(READ_BYTES).await?;
        let mut written = line(&json!({"next": self.contents.next}));
        let mut contents = Contents { next: self.contents.next, ..Contents::default() };
        for (number, place) in places {
            let start = written.len() as u64;
            written.extend_from_slice(slice(&bytes, &place));
            contents.places.insert(number, start..written.len() as u64);
        }
        contents.end = written.len() as u64;
        self.dir.replace(FILE, written, Flush::Later).await?;
        self.is_behind = true;
        self.file = self.dir.open(FILE, &OpenOptions::new().read(true).write(true)).await?;
        (self.contents, self.is_behind) = (contents, false);
        Ok(())
    }
}

/// The file of a system that runs, which letters are added to and taken from at the same time.
///
/// Who asks for a change may go away meanwhile. A change that is broken off could still be written when the next one is, to
/// the same place; so each is made to its end.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Shelf>>);

impl Shared {
    pub(crate) fn new(shelf: Shelf) -> Self {
        Self(Arc::new(Mutex::new(shelf)))
    }

    pub(super) async fn keep(&self, letter: Letter) -> Result<usize, Error> {
        let mut shelf = self.0.clone().lock_owned().await;
        finish(async move { shelf.keep(&letter).await }).await
    }

    pub(crate) async fn numbers(&self) -> BTreeSet<u64> {
        self.0.lock().await.contents.places.keys().copied().collect()
    }

    /// Has `dispose` do something with a letter, which is gone where that went well. Nobody else has it meanwhile. None
    /// where it is not there.
    pub(crate) async fn take<E>(
        &self,
        number: u64,
        dispose: impl FnOnce(Letter) -> Result<(), E>,
    ) -> Result<Option<Result<(), E>>, Error> {
        let mut shelf = self.0.clone().lock_owned().await;
        let Some(letter) = shelf.letter(number).await? else { return Ok(None) };
        if let Err(refused) = dispose(letter) {
            return Ok(Some(Err(refused)));
        }
        finish(async move { shelf.gone(number).await }).await?;
        Ok(Some(Ok(())))
    }

    /// Takes letters out of the file, and what else is gone.
    pub(crate) async fn clear(&self, numbers: Vec<u64>) -> Result<(), Error> {
        let mut shelf = self.0.clone().lock_owned().await;
        finish(async move { shelf.clear(&numbers).await }).await
    }
}

/// Does something to its end.
async fn finish<T: Send + 'static>(change: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(change).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime ends, and so do we.
            Err(_) => std::future::pending().await,
        },
    }
}

fn line(value: &Value) -> Vec<u8> {
    let mut line = value.to_string().into_bytes();
    line.push(b'\n');
    line
}

fn parse(line: &[u8]) -> Option<Letter> {
    Letter::from_json(&serde_json::from_slice(line).ok()?)
}

fn slice<'a>(bytes: &'a [u8], place: &Range<u64>) -> &'a [u8] {
    let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
    bytes.get(at(place.start)..at(place.end)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::letter::tests::letter, *};

    fn file(values: &[Value]) -> Vec<u8> {
        values.iter().flat_map(line).collect()
    }

    fn check(bytes: &[u8], numbers: &[u64], next: u64, broken: usize) {
        let contents = Contents::of(bytes);
        let left: Vec<_> = contents.letters(bytes).map(|letter| letter.number).collect();
        assert_eq!((&*left, contents.next, contents.broken), (numbers, next, broken));
    }

    #[test]
    fn what_is_gone_is_gone_and_its_number_too() {
        let (one, two) = (letter(1, b"one").json(), letter(2, b"two").json());
        check(b"", &[], 1, 0);
        check(&file(&[one.clone(), two.clone()]), &[1, 2], 3, 0);
        check(&file(&[two.clone(), one.clone()]), &[1, 2], 3, 0);
        check(&file(&[one.clone(), two.clone(), json!({"gone": 2})]), &[1], 3, 0);
        check(&file(&[json!({"next": 9}), one]), &[1], 9, 0);
    }

    #[test]
    fn a_line_that_is_cut_off_or_changed_is_left_out() {
        let whole = file(&[letter(1, b"one").json(), letter(2, b"two").json()]);
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in first + 1..whole.len() {
            check(&whole[..end], &[1], 2, 1);
        }
        check(&[b"nonsense\n", &*whole].concat(), &[1, 2], 3, 1);
        check(&String::from_utf8(whole).unwrap().replace("two", "2wo").into_bytes(), &[1], 2, 1);
        check(b"{\"next\":-1}\n{\"gone\":\"a\"}\n", &[], 1, 2);
    }

    #[test]
    fn the_oldest_quarter_makes_room() {
        let places = |count: u64, length: u64| Contents {
            places: (0..count).map(|number| (number, number * length..(number + 1) * length)).collect(),
            next: count,
            broken: 0,
            end: count * length,
        };
        let check = |contents: Contents, bytes, is_full, left| {
            assert_eq!(contents.is_full(bytes), is_full, "{left}");
            let newest = contents.newest(bytes);
            assert_eq!(newest.len(), left);
            assert!(newest.keys().eq(contents.places.keys().rev().take(left).rev()), "the newest stay");
        };
        check(places(LETTERS as u64 - 1, 10), 10, false, LETTERS / 4 * 3);
        check(places(LETTERS as u64, 10), 10, true, LETTERS / 4 * 3);
        check(places(31, 1 << 20), 1 << 20, false, 23);
        check(places(32, 1 << 20), 1 << 20, true, 23);
        check(places(32, 1 << 20), 2 << 20, true, 22);
        check(places(1, 10), FILE_BYTES, true, 0);
    }
}
