//! What one bucket holds. Pure but for its memory: no decision, no record, no lock.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    sync::Arc,
};

use super::{BucketLimits, Page, Version};
use crate::limits::{BUCKET_KEY_BYTES, BUCKET_PAGE_KEYS};

/// The keys and values of one bucket.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) limits: BucketLimits,
    entries: HashMap<Arc<str>, Entry>,
    /// The keys in the order in which they came, by the places of their entries.
    places: BTreeMap<u64, Arc<str>>,
    /// The last place, and the last version, that was given away.
    last: u64,
    /// All keys and values together.
    bytes: usize,
    is_retired: bool,
}

#[derive(Debug)]
struct Entry {
    value: Arc<[u8]>,
    /// When the key came: it stays where it is when its value changes.
    place: u64,
    /// When the value came.
    version: u64,
}

/// Why a bucket does not do what it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    KeyTooLong(usize),
    /// It would end the name of the bucket's key in a record.
    NulInKey,
    ValueTooLarge {
        bytes: usize,
        limit: usize,
    },
    TooManyKeys(usize),
    TooManyBytes(usize),
    NoNumber,
    Overflow,
}

impl Table {
    pub(super) fn new(limits: BucketLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            places: BTreeMap::new(),
            last: 0,
            bytes: 0,
            is_retired: false,
        }
    }

    /// Empties it, for ever.
    pub(super) fn retire(&mut self) {
        *self = Self { is_retired: true, ..Self::new(self.limits) };
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired
    }

    pub(super) fn get(&self, key: &str) -> Option<&Arc<[u8]>> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    pub(super) fn version(&self, key: &str) -> Version {
        Version(self.entries.get(key).map(|entry| entry.version))
    }

    /// Puts a value in the place of what is there. Where that is refused nothing has changed.
    pub(super) fn set(&mut self, key: &str, value: &[u8]) -> Result<(), Refusal> {
        let BucketLimits { keys, value_bytes, bytes } = self.limits;
        if key.len() > BUCKET_KEY_BYTES {
            return Err(Refusal::KeyTooLong(key.len()));
        }
        if key.contains('\0') {
            return Err(Refusal::NulInKey);
        }
        if value.len() > value_bytes {
            return Err(Refusal::ValueTooLarge { bytes: value.len(), limit: value_bytes });
        }
        let known = self.entries.get(key).map(|entry| entry.value.len());
        if known.is_none() && self.entries.len() >= keys {
            return Err(Refusal::TooManyKeys(keys));
        }
        let before = known.map_or(0, |value| key.len() + value);
        let after = self.bytes.saturating_sub(before).saturating_add(key.len() + value.len());
        // What makes it smaller is taken, even where a reload has left the bucket above its limits.
        if after > bytes && after > self.bytes {
            return Err(Refusal::TooManyBytes(bytes));
        }
        self.bytes = after;
        self.last += 1;
        let (value, version) = (Arc::from(value), self.last);
        match self.entries.get_mut(key) {
            Some(entry) => (entry.value, entry.version) = (value, version),
            None => {
                let (key, place) = (Arc::<str>::from(key), self.last);
                self.places.insert(place, Arc::clone(&key));
                self.entries.insert(key, Entry { value, place, version });
            }
        }
        Ok(())
    }

    /// Removes a key, and says whether there was one.
    pub(super) fn delete(&mut self, key: &str) -> bool {
        let Some((key, entry)) = self.entries.remove_entry(key) else { return false };
        self.places.remove(&entry.place);
        self.bytes = self.bytes.saturating_sub(key.len() + entry.value.len());
        true
    }

    /// Puts a value there if nobody has changed what is there since `seen`; else gives what is there now.
    pub(super) fn swap(
        &mut self,
        key: &str,
        seen: Version,
        value: &[u8],
    ) -> Result<Result<(), Version>, Refusal> {
        let now = self.version(key);
        if now != seen {
            return Ok(Err(now));
        }
        self.set(key, value).map(Ok)
    }

    /// Adds to a number, which is decimal digits. What is not there is zero.
    pub(super) fn add<N>(&mut self, key: &str, add: impl FnOnce(N) -> Option<N>) -> Result<N, Refusal>
    where
        N: std::str::FromStr + fmt::Display + Default + Copy,
    {
        let now = match self.get(key) {
            Some(value) => str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
            None => Some(N::default()),
        };
        let sum = add(now.ok_or(Refusal::NoNumber)?).ok_or(Refusal::Overflow)?;
        self.set(key, sum.to_string().as_bytes())?;
        Ok(sum)
    }

    /// The keys that came after the place `after`. Any number is a place, so a forged one only begins elsewhere.
    pub(super) fn keys(&self, after: u64) -> Page {
        let mut rest = self.places.range((Bound::Excluded(after), Bound::Unbounded));
        let page: Vec<_> = rest.by_ref().take(BUCKET_PAGE_KEYS).collect();
        let last = page.last().map(|(place, _)| **place);
        let next = last.filter(|_| rest.next().is_some());
        Page { keys: page.into_iter().map(|(_, key)| Arc::clone(key)).collect(), next }
    }
}

impl Refusal {
    /// Whether something smaller, or a bucket with more room, would be taken.
    pub(super) fn is_limit(self) -> bool {
        !matches!(self, Self::NulInKey | Self::NoNumber | Self::Overflow)
    }
}

impl std::error::Error for Refusal {}

/// Names the limit by its key in a manifest.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyTooLong(bytes) => write!(f, "a key of {bytes} bytes, the limit is {BUCKET_KEY_BYTES}"),
            Self::NulInKey => f.write_str("a key with a NUL in it"),
            Self::ValueTooLarge { bytes, limit } => {
                write!(f, "a value of {bytes} bytes, the limit `value` is {limit}")
            }
            Self::TooManyKeys(limit) => write!(f, "one more key, the limit `keys` is {limit}"),
            Self::TooManyBytes(limit) => {
                write!(f, "more bytes of keys and values than the limit `memory`, {limit}")
            }
            Self::NoNumber => f.write_str("what is there is no number in decimal digits that fits"),
            Self::Overflow => f.write_str("the sum is too large for its type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(keys: usize, value_bytes: usize, bytes: usize) -> Table {
        Table::new(BucketLimits { keys, value_bytes, bytes })
    }

    fn filled(keys: impl IntoIterator<Item = usize>) -> Table {
        let mut table = table(10_000, 8, 1 << 20);
        keys.into_iter().for_each(|key| table.set(&key.to_string(), b"x").unwrap());
        table
    }

    #[test]
    fn each_limit_is_kept_to_the_byte() {
        let mut table = table(2, 4, 10);
        assert_eq!(table.set("a", b"12345"), Err(Refusal::ValueTooLarge { bytes: 5, limit: 4 }));
        let long = "k".repeat(BUCKET_KEY_BYTES + 1);
        assert_eq!(table.set(&long, b""), Err(Refusal::KeyTooLong(BUCKET_KEY_BYTES + 1)));
        assert_eq!(table.set("a\0b", b""), Err(Refusal::NulInKey));
        table.set("a", b"1234").unwrap();
        assert_eq!(table.set("bb", b"1234"), Err(Refusal::TooManyBytes(10)), "11 bytes");
        table.set("b", b"1234").unwrap();
        assert_eq!(table.set("c", b""), Err(Refusal::TooManyKeys(2)));
        table.set("a", b"").expect("there is room where it was");
        assert!(table.delete("a") && !table.delete("a"));
        table.set("c", b"1234").expect("what was removed is free again");
        assert_eq!((table.bytes, table.entries.len(), table.places.len()), (10, 2, 2));
    }

    #[test]
    fn what_stands_above_a_new_limit_can_only_shrink() {
        let mut table = table(10, 10, 100);
        table.set("a", b"0123456789").unwrap();
        table.limits.bytes = 5;
        assert_eq!(table.set("a", b"0123456789x"), Err(Refusal::ValueTooLarge { bytes: 11, limit: 10 }));
        assert_eq!(table.set("b", b""), Err(Refusal::TooManyBytes(5)));
        table.set("a", b"012345678").expect("it is less than before");
    }

    #[test]
    fn pages_have_every_key_once_in_the_order_in_which_they_came() {
        let count = 2 * BUCKET_PAGE_KEYS + 1;
        let mut table = filled(0..count);
        table.set("0", b"later").unwrap();
        let (mut after, mut seen) = (0, Vec::new());
        loop {
            let page = table.keys(after);
            seen.extend(page.keys.iter().map(|key| key.parse::<usize>().unwrap()));
            // What changes behind the page's end is no matter of the pages before.
            table.delete(&seen[0].to_string());
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        assert!(seen.iter().copied().eq(0..count), "{} keys", seen.len());
    }

    #[test]
    fn a_page_that_is_just_full_is_the_last_one() {
        assert_eq!(filled(0..BUCKET_PAGE_KEYS).keys(0).next, None);
    }

    #[test]
    fn a_forged_place_is_only_another_beginning() {
        let table = filled(0..3);
        assert_eq!(table.keys(u64::MAX).keys.len(), 0);
        assert_eq!(table.keys(2).keys.len(), 1);
    }

    #[test]
    fn a_sum_is_decimal_digits() {
        let mut table = filled([]);
        assert_eq!(table.add("n", |n: u64| n.checked_add(41)), Ok(41));
        assert_eq!(table.add("n", |n: i64| n.checked_add(-42)), Ok(-1));
        assert_eq!(table.get("n").map(|value| value.to_vec()), Some(b"-1".to_vec()));
        assert_eq!(table.add("n", |n: u64| n.checked_add(1)), Err(Refusal::NoNumber), "it is below zero");
        table.set("n", b"n").unwrap();
        assert_eq!(table.add("n", |n: u64| n.checked_add(1)), Err(Refusal::NoNumber));
        assert_eq!(table.add("m", |_: u64| None), Err(Refusal::Overflow));
        assert_eq!(table.get("m"), None, "a sum that there is not is not written");
    }

    #[test]
    fn a_swap_is_refused_where_somebody_was_there_meanwhile() {
        let mut table = filled([]);
        let absent = table.version("k");
        assert_eq!(table.swap("k", absent, b"1"), Ok(Ok(())));
        let first = table.version("k");
        assert_eq!(table.swap("k", absent, b"2"), Ok(Err(first)));
        table.set("k", b"1").unwrap();
        assert!(table.swap("k", first, b"2").unwrap().is_err(), "the same value, but not the same writing");
        assert_eq!(table.get("k").map(|value| value.to_vec()), Some(b"1".to_vec()));
    }
}
