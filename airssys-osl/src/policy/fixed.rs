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
/// has a place of its own. So there is one place to look at, and whether the text is there is the only question.
#[derive(Debug)]
pub(super) struct Fixed<V> {
    /// By the lowest bits of a hash; as many as a power of two.
    seeds: Box<[u8]>,
    slots: Box<[Option<Slot<V>>]>,
    /// The texts themselves, one behind the other.
    texts: Box<[u8]>,
    /// What no seed found a place for: nothing, unless someone wrote texts to collide.
    rest: Vec<Slot<V>>,
    /// What was added and is not found yet.
    drafts: HashMap<Box<[u8]>, V>,
}

#[derive(Debug)]
struct Slot<V> {
    /// Where its text begins, and how long it is.
    at: u32,
    len: u32,
    value: V,
}

impl<V> Fixed<V> {
    /// The place of a text; it is found after [`fix`](Self::fix).
    pub(super) fn entry(&mut self, text: &[u8]) -> Entry<'_, Box<[u8]>, V> {
        self.drafts.entry(text.into())
    }

    /// Makes everything that was added findable. What was added before the last time is forgotten.
    pub(super) fn fix(&mut self) {
        let drafts = std::mem::take(&mut self.drafts);
        let places = drafts.len() + drafts.len() / 2 + 1;
        let count = (drafts.len() / 2).next_power_of_two();
        let mut buckets: Vec<Vec<(u64, Slot<V>)>> = (0..count).map(|_| Vec::new()).collect();
        let mut texts = Vec::new();
        for (text, value) in drafts {
            // All texts of a policy are far shorter together (`RULES_PER_POLICY`).
            let (at, len, hash) = (texts.len() as u32, text.len() as u32, hash(&text));
            texts.extend_from_slice(&text);
            if let Some(bucket) = buckets.get_mut(bucket(hash, count)) {
                bucket.push((hash, Slot { at, len, value }));
            }
        }
        (self.texts, self.rest) = (texts.into(), Vec::new());
        self.place(buckets, places);
    }

    /// Chooses the seeds. The fullest buckets choose first: they are the hardest to please.
    fn place(&mut self, buckets: Vec<Vec<(u64, Slot<V>)>>, places: usize) {
        let mut seeds = vec![0; buckets.len()];
        let mut slots: Vec<Option<Slot<V>>> = (0..places).map(|_| None).collect();
        let mut by_size: Vec<_> = buckets.into_iter().enumerate().collect();
        by_size.sort_by_key(|(_, entries)| std::cmp::Reverse(entries.len()));
        for (bucket, entries) in by_size {
            let mut taken = Vec::with_capacity(entries.len());
            let fits = |seed: &u8| {
                taken.clear();
                entries.iter().all(|(hash, _)| {
                    let at = place(*hash, *seed, places);
                    let free = slots.get(at).is_some_and(Option::is_none) && !taken.contains(&at);
                    taken.push(at);
                    free
                })
            };
            let Some(seed) = (0..=u8::MAX).find(fits) else {
                self.rest.extend(entries.into_iter().map(|(_, slot)| slot));
                continue;
            };
            if let Some(place) = seeds.get_mut(bucket) {
                *place = seed;
            }
            for (hash, slot) in entries {
                if let Some(place) = slots.get_mut(place(hash, seed, places)) {
                    *place = Some(slot);
                }
            }
        }
        (self.seeds, self.slots) = (seeds.into(), slots.into());
    }

    /// What stands for a text.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> Option<&V> {
        let hash = hash(text);
        let seed = *self.seeds.get(bucket(hash, self.seeds.len()))?;
        match self.slots.get(place(hash, seed, self.slots.len())) {
            Some(Some(slot)) if same(self.text(slot), text) => Some(&slot.value),
            _ if self.rest.is_empty() => None,
            _ => self.get_rest(text),
        }
    }

    #[cold]
    fn get_rest(&self, text: &[u8]) -> Option<&V> {
        self.rest.iter().find(|slot| self.text(slot) == text).map(|slot| &slot.value)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() <= 1
    }

    /// All texts, and what stands for each, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &V)> {
        let slots = self.slots.iter().flatten().chain(&self.rest);
        slots.map(|slot| (self.text(slot), &slot.value))
    }

    #[inline]
    fn text(&self, slot: &Slot<V>) -> &[u8] {
        let at = slot.at as usize;
        self.texts.get(at..at + slot.len as usize).unwrap_or_default()
    }
}

impl<V> Default for Fixed<V> {
    fn default() -> Self {
        Self {
            seeds: Box::default(),
            slots: Box::default(),
            texts: Box::default(),
            rest: Vec::new(),
            drafts: HashMap::new(),
        }
    }
}

/// Which of `buckets`, a power of two, a hash belongs to. There may be none.
#[inline]
fn bucket(hash: u64, buckets: usize) -> usize {
    hash as usize & buckets.wrapping_sub(1)
}

/// Where a hash has its place under a seed.
#[inline]
fn place(hash: u64, seed: u8, places: usize) -> usize {
    // Two odd numbers whose bits follow no pattern.
    let mixed = hash ^ u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = mixed.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32;
    ((mixed * places as u64) >> 32) as usize
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
        let mut fixed = fixed(["a".to_owned()]);
        let texts: Box<[u8]> = (*b"bcd").into();
        fixed.texts = texts;
        let slot = |at| (7, Slot { at, len: 1, value: at as usize });
        fixed.place(vec![vec![slot(0), slot(1), slot(2)]], 8);
        assert_eq!(fixed.rest.len(), 3);
        for (text, number) in [(b"b", 0), (b"c", 1), (b"d", 2)] {
            assert_eq!(fixed.get(text), Some(&number));
        }
        assert_eq!(fixed.get(b"a"), None);
        assert_eq!(fixed.iter().count(), 3);
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
