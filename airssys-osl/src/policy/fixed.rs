//! Tables that are made once, with the policy, and only asked from then on.

use std::{
    collections::{HashMap, hash_map::Entry},
    path::{Component, MAIN_SEPARATOR_STR, Path},
};

use super::hash::{hash, same};
use crate::limits::PATH_BYTES;

/// What stands for texts, found in one step however many there are: a perfect hash.
///
/// All texts that share the first part of their hash have a seed together, which was chosen so that each text of the table
/// has a place of its own. So there is one place to look at, and whether the text is there is the only question. A table of
/// one text hashes nothing, and no table hashes a text that is as long as none of its own.
#[derive(Debug)]
pub(super) struct Fixed<V> {
    /// How long the texts are, a bit each; see [`LONGER`].
    lengths: u64,
    /// By the lowest bits of a hash; as many as a power of two.
    seeds: Box<[u8]>,
    heads: Box<[Head]>,
    /// What stands for the text of each head: beside them, so that one is on its way from memory with the other.
    values: Box<[Option<V>]>,
    /// The texts themselves, one behind the other.
    texts: Box<[u8]>,
    /// What no seed found a place for: nothing, unless someone wrote texts to collide.
    rest: Vec<(Box<[u8]>, V)>,
    /// What was added and is not found yet.
    drafts: HashMap<Box<[u8]>, V>,
}

/// A text of which nearly always all stands here, in one line of a processor's cache.
#[derive(Clone, Debug)]
#[repr(align(32))]
struct Head {
    /// [`NOBODY`] where there is no text.
    len: u32,
    /// Where it begins among the others.
    at: u32,
    start: [u8; START_BYTES],
}

const START_BYTES: usize = 24;
/// The bit of a length that stands for all longer ones too.
const LONGER: u64 = 1 << 63;
/// Longer than any text: all of a policy are far shorter together (`RULES_PER_POLICY`).
const NOBODY: u32 = u32::MAX;

impl<V> Fixed<V> {
    /// The place of a text; it is found after [`fix`](Self::fix).
    pub(super) fn entry(&mut self, text: &[u8]) -> Entry<'_, Box<[u8]>, V> {
        self.drafts.entry(text.into())
    }

    /// Makes everything that was added findable. What was added before the last time is forgotten.
    pub(super) fn fix(&mut self) {
        let drafts = std::mem::take(&mut self.drafts);
        let places = (drafts.len() + drafts.len() / 2).max(1);
        let count = (drafts.len() / 2).next_power_of_two();
        let mut buckets: Vec<Vec<Draft<V>>> = (0..count).map(|_| Vec::new()).collect();
        self.lengths = 0;
        for (text, value) in drafts {
            self.lengths |= length(text.len());
            let hash = hash(&text);
            if let Some(bucket) = buckets.get_mut(bucket(hash, count)) {
                bucket.push((hash, text, value));
            }
        }
        self.place(buckets, places);
    }

    /// Chooses the seeds. The fullest buckets choose first: they are the hardest to please.
    fn place(&mut self, buckets: Vec<Vec<Draft<V>>>, places: usize) {
        let (mut seeds, mut texts) = (vec![0; buckets.len()], Vec::new());
        let mut heads = vec![Head::NONE; places];
        let mut values: Vec<Option<V>> = (0..places).map(|_| None).collect();
        let mut by_size: Vec<_> = buckets.into_iter().enumerate().collect();
        by_size.sort_by_key(|(_, entries)| std::cmp::Reverse(entries.len()));
        self.rest.clear();
        for (bucket, entries) in by_size {
            let mut taken = Vec::with_capacity(entries.len());
            let fits = |seed: &u8| {
                taken.clear();
                entries.iter().all(|(hash, ..)| {
                    let at = place(*hash, *seed, places);
                    let free = values.get(at).is_some_and(Option::is_none) && !taken.contains(&at);
                    taken.push(at);
                    free
                })
            };
            let Some(seed) = (0..=u8::MAX).find(fits) else {
                self.rest.extend(entries.into_iter().map(|(_, text, value)| (text, value)));
                continue;
            };
            if let Some(place) = seeds.get_mut(bucket) {
                *place = seed;
            }
            for (hash, text, value) in entries {
                let at = place(hash, seed, places);
                if let (Some(head), Some(place)) = (heads.get_mut(at), values.get_mut(at)) {
                    (*head, *place) = (Head::of(&text, &mut texts), Some(value));
                }
            }
        }
        (self.seeds, self.heads) = (seeds.into(), heads.into());
        (self.values, self.texts) = (values.into(), texts.into());
    }

    /// What stands for a text.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> Option<&V> {
        if self.lengths & length(text.len()) == 0 {
            return None;
        }
        let at = match &*self.heads {
            [_] => 0,
            heads => {
                let hash = hash(text);
                place(hash, *self.seeds.get(bucket(hash, self.seeds.len()))?, heads.len())
            }
        };
        match self.heads.get(at) {
            Some(head) if self.is(head, text) => self.values.get(at)?.as_ref(),
            _ if self.rest.is_empty() => None,
            _ => self.get_rest(text),
        }
    }

    #[cold]
    fn get_rest(&self, text: &[u8]) -> Option<&V> {
        self.rest.iter().find(|(known, _)| **known == *text).map(|(_, value)| value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lengths == 0
    }

    /// All texts, and what stands for each, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let heads = self.heads.iter().zip(&self.values);
        let placed = heads.filter_map(|(head, value)| Some((self.text(head), value.as_ref()?)));
        placed.chain(self.rest.iter().map(|(text, value)| (&**text, value)))
    }

    /// Whether a text is that of a head.
    #[inline]
    fn is(&self, head: &Head, text: &[u8]) -> bool {
        if head.len as usize != text.len() {
            return false;
        }
        match head.start.get(..text.len()) {
            Some(start) => same(start, text),
            None => same(self.text(head), text),
        }
    }

    fn text(&self, head: &Head) -> &[u8] {
        let at = head.at as usize;
        self.texts.get(at..at + head.len as usize).unwrap_or_default()
    }
}

/// A text on its way to its place: its hash, itself, and what stands for it.
type Draft<V> = (u64, Box<[u8]>, V);

impl Head {
    const NONE: Self = Self { len: NOBODY, at: 0, start: [0; START_BYTES] };

    fn of(text: &[u8], texts: &mut Vec<u8>) -> Self {
        let mut head = Self { len: text.len() as u32, at: texts.len() as u32, ..Self::NONE };
        head.start.iter_mut().zip(text).for_each(|(place, byte)| *place = *byte);
        texts.extend_from_slice(text);
        head
    }
}

impl<V> Default for Fixed<V> {
    fn default() -> Self {
        Self {
            lengths: 0,
            seeds: Box::default(),
            heads: Box::default(),
            values: Box::default(),
            texts: Box::default(),
            rest: Vec::new(),
            drafts: HashMap::new(),
        }
    }
}

/// The bit of a length.
#[inline]
fn length(len: usize) -> u64 {
    1 << len.min(LONGER.ilog2() as usize)
}

/// Which of `buckets`, a power of two, a hash belongs to. There may be none.
#[inline]
fn bucket(hash: u64, buckets: usize) -> usize {
    hash as usize & buckets.wrapping_sub(1)
}

/// Where a hash has its place under a seed: its upper half, moved on by as many steps as the seed says, each as long as
/// its lower half.
#[inline]
fn place(hash: u64, seed: u8, places: usize) -> usize {
    let moved = ((hash >> 32) as u32).wrapping_add((hash as u32).wrapping_mul(seed.into()));
    ((u64::from(moved) * places as u64) >> 32) as usize
}

/// As [`Fixed`], for absolute paths: what has the same components is the same path, however it is spelled.
#[derive(Debug)]
pub(super) struct Paths<V>(Fixed<V>);

impl<V> Paths<V> {
    /// The place of an absolute path; it is found after [`fix`](Self::fix).
    pub(super) fn entry(&mut self, path: &Path) -> Entry<'_, Box<[u8]>, V> {
        let mut plain = Vec::new();
        spell(path, |part| plain.extend_from_slice(part));
        self.0.entry(&plain)
    }

    /// As [`Fixed::fix`].
    pub(super) fn fix(&mut self) {
        self.0.fix();
    }

    /// What stands for all paths, in no order.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().map(|(_, value)| value)
    }

    /// What stands for a path.
    #[inline]
    pub(super) fn get(&self, path: &Path) -> Option<&V> {
        // Nearly everyone spells a path as its rule does.
        let bytes = path.as_os_str().as_encoded_bytes();
        self.0.get(bytes).or_else(|| self.get_respelled(path))
    }

    #[cold]
    fn get_respelled(&self, path: &Path) -> Option<&V> {
        if self.0.is_empty() || !path.is_absolute() || is_plain(path.as_os_str().as_encoded_bytes()) {
            return None;
        }
        // No rule has a longer one (`check_root`).
        let (mut plain, mut len) = ([0; PATH_BYTES], 0);
        spell(path, |part| {
            if let Some(place) = plain.get_mut(len..len + part.len()) {
                place.copy_from_slice(part);
            }
            len += part.len();
        });
        self.0.get(plain.get(..len)?)
    }
}

impl<V> Default for Paths<V> {
    fn default() -> Self {
        Self(Fixed::default())
    }
}

/// Spells an absolute path by its components.
fn spell(path: &Path, mut write: impl FnMut(&[u8])) {
    let mut named = false;
    for component in path.components() {
        match component {
            Component::Prefix(prefix) => write(prefix.as_os_str().as_encoded_bytes()),
            Component::RootDir => {}
            part => {
                write(MAIN_SEPARATOR_STR.as_bytes());
                write(part.as_os_str().as_encoded_bytes());
                named = true;
            }
        }
    }
    if !named {
        write(MAIN_SEPARATOR_STR.as_bytes());
    }
}

/// Whether an absolute path is surely spelled by its components. Where paths have other separators too, nobody knows.
fn is_plain(path: &[u8]) -> bool {
    cfg!(unix)
        && path.last() != Some(&b'/')
        && !path.array_windows().any(|[one, other]| *one == b'/' && matches!(other, b'/' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fixed(texts: impl IntoIterator<Item = String>) -> Fixed<usize> {
        let mut fixed = Fixed::default();
        for (number, text) in texts.into_iter().enumerate() {
            fixed.entry(text.as_bytes()).or_insert(number);
        }
        fixed.fix();
        fixed
    }

    #[test]
    fn every_text_is_found_and_no_other() {
        for count in [0, 1, 2, 3, 10, 100, 5_000] {
            let name = |number: usize| format!("/srv/tenants/{number}/inbox");
            let fixed = fixed((0..count).map(name));
            assert_eq!(fixed.is_empty(), count == 0);
            for number in 0..count {
                assert_eq!(fixed.get(name(number).as_bytes()), Some(&number), "{number} of {count}");
            }
            for number in count..2 * count + 10 {
                assert_eq!(fixed.get(name(number).as_bytes()), None, "{number} of {count}");
            }
            assert_eq!(fixed.get(b""), None);
            assert_eq!(fixed.iter().count(), count);
            assert!(fixed.rest.is_empty(), "{count}");
        }
    }

    #[test]
    fn what_nobody_can_tell_apart_by_hash_is_found_all_the_same() {
        let mut fixed = fixed(["abcdefgh".to_owned()]);
        let draft = |text: &[u8], number| (7, text.into(), number);
        fixed.place(vec![vec![draft(b"bcdefghi", 0), draft(b"cdefghij", 1), draft(b"defghijk", 2)]], 8);
        assert_eq!(fixed.rest.len(), 3);
        for (text, number) in [(b"bcdefghi", 0), (b"cdefghij", 1), (b"defghijk", 2)] {
            assert_eq!(fixed.get(text), Some(&number));
        }
        assert_eq!(fixed.get(b"abcdefgh"), None);
        assert_eq!(fixed.iter().count(), 3);
    }

    /// Texts of every length, and beside each one that differs in one byte only: wherever that is.
    #[test]
    fn each_byte_counts_however_long_the_text_is() {
        let lengths = [1, 7, 8, 16, 17, START_BYTES - 1, START_BYTES, START_BYTES + 1, 40, 62, 63, 64, 200];
        let fixed = fixed(lengths.iter().map(|length| "x".repeat(*length)));
        for (number, length) in lengths.into_iter().enumerate() {
            let mut text = "x".repeat(length).into_bytes();
            assert_eq!(fixed.get(&text), Some(&number), "{length}");
            assert!(fixed.iter().any(|(known, found)| *known == *text && *found == number), "{length}");
            for at in 0..length {
                text[at] = b'y';
                assert_eq!(fixed.get(&text), None, "byte {at} of {length}");
                text[at] = b'x';
            }
        }
        assert_eq!(fixed.get(&[b'x'; 65]), None);
    }

    #[test]
    fn the_empty_text_is_one_too() {
        assert_eq!(fixed([String::new()]).get(b""), Some(&0));
    }

    #[cfg(unix)]
    #[test]
    fn paths_are_the_same_where_their_components_are() {
        let mut paths = Paths::default();
        for (number, path) in ["/", "/srv/./a/", "/srv//b", "/.hidden"].iter().enumerate() {
            paths.entry(Path::new(path)).or_insert(number);
        }
        paths.fix();
        let long = format!("/srv{}/a", "/".repeat(2 * PATH_BYTES));
        for (path, expected) in [
            ("/", Some(0)),
            ("//", Some(0)),
            ("/.", Some(0)),
            ("/srv/a", Some(1)),
            ("/srv/a/", Some(1)),
            ("//srv/./a/.", Some(1)),
            (&long, Some(1)),
            ("/srv/b", Some(2)),
            ("/.hidden", Some(3)),
            ("/.hidden/.", Some(3)),
            ("srv/a", None),
            ("", None),
            (".hidden", None),
            ("/srv", None),
            ("/srv/a/../a", None),
            (&"/a".repeat(PATH_BYTES), None),
            (&"/./a".repeat(PATH_BYTES), None),
        ] {
            assert_eq!(paths.get(Path::new(path)).copied(), expected, "{path:?}");
        }
    }
}
